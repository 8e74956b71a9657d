"""What one worker does of a run: it reduces some of its frames, and gives the patterns back.

A worker is a `Reducer` like the one of the live path. It takes all documents of the run, so that
whatever belongs to its frames is known, reads its own frames alone, and writes nothing. The
calibrations are found by whoever gives out the tasks: all workers reduce with the same.
"""

from __future__ import annotations

import pickle
import socket
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, fields
from functools import lru_cache
from os import PathLike
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from bluesky_azint.callbacks.companions.companions import Companions
from bluesky_azint.callbacks.companions.config import CompanionsConfig
from bluesky_azint.callbacks.frames import FrameNumbers
from bluesky_azint.callbacks.reduced_run import ReducedRun
from bluesky_azint.callbacks.reduced_stream import ReducedStream
from bluesky_azint.callbacks.reducer import Reducer
from bluesky_azint.callbacks.resolve import ResolvedCalibration
from bluesky_azint.callbacks.run_outputs import RunOutputs
from bluesky_azint.callbacks.settings import Settings
from bluesky_azint.callbacks.troubles import Troubles
from bluesky_azint.errors import AzintError
from bluesky_azint.reduction.recipe import Recipe
from bluesky_azint.reduction.result import IntegrationResult

if TYPE_CHECKING:
    from event_model.documents import EventDescriptor, RunStart, RunStop

Documents = Sequence[tuple[str, Mapping[str, Any]]]
# By descriptor and data key; or why there is none.
Calibrations = Mapping[tuple[str, str], ResolvedCalibration | AzintError]


@dataclass(frozen=True, kw_only=True)
class Job:
    """How frames are reduced, the same in all tasks; the parameters are those of a `Reducer`.

    Parameters
    ----------
    companions
        What belongs to a frame, by data key; None for nothing.
    darks
        Where darks are kept for later runs.
    """

    recipes: Mapping[str, Recipe]
    chosen: Mapping[str, Collection[str]] = field(default_factory=dict)
    engine: str = "auto"
    data_keys: Collection[str] | None = None
    root_map: Mapping[str, str] = field(default_factory=dict)
    roots: Collection[str | PathLike[str]] | None = None
    timeout: float = 10.0
    companions: Mapping[str, CompanionsConfig] | None = None
    darks: str | PathLike[str] | None = None

    def options(self) -> dict[str, Any]:
        """Those of a `Reducer` that both sides of a task have."""
        names = ("recipes", "chosen", "engine", "data_keys", "root_map", "roots", "timeout")
        return {name: getattr(self, name) for name in names}

    def make_companions(self) -> Companions | None:
        """What gives frames what belongs to them; None if nothing does."""
        if self.companions is None:
            return None
        return Companions(
            self.companions,
            directory=self.darks,
            root_map=self.root_map,
            roots=self.roots,
            timeout=self.timeout,
        )


@dataclass(frozen=True, kw_only=True)
class Span:
    """Frames of a descriptor, by their numbers in the stream: from ``start`` to before ``stop``."""

    descriptor: str
    data_key: str
    start: int
    stop: int

    def holds(self, numbers: FrameNumbers) -> NDArray[np.bool_]:
        """Which of some frames are in it."""
        if (numbers.descriptor, numbers.data_key) != (self.descriptor, self.data_key):
            return np.zeros(numbers.indices.shape, dtype=np.bool_)
        return (numbers.indices >= self.start) & (numbers.indices < self.stop)


@dataclass(frozen=True, kw_only=True, eq=False)
class Task:
    """Frames of a run, and the documents of it."""

    documents: Documents
    spans: Sequence[Span]
    calibrations: Calibrations


@dataclass(frozen=True, kw_only=True, eq=False)
class Patterns:
    """The patterns of some frames by one recipe.

    Parameters
    ----------
    recipe
        Its name.
    numbers, result, conditions
        See `ReducedStream.take`.
    """

    recipe: str
    numbers: FrameNumbers
    result: IntegrationResult | None
    conditions: str


