"""Runs that have ended, and whether all of their frames are reduced.

What is missing is looked for: in the raw catalogue, among the documents that came, and between
them. Files may be late, or servers away, so that it is tried again, ever more seldom, until the
patience of the service is at its end. And a run is over only when Tiled has taken its end, for the
service may be killed before.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

FIRST_WAIT, LONGEST_WAIT = 0.5, 60.0

Document = Mapping[str, Any]


@dataclass
class Ending:
    """A raw run that has ended, and is not reduced completely.

    Parameters
    ----------
    uid
        Of the raw run.
    give_up
        When nothing more is tried, on ``time.monotonic()``.
    stop
        Its stop document, if that came.
    documents
        What the raw catalogue has of it, to be taken; None if it was not asked, or has nothing.
    next_try, wait
        When it is tried next, and how long is waited after that.
    busy
        Whether it is being tried.
    doubtful
        Whether frames may have been replaced by others that nobody announced.
    """

    uid: str
    give_up: float
    stop: Document | None = None
    documents: list[tuple[str, dict[str, Any]]] | None = None
    next_try: float = field(default_factory=time.monotonic)
    wait: float = FIRST_WAIT
    busy: bool = True
    doubtful: bool = False

    @property
    def due(self) -> bool:
        """Whether it is to be tried now."""
        return not self.busy and time.monotonic() >= self.next_try

    @property
    def hopeless(self) -> bool:
        """Whether nothing more is to be tried."""
        return time.monotonic() >= self.give_up

    def later(self) -> None:
        """Try again after a while."""
        self.busy = False
        self.next_try = time.monotonic() + self.wait
        self.wait = min(2 * self.wait, LONGEST_WAIT)


@dataclass(frozen=True)
class Settling:
    """A run whose end is on its way into Tiled.

    Parameters
    ----------
    complete
        Whether all of its frames are reduced.
    given
        How many documents Tiled must be done with.
    """

    complete: bool
    given: int


class Endings:
    """The runs that have ended, by uid; for several threads."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._endings: dict[str, Ending] = {}
        self._settling: dict[str, Settling] = {}

    def __contains__(self, uid: str) -> bool:
        """Whether a run has ended, and is not over."""
        with self._lock:
            return uid in self._endings or uid in self._settling

    def begin(self, ending: Ending) -> bool:
        """A run has ended; False if that is known, and only its stop document may be new."""
        with self._lock:
            known = self._endings.setdefault(ending.uid, ending)
            known.stop = known.stop or ending.stop
            return known is ending

    def get(self, uid: str) -> Ending | None:
        """The ending of a run; None if it has not ended, or is reduced as far as it will be."""
        with self._lock:
            return self._endings.get(uid)

    def due(self) -> list[Ending]:
        """Those that are to be tried now, which are marked as busy."""
        with self._lock:
            due = [ending for ending in self._endings.values() if ending.due]
            for ending in due:
                ending.busy = True
            return due

    def settle(self, uid: str, *, complete: bool, given: int) -> None:
        """A run is reduced as far as it will be; it is over when Tiled has taken so many documents."""
        with self._lock:
            self._settling[uid] = Settling(complete, given)
            self._endings.pop(uid, None)

    def is_settling(self, uid: str) -> bool:
        """Whether the end of a run is on its way into Tiled."""
        with self._lock:
            return uid in self._settling

    def completeness(self, uid: str) -> bool | None:
        """Whether a run that is settling is complete; None if none is."""
        with self._lock:
            found = self._settling.get(uid)
            return None if found is None else found.complete

    def reopen(self, uid: str) -> None:
        """A run that was given up goes on."""
        with self._lock:
            self._settling.pop(uid, None)

    def settled(self, done: int) -> list[tuple[str, Settling]]:
        """Runs whose end Tiled has by now; they stay until `forget`.

        Parameters
        ----------
        done
            How many documents Tiled is done with.
        """
        with self._lock:
            return [(uid, it) for uid, it in self._settling.items() if it.given <= done]

    def forget(self, uid: str, settling: Settling) -> None:
        """A run is over, unless it has gone on meanwhile."""
        with self._lock:
            if self._settling.get(uid) is settling:
                del self._settling[uid]
