"""What goes wrong with the service, in sentences: in its log, and the last few in its status."""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager

from bluesky_azint.errors import AzintError

logger = logging.getLogger(__name__)

_KEPT = 10


class Notes:
    """Collects what goes wrong; from any thread."""

    def __init__(self) -> None:
        self._sentences: deque[str] = deque(maxlen=_KEPT)

    @property
    def last(self) -> tuple[str, ...]:
        """The last few, each once, oldest first."""
        return tuple(self._sentences)

    def __call__(self, sentence: str) -> None:
        """Note a sentence."""
        if sentence not in self._sentences:
            self._sentences.append(sentence)
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
