"""The SciPy engine: sparse products. It works everywhere.

The look-up is kept by columns, that is pixel after pixel, so that a frame is read in the order it
has in memory, and in blocks of pixels, so that their conversion to double precision stays in the
cache. Threads share the blocks: the products leave the interpreter free. Each thread always takes
the same blocks, so that a frame always gives the same sums.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import reduce
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from bluesky_azint.engines.protocol import BadValues, Frames, FrameSums, Spread, Wanted
from bluesky_azint.packed import PackedFrames

if TYPE_CHECKING:
    from scipy.sparse import csc_array

    from bluesky_azint.lookup.table import Lookup

PIXELS_PER_BLOCK = 2**16


class ScipyEngine:
    """Sums frames into bins by products with sparse matrices.

    Parameters
    ----------
    lookup, bad, wanted
        See `bluesky_azint.engines.create_engine`.
    """

    name = "scipy"
    batch = 1

    def __init__(self, lookup: Lookup, bad: BadValues, wanted: Wanted) -> None:
        self._bad = bad
        self._wanted = wanted
        self._n_bins = lookup.n_bins
        self._blocks = [
            _Block.of(lookup, slice(start, min(start + PIXELS_PER_BLOCK, lookup.n_pixels)))
            for start in range(0, lookup.n_pixels, PIXELS_PER_BLOCK)
        ]
        self._threads = min(len(os.sched_getaffinity(0)), max(len(self._blocks), 1))
        self._pool, self._process = ThreadPoolExecutor(self._threads), os.getpid()

    def sum_frames(self, frames: Frames | PackedFrames) -> Sequence[FrameSums]:
        """Sum frames, see `Engine`."""
        if isinstance(frames, PackedFrames):
            frames = frames.flat()
        return [self._sum(frame, self._bad, self._wanted) for frame in frames]

    def sum_map(self, values: Frames) -> FrameSums:
        """Sum values of the pixels, see `Engine`."""
        return self._sum(values, None, Wanted(square=True))

    def _sum(self, frame: Frames, bad: BadValues | None, wanted: Wanted) -> FrameSums:
        def some(first: int) -> FrameSums:
            sums = _Sums(self._n_bins, wanted)
            for block in self._blocks[first :: self._threads]:
                sums.add(block, frame[block.pixels], bad)
            return sums.result()

        if self._process != os.getpid():  # threads do not go with a process that is forked off
            self._pool, self._process = ThreadPoolExecutor(self._threads), os.getpid()
        parts = self._pool.map(some, range(self._threads))
        return reduce(FrameSums.plus, parts)


@dataclass(frozen=True, eq=False)
class _Block:
    """The look-up of some pixels; ``squares`` is None where it is the same as ``shares``."""

    pixels: slice
    used: NDArray[np.bool_]
    shares: csc_array
    squares: csc_array | None

    @classmethod
    def of(cls, lookup: Lookup, pixels: slice) -> _Block:
        shares = lookup.matrix_of(np.arange(pixels.start, pixels.stop))
        squares = None
        if not lookup.whole:
            squares = shares.copy()
            squares.data **= 2
            squares.indices, squares.indptr = shares.indices, shares.indptr
        return cls(pixels, lookup.used[pixels], shares, squares)


class _Sums:
    """The sums of a frame, as they grow block by block."""

    def __init__(self, n_bins: int, wanted: Wanted) -> None:
        self._wanted = wanted
        self._signal, self._square, self._mixed = np.zeros((3, n_bins))
        self._bad = [np.empty(0, np.int64)]

    def add(self, block: _Block, values: Frames, bad: BadValues | None) -> None:
        """Add the pixels of a block."""
        raw = values.astype(np.float64)
        here = np.empty(0, np.int64) if bad is None else np.flatnonzero(bad(values) & block.used)
        raw[here] = 0.0
        self._bad.append(here + block.pixels.start)
        signal = block.shares @ raw
        self._signal += signal
        # A share of one is its own square.
        squares = block.shares if block.squares is None else block.squares
        if self._wanted.spread is not None:
            net, weight = _net(raw, here, block.pixels, self._wanted.spread)
            self._square += squares @ net**2
            self._mixed += squares @ (net * weight)
        elif self._wanted.square:
            self._square += signal if block.squares is None else squares @ raw

    def result(self) -> FrameSums:
        """The sums so far."""
        rows = [self._signal, self._square]
        if self._wanted.spread is not None:
            rows.append(self._mixed)
        return FrameSums.of_rows(rows, np.concatenate(self._bad), self._wanted)


def _net(
    raw: NDArray[np.float64], bad: NDArray[np.int64], pixels: slice, spread: Spread
) -> tuple[NDArray[np.float64], NDArray[np.float32]]:
    """Signal without dark, 0 in bad pixels, and weight, of a block of pixels."""
    if spread.dark is not None:
        raw = raw - spread.dark[pixels]
        raw[bad] = 0.0
    return raw, spread.weight[pixels]
