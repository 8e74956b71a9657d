"""Reduced runs into databroker: a Tiled server on MongoDB, which takes documents as they are.

MongoDB does not follow files, so that the documents are those of the inline flavour. It does not
replace a run either: where a reduced run comes again, since it was continued, it becomes another
run, whose start document tells which one it replaces. The last one of a raw run counts::

    *_, run = broker(raw_uid=uid)
    run.table(), run.xarray()

Servers with a SQL catalogue are for `TiledSink`; databroker's clients read runs from these too.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import dataclass
from os import PathLike
from pathlib import Path
from typing import Any, Self
from uuid import uuid4

from bluesky_azint.callbacks.backup import append_documents, read_documents
from bluesky_azint.callbacks.worker import BackgroundCallback
from bluesky_azint.errors import StoreError

logger = logging.getLogger(__name__)

RUNS_SPEC = "CatalogOfBlueskyRuns"


@dataclass(eq=False)
class _Run:
    """A run that is being inserted, and the uid that it has there."""

    uid: str
    failed: bool = False


class DatabrokerSink:
    """Inserts runs into databroker, from a thread of its own.

    A callable for documents, ``sink(name, doc)``, which returns at once and never raises. A context
    manager that closes it. From the first document on that the server does not take, those of that
    run go into a file, from which `restore_documents` inserts them later.

    Parameters
    ----------
    where
        A databroker, or a client of its catalogue; or its name, or its address, ``http://...``.
    backup_directory
        Where documents go that cannot be inserted, a ``.databroker.jsonl`` file for each run.

    Raises
    ------
    StoreError
        If there is none, or if it is none that takes documents.
    """

    def __init__(self, where: Any, *, backup_directory: str | PathLike[str]) -> None:  # noqa: ANN401  of databroker, without types
        self._catalogue = _catalogue(where)
        self._opened = isinstance(where, str)
        self._backup_directory = Path(backup_directory).absolute()
        self._runs: dict[str, _Run] = {}
        self._run_of: dict[str, str] = {}  # by descriptor
        self._worker = BackgroundCallback(self._take, name="azint-databroker")

    def __call__(self, name: str, doc: Mapping[str, Any]) -> None:
        """Take a document."""
        self._worker(name, doc)

    def flush(self, timeout: float | None = None) -> bool:
        """Wait until all documents so far are in databroker, or in a backup.

        Returns
        -------
        Whether they are; False when the timeout, in seconds, came first.
        """
        return self._worker.flush(timeout)

    def close(self) -> None:
        """Insert what is left, and end the thread."""
        self._worker.close()
        if self._opened:
            self._catalogue.context.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _take(self, name: str, doc: Mapping[str, Any]) -> None:
        uid = self._uid(name, doc)
        if name == "start":
            self._begin(uid)
        run = self._runs.get(uid)
        if run is None:
            logger.warning("A %s of a run that did not begin here is not inserted.", name)
            return
        document = {**doc}
        if name == "start" and run.uid != uid:
            document |= {"uid": run.uid, "replaces": uid}
        if "run_start" in document:
            document["run_start"] = run.uid
        if not run.failed:
            self._insert(run, name, document)
        if run.failed:
            append_documents(self._backup(run), [(name, document)])
        if name == "stop":
            del self._runs[uid]
            self._run_of = {one: run for one, run in self._run_of.items() if run != uid}

    def _uid(self, name: str, doc: Mapping[str, Any]) -> str:
        """The run of a document."""
        if name == "start":
            return str(doc["uid"])
        if name == "descriptor":
            self._run_of[doc["uid"]] = doc["run_start"]
        return str(doc.get("run_start") or self._run_of.get(doc.get("descriptor", ""), ""))

    def _begin(self, uid: str) -> None:
        run = self._runs[uid] = _Run(uid)
        try:
            known = uid in self._catalogue
        except Exception as error:  # noqa: BLE001  whatever it is, the run must go somewhere
            self._fail(run, error)
            known = True  # maybe
        if known:
            run.uid = str(uuid4())

    def _insert(self, run: _Run, name: str, doc: dict[str, Any]) -> None:
        try:
            self._catalogue.post_document(name, doc)
        except Exception as error:  # noqa: BLE001  whatever it is, the run must go somewhere
            self._fail(run, error)

    def _fail(self, run: _Run, error: Exception) -> None:
        run.failed = True
        logger.error(
            "Inserting run %s into %s failed: %r. Its documents go into %s from here on, from which "
            "bluesky_azint.callbacks.databroker_sink.restore_documents inserts them when the server "
            "is well again.", run.uid, self._catalogue.uri, error, self._backup(run),
        )  # fmt: skip

    def _backup(self, run: _Run) -> Path:
        return self._backup_directory / f"{run.uid}.databroker.jsonl"


def restore_documents(path: str | PathLike[str], where: Any) -> None:  # noqa: ANN401  of databroker, without types
    """Insert documents that could not be inserted before.

    Parameters
    ----------
    path
        The backup.
    where
        The databroker, see `DatabrokerSink`.

    Raises
    ------
    FormatError
        If the file is no backup.
    StoreError
        If there is no such databroker.
    """
    documents = list(read_documents(Path(path)))
    catalogue = _catalogue(where)
    for name, doc in documents:
        catalogue.post_document(name, doc)


def _catalogue(where: Any) -> Any:  # noqa: ANN401  of databroker, without types
    """The client of the catalogue, which must be one that takes documents."""
    try:
        catalogue = _opened(where) if isinstance(where, str) else where
    except ImportError:
        raise
    except Exception as error:
        raise StoreError(f"There is no databroker {where!r}: {error}") from error
    catalogue = getattr(catalogue, "v2", catalogue)  # of a Broker
    if not hasattr(catalogue, "post_document"):
        raise StoreError(
            f"{where!r} does not take documents; give the name or the address of a catalogue of "
            "Bluesky runs."
        )
    # That of databroker has the version 1; SQL catalogues have none, or 3.
    versions = [spec.version for spec in catalogue.specs if spec.name == RUNS_SPEC]
    if not any(version and version < "3" for version in versions):
        raise StoreError(
            f"{catalogue.uri} is no catalogue on MongoDB, and does not take documents as they are. "
            "TiledSink is for SQL catalogues."
        )
    return catalogue


def _opened(where: str) -> Any:  # noqa: ANN401  of databroker, without types
    if where.startswith(("http://", "https://")):
        from tiled.client import from_uri

        return from_uri(where)
    from databroker.v1 import Broker

    return Broker.named(where)
