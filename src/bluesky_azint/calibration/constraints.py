"""What is known of a geometry before it is fitted: fixed values, priors and bounds.

They may be told of the numbers of a PONI file (dist, poni1, poni2, rot1, rot2), of those of
`bluesky_azint.calibration.cone` (centre1, centre2, distance, tilt1, tilt2), and of the wavelength;
lengths in metres, rotations in radians, tilts as slopes. Each becomes a row of the least squares: a
fixed value is a prior too sharp to be argued with.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

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


@dataclass(frozen=True)
class Fixed:
    """A parameter that is not refined.

    Parameters
    ----------
    value
        Which it keeps.
    """

    value: float


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
        if not self.low < self.high:
            raise RecipeError(f"The bounds ({self.low}, {self.high}) must rise.")


Constraint = Fixed | Prior | Bounds


def check_constraints(constraints: Mapping[str, Constraint]) -> None:
    """See that the constraints can be used.

    Raises
    ------
    RecipeError
        If a name is unknown, or the wavelength is bounded without a prior.
    """
    for name, constraint in constraints.items():
        if name not in NAMES:
            raise RecipeError(
                f"There is no parameter {name!r} to constrain; there are {', '.join(NAMES)}."
            )
        if name == "wavelength" and isinstance(constraint, Bounds):
            raise RecipeError(
                "One image cannot tell the wavelength from the distance: give it a Prior, or leave "
                "it as it is."
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
