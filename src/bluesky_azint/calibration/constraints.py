"""What is known of a geometry before it is fitted: fixed values, priors and bounds.

They may be told of the numbers of a PONI file (dist, poni1, poni2, rot1, rot2), of those of
`bluesky_azint.calibration.cone` (centre1, centre2, distance, tilt1, tilt2), and of the wavelength;
lengths in metres, rotations in radians, tilts as slopes. Each becomes a row of the least squares: a
fixed value is a prior too sharp to be argued with.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from numbers import Real

import numpy as np
from numpy.typing import NDArray

from bluesky_azint.calibration.cone import (
    PARAMETERS,
    PONI_PARAMETERS,
    to_poni,
    to_poni_jacobian,
)
from bluesky_azint.errors import RecipeError

FloatArray = NDArray[np.float64]
NAMES = (*PONI_PARAMETERS, *PARAMETERS, "wavelength")
_SHARP = 1e-9  # metres and radians; far below what any image can tell
_LENGTHS = ("dist", "distance", "wavelength")  # which are positive
_WAVELENGTH = 0.05  # relative: farther from the stated one a constraint contradicts it


def _see_numbers(what: str, *values: object, limits: bool = False) -> None:
    """Only limits may be infinite."""
    for value in values:
        number = float(value) if isinstance(value, Real) else np.nan
        if np.isnan(number) or (np.isinf(number) and not limits):
            raise RecipeError(f"{what} cannot be {value!r}; give a finite number.")


@dataclass(frozen=True)
class Fixed:
    """A parameter that is not refined.

    Parameters
    ----------
    value
        Which it keeps.
    """

    value: float

    def __post_init__(self) -> None:
        _see_numbers("A fixed value", self.value)


@dataclass(frozen=True)
class Prior:
    """A parameter that is known, but not for certain.

    Parameters
    ----------
    value
        What it is thought to be.
    sigma
        Standard error of that.
    """

    value: float
    sigma: float

    def __post_init__(self) -> None:
        _see_numbers("What is known of a parameter", self.value, self.sigma)
        if not self.sigma > 0:
            raise RecipeError(f"A prior has the standard error {self.sigma}; it must be positive.")


@dataclass(frozen=True)
class Bounds:
    """A parameter that must stay within limits.

    Parameters
    ----------
    low, high
        The limits.
    """

    low: float
    high: float

    def __post_init__(self) -> None:
        _see_numbers("A bound", self.low, self.high, limits=True)
        if not self.low < self.high:
            raise RecipeError(f"The bounds ({self.low}, {self.high}) must rise.")


Constraint = Fixed | Prior | Bounds


def check_constraints(
    constraints: Mapping[str, Constraint], wavelength: float | None = None
) -> None:
    """See that the constraints can be used.

    Parameters
    ----------
    constraints
        By name.
    wavelength
        The one that is stated, in metres, if one is.

    Raises
    ------
    RecipeError
        If a name is unknown, something is no constraint, the wavelength is bounded without a prior,
        or constraints contradict each other, the wavelength, or nature.
    """
    for name, constraint in constraints.items():
        if name not in NAMES:
            raise RecipeError(
                f"There is no parameter {name!r} to constrain; there are {', '.join(NAMES)}."
            )
        if not isinstance(constraint, Fixed | Prior | Bounds):
            raise RecipeError(
                f"{name} is constrained by {constraint!r}, which does not say how: give "
                "Fixed(value), Prior(value, sigma) or Bounds(low, high)."
            )
        if name == "wavelength" and isinstance(constraint, Bounds):
            raise RecipeError(
                "One image cannot tell the wavelength from the distance: give it a Prior, or leave "
                "it as it is."
            )
        highest = constraint.high if isinstance(constraint, Bounds) else constraint.value
        if name in _LENGTHS and not highest > 0:
            raise RecipeError(f"{name} is to be {highest:g} m; it must be positive.")
    if all(isinstance(constraints.get(name), Fixed) for name in ("dist", "distance")):
        raise RecipeError(
            "Both dist and distance are fixed, along the detector's normal and along the beam; that "
            "leaves the tilt hardly a choice. Fix one of them."
        )
    known = constraints.get("wavelength")
    if wavelength is None or known is None or isinstance(known, Bounds):
        return
    if abs(known.value / wavelength - 1.0) > _WAVELENGTH:
        raise RecipeError(
            f"The wavelength is stated as {wavelength:g} m and constrained to {known.value:g} m; "
            f"they must agree to {100 * _WAVELENGTH:g} %. Both are in metres."
        )


def constraint_rows(
    constraints: Mapping[str, Constraint], values: FloatArray, wavelength: float
) -> tuple[FloatArray, FloatArray]:
    """Residuals that fixed values and priors add, and their derivatives.

    Parameters
    ----------
    constraints
        By name; bounds count only once `held_at_bounds` has made fixed values of them.
    values
        The five parameters of a cone, and the logarithm of the wavelength over the one below.
    wavelength
        In metres.

    Returns
    -------
    residuals
        In standard errors, ``(n,)``.
    jacobian
        ``(n, 6)``.
    """
    now = _by_name(values, wavelength)
    slopes = _slopes(values, now["wavelength"])
    residuals, jacobian = [], []
    for name, constraint in constraints.items():
        if isinstance(constraint, Bounds):
            continue
        sigma = constraint.sigma if isinstance(constraint, Prior) else _SHARP
        if name == "wavelength":
            sigma = max(sigma, _SHARP * wavelength)
        residuals.append((now[name] - constraint.value) / sigma)
        jacobian.append(slopes[name] / sigma)
    return np.array(residuals), np.array(jacobian).reshape(-1, 6)


def held_at_bounds(
    constraints: Mapping[str, Constraint], values: FloatArray
) -> dict[str, Constraint]:
    """The constraints, those bounds fixed that values go beyond."""
    now = _by_name(values, 1.0)
    held: dict[str, Constraint] = {}
    for name, constraint in constraints.items():
        if isinstance(constraint, Bounds) and not constraint.low <= now[name] <= constraint.high:
            constraint = Fixed(min(max(now[name], constraint.low), constraint.high))
        held[name] = constraint
    return held


def _by_name(values: FloatArray, wavelength: float) -> dict[str, float]:
    now = dict(zip(PARAMETERS, map(float, values), strict=False))
    now |= dict(zip(PONI_PARAMETERS, map(float, to_poni(values[:5])), strict=True))
    return now | {"wavelength": wavelength * float(np.exp(values[5]))}


def _slopes(values: FloatArray, wavelength: float) -> dict[str, FloatArray]:
    """Derivatives of every name by the six values."""
    slopes = dict(zip(PARAMETERS, np.eye(6), strict=False))
    poni = np.zeros((5, 6))
    poni[:, :5] = to_poni_jacobian(values[:5])
    slopes |= dict(zip(PONI_PARAMETERS, poni, strict=True))
    slopes["wavelength"] = wavelength * np.eye(6)[5]
    return slopes
