"""The SciPy engine: sparse products. It works everywhere.

The look-up is kept by columns, that is pixel after pixel, so that a frame is read in the order it
has in memory, and in blocks of pixels, so that their conversion to float64 stays in the cache.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from bluesky_azint.engines.protocol import BadValues, Frames, FrameSums

if TYPE_CHECKING:
    from bluesky_azint.lookup import Lookup

PIXELS_PER_BLOCK = 2**16


class ScipyEngine:
    """Sums frames into bins by products with sparse matrices."""

    name = "scipy"

    def __init__(self, lookup: Lookup, bad: BadValues, *, square: bool) -> None:
        self._bad = bad
        self._used = lookup.used
        self._n_bins = lookup.n_bins
        self._square = square
        self._whole = lookup.whole
        matrix = lookup.matrix
        self._blocks = []
        for start in range(0, lookup.n_pixels, PIXELS_PER_BLOCK):
            pixels = slice(start, start + PIXELS_PER_BLOCK)
            block = matrix[:, pixels]
            self._blocks.append((pixels, block, block.power(2) if self._needs_squares else None))

    @property
    def _needs_squares(self) -> bool:
        # A share of one is its own square.
        return self._square and not self._whole

    def sum_frame(self, frame: Frames) -> FrameSums:
        """Sum one frame, see `Engine`."""
        signal = np.zeros(self._n_bins)
        square = np.zeros(self._n_bins) if self._needs_squares else None
        bad = []
        for pixels, block, squares in self._blocks:
            values = frame[pixels]
            is_bad = self._bad(values) & self._used[pixels]
            values = values.astype(np.float64)
            if is_bad.any():
                here = np.flatnonzero(is_bad)
                values[here] = 0.0
                bad.append(here + pixels.start)
            signal += block @ values
            if square is not None and squares is not None:
                square += squares @ values
        if self._square and square is None:
            square = signal
        return FrameSums(signal, square, np.concatenate(bad) if bad else np.empty(0, np.int64))
