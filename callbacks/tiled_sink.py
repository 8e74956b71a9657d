"""Runs into Tiled, while they are measured, from a thread of its own.

A Tiled server may be slow, restart, or die, and no scan may feel it. So a thread takes documents to
the server, and another has it write the rows that have come, as a block, twice a second. When the
server fails a run, which the client finds out by trying for half a minute, all documents of that
run, past and coming, go into a file, from which `restore_run` writes them later.
"""

from __future__ import annotations

import logging
import re
import threading
from collections.abc import Callable
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING, Self

from bluesky_tiled_plugins.writing.tiled_writer import RunNormalizer
from event_model import RunRouter

from bluesky_azint.callbacks.backup import append_documents, read_documents
from bluesky_azint.callbacks.spill import Document, Spill, memory_of
from bluesky_azint.callbacks.tiled_runs import RunWriter
from bluesky_azint.callbacks.worker import BackgroundCallback
from bluesky_azint.errors import FormatError, StoreError

if TYPE_CHECKING:
    from event_model.documents import RunStart
    from tiled.client.container import Container

logger = logging.getLogger(__name__)

_KEPT_BYTES = 64 * 2**20  # of the documents of a run, in memory; the others are kept on disk


class TiledSink:
    """Writes runs into Tiled while they are measured.

    A callable for documents, ``sink(name, doc)``, which returns at once and never raises: it can
    be subscribed to a RunEngine for raw runs, and be what a `Reducer` emits to. A context manager
    that closes it.

    Parameters
    ----------
    client
        The container for runs; or what gives it when a run begins, where the server may not be
        there yet.
    backup_directory
        Where the documents of runs go that cannot be written, a ``.jsonl`` file for each.
    flush_seconds
        How long rows are collected before they are written together.
    replaces
        Whether a run takes the place of one with the same uid, where the server has one.
    spill_directory
        Where documents wait that need too much memory; by default, where the system keeps its
        temporary files.
    """

    def __init__(
        self,
        client: Container | Callable[[], Container],
        *,
        backup_directory: str | PathLike[str],
        flush_seconds: float = 0.5,
        replaces: bool = False,
        spill_directory: Path | None = None,
    ) -> None:
        if callable(client):
            self._connect = client
        else:
            known = client.include_data_sources()  # asks the server
            self._connect = lambda: known
        self._replaces = replaces
        self._spill_directory = spill_directory
        self._backup_directory = Path(backup_directory).absolute()  # the session may change folders
        self._flush_seconds = flush_seconds
        self._runs: dict[str, _RunSink] = {}
        self._router = RunRouter([self._begin])
        self._lock = threading.Lock()  # of the runs, which two threads write
        self._worker = BackgroundCallback(
            self._take, name="azint-tiled-sink", spill_directory=spill_directory
        )
        self._ended = threading.Event()
        self._clock = threading.Thread(target=self._tick, name="azint-tiled-clock", daemon=True)
        self._clock.start()

    def __call__(self, name: str, doc: Document) -> None:
        """Take a document."""
        self._worker(name, doc)

    def flush(self, timeout: float | None = None) -> bool:
        """Wait until all documents so far are in Tiled, or in a backup.

        Returns
        -------
        Whether they are; False when the timeout, in seconds, came first.
        """
        done = self._worker.flush(timeout)
        if done:
            self._write_rows()
        return done

    def close(self) -> None:
        """Write what is left, and end the threads."""
        self._worker.close()
        self._ended.set()
        self._clock.join()
        self._write_rows()
        with self._lock:
            for run in self._runs.values():
                run.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _take(self, name: str, doc: Document) -> None:
        with self._lock:
            self._router(name, dict(doc))
            if name == "stop" and (run := self._runs.pop(doc["run_start"], None)):
                run.close()

    def _tick(self) -> None:
        while not self._ended.wait(self._flush_seconds):
            self._write_rows()

    def _write_rows(self) -> None:
        with self._lock:
            for run in self._runs.values():
                run.flush()

    def _begin(self, name: str, doc: RunStart) -> tuple[list[_RunSink], list[object]]:
        """What takes the documents of a run; called by the router."""
        backup = self._backup_directory / backup_name(doc["uid"])
        if self._replaces:
            backup.unlink(missing_ok=True)
        start: Document = {**doc}
        sink = _RunSink(
            self._connect,
            start,
            backup,
            replaces=self._replaces,
            spill=Spill(self._spill_directory),
        )
        self._runs[doc["uid"]] = sink
        return [sink], []

    @property
    def given(self) -> int:
        """How many documents came so far."""
        return self._worker.given

    @property
    def done(self) -> int:
        """How many of them are done with: a run with its stop is in Tiled then, or in a backup."""
        return self._worker.health.done

    @property
    def runs(self) -> frozenset[str]:
        """The uids of the runs that are being written."""
        return frozenset(self._runs.copy())


