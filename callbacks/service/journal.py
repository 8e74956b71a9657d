"""What the service has been told, on disk: it can be killed at any moment, and knows it again.

The documents of each raw run are kept until the run is reduced completely, or given up long ago.
They are in an SQLite database, each written before anything is done with it.
"""

from __future__ import annotations

import sqlite3
import threading
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from bluesky_azint.callbacks.transports.packing import pack, unpack
from bluesky_azint.errors import StoreError

Document = Mapping[str, Any]
State = Literal["open", "done", "incomplete"]

_SCHEMA = """
CREATE TABLE IF NOT EXISTS runs (
    uid TEXT PRIMARY KEY, first REAL NOT NULL, last REAL NOT NULL, state TEXT NOT NULL
);
CREATE TABLE IF NOT EXISTS documents (
    number INTEGER PRIMARY KEY, run TEXT NOT NULL, name TEXT NOT NULL, content BLOB NOT NULL
);
CREATE INDEX IF NOT EXISTS documents_of_run ON documents (run, number);
CREATE TABLE IF NOT EXISTS facts (name TEXT PRIMARY KEY, value TEXT NOT NULL);
"""
_KEPT_DAYS = 14


@dataclass(frozen=True)
class KnownRun:
    """What the journal knows of a raw run.

    Parameters
    ----------
    uid
        Of the raw run.
    first, last
        When its first and its last document came, in seconds since the epoch.
    state
        ``"open"``, ``"done"``, or ``"incomplete"``: given up, but more may come.
    """

    uid: str
    first: float
    last: float
    state: State


