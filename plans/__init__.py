"""Plans: what a RunEngine does with the devices."""

from bluesky_azint.plans.calibrate import CalibrationOutcome, calibrate_detector
from bluesky_azint.plans.fly import fly_frames

__all__ = ["CalibrationOutcome", "calibrate_detector", "fly_frames"]
