"""Rows: the entries of a look-up sorted by bin, so that those of a bin stand side by side.

A pixel with a first bin has one slot, in the group of that bin; so a frame is sorted by writing
every pixel once, wherever its shares go. The row of a bin is the group of the bin itself, with the
share of every pixel in its first bin; then the groups of the bins that lie before it by each of
the other offsets; then what is told entry by entry.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bluesky_azint.lookup.table import Lookup, pointer

IntArray = NDArray[np.int64]

# Slots are read by vectors: each group has so many, or a multiple.
VECTOR = 4


@dataclass(frozen=True, eq=False)
class Rows:
    """Slots of pixels, sorted by bin.

    Parameters
    ----------
    n_pixels
        Number of pixels of a frame.
    offsets
        See `Lookup`.
    pixels
        Pixel in each slot, ``(n_slots,)``: the groups, then the entries; in increasing order in
        the group or the entries of a bin, and -1 in the slots that fill them up.
    groups, entries
        Slots where the group, and the entries, of each bin begin, ``(n_bins + 1,)``.
    shares
        Of the slots in groups, as in `Lookup` but column by column, ``(k, n_grouped)``; None
        where those are of whole pixels.
    entry_shares
        Of the entries.
    """

    n_pixels: int
    offsets: tuple[int, ...]
    pixels: NDArray[np.int32]
    groups: NDArray[np.int32]
    entries: NDArray[np.int32]
    shares: NDArray[np.float32] | None
    entry_shares: NDArray[np.float64]

    @property
    def n_bins(self) -> int:
        """Number of bins."""
        return self.groups.size - 1

    @property
    def n_grouped(self) -> int:
        """Number of slots in groups."""
        return int(self.groups[-1])

    @property
    def whole(self) -> bool:
        """Whether every pixel goes into one bin only, and as a whole."""
        return self.shares is None and self.entry_shares.size == 0

    @property
    def lengths(self) -> IntArray:
        """Number of slots in the row of each bin, ``(n_bins,)``."""
        group, length = (np.diff(starts).astype(np.int64) for starts in (self.groups, self.entries))
        for offset in self.offsets:
            length[offset:] += group[: max(self.n_bins - offset, 0)]
        return length

    @property
    def positions(self) -> NDArray[np.int32]:
        """Slot of each pixel in its group, ``(n_pixels,)``; -1 for a pixel in none."""
        grouped = self.pixels[: self.n_grouped]
        slots = np.flatnonzero(grouped >= 0)
        positions = np.full(self.n_pixels, -1, dtype=np.int32)
        positions[grouped[slots]] = slots
        return positions


def sort_rows(lookup: Lookup) -> Rows:
    """Sort a look-up by bin. Boxes, wide or along two axes, are told entry by entry."""
    boxes = lookup.spans is not None or lookup.cells
    shares = None if boxes else lookup.shares
    sorted_ = np.empty(0, np.int64) if boxes else np.argsort(lookup.first, kind="stable")
    number = np.bincount(lookup.first[sorted_], minlength=lookup.n_bins + 1)[: lookup.n_bins]
    sorted_ = sorted_[: number.sum()]
    groups, slots = _slots(number)
    listed = _listed(lookup)
    table = lookup.matrix_of(listed).tocsr()
    entries, entry_slots = _slots(np.diff(table.indptr))
    return Rows(
        n_pixels=lookup.n_pixels,
        offsets=(0,) if boxes else lookup.offsets,
        pixels=np.concatenate(
            [
                _spread(sorted_.astype(np.int32), slots, groups[-1], -1),
                _spread(listed[table.indices].astype(np.int32), entry_slots, entries[-1], -1),
            ]
        ),
        groups=groups,
        entries=groups[-1] + entries,
        shares=None if shares is None else _spread(shares[sorted_].T, slots, groups[-1], 0),
        entry_shares=_spread(table.data, entry_slots, entries[-1], 0),
    )


def stretches(lengths: IntArray, number: int) -> NDArray[np.int32]:
    """Bins where stretches of about equal length begin, and the end of the last."""
    end = np.cumsum(lengths)
    total = end[-1] if end.size else 0
    cuts = np.searchsorted(end, np.arange(1, number) * (total / number))
    return np.concatenate([[0], cuts, [lengths.size]]).astype(np.int32)


def longest(lengths: IntArray, bins: NDArray[np.int32]) -> NDArray[np.int64]:
    """Where the place for the longest row of each stretch of bins begins, and the end of the last."""
    size = [lengths[i:j].max(initial=0) + VECTOR for i, j in pairwise(bins)]
    return np.concatenate([[0], np.cumsum(size)]).astype(np.int64)


def _listed(lookup: Lookup) -> IntArray:
    """Pixels that are told entry by entry."""
    if lookup.spans is not None or lookup.cells:
        return np.flatnonzero(lookup.used)
    return np.empty(0, np.int64) if lookup.rest is None else lookup.rest.pixels.astype(np.int64)


def _slots(number: NDArray[np.integer]) -> tuple[NDArray[np.int32], IntArray]:
    """Where groups of so many begin, and the slots that they take, group after group."""
    groups = pointer(-(-number // VECTOR) * VECTOR)
    before = np.cumsum(number) - number
    return groups, np.arange(number.sum()) + np.repeat(groups[:-1] - before, number)


def _spread(values: NDArray[Any], slots: IntArray, size: int, fill: int) -> NDArray[Any]:
    """Values in their slots, along the last axis."""
    spread = np.full((*values.shape[:-1], size), fill, dtype=values.dtype)
    spread[..., slots] = values
    return spread
