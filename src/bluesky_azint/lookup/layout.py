"""Layout: how the shares of most pixels are told, and how they are packed so.

Whatever does not fit into the layout, to single precision, is told entry by entry.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Self

import numpy as np
from numpy.typing import NDArray

from bluesky_azint.grid import Grid
from bluesky_azint.lookup.table import BinNumbers, Entries, Lookup, bin_numbers, pointer
from bluesky_azint.splitting import Shares

IntArray = NDArray[np.int64]
Mask = NDArray[np.bool_]

COLUMNS = (2, 4, 8)

# What part of the pixels may be told entry by entry before more columns are worth their memory.
FEW = 0.01

# By how much shares may miss what the layout says: about the precision in which they are kept.
ROUNDING = 1e-7


@dataclass(frozen=True)
class Layout:
    """How the shares of most pixels are told, see `Lookup`.

    Parameters
    ----------
    offsets
        Of the bins that a pixel may touch from its first one.
    boxes
        Whether pixels are boxes that may touch any number of bins.
    cells
        Whether pixels are boxes that touch two by two bins.
    """

    offsets: tuple[int, ...] = (0,)
    boxes: bool = False
    cells: bool = False

    @property
    def n_shares(self) -> int:
        """Number of shares that are kept of each pixel."""
        return 2 if self.boxes or self.cells else len(self.offsets) - 1

    @classmethod
    def for_grid(cls, grid: Grid, touched: IntArray) -> Self:
        """The layout for a grid, of which some pixels touch so many bins each.

        Parameters
        ----------
        grid
            The bins.
        touched
            Number of bins that each of some pixels touches; of all, or of a good sample.
        """
        if grid.splitting == "no":
            return cls()
        npt = grid.radial.npt
        if grid.azimuthal.npt > 1:
            if npt == 1:
                return cls((0, 1))
            return cls((0, 1, npt, npt + 1), cells=grid.splitting != "full")
        touched = touched[touched > 0]
        columns = next(
            (k for k in COLUMNS if np.count_nonzero(touched > k) <= FEW * touched.size), None
        )
        if grid.splitting != "full" and columns != COLUMNS[0] and touched.size:
            return cls(boxes=True)
        return cls(tuple(range(columns))) if columns else cls()


@dataclass(frozen=True, eq=False)
class Packed:
    """A block of pixels, as `Lookup` has it; the rest as the shares of pixels of the block."""

    first: BinNumbers
    shares: NDArray[np.float32] | None
    spans: NDArray[np.uint16] | None
    rest: Shares


def pack(shares: Shares, n_pixels: int, n_bins: int, layout: Layout) -> Packed:
    """Shares of a block of pixels in a layout.

    Parameters
    ----------
    shares
        Of pixels numbered from 0, each once in a bin.
    n_pixels, n_bins
        Number of pixels and bins.
    layout
        How to tell them.
    """
    number = np.bincount(shares.pixel, minlength=n_pixels)
    touching = np.flatnonzero(number)
    start = (np.cumsum(number) - number)[touching]
    first = np.full(n_pixels, n_bins, dtype=bin_numbers(n_bins))
    first[touching] = shares.bin[start]
    columns, spans = None, None
    if layout.boxes:
        columns, spans, fits = _as_boxes(shares, number, touching, start)
    else:
        columns, fits = _as_columns(shares, n_pixels, first.astype(np.int64), layout)
    odd = (number > 0) & ~fits
    first[odd] = n_bins
    return Packed(first, columns, spans, shares.take(odd[shares.pixel]))


@dataclass(frozen=True, eq=False)
class Rows:
    """Some pixels of a table that is being filled; see `Lookup`."""

    n_bins: int
    first: BinNumbers
    shares: NDArray[np.float32] | None
    spans: NDArray[np.uint16] | None

    @classmethod
    def empty(cls, n_pixels: int, n_bins: int, layout: Layout) -> Self:
        """A table of as many pixels, of which none is told."""
        shares = spans = None
        if layout.n_shares:
            shares = np.zeros((n_pixels, layout.n_shares), np.float32)
        if layout.boxes:
            spans = np.zeros(n_pixels, np.uint16)
        return cls(n_bins, np.full(n_pixels, n_bins, bin_numbers(n_bins)), shares, spans)

    def __getitem__(self, pixels: slice) -> Rows:
        """Some of them, in the same memory."""
        return Rows(
            self.n_bins,
            self.first[pixels],
            None if self.shares is None else self.shares[pixels],
            None if self.spans is None else self.spans[pixels],
        )

    def tell(self, told: Mask, first: NDArray[np.float64]) -> None:
        """Write the first bins of some pixels, and wipe what is written of the others."""
        np.copyto(self.first, first, where=told, casting="unsafe")
        for values in (self.shares, self.spans):
            if values is not None and not told.all():
                values[~told] = 0

    def put(self, pixels: IntArray, packed: Packed) -> None:
        """Write what was packed of some pixels."""
        self.first[pixels] = packed.first
        if self.shares is not None and packed.shares is not None:
            self.shares[pixels] = packed.shares
        if self.spans is not None and packed.spans is not None:
            self.spans[pixels] = packed.spans

    def lookup(self, layout: Layout, rest: Iterable[Shares], columns: int) -> Lookup:
        """The table with the pixels that are told entry by entry, in their order."""
        parts = list(rest) or [Shares(np.empty(0, np.int64), np.empty(0, np.int64), np.empty(0))]
        entries = Shares(*(np.concatenate(column) for column in zip(*parts, strict=True)))
        return Lookup(
            self.n_bins,
            self.first,
            self.shares,
            layout.offsets,
            self.spans,
            _entries(entries) if entries.pixel.size else None,
            columns,
        )


def _as_columns(
    shares: Shares, n_pixels: int, first: IntArray, layout: Layout
) -> tuple[NDArray[np.float32] | None, Mask]:
    """Shares column by column, and which pixels they tell."""
    offsets = layout.offsets
    distance = shares.bin - first[shares.pixel]
    column = np.minimum(np.searchsorted(offsets, distance), len(offsets) - 1)
    weights = np.zeros((n_pixels, len(offsets)))
    weights[shares.pixel, column] = shares.weight
    fits = np.abs(weights.sum(axis=1) - 1.0) < ROUNDING
    fits[shares.pixel[np.array(offsets)[column] != distance]] = False
    if len(offsets) == 1:
        return None, fits
    kept = weights[:, 1:]
    if layout.cells:
        kept = np.stack([weights[:, 1] + weights[:, 3], weights[:, 2] + weights[:, 3]], axis=1)
        fits &= np.abs(kept[:, 0] * kept[:, 1] - weights[:, 3]) < ROUNDING
    return np.where(fits[:, np.newaxis], kept, 0.0).astype(np.float32), fits


def _as_boxes(
    shares: Shares, number: IntArray, touching: IntArray, start: IntArray
) -> tuple[NDArray[np.float32], NDArray[np.uint16], Mask]:
    """Shares in the first and the last bin, how far these are apart, and which pixels they tell."""
    n = number[touching]
    last = start + n - 1
    span = shares.bin[last] - shares.bin[start]
    begin, end = shares.weight[start], np.where(n > 1, shares.weight[last], 0.0)
    between = (1.0 - begin - end) / np.maximum(n - 2, 1)
    expected = np.repeat(between, n)
    expected[start], expected[last] = begin, np.where(n > 1, end, begin)
    off = np.maximum.reduceat(np.abs(shares.weight - expected), start) if n.size else begin
    alone = np.abs(between) < ROUNDING
    good = (span == n - 1) & (off < ROUNDING) & (alone | (n > 2)) & (span < 2**16)
    ends, spans = np.zeros((number.size, 2), np.float32), np.zeros(number.size, np.uint16)
    fits = np.zeros(number.size, dtype=bool)
    ends[touching[good]] = np.stack([begin, end], axis=1)[good]
    spans[touching[good]] = span[good]
    fits[touching[good]] = True
    return ends, spans, fits


def _entries(shares: Shares) -> Entries:
    pixels, number = np.unique(shares.pixel, return_counts=True)
    return Entries(
        pixels.astype(np.int32),
        pointer(number),
        shares.bin.astype(np.int32),
        shares.weight,
    )
