"""The table: which pixel goes into which bin, and with what share.

All engines work from this one description. Most pixels touch a few bins that lie together, so that
a first bin and a few shares tell all; the odd ones (cut by the end of a range, around the beam ...)
are listed entry by entry. The shares of most are single precision, for every engine the same, and
make up one all the same; what is summed with them is summed in double precision.
"""

from __future__ import annotations

from dataclasses import dataclass, fields
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from bluesky_azint.splitting import Shares

if TYPE_CHECKING:
    from scipy.sparse import csc_array

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]
Mask = NDArray[np.bool_]
BinNumbers = NDArray[np.uint16 | np.uint32]

# Stretches of used pixels that are closer than this are one: the few between cost less than a stop.
SMALL_GAP = 16


@dataclass(frozen=True, eq=False)
class Entries:
    """Shares of some pixels, entry by entry.

    Parameters
    ----------
    pixels
        Which pixels, in increasing order, ``(m,)``.
    indptr
        Where the entries of each begin, ``(m + 1,)``.
    bins, weights
        Bin and share of each entry.
    """

    pixels: NDArray[np.int32]
    indptr: NDArray[np.int32]
    bins: NDArray[np.int32]
    weights: FloatArray

    def shares_of(self, pixels: IntArray) -> Shares:
        """The shares of some pixels, numbered by their place in ``pixels``."""
        place = np.searchsorted(self.pixels, pixels)
        known = np.flatnonzero(
            self.pixels[np.minimum(place, self.pixels.size - 1)] == pixels
            if self.pixels.size
            else np.zeros(pixels.size, dtype=bool)
        )
        start = self.indptr[place[known]]
        number = self.indptr[place[known] + 1] - start
        entry = np.arange(number.sum()) + np.repeat(start - (np.cumsum(number) - number), number)
        return Shares(
            np.repeat(known, number),
            self.bins[entry].astype(np.int64),
            self.weights[entry],
        )


