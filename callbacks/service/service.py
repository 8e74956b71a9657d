"""The service: documents from a bus become reduced runs, each frame exactly once.

::

    source ──> journal ──> queue ──> Reducer ──> Tiled, and whoever listens
                  └──────────┬──────────┘
      a clock: what is missing when a run has ended, what was missed, what waits for Tiled

A document is in the journal before anything is done with it, so that the service can be killed at
any moment: at its next start, the documents of open runs go through the Reducer again, which reads
only what has no pattern yet. When a run has ended and something is missing, since documents were
lost or files are late, it goes through again with what the raw catalogue has of it.
"""

from __future__ import annotations

import logging
import shutil
import threading
import time
from collections.abc import Mapping
from typing import Any

from bluesky_azint.callbacks.joining import joined
from bluesky_azint.callbacks.reducer import Reducer
from bluesky_azint.callbacks.service.catalogue import RawCatalogue
from bluesky_azint.callbacks.service.config import ServiceConfig
from bluesky_azint.callbacks.service.endings import Endings
from bluesky_azint.callbacks.service.finisher import Finisher
from bluesky_azint.callbacks.service.journal import Journal
from bluesky_azint.callbacks.service.logs import about_run
from bluesky_azint.callbacks.service.notes import Notes
from bluesky_azint.callbacks.service.pieces import (
    close_all,
    make_listeners,
    make_source,
    reducer_options,
    tell_all,
)
from bluesky_azint.callbacks.service.runs import RunIndex
from bluesky_azint.callbacks.service.status import (
    CATCHING_UP,
    RUNNING,
    STARTING,
    ServiceStatus,
    memory_in_use,
)
from bluesky_azint.callbacks.service.upkeep import STARTED, Upkeep
from bluesky_azint.callbacks.soundness import check_document
from bluesky_azint.callbacks.tiled_sink import TiledSink
from bluesky_azint.callbacks.transports.source import CONNECTED
from bluesky_azint.callbacks.worker import BackgroundCallback
from bluesky_azint.errors import AzintError

logger = logging.getLogger(__name__)

Document = Mapping[str, Any]

BEHIND_SECONDS = 5.0
COLLECT_SECONDS = 0.1  # frames that are reduced together cost less
TRY_AGAIN_SECONDS = 86400.0

# What the worker is told to do, beside documents.
_REPLAY, _ENDING = "replay", "ending"


