"""Look-up: which pixel goes into which bin, and with what share.

Built once per geometry, binning, splitting and mask, in blocks of rows so that it needs little
memory beside the table itself. Everything an engine has to do to a frame is a product with this
table.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from bluesky_azint.geometry import Geometry
from bluesky_azint.grid import Grid, blocks, split_block
from bluesky_azint.splitting import Shares

if TYPE_CHECKING:
    from scipy.sparse import csc_array

FloatArray = NDArray[np.float64]
Mask = NDArray[np.bool_]


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

    def select(self, pixels: NDArray[np.integer]) -> Lookup:
        """The look-up of some pixels, renumbered from 0."""
        length = self.indptr[pixels + 1] - self.indptr[pixels]
        indptr = np.concatenate([[0], np.cumsum(length)], dtype=np.int32)
        entry = np.arange(indptr[-1]) + np.repeat(self.indptr[pixels] - indptr[:-1], length)
        return Lookup(self.n_bins, indptr, self.bins[entry], self.weights[entry])

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


def build_lookup(geometry: Geometry, grid: Grid, mask: Mask | None = None) -> Lookup:
    """Sort every pixel that is not masked into the bins of the grid.

    Parameters
    ----------
    geometry
        Where the pixels are.
    grid
        The bins, and how a pixel is shared among them.
    mask
        Boolean, of detector shape, True = masked.
    """
    usable = np.ones(geometry.shape, dtype=bool) if mask is None else ~mask
    number = np.zeros(geometry.shape, dtype=np.int32)
    bins, weights = [], []
    for rows in blocks(geometry):
        kept = usable[rows]
        shares = split_block(geometry, grid, rows, kept)
        number[rows][kept] = np.bincount(shares.pixel, minlength=np.count_nonzero(kept))
        bins.append(shares.bin.astype(np.int32))
        weights.append(shares.weight)
    return Lookup(grid.n_bins, _pointer(number), np.concatenate(bins), np.concatenate(weights))


def lookup_of_shares(shares: Shares, n_pixels: int, n_bins: int) -> Lookup:
    """The look-up that holds some shares of pixels."""
    number = np.bincount(shares.pixel, minlength=n_pixels)
    return Lookup(n_bins, _pointer(number), shares.bin.astype(np.int32), shares.weight)


def _pointer(number: NDArray[np.integer]) -> NDArray[np.int32]:
    return np.concatenate([[0], np.cumsum(number)], dtype=np.int32)
