"""What is missing in reduced runs, and filling it in.

The documents of a raw run go through a `Reducer` that only looks: it finds the frames that are
announced and, in the files of the reduced runs, those that have a pattern. What is missing is then
left to a `Reducer` that goes on with these runs and reads no other frame. Both know a reduced run by
its raw run, images and recipes, as the service does with ``continues=True``.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from bluesky_azint.callbacks.frames import FrameBatch, FrameNumbers
from bluesky_azint.callbacks.outputs import Outputs
from bluesky_azint.callbacks.reduced_run import ReducedRun
from bluesky_azint.callbacks.reduced_stream import ReducedStream
from bluesky_azint.callbacks.reducer import Reducer
from bluesky_azint.callbacks.reduction import Reduction
from bluesky_azint.callbacks.reprocessing.unread import UnreadFrames
from bluesky_azint.reduction.result import IntegrationResult

if TYPE_CHECKING:
    from event_model.documents import RunStop

Document = Mapping[str, Any]
Documents = Sequence[tuple[str, Document]]


@dataclass(frozen=True, kw_only=True)
class Seen:
    """What there is of the images of one data key.

    Parameters
    ----------
    uid
        Of the reduced run.
    frames, reduced
        How many frames were announced, and how many of them have their patterns.
    problems
        What stands in the way of the others, in sentences.
    """

    uid: str
    frames: int
    reduced: int
    problems: tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class Backfilled:
    """What became of the images of one data key of a raw run.

    Parameters
    ----------
    raw_uid, data_key, uid
        The raw run, which of its images, and the reduced run.
    frames
        How many frames were announced.
    before, filled
        How many of them had their patterns before, and how many got them now.
    why
        Why others have none; an empty string if that is not known, or none are missing.
    """

    raw_uid: str
    data_key: str
    uid: str
    frames: int
    before: int
    filled: int
    why: str

    @property
    def missing(self) -> int:
        """How many frames still have no pattern."""
        return self.frames - self.before - self.filled


def backfill(
    documents: Iterable[tuple[str, Document]],
    emit: Callable[[str, Any], object],
    *,
    is_there: Callable[[str], bool],
    dry_run: bool = False,
    progress: Callable[[int], object] = lambda frames: None,
    **options: Any,  # noqa: ANN401  those of a Reducer
) -> list[Backfilled]:
    """Compare a raw run with its reduced runs, and fill in what is missing.

    Parameters
    ----------
    documents
        Of the raw run. One without an end is only looked at: whoever measures it may be at work.
    emit
        Where the documents of reduced runs go that something was missing in.
    is_there
        Tells, by its uid, whether a reduced run is where they go, with its end.
    dry_run
        Whether to look only.
    progress
        Called with the number of frames that were reduced, or could not be.
    options
        Those of the `Reducer` that reduces live.
    """
    kept = list(documents)
    uid = next(doc["uid"] for name, doc in kept if name == "start")
    before = look(kept, **options)
    after, reasons = before, {key: " ".join(seen.problems) for key, seen in before.items()}
    complete = all(seen.reduced == seen.frames and is_there(seen.uid) for seen in before.values())
    ended = kept[-1][0] == "stop"
    if not ended:
        reasons = dict.fromkeys(before, "The raw run has no end: it is under way, or was lost.")
    elif not (complete or dry_run):
        reasons = _fill(kept, emit, progress, options)
        after = look(kept, **options)
    return [
        Backfilled(
            raw_uid=uid,
            data_key=key,
            uid=seen.uid,
            frames=seen.frames,
            before=before[key].reduced,
            filled=seen.reduced - before[key].reduced,
            why=reasons.get(key, "") if seen.reduced < seen.frames else "",
        )
        for key, seen in after.items()
    ]


def look(documents: Documents, **options: Any) -> dict[str, Seen]:  # noqa: ANN401  of a Reducer
    """What there is of a run, by data key; nothing is read but the files of reduced runs.

    Parameters
    ----------
    documents
        Of the raw run.
    options
        Those of the `Reducer` that reduces live.
    """
    with _Looking(**options) as looking:
        for name, doc in documents:
            looking(name, doc)
    return looking.seen


def _fill(
    documents: Documents,
    emit: Callable[[str, Any], object],
    progress: Callable[[int], object],
    options: Mapping[str, Any],
) -> dict[str, str]:
    """Reduce what is missing; gives the reasons of the stop documents, by data key."""
    keys: dict[str, str] = {}
    reasons: dict[str, str] = {}

    def told(name: str, doc: Document) -> None:
        if name == "start":
            keys[doc["uid"]] = doc["raw_data_key"]
        elif name == "stop":
            reasons[keys[doc["run_start"]]] = doc.get("reason") or ""
        emit(name, doc)

    with _Filling(told, progress, options) as reducer:
        for name, doc in documents:
            reducer(name, doc)
    return reasons


class _Filling(Reducer):
    """Goes on with reduced runs, and tells how far it is."""

    def __init__(
        self,
        emit: Callable[[str, Any], object],
        progress: Callable[[int], object],
        options: Mapping[str, Any],
    ) -> None:
        super().__init__(emit, **{**options, "continues": True})
        self._progress = progress

    def _reduce(self, batch: FrameBatch) -> None:
        super()._reduce(batch)
        self._progress(len(batch.frames))


class _SeenStream(ReducedStream):
    """A stream of which only the file is looked at."""

    def needs(self, numbers: FrameNumbers) -> NDArray[np.bool_]:
        segment = self._segment_of.get(numbers.descriptor)
        if segment is None or segment.reduction is None:
            return np.ones(numbers.indices.shape, dtype=np.bool_)
        return super().needs(numbers)

    def _open(
        self,
        segment: Any,  # noqa: ANN401
        reduction: Reduction,
        like: IntegrationResult,
        first_frame: int,
        time: float,
        conditions: str,
    ) -> None:
        with self._run_outputs.kept(self._next_name(), reduction) as file:
            segment.output, segment.first_frame = Outputs([]), first_frame
            self._outputs.append(segment.output)
            if file is not None:
                self._take_again(file, like, segment.output, first_frame)


class _SeenRun(ReducedRun):
    stream_type = _SeenStream


class _Looking(UnreadFrames):
    """Finds the frames that were announced, and those that have patterns."""

    run_type = _SeenRun

    def __init__(self, **options: Any) -> None:  # noqa: ANN401  of a Reducer
        super().__init__(self._told, **{**options, "continues": True})
        self._names: dict[str, str] = {}  # of streams, by descriptor
        self._uids: dict[str, str] = {}  # of reduced runs, by data key
        self._needed: dict[str, dict[tuple[str, int], bool]] = {}  # by data key, stream and frame
        self.seen: dict[str, Seen] = {}

    def __call__(
        self, name: str, doc: Mapping[str, Any], validate: bool = False
    ) -> tuple[str, dict[str, Any]]:
        if name == "descriptor":
            self._names[doc["uid"]] = doc["name"]
        return super().__call__(name, doc, validate)

    def _needs(self, numbers: FrameNumbers) -> NDArray[np.bool_]:
        reduced = self._reduced(numbers)
        if reduced is not None:
            # Of a frame that was taken twice, the last one counts.
            known = self._needed.setdefault(numbers.data_key, {})
            stream, needed = self._names[numbers.descriptor], reduced.needs(numbers)
            pairs = zip(numbers.indices.tolist(), needed.tolist(), strict=True)
            known.update(((stream, index), lacks) for index, lacks in pairs)
        return np.zeros(numbers.indices.shape, dtype=np.bool_)

    def _told(self, name: str, doc: Document) -> None:
        if name == "start":
            self._uids[doc["raw_data_key"]] = doc["uid"]

    def _end(self, uid: str, raw_stop: RunStop | None) -> None:
        raw = self._runs.pop(uid)
        for key, reduced in raw.reduced.items():
            needed = self._needed.get(key, {})
            self.seen[key] = Seen(
                uid=self._uids[key],
                frames=len(needed),
                reduced=sum(not lacks for lacks in needed.values()),
                problems=tuple(reduced.troubles.sentences),
            )
