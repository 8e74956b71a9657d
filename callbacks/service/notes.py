"""What goes wrong with the service, in sentences: in its log, and the last few in its status."""

from __future__ import annotations

import logging
import time
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime

from bluesky_azint.errors import AzintError

logger = logging.getLogger(__name__)

_KEPT = 10
_KEPT_SECONDS = 3600.0


class Notes:
    """Collects what goes wrong; from any thread."""

    def __init__(self) -> None:
        self._notes: deque[tuple[float, str]] = deque(maxlen=_KEPT)

    @property
    def last(self) -> tuple[str, ...]:
        """The last few of the last hour, each once and with its time, oldest first."""
        since = time.time() - _KEPT_SECONDS
        return tuple(f"{_clock(when)} {text}" for when, text in [*self._notes] if when > since)

    def __call__(self, sentence: str) -> None:
        """Note a sentence."""
        for note in [*self._notes]:
            if note[1] == sentence:
                self._notes.remove(note)
        self._notes.append((time.time(), sentence))
        logger.warning("%s", sentence)

    @contextmanager
    def of_errors(self, what: str) -> Iterator[None]:
        """Note what is raised inside, and go on after it.

        Parameters
        ----------
        what
            What does not work then, for an error that nobody expected.
        """
        try:
            yield
        except AzintError as error:
            self(str(error))
        except Exception as error:
            logger.exception("%s", what)
            self(f"{what} {error!r}")


def _clock(when: float) -> str:
    return datetime.fromtimestamp(when, UTC).strftime("%H:%M:%SZ")
