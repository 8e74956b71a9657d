"""The gate: documents wait until the numbers of their frames are there.

In a step scan the document that tells of a frame comes before the event with the numbers that were
read beside it; in a fly scan the numbers come in documents of their own, before it or after. What
waits here are documents, never frames, so that it takes little memory.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from heapq import heappop, heappush
from itertools import count

from bluesky_azint.callbacks.assets import Document
from bluesky_azint.callbacks.companions.columns import Column
from bluesky_azint.callbacks.companions.values import RunValues, events_of, mark_of_document

Named = tuple[str, Document]

_TELLING = ("event", "event_page", "stream_datum", "stream_resource")


@dataclass(frozen=True, kw_only=True, eq=False)
class _Waiting:
    """A document that tells of frames of some events; what was announced so far, by image."""

    named: Named
    descriptor: str
    seq_nums: Sequence[int]
    announced: Mapping[str, Column]

    @property
    def events(self) -> set[tuple[str, int]]:
        """Of which events it tells, by descriptor and seq_num."""
        return {(self.descriptor, seq_num) for seq_num in self.seq_nums}


class Gate:
    """Holds back the documents of one run that tell of frames too early.

    Parameters
    ----------
    values
        The numbers of the run.
    needed
        The names of the numbers that frames of a descriptor need, by image.
    """

    def __init__(
        self, values: RunValues, needed: Callable[[str], Mapping[str, Sequence[str]]]
    ) -> None:
        self._values = values
        self._needed = needed
        self._announced: dict[tuple[str, str], Column] = {}  # by descriptor and image
        self._numbers = count()
        self._held: dict[int, _Waiting] = {}  # by numbers that go up
        self._of_event: dict[tuple[str, int], list[int]] = {}  # those held, by descriptor, seq_num

    def __len__(self) -> int:
        """How many documents are held back."""
        return len(self._held)

    def __call__(self, name: str, doc: Document) -> list[Named]:
        """The documents that can be handled after this one has come."""
        if name == "stop":
            return [*self.open(), (name, doc)]
        waiting = self._waiting(name, doc)
        if waiting is None:
            return [(name, doc), *self._let_go(self._concerned(name, doc))]
        number = next(self._numbers)
        self._held[number] = waiting
        for event in waiting.events:
            self._of_event.setdefault(event, []).append(number)
        return self._let_go(self._concerned(name, doc))

    def open(self) -> list[Named]:
        """All that are held back: nothing more will come."""
        return self._let_go(self._held, anyway=True)

    def _concerned(self, name: str, doc: Document) -> Collection[int]:
        """Which of those held may lack less now that a document has come."""
        if not self._held or name not in _TELLING:
            return ()
        if name == "stream_resource" or self._values.is_baseline(doc["descriptor"]):
            return list(self._held)
        return {
            number
            for seq_num in events_of(name, doc)
            for number in self._of_event.get((doc["descriptor"], seq_num), ())
        }

    def _let_go(self, numbers: Collection[int], *, anyway: bool = False) -> list[Named]:
        """Those that lack nothing any more; of the same event, what came first goes first."""
        free: list[Named] = []
        queue = sorted(numbers)
        while queue:
            number = heappop(queue)
            waiting = self._held.get(number)
            if waiting is None or not (anyway or self._may_go(number, waiting)):
                continue
            del self._held[number]
            free.append(waiting.named)
            for event in waiting.events:
                others = self._of_event.pop(event)
                others.remove(number)
                if others:
                    self._of_event[event] = others
                    heappush(queue, others[0])
        return free

    def _may_go(self, number: int, waiting: _Waiting) -> bool:
        first = all(self._of_event[event][0] == number for event in waiting.events)
        return first and not self._lacks(waiting)

    def _lacks(self, waiting: _Waiting) -> bool:
        needed = self._needed(waiting.descriptor)
        return any(
            self._values.lacks(key, waiting.descriptor, waiting.seq_nums, column)
            for image, column in waiting.announced.items()
            for key in needed.get(image, _union(needed))
        )

    def _waiting(self, name: str, doc: Document) -> _Waiting | None:
        """The document with the frames that it tells of; None if there are none that need more."""
        if name not in _TELLING or name == "stream_resource":
            return None
        descriptor, seq_nums = doc["descriptor"], events_of(name, doc)
        images = self._images(name, doc)
        if not (images and seq_nums):
            return None
        mark = mark_of_document(name, doc)
        announced = {}
        for image in images:
            column = self._announced.setdefault((descriptor, image), Column(0))
            column.note(seq_nums, mark)
            announced[image] = column
        return _Waiting(
            named=(name, doc), descriptor=descriptor, seq_nums=seq_nums, announced=announced
        )

    def _images(self, name: str, doc: Document) -> list[str]:
        """The images that a document tells of; of an unknown resource, it may be any."""
        needed = self._needed(doc["descriptor"])
        if name != "stream_datum":
            return [image for image in needed if image in doc["data"]]
        data_key = self._values.data_key(doc["stream_resource"])
        if data_key is None:
            return [doc["stream_resource"]] if needed else []
        return [data_key] if data_key in needed else []


def _union(needed: Mapping[str, Sequence[str]]) -> set[str]:
    return {key for keys in needed.values() for key in keys}
