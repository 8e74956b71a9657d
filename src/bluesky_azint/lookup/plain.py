"""Plain: pixels that lie wholly inside the axes, straight into the table.

Almost every pixel is plain: boxes that are not cut, neither by the end of an axis nor where an angle
is cut, and that touch as few bins as the layout tells. Of these the first bin and the shares follow
from the two ends of the box. All others are odd, and left to `bluesky_azint.splitting`, which gives
the same for plain ones too, entry by entry.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from bluesky_azint.grid import Along, Grid
from bluesky_azint.lookup.layout import Rows

FloatArray = NDArray[np.float64]
Mask = NDArray[np.bool_]
Columns = NDArray[np.float32]


class Interval(NamedTuple):
    """Boxes along one axis, in units of bins; each array ``(n,)``.

    ``first`` and ``last`` are the bins of the ends, ``plain`` tells which boxes lie wholly inside
    the axis and ``touching`` which may touch it.
    """

    lower: FloatArray
    upper: FloatArray
    first: FloatArray
    last: FloatArray
    plain: Mask
    touching: Mask

    @classmethod
    def of(cls, along: Along) -> Interval:
        """The boxes of some pixels."""
        position, half, turn = along.position, along.half_width, along.axis.turn
        if turn is not None:
            half = np.minimum(half, 0.5 * turn)
        lower, upper, end = position - half, position + half, along.axis.end
        first, last = np.floor(lower), np.floor(upper)
        # Where the upper end is that of a bin, the box does not touch the next one.
        plain = (lower >= max(along.origin, 0.0)) & (upper < end) & (lower < upper)
        plain &= upper != last
        touching = ~(upper < 0) & ~(lower >= end)
        if turn is not None:
            touching |= (lower < 0) | (upper >= turn)
        return cls(lower, upper, first, last, plain, touching)

    @property
    def width(self) -> FloatArray:
        """Of the boxes, in bins."""
        return self.upper - self.lower

    @property
    def share_of_next(self) -> FloatArray:
        """Share in the bin after the first, of boxes that touch no other."""
        share: FloatArray = np.maximum(self.upper - (self.first + 1.0), 0.0) / self.width
        return share


def fill_plain(
    grid: Grid, radial: Along, azimuthal: Along | None, usable: Mask, rows: Rows
) -> Mask:
    """Tell the plain pixels of a block, and return which are odd.

    Parameters
    ----------
    grid
        The bins.
    radial, azimuthal
        Where the pixels lie.
    usable
        Which are not masked, ``(n,)``.
    rows
        Their part of the table, in which no pixel is told yet.
    """
    if grid.splitting == "no":
        _fill_whole(grid, radial, azimuthal, usable, rows)
        return np.zeros_like(usable)
    shares = np.empty((usable.size, 0), np.float32) if rows.shares is None else rows.shares
    with np.errstate(invalid="ignore", divide="ignore"):
        along, across = Interval.of(radial), None
        plain, odd, first = usable & along.plain, usable & along.touching, along.first
        if azimuthal is not None and not grid.azimuthal.undivided:
            across = Interval.of(azimuthal)
            plain &= across.plain
            odd &= across.touching
            first = first + grid.radial.npt * across.first
        if across is not None and grid.azimuthal.npt > 1:
            if grid.radial.npt > 1:
                plain &= _fill_cells(along, across, shares)
            else:
                plain &= (along.first == along.last) & _fill_columns(across, shares)
        else:
            if rows.spans is not None:
                plain &= _fill_boxes(along, shares, rows.spans)
            else:
                plain &= _fill_columns(along, shares)
            if across is not None:
                plain &= across.first == across.last
    rows.tell(plain, first)
    return odd & ~plain


def _fill_whole(
    grid: Grid, radial: Along, azimuthal: Along | None, usable: Mask, rows: Rows
) -> None:
    """Whole pixels, in the bins of their centres: all are plain."""
    first = np.floor(radial.position)
    inside = usable & (first >= 0) & (first < grid.radial.npt)
    if azimuthal is not None:
        row = np.floor(azimuthal.position)
        inside &= (row >= 0) & (row < grid.azimuthal.npt)
        first += row * grid.radial.npt
    rows.tell(inside, first)


def _fill_columns(along: Interval, shares: Columns) -> Mask:
    """Shares in the bins after the first, and which boxes touch no more bins than there are."""
    width = along.width
    for column, share in enumerate(shares.T, start=1):
        start = along.first + float(column)
        overlap = np.minimum(along.upper, start + 1.0) - start
        np.divide(np.maximum(overlap, 0.0), width, out=share, casting="same_kind")
    fits: Mask = along.last - along.first <= len(shares.T)
    return fits


def _fill_cells(along: Interval, across: Interval, shares: Columns) -> Mask:
    """Shares in the next bins along both axes."""
    for column, interval in enumerate((along, across)):
        shares[:, column] = interval.share_of_next
    fits: Mask = (along.last - along.first < 2) & (across.last - across.first < 2)
    return fits


def _fill_boxes(along: Interval, shares: Columns, spans: NDArray[np.uint16]) -> Mask:
    """Shares in the first and the last bin, and how far these are apart."""
    width, span = along.width, along.last - along.first
    alone = span == 0
    shares[:, 0] = np.where(alone, 1.0, (along.first + 1.0 - along.lower) / width)
    shares[:, 1] = np.where(alone, 0.0, (along.upper - along.last) / width)
    fits: Mask = span < 2.0**16
    spans[:] = np.where(fits & along.plain, span, 0.0)
    return fits
