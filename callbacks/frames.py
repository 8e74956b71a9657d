"""Frames out of Bluesky documents: however they arrive, they become batches of one kind.

Frames come inside of events (``event``, ``event_page``), or in files that ``resource`` and
``datum``, or ``stream_resource`` and ``stream_datum`` announce. Runs may be nested.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from os import PathLike
from types import MappingProxyType
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from bluesky_azint.callbacks.announcements import Announced, Announcements
from bluesky_azint.callbacks.assets import Document
from bluesky_azint.callbacks.data_keys import frames_per_event, image_keys
from bluesky_azint.callbacks.inline import frames_of_values
from bluesky_azint.callbacks.places import places_in_asset, places_of_values
from bluesky_azint.callbacks.reader import FrameReader
from bluesky_azint.callbacks.roots import Roots
from bluesky_azint.errors import FrameError, FramesMissing
from bluesky_azint.packed import PackedFrames

__all__ = ["FrameBatch", "FrameSource", "frames_per_event", "image_keys"]


# The memory that counting them takes has to be there: frames that one document announces, frames of
# a stream, and how many of them are dealt with at a time.
MOST_AT_ONCE = 2**22
MOST_FRAMES = 2**24
_FRAMES_OF_A_PART = 2**16


class _Lost(NamedTuple):
    """Frames that cannot be read: the number of the first, how many they are, and why."""

    first: int
    size: int
    reason: str


@dataclass(frozen=True, eq=False, kw_only=True)
class FrameNumbers:
    """The numbers of some frames of one detector, in the order in which they were announced.

    Parameters
    ----------
    indices
        ``(n,)``, number of each frame within its stream, counted from 0:
        ``(seq_num - 1) * frames_per_event + k``. A run that was rewound repeats some: the last
        one is right.
    seq_nums
        ``(n,)``, the sequence number of the event of each frame.
    timestamps
        ``(n,)``, the time of the event of each frame, in seconds since the epoch. Stream documents
        usually come before their event, and in fly scans there is none: it is then the time at
        which the document arrived.
    places
        ``(n,)``, where each frame is, see `bluesky_azint.callbacks.places`.
    descriptor, data_key
        The uid of the event descriptor, and which of its data keys.
    """

    indices: NDArray[np.int64]
    seq_nums: NDArray[np.int64]
    timestamps: NDArray[np.float64]
    places: NDArray[np.int64]
    descriptor: str
    data_key: str


@dataclass(frozen=True, eq=False, kw_only=True)
class FrameBatch(FrameNumbers):
    """Some frames of one detector, in the order in which they were announced.

    Parameters
    ----------
    frames
        ``(n, rows, columns)``, in the type of the detector, native or not; packed if their file
        holds them so. Frames from inside of an event may share their memory with it.
    """

    frames: NDArray[Any] | PackedFrames

    def each(self) -> Iterator[FrameBatch]:
        """The frames one by one."""
        for number in range(len(self.frames)):
            one = slice(number, number + 1)
            yield _batch(self, number, self.frames[one])


# Tells which of some frames need not be read.
Known = Callable[[FrameNumbers], NDArray[np.bool_]]


class FrameSource:
    """Takes the documents of runs and gives the frames that they announce.

    >>> source = FrameSource(root_map={"/detector/disk": "/mnt/detector"})
    >>> list(source("start", {"uid": "0f3a", "time": 0.0}))
    []

    Parameters
    ----------
    root_map
        Beginnings of paths in the documents, and what they are called on this machine.
    timeout
        How many seconds to wait for frames that were announced but are not in their file yet.
        While a file fails, only its first document waits.
    max_bytes
        The size of a batch, at the most; but a batch has at least one frame.
    data_keys
        Which data keys to take frames from; by default, all those that describe images.
    known
        Tells which frames need not be read; by default, all are.
    roots
        Folders out of which files may be read; None for all.
    """

    def __init__(
        self,
        *,
        root_map: Mapping[str, str] = MappingProxyType({}),
        timeout: float = 10.0,
        max_bytes: int = 160 * 2**20,
        data_keys: Collection[str] | None = None,
        known: Known | None = None,
        roots: Collection[str | PathLike[str]] | None = None,
    ) -> None:
        self.timeout = timeout
        self.max_bytes = max_bytes
        self._known = known
        self._announcements = Announcements(root_map=root_map, data_keys=data_keys)
        self._reader = FrameReader(max_bytes=max_bytes, roots=Roots(roots))
        self._failing: set[str] = set()

    def __call__(self, name: str, doc: Document) -> Iterator[FrameBatch]:
        """Take a document, and read the frames that it announces while they are iterated over.

        With its stop document everything about a run is dropped, and its files are closed.

        Raises
        ------
        FrameError
            At the end of the iteration, if some of the frames cannot be read. All the others have
            been given by then, and the next document is welcome.
        """
        announced = self._announcements(name, doc)
        if name == "stop":
            self._reader.close(except_for=self._announcements.resources)
            self._failing &= set(self._announcements.resources)
        return self._batches(announced)

    def close(self) -> None:
        """Close all files."""
        self._reader.close()

    def _batches(self, announced: Iterable[Announced]) -> Iterator[FrameBatch]:
        losses: list[str] = []
        for found in announced:
            lost: list[_Lost] = []
            yield from self._read(found, lost)
            if found.asset is not None:
                (self._failing.add if lost else self._failing.discard)(found.asset.uid)
            if lost:
                losses.append(_loss(found, lost))
        if losses:
            raise FrameError(" ".join(losses))

    def _read(self, found: Announced, lost: list[_Lost]) -> Iterator[FrameBatch]:
        """Read what was announced; what cannot be read is left in `lost`."""
        failing = found.asset is not None and found.asset.uid in self._failing
        deadline = time.monotonic() + (0.0 if failing else self.timeout)
        until, reason = 0, ""  # before that frame of the asset all are lost
        for part in _parts(found, lost):
            numbers = _numbers(part)
            before = part.row * part.frames_per_event
            spans = self._spans(numbers)
            while spans:
                start, stop = spans.pop()
                if before + start < until:
                    end = min(until - before, stop)
                    lost.append(_Lost(int(numbers.indices[start]), end - start, reason))
                    spans += [(end, stop)] * (end < stop)
                    continue
                try:
                    frames = self._frames(part, start, stop, deadline)
                except FramesMissing as error:
                    until, reason = error.until, str(error)
                    spans.append((start, stop))
                except FrameError as error:
                    middle = (start + stop) // 2
                    if middle == start:
                        lost.append(_Lost(int(numbers.indices[start]), 1, str(error)))
                    else:
                        spans += [(middle, stop), (start, middle)]
                else:
                    spans += [(start + len(frames), stop)] * (start + len(frames) < stop)
                    yield _batch(numbers, start, frames)

    def _spans(self, numbers: FrameNumbers) -> list[tuple[int, int]]:
        """Stretches of frames that are to be read, the last one first."""
        if self._known is None:
            return [(0, numbers.indices.size)]
        wanted = np.concatenate(([False], ~self._known(numbers), [False]))
        ends = np.flatnonzero(wanted[1:] != wanted[:-1]).reshape(-1, 2)
        return [(int(start), int(stop)) for start, stop in ends[::-1]]

    def _frames(
        self, found: Announced, start: int, stop: int, deadline: float
    ) -> NDArray[Any] | PackedFrames:
        if found.problem:
            raise FrameError(found.problem)
        if found.asset is None:
            data_key = found.stream.keys[found.data_key]
            return frames_of_values(found.values, data_key, start, stop, max_bytes=self.max_bytes)
        before = found.row * found.frames_per_event
        return self._reader.read(found.asset, before + start, before + stop, deadline=deadline)


def _parts(found: Announced, lost: list[_Lost]) -> Iterator[Announced]:
    """What was announced, in parts that can be worked with; what is beyond all measure is lost."""
    events, per_event = len(found.seq_nums), found.frames_per_event
    if not events:
        return
    if events * per_event > MOST_AT_ONCE or max(found.seq_nums) * per_event > MOST_FRAMES:
        reason = (
            f"They are announced as {per_event} frames for each of {events} events up to number "
            f"{max(found.seq_nums)}; no detector takes so many. Correct what it tells of its frames."
        )
        first = (found.seq_nums[0] - 1) * per_event
        lost.append(_Lost(first, events * per_event, reason))
        return
    most = max(1, _FRAMES_OF_A_PART // per_event)
    for first in range(0, events, most):
        some = slice(first, first + most)
        yield replace(
            found,
            seq_nums=found.seq_nums[some],
            times=found.times[some],
            values=found.values[some],
            row=found.row + first,
        )


def _numbers(found: Announced) -> FrameNumbers:
    """The numbers of all frames that were announced together."""
    count = len(found.seq_nums) * found.frames_per_event
    events, within = np.divmod(np.arange(count, dtype=np.int64), found.frames_per_event)
    seq_nums = np.asarray(found.seq_nums, dtype=np.int64)[events]
    timestamps = np.asarray(found.times, dtype=np.float64)[events]
    if found.asset is None:
        places = places_of_values(
            found.values or [None] * len(found.seq_nums), found.frames_per_event
        )
    else:
        before = found.row * found.frames_per_event
        places = places_in_asset(found.asset, before, before + count)
    return FrameNumbers(
        indices=(seq_nums - 1) * found.frames_per_event + within,
        seq_nums=seq_nums,
        timestamps=timestamps,
        descriptor=found.stream.uid,
        data_key=found.data_key,
        places=places,
    )


def _batch(numbers: FrameNumbers, start: int, frames: NDArray[Any] | PackedFrames) -> FrameBatch:
    """The batch whose first frame has the numbers at `start`."""
    some = slice(start, start + len(frames))
    return FrameBatch(
        frames=frames,
        indices=numbers.indices[some],
        seq_nums=numbers.seq_nums[some],
        timestamps=numbers.timestamps[some],
        descriptor=numbers.descriptor,
        data_key=numbers.data_key,
        places=numbers.places[some],
    )


def _loss(found: Announced, lost: list[_Lost]) -> str:
    return (
        f"Run {found.stream.run}: of the frames {found.data_key!r}, {sum(it.size for it in lost)} "
        f"cannot be read, the first is number {lost[0].first}. {lost[0].reason}"
    )
