"""Documents in a file, a line of JSON for each: ``{"name": "start", "doc": {...}}``."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from pathlib import Path

from event_model import NumpyEncoder

from bluesky_azint.callbacks.spill import Document
from bluesky_azint.errors import FormatError


def append_documents(path: Path, documents: Iterable[tuple[str, Document]]) -> None:
    """Add documents to a file, which is made when it is not there."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a", encoding="utf-8") as file:
        for name, doc in documents:
            file.write(json.dumps({"name": name, "doc": doc}, cls=NumpyEncoder) + "\n")


def read_documents(path: Path) -> Iterator[tuple[str, Document]]:
    """The documents in a file.

    Raises
    ------
    FormatError
        If a line is not a document.
    """
    with path.open(encoding="utf-8") as file:
        for number, line in enumerate(file, start=1):
            try:
                entry = json.loads(line)
                yield entry["name"], entry["doc"]
            except (ValueError, TypeError, KeyError) as error:
                raise FormatError(
                    f"{path}, line {number} is no document: {error!r}. If the line is cut off, the "
                    "process that wrote it was killed; take the line out."
                ) from error
