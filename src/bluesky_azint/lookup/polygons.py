"""Polygons: pixels shared by their area, straight into the table.

As for boxes (see `plain`), most are plain: wholly inside the axis, in few bins, and far enough from
the beam for the azimuth to be cut nowhere in them. The area of a polygon between two values of the
radial coordinate is the sum over its sides of the area under each, as in `bluesky_azint.splitting`;
here bin after bin for all pixels of a block, in place of pixel after pixel for all its bins.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import reduce
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from bluesky_azint.grid import Along
from bluesky_azint.lookup.layout import Rows

FloatArray = NDArray[np.float64]
Mask = NDArray[np.bool_]

# A pixel that covers less than this part of a turn does not hold the beam.
SMALL = 0.125


class Side(NamedTuple):
    """One side of each polygon: where it begins, and by how much the angle grows along it."""

    position: FloatArray
    angle: FloatArray
    slope: FloatArray

    def area(self, begin: FloatArray, end: FloatArray) -> FloatArray:
        """Less the area under a part of it."""
        middle = begin + end
        middle *= 0.5
        middle -= self.position
        middle *= self.slope
        middle += self.angle
        middle *= begin - end
        return middle


def fill_polygons(radial: Along, azimuthal: Along, usable: Mask, rows: Rows) -> Mask:
    """Tell the plain polygons of a block, and return which are odd.

    Parameters
    ----------
    radial, azimuthal
        Where the pixels lie; the azimuthal axis is one bin all around.
    usable
        Which are not masked, ``(n,)``.
    rows
        Their part of the table, in which no pixel is told yet.
    """
    if rows.shares is None or azimuthal.axis.turn is None:
        return usable
    with np.errstate(invalid="ignore", divide="ignore"):
        corners = [radial.position + offset for offset in _offsets(radial)]
        angles = _offsets(azimuthal)
        sides = _sides(corners, angles)
        total = _area(sides, corners)
        low, high = reduce(np.minimum, corners), reduce(np.maximum, corners)
        first, end = np.floor(low), radial.axis.end
        plain = usable & (low >= 0) & (high < end) & (total != 0)
        plain &= np.floor(high) - first <= rows.shares.shape[1]
        for angle in angles:
            plain &= np.abs(angle) < SMALL * azimuthal.axis.turn
        for column in range(rows.shares.shape[1] + 1):
            start = first + float(column)
            share = _area(sides, [np.clip(corner, start, start + 1.0) for corner in corners])
            share /= total
            plain &= (share >= 0) if column else (share > 0)
            if column:
                rows.shares[:, column - 1] = share
        odd: Mask = usable & ~(high < 0) & ~(low >= end) & ~plain
    rows.tell(plain, first)
    return odd


def _offsets(along: Along) -> list[FloatArray]:
    """Corners from the centre, in bins."""
    centre = along.centre
    return [along.axis.difference(corner, centre).ravel() for corner in along.corners or ()]


def _sides(corners: Sequence[FloatArray], angles: Sequence[FloatArray]) -> list[Side]:
    """From each corner to the next."""
    sides = []
    for k, (corner, angle) in enumerate(zip(corners, angles, strict=True)):
        length = corners[k + 1 - len(corners)] - corner
        slope = angles[k + 1 - len(corners)] - angle
        sides.append(Side(corner, angle, np.where(length != 0, slope / length, 0.0)))
    return sides


def _area(sides: Sequence[Side], corners: Sequence[FloatArray]) -> FloatArray:
    """Area of the polygons that sides enclose, between corners that are clipped."""
    area = sides[0].area(corners[0], corners[1])
    for k, side in enumerate(sides[1:], start=1):
        area += side.area(corners[k], corners[k + 1 - len(corners)])
    return area
