"""The tables of a report: parameters with their errors and correlations, and rings."""

from __future__ import annotations

from dataclasses import dataclass
from html import escape

import numpy as np
from numpy.typing import NDArray

from bluesky_azint.calibrants import Ring
from bluesky_azint.calibration.result import Calibration
from bluesky_azint.geometry import Geometry
from bluesky_azint.report.markup import (
    NOTHING,
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
