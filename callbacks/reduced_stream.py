"""The patterns of one stream of a raw run.

Every frame has a row, and a frame that cannot be reduced has a row of NaN. Descriptors share an
output as long as they are reduced alike. When the geometry changes in the middle of a stream, say
``primary``, the patterns go on in ``primary_2``: one stream, one geometry and one radial axis.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from bluesky_azint.callbacks.coverage import Coverage, in_words
from bluesky_azint.callbacks.frames import FrameBatch
from bluesky_azint.callbacks.outputs import Output, empty_result
from bluesky_azint.callbacks.resolve import ResolvedCalibration
from bluesky_azint.callbacks.troubles import Troubles
from bluesky_azint.errors import ChunkError, GeometryError
from bluesky_azint.reduction.integrator import Integrator
from bluesky_azint.reduction.result import IntegrationResult

logger = logging.getLogger(__name__)


@dataclass(frozen=True, eq=False)
class Reduction:
    """How frames are reduced.

    Parameters
    ----------
    calibration, integrator
        The calibration, and what is built from it and the recipe.
    """

    calibration: ResolvedCalibration
    integrator: Integrator


# Opens an output: name of the reduced stream, how it is reduced, the first patterns, their time.
OpenOutput = Callable[[str, Reduction, IntegrationResult, float], Output]


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
            and self.reduction.calibration.key == reduction.calibration.key
        )


class ReducedStream:
    """Reduces the frames of one data key of one stream.

    Parameters
    ----------
    name
        Of the raw stream.
    open_output
        Opens the outputs.
    troubles
        Takes what goes wrong.
    """

    def __init__(self, name: str, *, open_output: OpenOutput, troubles: Troubles) -> None:
        self.name = name
        self._open_output = open_output
        self._troubles = troubles
        self._segments: list[_Segment] = []
        self._segment_of: dict[str, _Segment] = {}  # by descriptor
        self._outputs: list[Output] = []
        self._coverage = Coverage()
        self._told_of_empty = False

    def describe(self, descriptor: str, reduction: Reduction | None) -> None:
        """Take a descriptor, by its uid, and how its frames are reduced; None if they are not."""
        if not (self._segments and self._segments[-1].is_like(reduction)):
            self._segments.append(_Segment(reduction))
        self._segment_of[descriptor] = self._segments[-1]

    def reduce(self, batch: FrameBatch) -> None:
        """Take frames of a descriptor."""
        segment = self._segment_of[batch.descriptor]
        if segment.reduction is None:
            return
        result = None
        with self._troubles.noted():
            try:
                result = segment.reduction.integrator.integrate(batch.frames)
            except ChunkError:
                if len(batch.frames) == 1:
                    raise
                # One is damaged, and the others are not.
                for one in batch.each():
                    self.reduce(one)
                return
        done = result is not None
        if result is not None:
            self._tell_of_empty(result, batch)
        result = result or _no_result(segment.reduction.integrator, len(batch.frames))
        if result is None:
            return
        written = False
        with self._troubles.noted():
            self._write(segment, segment.reduction, batch, result)
            written = True
        self._coverage.mark(batch.indices, batch.seq_nums, done=done and written)

    def _tell_of_empty(self, result: IntegrationResult, batch: FrameBatch) -> None:
        """Warn, once, of patterns that are zero because no pixel is in them."""
        empty = ~result.count.any(axis=tuple(range(1, result.count.ndim)))
        if empty.any() and not self._told_of_empty:
            self._told_of_empty = True
            logger.warning(
                "Event %d of the stream %r has no usable pixel: all are masked, bad, or outside the "
                "range. Its pattern holds zeros, as will those of others like it.",
                batch.seq_nums[empty][0],
                self.name,
            )

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

    def _write(
        self, segment: _Segment, reduction: Reduction, batch: FrameBatch, result: IntegrationResult
    ) -> None:
        first = int(batch.indices.min())
        # Frames before the first of a later segment come when a run is rewound beyond it.
        if segment.output is None or first < segment.first_frame:
            name = f"{self.name}_{len(self._outputs) + 1}" if self._outputs else self.name
            segment.first_frame = first if self._outputs else 0
            segment.output = self._open_output(name, reduction, result, float(batch.timestamps[0]))
            self._outputs.append(segment.output)
        segment.output.write(
            batch.indices - segment.first_frame,
            result,
            seq_nums=batch.seq_nums,
            timestamps=batch.timestamps,
        )


def _no_result(integrator: Integrator, frames: int) -> IntegrationResult | None:
    """Patterns for frames that could not be reduced; None if not even the bins are known."""
    try:
        radial, azimuthal = integrator.radial, integrator.azimuthal
    except GeometryError:
        return None
    nothing = np.zeros(radial.size if azimuthal is None else (azimuthal.size, radial.size))
    recipe = integrator.recipe
    like = IntegrationResult(
        radial=radial,
        azimuthal=azimuthal,
        azimuthal_unit=None if azimuthal is None else recipe.azimuthal_unit,
        error_model=recipe.error_model,
        sum_signal=nothing,
        sum_variance=None if recipe.error_model is None else nothing,
        sum_normalization=nothing,
        sum_normalization2=nothing,
        count=nothing,
        unit=recipe.unit,
        engine="none",
    )
    return empty_result(like, frames)