class Journal:
    """The documents of raw runs, on disk; may be used from several threads.

    Parameters
    ----------
    path
        The database, which is made if it is not there.

    Attributes
    ----------
    lacking
        The uids of open runs of which it could not keep a document.

    Raises
    ------
    StoreError
        If it is none, or is in use by another process.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.lacking: set[str] = set()
        self._lock = threading.Lock()
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            self._database = sqlite3.connect(
                path, check_same_thread=False, isolation_level=None, timeout=1.0
            )
            # Exclusive: a second service in the same directory would reduce everything twice.
            self._database.execute("PRAGMA locking_mode = EXCLUSIVE")
            self._database.execute("PRAGMA journal_mode = WAL")
            self._database.execute("PRAGMA synchronous = NORMAL")
            self._database.executescript(_SCHEMA)
            self._forget_old_runs()
        except (sqlite3.Error, OSError) as error:
            locked = "locked" in str(error)
            cure = (
                "another service works in this directory; stop it, or give this one another "
                "service.directory."
                if locked
                else "make room on its disk. If it is damaged, move it away: runs that are not "
                "complete are then found in the raw catalogue alone."
            )
            raise StoreError(f"The journal {path} cannot be used ({error}): {cure}") from error

    def close(self) -> None:
        """Close the database."""
        with self._lock:
            self._database.close()

    def append(self, uid: str, name: str, doc: Document) -> None:
        """Keep a document of a run.

        Raises
        ------
        StoreError
            If that is not possible: the disk may be full.
        FormatError
            If it holds something that cannot be kept.
        """
        content, now = pack(doc), time.time()
        known = uid in self.lacking
        self.lacking.add(uid)
        with self._transaction():
            self._database.execute(
                "INSERT INTO documents (run, name, content) VALUES (?, ?, ?)", (uid, name, content)
            )
            self._database.execute(
                "INSERT INTO runs VALUES (?, ?, ?, 'open') "
                "ON CONFLICT (uid) DO UPDATE SET last = excluded.last, state = 'open'",
                (uid, now, now),
            )
        if not known:
            self.lacking.discard(uid)

    def note(self, uid: str) -> None:
        """Know of a run of which no document came."""
        now = time.time()
        with self._transaction():
            self._database.execute(
                "INSERT OR IGNORE INTO runs VALUES (?, ?, ?, 'open')", (uid, now, now)
            )

    def links(self) -> Iterator[tuple[str, str, dict[str, Any]]]:
        """What documents of runs that may go on refer to: the uid of each run, name, document."""
        with self._lock:
            rows = self._database.execute(
                "SELECT run, name, content FROM documents "
                "WHERE name IN ('descriptor', 'resource', 'stream_resource') ORDER BY number"
            ).fetchall()
        return ((run, name, unpack(content)) for run, name, content in rows)

    def documents(self, uid: str) -> Iterator[tuple[str, dict[str, Any]]]:
        """The documents of a run, in the order in which they came."""
        number = -1
        while True:
            with self._lock:
                # One at a time: they may hold frames.
                row = self._database.execute(
                    "SELECT number, name, content FROM documents WHERE run = ? AND number > ? "
                    "ORDER BY number LIMIT 1",
                    (uid, number),
                ).fetchone()
            if row is None:
                return
            number = row[0]
            yield row[1], unpack(row[2])

    def run(self, uid: str) -> KnownRun | None:
        """What is known of a run; None if nothing is."""
        found = self._runs("uid = ?", uid)
        return found[0] if found else None

    def open_runs(self) -> list[KnownRun]:
        """The runs that are neither complete nor given up, the oldest first."""
        return self._runs("state = 'open'")

    def given_up_since(self, time: float) -> list[KnownRun]:
        """The runs that were given up, of which the last document came after a time."""
        return self._runs("state = 'incomplete' AND last > ?", time)

    def end(self, uid: str, *, complete: bool) -> None:
        """A run is reduced completely, and its documents are no longer needed; or given up."""
        with self._transaction():
            state: State = "done" if complete else "incomplete"
            self._database.execute("UPDATE runs SET state = ? WHERE uid = ?", (state, uid))
            if complete:
                self._database.execute("DELETE FROM documents WHERE run = ?", (uid,))
        self.lacking.discard(uid)

    def fact(self, name: str) -> str | None:
        """Something else that the service has noted."""
        with self._lock:
            row = self._database.execute(
                "SELECT value FROM facts WHERE name = ?", (name,)
            ).fetchone()
        return None if row is None else str(row[0])

    def set_fact(self, name: str, value: str) -> None:
        """Note something, in place of what was noted under that name."""
        with self._transaction():
            self._database.execute("INSERT OR REPLACE INTO facts VALUES (?, ?)", (name, value))

    def _runs(self, condition: str, *values: str | float) -> list[KnownRun]:
        with self._lock:
            rows = self._database.execute(
                f"SELECT uid, first, last, state FROM runs WHERE {condition} ORDER BY first",
                values,
            ).fetchall()
        return [KnownRun(*row) for row in rows]

    def _forget_old_runs(self) -> None:
        oldest = time.time() - _KEPT_DAYS * 86400
        self._database.execute(
            "DELETE FROM documents WHERE run IN "
            "(SELECT uid FROM runs WHERE last < ? AND state != 'open')",
            (oldest,),
        )
        self._database.execute("DELETE FROM runs WHERE last < ? AND state != 'open'", (oldest,))

    def _transaction(self) -> _Transaction:
        return _Transaction(self)


class _Transaction:
    """All or nothing; errors say which journal they are of."""

    def __init__(self, journal: Journal) -> None:
        self._journal = journal

    def __enter__(self) -> None:
        self._journal._lock.acquire()
        try:
            self._journal._database.execute("BEGIN")
        except sqlite3.Error as error:
            self._journal._lock.release()
            raise self._problem(error) from error

    def __exit__(self, kind: type[BaseException] | None, error: object, trace: object) -> None:
        database = self._journal._database
        try:
            if kind is None:
                database.execute("COMMIT")
        except sqlite3.Error as problem:
            database.rollback()
            raise self._problem(problem) from problem
        else:
            if kind is not None:
                database.rollback()
            if isinstance(error, sqlite3.Error):
                raise self._problem(error) from error
        finally:
            self._journal._lock.release()

    def _problem(self, error: sqlite3.Error) -> StoreError:
        return StoreError(f"The journal {self._journal.path} takes nothing: {error}.")
