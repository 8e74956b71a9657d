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
from collections import deque
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

from bluesky_azint.callbacks.backup import read_documents
from bluesky_azint.callbacks.reducer import Reducer
from bluesky_azint.callbacks.service.catalogue import RawCatalogue
from bluesky_azint.callbacks.service.config import ServiceConfig
from bluesky_azint.callbacks.service.endings import Ending
from bluesky_azint.callbacks.service.gaps import lost_announcements
from bluesky_azint.callbacks.service.journal import Journal
from bluesky_azint.callbacks.service.logs import about_run
from bluesky_azint.callbacks.service.pieces import (
    close_all,
    make_listeners,
    make_source,
    reducer_options,
)
from bluesky_azint.callbacks.service.runs import RunIndex
from bluesky_azint.callbacks.service.status import (
    CATCHING_UP,
    RUNNING,
    STARTING,
    ServiceStatus,
    memory_in_use,
)
from bluesky_azint.callbacks.soundness import check_document
from bluesky_azint.callbacks.tiled_sink import TiledSink, backup_name
from bluesky_azint.callbacks.transports.source import CONNECTED
from bluesky_azint.callbacks.worker import BackgroundCallback, Failure
from bluesky_azint.errors import AzintError, DocumentError, FormatError, StoreError

logger = logging.getLogger(__name__)

Document = Mapping[str, Any]

