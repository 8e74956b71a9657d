"""The tables of a report: parameters and their errors, rings, figures of merit, provenance."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from html import escape
from importlib.metadata import version

import numpy as np
from numpy.typing import NDArray

from bluesky_azint.calibrants import Ring
from bluesky_azint.calibration.result import Calibration
from bluesky_azint.geometry import Geometry
from bluesky_azint.report.markup import (
    NOTHING,
    TIMES,
    measured,
    minus,
    number,
    percent,
    signed,
    table,
)

FloatArray = NDArray[np.float64]

# What is known better, in metres or radians, was held and not measured; no limit for wavelengths.
_HELD = np.array([1e-8, 1e-8, 1e-8, 1e-8, 1e-8, 0.0])
_TERMS = 6  # of a distortion that are told

KEV_ANGSTROM = 12.398419843320026  # h c / e: exact in the SI of 2019


@dataclass(frozen=True)
class _Parameter:
    """How a parameter is written: `scale` turns it from what it is stored in to the unit named."""

    name: str
    scale: float


_PONI = (
    _Parameter("distance (mm)", 1e3),
    _Parameter("PONI 1, slow axis (mm)", 1e3),
    _Parameter("PONI 2, fast axis (mm)", 1e3),
    _Parameter("rot1 (degree)", 180 / np.pi),
    _Parameter("rot2 (degree)", 180 / np.pi),
    _Parameter("wavelength (Å)", 1e10),
)
_PONI_SHORT = ("dist", "poni1", "poni2", "rot1", "rot2", "λ")
_BEAM_SHORT = ("centre 1", "centre 2", "distance", "tilt 1", "tilt 2", "λ")


def poni_table(calibration: Calibration, geometry: Geometry) -> str:
    """Distance, PONI and rotations, with both kinds of errors."""
    values = [geometry.dist, geometry.poni1, geometry.poni2, geometry.rot1, geometry.rot2]
    values.append(calibration.wavelength)
    return _parameters(_PONI, values, calibration.covariance, calibration.jackknife)


def beam_table(calibration: Calibration, geometry: Geometry) -> str:
    """Beam centre, distance along the beam and tilts, with both kinds of errors."""
    beam = calibration.beam
    if beam is None:
        return ""
    pixel1, pixel2 = geometry.detector.pixel1, geometry.detector.pixel2
    # Slopes as angles: d atan(t) = dt / (1 + t^2).
    angles = [180 / np.pi / (1 + slope**2) for slope in (beam.tilt1, beam.tilt2)]
    parameters = (
        _Parameter("centre 1, slow axis (pixel)", 1 / pixel1),
        _Parameter("centre 2, fast axis (pixel)", 1 / pixel2),
        _Parameter("distance along the beam (mm)", 1e3),
        _Parameter("tilt 1 (degree)", angles[0]),
        _Parameter("tilt 2 (degree)", angles[1]),
    )
    tilts = [
        np.rad2deg(np.arctan(slope)) / angle
        for slope, angle in zip((beam.tilt1, beam.tilt2), angles, strict=True)
    ]
    values = [beam.centre1, beam.centre2, beam.distance, *tilts]
    return _parameters(parameters, values, calibration.beam_covariance, calibration.beam_jackknife)


def _parameters(
    parameters: tuple[_Parameter, ...],
    values: list[float],
    covariance: FloatArray | None,
    jackknife: FloatArray | None,
) -> str:
    sigma = None if covariance is None else np.sqrt(np.diag(covariance))
    rows = []
    for index, (parameter, value) in enumerate(zip(parameters, values, strict=True)):
        errors = [_error(one, index) * parameter.scale for one in (sigma, jackknife)]
        rows.append((parameter.name, *measured(value * parameter.scale, *errors)))
    return table(("", "value", "± statistical", "± jackknife"), rows)


def _error(sigma: FloatArray | None, index: int) -> float:
    """An error; NaN of what was not refined."""
    if sigma is None or index >= len(sigma) or not sigma[index] > _HELD[index]:
        return np.nan
    return float(sigma[index])


def poni_correlations(calibration: Calibration) -> str:
    """Correlations of distance, PONI and rotations."""
    return _correlation_table(calibration.covariance, _PONI_SHORT)


def beam_correlations(calibration: Calibration) -> str:
    """Correlations of centre, distance and tilts."""
    return _correlation_table(calibration.beam_covariance, _BEAM_SHORT)


def correlations(covariance: FloatArray) -> FloatArray:
    """Correlation coefficients; NaN for what was not refined."""
    sigma = np.sqrt(np.diag(covariance))
    scale = np.outer(sigma, sigma)
    free = sigma > _HELD[: len(sigma)]
    matrix: FloatArray = np.divide(
        covariance, scale, out=np.full_like(scale, np.nan), where=np.logical_and.outer(free, free)
    )
    return matrix


def degenerate_pairs(calibration: Calibration) -> str:
    """How strongly PONI and rotations hide each other, in a sentence."""
    if calibration.covariance is None:
        return ""
    matrix = correlations(calibration.covariance)
    return (
        f"Correlation of poni1 and rot2: {signed(matrix[1, 4], 5)}; of poni2 and rot1: "
        f"{signed(matrix[2, 3], 5)}. The closer they are to ±1, the less a PONI or a "
        "rotation means by itself: compare calibrations by beam centre, distance and tilt."
    )


def _correlation_table(covariance: FloatArray | None, names: tuple[str, ...]) -> str:
    if covariance is None:
        return ""
    matrix = correlations(covariance)
    names = names[: len(matrix)]
    head = "".join(f'<th scope="col">{escape(name)}</th>' for name in names)
    body = "".join(
        f'<tr><th scope="row">{escape(name)}</th>{"".join(map(_shaded, row))}</tr>'
        for name, row in zip(names, matrix, strict=True)
    )
    return (
        '<div class="scroll"><table class="matrix"><thead><tr><td></td>'
        f"{head}</tr></thead><tbody>{body}</tbody></table></div>"
    )


def _shaded(value: float) -> str:
    if not np.isfinite(value):
        return f"<td>{NOTHING}</td>"
    colour = "214, 106, 23" if value > 0 else "47, 111, 159"
    shade = f"background: rgba({colour}, {0.55 * abs(value) ** 2:.2f})"
    return f'<td style="{shade}">{signed(value)}</td>'


def ring_table(calibration: Calibration) -> str:
    """What became of each ring."""
    rows = [
        (
            _indices(fit.ring),
            f"{fit.ring.d:.5f}",
            f"{np.rad2deg(fit.two_theta):.4f}",
            str(fit.sectors),
            percent(fit.coverage) if fit.sectors else NOTHING,
            signed(fit.mean_px),
            number(fit.sigma_px, 2),
            number(fit.rms_px, 2),
            number(fit.fwhm_px, 3),
            "not found" if not fit.sectors else "used" if fit.used else "left out",
        )
        for fit in calibration.rings
    ]
    head = (
        "hkl", "d (Å)", "2θ (degree)", "sectors", "circle", "mean (px)", "± (px)", "rms (px)",
        "width (px)", "state",
    )  # fmt: skip
    return table(head, rows, words=(9,)) if rows else ""


def _indices(ring: Ring) -> str:
    return minus("\N{NO-BREAK SPACE}".join(map(str, ring.hkl))) if any(ring.hkl) else NOTHING


def merit_table(calibration: Calibration) -> str:
    """Figures of merit, each with what it means."""
    relative = number(1e6 * calibration.residual_relative)
    rows = [
        *_match_rows(calibration),
        (
            "residual of the sectors",
            number(calibration.residual_px, 3, "px"),
            f"Root mean square, weighted by their errors; {relative} parts in a million of q.",
        ),
        (
            "residual of held-out sectors",
            number(calibration.held_out_px, 3, "px"),
            "Sectors that the geometry was not fitted to: close to the line above if it is sound.",
        ),
        (
            "floor",
            number(calibration.floor_px, 3, "px"),
            "Error of every sector beyond its counts: what no exposure mends, such as distortion.",
        ),
        (
            "error where rings are",
            number(calibration.ring_error_px, 3, "px"),
            "Largest predicted error of a place inside the rings that were found.",
        ),
        (
            "error anywhere",
            number(calibration.detector_error_px, 3, "px"),
            "The same of any place on the detector.",
        ),
        *_wavelength_rows(calibration),
        *_distortion_rows(calibration),
    ]
    rows = [row for row in rows if row[1] != NOTHING]
    return table(("", "", "meaning"), rows, words=(2,), kind="explained") if rows else ""


def _match_rows(calibration: Calibration) -> list[tuple[str, str, str]]:
    match = calibration.match
    if match is None:
        return []
    runner_up = number(match.runner_up, 3)
    return [
        (
            "match",
            number(match.score, 3),
            "Logarithm of how much likelier the rings are there than there by chance. The best "
            + (f"other geometry has {runner_up}." if runner_up != NOTHING else "one: no other."),
        ),
        ("rings found", f"{match.matched} of {match.expected}", "Of those that should be visible."),
        (
            "unexplained",
            percent(match.unexplained),
            f"Share of the weight of all peaks that are no rings of {calibration.calibrant.name}.",
        ),
    ]


def _wavelength_rows(calibration: Calibration) -> list[tuple[str, str, str]]:
    test = calibration.wavelength_test
    if test is None:
        return []
    meaning = (
        "Change of the wavelength that the rings ask for, which should be zero within its error. "
        "A wrong lattice or a distortion would look the same."
        if test.testable
        else "Too uncertain to test the wavelength: at small angles the distance takes up any error."
    )
    value = f"{signed(100 * test.relative)} ± {100 * test.sigma:.3f} %"
    if not test.testable:
        value = f"only to ± {100 * test.sigma:.2g} %"
    return [("wavelength test", value, meaning)]


def _distortion_rows(calibration: Calibration) -> list[tuple[str, str, str]]:
    found = calibration.distortion
    if found is None:
        return []
    terms = sorted(
        zip(found.names, found.values_px, found.sigmas_px, strict=True),
        key=lambda term: -abs(term[1]) / term[2] if term[2] > 0 else 0.0,
    )
    told = ", ".join(
        f"{name} {signed(value)} ± {sigma:.3f} px" for name, value, sigma in terms[:_TERMS]
    )
    more = f", and {len(terms) - _TERMS} smaller ones" if len(terms) > _TERMS else ""
    meaning = (
        "Residual that would be left if it were corrected, which it is not. Of its "
        f"{len(terms)} terms: {told}{more}."
    )
    return [("distortion", number(found.residual_px, 3, "px"), meaning)]


def provenance_table(
    calibration: Calibration, *, raw_uid: str | None, date: datetime | None
) -> str:
    """Where it all comes from."""
    wavelength = calibration.wavelength * 1e10
    rows = [
        *_detector_rows(calibration),
        ("calibrant", f"{calibration.calibrant.name}: {calibration.calibrant.source}"),
        ("wavelength", f"{wavelength:.6g} Å, {KEV_ANGSTROM / wavelength:.6g} keV"),
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
