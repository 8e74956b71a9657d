"""What the other lines add to the window of a line.

The tails of a neighbour, most of all Lorentzian ones, draw a ring to it. They are known well enough
from the neighbour's own fit. Lines that stand too close to others to be fitted are as high as the
structure of the calibrant says, compared with the fitted lines around them.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from bluesky_azint.calibration.refinement.lines import Lines, shape
from bluesky_azint.calibration.surface import FloatArray

_KNOTS = 65  # in a window, between which tails are straight
_FAR = 40.0  # widths


class Tails:
    """The tails of others in the windows of lines.

    Parameters
    ----------
    lines
        Those that are fitted.
    unfitted
        Others that are there.
    half_width
        Of the windows, in radians.
    """

    def __init__(self, lines: Lines, unfitted: Lines, half_width: FloatArray) -> None:
        self.lines, self.unfitted, self.half_width = lines, unfitted, half_width
        self.knots = np.linspace(-1.0, 1.0, _KNOTS)

    def at(
        self,
        line: NDArray[np.intp],
        x_relative: FloatArray,
        height: FloatArray,
        fwhm: FloatArray,
        lorentzian: FloatArray,
    ) -> FloatArray:
        """What others add at places in windows, -1 to 1, for lines of those heights and shapes."""
        table = self._table(height, fwhm, lorentzian)
        step = np.diff(table, axis=1, append=table[:, -1:])
        place = (x_relative + 1.0) * (0.5 * (_KNOTS - 1))
        knot = np.clip(place.astype(np.intp), 0, _KNOTS - 2)
        index = line * _KNOTS + knot
        tails: FloatArray = table.reshape(-1)[index] + (place - knot) * step.reshape(-1)[index]
        return tails

    def _table(self, height: FloatArray, fwhm: FloatArray, lorentzian: FloatArray) -> FloatArray:
        lines, unfitted = self.lines, self.unfitted
        known = height > 0
        if not known.any():
            return np.zeros((len(lines), _KNOTS))
        at = lines.two_theta[known]
        ratio = np.log(height[known] / lines.expected[known])
        others = np.exp(np.interp(unfitted.two_theta, at, ratio)) * unfitted.expected
        heights = np.concatenate([np.where(known, height, 0.0), others])
        widths = np.concatenate([fwhm, np.interp(unfitted.two_theta, at, fwhm[known])])
        shapes = np.concatenate([lorentzian, np.interp(unfitted.two_theta, at, lorentzian[known])])
        centres = np.concatenate([lines.two_theta, unfitted.two_theta])
        table = np.zeros((len(lines), _KNOTS))
        for one, middle in enumerate(lines.two_theta):
            near = np.abs(centres - middle) < _FAR * widths
            near[one] = False
            x = middle + self.half_width[one] * self.knots - centres[near][:, np.newaxis]
            value, *_ = shape(x, widths[near][:, np.newaxis], shapes[near][:, np.newaxis])
            table[one] = heights[near] @ value
        return table
