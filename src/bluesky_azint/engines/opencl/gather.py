"""Gather: bin after bin; for pixels that touch bins in ways of their own, on any device."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cached_property
from typing import Any

import numpy as np
import pyopencl as cl
from scipy.sparse import csc_array

from bluesky_azint.engines.opencl import device
from bluesky_azint.engines.opencl.overlap import Answer
from bluesky_azint.engines.protocol import BadValues, Frames, FrameSums, Wanted

# Work-items of a group, how many of them sum a bin at least (PoCL 3.0 crashes with one), and how
# many pixels are worth one more.
GROUP_SIZE = 128
FEWEST_ITEMS = 4
PIXELS_PER_ITEM = 4


class Gather:
    """Sums the pixels of a table, row after row of its transpose.

    Parameters
    ----------
    queue
        Of the device.
    table
        Shares as a sparse matrix, ``(n_bins, n)``.
    pixels
        Which pixel each column is, ``(n,)``.
    bad, wanted
        See `bluesky_azint.engines.create_engine`.
    """

    def __init__(
        self,
        queue: cl.CommandQueue,
        table: csc_array,
        pixels: np.ndarray[Any, Any],
        bad: BadValues,
        wanted: Wanted,
    ) -> None:
        self._queue, self._bad, self._wanted = queue, bad, wanted
        rows = table.tocsr()
        self._n_bins = rows.shape[0]
        self._whole = bool((rows.data == 1.0).all())
        spread = wanted.spread
        arrays = (
            rows.indptr.astype(np.int32),
            pixels[rows.indices].astype(np.int32),
            rows.data,
            np.empty(0, np.float32) if spread is None else spread.weight,
            np.empty(0) if spread is None or spread.dark is None else spread.dark,
        )
        self._table = [device.read_only(queue, array) for array in arrays]
        self._nnz = rows.nnz
        self._partial: Any = cl.LocalMemory(3 * GROUP_SIZE * 8)
        self._items = _items(rows.nnz / max(self._n_bins, 1))
        self._kernels: dict[tuple[str, bool], cl.Kernel] = {}

    @cached_property
    def _own(self) -> Answer:
        """For frames that come one by one."""
        return self.answer()

    def answer(self) -> Answer:
        """Memory for an answer, see `Part`."""
        return Answer(self._queue, 3 * self._n_bins * 8, self._nnz)

    def sum_frames(self, frames: Frames) -> Sequence[FrameSums]:
        """Sum frames, ``(n, n_pixels)``."""
        return [self._sum(frame, self._bad, self._wanted) for frame in frames]

    def sum_map(self, values: Frames) -> FrameSums:
        """Signal and square of values of the pixels, ``(n_pixels,)``, of which none is bad."""
        return self._sum(values, None, Wanted(square=True))

    def start(
        self, values: cl.Buffer, dtype: np.dtype[Any], answer: Answer, after: Sequence[cl.Event]
    ) -> Callable[[], FrameSums]:
        """Have a frame summed, see `Part`."""
        return self._start(values, dtype, answer, after, self._bad, self._wanted)

    def _sum(self, frame: Frames, bad: BadValues | None, wanted: Wanted) -> FrameSums:
        values = device.read_only(self._queue, frame)
        sums = self._start(values, frame.dtype, self._own, [], bad, wanted)()
        values.release()
        return sums

    def _start(
        self,
        values: cl.Buffer,
        dtype: np.dtype[Any],
        answer: Answer,
        after: Sequence[cl.Event],
        bad: BadValues | None,
        wanted: Wanted,
    ) -> Callable[[], FrameSums]:
        want = 2 if wanted.spread else int(wanted.square)
        total = device.sum_dtype(dtype, exact=self._whole and want < 2)
        bins = GROUP_SIZE // self._items
        n_groups = -(-self._n_bins // bins)
        answer.clear()
        self._kernel(dtype, total, bad, wanted)(
            self._queue, (self._items, n_groups * bins), (self._items, bins), values, *self._table,
            answer.sums, answer.bad, answer.n_bad, np.int32(self._n_bins), self._partial,
            wait_for=after,
        )  # fmt: skip
        answer.fetch()

        def finish() -> FrameSums:
            sums, found = answer.read((want + 1, self._n_bins), total)
            return FrameSums.of_rows(sums.astype(np.float64), found, wanted)

        return finish

    def _kernel(
        self, dtype: np.dtype[Any], total: np.dtype[Any], bad: BadValues | None, wanted: Wanted
    ) -> cl.Kernel:
        key = (dtype.str, bad is None)
        if key not in self._kernels:
            self._kernels[key] = device.kernels(
                self._queue.context,
                "gather.cl",
                device.bad_test(bad, dtype),
                PIXEL=device.c_type(dtype),
                SUM=device.c_type(total),
                WHOLE=int(self._whole),
                WANT=2 if wanted.spread else int(wanted.square),
                DARK=int(wanted.spread is not None and wanted.spread.dark is not None),
            )["gather"]
        return self._kernels[key]


def _items(pixels: float) -> int:
    """How many work-items sum the pixels of a bin, a power of two."""
    items = FEWEST_ITEMS
    while items < GROUP_SIZE and items * PIXELS_PER_ITEM < pixels:
        items *= 2
    return items
