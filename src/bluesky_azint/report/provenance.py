"""Where a calibration comes from: detector, calibrant, wavelength, run, software."""

from __future__ import annotations

from datetime import datetime
from importlib.metadata import version

from bluesky_azint.attenuation import KEV_METRES
from bluesky_azint.calibration.result import Calibration
from bluesky_azint.report.markup import NOTHING, TIMES, number, table


def provenance_table(
    calibration: Calibration, *, raw_uid: str | None, date: datetime | None
) -> str:
    """Where it all comes from."""
    angstrom = calibration.wavelength * 1e10
    energy = KEV_METRES / calibration.wavelength
    rows = [
        *_detector_rows(calibration),
        ("calibrant", f"{calibration.calibrant.name}: {calibration.calibrant.source}"),
        ("wavelength", f"{angstrom:.6g} Å, {energy:.6g} keV"),
        ("masked", f"{100 * calibration.mask.mean():.2f} % of the pixels"),
        ("raw run", raw_uid or NOTHING),
        ("date", NOTHING if date is None else date.isoformat(" ", "seconds")),
        ("time taken", number(calibration.seconds, 3, "s")),
        ("software", f"bluesky-azint {version('bluesky-azint')}"),
    ]
    return table((), [row for row in rows if row[1] != NOTHING], words=(1,))


def _detector_rows(calibration: Calibration) -> list[tuple[str, str]]:
    rows, columns = calibration.mask.shape
    size = f"{rows} {TIMES} {columns} pixels"
    if calibration.candidate is None:
        return [("image", size)]
    detector = calibration.candidate.detector
    pixel = f"{1e6 * detector.pixel1:.6g} {TIMES} {1e6 * detector.pixel2:.6g} µm"
    name = detector.name or "without a name"
    return [("detector", f"{name}, {size} of {pixel}, orientation {detector.orientation}")]
