"""The OpenCL engine: CPUs through PoCL, and GPUs.

A CPU streams frames into private histograms (`stream`), packed ones as they are (`chunks`), and
leaves the pixels that the look-up tells entry by entry to SciPy. A GPU sums integers in local
memory (`local`), and bin after bin (`gather`) whatever does not fit there. Programs are compiled
for the type of the frames when the first one comes. Where there is no splitting, integers are
summed as integers, exactly.
"""

from __future__ import annotations

import threading
from collections.abc import Sequence
from functools import reduce
from typing import Literal, Protocol

import pyopencl as cl

from bluesky_azint.engines.opencl.chunks import Chunks
from bluesky_azint.engines.opencl.device import default_device, is_cpu, queue_of
from bluesky_azint.engines.opencl.gpu import Gpu
from bluesky_azint.engines.opencl.stream import BATCH, Stream
from bluesky_azint.engines.protocol import BadValues, Frames, FrameSums, Wanted
from bluesky_azint.engines.rest import Rest
from bluesky_azint.lookup.table import Lookup
from bluesky_azint.packed import PackedFrames


class Way(Protocol):
    """A way to sum some of the pixels, or all, on a device."""

    def sum_frames(self, frames: Frames) -> Sequence[FrameSums]:
        """Sum frames, see `Engine`."""

    def sum_map(self, values: Frames) -> FrameSums:
        """Sum values of the pixels, see `Engine`."""


# Streams read so many pixels at once.
FEWEST_PIXELS = 4


class OpenCLEngine:
    """Sums frames into bins on an OpenCL device.

    Parameters
    ----------
    lookup, bad, wanted
        See `bluesky_azint.engines.create_engine`.
    device
        The device; None takes `default_device`.
    way
        ``"stream"``, ``"local"`` or ``"gather"``, see above; None takes what suits the device.
    """

    name = "opencl"
    batch = 2 * BATCH

    def __init__(
        self,
        lookup: Lookup,
        bad: BadValues,
        wanted: Wanted,
        *,
        device: cl.Device | None = None,
        way: Literal["stream", "local", "gather"] | None = None,
    ) -> None:
        device = default_device() if device is None else device
        queue = queue_of(device)
        if way is None:
            way = "stream" if is_cpu(queue.device) else "local"
        if way == "stream" and lookup.n_pixels < FEWEST_PIXELS:
            way = "gather"
        self._ways: list[Way] = []
        self._chunks: Chunks | None = None
        if way != "stream":
            self._ways.append(Gpu(queue, lookup, bad, wanted, local=way == "local"))
        else:
            rest = None
            if lookup.rest is not None:
                rest = Rest(lookup.rest, lookup.n_bins, bad, wanted)
                self._ways.append(rest)
            if rest is None or (lookup.first != lookup.n_bins).any():
                streamed = Stream(queue, lookup, bad, wanted)
                self._ways.append(streamed)
                if is_cpu(queue.device):
                    self._chunks = Chunks(streamed, rest, bad, wanted)
        self._device = device
        # The buffers of the results belong to one call at a time.
        self._lock = threading.Lock()

    def sum_frames(self, frames: Frames | PackedFrames) -> Sequence[FrameSums]:
        """Sum frames, see `Engine`."""
        queue_of(self._device)  # not in a process that was forked off
        if isinstance(frames, PackedFrames):
            if self._chunks is not None and self._chunks.takes(frames):
                with self._lock:
                    return self._chunks.sum_frames(frames)
            frames = frames.flat()
        with self._lock:
            parts = [way.sum_frames(frames) for way in self._ways]
        return [reduce(FrameSums.plus, sums) for sums in zip(*parts, strict=True)]

    def sum_map(self, values: Frames) -> FrameSums:
        """Sum values of the pixels, see `Engine`."""
        with self._lock:
            return reduce(FrameSums.plus, [way.sum_map(values) for way in self._ways])
