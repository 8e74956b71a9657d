"""GPUs: which way sums which frames, once these are on the device."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from typing import Any

import numpy as np
import pyopencl as cl
from numpy.typing import NDArray

from bluesky_azint.engines.opencl.gather import Gather
from bluesky_azint.engines.opencl.local import Local
from bluesky_azint.engines.opencl.overlap import Overlap
from bluesky_azint.engines.protocol import BadValues, Frames, FrameSums, Wanted
from bluesky_azint.lookup.table import Lookup

FloatArray = NDArray[np.float64]


class Gpu:
    """Sums frames on a GPU: into local memory where that can be done, else bin after bin.

    Parameters
    ----------
    queue
        Of the device.
    lookup, bad, wanted
        See `bluesky_azint.engines.create_engine`.
    local
        Whether local memory may be used.
    options
        Of `Local`.
    """

    def __init__(
        self,
        queue: cl.CommandQueue,
        lookup: Lookup,
        bad: BadValues,
        wanted: Wanted,
        *,
        local: bool = True,
        **options: int,
    ) -> None:
        self._queue, self._lookup, self._bad, self._wanted = queue, lookup, bad, wanted
        self._may, self._options = local, options

    def sum_frames(self, frames: Frames) -> Sequence[FrameSums]:
        """Sum frames, ``(n, n_pixels)``."""
        overlap = self._locally if self._suits(frames.dtype) else self._by_bins
        return overlap.sum_frames(frames)

    def sum_map(self, values: Frames) -> FrameSums:
        """Signal and square of values of the pixels, ``(n_pixels,)``, of which none is bad."""
        if not self._suits(np.dtype(np.uint8)):
            return self._all.sum_map(values)
        # Maps come a few times only: not worth a table of all bins on the device.
        sums = _sum_here(self._lookup, values.astype(np.float64))
        return sums if self._odd is None else sums.plus(self._odd.sum_map(values))

    def _suits(self, dtype: np.dtype[Any]) -> bool:
        return self._may and Local.suits(self._lookup, self._wanted, dtype)

    @cached_property
    def _locally(self) -> Overlap:
        local = Local(self._queue, self._lookup, self._bad, self._wanted, **self._options)
        return Overlap(self._queue, [local] if self._odd is None else [local, self._odd])

    @cached_property
    def _by_bins(self) -> Overlap:
        return Overlap(self._queue, [self._all])

    @cached_property
    def _all(self) -> Gather:
        every = np.arange(self._lookup.n_pixels)
        return Gather(self._queue, self._lookup.matrix, every, self._bad, self._wanted)

    @cached_property
    def _odd(self) -> Gather | None:
        """For the pixels that are told entry by entry."""
        if self._lookup.rest is None:
            return None
        pixels = self._lookup.rest.pixels.astype(np.int64)
        table = self._lookup.matrix_of(pixels)
        return Gather(self._queue, table, pixels, self._bad, self._wanted)


def _sum_here(lookup: Lookup, values: FloatArray) -> FrameSums:
    """Signal and square of values of the pixels that touch one or two bins."""

    def at_first(values: FloatArray, offset: int = 0) -> FloatArray:
        sums = np.zeros(lookup.n_bins)
        sums[offset:] = np.bincount(lookup.first, values, lookup.n_bins + 1)[: sums.size - offset]
        return sums

    nothing = np.empty(0, np.int64)
    if lookup.shares is None:
        sums = at_first(values)
        return FrameSums(sums, sums, nothing)
    second = lookup.shares[:, 0].astype(np.float64)
    first, offset = 1.0 - second, lookup.offsets[1]
    signal, square = (
        at_first(values * first**power) + at_first(values * second**power, offset)
        for power in (1, 2)
    )
    return FrameSums(signal, square, nothing)
