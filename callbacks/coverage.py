"""Which frames of a stream have a pattern, so that what is missing can be told."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

Integers = NDArray[np.int64]


class Coverage:
    """Counts the frames of a stream that have a pattern.

    Attributes
    ----------
    frames_per_event
        As far as the frames so far tell: 1 before the first.
    """

    def __init__(self) -> None:
        self.frames_per_event = 1
        self._done = bytearray()  # a flag for each frame

    def mark(self, indices: Integers, seq_nums: Integers, *, done: bool) -> None:
        """Note frames, by their numbers in the stream from 0 and the seq_nums of their events.

        ``done=False`` takes back what was noted: a frame that is replaced by one that fails has no
        pattern any more.
        """
        # index = (seq_num - 1) * frames_per_event + place, with place < frames_per_event
        per_event = -(-(indices + 1) // seq_nums)
        self.frames_per_event = max(self.frames_per_event, int(per_event.max()))
        short = int(indices.max()) + 1 - len(self._done)
        self._done.extend(bytes(max(short, 0)))
        np.frombuffer(self._done, dtype=np.uint8)[indices] = done

    def missing_events(self, events: int) -> list[int]:
        """The seq_nums, of that many events, that have a frame without a pattern."""
        frames = events * self.frames_per_event
        flags = np.frombuffer(self._done.ljust(frames, b"\0")[:frames], dtype=np.uint8)
        lacking = ~flags.reshape(events, self.frames_per_event).all(axis=1)
        return (np.flatnonzero(lacking) + 1).tolist()


def in_words(numbers: Sequence[int], *, most: int = 10) -> str:
    """Ascending numbers in short.

    >>> in_words([1, 2, 3, 7, 9, 10])
    '1-3, 7, 9-10'
    """
    ranges: list[list[int]] = []
    for number in numbers:
        if ranges and number == ranges[-1][-1] + 1:
            ranges[-1][1:] = [number]
        else:
            ranges.append([number])
    shown = ["-".join(map(str, ends)) for ends in ranges[:most]]
    return ", ".join(shown) + (" ..." if len(ranges) > most else "")
