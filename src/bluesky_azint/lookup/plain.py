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
from bluesky_azint.lookup.layout import Layout, Rows

FloatArray = NDArray[np.float64]
Mask = NDArray[np.bool_]


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
    def shares_of_two(self) -> tuple[FloatArray, FloatArray]:
        """Shares in the first bin and the next, of boxes that touch no other."""
        width = self.width
        begin = (np.minimum(self.upper, self.first + 1.0) - self.lower) / width
        return begin, np.maximum(self.upper - (self.first + 1.0), 0.0) / width


def fill_plain(
    grid: Grid, layout: Layout, radial: Along, azimuthal: Along | None, usable: Mask, rows: Rows
) -> Mask:
    """Tell the plain pixels of a block, and return which are odd.

    Parameters
    ----------
    grid, layout
        The bins, and how shares are told.
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
    with np.errstate(invalid="ignore", divide="ignore"):
        along = Interval.of(radial)
        plain, odd = usable & along.plain, usable & along.touching
        across = None
        if azimuthal is not None and not grid.azimuthal.undivided:
            across = Interval.of(azimuthal)
            plain &= across.plain
            odd &= across.touching
        if layout.boxes:
            plain &= _fill_boxes(along, across, rows)
        elif len(layout.offsets) == 4 and grid.azimuthal.npt > 1 and across is not None:
            plain &= _fill_cells(along, across, rows)
        elif grid.azimuthal.npt > 1 and across is not None:
            plain &= (along.first == along.last) & _fill_columns(across, 2, rows)
        else:
            plain &= _fill_columns(along, len(layout.offsets), rows)
            plain &= across is None or across.first == across.last
        first = along.first
        if across is not None:
            first = first + grid.radial.npt * across.first
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


def _fill_columns(along: Interval, columns: int, rows: Rows) -> Mask:
    """Shares in the bins after the first, and which boxes touch no more bins than there are."""
    shares = rows.shares
    if shares is None:
        return along.first == along.last
    width = along.width
    for column in range(1, columns):
        start = along.first + float(column)
        overlap = np.minimum(along.upper, start + 1.0) - start
        np.divide(np.maximum(overlap, 0.0), width, out=shares[:, column - 1], casting="same_kind")
    fits: Mask = along.last - along.first < columns
    return fits


def _fill_cells(along: Interval, across: Interval, rows: Rows) -> Mask:
    """Shares in the other three of two bins by two."""
    if rows.shares is None:
        return along.first == along.last
    (r0, r1), (a0, a1) = along.shares_of_two, across.shares_of_two
    for column, share in enumerate((r1 * a0, r0 * a1, r1 * a1)):
        rows.shares[:, column] = share
    fits: Mask = (along.last - along.first < 2) & (across.last - across.first < 2)
    return fits


def _fill_boxes(along: Interval, across: Interval | None, rows: Rows) -> Mask:
    """Shares in the first and the last bin, and how far these are apart."""
    if rows.shares is None or rows.spans is None:
        return np.zeros_like(along.plain)
    width, span = along.width, along.last - along.first
    alone = span == 0
    rows.shares[:, 0] = np.where(alone, 1.0, (along.first + 1.0 - along.lower) / width)
    rows.shares[:, 1] = np.where(alone, 0.0, (along.upper - along.last) / width)
    fits = span < 2.0**16
    rows.spans[:] = np.where(fits & along.plain, span, 0.0)
    return fits if across is None else fits & (across.first == across.last)
