"""Runs into Tiled, while they are measured, from a thread of its own.

A Tiled server may be slow, restart, or die, and no scan may feel it. So whoever has a document only
puts it into a queue, and a thread takes it to the server: rows in blocks, twice a second. When the
server fails a run, which the client finds out by trying for half a minute, all documents of that
run, past and coming, go into a file, from which `restore_run` writes them later.
"""

from __future__ import annotations

import atexit
import logging
import queue
import threading
import time
from collections.abc import Callable
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

from bluesky_tiled_plugins.writing.tiled_writer import RunNormalizer
from event_model import RunRouter

from bluesky_azint.callbacks.backup import append_documents, read_documents
from bluesky_azint.callbacks.tiled_runs import RunWriter
from bluesky_azint.errors import StoreError

if TYPE_CHECKING:
    from event_model.documents import RunStart
    from tiled.client.container import Container

logger = logging.getLogger(__name__)


class TiledSink:
    """Writes runs into Tiled while they are measured.

    A callable for documents, ``sink(name, doc)``, which returns at once and never raises: it can
    be subscribed to a RunEngine for raw runs, and be what a `Reducer` emits to. A context manager
    that closes it.

    Parameters
    ----------
    client
        The container for runs.
    backup_directory
        Where the documents of runs go that cannot be written, a ``.jsonl`` file for each.
    flush_seconds
        How long rows are collected before they are written together.
    """

    def __init__(
        self,
        client: Container,
        *,
        backup_directory: str | PathLike[str],
        flush_seconds: float = 0.5,
    ) -> None:
        self._client = client
        self._backup_directory = Path(backup_directory)
        self._flush_seconds = flush_seconds
        self._runs: dict[str, _RunSink] = {}
        self._router = RunRouter([self._begin])
        # Documents; events to be set when all before them is written; None at the end.
        self._queue: queue.SimpleQueue[tuple[str, Any] | threading.Event | None] = (
            queue.SimpleQueue()
        )
        self._closed = False
        self._thread = threading.Thread(target=self._work, name="azint-tiled-sink", daemon=True)
        self._thread.start()
        atexit.register(self.close)

    def __call__(self, name: str, doc: Any) -> None:  # noqa: ANN401  any of ten typed dicts
        """Take a document."""
        if self._closed:
            logger.error("A %s came after the sink was closed; it is not written to Tiled.", name)
        else:
            self._queue.put((name, doc))

    def flush(self, timeout: float | None = None) -> bool:
        """Wait until all documents so far are in Tiled, or in a backup.

        Returns
        -------
        Whether they are; False when the timeout, in seconds, came first.
        """
        written = threading.Event()
        if self._closed:
            return not self._thread.is_alive()
        self._queue.put(written)
        return written.wait(timeout)

    def close(self) -> None:
        """Write what is left, and end the thread."""
        if not self._closed:
            self._closed = True
            self._queue.put(None)
            atexit.unregister(self.close)
        self._thread.join()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _work(self) -> None:
        """Take documents to the server, until there are no more."""
        due = threading.TIMEOUT_MAX  # when the rows that were collected are written
        while True:
            try:
                item = self._queue.get(timeout=max(0.0, due - time.monotonic()))
            except queue.Empty:
                item = threading.Event()
            if isinstance(item, tuple):
                self._take(*item)
                due = min(due, time.monotonic() + self._flush_seconds)
            if not isinstance(item, tuple) or time.monotonic() >= due:
                for run in list(self._runs.values()):
                    run.flush()
                due = threading.TIMEOUT_MAX
            if isinstance(item, threading.Event):
                item.set()
            elif item is None:
                return

    def _take(self, name: str, doc: Any) -> None:  # noqa: ANN401
        try:
            self._router(name, doc)
        except Exception:
            logger.exception("A %s belongs to no run that is written to Tiled.", name)
        if name == "stop":
            self._runs.pop(doc["run_start"], None)

    def _begin(self, name: str, doc: RunStart) -> tuple[list[_RunSink], list[object]]:
        """What takes the documents of a run; called by the router."""
        backup = self._backup_directory / f"{doc['uid']}.jsonl"
        self._runs[doc["uid"]] = _RunSink(self._client, doc["uid"], backup)
        return [self._runs[doc["uid"]]], []


class _RunSink:
    """Writes one run into Tiled, or, from the first failure on, into a file."""

    def __init__(self, client: Container, uid: str, backup: Path) -> None:
        self._where = f"run {uid} to {client.uri}"
        self._backup = backup
        self._failed = False
        self._documents: list[tuple[str, Any]] = []  # as long as they may be needed for a backup
        self._write, self._flush = _writer(client)

    def __call__(self, name: str, doc: Any) -> None:  # noqa: ANN401
        """Take a document; never raises."""
        self._documents.append((name, doc))
        if not self._failed:
            self._attempt(lambda: self._write(name, doc))
        if self._failed:
            self._back_up()

    def flush(self) -> None:
        """Write the rows that have come; never raises."""
        if not self._failed:
            self._attempt(self._flush)
            if self._failed:
                self._back_up()

    def _attempt(self, action: Callable[[], object]) -> None:
        try:
            action()
        except Exception as error:  # noqa: BLE001  whatever it is, the run must go somewhere
            self._failed = True
            logger.error(
                "Writing %s failed: %r. All its documents go into %s; restore_run(path, client) "
                "writes them to Tiled when the server is well again.",
                self._where,
                error,
                self._backup,
            )

    def _back_up(self) -> None:
        documents, self._documents = self._documents, []
        try:
            append_documents(self._backup, documents)
        except Exception:
            kinds = ", ".join(name for name, _ in documents)
            logger.exception("Lost of %s: %s.", self._where, kinds)


def restore_run(path: str | PathLike[str], client: Container) -> None:
    """Write a run into Tiled that could not be written before.

    What the server has of the run already is replaced.

    Parameters
    ----------
    path
        The backup.
    client
        The container for runs.

    Raises
    ------
    FormatError
        If the file is no backup.
    StoreError
        If the server has the whole run.
    """
    documents = list(read_documents(Path(path)))
    for name, doc in documents:
        if name == "start" and doc["uid"] in client:
            if "stop" in client[doc["uid"]].metadata:
                raise StoreError(f"{client.uri} has the run {doc['uid']} already, with its end.")
            client.delete_contents([doc["uid"]], recursive=True, external_only=False)
    write, flush = _writer(client)
    for name, doc in documents:
        write(name, doc)
    flush()


def _writer(client: Container) -> tuple[Callable[[str, Any], object], Callable[[], None]]:
    """What writes the documents of one run, and what writes the rows that it has collected."""
    writer, normalizer = RunWriter(client), RunNormalizer()
    normalizer.subscribe(writer)
    return normalizer, writer.flush
