"""Work: how the pixels of a look-up are divided among work-items, and their keys numbered."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bluesky_azint.lookup.table import BinNumbers, Lookup, pointer

IntArray = NDArray[np.int32]

# See `by_rows`.
ROWS = 2
PIECE = 64


@dataclass(frozen=True, eq=False)
class Work:
    """Stretches of pixels, work-item after work-item.

    Parameters
    ----------
    runs
        Start and stop of each stretch, ``(n + 1, 2)``; the last one is empty.
    items
        Where those of each work-item begin, ``(n_items + 1,)``.
    """

    runs: IntArray
    items: IntArray


@dataclass(frozen=True, eq=False)
class Keys:
    """Which numbers of a work-item each pixel adds to.

    Parameters
    ----------
    first
        Key of each pixel, ``(n_pixels,)``; the last one of its work-item where it is not used.
    slots
        Where the keys of each work-item begin, ``(n_items + 1,)``.
    pointer, places
        Bin after bin, the keys of it in all work-items: where those of each bin begin,
        ``(n_bins + 1,)``, and the keys, counted through. None where keys are bins.
    """

    first: BinNumbers
    slots: IntArray
    pointer: IntArray | None = None
    places: IntArray | None = None


def divide(runs: IntArray, n_items: int, n_pixels: int) -> Work:
    """Share stretches of pixels out evenly, cut where need be."""
    length = runs[:, 1] - runs[:, 0]
    total = np.concatenate([[0], np.cumsum(length, dtype=np.int64)])
    cuts = np.linspace(0, total[-1], n_items + 1).astype(np.int64)[1:-1]
    inside = np.setdiff1d(cuts, total)
    run = np.searchsorted(total, inside, side="right") - 1
    places = runs[run, 0] + inside - total[run]
    starts = np.sort(np.concatenate([runs[:, 0], places]))
    stops = np.sort(np.concatenate([runs[:, 1], places]))
    before = np.concatenate([[0], np.cumsum(stops - starts)])
    items = np.searchsorted(before, np.concatenate([[0], cuts, total[-1:]]))
    ends = np.stack([np.append(starts, n_pixels), np.append(stops, n_pixels)], axis=1)
    return Work(ends.astype(np.int32), items.astype(np.int32))


def by_rows(work: Work, columns: int) -> Work:
    """The same pixels in another order: some of a row, the same of the next, and so on.

    Of a cake, both often add to the same bins, which are then still in the nearest cache. More rows
    at once, or fewer pixels, are slower: the memory is read in pieces.

    Parameters
    ----------
    work
        Stretches in increasing order.
    columns
        Pixels in a row of the detector.
    """
    runs = work.runs[:-1].astype(np.int64)
    item = np.repeat(np.arange(work.items.size - 1), np.diff(work.items))
    n_rows = -(-int(runs[:, 1].max(initial=0)) // columns)
    cuts = np.add.outer(np.arange(n_rows) * columns, np.arange(0, columns, PIECE)).ravel()
    run = np.searchsorted(runs[:, 0], cuts, side="right") - 1
    cuts = cuts[(cuts > runs[run, 0]) & (cuts < runs[run, 1])] if len(runs) else cuts[:0]
    starts = np.sort(np.concatenate([runs[:, 0], cuts]))
    stops = np.sort(np.concatenate([runs[:, 1], cuts]))
    item = item[np.searchsorted(runs[:, 0], starts, side="right") - 1]
    row, column = np.divmod(starts, columns)
    order = np.lexsort((row, column // PIECE, row // ROWS, item))
    pieces = np.stack([starts, stops], axis=1)[order]
    items = np.searchsorted(item[order], np.arange(work.items.size))
    return Work(np.append(pieces, work.runs[-1:], axis=0).astype(np.int32), items.astype(np.int32))


def bins_as_keys(lookup: Lookup, work: Work) -> Keys:
    """Every work-item has a key for each bin."""
    slots = np.arange(work.items.size) * (lookup.n_bins + 1)
    return Keys(lookup.first, slots.astype(np.int32))


def own_keys(lookup: Lookup, work: Work) -> Keys:
    """Every work-item has keys for the bins that its pixels have as their first."""
    first: NDArray[Any] = np.zeros(lookup.n_pixels, dtype=np.uint32)
    sizes, bins = [], []
    for item in range(work.items.size - 1):
        runs = work.runs[work.items[item] : work.items[item + 1]]
        pixels = slice(int(runs.min(initial=lookup.n_pixels)), int(runs.max(initial=0)))
        touched = np.zeros(lookup.n_bins + 1, dtype=bool)
        touched[lookup.first[pixels]] = True
        touched[-1] = True
        number = np.cumsum(touched) - 1
        first[pixels] = number[lookup.first[pixels]]
        bins.append(np.flatnonzero(touched[:-1]))
        sizes.append(int(number[-1]) + 1)
    if max(sizes) <= 2**16:
        first = first.astype(np.uint16)
    slots = pointer(np.array(sizes))
    places = [start + np.arange(part.size) for start, part in zip(slots[:-1], bins, strict=True)]
    order = np.argsort(np.concatenate(bins), kind="stable")
    return Keys(
        first,
        slots,
        pointer(np.bincount(np.concatenate(bins), minlength=lookup.n_bins)),
        np.concatenate(places)[order].astype(np.int32),
    )
