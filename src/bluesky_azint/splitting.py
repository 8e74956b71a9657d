r"""Splitting: how a pixel is shared among the bins it touches.

``no``
    The whole pixel goes to the bin of its centre.
``bbox``
    The pixel is the box :math:`c \pm d`, with :math:`d` in each coordinate the largest distance of
    a corner from the centre :math:`c`, and is shared in proportion to the overlap.
``pseudo``
    The same with the box scaled down to the area of the pixel.
``full``
    The pixel is the polygon of its corners in the plane of the two coordinates, and is shared in
    proportion to the area.

A share is always a part of the whole pixel: what lies outside the axes is counted nowhere.
Positions are in units of bins (see `Axis.position`).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from bluesky_azint.binning import Axis

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]

SPLITTINGS = ("no", "bbox", "pseudo", "full")

# An angle that jumps by more than this part of a turn within a pixel jumps at the cut.
_HALF = 0.5


class Shares(NamedTuple):
    """Shares of pixels in bins: three arrays of equal length, in the order of the pixels."""

    pixel: IntArray
    bin: IntArray
    weight: FloatArray

    def take(self, chosen: NDArray[np.bool_] | IntArray) -> Shares:
        """Some of them."""
        return Shares(self.pixel[chosen], self.bin[chosen], self.weight[chosen])


@dataclass(frozen=True, eq=False)
class Coordinate:
    """One coordinate of pixels, in units of bins.

    Parameters
    ----------
    axis
        The bins.
    centre
        Of each pixel, ``(n,)``.
    corners
        Of each pixel from its centre, ``(n, k)`` in cyclic order; None without splitting.
    origin
        Position of the smallest value there can be (radius zero). The box of the pixel that holds
        the beam reaches below it: that part belongs to the bin at the origin.
    """

    axis: Axis
    centre: FloatArray
    corners: FloatArray | None = None
    origin: float = -np.inf

    def take(self, pixels: IntArray) -> Coordinate:
        """That of some pixels."""
        corners = None if self.corners is None else self.corners[pixels]
        return Coordinate(self.axis, self.centre[pixels], corners, self.origin)

    def relative_corners(self) -> FloatArray:
        """The corners.

        Raises
        ------
        ValueError
            If there are none.
        """
        if self.corners is None:
            raise ValueError("Pixels can only be split with their corners.")
        return self.corners

    def half_width(self) -> FloatArray:
        """Largest distance of a corner from the centre, ``(n,)``."""
        width: FloatArray = np.abs(self.relative_corners()).max(axis=1)
        return width


def split(splitting: str, radial: Coordinate, azimuthal: Coordinate | None) -> Shares:
    """Shares of pixels in the bins of one or two axes; bins are counted radially first.

    Parameters
    ----------
    splitting
        One of `SPLITTINGS`.
    radial, azimuthal
        The coordinates; the second may be None without splitting and with boxes.
    """
    if splitting == "no":
        return _no_split(radial, azimuthal)
    if splitting == "full" and azimuthal is not None:
        return _positive(_full_split(radial, azimuthal))
    scale = None
    if splitting == "pseudo" and azimuthal is not None:
        scale = _scale_to_area(radial, azimuthal)
    shares = _overlaps(radial, scale)
    if azimuthal is None or azimuthal.axis.undivided:
        return shares
    return _product(shares, _overlaps(azimuthal, scale), radial.axis.npt)


def _no_split(radial: Coordinate, azimuthal: Coordinate | None) -> Shares:
    number = np.floor(radial.centre).astype(np.int64)
    inside = (number >= 0) & (number < radial.axis.npt)
    if azimuthal is not None:
        row = np.floor(azimuthal.centre).astype(np.int64)
        inside &= (row >= 0) & (row < azimuthal.axis.npt)
        number += row * radial.axis.npt
    pixel = np.flatnonzero(inside)
    return Shares(pixel, number[pixel], np.ones(pixel.size))


def _overlaps(coordinate: Coordinate, scale: FloatArray | None) -> Shares:
    """Shares of intervals around the centres in the bins of one axis."""
    half = coordinate.half_width()
    if scale is not None:
        half = half * scale
    turn = coordinate.axis.turn
    if turn is not None:
        half = np.minimum(half, 0.5 * turn)
    lower, upper = coordinate.centre - half, coordinate.centre + half
    parts = []
    for shift in (0.0,) if turn is None else (0.0, -turn, turn):
        touching = _touching(lower + shift, upper + shift, coordinate.axis.end)
        shares = _interval_shares(
            lower[touching] + shift,
            upper[touching] + shift,
            coordinate.origin,
            coordinate.axis.end,
        )
        parts.append(shares._replace(pixel=touching[shares.pixel]))
    return _merged(parts)


def _touching(lower: FloatArray, upper: FloatArray, end: float) -> IntArray:
    return np.flatnonzero((upper >= 0) & (lower < end))


def _interval_shares(lower: FloatArray, upper: FloatArray, origin: float, end: float) -> Shares:
    bounded = np.maximum(lower, origin)
    pixel, number = _touched(np.maximum(bounded, 0.0), np.minimum(upper, end))
    width = (upper - lower)[pixel]
    high = np.minimum(np.minimum(upper[pixel], end), number + 1.0)
    overlap = high - np.maximum(bounded[pixel], number)
    folded = np.where(number == np.floor(bounded[pixel]), (bounded - lower)[pixel], 0.0)
    with np.errstate(invalid="ignore", divide="ignore"):
        weight = np.where(width > 0, (overlap + folded) / width, 1.0)
    return _before(Shares(pixel, number, weight), end)


def _before(shares: Shares, end: float) -> Shares:
    """Those that lie before the end of the axis, and hold something."""
    keep = (shares.weight != 0) & (shares.bin < end)
    return shares if keep.all() else shares.take(keep)


def _positive(shares: Shares) -> Shares:
    """The shares without negative ones, of pixels whose sides cross in these coordinates.

    What they took away is taken from the other shares of the pixel in proportion.
    """
    keep = shares.weight > 0
    if keep.all():
        return shares
    signed = np.bincount(shares.pixel, shares.weight)
    shares = shares.take(keep)
    positive = np.bincount(shares.pixel, shares.weight, minlength=signed.size)
    ratio = np.divide(signed, positive, out=np.zeros_like(signed), where=positive > 0)
    return shares._replace(weight=shares.weight * np.maximum(ratio, 0.0)[shares.pixel])


def _merged(parts: list[Shares]) -> Shares:
    """The shares of all parts in the order of the pixels, of each bin once."""
    parts = [part for part in parts if part.pixel.size] or parts[:1]
    if len(parts) == 1:
        return parts[0]
    pixel, number, weight = (np.concatenate(column) for column in zip(*parts, strict=True))
    order = np.lexsort((number, pixel))
    pixel, number, weight = pixel[order], number[order], weight[order]
    first = np.r_[True, (np.diff(pixel) != 0) | (np.diff(number) != 0)]
    start = np.flatnonzero(first)
    return Shares(pixel[start], number[start], np.add.reduceat(weight, start))


def _product(radial: Shares, azimuthal: Shares, npt: int) -> Shares:
    """Shares of boxes: those of both sides, multiplied, for each pixel."""
    size = max(radial.pixel.max(initial=-1), azimuthal.pixel.max(initial=-1)) + 1
    start = np.searchsorted(azimuthal.pixel, np.arange(size + 1))
    number = np.diff(start)[radial.pixel]
    entry = np.repeat(np.arange(radial.pixel.size), number)
    within = np.arange(entry.size) - np.repeat(np.cumsum(number) - number, number)
    other = start[radial.pixel[entry]] + within
    return Shares(
        radial.pixel[entry],
        radial.bin[entry] + npt * azimuthal.bin[other],
        radial.weight[entry] * azimuthal.weight[other],
    )


def _scale_to_area(radial: Coordinate, azimuthal: Coordinate) -> FloatArray:
    """By how much each box is to be scaled in both directions to have the area of its pixel."""
    corners, angle, around = _polygon(radial, azimuthal)
    area = np.abs(_strip_area(corners, angle, None, None))
    box = 4.0 * radial.half_width() * azimuthal.half_width()
    ratio = np.divide(area, box, out=np.ones_like(area), where=(box > 0) & ~around)
    return np.sqrt(np.minimum(ratio, 1.0))


def _full_split(radial: Coordinate, azimuthal: Coordinate) -> Shares:
    r"""Polygons, shared by area.

    The area of a polygon within a strip of the first coordinate :math:`p` is the sum, over its
    edges clipped to the strip, of :math:`\int a\,dp`, with :math:`a` the second coordinate;
    restricted to an interval of that, it is the sum of :math:`\int \mathrm{clamp}(a)\,dp`.
    """
    corners, angle, around = _polygon(radial, azimuthal)
    total = _strip_area(corners, angle, None, None)
    low, high = corners.min(axis=1), corners.max(axis=1)
    touching = _touching(low, high, radial.axis.end)
    index, number = _touched(
        np.maximum(low[touching], 0.0), np.minimum(high[touching], radial.axis.end)
    )
    pixel = touching[index]
    strip = number[:, np.newaxis].astype(np.float64)
    whole_rows = azimuthal.axis.undivided
    if whole_rows or around.any():
        plain = np.ones(pixel.size, dtype=bool) if whole_rows else around[pixel]
        area = _strip_area(corners[pixel[plain]], angle[pixel[plain]], strip[plain], None)
        rows = _before(
            Shares(pixel[plain], number[plain], _part(area, total[pixel[plain]])),
            radial.axis.end,
        )
        if whole_rows:
            return rows
        parts = [_all_around(rows, azimuthal.axis, radial.axis.npt)]
    else:
        parts = []
    cut = ~around[pixel]
    strips = Shares(pixel[cut], number[cut], total[pixel[cut]])
    parts += _cells(strips, corners, angle, radial, azimuthal)
    return _merged(parts)


def _part(area: FloatArray, total: FloatArray) -> FloatArray:
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.where(total != 0, area / total, 1.0)


def _all_around(rows: Shares, axis: Axis, npt: int) -> Shares:
    """The beam is in the pixel: every azimuth is in it alike."""
    bins = np.arange(axis.npt)
    widths = np.minimum(bins + 1.0, axis.end) - np.minimum(bins, axis.end)
    each = widths / (axis.turn or axis.npt)
    return Shares(
        np.repeat(rows.pixel, axis.npt),
        (rows.bin[:, np.newaxis] + npt * bins).ravel(),
        (rows.weight[:, np.newaxis] * each).ravel(),
    )


def _cells(
    strips: Shares,
    corners: FloatArray,
    angle: FloatArray,
    radial: Coordinate,
    azimuthal: Coordinate,
) -> list[Shares]:
    """Shares of polygons in the cells of strips; `strips` holds total areas in place of weights."""
    turn = azimuthal.axis.turn
    position = angle + azimuthal.centre[:, np.newaxis]
    low, high = position.min(axis=1), position.max(axis=1)
    parts = []
    for shift in (0.0,) if turn is None else (0.0, -turn, turn):
        entry = _touching(low[strips.pixel] + shift, high[strips.pixel] + shift, azimuthal.axis.end)
        if entry.size == 0:
            continue
        pixel = strips.pixel[entry]
        index, row = _touched(
            np.maximum(low[pixel] + shift, 0.0),
            np.minimum(high[pixel] + shift, azimuthal.axis.end),
        )
        entry, pixel = entry[index], pixel[index]
        begin = row[:, np.newaxis].astype(np.float64)
        end = np.minimum(begin + 1.0, azimuthal.axis.end)
        area = _strip_area(
            corners[pixel],
            position[pixel] + shift,
            strips.bin[entry][:, np.newaxis].astype(np.float64),
            (begin, end),
        )
        weight = _part(area, strips.weight[entry])
        keep = (weight != 0) & (row < azimuthal.axis.npt) & (strips.bin[entry] < radial.axis.npt)
        number = strips.bin[entry] + radial.axis.npt * row
        parts.append(Shares(pixel, number, weight).take(keep))
    return parts or [Shares(*(np.empty(0, dtype=kind) for kind in (np.int64, np.int64, float)))]


def _touched(lower: FloatArray, upper: FloatArray) -> tuple[IntArray, IntArray]:
    """Every pair of a pixel and a bin that its interval touches, in the order of the pixels."""
    first = np.floor(lower).astype(np.int64)
    number = np.floor(upper).astype(np.int64) - first + 1
    pixel = np.repeat(np.arange(lower.size), number)
    start = np.cumsum(number) - number
    return pixel, np.arange(pixel.size) - start[pixel] + first[pixel]


def _polygon(
    radial: Coordinate, azimuthal: Coordinate
) -> tuple[FloatArray, FloatArray, NDArray[np.bool_]]:
    """Positions of the corners, their angle from the centre, and which pixels hold the beam.

    Around the beam the angle jumps by a full turn wherever it is cut: at half a turn from the
    centre, or where the polygon then has the sense of rotation that it should have.
    """
    corners = radial.centre[:, np.newaxis] + radial.relative_corners()
    angle = azimuthal.relative_corners()
    around = np.zeros(len(corners), dtype=bool)
    turn = azimuthal.axis.turn
    if turn is None:
        return corners, angle, around
    jumps = np.roll(angle, -1, axis=1) - angle
    candidates = np.flatnonzero((np.abs(jumps) > _HALF * turn).any(axis=1))
    if candidates.size == 0:
        return corners, angle, around
    jumps = jumps[candidates]
    winding = (jumps - turn * np.round(jumps / turn)).sum(axis=1)
    winds = np.abs(winding) > _HALF * turn
    around[candidates[winds]] = True
    angle = angle.copy()
    angle[around] = _cut(corners[around], angle[around], winding[winds], azimuthal, around)
    return corners, angle, around


def _cut(
    corners: FloatArray,
    angle: FloatArray,
    winding: FloatArray,
    azimuthal: Coordinate,
    around: NDArray[np.bool_],
) -> FloatArray:
    """Angles around the beam as they are, or cut at zero where that keeps the sense of rotation."""
    axis = azimuthal.axis
    turn = axis.turn or np.inf
    absolute = angle + azimuthal.centre[around, np.newaxis] + axis.lower / axis.step
    absolute -= turn * np.round(absolute / turn)
    reversed_sense = _strip_area(corners, absolute, None, None) * winding < 0
    return np.where(reversed_sense[:, np.newaxis] & (absolute < 0), absolute + turn, absolute)


def _strip_area(
    p: FloatArray,
    angle: FloatArray,
    strip: FloatArray | None,
    limits: tuple[FloatArray, FloatArray] | None,
) -> FloatArray:
    """Signed area of polygons ``(n, k)``, within ``[strip, strip + 1)`` and between two angles."""
    p_next, angle_next = np.roll(p, -1, axis=1), np.roll(angle, -1, axis=1)
    begin, end = p, p_next
    if strip is not None:
        begin = np.clip(begin, strip, strip + 1.0)
        end = np.clip(end, strip, strip + 1.0)
    length = p_next - p
    slope = np.divide(angle_next - angle, length, out=np.zeros_like(length), where=length != 0)
    if limits is None:
        height = angle + slope * (0.5 * (begin + end) - p)
    else:
        height = _mean_of_clamped(
            angle + slope * (begin - p), angle + slope * (end - p), limits[0], limits[1]
        )
    # The integral of the angle over p is negative for a polygon that turns counter-clockwise.
    area: FloatArray = -((end - begin) * height).sum(axis=1)
    return area


def _mean_of_clamped(
    begin: FloatArray, end: FloatArray, low: FloatArray, high: FloatArray
) -> FloatArray:
    """Mean of ``clip(v, low, high)`` for ``v`` running evenly from ``begin`` to ``end``."""
    smaller, larger = np.minimum(begin, end), np.maximum(begin, end)
    span = larger - smaller
    below = np.clip(low - smaller, 0.0, span)
    above = np.clip(larger - high, 0.0, span)
    inside = span - below - above
    middle = 0.5 * (np.clip(begin, low, high) + np.clip(end, low, high))
    mean = middle.copy()
    np.divide(below * low + above * high + inside * middle, span, out=mean, where=span > 0)
    return mean
