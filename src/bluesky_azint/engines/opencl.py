"""The OpenCL engine: CPUs through PoCL, and GPUs.

A CPU streams the frame into private histograms (``scatter.cl``); a GPU, or a look-up in which a
pixel touches more than eight bins, sums bin after bin (``gather.cl``). Programs are compiled for
the type of the frame when the first one comes. Where there is no splitting, integers are summed
as integers, exactly.
"""

from __future__ import annotations

import threading
from functools import cache
from importlib.resources import files
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
import pyopencl as cl

from bluesky_azint.engines.protocol import BadValues, Frames, FrameSums
from bluesky_azint.errors import EngineError

if TYPE_CHECKING:
    from bluesky_azint.lookup import Compact, Lookup

C_TYPES = {
    "i1": "char", "u1": "uchar", "i2": "short", "u2": "ushort",
    "i4": "int", "u4": "uint", "i8": "long", "u8": "ulong", "f4": "float", "f8": "double",
}  # fmt: skip

ITEMS_PER_CORE = 8
HISTOGRAMS_PER_ITEM = 4
GROUP_SIZE = 128

# Histograms of more bins do not stay in the cache.
MOST_BINS_TO_SCATTER = 2**15


@cache
def default_device() -> cl.Device:
    """The device to compute on: the first GPU there is, else the first CPU.

    Raises
    ------
    EngineError
        If there is no OpenCL device that knows double precision.
    """
    try:
        devices = [device for platform in cl.get_platforms() for device in platform.get_devices()]
    except cl.Error as error:
        raise EngineError(f"OpenCL finds no platform ({error}).") from error
    able = [device for device in devices if device.double_fp_config]
    if not able:
        raise EngineError("OpenCL finds no device that computes in double precision.")
    return max(able, key=lambda device: bool(device.type & cl.device_type.GPU))


@cache
def _queue(device: cl.Device) -> cl.CommandQueue:
    return cl.CommandQueue(cl.Context([device]))


class Strategy(Protocol):
    """A way to sum a frame on a device."""

    def __call__(self, frame: cl.Buffer, dtype: np.dtype[Any]) -> FrameSums:
        """Sum the pixels of a frame that is on the device."""


class OpenCLEngine:
    """Sums frames into bins on an OpenCL device.

    Parameters
    ----------
    lookup, bad, square, exact
        See `bluesky_azint.engines.create_engine`.
    device
        The device; None takes `default_device`.
    scatter
        Whether to stream frames into private histograms; None does so on a CPU.
    """

    name = "opencl"

    def __init__(
        self,
        lookup: Lookup,
        bad: BadValues,
        *,
        square: bool,
        exact: bool = False,
        device: cl.Device | None = None,
        scatter: bool | None = None,
    ) -> None:
        device = default_device() if device is None else device
        self._queue = _queue(device)
        self._square = square
        self._is_cpu = bool(device.type & cl.device_type.CPU)
        exact = exact and not lookup.whole
        if scatter is None:
            scatter = self._is_cpu and not exact and lookup.n_bins <= MOST_BINS_TO_SCATTER
        compact = lookup.compact() if scatter else None
        programs = Programs(self._queue.context, lookup, bad, square=square and not lookup.whole)
        self._sum: Strategy = (
            Gather(self._queue, programs, lookup, np.float64 if exact else np.float32)
            if compact is None
            else Scatter(self._queue, programs, compact)
        )
        # The buffers of the results belong to one frame at a time.
        self._lock = threading.Lock()

    def sum_frame(self, frame: Frames) -> FrameSums:
        """Sum one frame, see `Engine`."""
        flags = cl.mem_flags
        place = flags.USE_HOST_PTR if self._is_cpu else flags.COPY_HOST_PTR
        with self._lock:
            buffer = cl.Buffer(self._queue.context, flags.READ_ONLY | place, hostbuf=frame)
            sums = self._sum(buffer, frame.dtype)
            buffer.release()
        if self._square and sums.square is None:
            # A share of one is its own square.
            sums = sums._replace(square=sums.signal)
        return sums


