"""Plans: what a RunEngine does with the devices."""

from bluesky_azint.plans.adaptive import AdaptiveOutcome, adaptive_pattern_scan
from bluesky_azint.plans.calibrate import CalibrationOutcome, calibrate_detector
from bluesky_azint.plans.check import CheckOutcome, check_calibration
from bluesky_azint.plans.energy import EnergyOutcome, calibrate_energy
from bluesky_azint.plans.fly import fly_frames
from bluesky_azint.plans.goniometer import GoniometerOutcome, calibrate_goniometer

__all__ = [
    "AdaptiveOutcome",
    "CalibrationOutcome",
    "CheckOutcome",
    "EnergyOutcome",
    "GoniometerOutcome",
    "adaptive_pattern_scan",
    "calibrate_detector",
    "calibrate_energy",
    "calibrate_goniometer",
    "check_calibration",
    "fly_frames",
]
