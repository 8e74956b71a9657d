"""Overlap: a frame moves to the device while the one before it is summed there."""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import reduce
from typing import Any, Protocol

import numpy as np
import pyopencl as cl
from numpy.typing import NDArray

from bluesky_azint.engines.protocol import Frames, FrameSums

# Frames under way at a time.
TURNS = 2

# A device reads memory that cannot be swapped out, and one thread copies into it slower than the
# device reads: several do, in pieces, and every piece is sent off as soon as it is there.
THREADS = 8
PIECE = 2**21

# Bad pixels that are fetched with the sums, as there may be some; a list of more is waited for.
FEW_BAD = 2**12


class Pinned:
    """Memory of the host that the device reads and writes at full speed: an ``array`` in it."""

    def __init__(self, queue: cl.CommandQueue, n_bytes: int) -> None:
        flags = cl.mem_flags.READ_WRITE | cl.mem_flags.ALLOC_HOST_PTR
        self._buffer = cl.Buffer(queue.context, flags, n_bytes)
        self.array, _ = cl.enqueue_map_buffer(
            queue,
            self._buffer,
            cl.map_flags.READ | cl.map_flags.WRITE,  # type: ignore[arg-type]
            0,
            (n_bytes,),
            np.dtype(np.uint8),
            is_blocking=True,
        )


def is_pinned(array: NDArray[Any]) -> bool:
    """Whether an array lies in mapped memory."""
    base: Any = array
    while isinstance(base, np.ndarray):
        base = base.base
    return isinstance(base, cl.MemoryMap)


class Answer:
    """Memory for what is found in a frame: sums per bin, and which pixels are bad.

    Parameters
    ----------
    queue
        Of the device.
    n_bytes
        That the sums may take.
    n_bad
        How many bad pixels may be told.
    """

    def __init__(self, queue: cl.CommandQueue, n_bytes: int, n_bad: int) -> None:
        self._queue = queue
        # One piece of memory, so that one command clears it, and one fetches what matters of it.
        align = queue.device.mem_base_addr_align // 8
        self._sums_at = align
        self._bad_at = align * (1 + -(-n_bytes // align))
        n_bad = max(n_bad, 1)
        self._there = cl.Buffer(queue.context, cl.mem_flags.READ_WRITE, self._bad_at + 4 * n_bad)
        self.n_bad = self._there.get_sub_region(0, 4)
        self.sums = self._there.get_sub_region(self._sums_at, n_bytes)
        self.bad = self._there.get_sub_region(self._bad_at, 4 * n_bad)
        self._here = Pinned(queue, self._bad_at + 4 * min(n_bad, FEW_BAD))

    def clear(self) -> None:
        """Begin at zero."""
        cl.enqueue_fill_buffer(self._queue, self._there, np.zeros(1, np.uint32), 0, self._bad_at)

    def fetch(self) -> None:
        """Ask for what the kernels before will have written."""
        self._came = cl.enqueue_copy(self._queue, self._here.array, self._there, is_blocking=False)
        self._queue.flush()

    def read(
        self, shape: tuple[int, ...], dtype: np.dtype[Any]
    ) -> tuple[NDArray[Any], NDArray[np.int64]]:
        """Wait for it: the sums, as an array of that shape and type, and the bad pixels.

        The sums are there until the next frame is summed.
        """
        self._came.wait()
        here = self._here.array
        sums = here[self._sums_at :][: int(np.prod(shape)) * dtype.itemsize]
        number = int(here[:4].view(np.int32)[0])
        found = here[self._bad_at :].view(np.int32)[:number]
        if found.size < number:
            found = np.empty(number, np.int32)
            cl.enqueue_copy(self._queue, found, self.bad, is_blocking=True)
        # They are found in any order, and as often as the look-up has them.
        return sums.view(dtype).reshape(shape), np.unique(found).astype(np.int64)


class Part(Protocol):
    """Sums some pixels of a frame, or all, that is on the device."""

    def answer(self) -> Answer:
        """Memory for an answer."""

    def start(
        self, values: cl.Buffer, dtype: np.dtype[Any], answer: Answer, after: Sequence[cl.Event]
    ) -> Callable[[], FrameSums]:
        """Have a frame summed; what is given back waits for it."""


class Overlap:
    """Moves frames to the device, and has parts sum them there.

    Parameters
    ----------
    queue
        Where the parts compute. Copies have a queue of their own.
    parts
        Which sum all pixels together.
    """

    def __init__(self, queue: cl.CommandQueue, parts: Sequence[Part]) -> None:
        self._parts = parts
        copying = cl.CommandQueue(queue.context)
        pool = ThreadPoolExecutor(min(THREADS, os.cpu_count() or 1))
        self._places = [_Place(copying, pool) for _ in range(TURNS)]
        self._answers = [[part.answer() for part in parts] for _ in range(TURNS)]

    def sum_frames(self, frames: Frames) -> list[FrameSums]:
        """Sum frames, ``(n, n_pixels)``."""
        sums: list[FrameSums] = []
        under_way: deque[Callable[[], FrameSums]] = deque()
        for number, frame in enumerate(frames):
            if len(under_way) == TURNS:
                sums.append(under_way.popleft()())
            under_way.append(self._start(frame, number % TURNS))
        return sums + [finish() for finish in under_way]

    def _start(self, frame: Frames, turn: int) -> Callable[[], FrameSums]:
        values, copied = self._places[turn].send(frame)
        finish = [
            part.start(values, frame.dtype, answer, [copied])
            for part, answer in zip(self._parts, self._answers[turn], strict=True)
        ]
        return lambda: reduce(FrameSums.plus, [of_part() for of_part in finish])


class _Place:
    """A place for a frame on the device, and one on the host from where it is sent."""

    def __init__(self, queue: cl.CommandQueue, pool: ThreadPoolExecutor) -> None:
        self._queue, self._pool = queue, pool
        self._there: cl.Buffer | None = None
        self._here: Pinned | None = None
        # When the event of a copy is let go, pyopencl waits for the copy: they are kept till then.
        self._copies: list[cl.Event] = []

    def send(self, frame: Frames) -> tuple[cl.Buffer, cl.Event]:
        """The frame on the device, once the event has come."""
        values = frame.view(np.uint8)
        if self._there is None or self._there.size < values.size:
            self._there = cl.Buffer(self._queue.context, cl.mem_flags.READ_ONLY, values.size)
        self._copies.clear()
        if is_pinned(frame):
            self._copy(self._there, values, 0)
        else:
            self._copy_pieces(self._there, values)
        return self._there, self._copies[-1]

    def _copy_pieces(self, there: cl.Buffer, values: NDArray[np.uint8]) -> None:
        if self._here is None or self._here.array.size < values.size:
            self._here = Pinned(self._queue, values.size)
        here = self._here.array

        def pin(start: int) -> slice:
            piece = slice(start, min(start + PIECE, values.size))
            np.copyto(here[piece], values[piece])
            return piece

        for piece in self._pool.map(pin, range(0, values.size, PIECE)):
            self._copy(there, here[piece], piece.start)

    def _copy(self, there: cl.Buffer, values: NDArray[np.uint8], start: int) -> None:
        self._copies.append(
            cl.enqueue_copy(self._queue, there, values, dst_offset=start, is_blocking=False)
        )
        self._queue.flush()