TICK_SECONDS = 0.2
RESTORE_SECONDS = 5.0
LOOK_SECONDS = 300.0  # for raw runs of which no document came
LOOK_BACK_SECONDS = 7 * 86400.0
ABANDON_SECONDS = 6 * 3600.0  # a scan may be paused over lunch
BEHIND_SECONDS = 5.0
_TROUBLES_KEPT = 10
_STARTED = "first-start"
_ANNOUNCING = ("descriptor", "stream_resource", "stream_datum")


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
        self._config = config
        self._state, self._since = STARTING, time.time()
        directory = config.service.directory
        self._backup = directory / "backup"
        self._journal = Journal(directory / "journal.sqlite")
        if self._journal.fact(_STARTED) is None:
            self._journal.set_fact(_STARTED, repr(time.time()))
        self._troubles: deque[str] = deque(maxlen=_TROUBLES_KEPT)
        self._index = RunIndex()
        self._endings: dict[str, Ending] = {}
        self._settling: dict[str, tuple[bool, int]] = {}  # complete? and what Tiled must have taken
        self._lock = threading.Lock()  # of these two
        self._frames_in = self._frames_handled = self._orphans = 0
        self._orphans_looked_up = 0
        self._stuck: set[Path] = set()  # backups that Tiled did not take
        self._stopping = threading.Event()
        self._catalogue: RawCatalogue | None = None
        self._sinks: dict[str, Any] = {}
        if config.tiled is not None:
            self._catalogue = RawCatalogue(config.tiled, root_map=dict(config.files.map))
            self._sinks["tiled"] = TiledSink(
                self._catalogue.reduced,
                backup_directory=self._backup,
                flush_seconds=config.tiled.flush_seconds,
                replaces=True,
            )
        self._listeners = make_listeners(config)
        self._reducer = Reducer(
            self._sinks.get("tiled", _to_nobody),
            inline=self._tell if self._listeners else None,
            **reducer_options(config),
        )
        spill = directory / "waiting"
        shutil.rmtree(spill, ignore_errors=True)  # the journal has what a killed service left
        spill.mkdir(parents=True)
        self._worker = BackgroundCallback(
            self._handle,
            name="azint-service",
            max_bytes=config.service.max_memory_mb * 10**6,
            spill_directory=spill,
            on_error=self._note_failure,
        )
        self._source = make_source(config, self._journal)
        self._clock = threading.Thread(target=self._tick, name="azint-clock", daemon=True)

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
            for known in self._journal.open_runs():
                self._replay(known.uid)
            self._state, self._since = RUNNING, time.time()
            logger.info("The service works; %d runs are continued.", len(self._journal.open_runs()))
            self._clock.start()
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
        try:
            check_document(name, doc)
            self._take(name, doc)
        except DocumentError as error:
            self._note(str(error))
        except Exception as error:
            logger.exception("A %s was not taken.", name)
            self._note(f"A {name} was not taken: {error!r}")

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
            frames_in=self._frames_in,
            frames_out=counts.reduced,
            frames_refused=counts.refused,
            frames_behind=max(self._frames_in - self._frames_handled, 0) if health.pending else 0,
            lag_seconds=health.lag,
            documents_pending=health.pending,
            memory_bytes=memory_in_use(),
            troubles=tuple(self._troubles),
        )

    def _take(self, name: str, doc: Document) -> None:
        uid = self._index.run_of(name, doc)
        if not uid:
            self._orphans += 1
            if self._orphans == 1 or self._orphans % 1000 == 0:
                self._note(
                    f"{self._orphans} documents refer to others that never came; their runs are "
                    "looked up in the raw catalogue when they have ended."
                )
            return
        known = self._journal.run(uid)
        with self._lock:
            complete, _ = self._settling.get(uid, (False, 0))
            given_up = uid in self._settling and not complete
            if given_up:
                del self._settling[uid]
        if complete or (known is not None and known.state == "done"):
            return
        self._index.take(name, doc, uid)
        try:
            self._journal.append(uid, name, doc)
        except AzintError as error:
            self._note(f"{error} The documents are handled, and are lost if the service ends.")
        if given_up or (known is not None and known.state == "incomplete"):
            logger.info("Run %s goes on.", uid)
            self._replay(uid)
            return
        self._frames_in += self._index.frames_in(name, doc)
        self._worker(name, doc)

    # In the thread of the worker.

    def _handle(self, name: str, doc: Document) -> None:
        if self._stopping.is_set():
            return
        if name == "replay":
            with about_run(doc["uid"]):
                self._read_again(doc["uid"])
            return
        if name == "ending":
            with about_run(doc["uid"]):
                self._try_to_end(doc["uid"])
            return
        uid = self._index.run_of(name, doc)
        with self._lock:
            over = not uid or uid in self._settling  # it came a second time
        if over:
            return
        with about_run(uid):
            if name == "stop":
                self._ended(uid, doc)
            else:
                self._reducer(name, doc)
        self._frames_handled += self._index.frames_in(name, doc)

    def _read_again(self, uid: str) -> None:
        """Have the Reducer take all documents that came of a run; what it knows costs nothing."""
        stop = None
        for name, doc in self._journal.documents(uid):
            if self._stopping.is_set():
                return
            self._index.take(name, doc, uid)
            stop = doc if name == "stop" else stop
            if name != "stop":
                self._reducer(name, doc)
        if stop is not None:
            self._ended(uid, stop)

    def _ended(self, uid: str, stop: Document) -> None:
        with self._lock:
            if uid in self._endings:
                self._endings[uid].stop = stop
                return
            patience = self._config.service.patience_seconds
            self._endings[uid] = Ending(
                uid, give_up=time.monotonic() + patience, stop=stop, busy=True
            )
        self._try_to_end(uid)

    def _try_to_end(self, uid: str) -> None:
        with self._lock:
            ending = self._endings.get(uid)
        if ending is None:
            return
        try:
            self._end_or_wait(ending)
        finally:
            ending.later()

    def _end_or_wait(self, ending: Ending) -> None:
        uid, stop = ending.uid, self._stop_of(ending)
        if self._reducer.has_failed(uid):
            self._reducer.forget(uid)
            self._take_all(self._journal.documents(uid))
        if ending.documents is not None:
            # First what the catalogue has: where they differ, those that came are right.
            self._take_all(ending.documents)
            ending.documents = None
            self._take_all(self._journal.documents(uid))
        elif stop is not None and ending.wait > 1.0:
            self._fill_gaps(uid, stop)
        if self._stopping.is_set():
            return  # not all of that was taken
        if stop is not None and self._is_complete(stop):
            self._finish(uid, stop, complete=True)
        elif ending.hopeless:
            self._finish(uid, stop, complete=False)

    def _stop_of(self, ending: Ending) -> Document | None:
        stops = [doc for name, doc in ending.documents or () if name == "stop"]
        ending.stop = ending.stop or (stops[0] if stops else None)
        return ending.stop

    def _is_complete(self, stop: Document) -> bool:
        return (
            self._reducer.has(stop["run_start"])
            and not self._reducer.unseen(stop)
            and not self._reducer.missing(stop)
        )

    def _fill_gaps(self, uid: str, stop: Document) -> None:
        """Take what can be told between the documents that came, and these again: files are late."""
        came = self._journal.documents(uid)
        few = [(name, doc) for name, doc in came if name in _ANNOUNCING]  # others may hold frames
        for datum in lost_announcements([*few, ("stop", stop)]):
            self._reducer("stream_datum", datum)
        self._take_all(self._journal.documents(uid))

    def _take_all(self, documents: Iterable[tuple[str, Document]]) -> None:
        """Have the Reducer take the documents of a run, but for its end."""
        for name, doc in documents:
            if name != "stop" and not self._stopping.is_set():
                self._reducer(name, doc)

    def _finish(self, uid: str, stop: Document | None, *, complete: bool) -> None:
        if stop is not None:
            self._reducer("stop", stop)
        else:
            self._reducer.abandon(uid)
        if not complete:
            self._note(
                f"Run {uid} is not reduced completely; the stop document of the reduced run tells "
                "why. `bluesky-azint backfill` tries again."
            )
        sink = self._sinks.get("tiled")
        with self._lock:
            self._settling[uid] = complete, sink.given if sink is not None else 0
            self._endings.pop(uid, None)
        if sink is None:
            self._safely(self._settle)

    def _settle(self) -> None:
        """Note the end of runs that Tiled, or a backup, has by now: a service may be killed before."""
        sink = self._sinks.get("tiled")
        done = sink.done if sink is not None else 0
        with self._lock:
            settled = [(uid, it) for uid, it in self._settling.items() if it[1] <= done]
        for uid, (complete, given) in settled:
            self._journal.end(uid, complete=complete)
            with self._lock:
                if self._settling.get(uid) == (complete, given):
                    del self._settling[uid]
            if complete:
                self._index.forget([uid])

    # In the thread of the clock.

    def _tick(self) -> None:
        looked = restored = -LOOK_SECONDS
        while not self._stopping.wait(TICK_SECONDS):
            now = time.monotonic()
            self._safely(self._settle)
            self._safely(self._see_to_endings)
            if now > restored + RESTORE_SECONDS:
                restored = now
                self._safely(self._restore)
                self._safely(self._see_to_quiet_runs)
            patience = self._config.service.quiet_seconds if self._has_lost_track else LOOK_SECONDS
            if now > looked + patience:
                looked = now
                self._safely(self._look_for_missed_runs)

    def _safely(self, action: Callable[[], None]) -> None:
        try:
            action()
        except AzintError as error:
            self._note(str(error))
        except Exception as error:
            logger.exception("The service goes on.")
            self._note(repr(error))

    def _see_to_endings(self) -> None:
        with self._lock:
            due = [ending for ending in self._endings.values() if ending.due]
        for ending in due:
            ending.busy = True
            ending.documents = self._documents_of(ending.uid)
            self._worker("ending", {"uid": ending.uid})

    def _documents_of(self, uid: str) -> list[tuple[str, dict[str, Any]]] | None:
        """What the raw catalogue has of a run that has ended; None if it has nothing, or is away."""
        if self._catalogue is None or not self._catalogue.has_raw:
            return None
        try:
            return self._catalogue.documents(uid)
        except StoreError as error:
            self._note(str(error))
            return None

    def _see_to_quiet_runs(self) -> None:
        """End runs whose stop document was lost, or never written."""
        now = time.time()
        for known in self._journal.open_runs():
            silent = abs(now - known.last)  # clocks are set back, too
            with self._lock:
                busy = known.uid in self._endings or known.uid in self._settling
            if busy or silent < self._config.service.quiet_seconds:
                continue
            documents = self._documents_of(known.uid)
            if documents is None and silent < ABANDON_SECONDS:
                continue
            patience = self._config.service.patience_seconds if documents is not None else 0.0
            with self._lock:
                self._endings[known.uid] = Ending(
                    known.uid,
                    give_up=time.monotonic() + patience,
                    documents=documents,
                    busy=True,
                )
            self._worker("ending", {"uid": known.uid})

    def _look_for_missed_runs(self) -> None:
        """Note raw runs of which no document came, that they are reduced when they are quiet."""
        if self._catalogue is None or not self._catalogue.has_raw:
            return
        orphans = self._orphans
        # The journal does not know of runs for ever.
        since = max(float(self._journal.fact(_STARTED) or 0), time.time() - LOOK_BACK_SECONDS)
        for uid in self._catalogue.uids_since(since):
            if self._journal.run(uid) is None:
                logger.info("Of run %s no document came; the raw catalogue has it.", uid)
                self._journal.note(uid)
        self._orphans_looked_up = orphans

    @property
    def _has_lost_track(self) -> bool:
        return self._orphans > self._orphans_looked_up

    def _restore(self) -> None:
        """Write into Tiled what it did not take before."""
        sink: TiledSink | None = self._sinks.get("tiled")
        if self._catalogue is None or sink is None:
            return
        writing = {backup_name(uid) for uid in sink.runs}
        for backup in sorted(self._backup.glob("*.jsonl"), key=lambda it: (it in self._stuck, it)):
            if backup.name in writing or backup.name.endswith(".databroker.jsonl"):
                continue
            if self._may_go_on(backup):
                continue
            try:
                self._catalogue.restore(backup)
            except StoreError:
                self._stuck.add(backup)  # the others have their turn first, next time
                raise
            self._stuck.discard(backup)

    def _may_go_on(self, backup: Path) -> bool:
        """Whether a backup is of a run that is not at its end, and will be written again."""
        try:
            _, start = next(read_documents(backup))
        except (FormatError, StopIteration):
            return False
        known = self._journal.run(str(start.get("raw_uid")))
        return known is not None and known.state == "open"

    # In any thread.

    def _replay(self, uid: str) -> None:
        self._worker("replay", {"uid": uid})

    def _tell(self, name: str, doc: Document) -> None:
        for key, listener in self._listeners.items():
            try:
                listener(name, doc)
            except Exception as error:
                logger.exception("A %s was not taken by sinks.%s.", name, key)
                self._note(f"sinks.{key} does not take documents: {error!r}")

    def _note(self, trouble: str) -> None:
        if trouble not in self._troubles:
            self._troubles.append(trouble)
        logger.warning("%s", trouble)

    def _note_failure(self, failure: Failure) -> None:
        self._note(failure.message)

    def _end(self) -> None:
        self._stopping.set()
        if self._clock.is_alive():
            self._clock.join()
        self._worker.close()
        self._reducer.leave()
        close_all({**self._sinks, **self._listeners})
        self._safely(self._settle)
        if self._catalogue is not None:
            self._catalogue.close()
        self._journal.close()
        logger.info(
            "The service has stopped; %d frames were reduced.", self._reducer.counts.reduced
        )


def _to_nobody(name: str, doc: object) -> None:
    """Where there is no Tiled, the files and the listeners have the patterns."""
