r"""Binning: the axes that pixels are sorted along.

An axis of :math:`n` bins runs from ``lower`` to ``upper``; bin :math:`k` holds
:math:`lower + k\delta \le v < lower + (k+1)\delta`. So that the largest value is inside, the upper
end is moved up by one part in :math:`2^{23}`, as pyFAI does: both then sort every pixel alike.

An angle comes back to itself after a period. Its axis runs upwards from ``lower``, over whatever
cut there is in the angles, and over a full turn at the most.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from bluesky_azint.errors import RecipeError

FloatArray = NDArray[np.float64]

EPSILON = 1.0 + 2.0**-23


@dataclass(frozen=True)
class Axis:
    """Equal bins between two ends.

    Parameters
    ----------
    lower, upper
        The ends, the upper one not included.
    npt
        Number of bins.
    period
        After which values come back to themselves; None if they do not.
    """

    lower: float
    upper: float
    npt: int
    period: float | None = None

    @classmethod
    def from_range(cls, lower: float, upper: float, npt: int, period: float | None = None) -> Axis:
        """The axis that holds both ends of a range.

        With a period, ``(170, -170)`` and ``(170, 190)`` are equal, and a range of a full turn or
        more, ``(0, 360)`` or ``(-180, 180)``, is everything.

        Raises
        ------
        RecipeError
            If the range holds nothing.
        """
        if period is not None:
            if upper < lower:
                upper += period * np.ceil((lower - upper) / period)
            upper = min(upper, lower + period)
        inclusive = upper * EPSILON if upper > 0 else upper / EPSILON
        if not lower < inclusive or (period is not None and lower == upper):
            raise RecipeError(
                f"The range from {lower} to {upper} holds nothing; give two values of which the "
                "first is the smaller, or of an angle two that differ."
            )
        return cls(float(lower), float(inclusive), npt, period)

    @property
    def step(self) -> float:
        """Width of a bin."""
        return (self.upper - self.lower) / self.npt

    @property
    def centres(self) -> FloatArray:
        """Centres of the bins, ``(npt,)``."""
        return self.lower + (np.arange(self.npt, dtype=np.float64) + 0.5) * self.step

    @property
    def turn(self) -> float | None:
        """The period in units of bins."""
        return None if self.period is None else self.period / self.step

    @property
    def end(self) -> float:
        """Where the axis ends, in units of bins: after the last one, or after a full turn."""
        return float(self.npt) if self.turn is None else min(float(self.npt), self.turn)

    @property
    def everything(self) -> bool:
        """Whether it is a full turn."""
        return self.turn is not None and self.end == self.turn

    @property
    def undivided(self) -> bool:
        """Whether it is one bin all around, which has no say in where a pixel goes."""
        return self.npt == 1 and self.everything

    def position(self, values: FloatArray) -> FloatArray:
        """Values in units of bins: ``floor`` of it is the number of the bin.

        With a period they are brought between 0 and a full turn.
        """
        position: FloatArray = (values - self.lower) / self.step
        return position if self.turn is None else position % self.turn

    def difference(self, values: FloatArray, origin: FloatArray) -> FloatArray:
        """Distance from an origin in units of bins; with a period, the shorter way round."""
        distance: FloatArray = (values - origin) / self.step
        if self.turn is not None:
            distance = distance - self.turn * np.round(distance / self.turn)
        return distance
