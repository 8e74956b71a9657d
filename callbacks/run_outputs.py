"""The documents and files of one reduced run: how it starts and stops, and where patterns go.

The same run may leave in two flavours, with patterns in files for those who can read them, and
inside of events for the others. Both have the same uid and start document.

A run that is continued takes the patterns that its files hold already into new ones, which then
replace these, and emits all documents again: who keeps runs puts it in place of what came before.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal
from uuid import NAMESPACE_URL, uuid4, uuid5

from event_model import ComposeRunBundle, compose_run

from bluesky_azint.callbacks.documents import (
    STAGE,
    file_provenance,
    start_metadata,
    stream_configuration,
)
from bluesky_azint.callbacks.outputs import (
    Emit,
    EventOutput,
    FileOutput,
    Output,
    Outputs,
    StreamHead,
)
from bluesky_azint.callbacks.reduction import Reduction
from bluesky_azint.callbacks.resolve import ResolvedCalibration
from bluesky_azint.callbacks.settings import Flavour, Settings
from bluesky_azint.errors import FormatError
from bluesky_azint.io.nexus import AzintWriter
from bluesky_azint.io.nexus_rows import AzintFile
from bluesky_azint.reduction.result import IntegrationResult
from bluesky_azint.units import unit

if TYPE_CHECKING:
    from event_model.documents import RunStart

logger = logging.getLogger(__name__)

ExitStatus = Literal["success", "abort", "fail"]

_RUNS = uuid5(NAMESPACE_URL, "https://pypi.org/project/bluesky-azint/#runs")


@dataclass(frozen=True, kw_only=True, eq=False)
class Opening:
    """What is known of a reduced stream when its output is opened.

    Parameters
    ----------
    name, recipe
        Of the stream, and of the recipe.
    reduction
        How its frames are reduced.
    like
        A result, as those that will come.
    first_frame
        Which frame of the raw stream has row 0.
    time
        Of the first frame, in seconds since the epoch.
    conditions
        What else the first frames were reduced with, and where it is from, as JSON.
    """

    name: str
    recipe: str
    reduction: Reduction
    like: IntegrationResult
    first_frame: int
    time: float
    conditions: str = ""


class RunOutputs:
    """Makes the documents and opens the files of one reduced run.

    Parameters
    ----------
    raw_start
        The start document of the raw run.
    data_key
        Which of its images.
    settings
        What to do.
    emits
        Where the documents go, by flavour.
    """

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
        self._emits = emits
        self._runs: dict[Flavour, ComposeRunBundle] = {}

    @property
    def started(self) -> bool:
        """Whether the start document was emitted."""
        return bool(self._runs)

    def start(self, calibration: ResolvedCalibration | None) -> None:
        """Emit the start document; None if the run begins without a calibration."""
        recipes = self._settings.recipes_of(self._data_key)
        uid, time = str(uuid4()), None
        if self._settings.continues:
            made_with = self._settings.made_with(self._data_key)
            uid = str(uuid5(_RUNS, f"{self._raw_start['uid']}/{made_with}"))
        for flavour, emit in self._emits.items():
            run = compose_run(
                uid=uid,
                time=time,
                metadata=start_metadata(
                    self._raw_start,
                    self._data_key,
                    recipes=recipes,
                    engine=self._settings.engine,
                    calibration=calibration,
                    inline=flavour == "inline",
                ),
            )
            time = run.start_doc["time"]
            self._runs[flavour] = run
            emit("start", run.start_doc)

    def stop(self, exit_status: ExitStatus, reason: str) -> None:
        """Emit the stop document."""
        for flavour, run in self._runs.items():
            self._emits[flavour]("stop", run.compose_stop(exit_status=exit_status, reason=reason))

    def open(self, opening: Opening) -> Output:
        """Open the output of a reduced stream, which emits its descriptor."""
        outputs = [self._open(flavour, run, opening) for flavour, run in self._runs.items()]
        return outputs[0] if len(outputs) == 1 else Outputs(outputs)

    @contextmanager
    def kept(self, name: str, reduction: Reduction) -> Iterator[AzintFile | None]:
        """The file of a stream that was begun before with the same settings, if there is one."""
        path = self._path(name)
        if not self._settings.continues or path is None or not path.exists():
            yield None
            return
        try:
            file = AzintFile(path)
        except FormatError as error:
            logger.warning("%s Its frames are reduced again.", error)
            yield None
            return
        with file:
            yield file if self._fits(file, reduction) else None

    def _fits(self, file: AzintFile, reduction: Reduction) -> bool:
        try:
            known = file.provenance
            return file.is_made_with(reduction.geometry, reduction.recipe) and (
                known.get("mask_sha256") == reduction.calibration.mask_sha256
            )
        except Exception as error:  # noqa: BLE001  whatever it is, it is not what is wanted
            logger.warning("%s cannot be continued, and is made anew: %r", file.path, error)
            return False

    def _open(self, flavour: Flavour, run: ComposeRunBundle, opening: Opening) -> Output:
        head = StreamHead(
            run=run,
            emit=self._emits[flavour],
            name=opening.name,
            source=f"{STAGE}:{self._data_key}",
            configuration=stream_configuration(
                opening.reduction.calibration,
                opening.reduction.geometry,
                recipe=opening.recipe,
                conditions=opening.conditions,
                first=opening.like,
                time=opening.time,
            ),
        )
        path = self._path(opening.name)
        if flavour == "inline" or path is None:
            return EventOutput(head, opening.like)
        path.parent.mkdir(parents=True, exist_ok=True)
        return FileOutput(head, self._writer(path, run, opening), opening.like)

    def _writer(self, path: Path, run: ComposeRunBundle, opening: Opening) -> AzintWriter:
        start: dict[str, Any] = {**run.start_doc}
        # Of the stream, which may be another one than that of the start document.
        start.pop("mask_sha256", None)
        if opening.reduction.calibration.mask_sha256 is not None:
            start["mask_sha256"] = opening.reduction.calibration.mask_sha256
        return AzintWriter(
            path,
            radial=opening.like.radial,
            azimuthal=opening.like.azimuthal,
            unit=unit(opening.like.unit),
            geometry=opening.reduction.geometry,
            recipe=opening.reduction.recipe,
            errors=opening.like.sum_variance is not None,
            provenance=file_provenance(
                start,
                stream=opening.name,
                first_frame=opening.first_frame,
                engine=opening.like.engine,
                conditions=opening.conditions,
            ),
            renew=self._settings.continues,
        )

    def _path(self, stream: str) -> Path | None:
        """``00012_eiger_primary_3f2a9c1d.nxs``: scan, images, stream, and start of the uid.

        That of a run that is continued is longer: such a file is replaced without being asked for.
        """
        if self._settings.directory is None:
            return None
        uid = next(iter(self._runs.values())).start_doc["uid"]
        scan = self._raw_start.get("scan_id")
        parts = [f"{scan:05d}"] if isinstance(scan, int) else []
        short = uid.replace("-", "")[: 16 if self._settings.continues else 8]
        name = "_".join([*parts, self._data_key, stream, short])
        return self._settings.directory / (re.sub(r"[^\w.-]", "-", name) + ".nxs")