@dataclass(frozen=True, eq=False)
class Lookup:
    """Shares of pixels in bins.

    A pixel with a first bin is shared out as a whole. Without ``spans``, ``shares[:, j]`` of it go
    into the bin ``first + offsets[j + 1]``, and into the first what is left of one. With ``spans``
    (wide boxes), ``shares[:, 0]`` go into the first bin, ``shares[:, 1]`` into the bin
    ``first + spans``, and equal parts of what is left of one into those between; or into the first
    bin, where there is none between.

    Boxes in two dimensions are `cells`: of the four bins that they touch, ``shares[:, 0]`` go into
    the two that are next along the first axis, and ``shares[:, 1]`` into the two along the second.

    Parameters
    ----------
    n_bins
        Number of bins.
    first
        First bin of each pixel, ``(n_pixels,)``; ``n_bins`` for a pixel that is not used, or
        stands in ``rest``.
    shares
        See above, ``(n_pixels, k)``; None where every pixel goes into one bin as a whole.
    offsets
        How far from its first bin the bins lie that a pixel may touch, from 0 upwards.
    spans
        How far the last bin is from the first, ``(n_pixels,)``; or None.
    rest
        The pixels that cannot be told so.
    columns
        Pixels in a row of the detector; 0 if that is not known.
    """

    n_bins: int
    first: BinNumbers
    shares: NDArray[np.float32] | None = None
    offsets: tuple[int, ...] = (0,)
    spans: NDArray[np.uint16] | None = None
    rest: Entries | None = None
    columns: int = 0

    @property
    def n_pixels(self) -> int:
        """Number of pixels, unused ones included."""
        return self.first.size

    @property
    def cells(self) -> bool:
        """Whether the shares are those of boxes along two axes."""
        return (
            self.shares is not None
            and self.spans is None
            and len(self.offsets) == 4
            and (self.shares.shape[1] == 2)
        )

    @property
    def nbytes(self) -> int:
        """Memory that it takes."""
        arrays = [self.first, self.shares, self.spans]
        if self.rest is not None:
            arrays += [getattr(self.rest, field.name) for field in fields(self.rest)]
        return sum(array.nbytes for array in arrays if array is not None)

    @property
    def whole(self) -> bool:
        """Whether every pixel goes into one bin only, and as a whole."""
        return self.shares is None and self.rest is None

    @cached_property
    def used(self) -> Mask:
        """Which pixels touch a bin, ``(n_pixels,)``."""
        used: Mask = self.first != self.n_bins
        if self.rest is not None:
            used[self.rest.pixels] = True
        return used

    @cached_property
    def runs(self) -> NDArray[np.int32]:
        """Stretches of pixels that have a first bin, ``(n, 2)``: start and stop of each.

        Few unused pixels among many used ones do not end a stretch.
        """
        known = np.concatenate([[False], self.first != self.n_bins, [False]])
        edges = np.flatnonzero(known[1:] != known[:-1]).reshape(-1, 2)
        if len(edges) == 0:
            return np.empty((0, 2), dtype=np.int32)
        apart = edges[1:, 0] - edges[:-1, 1] >= SMALL_GAP
        starts = edges[np.concatenate([[True], apart]), 0]
        stops = edges[np.concatenate([apart, [True]]), 1]
        return np.stack([starts, stops], axis=1).astype(np.int32)

    def shares_of(self, pixels: IntArray) -> Shares:
        """The shares of some pixels, numbered by their place in ``pixels``, in that order."""
        parts = [self._boxes(pixels) if self.spans is not None else self._columns(pixels)]
        if self.rest is not None:
            parts.append(self.rest.shares_of(pixels))
        shares = Shares(*(np.concatenate(column) for column in zip(*parts, strict=True)))
        return shares if len(parts) == 1 else shares.take(np.argsort(shares.pixel, kind="stable"))

    def matrix_of(self, pixels: IntArray) -> csc_array:
        """The shares of some pixels as a sparse matrix, ``(n_bins, len(pixels))``."""
        return as_matrix(self.shares_of(pixels), pixels.size, self.n_bins)

    @property
    def matrix(self) -> csc_array:
        """The whole table as a sparse matrix, ``(n_bins, n_pixels)``."""
        return self.matrix_of(np.arange(self.n_pixels))

    def _columns(self, pixels: IntArray) -> Shares:
        first = self.first[pixels].astype(np.int64)
        known = np.flatnonzero(first != self.n_bins)
        if self.shares is None:
            return Shares(known, first[known], np.ones(known.size))
        others = self.shares[pixels[known]].astype(np.float64)
        if self.cells:
            r, a = others.T
            weights = np.stack([(1 - r) * (1 - a), r * (1 - a), (1 - r) * a, r * a], axis=1)
        else:
            weights = np.concatenate([1.0 - others.sum(axis=1, keepdims=True), others], axis=1)
        bins = first[known, np.newaxis] + np.array(self.offsets)
        row, column = np.nonzero(weights)
        return Shares(known[row], bins[row, column], weights[row, column])

    def _boxes(self, pixels: IntArray) -> Shares:
        first = self.first[pixels].astype(np.int64)
        known = np.flatnonzero(first != self.n_bins)
        if self.shares is None or self.spans is None:
            raise ValueError("Only a table with spans has boxes.")
        ends = self.shares[pixels[known]].astype(np.float64)
        span = self.spans[pixels[known]].astype(np.int64)
        row = np.repeat(np.arange(known.size), span + 1)
        step = np.arange(row.size) - np.repeat(np.cumsum(span + 1) - (span + 1), span + 1)
        between = (1.0 - ends[:, 0] - ends[:, 1]) / np.maximum(span - 1, 1)
        weight = between[row]
        weight[step == span[row]] = ends[:, 1]
        weight[step == 0] = np.where(span > 1, ends[:, 0], 1.0 - ends[:, 1])
        kept = weight != 0
        return Shares(known[row], first[known[row]] + step, weight).take(kept)


def as_matrix(shares: Shares, n_pixels: int, n_bins: int) -> csc_array:
    """Shares of pixels in bins as a sparse matrix, ``(n_bins, n_pixels)``."""
    from scipy.sparse import csc_array

    number = np.bincount(shares.pixel, minlength=n_pixels)
    return csc_array(
        (shares.weight, shares.bin.astype(np.int32), pointer(number)), shape=(n_bins, n_pixels)
    )


def pointer(number: NDArray[np.integer]) -> NDArray[np.int32]:
    """Where the entries of each begin, given their number; the last is their sum."""
    return np.concatenate([[0], np.cumsum(number)], dtype=np.int32)


def bin_numbers(n_bins: int) -> type[np.uint16 | np.uint32]:
    """The smallest type that tells the bins apart, and from ``n_bins``."""
    return np.uint16 if n_bins < 2**16 else np.uint32
