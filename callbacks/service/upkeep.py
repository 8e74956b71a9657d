"""What the service does without being told: it looks after what is late, lost, or waits for Tiled."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from bluesky_azint.callbacks.backup import read_documents
from bluesky_azint.callbacks.service.catalogue import RawCatalogue
from bluesky_azint.callbacks.service.endings import Ending, Endings
from bluesky_azint.callbacks.service.journal import Journal
from bluesky_azint.callbacks.service.notes import Notes
from bluesky_azint.callbacks.service.runs import RunIndex
from bluesky_azint.callbacks.service.sections import Process
from bluesky_azint.callbacks.tiled_sink import TiledSink, backup_name
from bluesky_azint.errors import FormatError, StoreError

logger = logging.getLogger(__name__)

TICK_SECONDS = 0.2
RESTORE_SECONDS = 5.0
LOOK_SECONDS = 300.0  # for raw runs of which no document came
LOOK_BACK_SECONDS = 7 * 86400.0  # the first time; the journal does not know of runs for ever
ABANDON_SECONDS = 6 * 3600.0  # a scan may be paused over lunch
STARTED = "first-start"


class Upkeep:
    """Looks around now and then, in a thread of its own.

    Parameters
    ----------
    process
        How long to be patient.
    journal, index, endings, notes
        What it works with.
    catalogue, sink
        The Tiled server, and what writes reduced runs to it; None without.
    backup
        Where documents wait that Tiled did not take.
    try_to_end
        Has a run tried, by its uid, in the thread that reduces.
    """

    def __init__(
        self,
        process: Process,
        *,
        journal: Journal,
        index: RunIndex,
        endings: Endings,
        notes: Notes,
        catalogue: RawCatalogue | None,
        sink: TiledSink | None,
        backup: Path,
        try_to_end: Callable[[str], object],
    ) -> None:
        self._process = process
        self._journal = journal
        self._index = index
        self._endings = endings
        self._notes = notes
        self._catalogue = catalogue
        self._sink = sink
        self._backup = backup
        self._try_to_end = try_to_end
        self._look_from = time.time() - LOOK_BACK_SECONDS
        self._stuck: set[Path] = set()  # backups that Tiled did not take
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._tick, name="azint-upkeep", daemon=True)
        self.lost_track = threading.Event()
        """Set where documents came of runs that nobody knows."""

    def start(self) -> None:
        """Begin."""
        self._thread.start()

    def close(self) -> None:
        """Do nothing more."""
        self._stopping.set()
        if self._thread.is_alive():
            self._thread.join()

    def settle(self) -> None:
        """Note the end of runs that Tiled, or a backup, has by now."""
        done = self._sink.done if self._sink is not None else 0
        for uid, settling in self._endings.settled(done):
            self._journal.end(uid, complete=settling.complete)
            self._endings.forget(uid, settling)
            if settling.complete:
                self._index.forget([uid])

    def _tick(self) -> None:
        looked = restored = -LOOK_SECONDS
        while not self._stopping.wait(TICK_SECONDS):
            now = time.monotonic()
            self._do(self.settle)
            self._do(self._see_to_endings)
            if now > restored + RESTORE_SECONDS:
                restored = now
                self._do(self._restore)
                self._do(self._see_to_quiet_runs)
            lost = self.lost_track.is_set()
            if now > looked + (self._process.quiet_seconds if lost else LOOK_SECONDS):
                looked = now
                self._do(self._look_for_missed_runs)

    def _do(self, chore: Callable[[], None]) -> None:
        with self._notes.of_errors("The service goes on."):
            chore()

    def _see_to_endings(self) -> None:
        for ending in self._endings.due():
            ending.documents = self._documents_of(ending.uid)
            self._try_to_end(ending.uid)

    def _documents_of(self, uid: str) -> list[tuple[str, dict[str, Any]]] | None:
        """What the raw catalogue has of a run that has ended; None if it has nothing, or is away."""
        if self._catalogue is None or not self._catalogue.has_raw:
            return None
        try:
            return self._catalogue.documents(uid)
        except StoreError as error:
            self._notes(str(error))
            return None

    def _see_to_quiet_runs(self) -> None:
        """End runs whose stop document was lost, or never written."""
        now = time.time()
        for known in self._journal.open_runs():
            silent = abs(now - known.last)  # clocks are set back, too
            if known.uid in self._endings or silent < self._process.quiet_seconds:
                continue
            documents = self._documents_of(known.uid)
            if documents is None and silent < ABANDON_SECONDS:
                continue
            patience = self._process.patience_seconds if documents is not None else 0.0
            ending = Ending(known.uid, give_up=time.monotonic() + patience, documents=documents)
            if self._endings.begin(ending):
                self._try_to_end(known.uid)

    def _look_for_missed_runs(self) -> None:
        """Note raw runs of which no document came, that they are reduced when they are quiet."""
        if self._catalogue is None or not self._catalogue.has_raw:
            return
        self.lost_track.clear()
        now, started = time.time(), float(self._journal.fact(STARTED) or 0)
        try:
            uids = self._catalogue.uids_since(max(started, self._look_from - ABANDON_SECONDS))
        except StoreError:
            self.lost_track.set()
            raise
        self._look_from = now
        for uid in uids:
            if self._journal.run(uid) is None:
                logger.info("Of run %s no document came; the raw catalogue has it.", uid)
                self._journal.note(uid)

    def _restore(self) -> None:
        """Write into Tiled what it did not take before."""
        if self._catalogue is None or self._sink is None:
            return
        writing = {backup_name(uid) for uid in self._sink.runs}
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