class Programs:
    """Kernels, compiled for a look-up and a type of pixels."""

    def __init__(
        self, context: cl.Context, lookup: Lookup, bad: BadValues, *, square: bool
    ) -> None:
        self.context = context
        self.n_bins = lookup.n_bins
        self.square = square
        self._whole = lookup.whole
        self._bad = bad
        self._compiled: dict[tuple[str, str], dict[str, cl.Kernel]] = {}

    @property
    def kinds(self) -> int:
        """Number of sums per bin: 1, or 2 with the squared shares."""
        return 2 if self.square else 1

    def sum_dtype(self, dtype: np.dtype[Any]) -> np.dtype[Any]:
        """Type of a sum: of integers exact where nothing is split."""
        if self._whole and dtype.kind in "iu":
            return np.dtype(f"{dtype.kind}8")
        return np.dtype(np.float64)

    def kernels(
        self, source: str, dtype: np.dtype[Any], **defines: int | str
    ) -> dict[str, cl.Kernel]:
        """The kernels of that source file by name, for frames of that type.

        Raises
        ------
        EngineError
            If the type is not known, or the program cannot be compiled.
        """
        if dtype.str[1:] not in C_TYPES:
            raise EngineError(
                f"OpenCL cannot sum frames of type {dtype}; convert them, or use engine='scipy'."
            )
        key = (source, dtype.str)
        if key not in self._compiled:
            macros: dict[str, int | str] = {
                "PIXEL": C_TYPES[dtype.str[1:]],
                "SUM": C_TYPES[self.sum_dtype(dtype).str[1:]],
                "SQUARES": int(self.square),
                "WHOLE": int(self._whole),
                "N_BINS": self.n_bins,
                **defines,
            }
            text = (files("bluesky_azint.engines") / source).read_text()
            try:
                program = cl.Program(
                    self.context, f"#define BAD(v) ({_bad_test(self._bad, dtype)})\n{text}"
                ).build(options=[f"-D{name}={value}" for name, value in macros.items()])
            except cl.Error as error:
                raise EngineError(f"OpenCL cannot compile {source}: {error}") from error
            self._compiled[key] = {kernel.function_name: kernel for kernel in program.all_kernels()}
        return self._compiled[key]


def _bad_test(bad: BadValues, dtype: np.dtype[Any]) -> str:
    """The test for bad values in OpenCL C."""
    if dtype.kind == "f":
        tests = ["!isfinite(v)"]
    else:
        tests = [f"(v) == {_literal(np.iinfo(dtype).max, dtype)}"]
    interval = bad.interval(dtype)
    if interval is not None:
        low, high = (_literal(end, dtype) for end in interval)
        tests.append(f"((v) >= {low} && (v) <= {high})")
    return " || ".join(tests)


def _literal(value: float, dtype: np.dtype[Any]) -> str:
    if dtype.kind == "f":
        return float(value).hex()
    if value == np.iinfo(np.int64).min:
        return "LONG_MIN"
    return f"{value}{'UL' if dtype.kind == 'u' else 'L'}"


