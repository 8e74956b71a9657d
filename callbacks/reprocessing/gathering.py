"""The reduced runs of a raw run whose frames others reduce."""

from __future__ import annotations

import socket
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, fields
from os import PathLike
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from bluesky_azint.callbacks.frames import FrameNumbers
from bluesky_azint.callbacks.outputs import Emit
from bluesky_azint.callbacks.reprocessing.tasks import Calibrations, Job, Span, TaskResult
from bluesky_azint.callbacks.reprocessing.unread import UnreadFrames
from bluesky_azint.callbacks.resolve import ResolvedCalibration, detector_name
from bluesky_azint.callbacks.settings import Settings
from bluesky_azint.errors import AzintError, FrameError
from bluesky_azint.geometry import Geometry
from bluesky_azint.store import CalibrationRecord, CalibrationStore

if TYPE_CHECKING:
    from event_model.documents import EventDescriptor, RunStart

Integers = NDArray[np.int64]


@dataclass(frozen=True, kw_only=True)
class Reprocessed:
    """What became of the images of one data key of a raw run.

    Parameters
    ----------
    raw_uid, data_key
        Which.
    uid, exit_status, reason
        Of the reduced run.
    frames, reduced
        How many frames were announced, and how many of them have a pattern.
    """

    raw_uid: str
    data_key: str
    uid: str
    exit_status: str
    reason: str
    frames: int
    reduced: int


class Gathering(UnreadFrames):
    """Takes the documents of one raw run, notes its frames without reading them, and gets patterns.

    Parameters
    ----------
    emit
        Where the documents of reduced runs go.
    job
        How frames are reduced.
    given
        A geometry or calibration for all of them, whatever documents and store tell.
    directory, store, default
        Where patterns go, and where calibrations are found, see `Reducer`.

    Attributes
    ----------
    done
        What became of each data key, when the run has ended.
    """

    def __init__(
        self,
        emit: Emit,
        job: Job,
        *,
        directory: str | PathLike[str],
        store: CalibrationStore | None = None,
        default: Geometry | CalibrationRecord | None = None,
        given: Geometry | CalibrationRecord | None = None,
    ) -> None:
        super().__init__(
            self._emit,
            directory=directory,
            store=store,
            default=default,
            companions=job.make_companions(),
            **job.options(),
        )
        self._consumer = emit
        own = {f.name: getattr(self._settings, f.name) for f in fields(Settings) if f.init}
        self._settings = self._asked = _AskedSettings(**own, given=given)
        self._found: dict[tuple[str, str], list[Integers]] = {}
        self._reduced_frames: dict[str, int] = {}
        self._starts: dict[str, Mapping[str, Any]] = {}
        self._ending = False
        self.done: list[Reprocessed] = []

    @property
    def calibrations(self) -> Calibrations:
        """What was found for each descriptor and data key."""
        return dict(self._asked.found)

    @property
    def frames(self) -> int:
        """How many frames were announced that can be reduced."""
        return sum(indices.size for indices in self._indices().values())

    def divided(self, size: int) -> Iterator[list[Span]]:
        """The frames that can be reduced, so many at a time."""
        spans: list[Span] = []
        room = size
        for (descriptor, key), indices in self._indices().items():
            while indices.size:
                some, indices = indices[:room], indices[room:]
                spans.append(
                    Span(
                        descriptor=descriptor,
                        data_key=key,
                        start=int(some[0]),
                        stop=int(some[-1]) + 1,
                    )
                )
                room -= some.size
                if not room:
                    yield spans
                    spans, room = [], size
        if spans:
            yield spans

    def gather(self, result: TaskResult) -> int:
        """Take what a worker gives; gives how many frames have a pattern with it."""
        raw = next(iter(self._runs.values()))
        before = sum(self._reduced_frames.values())
        for patterns in result.patterns:
            key = patterns.numbers.data_key
            done = raw.reduced[key].take(
                patterns.recipe, patterns.numbers, patterns.result, patterns.conditions
            )
            if patterns.recipe == next(iter(self._settings.recipes_of(key))):
                self._reduced_frames[key] = self._reduced_frames.get(key, 0) + done
        elsewhere = "" if result.host == socket.gethostname() else f" (On {result.host}.)"
        for key, sentences in result.problems.items():
            for sentence in sentences:
                raw.reduced[key].troubles.note(FrameError(f"{sentence}{elsewhere}"))
        return sum(self._reduced_frames.values()) - before

    def end(self, stop: Mapping[str, Any] | None) -> None:
        """End the run as the raw one did; None if that has no end."""
        self._ending = True
        if stop is not None:
            self("stop", stop)
        self.close()

    def fail(self, why: str) -> None:
        """End the run before all its patterns are there."""
        for raw in self._runs.values():
            for run in raw.reduced.values():
                run.troubles.note(FrameError(why))
        self.close()

    def _needs(self, numbers: FrameNumbers) -> NDArray[np.bool_]:
        needed = super()._needs(numbers)
        if self._ending:  # those of which no document ever said where they are: it will be told why
            return needed
        key = numbers.descriptor, numbers.data_key
        self._found.setdefault(key, []).append(numbers.indices[needed])
        return np.zeros_like(needed)

    def _indices(self) -> dict[tuple[str, str], Integers]:
        """The numbers of the frames, each once, of each descriptor and data key."""
        return {key: np.unique(np.concatenate(parts)) for key, parts in self._found.items()}

    def _emit(self, name: str, doc: Mapping[str, Any]) -> None:
        if name == "start":
            self._starts[doc["uid"]] = doc
        elif name == "stop":
            self.done.append(self._outcome(self._starts[doc["run_start"]], doc))
        self._consumer(name, doc)

    def _outcome(self, start: Mapping[str, Any], stop: Mapping[str, Any]) -> Reprocessed:
        key = start["raw_data_key"]
        frames = sum(found.size for (_, of), found in self._indices().items() if of == key)
        return Reprocessed(
            raw_uid=start["raw_uid"],
            data_key=key,
            uid=start["uid"],
            exit_status=stop["exit_status"],
            reason=stop.get("reason") or "",
            frames=frames,
            reduced=self._reduced_frames.get(key, 0),
        )


@dataclass(frozen=True, kw_only=True, eq=False)
class _AskedSettings(Settings):
    """Settings that keep what they find, or give what was given instead."""

    given: Geometry | CalibrationRecord | None = None
    found: dict[tuple[str, str], ResolvedCalibration | AzintError] = field(default_factory=dict)

    def calibration(
        self, descriptor: EventDescriptor, start: RunStart, data_key: str
    ) -> ResolvedCalibration:
        key = descriptor["uid"], data_key
        try:
            found = self._given(detector_name(descriptor, data_key))
            found = found or super().calibration(descriptor, start, data_key)
        except AzintError as error:
            self.found[key] = error
            raise
        self.found[key] = found
        return found

    def _given(self, device: str) -> ResolvedCalibration | None:
        given, origin = self.given, "given for this reduction"
        if isinstance(given, CalibrationRecord):
            return ResolvedCalibration(
                detector=device,
                geometry=given.geometry,
                mask=given.mask,
                calibration_uid=given.uid,
                origin=origin,
            )
        if given is None:
            return None
        return ResolvedCalibration(detector=device, geometry=given, origin=origin)
