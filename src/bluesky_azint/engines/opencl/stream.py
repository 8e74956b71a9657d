"""Stream: frames are read once, in the order they have in memory; for CPUs."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pyopencl as cl
from numpy.typing import NDArray

from bluesky_azint.engines.opencl import device
from bluesky_azint.engines.opencl.work import bins_as_keys, by_rows, divide, own_keys
from bluesky_azint.engines.protocol import BadValues, Frames, FrameSums, Wanted
from bluesky_azint.lookup.table import Lookup

BATCH = 4
ITEMS_PER_CORE = 4
PIXELS_PER_ITEM = 2**14  # at least, so that histograms are not more than what they hold

# Where there are more bins, each work-item numbers those it meets: its histograms stay small.
MOST_BINS = 2**14

# What the nearest cache of a core holds, in bytes.
CACHE = 2**15
LARGE = 2**18


class Stream:
    """Sums the pixels of a look-up that have a first bin.

    Parameters
    ----------
    queue
        Of the device.
    lookup, bad, wanted
        See `bluesky_azint.engines.create_engine`.
    """

    def __init__(
        self, queue: cl.CommandQueue, lookup: Lookup, bad: BadValues, wanted: Wanted
    ) -> None:
        self.queue, self.lookup = queue, lookup
        self._bad, self._wanted = bad, wanted
        runs, most = lookup.runs, ITEMS_PER_CORE * queue.device.max_compute_units
        enough = int(np.diff(runs).sum()) // PIXELS_PER_ITEM
        work = divide(runs, int(np.clip(enough, 1, most)), lookup.n_pixels)
        self.starts = work.runs[work.items[:-1], 0]
        number = lookup.n_bins > MOST_BINS and lookup.spans is None
        if number and lookup.columns and lookup.shares is not None:
            work = by_rows(work, lookup.columns)
        self.keys = own_keys(lookup, work) if number else bins_as_keys(lookup, work)
        self.n_items = work.items.size - 1
        arrays = (
            self.keys.first, lookup.shares, lookup.spans, *_spread(wanted), work.runs, work.items,
            self.keys.slots, self.keys.pointer, self.keys.places,
            np.array(lookup.offsets, np.int32),
        )  # fmt: skip
        empty = np.zeros(1, np.float64)
        self.table = [
            device.read_only(queue, empty if array is None else array) for array in arrays
        ]
        self._programs: dict[tuple[str, int, bool], Program] = {}

    def sum_frames(self, frames: Frames) -> Sequence[FrameSums]:
        """Sum frames, ``(n, n_pixels)``, four at a time as long as there are so many."""
        sums: list[FrameSums] = []
        while len(sums) < len(frames):
            number = BATCH if len(frames) - len(sums) >= BATCH else 1
            program = self._program(frames.dtype, number, self._bad, self._wanted)
            sums += program(frames[len(sums) : len(sums) + number])
        return sums

    def sum_map(self, values: Frames) -> FrameSums:
        """Signal and square of values of the pixels, ``(n_pixels,)``, of which none is bad."""
        return self._program(values.dtype, 1, None, Wanted(square=True))(values[np.newaxis])[0]

    def _program(
        self, dtype: np.dtype[Any], frames: int, bad: BadValues | None, wanted: Wanted
    ) -> Program:
        key = (dtype.str, frames, bad is None)
        if key not in self._programs:
            self._programs[key] = Program(self, dtype, frames, bad, wanted)
        return self._programs[key]


class Program:
    """Kernels for so many frames of a type, and the memory that they need."""

    def __init__(
        self,
        stream: Stream,
        dtype: np.dtype[Any],
        frames: int,
        bad: BadValues | None,
        wanted: Wanted,
        *,
        subs: int | None = None,
        source: str = "stream.cl",
        **macros: int,
    ) -> None:
        lookup, keys = stream.lookup, stream.keys
        self.stream, self.frames, self._wanted = stream, frames, wanted
        # Where each work-item writes down which pixels are bad.
        self.starts = stream.starts
        whole = lookup.shares is None
        want = 2 if wanted.spread else int(wanted.square and not whole)
        self._dtype = device.sum_dtype(dtype, exact=whole and want == 0)
        columns = 0 if lookup.spans is not None else len(lookup.offsets)
        stride = _stride(columns, want, frames)
        if subs is None:
            subs = _histograms(int(np.diff(keys.slots).max()) * stride * 8)
        self.kernels = device.kernels(
            stream.queue.context,
            source,
            device.bad_test(bad, dtype),
            PIXEL=device.c_type(dtype),
            TRUTH=device.c_type(np.dtype(f"i{dtype.itemsize}")),
            SUM=device.c_type(self._dtype),
            KEY=device.c_type(keys.first.dtype),
            COLUMNS=columns,
            CELLS=int(lookup.cells),
            WANT=want,
            DARK=int(wanted.spread is not None and wanted.spread.dark is not None),
            FRAMES=frames,
            SUBS=subs,
            LOCAL=int(keys.places is not None),
            **macros,
        )
        self._rows = _rows(columns, want)
        self._boxes = columns == 0
        context, flags = stream.queue.context, cl.mem_flags
        size = int(keys.slots[-1]) * subs * stride * 8
        self.histograms = cl.Buffer(context, flags.READ_WRITE, size)
        self._sums = np.empty((self._rows, lookup.n_bins, frames), self._dtype)
        self._n_bad = np.zeros(stream.n_items, np.int32)
        self._bad = np.empty(lookup.n_pixels * frames, np.int32)
        self.sums, self.n_bad, self.bad = (
            cl.Buffer(context, flags.READ_WRITE | flags.USE_HOST_PTR, hostbuf=array)
            for array in (self._sums, self._n_bad, self._bad)
        )

    def __call__(self, frames: Frames) -> list[FrameSums]:
        """Sum frames, ``(frames, n_pixels)``."""
        stream, queue = self.stream, self.stream.queue
        table, slots, *places = stream.table[:7], *stream.table[7:]
        values = device.read_only(queue, frames)
        self.kernels["stream"](
            queue, (stream.n_items,), (1,), values, *table, slots, self.histograms, self.bad,
            self.n_bad, np.int32(stream.lookup.n_pixels),
        )  # fmt: skip
        self.kernels["collect"](
            queue, (stream.lookup.n_bins,), None, self.histograms, slots,
            np.int32(stream.n_items), *places, self.sums,
        )  # fmt: skip
        found = self.results()
        values.release()
        return found

    def results(self) -> list[FrameSums]:
        """What the kernels have found."""
        device.show(self.stream.queue, self.sums, self._sums)
        device.show(self.stream.queue, self.n_bad, self._n_bad)
        return [
            self._frame_sums(self._sums[..., frame].astype(np.float64), pixels)
            for frame, pixels in enumerate(self._bad_pixels())
        ]

    def _bad_pixels(self) -> list[NDArray[np.int64]]:
        """What each work-item found stands from where it starts."""
        found = self._n_bad.nonzero()[0]
        if found.size == 0:
            return [np.empty(0, np.int64)] * self.frames
        device.show(self.stream.queue, self.bad, self._bad)
        starts = self.starts[found] * self.frames
        pieces = zip(starts, starts + self._n_bad[found], strict=True)
        bad = np.concatenate([self._bad[start:stop] for start, stop in pieces]).astype(np.int64)
        bad.sort()
        frame, pixel = np.divmod(bad, self.stream.lookup.n_pixels)
        return [pixel[frame == number] for number in range(self.frames)]

    def _frame_sums(self, rows: NDArray[np.float64], bad: NDArray[np.int64]) -> FrameSums:
        if self._boxes:
            rows = rows[::2] + np.cumsum(rows[1::2], axis=1)
        return FrameSums.of_rows(rows, bad, self._wanted)


def _spread(wanted: Wanted) -> tuple[NDArray[Any] | None, NDArray[Any] | None]:
    return (None, None) if wanted.spread is None else (wanted.spread.weight, wanted.spread.dark)


def _rows(columns: int, want: int) -> int:
    """How many rows of sums a program gives: a lane or a kind each."""
    kinds = want + 1
    return 2 * kinds if columns == 0 else kinds


def _stride(columns: int, want: int, frames: int) -> int:
    """Numbers at a key, as in stream.cl."""
    if columns == 1:
        lanes = 3 if want == 2 else 1
    elif columns == 2:
        lanes = (2, 3, 8)[want]
    else:
        lanes = (columns or 2) * (want + 1)
    return lanes * frames if frames > 1 or lanes < 3 else -(-lanes // 4) * 4


def _histograms(size: int) -> int:
    """How many histograms of so many bytes take turns: two, or as many as stay in the cache.

    More of them help where one bin often follows itself, which it does not where there are many.
    """
    if size > LARGE:
        return 1
    return int(np.clip(2 ** int(np.log2(CACHE / size)), 2, 8)) if size < CACHE else 2
