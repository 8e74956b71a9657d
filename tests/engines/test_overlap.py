"""Frames move to the device while others are summed there: none is mixed up with another."""

import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import pyopencl as cl
import pytest

from bluesky_azint.engines import BadValues, FrameSums, Wanted
from bluesky_azint.engines.opencl import overlap
from bluesky_azint.engines.opencl.device import default_device, queue_of
from bluesky_azint.engines.opencl.gather import Gather
from bluesky_azint.engines.opencl.local import Local
from bluesky_azint.engines.opencl.overlap import Answer, Overlap, Pinned, is_pinned
from bluesky_azint.lookup import Lookup

N_BINS = 7
SIZE = 6000
LOOKUP = Lookup(N_BINS, np.resize(np.arange(N_BINS, dtype=np.uint16), SIZE))


@pytest.fixture
def local() -> Local:
    return Local(queue_of(default_device()), LOOKUP, BadValues(), Wanted())


@pytest.fixture
def moving(local: Local) -> Overlap:
    return Overlap(queue_of(default_device()), [local])


def expected(frame: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    return np.bincount(LOOKUP.first, frame, N_BINS)


def test_many_frames_come_back_in_order(moving: Overlap, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(overlap, "PIECE", 1000)  # several pieces, the last one shorter
    frames = np.random.default_rng(2).integers(0, 1000, (7, SIZE), dtype=np.uint16)
    for sums, frame in zip(moving.sum_frames(frames), frames, strict=True):
        np.testing.assert_array_equal(sums.signal, expected(frame))


def test_types_may_change(moving: Overlap) -> None:
    for dtype in ("u1", "u4", "u2"):
        frames = np.random.default_rng(3).integers(0, 200, (3, SIZE)).astype(dtype)
        for sums, frame in zip(moving.sum_frames(frames), frames, strict=True):
            np.testing.assert_array_equal(sums.signal, expected(frame))


def test_no_frames_give_no_sums(moving: Overlap) -> None:
    assert moving.sum_frames(np.empty((0, SIZE), np.uint16)) == []


def test_few_and_many_bad_pixels_are_told(local: Local, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(overlap, "FEW_BAD", 10)
    moving = Overlap(queue_of(default_device()), [local])
    frames = np.ones((3, SIZE), np.uint16)
    bad = [np.arange(10), np.arange(5, 1000, 3), np.empty(0)]
    for frame, pixels in zip(frames, bad, strict=True):
        frame[pixels.astype(int)] = 65535
    for sums, pixels in zip(moving.sum_frames(frames), bad, strict=True):
        np.testing.assert_array_equal(sums.bad, pixels)
        assert sums.signal.sum() == SIZE - pixels.size


def test_pinned_frames_are_sent_from_where_they_are(
    moving: Overlap, monkeypatch: pytest.MonkeyPatch
) -> None:
    pinned = Pinned(queue_of(default_device()), 4 * SIZE * 3)
    frames = pinned.array.view(np.uint32).reshape(3, SIZE)
    frames[:] = np.arange(SIZE) * np.arange(1, 4)[:, np.newaxis]
    assert is_pinned(frames[1])
    assert not is_pinned(np.ones(3)[1:])
    monkeypatch.setattr(overlap._Place, "_copy_pieces", None)
    for sums, frame in zip(moving.sum_frames(frames), frames, strict=True):
        np.testing.assert_array_equal(sums.signal, expected(frame))


@pytest.mark.parametrize("part", ["local", "gather"])
def test_sums_wait_for_the_frame(part: str, local: Local) -> None:
    queue = queue_of(default_device())
    every = np.arange(SIZE)
    gather = Gather(queue, LOOKUP.matrix, every, BadValues(), Wanted())
    moving = Overlap(queue, [local if part == "local" else gather])
    zeros, ones = np.zeros((2, SIZE), np.uint16), np.ones((2, SIZE), np.uint16)
    moving.sum_frames(zeros)
    gate = cl.UserEvent(queue.context)
    for place in moving._places:
        cl.enqueue_barrier(place._queue, wait_for=[gate])
    with ThreadPoolExecutor(1) as pool:  # which does not hold this thread up, either
        summed = pool.submit(moving.sum_frames, ones)
        time.sleep(0.05)
        gate.set_status(cl.command_execution_status.COMPLETE)
        for sums in summed.result():
            np.testing.assert_array_equal(sums.signal, expected(ones[0]))


def test_a_frame_that_fails_leaves_nothing_behind(local: Local) -> None:
    class Failing:
        """A part that cannot sum its third frame."""

        number = 0

        def answer(self) -> Answer:
            return local.answer()

        def start(
            self, values: cl.Buffer, dtype: np.dtype[Any], answer: Answer, after: Sequence[cl.Event]
        ) -> Callable[[], FrameSums]:
            self.number += 1
            if self.number == 3:
                raise RuntimeError("No more.")
            return local.start(values, dtype, answer, after)

    moving = Overlap(queue_of(default_device()), [Failing()])
    frames = np.random.default_rng(4).integers(0, 99, (4, SIZE), dtype=np.uint8)
    with pytest.raises(RuntimeError, match="No more"):
        moving.sum_frames(frames)
    for sums, frame in zip(moving.sum_frames(frames), frames, strict=True):
        np.testing.assert_array_equal(sums.signal, expected(frame))
