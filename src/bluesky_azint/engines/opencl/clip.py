"""Clip: sigma clipping and quantiles on frames that are sorted by bin."""

from __future__ import annotations

import threading
from dataclasses import fields
from typing import Any

import numpy as np
import pyopencl as cl
from numpy.typing import NDArray

from bluesky_azint.engines.opencl import device
from bluesky_azint.engines.opencl.rows import longest, sort_rows, stretches
from bluesky_azint.engines.protocol import BadValues, Frames
from bluesky_azint.engines.robust import PixelValues, RobustSums
from bluesky_azint.lookup.table import Lookup

ITEMS_PER_CORE = 16

# Numbers that each entry of the longest row of a work-item needs a place for.
PLACES = 4


def patient_device() -> cl.Device:
    """A CPU, if OpenCL knows one: a work-item reads whole rows, one after the other.

    Raises
    ------
    EngineError
        If there is no OpenCL device that knows double precision.
    """
    default = device.default_device()
    devices = [found for platform in cl.get_platforms() for found in platform.get_devices()]
    cpus = [found for found in devices if device.is_cpu(found) and found.double_fp_config]
    return cpus[0] if cpus else default


class Clip:
    """Robust sums on an OpenCL device.

    Parameters
    ----------
    lookup
        Which pixel goes into which bin.
    bad
        Values that mark a pixel as bad.
    values
        What is known of the pixels.
    target
        The device; None takes `patient_device`.
    """

    name = "opencl"

    def __init__(
        self,
        lookup: Lookup,
        bad: BadValues,
        values: PixelValues,
        *,
        target: cl.Device | None = None,
    ) -> None:
        self._queue = device.queue_of(patient_device() if target is None else target)
        self._bad, self._values = bad, values
        self._signed = bool((values.weight < 0).any())
        self._rows = rows = sort_rows(lookup)
        self._items = ITEMS_PER_CORE * self._queue.device.max_compute_units
        bins = stretches(rows.lengths, self._items)
        places = longest(rows.lengths, bins)
        self._positions = self._constant(rows.positions)
        self._pixels = self._constant(rows.pixels)
        self._weight = self._sorted(values.weight)
        self._dark = self._sorted(values.dark)
        self._added = self._sorted(values.dark_variance)
        self._table = [
            self._constant(array)
            for array in (
                np.zeros(0, np.float32) if rows.shares is None else rows.shares,
                rows.entry_shares,
                rows.pixels,
                rows.groups,
                rows.entries,
                np.array(rows.offsets, np.int32),
                bins,
                places,
            )
        ]
        self._place = self._space(8 * PLACES * int(places[-1]))
        self._result = self._space(8 * len(fields(RobustSums)) * rows.n_bins)
        self._slots: dict[str, cl.Buffer] = {}
        self._compiled: dict[tuple[str, str | None, bool], dict[str, cl.Kernel]] = {}
        # The buffers belong to one frame at a time.
        self._lock = threading.Lock()

    def sigma_clip(
        self,
        frame: Frames,
        variance: Frames | None,
        error_model: str,
        threshold: float,
        max_iterations: int,
    ) -> RobustSums:
        """Sums without outliers, see `RobustEngine`."""
        options = np.float64(threshold), np.int32(max_iterations)
        return self._run("sigma_clip", frame, variance, error_model, options)

    def quantile_mean(
        self,
        frame: Frames,
        variance: Frames | None,
        error_model: str | None,
        low: float,
        high: float,
    ) -> RobustSums:
        """Sums between two quantiles, see `RobustEngine`."""
        options = np.float64(low), np.float64(high)
        return self._run("quantile_mean", frame, variance, error_model, options)

    def _run(
        self,
        name: str,
        frame: Frames,
        variance: Frames | None,
        error_model: str | None,
        options: tuple[np.generic, ...],
    ) -> RobustSums:
        given = None if variance is None else np.ascontiguousarray(variance, dtype=np.float64)
        rows = self._rows
        kernels = self._kernels(frame.dtype, error_model, given=given is not None)
        sums = np.empty((len(fields(RobustSums)), rows.n_bins))
        with self._lock:
            kernels[name](
                self._queue, (self._items,), (1,), self._sort(frame), self._weight, self._dark,
                self._weight if given is None else self._sort(given, "given"), self._added,
                *self._table, self._place, self._result, np.int32(rows.n_bins), *options,
            )  # fmt: skip
            cl.enqueue_copy(self._queue, sums, self._result, is_blocking=True)
        return RobustSums(*sums)

    def _sort(self, frame: Frames, purpose: str = "frame") -> cl.Buffer:
        """The pixels of a frame in their slots."""
        rows, queue = self._rows, self._queue
        key = purpose + frame.dtype.str
        if key not in self._slots:
            # Slots without a pixel are bad for ever.
            fill = np.nan if frame.dtype.kind == "f" else np.iinfo(frame.dtype).max
            empty = np.full(max(rows.pixels.size, 1), fill, frame.dtype)
            place = cl.mem_flags.READ_WRITE | cl.mem_flags.COPY_HOST_PTR
            self._slots = {k: v for k, v in self._slots.items() if not k.startswith(purpose)}
            self._slots[key] = cl.Buffer(queue.context, place, hostbuf=empty)
        slots, pixels = self._slots[key], device.read_only(queue, frame)
        kernels = device.kernels(queue.context, "sort.cl", PIXEL=device.c_type(frame.dtype))
        work = queue, (self._items,), (1,), pixels
        kernels["sort"](*work, self._positions, slots, np.int32(rows.n_pixels))
        kernels["collect"](
            *work, self._pixels, slots, np.int32(rows.n_grouped), np.int32(rows.pixels.size)
        )
        return slots

    def _kernels(
        self, dtype: np.dtype[Any], error_model: str | None, *, given: bool
    ) -> dict[str, cl.Kernel]:
        key = dtype.str, error_model, given
        if key in self._compiled:
            return self._compiled[key]
        rows, values = self._rows, self._values
        counts = error_model not in (None, "azimuthal")
        self._compiled[key] = device.kernels(
            self._queue.context,
            "clip.cl",
            device.bad_test(self._bad, dtype),
            PIXEL=device.c_type(dtype),
            PIXELS=f"{device.c_type(dtype)}4",
            FLOATING=int(dtype.kind == "f"),
            SHARES=0 if rows.shares is None else len(rows.shares),
            WHOLE=int(rows.whole),
            SIGNED=int(self._signed),
            DARK=int(values.dark is not None),
            SPREAD=int(error_model in (None, "azimuthal", "hybrid")),
            COUNTS=int(counts),
            GIVEN=int(given),
            ADDED=int(values.dark_variance is not None),
            CPU=int(device.is_cpu(self._queue.device)),
        )
        return self._compiled[key]

    def _sorted(self, values: NDArray[Any] | None) -> cl.Buffer:
        """Values of the pixels in their slots; zero in those without a pixel."""
        pixels = self._rows.pixels
        if values is None:
            return self._constant(np.zeros(0))
        return self._constant(np.where(pixels >= 0, values[pixels], values.dtype.type(0)))

    def _constant(self, array: NDArray[Any]) -> cl.Buffer:
        return device.read_only(self._queue, array)

    def _space(self, size: int) -> cl.Buffer:
        return cl.Buffer(self._queue.context, cl.mem_flags.READ_WRITE, max(size, 8))
