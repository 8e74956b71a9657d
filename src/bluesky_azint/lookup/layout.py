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
    """

    offsets: tuple[int, ...] = (0,)
    boxes: bool = False

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
            return cls((0, 1, npt, npt + 1) if npt > 1 else (0, 1))
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
        columns, fits = _as_columns(shares, n_pixels, first.astype(np.int64), layout.offsets)
    odd = (number > 0) & ~fits
    first[odd] = n_bins
    return Packed(first, columns, spans, shares.take(odd[shares.pixel]))


def assemble(blocks: Iterable[Packed], n_bins: int, layout: Layout) -> Lookup:
    """The look-up of all blocks, which follow each other."""
    packed = list(blocks)
    before = np.cumsum([0] + [block.first.size for block in packed[:-1]])
    rest = Shares(
        np.concatenate([block.rest.pixel + n for n, block in zip(before, packed, strict=True)]),
        np.concatenate([block.rest.bin for block in packed]),
        np.concatenate([block.rest.weight for block in packed]),
    )
    shares = [block.shares for block in packed if block.shares is not None]
    spans = [block.spans for block in packed if block.spans is not None]
    return Lookup(
        n_bins,
        np.concatenate([block.first for block in packed]),
        np.concatenate(shares) if shares else None,
        layout.offsets,
        np.concatenate(spans) if spans else None,
        _entries(rest) if rest.pixel.size else None,
    )


def _as_columns(
    shares: Shares, n_pixels: int, first: IntArray, offsets: tuple[int, ...]
) -> tuple[NDArray[np.float32] | None, Mask]:
    """Shares column by column, and which pixels they tell."""
    distance = shares.bin - first[shares.pixel]
    column = np.minimum(np.searchsorted(offsets, distance), len(offsets) - 1)
    weights = np.zeros((n_pixels, len(offsets)))
    weights[shares.pixel, column] = shares.weight
    fits = np.abs(weights.sum(axis=1) - 1.0) < ROUNDING
    fits[shares.pixel[np.array(offsets)[column] != distance]] = False
    if len(offsets) == 1:
        return None, fits
    weights[~fits] = 0.0
    return weights[:, 1:].astype(np.float32), fits


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
