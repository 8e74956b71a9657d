"""Which frames of a stream have a pattern, and from where, so that what is missing can be told."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

Integers = NDArray[np.int64]

# The place of frames that are nowhere.
NOWHERE = 0


class Coverage:
    """Remembers where the frames of a stream are that have a pattern.

    Attributes
    ----------
    frames_per_event
        As far as the frames so far tell: 1 before the first.
    """

    def __init__(self) -> None:
        self.frames_per_event = 1
        self._places = np.zeros(64, dtype=np.int64)  # of each frame of the stream
        self._refused: dict[int, int] = {}  # places of frames that never will have a pattern

    def mark(self, indices: Integers, seq_nums: Integers, places: Integers) -> None:
        """Note frames, by their numbers in the stream from 0 and the seq_nums of their events.

        The place `NOWHERE` takes back what was noted: a frame that is replaced by one that fails
        has no pattern any more.
        """
        if indices.size == 0:
            return
        # index = (seq_num - 1) * frames_per_event + place, with place < frames_per_event
        per_event = -(-(indices + 1) // seq_nums)
        self.frames_per_event = max(self.frames_per_event, int(per_event.max()))
        self._extend(int(indices.max()) + 1)
        self._places[indices] = places

    def refuse(self, indices: Integers, places: Integers) -> None:
        """Note frames that cannot be reduced, however often they are read."""
        self._refused.update(zip(indices.tolist(), places.tolist(), strict=True))

    def needs(self, indices: Integers, places: Integers) -> NDArray[np.bool_]:
        """Which of some frames have no pattern, and were not refused."""
        needed = ~self.has(indices, places)
        if self._refused:
            pairs = zip(indices.tolist(), places.tolist(), strict=True)
            needed &= [self._refused.get(index) != place for index, place in pairs]
        return needed

    def has(self, indices: Integers, places: Integers) -> NDArray[np.bool_]:
        """Which of some frames have a pattern that was made from the same place."""
        inside = indices < self._places.size
        found = np.zeros(indices.shape, dtype=np.int64)
        found[inside] = self._places[indices[inside]]
        same: NDArray[np.bool_] = (found == places) & (found != NOWHERE)
        return same

    def missing_events(self, events: int, *, refused: bool = True) -> list[int]:
        """The seq_nums, of that many events, that have a frame without a pattern.

        Parameters
        ----------
        events
            How many events there are.
        refused
            Whether frames that were refused count.
        """
        # Of events beyond all frames that came there may be many, by mistake.
        per_event = self.frames_per_event
        seen = min(events, -(-self._places.size // per_event))
        places = np.zeros(seen * per_event, dtype=np.int64)
        known = self._places[: places.size]
        places[: known.size] = known
        if not refused:
            places[[index for index in self._refused if index < places.size]] = ~NOWHERE
        lacking = (places == NOWHERE).reshape(seen, per_event).any(axis=1)
        return [*(np.flatnonzero(lacking) + 1).tolist(), *range(seen + 1, events + 1)]

    def _extend(self, frames: int) -> None:
        if frames > self._places.size:
            longer = np.zeros(max(frames, 2 * self._places.size), dtype=np.int64)
            longer[: self._places.size] = self._places
            self._places = longer


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
