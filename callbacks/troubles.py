"""What goes wrong while a run is reduced: told at once, and again when the run stops."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager

from bluesky_azint.errors import AzintError

logger = logging.getLogger(__name__)

_MOST = 5


class Troubles:
    """Collects what goes wrong, so that the run can go on.

    Parameters
    ----------
    what
        What it goes wrong with, in words.

    Attributes
    ----------
    sentences
        The first few, each once, in the order in which they came.
    """

    def __init__(self, what: str) -> None:
        self.what = what
        self.sentences: list[str] = []

    def note(self, error: Exception) -> None:
        """Note an error; the user is told of the first few, and of each only once."""
        expected = isinstance(error, AzintError)
        sentence = str(error) if expected else f"{type(error).__name__}: {error}"
        if sentence not in self.sentences and len(self.sentences) < _MOST:
            self.sentences.append(sentence)
            logger.error("%s: %s", self.what, sentence, exc_info=None if expected else error)

    @contextmanager
    def noted(self) -> Iterator[None]:
        """Note what is raised inside, and go on after it."""
        try:
            yield
        except Exception as error:  # noqa: BLE001  no error of one run may stop another
            self.note(error)