class _RunSink:
    """Writes one run into Tiled, or, from the first failure on, into a file."""

    def __init__(
        self,
        connect: Callable[[], Container],
        start: Document,
        backup: Path,
        *,
        replaces: bool,
        spill: Spill,
    ) -> None:
        uid = start["uid"]
        raw = f" (of the raw run {start['raw_uid']})" if "raw_uid" in start else ""
        self._where = self._run = f"run {uid}{raw}"
        self._backup = backup
        self._failed = False
        # As long as they may be needed for a backup; frames inside of events may be many.
        self._documents: list[tuple[str, Document | Path]] = []
        self._held = 0
        self._spill = spill
        self._write: Callable[[str, Document], object] = _no_writer
        self._flush: Callable[[], object] = _no_flush
        self._attempt(lambda: self._begin(connect(), uid, replaces=replaces))

    def __call__(self, name: str, doc: Document) -> None:
        """Take a document; never raises."""
        self._documents.append((name, self._kept(doc)))
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

    def close(self) -> None:
        """Forget the documents; nothing more will come."""
        self._documents.clear()
        self._spill.close()

    def _begin(self, client: Container, uid: str, *, replaces: bool) -> None:
        self._where = f"{self._run} to {client.uri}"
        if replaces:
            _remove(client, uid)
        self._write, self._flush = _writer(client)

    def _kept(self, doc: Document) -> Document | Path:
        memory = memory_of(doc)
        if self._held + memory > _KEPT_BYTES:
            try:
                return self._spill.write(doc)
            except Exception:
                logger.exception("A document of %s finds no place on disk.", self._where)
        self._held += memory
        return doc

    def _attempt(self, action: Callable[[], object]) -> None:
        try:
            action()
        except Exception as error:  # noqa: BLE001  whatever it is, the run must go somewhere
            self._failed = True
            logger.error(
                "Writing %s failed: %r. All its documents go into %s, from which "
                "bluesky_azint.callbacks.restore_run writes them when the server is well again.",
                self._where,
                error,
                self._backup,
            )

    def _back_up(self) -> None:
        documents, self._documents, self._held = self._documents, [], 0
        try:
            append_documents(
                self._backup,
                (
                    (name, self._spill.take(doc) if isinstance(doc, Path) else doc)
                    for name, doc in documents
                ),
            )
        except Exception:
            kinds = ", ".join(name for name, _ in documents)
            logger.exception("Lost of %s: %s.", self._where, kinds)


def backup_name(uid: str) -> str:
    """The name of the file with the documents of a run, whatever its uid is."""
    return re.sub(r"[^\w-]", "-", uid)[:100] + ".jsonl"


def restore_run(path: str | PathLike[str], client: Container, *, replace: bool = False) -> None:
    """Write a run into Tiled that could not be written before.

    What the server has of the run already is replaced.

    Parameters
    ----------
    path
        The backup.
    client
        The container for runs.
    replace
        Whether to replace a run that the server has with its end, too.

    Raises
    ------
    FormatError
        If the file is no backup.
    StoreError
        If the server has the whole run.
    """
    documents = list(read_documents(Path(path)))
    uids = [doc["uid"] for name, doc in documents if name == "start"]
    if len(uids) != 1:
        raise FormatError(f"{path} is no backup: it has {len(uids)} start documents, not one.")
    if not replace and any("stop" in run.metadata for run in _runs(client, uids[0])):
        raise StoreError(f"{client.uri} has the run {uids[0]} already, with its end.")
    _remove(client, uids[0])
    write, flush = _writer(client.include_data_sources())
    for name, doc in documents:
        write(name, doc)
    flush()


def _remove(client: Container, uid: str) -> None:
    """Remove a run from the catalogue; the files that it refers to stay."""
    keys = [run.item["id"] for run in _runs(client, uid)]
    if keys:
        client.delete_contents(keys, recursive=True, external_only=False)


def _runs(client: Container, uid: str) -> list[Container]:
    from tiled.queries import Key

    return list(client.search(Key("start.uid") == uid).values())


def _no_writer(name: str, doc: Document) -> None:
    """Take a document of a run that could not be begun."""


def _no_flush() -> None:
    """There is nothing to write."""


def _writer(client: Container) -> tuple[Callable[[str, Document], object], Callable[[], None]]:
    """What writes the documents of one run, and what writes the rows that it has collected."""
    writer, normalizer = RunWriter(client), RunNormalizer()
    normalizer.subscribe(writer)
    return normalizer, writer.flush
