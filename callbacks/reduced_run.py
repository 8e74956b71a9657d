"""One reduced run: the patterns of the images of one data key of one raw run, by all recipes.

It starts with the first descriptor that has such images and stops with the raw run. Whatever goes
wrong on the way, it goes on with what can be reduced; then it fails, and its stop document tells
which events lack a pattern, and why.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from bluesky_azint.callbacks.companions.conditions import Conditions
from bluesky_azint.callbacks.frames import FrameBatch, FrameNumbers
from bluesky_azint.callbacks.outputs import Emit
from bluesky_azint.callbacks.reduced_stream import ReducedStream
from bluesky_azint.callbacks.reduction import Reduction
from bluesky_azint.callbacks.run_outputs import ExitStatus, RunOutputs
from bluesky_azint.callbacks.settings import Flavour, Settings
from bluesky_azint.callbacks.troubles import Troubles
from bluesky_azint.reduction.result import IntegrationResult

if TYPE_CHECKING:
    from event_model.documents import EventDescriptor, RunStart, RunStop

logger = logging.getLogger(__name__)


class ReducedRun:
    """Makes one reduced run.

    Parameters
    ----------
    raw_start
        The start document of the raw run.
    data_key
        Which of its images.
    settings
        What to do.
    emits
        Where the documents of the reduced run go, by flavour.

    Attributes
    ----------
    troubles
        Takes what goes wrong.
    """

    stream_type: type[ReducedStream] = ReducedStream

    def __init__(
        self,
        raw_start: RunStart,
        data_key: str,
        *,
        settings: Settings,
        emits: Mapping[Flavour, Emit],
    ) -> None:
        self._raw_start = raw_start
        self._data_key = data_key
        self._settings = settings
        self._recipes = settings.recipes_of(data_key)
        self._outputs = RunOutputs(raw_start, data_key, settings=settings, emits=emits)
        self._streams: dict[str, list[ReducedStream]] = {}  # by name of the raw one
        self._streams_of: dict[str, list[ReducedStream]] = {}  # by descriptor
        self.troubles = Troubles(f"Reducing {data_key!r} of run {raw_start['uid']}")

    def describe(self, descriptor: EventDescriptor) -> None:
        """Take a descriptor with the images; frames of it may follow."""
        calibration = None
        with self.troubles.noted():
            calibration = self._settings.calibration(descriptor, self._raw_start, self._data_key)
        if not self._outputs.started:
            self._outputs.start(calibration)
        name, uid = descriptor["name"], descriptor["uid"]
        if name not in self._streams:
            self._streams[name] = self._new_streams(name)
        self._streams_of[uid] = self._streams[name]
        for stream in self._streams[name]:
            reduction = None
            with self.troubles.noted():
                if calibration is not None:
                    recipe = self._recipes[stream.recipe]
                    reduction = Reduction.of(calibration, recipe, self._settings)
            stream.describe(uid, reduction)

    def has(self, descriptor: str) -> bool:
        """Whether the frames of a descriptor are reduced here; dark ones are not."""
        return descriptor in self._streams_of

    def needs(self, numbers: FrameNumbers) -> NDArray[np.bool_]:
        """Which of some frames lack a pattern that they can have."""
        needed: NDArray[np.bool_] = np.logical_or.reduce(
            [stream.needs(numbers) for stream in self._streams_of[numbers.descriptor]]
        )
        return needed

    def reduce(self, batch: FrameBatch, conditions: Conditions | None = None) -> int:
        """Take frames of a descriptor; gives how many of them have all their patterns now."""
        return min(
            stream.reduce(batch, conditions) for stream in self._streams_of[batch.descriptor]
        )

    def take(
        self,
        recipe: str,
        numbers: FrameNumbers,
        result: IntegrationResult | None,
        conditions: str = "",
    ) -> int:
        """Take the patterns of some frames by a recipe, see `ReducedStream.take`."""
        return sum(
            stream.take(numbers, result, conditions)
            for stream in self._streams_of[numbers.descriptor]
            if stream.recipe == recipe
        )

    def missing(self, counts: Mapping[str, int]) -> dict[str, list[int]]:
        """The seq_nums of events that lack a pattern, and may yet have one, by stream.

        Parameters
        ----------
        counts
            How many events each raw stream has.
        """
        return {
            name: sorted({seq for stream in streams for seq in stream.missing(counts[name])})
            for name, streams in self._streams.items()
            if counts.get(name)
        }

    @property
    def refused(self) -> int:
        """How many frames were taken, and lack a pattern."""
        return sum(max(stream.refused for stream in streams) for streams in self._streams.values())

    def stop(self, raw_stop: RunStop | None) -> None:
        """End the run with the raw one; or before it, when its stop document never came."""
        if not self._outputs.started:
            return
        counts = {} if raw_stop is None else raw_stop.get("num_events", {})
        closed = [
            stream.close(counts.get(name))
            for name, streams in self._streams.items()
            for stream in streams
        ]
        reasons = list(dict.fromkeys(sentence for sentence in closed if sentence))
        if reasons or (self.troubles.sentences and not counts):
            reasons += self.troubles.sentences
        incomplete = bool(reasons) or raw_stop is None
        exit_status: ExitStatus = "fail" if reasons else "success"
        if raw_stop is None:
            exit_status = "fail"
            reasons.insert(0, "The reducer was closed before the raw run had stopped.")
        elif raw_stop["exit_status"] != "success":
            exit_status = raw_stop["exit_status"]
            why = raw_stop.get("reason") or "no reason was given"
            reasons.insert(0, f"The raw run ended with {exit_status!r}: {why}")
        reason = " ".join(reasons)
        self._outputs.stop(exit_status, reason)
        if incomplete:
            logger.error(
                "%r of run %s is not reduced completely: %s",
                self._data_key,
                self._raw_start["uid"],
                reason,
            )

    @property
    def failed(self) -> bool:
        """Whether patterns cannot be written any more, as when the disk was full."""
        return any(stream.failed for streams in self._streams.values() for stream in streams)

    def leave(self) -> None:
        """Close the files, and tell nobody: the run goes on elsewhere."""
        for streams in self._streams.values():
            for stream in streams:
                stream.leave()

    def _new_streams(self, name: str) -> list[ReducedStream]:
        """A stream for each recipe; that of the first has the name of the raw one."""
        first = next(iter(self._recipes))
        return [
            self.stream_type(
                name,
                recipe=recipe,
                output_name=name if recipe == first else f"{name}_{recipe}",
                outputs=self._outputs,
                troubles=self.troubles,
            )
            for recipe in self._recipes
        ]
