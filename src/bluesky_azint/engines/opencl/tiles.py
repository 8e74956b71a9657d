"""Tiles: stretches of pixels that touch so few bins that their sums fit into local memory."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bluesky_azint.lookup.table import BinNumbers, Lookup, bin_numbers, pointer

# Tiles with keys of their own hold hardly more pixels per key: longer ones need not be tried.
PIXELS_PER_KEY = 4


@dataclass(frozen=True, eq=False)
class Tiles:
    """The pixels tile after tile, and their keys.

    Parameters
    ----------
    starts
        First pixel of each tile, and the end, ``(n + 1,)``.
    first
        Key of each pixel, ``(n_pixels,)``; the number of keys of its tile where it is not used.
    most
        How many keys the tile has that has most.
    slots, bins
        Where the keys of each tile begin, ``(n + 1,)``, and the bin of each key. None where keys
        are bins.
    """

    starts: NDArray[np.int32]
    first: BinNumbers
    most: int
    slots: NDArray[np.int32] | None = None
    bins: NDArray[np.int32] | None = None

    @property
    def number(self) -> int:
        """Number of tiles."""
        return self.starts.size - 1


def make_tiles(lookup: Lookup, length: int, capacity: int) -> Tiles:
    """Tiles of at most so many pixels, and of so many keys.

    A row of a detector crosses few bins, and the next one crosses about the same, so that
    stretches of pixels as they follow each other are good tiles of cakes, too.
    """
    if lookup.n_bins <= capacity:
        starts = np.append(np.arange(0, lookup.n_pixels, length), lookup.n_pixels)
        return Tiles(starts.astype(np.int32), lookup.first, lookup.n_bins)
    length = min(length, PIXELS_PER_KEY * capacity)
    numbered = [
        tile
        for start in range(0, lookup.n_pixels, length)
        for tile in _numbered(lookup.first[start : start + length], lookup.n_bins, capacity)
    ]
    sizes = np.array([bins.size for bins, _ in numbered])
    return Tiles(
        pointer(np.array([keys.size for _, keys in numbered])),
        np.concatenate([keys for _, keys in numbered]).astype(bin_numbers(sizes.max())),
        int(sizes.max()),
        pointer(sizes),
        np.concatenate([bins for bins, _ in numbered]).astype(np.int32),
    )


def _numbered(
    first: BinNumbers, n_bins: int, capacity: int
) -> Iterator[tuple[NDArray[Any], NDArray[np.intp]]]:
    """The bins of some pixels and the keys of these, halved until the bins are few enough."""
    bins, keys = np.unique(first, return_inverse=True)
    if bins.size and bins[-1] == n_bins:
        bins = bins[:-1]
    if bins.size <= capacity:
        yield bins, keys
    else:
        for half in np.array_split(first, 2):
            yield from _numbered(half, n_bins, capacity)
