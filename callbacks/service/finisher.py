"""Brings raw runs to their end: every frame reduced, or nothing left to try.

All of this runs in the thread that reduces.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from bluesky_azint.callbacks.reducer import Reducer
from bluesky_azint.callbacks.service.endings import Document, Ending, Endings
from bluesky_azint.callbacks.service.gaps import lost_announcements, rows_were_lost
from bluesky_azint.callbacks.service.journal import Journal
from bluesky_azint.callbacks.service.notes import Notes
from bluesky_azint.callbacks.service.runs import RunIndex

logger = logging.getLogger(__name__)

# After so many seconds rows that nobody announced are taken from between those that were.
_GAPS_SECONDS = 1.0
# So long the raw catalogue may take to tell whether an event was repeated.
_DOUBT_SECONDS = 4.0
_ANNOUNCING = ("descriptor", "stream_resource", "stream_datum")


class Finisher:
    """Has the Reducer take the documents of runs again, until nothing is missing.

    Parameters
    ----------
    reducer, journal, index, endings, notes
        What it works with.
    patience
        How many seconds what is missing is looked for after the end of a run.
    given
        Tells how many documents Tiled was given so far.
    stopping
        Set when the service stops: nothing is judged then.
    """

    def __init__(
        self,
        *,
        reducer: Reducer,
        journal: Journal,
        index: RunIndex,
        endings: Endings,
        notes: Notes,
        patience: float,
        given: Callable[[], int],
        stopping: threading.Event,
    ) -> None:
        self._reducer = reducer
        self._journal = journal
        self._index = index
        self._endings = endings
        self._notes = notes
        self._patience = patience
        self._given = given
        self._stopping = stopping

    def read_again(self, uid: str) -> None:
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
            self.ended(uid, stop)

    def ended(self, uid: str, stop: Document) -> None:
        """Take the stop document of a run."""
        ending = Ending(uid, give_up=time.monotonic() + self._patience, stop=stop)
        if self._endings.begin(ending):
            ending.doubtful = rows_were_lost(self._announcements(uid))
            self.try_to_end(uid)

    def try_to_end(self, uid: str) -> None:
        """End a run if nothing of it is missing, or if it has been looked for long enough."""
        ending = self._endings.get(uid)
        if ending is None:
            return
        try:
            self._look(ending)
            if self._stopping.is_set():
                return  # not all of that was taken
            if ending.stop is not None and self._is_complete(ending.stop):
                if not ending.doubtful or ending.hopeless or ending.wait > _DOUBT_SECONDS:
                    self._finish(ending, complete=True)
            elif ending.hopeless:
                self._finish(ending, complete=False)
        finally:
            ending.later()

    def _look(self, ending: Ending) -> None:
        """Take what there is of the run that may have been missing."""
        uid = ending.uid
        if self._reducer.has_failed(uid):
            self._reducer.forget(uid)
            self._take(self._journal.documents(uid))
        if ending.documents is not None:
            stops = (doc for name, doc in ending.documents if name == "stop")
            ending.stop = ending.stop or next(stops, None)
            self._take(ending.documents)
            if not ending.doubtful:
                # Where they differ, those that came are right, unless they lack what came last.
                self._take(self._journal.documents(uid))
            ending.documents, ending.doubtful = None, False
        elif ending.stop is not None and ending.wait > _GAPS_SECONDS:
            self._fill_gaps(uid, ending.stop)

    def _fill_gaps(self, uid: str, stop: Document) -> None:
        """Take what can be told between the documents that came, and these again: files are late."""
        for datum in lost_announcements([*self._announcements(uid), ("stop", stop)]):
            self._reducer("stream_datum", datum)
        self._take(self._journal.documents(uid))

    def _announcements(self, uid: str) -> list[tuple[str, Mapping[str, Any]]]:
        """The documents of a run that announce rows of files; others may hold frames themselves."""
        came = self._journal.documents(uid)
        return [(name, doc) for name, doc in came if name in _ANNOUNCING]

    def _take(self, documents: Iterable[tuple[str, Mapping[str, Any]]]) -> None:
        """Have the Reducer take the documents of a run, but for its end."""
        for name, doc in documents:
            if name != "stop" and not self._stopping.is_set():
                self._reducer(name, doc)

    def _is_complete(self, stop: Document) -> bool:
        return (
            self._reducer.has(stop["run_start"])
            and not self._reducer.unseen(stop)
            and not self._reducer.missing(stop)
        )

    def _finish(self, ending: Ending, *, complete: bool) -> None:
        if ending.stop is not None:
            self._reducer("stop", ending.stop)
        else:
            self._reducer.abandon(ending.uid)
        if not complete:
            self._notes(
                f"Run {ending.uid} is not reduced completely; the stop document of the reduced run "
                "tells why. `bluesky-azint backfill` tries again."
            )
        self._endings.settle(ending.uid, complete=complete, given=self._given())
