"""Chunks: packed frames summed without being unpacked in memory; for CPUs.

What that saves is most of the time that a decoder takes, writing the frame to memory and reading
it again. How much remains depends on the counts: blocks of few are added bit by bit.
"""

from __future__ import annotations

from functools import cached_property
from itertools import groupby
from typing import Any

import numpy as np
import pyopencl as cl

from bluesky_azint.engines.opencl import device
from bluesky_azint.engines.opencl.stream import BATCH, Program, Stream
from bluesky_azint.engines.protocol import BadValues, Frames, FrameSums, Wanted
from bluesky_azint.engines.rest import Rest
from bluesky_azint.packed import PackedFrames

# A work-item keeps a block of each of its frames on its stack, and in its cache. Detectors make
# blocks of 8 KB.
MOST_BYTES = 2**14
# Of blocks in which more pixels than these hold counts, whole counts are added, not bits; in 1/64.
FEW = 16
# What a work-item may read behind its bits.
PADDING = 32

PROBLEMS = (
    "fine",
    "is cut off",
    "has a length that cannot be",
    "has more bytes than it may",
    "repeats what is not there",
    "repeats more than it may",
)


class Chunks:
    """Sums packed frames with the look-up of a stream.

    Parameters
    ----------
    stream, rest
        For frames that are not packed; the latter for the rest of the look-up, if it has one.
    bad, wanted
        See `bluesky_azint.engines.create_engine`.
    """

    def __init__(self, stream: Stream, rest: Rest | None, bad: BadValues, wanted: Wanted) -> None:
        self._stream, self._rest, self.bad, self.wanted = stream, rest, bad, wanted
        lookup = stream.lookup
        self.pixels = np.empty(0, np.int32) if lookup.rest is None else lookup.rest.pixels
        self._programs: dict[tuple[str, int], _Program] = {}

    @cached_property
    def used(self) -> cl.Buffer:
        """A bit for each pixel that has a first bin."""
        lookup = self._stream.lookup
        used = np.packbits(lookup.first != lookup.n_bins, bitorder="little")
        return device.read_only(self._stream.queue, np.append(used, np.zeros(PADDING, np.uint8)))

    def takes(self, packed: PackedFrames) -> bool:
        """Whether it can sum such frames.

        Where it can, it is faster than a decoder and `Stream`, whatever the counts: of an Eiger 4M
        frame (1000 bins, errors, four at once) it takes, with 0.1, 3 and 100 counts per pixel, 3.0,
        3.8 and 4.7 ms of a CPU without splitting, and 3.7, 4.9 and 5.8 ms with it; a decoder alone
        takes 4.5 to 5 ms. Of one frame at a time: 3.1, 5.2 and 5.8 ms; 5.0, 7.0 and 7.8 ms.

        Raises
        ------
        ChunkError
            If a frame does not begin as it should.
        """
        dtype, lookup = packed.dtype, self._stream.lookup
        interval = self.bad.interval(dtype)
        sizes = [packed.block_size(frame) * dtype.itemsize for frame in range(len(packed))]
        return (
            dtype.kind == "u"
            and dtype.itemsize <= 4
            and self._stream.keys.places is None
            and not lookup.cells
            and self.wanted.spread is None
            and (interval is None or interval[0] > np.iinfo(dtype).max // 2)
            and max(sizes, default=0) <= MOST_BYTES
        )

    def sum_frames(self, packed: PackedFrames) -> list[FrameSums]:
        """Sum frames that it takes, four at a time as long as there are so many.

        Raises
        ------
        ChunkError
            If a frame is damaged.
        """
        sums: list[FrameSums] = []
        for block, alike in groupby(range(len(packed)), packed.block_size):
            frames = list(alike)
            while frames:
                some = frames[: BATCH if len(frames) >= BATCH else 1]
                program = self._program(packed.dtype, len(some))
                found = program.sum_packed(packed[some[0] : some[-1] + 1], block)
                sums += self._with_rest(found, program.values)
                frames = frames[len(some) :]
        return sums

    def _with_rest(self, sums: list[FrameSums], values: Frames) -> list[FrameSums]:
        """The sums with those of the pixels that the look-up tells entry by entry."""
        if self._rest is None:
            return sums
        rest = self._rest.sum_values(values)
        return [one.plus(other) for one, other in zip(sums, rest, strict=True)]

    def _program(self, dtype: np.dtype[Any], frames: int) -> _Program:
        key = (dtype.str, frames)
        if key not in self._programs:
            self._programs[key] = _Program(self, self._stream, dtype, frames)
        return self._programs[key]


class _Program(Program):
    """Kernels for so many frames of a type."""

    def __init__(self, chunks: Chunks, stream: Stream, dtype: np.dtype[Any], frames: int) -> None:
        super().__init__(
            stream, dtype, frames, chunks.bad, chunks.wanted, subs=1, source="chunks.cl",
            BYTES=dtype.itemsize, SIZE=MOST_BYTES, FEW=FEW,
        )  # fmt: skip
        self._used, self._item, self._n_rest = chunks.used, dtype.itemsize, chunks.pixels.size
        self._rest = device.read_only(stream.queue, chunks.pixels)
        self.values = np.empty((frames, self._n_rest), dtype)
        self._offsets = device.read_only(stream.queue, np.array(stream.lookup.offsets, np.int32))
        self._broken = np.zeros((frames, 2), np.int32)
        self._wrong = np.zeros((stream.n_items, 4), np.int32)
        flags = cl.mem_flags.READ_WRITE | cl.mem_flags.USE_HOST_PTR
        values = self.values if self._n_rest else np.empty(1, dtype)
        self._broken_there, self._wrong_there, self._values_there = (
            cl.Buffer(stream.queue.context, flags, hostbuf=array)
            for array in (self._broken, self._wrong, values)
        )

    def sum_packed(self, packed: PackedFrames, block: int) -> list[FrameSums]:
        """Sum packed frames that have so many pixels in a block."""
        queue, n_items, lookup = self.stream.queue, self.stream.n_items, self.stream.lookup
        full = lookup.n_pixels // 8 * 8
        n_blocks = -(-full // block)
        # Where each work-item begins.
        self.starts = np.minimum(np.arange(n_items) * -(-n_blocks // n_items) * block, full)
        buffers = [
            device.read_only(queue, np.frombuffer(chunk, np.uint8)) for chunk in packed.chunks
        ]
        chunks: list[Any] = []
        for buffer, chunk in zip(buffers, packed.chunks, strict=True):
            chunks += [buffer, np.int32(len(chunk))]
        places = cl.Buffer(queue.context, cl.mem_flags.READ_WRITE, self.frames * (n_blocks + 1) * 8)
        self.kernels["find_blocks"](
            queue, (self.frames,), (1,), *chunks, places, np.int32(n_blocks),
            np.int32(block * self._item), np.int32((lookup.n_pixels - full) * self._item),
            self._broken_there,
        )  # fmt: skip
        device.show(queue, self._broken_there, self._broken)
        for frame, (number, problem) in enumerate(self._broken):
            _check(packed, frame, number, n_blocks, problem)
        self.kernels["sum_blocks"](
            queue, (n_items,), (1,), *chunks, places, np.int32(n_blocks), np.int32(block),
            *self.stream.table[:3], self._used, self._rest, np.int32(self._n_rest),
            self._values_there, self.histograms, self.bad, self.n_bad, self._wrong_there,
            np.int32(lookup.n_bins), np.int32(lookup.n_pixels),
        )  # fmt: skip
        device.show(queue, self._wrong_there, self._wrong)
        for frame, number, problem, _ in self._wrong:
            _check(packed, frame, number, n_blocks, problem)
        self.kernels["collect"](
            queue,
            (lookup.n_bins,),
            None,
            self.histograms,
            np.int32(n_items),
            self._offsets,
            self.sums,
        )
        sums = self.results()
        if self._n_rest:
            device.show(queue, self._values_there, self.values)
        for buffer in (*buffers, places):
            buffer.release()
        return sums


def _check(packed: PackedFrames, frame: int, number: int, n_blocks: int, problem: int) -> None:
    if problem:
        where = f"block {number}" if number < n_blocks else "the part behind its blocks"
        raise packed.damage(int(frame), f"{where} {PROBLEMS[problem]}")