class Service:
    """Reduces what comes from a source, until it is stopped.

    Parameters
    ----------
    config
        What it is to do.

    Raises
    ------
    AzintError
        If it cannot start.
    """

    def __init__(self, config: ServiceConfig) -> None:
        self._state, self._since = STARTING, time.time()
        directory = config.service.directory
        self._journal = Journal(directory / "journal.sqlite")
        if self._journal.fact(STARTED) is None:
            self._journal.set_fact(STARTED, repr(time.time()))
        self._notes = Notes()
        self._index = RunIndex()
        self._endings = Endings()
        self._frames_in = self._frames_handled = self._orphans = 0
        self._stopping = threading.Event()
        waiting = directory / "waiting"
        shutil.rmtree(waiting, ignore_errors=True)  # the journal has what a killed service left
        waiting.mkdir(parents=True)
        self._catalogue: RawCatalogue | None = None
        self._sink: TiledSink | None = None
        if config.tiled is not None:
            self._catalogue = RawCatalogue(config.tiled, root_map=dict(config.files.map))
            self._sink = TiledSink(
                self._catalogue.reduced,
                backup_directory=directory / "backup",
                flush_seconds=config.tiled.flush_seconds,
                replaces=True,
                spill_directory=waiting,
            )
        self._listeners = make_listeners(config)
        self._reducer = Reducer(
            self._sink or _to_nobody,
            inline=tell_all(self._listeners, self._notes) if self._listeners else None,
            **reducer_options(config),
        )
        self._finisher = Finisher(
            reducer=self._reducer,
            journal=self._journal,
            index=self._index,
            endings=self._endings,
            notes=self._notes,
            patience=config.service.patience_seconds,
            given=lambda: self._sink.given if self._sink is not None else 0,
            stopping=self._stopping,
        )
        self._worker = BackgroundCallback(
            self._handle,
            name="azint-service",
            max_bytes=config.service.max_memory_mb * 10**6,
            spill_directory=waiting,
            on_error=lambda failure: self._notes(failure.message),
            collect_seconds=COLLECT_SECONDS,
            join=joined,
        )
        self._source = make_source(config, self._journal)
        self._upkeep = Upkeep(
            config.service,
            journal=self._journal,
            index=self._index,
            endings=self._endings,
            notes=self._notes,
            catalogue=self._catalogue,
            sink=self._sink,
            backup=directory / "backup",
            try_to_end=lambda uid: self._worker(_ENDING, {"uid": uid}),
        )

    def run(self) -> int:
        """Work until `stop` is called; gives the exit code.

        Raises
        ------
        Exception
            What the source raises.
        """
        try:
            # Before documents come that refer to these.
            for uid, name, doc in self._journal.links():
                self._index.take(name, doc, uid)
            runs = self._journal.open_runs()
            # What was missing, a file system perhaps, may be there again.
            runs += self._journal.given_up_since(time.time() - TRY_AGAIN_SECONDS)
            for known in runs:
                self._replay(known.uid)
            self._state, self._since = RUNNING, time.time()
            logger.info("The service works; %d runs are continued.", len(runs))
            self._upkeep.start()
            self._source.run(self.take)
        finally:
            self._end()
        return 0

    def stop(self) -> None:
        """Have `run` end in order: what waits is in the journal, and done at the next start."""
        self._stopping.set()
        self._state, self._since = "stopping", time.time()
        self._source.stop()

    def take(self, name: str, doc: Document) -> None:
        """Take a document: when this returns it is safe. Never raises."""
        with self._notes.of_errors("A document was not taken."):
            check_document(name, doc)
            self._take(name, doc)

    def status(self) -> ServiceStatus:
        """How it is getting on."""
        health, counts = self._worker.health, self._reducer.counts
        state = self._state
        if state == RUNNING:
            if self._source.state != CONNECTED:
                state = "without documents"
            elif health.lag > BEHIND_SECONDS:
                state = CATCHING_UP
        return ServiceStatus(
            state=state,
            since=self._since,
            source=self._source.state,
            runs_open=len(self._journal.open_runs()) if not self._stopping.is_set() else 0,
            # Those of before the start were announced then.
            frames_in=max(self._frames_in, counts.reduced + counts.refused),
            frames_out=counts.reduced,
            frames_refused=counts.refused,
            frames_behind=max(self._frames_in - self._frames_handled, 0) if health.pending else 0,
            lag_seconds=health.lag,
            documents_pending=health.pending,
            memory_bytes=memory_in_use(),
            troubles=self._notes.last,
        )

    def _take(self, name: str, doc: Document) -> None:
        uid = self._index.run_of(name, doc)
        if not uid:
            self._leave_out()
            return
        known = self._journal.run(uid)
        complete = self._endings.completeness(uid)
        if complete or (known is not None and known.state == "done"):
            return
        self._endings.reopen(uid)
        self._index.take(name, doc, uid)
        try:
            self._journal.append(uid, name, doc)
        except AzintError as error:
            self._notes(f"{error} The documents are handled, and are lost if the service ends.")
        if complete is False or (known is not None and known.state == "incomplete"):
            logger.info("Run %s goes on.", uid)
            self._replay(uid)
            return
        self._frames_in += self._index.frames_in(name, doc)
        self._worker(name, doc)

    def _leave_out(self) -> None:
        self._orphans += 1
        self._upkeep.lost_track.set()
        if self._orphans == 1 or self._orphans % 1000 == 0:
            self._notes(
                f"{self._orphans} documents refer to others that never came; their runs are "
                "looked up in the raw catalogue when they have ended."
            )

    def _replay(self, uid: str) -> None:
        self._worker(_REPLAY, {"uid": uid})

    def _handle(self, name: str, doc: Document) -> None:
        """Work on a document, or what else is to be done, in the thread of the worker."""
        if self._stopping.is_set():
            return
        chores = {_REPLAY: self._finisher.read_again, _ENDING: self._finisher.try_to_end}
        if name in chores:
            with about_run(doc["uid"]):
                chores[name](doc["uid"])
            return
        uid = self._index.run_of(name, doc)
        if not uid or self._endings.is_settling(uid):
            return  # it came a second time
        with about_run(uid):
            if name == "stop":
                self._finisher.ended(uid, doc)
            else:
                self._reducer(name, doc)
        self._frames_handled += self._index.frames_in(name, doc)

    def _end(self) -> None:
        self._stopping.set()
        self._upkeep.close()
        self._worker.close()
        self._reducer.leave()
        close_all({"tiled": self._sink, **self._listeners})
        with self._notes.of_errors("The ends of runs could not be noted."):
            self._upkeep.settle()
        if self._catalogue is not None:
            self._catalogue.close()
        self._journal.close()
        logger.info(
            "The service has stopped; %d frames were reduced.", self._reducer.counts.reduced
        )


def _to_nobody(name: str, doc: object) -> None:
    """Where there is no Tiled, the files and the listeners have the patterns."""
