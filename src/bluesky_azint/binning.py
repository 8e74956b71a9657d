r"""Binning: the axis that pixels are sorted along, and ranges of azimuth that wrap.

A radial axis of :math:`n` bins runs from ``lower`` to ``upper``; bin :math:`k` holds
:math:`lower + k\delta \le v < lower + (k+1)\delta`. So that the largest value is inside, the upper
end is moved up by one part in :math:`2^{23}`, as pyFAI does: both then sort every pixel alike.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from bluesky_azint.errors import RecipeError

FloatArray = NDArray[np.float64]

EPSILON = 1.0 + 2.0**-23
FULL_TURN = 2.0 * np.pi


@dataclass(frozen=True)
class Axis:
    """Equal bins between two ends.

    Parameters
    ----------
    lower, upper
        The ends, the upper one not included.
    npt
        Number of bins.
    """

    lower: float
    upper: float
    npt: int

    @classmethod
    def from_range(cls, lower: float, upper: float, npt: int) -> Axis:
        """The axis that holds both ends of a range.

        Raises
        ------
        RecipeError
            If the range holds nothing.
        """
        inclusive = upper * EPSILON if upper > 0 else upper / EPSILON
        if not lower < inclusive:
            raise RecipeError(
                f"The range from {lower} to {upper} holds nothing; set radial_range to two "
                "values of which the first is the smaller."
            )
        return cls(float(lower), float(inclusive), npt)

    @property
    def step(self) -> float:
        """Width of a bin."""
        return (self.upper - self.lower) / self.npt

    @property
    def centres(self) -> FloatArray:
        """Centres of the bins, ``(npt,)``."""
        return self.lower + (np.arange(self.npt, dtype=np.float64) + 0.5) * self.step

    def position(self, values: FloatArray) -> FloatArray:
        """Values in units of bins: ``floor`` of it is the number of the bin."""
        return (values - self.lower) / self.step


@dataclass(frozen=True)
class AzimuthRange:
    """A range of azimuth that runs upwards from ``start`` by ``width``, both in radians."""

    start: float
    width: float

    @classmethod
    def from_degrees(cls, lower: float, upper: float) -> AzimuthRange:
        """The range from ``lower`` up to ``upper``; ``(170, -170)`` and ``(170, 190)`` are equal.

        A range of a full turn or more, ``(0, 360)`` or ``(-180, 180)``, is everything.
        """
        width = upper - lower
        if width <= 0:
            width %= 360.0
        if width == 0:
            raise RecipeError(
                f"azimuth_range is ({lower}, {upper}) and holds nothing; give two angles in "
                "degrees, the range runs upwards from the first."
            )
        return cls(float(np.deg2rad(lower)), float(np.deg2rad(min(width, 360.0))))

    @property
    def everything(self) -> bool:
        """Whether it is a full turn."""
        return self.width >= FULL_TURN

    def offset(self, chi: FloatArray) -> FloatArray:
        """Angle from the middle of the range, wrapped into half a turn on either side."""
        return wrapped(chi - (self.start + 0.5 * self.width))


def wrapped(angle: FloatArray) -> FloatArray:
    r"""Angles brought into :math:`[-\pi, \pi]` by whole turns."""
    return angle - FULL_TURN * np.round(angle / FULL_TURN)
