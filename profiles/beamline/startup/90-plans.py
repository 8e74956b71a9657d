"""The plans: bluesky's, those of bluesky-azint, and the beamline's own."""

from typing import Any

from bluesky.plans import count, grid_scan, rel_scan, scan
from bluesky.utils import MsgGenerator

from bluesky_azint.plans import (
    CalibrationOutcome,
    CheckOutcome,
    calibrate_detector,
    calibrate_energy,
    calibrate_goniometer,
    check_calibration,
    fly_frames,
)


def calibrate(
    calibrant: str = "CeO2", exposure_time: float = 1.0, md: dict[str, Any] | None = None
) -> MsgGenerator[CalibrationOutcome]:
    """Calibrate the detector, and use the geometry from then on if it can be trusted.

    Parameters
    ----------
    calibrant
        Name of the powder in the beam.
    exposure_time
        Seconds to begin with.
    md
        Metadata of the run.
    """
    return (
        yield from calibrate_detector(
            det,
            calibrant=calibrant,
            energy_kev=ENERGY_KEV,
            exposure_time=exposure_time,
            geometry_device=geometry,
            store=STORE,
            report_directory=str(DATA / "reports"),
            on_refusal="raise",  # a queue stops here
            md=md,
        )
    )


def check(
    calibrant: str = "CeO2", exposure_time: float = 1.0, md: dict[str, Any] | None = None
) -> MsgGenerator[CheckOutcome]:
    """See whether the calibration still holds, at the start of a shift.

    Parameters
    ----------
    calibrant
        Name of the powder in the beam.
    exposure_time
        Seconds of the exposure.
    md
        Metadata of the run.
    """
    return (
        yield from check_calibration(
            det, calibrant=calibrant, exposure_time=exposure_time, store=STORE, md=md
        )
    )
