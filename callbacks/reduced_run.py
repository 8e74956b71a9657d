"""One reduced run: the patterns of the images of one data key of one raw run.

It starts with the first descriptor that has such images and stops with the raw run. Whatever goes
wrong on the way, it goes on with what can be reduced; then it fails, and its stop document tells
which events lack a pattern, and why.
"""

from __future__ import annotations

import logging
import re
from typing import TYPE_CHECKING, Literal

from event_model import ComposeRunBundle, compose_run

from bluesky_azint.callbacks.documents import (
    STAGE,
    file_provenance,
    start_metadata,
    stream_configuration,
)
from bluesky_azint.callbacks.frames import FrameBatch
from bluesky_azint.callbacks.outputs import Emit, EventOutput, FileOutput, Output, StreamHead
from bluesky_azint.callbacks.reduced_stream import ReducedStream, Reduction
from bluesky_azint.callbacks.resolve import ResolvedCalibration
from bluesky_azint.callbacks.settings import Settings
from bluesky_azint.callbacks.troubles import Troubles
from bluesky_azint.io.nexus import AzintWriter
from bluesky_azint.reduction.result import IntegrationResult
from bluesky_azint.units import unit

if TYPE_CHECKING:
    from event_model.documents import EventDescriptor, RunStart, RunStop

logger = logging.getLogger(__name__)

ExitStatus = Literal["success", "abort", "fail"]


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
    emit
        Where the documents of the reduced run go, as ``emit(name, doc)``.

    Attributes
    ----------
    troubles
        Takes what goes wrong.
    """

    def __init__(
        self, raw_start: RunStart, data_key: str, *, settings: Settings, emit: Emit
    ) -> None:
        self._raw_start = raw_start
        self._data_key = data_key
        self._settings = settings
        self._emit = emit
        self._run: ComposeRunBundle | None = None
        self._streams: dict[str, ReducedStream] = {}
        self._stream_of: dict[str, ReducedStream] = {}  # by descriptor
        self.troubles = Troubles(f"Reducing {data_key!r} of run {raw_start['uid']}")

    def describe(self, descriptor: EventDescriptor) -> None:
        """Take a descriptor with the images; frames of it may follow."""
        calibration = reduction = None
        with self.troubles.noted():
            calibration = self._settings.calibration(descriptor, self._raw_start, self._data_key)
            reduction = Reduction(calibration, self._settings.integrator(calibration))
        if self._run is None:
            self._run = self._start(calibration)
        name = descriptor["name"]
        if name not in self._streams:
            self._streams[name] = ReducedStream(
                name, open_output=self._open, troubles=self.troubles
            )
        self._stream_of[descriptor["uid"]] = self._streams[name]
        self._streams[name].describe(descriptor["uid"], reduction)

    def reduce(self, batch: FrameBatch) -> None:
        """Take frames of a descriptor."""
        self._stream_of[batch.descriptor].reduce(batch)

    def stop(self, raw_stop: RunStop | None) -> None:
        """End the run with the raw one; or before it, when its stop document never came."""
        if self._run is None:
            return
        counts = {} if raw_stop is None else raw_stop.get("num_events", {})
        closed = [stream.close(counts.get(name)) for name, stream in self._streams.items()]
        reasons = [sentence for sentence in closed if sentence]
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
        self._emit("stop", self._run.compose_stop(exit_status=exit_status, reason=reason))
        if incomplete:
            logger.error(
                "%r of run %s is not reduced completely: %s",
                self._data_key,
                self._raw_start["uid"],
                reason,
            )

    def _start(self, calibration: ResolvedCalibration | None) -> ComposeRunBundle:
        run = compose_run(
            metadata=start_metadata(
                self._raw_start,
                self._data_key,
                recipe=self._settings.recipe,
                engine=self._settings.engine,
                calibration=calibration,
                inline=self._settings.flavour == "inline",
            )
        )
        self._emit("start", run.start_doc)
        return run

    def _open(
        self, name: str, reduction: Reduction, first: IntegrationResult, time: float
    ) -> Output:
        """Open the output of a reduced stream, which emits its descriptor."""
        if self._run is None:
            raise RuntimeError("A reduced run has patterns before it was started.")
        integrator, calibration = reduction.integrator, reduction.calibration
        head = StreamHead(
            run=self._run,
            emit=self._emit,
            name=name,
            source=f"{STAGE}:{self._data_key}",
            configuration=stream_configuration(
                calibration,
                integrator.geometry,
                first=first,
                time=time,
            ),
        )
        if self._settings.directory is None or self._settings.flavour == "inline":
            return EventOutput(head, first)
        self._settings.directory.mkdir(parents=True, exist_ok=True)
        writer = AzintWriter(
            self._settings.directory / self._file_name(name),
            radial=first.radial,
            azimuthal=first.azimuthal,
            unit=unit(first.unit),
            geometry=integrator.geometry,
            recipe=integrator.recipe,
            errors=first.sum_variance is not None,
            provenance=file_provenance(self._run.start_doc, name),
        )
        return FileOutput(head, writer, first)

    def _file_name(self, stream: str) -> str:
        """``00012_eiger_primary_3f2a9c1d.nxs``: scan, images, stream, and start of the uid."""
        uid = self._run.start_doc["uid"] if self._run else ""
        scan = self._raw_start.get("scan_id")
        parts = [f"{scan:05d}"] if isinstance(scan, int) else []
        name = "_".join([*parts, self._data_key, stream, uid[:8]])
        return re.sub(r"[^\w.-]", "-", name) + ".nxs"
