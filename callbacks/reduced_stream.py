"""The patterns of one stream of a raw run, by one recipe.

Every frame has a row, and a frame that cannot be reduced has a row of NaN. Descriptors share an
output as long as they are reduced alike. When the geometry changes in the middle of a stream, say
``primary``, the patterns go on in ``primary_2``: one stream, one geometry and one radial axis.
"""

from __future__ import annotations

import json
import logging
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from bluesky_azint.callbacks.companions.conditions import Conditions
from bluesky_azint.callbacks.coverage import NOWHERE, Coverage, in_words
from bluesky_azint.callbacks.frames import FrameBatch, FrameNumbers
from bluesky_azint.callbacks.outputs import Output
from bluesky_azint.callbacks.reduction import Reduction
from bluesky_azint.callbacks.run_outputs import Opening, RunOutputs
from bluesky_azint.callbacks.troubles import Troubles
from bluesky_azint.errors import ChunkError, FormatError
from bluesky_azint.io.nexus_rows import AzintFile, Rows
from bluesky_azint.reduction.result import IntegrationResult

logger = logging.getLogger(__name__)


@dataclass(eq=False)
class _Segment:
    """Frames that follow each other and are reduced alike.

    Parameters
    ----------
    reduction
        How; None if they cannot be reduced.
    output, first_frame
        Where the patterns go, and which frame of the stream has row 0; set by the first frame.
    """

    reduction: Reduction | None
    output: Output | None = None
    first_frame: int = 0

    def is_like(self, reduction: Reduction | None) -> bool:
        return (
            self.reduction is not None
            and reduction is not None
            and self.reduction.is_like(reduction)
        )


