"""The rest: pixels that a look-up tells entry by entry, summed beside an engine by SciPy."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from bluesky_azint.engines.protocol import BadValues, Frames, FrameSums, Spread, Wanted
from bluesky_azint.engines.scipy import ScipyEngine
from bluesky_azint.lookup.table import Entries, Lookup, bin_numbers


class Rest:
    """Sums the rest of a look-up.

    Parameters
    ----------
    rest
        The pixels, and their shares.
    n_bins
        Number of bins.
    bad, wanted
        See `bluesky_azint.engines.create_engine`.
    """

    def __init__(self, rest: Entries, n_bins: int, bad: BadValues, wanted: Wanted) -> None:
        self._pixels = rest.pixels
        number = rest.pixels.size
        alone = Lookup(
            n_bins,
            np.full(number, n_bins, bin_numbers(n_bins)),
            rest=replace(rest, pixels=np.arange(number, dtype=np.int32)),
        )
        self._engine = ScipyEngine(alone, bad, _of_pixels(wanted, rest.pixels))

    def sum_frames(self, frames: Frames) -> Sequence[FrameSums]:
        """Sum frames, ``(n, n_pixels)``."""
        return self.sum_values(frames[:, self._pixels])

    def sum_values(self, values: Frames) -> Sequence[FrameSums]:
        """Sum frames of which there are these pixels alone."""
        return [
            sums._replace(bad=self._pixels[sums.bad].astype(np.int64))
            for sums in self._engine.sum_frames(values)
        ]

    def sum_map(self, values: Frames) -> FrameSums:
        """Signal and square of values of the pixels, ``(n_pixels,)``, of which none is bad."""
        return self._engine.sum_map(values[self._pixels])


def _of_pixels(wanted: Wanted, pixels: np.ndarray[tuple[int], np.dtype[np.int32]]) -> Wanted:
    spread = wanted.spread
    if spread is None:
        return wanted
    dark = None if spread.dark is None else spread.dark[pixels]
    return replace(wanted, spread=Spread(spread.weight[pixels], dark))
