"""Check a GPU: the contract of all engines, sums to the last bit, and frames per second.

Run as ``python -m tests.engines.on_a_gpu [--device gpu] [--frames 400]`` in the root of the
repository. Tests run on a CPU where there is no GPU; this tells whether one that is at hand does the
same, and how fast it is.
"""

from __future__ import annotations

import argparse
import os
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np
import pyopencl as cl
import pytest
from numpy.typing import NDArray

import bluesky_azint as ba
from bluesky_azint.engines import BadValues, Wanted
from bluesky_azint.engines.opencl import device
from bluesky_azint.engines.opencl.engine import OpenCLEngine
from bluesky_azint.engines.opencl.local import Local, sums_of
from bluesky_azint.engines.opencl.overlap import Pinned
from bluesky_azint.grid import make_grid
from bluesky_azint.lookup import Lookup, build_lookup
from bluesky_azint.units import unit
from tests.engines.fixed_point import integer_sums, words_of

SHAPE = (2162, 2068)  # 4M
BATCH = 8
BINS: dict[str, tuple[str, int, int | None]] = {
    "no split": ("no", 1000, None),
    "bbox": ("bbox", 1000, None),
    "no split, 4000 bins": ("no", 4000, None),
    "cake, no split": ("no", 1000, 360),
    "cake, bbox": ("bbox", 1000, 360),
}
TESTS = [f"tests/engines/test_{name}.py" for name in ("local", "overlap", "contract")]


def main() -> int:
    """Test, measure, and tell whether all is well."""
    parser = argparse.ArgumentParser(description=__doc__, prog="python -m tests.engines.on_a_gpu")
    parser.add_argument("--device", default="gpu", help="as AZINT_OPENCL_DEVICE names it")
    parser.add_argument("--frames", type=int, default=400, help="to sum for each figure")
    parser.add_argument("--no-tests", action="store_true", help="only compare and measure")
    wanted = parser.parse_args()
    os.environ[device.CHOICE] = wanted.device
    _tell(_description(device.default_device()))
    failed = False
    if not wanted.no_tests:
        failed = bool(pytest.main(["-q", "-k", "not Scipy and not opencl_stream", *TESTS]))
    return int(measure(max(wanted.frames // BATCH, 1)) or failed)


def measure(batches: int) -> bool:
    """Compare and measure frames of 4M pixels in uint32; whether any sum is wrong."""
    queue = device.queue_of(device.default_device())
    frames = np.random.default_rng(1).poisson(3, (BATCH, SHAPE[0] * SHAPE[1])).astype(np.uint32)
    frames[:, ::997] = 2**32 - 1  # bad, as in the gaps of a detector
    memory = Pinned(queue, frames.nbytes)
    pinned = memory.array.view(np.uint32).reshape(frames.shape)
    pinned[:] = frames
    there = cl.Buffer(queue.context, cl.mem_flags.READ_ONLY, frames.nbytes)
    rate = _rate(lambda: cl.enqueue_copy(queue, there, pinned, is_blocking=True), batches)
    _tell(f"{rate:8.0f} frames/s copied from pinned memory, and nothing else")
    geometry = ba.Geometry(
        detector=ba.Detector(75e-6, 75e-6, SHAPE),
        dist=0.2, poni1=0.08, poni2=0.077, rot1=0.01, wavelength=1e-10,
    )  # fmt: skip
    wrong = False
    for name, (splitting, npt, npt_azim) in BINS.items():
        lookup = build_lookup(
            geometry, make_grid(geometry, unit("q_A^-1"), splitting, npt, npt_azim=npt_azim)
        )
        engine = OpenCLEngine(lookup, BadValues(), Wanted(square=True), way="local")
        well, comparison = compare(lookup, frames[0])
        wrong |= not well
        rates = [_rate(partial(engine.sum_frames, where), batches) for where in (frames, pinned)]
        _tell(f"{rates[0]:8.0f} frames/s, {rates[1]:.0f} if pinned: {name}; {comparison}")
    return wrong


def compare(lookup: Lookup, frame: NDArray[Any]) -> tuple[bool, str]:
    """Whether the sums are right, and what they were compared with."""
    in_integers = Local.suits(lookup, Wanted(), frame.dtype)
    if in_integers:  # but for the pixels that are told entry by entry
        lookup = replace(lookup, rest=None)
    engine = OpenCLEngine(lookup, BadValues(), Wanted(square=True), way="local")
    (sums,) = engine.sum_frames(frame[np.newaxis])
    bad = BadValues()(frame) & lookup.used
    good = np.where(bad, 0, frame)
    found = [np.asarray(row) for row in (sums.signal, sums.square)]
    well = np.array_equal(sums.bad, np.flatnonzero(bad))
    if in_integers:
        words = words_of(integer_sums(lookup, good, square=True))
        expected = sums_of(words, lookup.offsets)
        well &= np.array_equal(found, [expected[0], expected[-1]])
        return well, f"{'' if well else 'NOT '}to the last bit what NumPy gives"
    expected = [lookup.matrix.power(power) @ good.astype(float) for power in (1, 2)]
    off = max(
        np.abs(row - value).max() / value.max() for row, value in zip(found, expected, strict=True)
    )
    return bool(well and off < 1e-9), f"off by {off:.0e} of the largest sum at most"


def _rate(work: Callable[[], object], batches: int) -> float:
    """Frames per second."""
    work()
    start = time.perf_counter()
    for _ in range(batches):
        work()
    return batches * BATCH / (time.perf_counter() - start)


def _description(chosen: cl.Device) -> str:
    return (
        f"{chosen.platform.name}: {chosen.name}, {chosen.version}, driver {chosen.driver_version}; "
        f"{chosen.max_compute_units} compute units, {chosen.local_mem_size // 1024} KiB local memory"
    )


def _tell(line: str) -> None:
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main())
