"""Documents that wait: how much memory they take, copies of their own, and a place on disk."""

from __future__ import annotations

import pickle
import shutil
import sys
import tempfile
from collections.abc import Mapping
from itertools import count
from pathlib import Path
from typing import Any

import numpy as np

Document = Mapping[str, Any]

# Beyond this length a list is taken for numbers if its ends are, as in a frame from JSON.
_LONG = 32
_NUMBER_BYTES = 32  # an int or a float, and the reference to it
_SCALARS = (bool, int, float, str, type(None))


def memory_of(value: object) -> int:
    """Bytes of memory that a document, or anything in it, takes: a good estimate."""
    if isinstance(value, np.ndarray):
        return value.nbytes + sys.getsizeof(value.view())
    if isinstance(value, dict):
        return sys.getsizeof(value) + sum(map(memory_of, value.values()))
    if isinstance(value, list | tuple):
        inside = _NUMBER_BYTES * len(value) if _is_row(value) else sum(map(memory_of, value))
        return sys.getsizeof(value) + inside
    return sys.getsizeof(value)


def snapshot(doc: Document) -> Document:
    """A copy that shares no container and no array with the original, which may change then."""
    return {key: _copy(value) for key, value in doc.items()}


def _copy(value: object) -> object:
    if isinstance(value, np.ndarray):
        return value.copy(order="K")
    if isinstance(value, dict):
        return {key: _copy(item) for key, item in value.items()}
    if isinstance(value, list):
        return value.copy() if _is_row(value) else [_copy(item) for item in value]
    if type(value) is tuple:
        return value if _is_row(value) else tuple(_copy(item) for item in value)
    return value


def _is_row(value: list[object] | tuple[object, ...]) -> bool:
    return len(value) > _LONG and isinstance(value[0], _SCALARS) and isinstance(value[-1], _SCALARS)


class Spill:
    """Documents on disk, one file for each, in a directory that is made when it is needed.

    It is there until `close`, at the end of the interpreter too, when a ``TemporaryDirectory``
    would be gone before the last documents are taken.

    Parameters
    ----------
    parent
        Where to make the directory; by default, where the system keeps its temporary files.
    """

    def __init__(self, parent: Path | None = None) -> None:
        self.parent = parent
        self._directory: Path | None = None
        self._numbers = count()

    def write(self, doc: Document) -> Path:
        """Store a document; give the file.

        Raises
        ------
        OSError
            If there is no room on the disk, or no such directory.
        """
        if self._directory is None:
            self._directory = Path(tempfile.mkdtemp(prefix="documents-", dir=self.parent))
        path = self._directory / f"{next(self._numbers)}.pickle"
        try:
            with path.open("xb") as file:
                pickle.dump(doc, file, protocol=pickle.HIGHEST_PROTOCOL)
        except BaseException:
            path.unlink(missing_ok=True)
            raise
        return path

    def take(self, path: Path) -> Document:
        """Read a document back, and remove its file."""
        with path.open("rb") as file:
            doc: Document = pickle.load(file)
        path.unlink()
        return doc

    def close(self) -> None:
        """Remove the directory, with all that is in it."""
        if self._directory is not None:
            shutil.rmtree(self._directory, ignore_errors=True)
            self._directory = None
