r"""Robust least squares: the geometry that all sectors agree on best.

With the shift :math:`\delta_i` of a ring against its line, seen at the place :math:`p_i` from a
first stand :math:`\theta_0`, the residual in pixels is

.. math::
    r_i = \frac{2\theta(p_i; \theta) - 2\theta(p_i; \theta_0) + \delta_i
          - 2 \tan\frac{2\theta_i}{2} \ln\frac{\lambda}{\lambda_0}}{s_i}

where :math:`s_i` is the angle over a pixel. Its variance is that of the counts and a floor, the
same for all, which makes chi square what it should be: real detectors are never as good as their
counts. Beyond 3 standard errors a sector counts less, beyond 6 not at all.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from bluesky_azint.calibration.cone import Cone, two_theta_and_jacobian
from bluesky_azint.calibration.constraints import (
    Bounds,
    Constraint,
    Fixed,
    Prior,
    constraint_rows,
    held_at_bounds,
)
from bluesky_azint.calibration.refinement.observations import Observations
from bluesky_azint.calibration.surface import FloatArray
from bluesky_azint.errors import CalibrationError

_BENDS, _ENDS = 3.0, 6.0  # standard errors
_CUT_SQUARE, _MEDIAN_SQUARE = 0.995, 0.4549  # of a normal distribution, cut at 3; its median
_STEPS = 20
_SMALL = 1e-4  # of a standard error: a step that is none
# The longest steps: of the extent of the rings, of the distance, slopes, and of the wavelength.
_LONGEST_CENTRE, _LONGEST_DISTANCE, _LONGEST_TILT, _LONGEST_WAVELENGTH = 0.3, 0.1, 0.2, 0.05
_DIVERGED = (
    "the fit did not converge: the rings that were found do not hold a geometry; look at the mask, "
    "the calibrant and the wavelength."
)
Row = tuple[FloatArray, float]


@contextmanager
def solvable() -> Iterator[None]:
    """Equations that have no solution are those of a fit that did not converge.

    Raises
    ------
    CalibrationError
        Instead of what linear algebra raises.
    """
    try:
        yield
    except np.linalg.LinAlgError as error:
        raise CalibrationError(_DIVERGED) from error


@dataclass(frozen=True, eq=False, kw_only=True)
class Fit:
    """What least squares gave.

    Parameters
    ----------
    values
        The parameters of the cone, and the logarithm of the wavelength over the one it began with.
    covariance
        Of these, ``(6, 6)``.
    jacobian
        Derivatives of the residuals, ``(n, 6)``, in pixels.
    residual, sigma
        In pixels; sigma from the counts alone.
    floor
        In pixels.
    weight
        Of the robust fit, 0 to 1.
    at_bounds
        The bounds that were reached, and held, by name.
    """

    values: FloatArray
    covariance: FloatArray
    jacobian: FloatArray
    residual: FloatArray
    sigma: FloatArray
    floor: float
    weight: FloatArray
    at_bounds: dict[str, float] = field(default_factory=dict)

    @property
    def cone(self) -> Cone:
        """The stand."""
        return Cone(*map(float, self.values[:5]))

    @property
    def information(self) -> FloatArray:
        """Weight of each sector, in 1 / pixels squared."""
        information: FloatArray = self.weight / (self.sigma**2 + self.floor**2)
        return information


def adjust(
    seen: Observations,
    two_theta: FloatArray,
    wavelength: float,
    constraints: Mapping[str, Constraint],
    *,
    rows: list[Row] | None = None,
    use: NDArray[np.bool_] | None = None,
    start: FloatArray | None = None,
) -> Fit:
    """Fit a geometry.

    Parameters
    ----------
    seen
        The observations.
    two_theta
        Angle of the line of each.
    wavelength
        In metres.
    constraints
        See `bluesky_azint.calibration.constraints`; the wavelength is only free with a prior.
    rows
        More constraints: pairs of six factors and what their sum with the values must be.
    use
        Which observations count; None means all.
    start
        Values to begin with.

    Raises
    ------
    CalibrationError
        If there are fewer observations than free parameters, or the fit does not converge.
    """
    use = np.ones(len(seen), dtype=bool) if use is None else use
    free = np.ones(6, dtype=bool)
    free[5] = isinstance(constraints.get("wavelength"), Prior)
    count = int(np.count_nonzero(use))
    if count < np.count_nonzero(free):
        raise CalibrationError(
            f"Only {count} sectors of rings were found, too few to fit a geometry to."
        )
    values = np.append(seen.cone.parameters, 0.0) if start is None else start.copy()
    sigma = seen.sigma / seen.scale
    held = dict(constraints)
    for _ in range(_STEPS):
        residual, jacobian = _residuals(seen, two_theta, values)
        floor = floor_of(residual[use], sigma[use], int(free.sum()))
        weight = np.where(use, _robust(residual / np.sqrt(sigma**2 + floor**2)), 0.0)
        information = weight / (sigma**2 + floor**2)
        matrix = jacobian.T @ (information[:, np.newaxis] * jacobian)
        right = -jacobian.T @ (information * residual)
        if not (np.isfinite(matrix).all() and np.isfinite(right).all()):
            raise CalibrationError(_DIVERGED)
        held = held_at_bounds(held, values)
        for by, off in _constraint_rows(held, rows or [], values, wavelength):
            matrix += np.outer(by, by)
            right -= by * off
        covariance = _inverse(matrix, free)
        step = _shortened(covariance @ right, values, seen.places)
        values = values + step
        if np.all(np.abs(step) <= _SMALL * np.sqrt(np.diag(covariance)) + 1e-12):
            break
    residual, jacobian = _residuals(seen, two_theta, values)
    if not np.isfinite(residual).all():
        raise CalibrationError(_DIVERGED)
    return Fit(
        values=values,
        covariance=covariance,
        jacobian=jacobian,
        residual=residual,
        sigma=sigma,
        floor=floor,
        weight=weight,
        at_bounds=_reached(constraints, held),
    )


def _shortened(step: FloatArray, values: FloatArray, places: FloatArray) -> FloatArray:
    """The step, no longer than what linear equations can be trusted for."""
    centre = _LONGEST_CENTRE * float(np.ptp(places, axis=1).max())
    distance = _LONGEST_DISTANCE * values[2]
    longest = [centre, centre, distance, _LONGEST_TILT, _LONGEST_TILT, _LONGEST_WAVELENGTH]
    shortened: FloatArray = step / max(1.0, float(np.abs(step / longest).max()))
    return shortened


def _reached(
    constraints: Mapping[str, Constraint], held: Mapping[str, Constraint]
) -> dict[str, float]:
    """Bounds that have become fixed values."""
    return {
        name: now.value
        for name, now in held.items()
        if isinstance(now, Fixed) and isinstance(constraints[name], Bounds)
    }


def _residuals(
    seen: Observations, two_theta: FloatArray, values: FloatArray
) -> tuple[FloatArray, FloatArray]:
    """Residuals in pixels, and their derivatives, ``(n, 6)``."""
    now, by_cone = two_theta_and_jacobian(values[:5], seen.places)
    by_wavelength = 2.0 * np.tan(0.5 * two_theta)
    residual = now - seen.two_theta + seen.shift - by_wavelength * values[5]
    jacobian = np.concatenate([by_cone, -by_wavelength[:, np.newaxis]], axis=1)
    return residual / seen.scale, jacobian / seen.scale[:, np.newaxis]


def _constraint_rows(
    constraints: Mapping[str, Constraint], rows: list[Row], values: FloatArray, wavelength: float
) -> list[Row]:
    """Factors and residuals of everything that is known beforehand, in standard errors."""
    residuals, jacobian = constraint_rows(constraints, values, wavelength)
    known = list(zip(jacobian, map(float, residuals), strict=True))
    return known + [(by, float(by @ values) - target) for by, target in rows]


def _robust(deviation: FloatArray) -> FloatArray:
    """Weights of deviations in standard errors."""
    size = np.abs(deviation)
    return np.where(size > _ENDS, 0.0, np.minimum(1.0, _BENDS / np.maximum(size, _BENDS)))


def floor_of(
    residual: FloatArray, sigma: FloatArray, parameters: int = 0, *, half: bool = False
) -> float:
    """The error beyond that of the counts, in pixels, for a chi square of 1.

    Squares beyond 3 standard errors are cut, so that outliers do not make the floor.

    Parameters
    ----------
    residual, sigma
        In pixels.
    parameters
        Number of parameters that were fitted to them.
    half
        Look at the median of the squares only: less precise, but up to half may be outliers.
    """
    if len(residual) == 0:
        return 0.0
    freedom = max(1.0 - parameters / len(residual), 0.1)

    def excess(floor: float) -> float:
        square = residual**2 / np.maximum(sigma**2 + floor**2, 1e-30)
        if half:
            return float(np.median(square)) - _MEDIAN_SQUARE * freedom
        return float(np.minimum(square, _BENDS**2).mean()) - _CUT_SQUARE * freedom

    if excess(0.0) <= 0:
        return 0.0
    low, high = 0.0, 2.0 * float(np.abs(residual).max())
    for _ in range(30):
        middle = 0.5 * (low + high)
        low, high = (middle, high) if excess(middle) > 0 else (low, middle)
    return high


def _inverse(matrix: FloatArray, free: NDArray[np.bool_]) -> FloatArray:
    """The inverse over what is free, 0 elsewhere."""
    inverse = np.zeros_like(matrix)
    some = np.ix_(free, free)
    size = np.sqrt(np.maximum(np.diag(matrix)[free], 1e-300))
    scaled = matrix[some] / np.outer(size, size)
    inverse[some] = np.linalg.pinv(scaled, rcond=1e-15, hermitian=True) / np.outer(size, size)
    return inverse
