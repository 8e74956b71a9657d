"""Look-up: which pixel goes into which bin, and with what share.

Built once per geometry, binning, splitting and mask, in blocks of rows so that it needs little
memory beside the table itself. Everything an engine has to do to a frame is a product with this
table.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from bluesky_azint.binning import Axis, AzimuthRange, wrapped
from bluesky_azint.geometry import Geometry, Position
from bluesky_azint.splitting import Shares, bbox_split, full_split, no_split
from bluesky_azint.units import Unit

if TYPE_CHECKING:
    from scipy.sparse import csc_array

FloatArray = NDArray[np.float64]
Mask = NDArray[np.bool_]

ROWS_PER_BLOCK = 64


@dataclass(frozen=True, eq=False)
class Compact:
    """Look-up of pixels that touch at most ``k`` bins, which are neighbours.

    Parameters
    ----------
    first
        First bin of each pixel, ``(n_pixels,)``; ``n_bins`` for a pixel that touches none.
    weights
        Share in the first and the following bins, ``(n_pixels, k)``; None where all are one.
    """

    first: NDArray[np.uint16] | NDArray[np.uint32]
    weights: NDArray[np.float32] | None

    @property
    def bins_per_pixel(self) -> int:
        """Largest number of bins a pixel touches, 1, 2, 4 or 8."""
        return 1 if self.weights is None else int(self.weights.shape[1])


@dataclass(frozen=True, eq=False)
class Lookup:
    """Shares of pixels in bins, pixel after pixel.

    Parameters
    ----------
    n_bins
        Number of bins.
    indptr
        Where the shares of each pixel begin, ``(n_pixels + 1,)``.
    bins, weights
        Bin and share, one entry per pair of a pixel and a bin it touches.
    """

    n_bins: int
    indptr: NDArray[np.int32]
    bins: NDArray[np.int32]
    weights: FloatArray

    @property
    def n_pixels(self) -> int:
        """Number of pixels, masked ones included."""
        return self.indptr.size - 1

    @cached_property
    def whole(self) -> bool:
        """Whether every pixel goes into one bin only, and as a whole."""
        return bool((self.weights == 1.0).all() and (np.diff(self.indptr) <= 1).all())

    @cached_property
    def used(self) -> Mask:
        """Which pixels touch a bin, ``(n_pixels,)``."""
        return np.diff(self.indptr) > 0

    @property
    def matrix(self) -> csc_array:
        """The table as a sparse matrix of shape ``(n_bins, n_pixels)``."""
        from scipy.sparse import csc_array

        return csc_array(
            (self.weights, self.bins, self.indptr), shape=(self.n_bins, self.n_pixels), copy=False
        )

    def select(self, pixels: NDArray[np.integer]) -> csc_array:
        """The columns of some pixels as a sparse matrix of shape ``(n_bins, len(pixels))``."""
        from scipy.sparse import csc_array

        length = self.indptr[pixels + 1] - self.indptr[pixels]
        indptr = np.concatenate([[0], np.cumsum(length)])
        entry = np.arange(indptr[-1]) + np.repeat(self.indptr[pixels] - indptr[:-1], length)
        return csc_array(
            (self.weights[entry], self.bins[entry], indptr), shape=(self.n_bins, len(pixels))
        )

    def compact(self, limit: int = 8) -> Compact | None:
        """The same as first bin and weights; None if a pixel touches more than ``limit`` bins."""
        first: NDArray[np.uint16] | NDArray[np.uint32] = np.full(
            self.n_pixels, self.n_bins, dtype=np.uint16
        )
        if self.n_bins >= 2**16:
            first = np.full(self.n_pixels, self.n_bins, dtype=np.uint32)
        first[self.used] = self.bins[self.indptr[:-1][self.used]]
        if self.whole:
            return Compact(first, None)
        pixel = np.repeat(np.arange(self.n_pixels), np.diff(self.indptr))
        column = self.bins - first[pixel].astype(np.int32)
        columns = next((k for k in (2, 4, 8) if column.max(initial=0) < k <= limit), None)
        if columns is None:
            return None
        weights = np.zeros((self.n_pixels, columns), dtype=np.float32)
        weights[pixel, column] = self.weights
        return Compact(first, weights)


def radial_axis(
    geometry: Geometry,
    unit: Unit,
    splitting: str,
    npt: int,
    radial_range: tuple[float, float] | None,
) -> Axis:
    """The radial axis: the range asked for, or what the whole detector covers.

    The mask has no say, so that it never moves the axis. What a pixel covers is its centre, its
    interval or its corners, by the splitting.
    """
    if radial_range is not None:
        return Axis.from_range(*radial_range, npt)
    ends = [_extent(geometry, unit, splitting, rows) for rows in _blocks(geometry)]
    lower, upper = min(low for low, _ in ends), max(high for _, high in ends)
    return Axis.from_range(max(lower, 0.0) if unit.positive else lower, upper, npt)


def build_lookup(
    geometry: Geometry,
    axis: Axis,
    unit: Unit,
    splitting: str,
    azimuth: AzimuthRange | None = None,
    mask: Mask | None = None,
) -> Lookup:
    """Sort every pixel that is not masked into the bins of the axis.

    Parameters
    ----------
    geometry, unit
        What gives a pixel its radial value.
    axis
        The radial bins.
    splitting
        How a pixel is shared, see `bluesky_azint.splitting`.
    azimuth
        The range of azimuth that counts; None for all.
    mask
        Boolean, of detector shape, True = masked.
    """
    n1, n2 = geometry.shape
    if azimuth is not None and azimuth.everything:
        azimuth = None
    usable = np.ones((n1, n2), dtype=bool) if mask is None else ~mask
    number = np.zeros((n1, n2), dtype=np.int32)
    bins, weights = [], []
    for rows in _blocks(geometry):
        kept = usable[rows]
        shares = _split_block(geometry, axis, unit, splitting, azimuth, rows, kept).inside(axis.npt)
        number[rows][kept] = np.bincount(shares.pixel, minlength=np.count_nonzero(kept))
        bins.append(shares.bin.astype(np.int32))
        weights.append(shares.weight)
    return Lookup(
        n_bins=axis.npt,
        indptr=np.concatenate([[0], np.cumsum(number, dtype=np.int32)], dtype=np.int32),
        bins=np.concatenate(bins) if bins else np.empty(0, dtype=np.int32),
        weights=np.concatenate(weights) if weights else np.empty(0),
    )


def _blocks(geometry: Geometry) -> Iterator[slice]:
    n1, _ = geometry.shape
    for start in range(0, n1, ROWS_PER_BLOCK):
        yield slice(start, min(start + ROWS_PER_BLOCK, n1))


def _extent(geometry: Geometry, unit: Unit, splitting: str, rows: slice) -> tuple[float, float]:
    """Smallest and largest radial value that a block of rows covers.

    The largest is that of corners in single precision, which pyFAI has: so the axes are equal.
    """
    centre = unit(geometry.centres(rows), geometry.wavelength)
    if splitting == "no":
        return float(centre.min()), float(centre.max())
    corner = _corner_values(geometry, unit, rows)
    rounded = (corner / unit.scale).astype(np.float32).astype(np.float64) * unit.scale
    if splitting == "full":
        return float(corner.min()), float(rounded.max())
    lower, upper = centre - _reach(centre, corner), centre + _reach(centre, rounded)
    return float(lower.min()), float(upper.max())


def _corner_values(geometry: Geometry, unit: Unit, rows: slice) -> FloatArray:
    """Radial value of the corners of the pixels of a block of rows, ``(rows, columns, 4)``."""
    return geometry.at_corners(lambda place: unit(place, geometry.wavelength), rows)


def _azimuth(place: Position) -> FloatArray:
    return np.arctan2(place.y, place.x)


def _reach(centre: FloatArray, corner: FloatArray) -> FloatArray:
    """Largest distance of a corner from the centre."""
    reach: FloatArray = np.abs(corner - centre[..., np.newaxis]).max(axis=-1)
    return reach


def _split_block(
    geometry: Geometry,
    axis: Axis,
    unit: Unit,
    splitting: str,
    azimuth: AzimuthRange | None,
    rows: slice,
    usable: Mask,
) -> Shares:
    """Shares of the usable pixels of a block of rows, numbered from 0."""
    place = geometry.centres(rows)
    value = unit(place, geometry.wavelength)[usable]
    chi = _azimuth(place)[usable] if azimuth or splitting == "full" else None
    if splitting == "no":
        return no_split(axis.position(value), chi, azimuth)
    corner = _corner_values(geometry, unit, rows)[usable]
    chi_corner = None
    if chi is not None:
        chi_corner = geometry.at_corners(_azimuth, rows)[usable]
    if splitting == "full" and chi is not None and chi_corner is not None:
        return full_split(axis.position(corner), chi_corner, chi, azimuth)
    reach = _reach(value, corner)
    half_width = None
    if chi is not None and chi_corner is not None:
        half_width = np.abs(wrapped(chi_corner - chi[:, np.newaxis])).max(axis=1)
    return bbox_split(
        axis.position(value - reach),
        axis.position(value + reach),
        axis.position(np.zeros(1)).item() if unit.positive else -np.inf,
        chi,
        half_width,
        azimuth,
    )
