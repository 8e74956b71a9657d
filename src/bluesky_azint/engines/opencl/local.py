"""Local: tiles of pixels are added into histograms in local memory, as integers; for GPUs."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pyopencl as cl
from numpy.typing import NDArray

from bluesky_azint.engines.opencl import device
from bluesky_azint.engines.opencl.overlap import Answer
from bluesky_azint.engines.opencl.tiles import make_tiles
from bluesky_azint.engines.protocol import BadValues, FrameSums, Wanted
from bluesky_azint.lookup.table import Lookup

FloatArray = NDArray[np.float64]
Words = NDArray[np.uint32]

# What stands for a share of one, as in local.cl.
ONE = 2**31

GROUP_SIZE = 256
GROUPS_PER_CORE = 4

# Local memory of a group: so much that several groups fit into a core.
LOCAL_BYTES = 2**15

# Histograms that work-items of a group take turns with, where there is room for them.
COPIES = 4

# Pixels of a tile: fewer are not worth a histogram.
SHORTEST = 2**12


class Local:
    """Sums integers of at most 32 bits in pixels that touch one or two bins.

    Parameters
    ----------
    queue
        Of the device.
    lookup, bad, wanted
        See `bluesky_azint.engines.create_engine`; only those that `suits` knows.
    group_size
        Work-items of a group.
    local_bytes
        Local memory that a group may take.
    """

    def __init__(
        self,
        queue: cl.CommandQueue,
        lookup: Lookup,
        bad: BadValues,
        wanted: Wanted,
        *,
        group_size: int = GROUP_SIZE,
        local_bytes: int = LOCAL_BYTES,
    ) -> None:
        self._queue, self._lookup, self._bad, self._wanted = queue, lookup, bad, wanted
        self._group_size = min(group_size, queue.device.max_work_group_size)
        self._lanes = 1 if lookup.shares is None else 2 + wanted.square
        key_bytes = 4 * n_words(self._lanes)
        local_bytes = min(local_bytes, queue.device.local_mem_size)
        groups = GROUPS_PER_CORE * queue.device.max_compute_units
        self.tiles = tiles = make_tiles(
            lookup, max(-(-lookup.n_pixels // groups), SHORTEST), local_bytes // key_bytes
        )
        self._copies = max(1, min(COPIES, local_bytes // (max(tiles.most, 1) * key_bytes)))
        nothing = np.zeros(1, np.int32)
        arrays = (
            tiles.first,
            nothing if lookup.shares is None else fixed_point(lookup.shares[:, 0]),
            tiles.starts,
            nothing if tiles.slots is None else tiles.slots,
            nothing if tiles.bins is None else tiles.bins,
        )
        self._arguments: list[Any] = [
            *(device.read_only(queue, array) for array in arrays),
            np.int32(lookup.n_bins),
            cl.LocalMemory(max(self._copies * tiles.most, 1) * key_bytes),
        ]
        self._kernels: dict[str, cl.Kernel] = {}

    @staticmethod
    def suits(lookup: Lookup, wanted: Wanted, dtype: np.dtype[Any]) -> bool:
        """Whether frames of that type can be summed so."""
        few = lookup.spans is None and len(lookup.offsets) <= 2
        return few and wanted.spread is None and dtype.kind in "iu" and dtype.itemsize <= 4

    def answer(self) -> Answer:
        """Memory for an answer, see `Part`."""
        n_bytes = 4 * n_words(self._lanes) * self._lookup.n_bins
        return Answer(self._queue, n_bytes, self._lookup.n_pixels)

    def start(
        self, values: cl.Buffer, dtype: np.dtype[Any], answer: Answer, after: Sequence[cl.Event]
    ) -> Callable[[], FrameSums]:
        """Have a frame summed, see `Part`."""
        answer.clear()
        self._kernel(dtype)(
            self._queue, (self.tiles.number * self._group_size,), (self._group_size,),
            values, *self._arguments, answer.sums, answer.bad, answer.n_bad, wait_for=after,
        )  # fmt: skip
        answer.fetch()
        return lambda: self._sums(answer)

    def _sums(self, answer: Answer) -> FrameSums:
        shape = (n_words(self._lanes), self._lookup.n_bins)
        words, bad = answer.read(shape, np.dtype(np.uint32))
        rows = sums_of(words, self._lookup.offsets)
        return FrameSums.of_rows(rows, bad, self._wanted)

    def _kernel(self, dtype: np.dtype[Any]) -> cl.Kernel:
        if dtype.str not in self._kernels:
            self._kernels[dtype.str] = device.kernels(
                self._queue.context,
                "local.cl",
                device.bad_test(self._bad, dtype),
                PIXEL=device.c_type(dtype),
                KEY=device.c_type(self.tiles.first.dtype),
                LANES=self._lanes,
                OWN=int(self.tiles.bins is not None),
                COPIES=self._copies,
            )["sum_tiles"]
        return self._kernels[dtype.str]


def n_words(lanes: int) -> int:
    """Words at a key, as in local.cl."""
    return 3 * lanes - 1


def fixed_point(shares: NDArray[np.float32]) -> NDArray[np.uint32]:
    """Shares as integers, `ONE` for one."""
    return np.rint(shares.astype(np.float64) * ONE).astype(np.uint32)


def sums_of(words: Words, offsets: tuple[int, ...]) -> list[FloatArray]:
    """Sums of the values in every bin, and of the values times squared shares.

    Parameters
    ----------
    words
        Of the numbers that local.cl has at each key, ``(n_words, n_bins)``.
    offsets
        See `Lookup`.
    """
    values = _number(words[:2])
    if len(words) == n_words(1):
        return [values]
    shared, *squares = (_number(words[row : row + 3]) / ONE for row in range(2, len(words), 3))
    signal = values - shared + _shifted(shared, offsets[1])
    # The share in the first bin is 1 - u, the square of which 1 - 2 u + u^2.
    return [signal] + [
        values - 2 * shared + square + _shifted(square, offsets[1]) for square in squares
    ]


def _number(words: Words) -> FloatArray:
    """What two or three words say, as their two's complement."""
    *lowest, low, high = words
    upper = (low | high.astype(np.uint64) << np.uint64(32)).view(np.int64)
    number: FloatArray = upper.astype(np.float64)
    for word in lowest:
        number = number * 2.0**32 + word
    return number


def _shifted(row: FloatArray, offset: int) -> FloatArray:
    """What keys add to the bins `offset` after theirs."""
    shifted = np.zeros_like(row)
    shifted[offset:] = row[: row.size - offset]
    return shifted