@dataclass(frozen=True, kw_only=True, eq=False)
class TaskResult:
    """The patterns of a task, in the order of its frames.

    Parameters
    ----------
    patterns
        The patterns.
    problems
        What went wrong, in sentences, by data key.
    host
        The machine.
    """

    patterns: Sequence[Patterns]
    problems: Mapping[str, Sequence[str]]
    host: str


def reduce_task(job: bytes, task: Task) -> TaskResult:
    """Reduce the frames of a task; called in a worker.

    Parameters
    ----------
    job
        A pickled `Job`; a worker keeps what it builds for it.
    task
        Which frames.
    """
    known, settings = _prepared(job)
    settings.found.clear()
    settings.found.update(task.calibrations)
    with _Worker(known, settings, task.spans) as worker:
        for name, doc in task.documents:
            worker(name, doc)
    return TaskResult(patterns=worker.patterns, problems=worker.problems, host=socket.gethostname())


@dataclass(frozen=True, kw_only=True, eq=False)
class _FoundSettings(Settings):
    """Settings with calibrations that were found before."""

    found: dict[tuple[str, str], ResolvedCalibration | AzintError] = field(default_factory=dict)

    def calibration(
        self, descriptor: EventDescriptor, start: RunStart, data_key: str
    ) -> ResolvedCalibration:
        found = self.found[descriptor["uid"], data_key]
        if isinstance(found, AzintError):
            raise found
        return found


@lru_cache(maxsize=1)
def _prepared(job: bytes) -> tuple[Job, _FoundSettings]:
    """A job, and settings with all integrators that were built for it in this process."""
    known: Job = pickle.loads(job)
    return known, _FoundSettings(
        recipes=known.recipes, chosen=known.chosen, directory=None, engine=known.engine
    )


class _WorkerStream(ReducedStream):
    """A stream whose patterns are kept, and not written."""

    def __init__(
        self, name: str, *, recipe: str, output_name: str, outputs: RunOutputs, troubles: Troubles
    ) -> None:
        super().__init__(
            name, recipe=recipe, output_name=output_name, outputs=outputs, troubles=troubles
        )
        self.kept: list[Patterns] = []

    def take(
        self, numbers: FrameNumbers, result: IntegrationResult | None, conditions: str = ""
    ) -> int:
        without_frames = FrameNumbers(
            **{f.name: getattr(numbers, f.name) for f in fields(FrameNumbers)}
        )
        self.kept.append(
            Patterns(
                recipe=self.recipe, numbers=without_frames, result=result, conditions=conditions
            )
        )
        return 0 if result is None else numbers.indices.size


class _WorkerRun(ReducedRun):
    """A run that nobody hears of."""

    stream_type = _WorkerStream

    def kept(self) -> list[Patterns]:
        """The patterns of all streams."""
        streams = [stream for streams in self._streams.values() for stream in streams]
        return [
            patterns
            for stream in streams
            if isinstance(stream, _WorkerStream)
            for patterns in stream.kept
        ]


class _Worker(Reducer):
    """Reduces some frames of a run."""

    run_type = _WorkerRun

    def __init__(self, job: Job, settings: Settings, spans: Sequence[Span]) -> None:
        super().__init__(
            _nobody_hears, flavour="inline", companions=job.make_companions(), **job.options()
        )
        self._settings = settings
        self._spans = spans
        self.patterns: list[Patterns] = []
        self.problems: dict[str, list[str]] = {}

    def _needs(self, numbers: FrameNumbers) -> NDArray[np.bool_]:
        if self._companions is not None and self._companions.is_dark(numbers.descriptor):
            return super()._needs(numbers)
        mine = np.zeros(numbers.indices.shape, dtype=np.bool_)
        for span in self._spans:
            mine |= span.holds(numbers)
        return mine

    def _end(self, uid: str, raw_stop: RunStop | None) -> None:
        for key, reduced in self._runs.pop(uid).reduced.items():
            if isinstance(reduced, _WorkerRun):
                self.patterns += reduced.kept()
            self.problems[key] = reduced.troubles.sentences


def _nobody_hears(name: str, doc: object) -> None:
    """What a worker emits to."""