class Scatter:
    """Streams the frame into private histograms; for CPUs."""

    def __init__(self, queue: cl.CommandQueue, programs: Programs, compact: Compact) -> None:
        context, flags = queue.context, cl.mem_flags
        self._queue, self._programs = queue, programs
        self._columns = compact.bins_per_pixel
        self._index = C_TYPES[compact.first.dtype.str[1:]]
        self._items = ITEMS_PER_CORE * queue.device.max_compute_units
        self._n_pixels = compact.first.size
        weights = np.ones(1, np.float32) if compact.weights is None else compact.weights
        read = flags.READ_ONLY | flags.COPY_HOST_PTR
        self._first = cl.Buffer(context, read, hostbuf=compact.first)
        self._weights = cl.Buffer(context, read, hostbuf=np.ascontiguousarray(weights))
        lanes = self._columns * programs.kinds
        self._n_histograms = self._items * HISTOGRAMS_PER_ITEM
        self._histograms = cl.Buffer(
            context, flags.READ_WRITE, self._n_histograms * (programs.n_bins + 1) * lanes * 8
        )
        self._sums = cl.Buffer(context, flags.READ_WRITE, programs.kinds * programs.n_bins * 8)
        self._bad = cl.Buffer(context, flags.READ_WRITE, self._n_pixels * 4)
        self._n_bad = cl.Buffer(context, flags.READ_WRITE, self._items * 4)

    def __call__(self, frame: cl.Buffer, dtype: np.dtype[Any]) -> FrameSums:
        """Sum the pixels of a frame that is on the device."""
        programs, queue = self._programs, self._queue
        kernels = programs.kernels(
            "scatter.cl",
            dtype,
            COLUMNS=self._columns,
            INDEX=self._index,
            SUBS=HISTOGRAMS_PER_ITEM,
        )
        kernels["scatter"](
            queue, (self._items,), (1,), frame, self._first, self._weights,
            self._histograms, self._bad, self._n_bad, np.int32(self._n_pixels),
        )  # fmt: skip
        kernels["collect"](
            queue,
            (programs.n_bins,),
            None,
            self._histograms,
            self._sums,
            np.int32(self._n_histograms),
        )
        sums = np.empty((programs.kinds, programs.n_bins), programs.sum_dtype(dtype))
        n_bad = np.empty(self._items, np.int32)
        cl.enqueue_copy(queue, n_bad, self._n_bad, is_blocking=False)
        cl.enqueue_copy(queue, sums, self._sums, is_blocking=True)
        return _frame_sums(sums, self._bad_pixels(n_bad))

    def _bad_pixels(self, n_bad: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
        """What each work-item found stands at the beginning of its stretch."""
        stretch = -(-self._n_pixels // self._items)
        bad = np.empty(n_bad.sum(), np.int32)
        end = 0
        for item in np.flatnonzero(n_bad):
            start, end = end, end + n_bad[item]
            cl.enqueue_copy(
                self._queue, bad[start:end], self._bad, src_offset=int(item) * stretch * 4
            )
        return bad.astype(np.int64)


class Gather:
    """Sums bin after bin; for GPUs, and for pixels that touch many bins."""

    def __init__(
        self,
        queue: cl.CommandQueue,
        programs: Programs,
        lookup: Lookup,
        weight_dtype: type[np.floating[Any]],
    ) -> None:
        context, flags = queue.context, cl.mem_flags
        self._queue, self._programs = queue, programs
        self._weight = C_TYPES[np.dtype(weight_dtype).str[1:]]
        rows = lookup.matrix.tocsr()
        read = flags.READ_ONLY | flags.COPY_HOST_PTR
        entries = max(rows.nnz, 1)
        weights = np.ones(1) if lookup.whole or not rows.nnz else rows.data
        pixels = rows.indices if rows.nnz else np.zeros(1)
        self._pointer = cl.Buffer(context, read, hostbuf=rows.indptr.astype(np.int32))
        self._pixels = cl.Buffer(context, read, hostbuf=pixels.astype(np.int32))
        self._weights = cl.Buffer(context, read, hostbuf=weights.astype(weight_dtype))
        self._sums = cl.Buffer(context, flags.READ_WRITE, programs.kinds * programs.n_bins * 8)
        self._bad = cl.Buffer(context, flags.READ_WRITE, entries * 4)
        self._n_bad = cl.Buffer(context, flags.READ_WRITE, 4)

    def __call__(self, frame: cl.Buffer, dtype: np.dtype[Any]) -> FrameSums:
        """Sum the pixels of a frame that is on the device."""
        programs, queue = self._programs, self._queue
        kernels = programs.kernels("gather.cl", dtype, SIZE=GROUP_SIZE, WEIGHT=self._weight)
        n_bad = np.zeros(1, np.int32)
        cl.enqueue_copy(queue, self._n_bad, n_bad, is_blocking=False)
        kernels["gather"](
            queue, (programs.n_bins * GROUP_SIZE,), (GROUP_SIZE,), frame, self._pointer,
            self._pixels, self._weights, self._sums, self._bad, self._n_bad,
        )  # fmt: skip
        sums = np.empty((programs.kinds, programs.n_bins), programs.sum_dtype(dtype))
        cl.enqueue_copy(queue, sums, self._sums, is_blocking=True)
        cl.enqueue_copy(queue, n_bad, self._n_bad, is_blocking=True)
        bad = np.empty(int(n_bad[0]), np.int32)
        if bad.size:
            cl.enqueue_copy(queue, bad, self._bad, is_blocking=True)
        # A pixel that touches two bins is found twice, and in any order.
        return _frame_sums(sums, np.unique(bad).astype(np.int64))


def _frame_sums(sums: np.ndarray[Any, Any], bad: np.ndarray[Any, Any]) -> FrameSums:
    rows = sums.astype(np.float64)
    return FrameSums(rows[0], rows[1] if len(rows) > 1 else None, bad)
