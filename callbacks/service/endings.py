"""Runs that have ended, and whether all of their frames are reduced.

What is missing is looked for: in the raw catalogue, among the documents that came, and between
them. Files may be late, or servers away, so that it is tried again, ever more seldom, until the
patience of the service is at its end.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

FIRST_WAIT, LONGEST_WAIT = 0.5, 60.0


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
    """

    uid: str
    give_up: float
    stop: Mapping[str, Any] | None = None
    documents: list[tuple[str, dict[str, Any]]] | None = None
    next_try: float = field(default_factory=time.monotonic)
    wait: float = FIRST_WAIT
    busy: bool = False

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
