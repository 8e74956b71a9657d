"""Real frames, calibrated from nothing, beside the geometry that was published for them."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

import bluesky_azint as ba
from bluesky_azint.calibration.cone import Cone
from bluesky_azint.calibration.result import Calibration
from tests.study.judge import Errors, errors, rings_used
from tests.study.tables import table

DATA = Path(__file__).resolve().parents[3] / "shared" / "data"
Frame = tuple[NDArray[np.generic], NDArray[np.bool_]]


def _dioptas(folder: Path) -> Frame:
    from bluesky_azint.io.images import read_image

    image = read_image(folder / "CeO2_Pilatus1M.tif")
    return image, np.asarray(image < 0)


def _hexrd(folder: Path) -> Frame:
    import h5py

    with h5py.File(folder / "ceria_50x30_740mm_000005_Pilatus2M.hdf5") as file:
        image = file["imageseries/images"][0]
    with np.load(folder / "mask.npz") as file:
        return image, np.asarray(file[file.files[0]], dtype=bool)


def _gsas(folder: Path) -> Frame:
    from bluesky_azint.io.images import read_image

    image = read_image(folder / "AgBehenate_003.tif")
    return image, np.asarray(image < 1)


@dataclass(frozen=True)
class Case:
    """A frame, how it is read, and the residual of a refit by others, in pixels."""

    folder: str
    calibrant: str
    read: Callable[[Path], Frame]
    refit_px: float | None


CASES = (
    Case("dioptas_ceo2_pilatus1m", "CeO2", _dioptas, 0.150),
    Case("hexrd_ceo2_pilatus2m", "CeO2", _hexrd, 0.159),
    Case("gsas_agbh_marccd", "AgBh", _gsas, None),
)


@dataclass(frozen=True, eq=False, kw_only=True)
class Found:
    """A calibration of a real frame, and how far it is from what was published."""

    case: Case
    calibration: Calibration
    off: Errors | None
    seconds: float


def calibrated(case: Case, data: Path = DATA) -> Found:
    """Calibrate it without what was published, but for the detector and the wavelength."""
    from bluesky_azint.calibration.calibrate import calibrate

    published = ba.Geometry.from_poni(data / case.folder / "published.poni")
    image, mask = case.read(data / case.folder)
    start = time.perf_counter()
    calibration = calibrate(
        image,
        detector=published.detector,
        calibrant=case.calibrant,
        wavelength=published.wavelength,
        mask=mask,
    )
    seconds = time.perf_counter() - start
    geometry = calibration.geometry or calibration.candidate
    off = None if geometry is None else errors(published, geometry, rings_used(calibration))
    return Found(case=case, calibration=calibration, off=off, seconds=seconds)


def markdown(found: list[Found]) -> str:
    """A row for each frame."""
    head = ["frame", "verdict", "residual, px", "held out, px", "in 72 sectors, px"]
    head += [
        "refit by others, px",
        "sigma of the centre, px",
        "its jackknife",
        "centre, px",
        "distance",
        "seconds",
    ]
    return table(head, [_row(one) for one in found], left=2)


def _row(one: Found) -> list[str]:
    calibration, refit = one.calibration, one.case.refit_px
    return [
        one.case.folder,
        calibration.verdict,
        f"{calibration.residual_px:.3f}",
        f"{calibration.held_out_px:.3f}",
        f"{in_72_sectors(calibration):.3f}",
        "" if refit is None else f"{refit:.3f}",
        *(_centre_error(calibration, of) for of in ("beam_covariance", "beam_jackknife")),
        "" if one.off is None else f"{one.off.centre_px:.2f}",
        "" if one.off is None else f"{one.off.distance:+.1e}",
        f"{one.seconds:.1f}",
    ]


def in_72_sectors(calibration: Calibration) -> float:
    """Root mean square of what each ring is off in 72 sectors, as refits by others are told, in pixels."""
    sectors = calibration.sectors
    if sectors is None:
        return np.nan
    sector = np.floor((sectors.chi + np.pi) * (72 / (2 * np.pi))).astype(np.intp)
    _, group = np.unique(sectors.ring * 72 + sector, return_inverse=True)
    weight = 1.0 / (sectors.sigma_px**2 + calibration.floor_px**2)
    means = np.bincount(group, weight * sectors.residual_px) / np.bincount(group, weight)
    return float(np.sqrt(np.mean(means**2)))


def _centre_error(calibration: Calibration, of: str) -> str:
    """The standard error of the centre, the worse of both axes, in pixels."""
    errors_of = getattr(calibration, of)
    if errors_of is None or calibration.candidate is None:
        return ""
    squares = np.diag(errors_of) if errors_of.ndim == 2 else np.square(errors_of)
    detector = calibration.candidate.detector
    pixels = np.sqrt(squares[:2]) / [detector.pixel1, detector.pixel2]
    return f"{pixels.max():.3f}"


def reasons(found: list[Found]) -> str:
    """What the verdicts say."""
    lines = []
    for one in found:
        beam = one.calibration.beam
        where = "" if beam is None else f" at {1e3 * Cone(*beam.parameters).distance:.3f} mm"
        told = " ".join((*one.calibration.reasons, *one.calibration.notes))
        lines.append(f"* `{one.case.folder}` {one.calibration.verdict}{where}. {told}".rstrip())
    return "\n".join(lines)
