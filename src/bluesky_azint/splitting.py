r"""Splitting: how a pixel is shared among the bins it touches.

``no``
    The whole pixel goes to the bin of its centre.
``bbox``
    The pixel is the interval :math:`c \pm d`, with :math:`d` the largest distance of a corner from
    the centre :math:`c`, and is shared in proportion to the overlap.
``full``
    The pixel is the quadrilateral of its corners in the plane of the radial coordinate and
    :math:`\chi`, and is shared in proportion to the area.

A share is always a part of the whole pixel: what lies outside the axis, or outside the range of
azimuth, is counted nowhere. Radial positions are in units of bins (see `Axis.position`).
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from bluesky_azint.binning import EPSILON, FULL_TURN, AzimuthRange, wrapped

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]

SPLITTINGS = ("no", "bbox", "full")


class Shares(NamedTuple):
    """Shares of pixels in bins: three arrays of equal length, in the order of the pixels."""

    pixel: IntArray
    bin: IntArray
    weight: FloatArray

    def inside(self, npt: int) -> Shares:
        """Those that are in one of ``npt`` bins, and not empty."""
        keep = (self.bin >= 0) & (self.bin < npt) & (self.weight > 0)
        return Shares(self.pixel[keep], self.bin[keep], self.weight[keep])


def no_split(centre: FloatArray, chi: FloatArray | None, azimuth: AzimuthRange | None) -> Shares:
    """Whole pixels, in the bin of their centre.

    Parameters
    ----------
    centre
        Radial position of the pixel centres, ``(n,)``.
    chi
        Their azimuth in radians, ``(n,)``; used with a range of azimuth only.
    azimuth
        The range of azimuth that counts, both ends included; None for all.
    """
    pixel = np.arange(centre.size)
    if azimuth is not None and chi is not None:
        pixel = pixel[np.abs(azimuth.offset(chi)) <= 0.5 * azimuth.width * EPSILON]
    position = np.floor(centre[pixel]).astype(np.int64)
    return Shares(pixel, position, np.ones(pixel.size))


def bbox_split(
    lower: FloatArray,
    upper: FloatArray,
    origin: float,
    chi: FloatArray | None,
    chi_half_width: FloatArray | None,
    azimuth: AzimuthRange | None,
) -> Shares:
    r"""Intervals, shared by overlap.

    Parameters
    ----------
    lower, upper
        Ends of the interval of each pixel, ``(n,)``.
    origin
        Position of the smallest value there can be (radius zero). The interval of the pixel that
        holds the beam reaches below it: that part belongs to the bin at the origin.
    chi, chi_half_width
        Centre and half width of the interval of azimuth, in radians, ``(n,)``; used with a range
        of azimuth only, whose share multiplies the radial one.
    azimuth
        The range of azimuth that counts; None for all.
    """
    bounded = np.maximum(lower, origin)
    pixel, position = _touched(bounded, upper)
    width = (upper - lower)[pixel]
    overlap = np.minimum(upper[pixel], position + 1.0) - np.maximum(bounded[pixel], position)
    folded = np.where(position == np.floor(bounded[pixel]), (bounded - lower)[pixel], 0.0)
    with np.errstate(invalid="ignore", divide="ignore"):
        weight = np.where(width > 0, (overlap + folded) / width, 1.0)
    if azimuth is not None and chi is not None and chi_half_width is not None:
        weight *= _azimuth_overlap(azimuth.offset(chi), chi_half_width, azimuth.width)[pixel]
    return Shares(pixel, position, weight)


def full_split(
    corners: FloatArray, chi_corners: FloatArray, chi: FloatArray, azimuth: AzimuthRange | None
) -> Shares:
    r"""Quadrilaterals, shared by area.

    The area of a polygon within a strip is the sum, over its edges clipped to the strip, of
    :math:`\int \chi\,dp`; restricted to a range of azimuth, of :math:`\int \mathrm{clamp}(\chi)\,dp`.

    Parameters
    ----------
    corners, chi_corners
        Radial position and azimuth in radians of the corners, ``(n, 4)``, in cyclic order.
    chi
        Azimuth of the centres, ``(n,)``.
    azimuth
        The range of azimuth that counts; None for all.
    """
    relative, around = _unwrapped(corners, chi_corners, chi)
    pixel, position = _touched(corners.min(axis=1), corners.max(axis=1))
    total = _strip_area(corners, relative, None, None)
    strip = position[:, np.newaxis].astype(np.float64)
    p, angle = corners[pixel], relative[pixel]
    if azimuth is None:
        area = _strip_area(p, angle, strip, None)
    else:
        middle = azimuth.offset(chi)[pixel, np.newaxis]
        half = 0.5 * azimuth.width
        area = np.zeros(pixel.size)
        for turn in (-FULL_TURN, 0.0, FULL_TURN):
            area += _strip_area(p, angle, strip, (turn - half - middle, turn + half - middle))
        whole = around[pixel]
        if whole.any():  # the beam is in the pixel: every azimuth is in it alike
            plain = _strip_area(p[whole], angle[whole], strip[whole], None)
            area[whole] = plain * azimuth.width / FULL_TURN
    with np.errstate(invalid="ignore", divide="ignore"):
        weight = np.where(total[pixel] != 0, area / total[pixel], 1.0)
    return Shares(pixel, position, weight)


def _touched(lower: FloatArray, upper: FloatArray) -> tuple[IntArray, IntArray]:
    """Every pair of a pixel and a bin that its interval touches, in the order of the pixels."""
    first = np.floor(lower).astype(np.int64)
    number = np.floor(upper).astype(np.int64) - first + 1
    pixel = np.repeat(np.arange(lower.size), number)
    start = np.cumsum(number) - number
    return pixel, np.arange(pixel.size) - start[pixel] + first[pixel]


def _azimuth_overlap(offset: FloatArray, half_width: FloatArray, range_width: float) -> FloatArray:
    """Part of the intervals ``offset +- half_width`` in a range centred at 0, which wraps."""
    overlap = np.zeros_like(offset)
    for turn in (-FULL_TURN, 0.0, FULL_TURN):
        low = np.maximum(offset - half_width, turn - 0.5 * range_width)
        high = np.minimum(offset + half_width, turn + 0.5 * range_width)
        overlap += np.maximum(high - low, 0.0)
    return overlap / (2.0 * half_width)


def _unwrapped(
    corners: FloatArray, chi_corners: FloatArray, chi: FloatArray
) -> tuple[FloatArray, NDArray[np.bool_]]:
    """Azimuth of the corners from the centre, without a jump, and which pixels hold the beam.

    Around the beam the azimuth jumps by a full turn wherever it is cut: at half a turn, or at
    zero where that gives the polygon the sense of rotation it should have.
    """
    relative = wrapped(chi_corners - chi[:, np.newaxis])
    around = np.ptp(chi_corners, axis=1) > np.pi  # the cut is in the pixel, and maybe the beam
    angle = chi_corners[around]
    winding = wrapped(np.roll(angle, -1, axis=1) - angle).sum(axis=1)
    beam = np.abs(winding) > np.pi
    around[around] = beam
    angle, winding = angle[beam], winding[beam]
    reversed_sense = _strip_area(corners[around], angle, None, None) * winding < 0
    angle[reversed_sense[:, np.newaxis] & (angle < 0)] += FULL_TURN
    relative[around] = angle
    return relative, around


def _strip_area(
    p: FloatArray,
    angle: FloatArray,
    strip: FloatArray | None,
    limits: tuple[FloatArray, FloatArray] | None,
) -> FloatArray:
    """Signed area of polygons ``(n, 4)``, within ``[strip, strip + 1)`` and between two angles."""
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
    # the integral of chi dp is negative for a polygon that turns counter-clockwise
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
