"""Tilts that rings do not tell: what is left of one once the centre and the distance have moved.

At small angles a tilt moves rings hardly at all. It is then held, and that is said. The errors are
those for a tilt that may be a degree off.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from bluesky_azint.calibration.constraints import Constraint, Fixed, Prior
from bluesky_azint.calibration.refinement.adjustment import Fit, Row, adjust
from bluesky_azint.calibration.refinement.lines import Lines
from bluesky_azint.calibration.refinement.observations import Observations
from bluesky_azint.calibration.surface import FloatArray
from bluesky_azint.errors import CalibrationError

_TILT = np.deg2rad(1.0)
_TOLD = 0.03  # of the width: a ring that moves less does not tell the tilt, or less than the floor
_TOLD_PLAINLY, _TOLD_PIXELS = 5.0, 0.03  # times the floor, and pixels: one that moves so far does
_TILT_ERROR = np.deg2rad(0.3)  # as long as the tilt is known so well
_NEEDS = 1.5  # times the residual: a tilt that makes so much of a difference is there
_SHARP = 1e-9
_SAME_TILT = {"tilt1", "rot2"}, {"tilt2", "rot1"}


def adjust_with_tilt(
    lines: Lines,
    seen: Observations,
    two_theta: FloatArray,
    wavelength: float,
    constraints: dict[str, Constraint],
    use: NDArray[np.bool_],
    start: FloatArray | None,
    hold_tilt: tuple[float, float] = (0.0, 0.0),
) -> tuple[Fit, list[Row]]:
    """A fit in which the tilt is held where the rings do not tell it, and the rows that hold it."""
    fit = adjust(seen, two_theta, wavelength, constraints, use=use, start=start)
    width = lines.fwhm[seen.line] / seen.scale
    rows = _untold_tilt(fit, width, _tilts_to_tell(constraints), hold_tilt)
    if not rows:
        return fit, rows
    held = adjust(seen, two_theta, wavelength, constraints, rows=rows, use=use, start=start)
    # If the rings go with the tilt only, they do tell it.
    error = np.average(fit.residual**2, weights=fit.information)
    error_held = np.average(held.residual**2, weights=fit.information)
    if error_held > _NEEDS**2 * error:
        return fit, []
    return replace(held, covariance=held.covariance + _by_tilt(fit, rows)), rows


def _by_tilt(fit: Fit, rows: list[Row]) -> FloatArray:
    """The covariance of what goes with a degree of the tilts that are held."""
    directions = _SHARP * np.stack([by for by, _ in rows], axis=1)
    along = fit.covariance @ directions
    change = _TILT * along @ np.linalg.pinv(directions.T @ along)
    covariance: FloatArray = change @ change.T
    return covariance


def given_tilt(covariance: FloatArray, rows: list[Row]) -> FloatArray:
    """The covariance if the tilts that are held are right."""
    if not rows:
        return covariance
    directions = _SHARP * np.stack([by for by, _ in rows], axis=1)
    along = covariance @ directions
    left: FloatArray = covariance - along @ np.linalg.pinv(directions.T @ along) @ along.T
    return left


def loosened(rows: list[Row]) -> list[Row]:
    """The rows that hold a tilt, made to let it be a degree off."""
    return [(by * (_SHARP / _TILT), target * (_SHARP / _TILT)) for by, target in rows]


def _tilts_to_tell(constraints: Mapping[str, Constraint]) -> list[int]:
    """The tilts (0, 1) of which nothing is known beforehand."""
    told = {name for name, one in constraints.items() if isinstance(one, Fixed | Prior)}
    return [axis for axis, names in enumerate(_SAME_TILT) if not told & names]


def _untold_tilt(
    fit: Fit, fwhm: FloatArray, axes: list[int], hold_tilt: tuple[float, float]
) -> list[Row]:
    """Rows that hold those directions of the tilt that the rings do not tell.

    What the centre and the distance can take up of a tilt does not count. A tilt is told if a
    degree moves the rings by a good part of their width, and by more than they are out of place for
    other reasons; or by far more than that.
    """
    root = np.sqrt(fit.information)[:, np.newaxis]
    unknown = [3 + axis for axis in axes]
    others, tilts = fit.jacobian[:, :3] * root, fit.jacobian[:, unknown] * root
    scale = np.linalg.norm(others, axis=0)
    if not (np.isfinite(scale).all() and scale.all()):
        raise CalibrationError(
            "the fit did not converge: nearly all sectors disagree with the geometry; look at the "
            "mask, the calibrant and the wavelength."
        )
    taken, *_ = np.linalg.lstsq(others / scale, tilts, rcond=None)
    left = tilts - (others / scale) @ taken
    mean_square = left.T @ left / fit.information.sum() * _TILT**2
    strength, directions = np.linalg.eigh(mean_square)
    width = np.average(fwhm, weights=fit.information)
    rows = []
    for moved, direction in zip(np.sqrt(np.maximum(strength, 0.0)), directions.T, strict=True):
        error = np.sqrt(direction @ fit.covariance[np.ix_(unknown, unknown)] @ direction)
        precise = error < _TILT_ERROR and moved > max(_TOLD_PLAINLY * fit.floor, _TOLD_PIXELS)
        if moved < max(_TOLD * width, fit.floor) and not precise:
            by = np.zeros(6)
            by[unknown] = direction / _SHARP
            rows.append((by, float(direction @ np.array(hold_tilt)[axes]) / _SHARP))
    return rows