class ReducedStream:
    """Reduces the frames of one data key of one stream.

    Parameters
    ----------
    name
        Of the raw stream.
    recipe, output_name
        Name of the recipe, and what the reduced stream is called.
    outputs
        Opens the outputs.
    troubles
        Takes what goes wrong.

    Attributes
    ----------
    failed
        Whether the last patterns could not be written, and none will be until somebody goes on.
    """

    def __init__(
        self, name: str, *, recipe: str, output_name: str, outputs: RunOutputs, troubles: Troubles
    ) -> None:
        self.name = name
        self.recipe = recipe
        self._output_name = output_name
        self._run_outputs = outputs
        self._troubles = troubles
        self._segments: list[_Segment] = []
        self._segment_of: dict[str, _Segment] = {}  # by descriptor
        self._outputs: list[Output] = []
        self._coverage = Coverage()
        self._lacking: set[int] = set()  # frames with a row of NaN
        self._told_of_empty = False
        self.failed = False

    def describe(self, descriptor: str, reduction: Reduction | None) -> None:
        """Take a descriptor, by its uid, and how its frames are reduced; None if they are not.

        One that comes again may have found a calibration since.
        """
        if descriptor in self._segment_of:
            segment = self._segment_of[descriptor]
            segment.reduction = segment.reduction or reduction
        elif not (self._segments and self._segments[-1].is_like(reduction)):
            self._segments.append(_Segment(reduction))
        self._segment_of.setdefault(descriptor, self._segments[-1])
        segment = self._segment_of[descriptor]
        if segment.reduction is not None and segment.output is None:
            self._go_on(segment, segment.reduction)

    def needs(self, numbers: FrameNumbers) -> NDArray[np.bool_]:
        """Which of some frames have no pattern, and can be reduced."""
        segment = self._segment_of.get(numbers.descriptor)
        if segment is None or segment.reduction is None:
            return np.zeros(numbers.indices.shape, dtype=np.bool_)
        return self._coverage.needs(numbers.indices, numbers.places)

    def reduce(self, batch: FrameBatch, conditions: Conditions | None) -> int:
        """Take frames of a descriptor; gives how many of them have a pattern now."""
        reduction = self._segment_of[batch.descriptor].reduction
        if reduction is None:
            return 0
        result = None
        with self._troubles.noted():
            try:
                result = reduction.integrate(batch, conditions)
            except ChunkError:
                if len(batch.frames) == 1:
                    raise
                # One is damaged, and the others are not.
                return sum(self.reduce(one, conditions) for one in batch.each())
        if result is None and not (conditions is not None and conditions.problem):
            self._coverage.refuse(batch.indices, batch.places)
        provenance = {} if conditions is None else dict(conditions.provenance)
        return self.take(batch, result, json.dumps(provenance) if provenance else "")

    def take(
        self, numbers: FrameNumbers, result: IntegrationResult | None, conditions: str = ""
    ) -> int:
        """Take the patterns of some frames.

        Parameters
        ----------
        numbers, result
            The frames, and their patterns; None if they have none.
        conditions
            What else the frames were reduced with, as JSON.

        Returns
        -------
        How many of them have a pattern now.
        """
        segment = self._segment_of[numbers.descriptor]
        reduction = segment.reduction
        if reduction is None:
            return 0
        places = numbers.places
        if result is None:
            if self._lacking.issuperset(numbers.indices.tolist()):
                return 0  # tried again in vain; nobody is to be told of these once more
            result = reduction.nothing(places.size)
            places = np.full_like(places, NOWHERE)
        if result is None:
            return 0
        self._tell_of_empty(result, numbers)
        self.failed = True
        with self._troubles.noted():
            if segment.output is None or numbers.indices.min() < segment.first_frame:
                self._begin(segment, reduction, numbers, result, conditions)
            self._write(segment, numbers, result, places)
            self._coverage.mark(numbers.indices, numbers.seq_nums, places)
            self._lacking.difference_update(numbers.indices.tolist())
            self._lacking.update(numbers.indices[places == NOWHERE].tolist())
            self.failed = False
            return int(np.count_nonzero(places))
        self._coverage.mark(numbers.indices, numbers.seq_nums, np.full_like(places, NOWHERE))
        return 0

    @property
    def refused(self) -> int:
        """How many frames were taken, and have no pattern."""
        return len(self._lacking)

    def missing(self, events: int) -> list[int]:
        """The seq_nums, of that many events, that have a frame which may yet have a pattern."""
        return self._coverage.missing_events(events, refused=False)

    def close(self, events: int | None) -> str | None:
        """No more frames will come.

        Parameters
        ----------
        events
            How many events the raw stream had, if that is known.

        Returns
        -------
        What is missing, as a sentence; None if nothing is.
        """
        missing = self._coverage.missing_events(events) if events else []
        last = self._segments[-1]
        for output in self._outputs:
            with self._troubles.noted():
                if events and last.reduction is not None and output is last.output:
                    frames = events * self._coverage.frames_per_event
                    output.reserve(frames - last.first_frame)
            with self._troubles.noted():
                output.close()
        refused = any(segment.reduction is None for segment in self._segments)
        if missing:
            return (
                f"Events of the stream {self.name!r} without a pattern: {len(missing)} of {events} "
                f"({in_words(missing)})."
            )
        return f"The stream {self.name!r} could not be reduced." if refused else None

    def leave(self) -> None:
        """Close the files; somebody else goes on."""
        for output in self._outputs:
            with self._troubles.noted():
                output.leave()

    def _tell_of_empty(self, result: IntegrationResult, numbers: FrameNumbers) -> None:
        """Warn, once, of patterns that are zero because no pixel is in them."""
        inner = tuple(range(1, result.count.ndim))
        empty = ~result.count.any(axis=inner) & ~np.isnan(result.sum_signal).all(axis=inner)
        if empty.any() and not self._told_of_empty:
            self._told_of_empty = True
            logger.warning(
                "Event %d of the stream %r has no usable pixel: all are masked, bad, or outside the "
                "range. Its pattern holds zeros, as will those of others like it.",
                numbers.seq_nums[empty][0],
                self.name,
            )

    def _begin(
        self,
        segment: _Segment,
        reduction: Reduction,
        numbers: FrameNumbers,
        result: IntegrationResult,
        conditions: str,
    ) -> None:
        """Open the output for the first frames of a segment.

        Frames before the first of a later segment come when a run is rewound beyond it.
        """
        first_frame = int(numbers.indices.min()) if self._outputs else 0
        time = float(numbers.timestamps[0])
        self._open(segment, reduction, result, first_frame, time, conditions)

    def _write(
        self,
        segment: _Segment,
        numbers: FrameNumbers,
        result: IntegrationResult,
        places: NDArray[np.int64],
    ) -> None:
        if segment.output is None:
            raise RuntimeError("The output of a reduced stream was opened, and is not there.")
        segment.output.write(
            Rows(
                rows=numbers.indices - segment.first_frame,
                result=result,
                seq_nums=numbers.seq_nums,
                timestamps=numbers.timestamps,
                places=places,
            )
        )

    def _next_name(self) -> str:
        number = len(self._outputs) + 1
        return f"{self._output_name}_{number}" if self._outputs else self._output_name

    def _go_on(self, segment: _Segment, reduction: Reduction) -> None:
        """Open the output at once if it holds patterns from before."""
        like = reduction.nothing(1)
        with self._troubles.noted(), self._run_outputs.kept(self._next_name(), reduction) as file:
            if like is not None and file is not None:
                known = file.provenance
                self._open(
                    segment,
                    reduction,
                    IntegrationResult(**{**vars(like), "engine": known["engine"]}),
                    int(known["first_frame"]),
                    file.first_time,
                    known.get("conditions", ""),
                )

    def _open(
        self,
        segment: _Segment,
        reduction: Reduction,
        like: IntegrationResult,
        first_frame: int,
        time: float,
        conditions: str,
    ) -> None:
        """Open the output of a segment, with the patterns that its file has from before."""
        name = self._next_name()
        with self._run_outputs.kept(name, reduction) as file:
            output = self._run_outputs.open(
                Opening(
                    name=name,
                    recipe=self.recipe,
                    reduction=reduction,
                    like=like,
                    first_frame=first_frame,
                    time=time,
                    conditions=conditions,
                )
            )
            segment.output, segment.first_frame = output, first_frame
            self._outputs.append(output)
            if file is not None and file.provenance["first_frame"] == str(first_frame):
                self._take_again(file, like, output, first_frame)
            output.settle()

    def _take_again(
        self, file: AzintFile, like: IntegrationResult, output: Output, first_frame: int
    ) -> None:
        try:
            for rows in file.rows(like):
                output.write(rows)
                self._coverage.mark(rows.rows + first_frame, rows.seq_nums, rows.places)
        except FormatError as error:
            logger.warning("%s What is missing is reduced again.", error)
