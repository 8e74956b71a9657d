"""A callback in a thread of its own, so that it can neither slow nor abort a scan.

The RunEngine calls its subscribers one after the other and waits for each; an exception of one of
them aborts the scan. A `BackgroundCallback` only takes note of a document, and returns. What does
not fit into the memory that it may use waits on disk, so that no document is ever dropped.
"""

from __future__ import annotations

import atexit
import logging
import threading
import time
import traceback
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from itertools import groupby, islice
from operator import attrgetter
from pathlib import Path
from types import TracebackType
from typing import Self

from bluesky_azint.callbacks.spill import Document, Spill, memory_of, snapshot

logger = logging.getLogger(__name__)

Join = Callable[[list[tuple[str, Document]]], list[tuple[str, Document]]]

ERRORS_KEPT = 100
EXIT_SECONDS = 60.0


@dataclass(frozen=True)
class Failure:
    """A document with which a callback failed.

    Parameters
    ----------
    run
        The uid of the run, or an empty string where the document does not tell.
    document
        The name of the document: ``"event"``, ...
    message
        What was wrong.
    details
        The traceback, as text: the exception itself would keep the frames of the run in memory.
    time
        When, in seconds since the epoch.
    """

    run: str
    document: str
    message: str
    details: str
    time: float


@dataclass(frozen=True)
class Health:
    """How a `BackgroundCallback` is getting on.

    Parameters
    ----------
    pending
        Documents that wait, the one that is being worked on included.
    done
        Documents that are done with, those that failed included.
    failed
        Documents with which the callback failed.
    bytes_held
        Memory that the waiting documents take.
    spilled
        Documents that had to wait on disk, in all.
    lag
        How long the oldest pending document has been waiting, in seconds.
    """

    pending: int
    done: int
    failed: int
    bytes_held: int
    spilled: int
    lag: float


@dataclass(frozen=True, slots=True)
class _Waiting:
    """A document in the queue: itself, or the file with it."""

    name: str
    run: str
    doc: Document | Path
    memory: int
    since: float


class BackgroundCallback:
    """Runs a callback in a thread, as a subscriber that returns at once and never raises.

    Documents are handed on in their order, one at a time. They are copied before, since devices
    may use their arrays again. An exception of the callback is logged and told, and the next
    document is handed on nevertheless.

    >>> seen = []
    >>> with BackgroundCallback(lambda name, doc: seen.append(name), name="example") as callback:
    ...     callback("start", {"uid": "0f3a", "time": 0.0})
    >>> seen
    ['start']

    Parameters
    ----------
    callback
        Takes the name of a document and the document.
    name
        Of the thread, and in messages.
    max_bytes
        How much memory the waiting documents may take, besides the one that is being worked on.
    spill_directory
        Where the others wait; by default, where the system keeps its temporary files.
    on_error
        Is told of each failure, in the thread.
    collect_seconds
        How long to wait for further documents before some are handed on, which then are joined.
    join
        Makes fewer documents of those of a run that wait.
    """

    def __init__(
        self,
        callback: Callable[[str, Document], object],
        *,
        name: str,
        max_bytes: int = 256 * 2**20,
        spill_directory: Path | None = None,
        on_error: Callable[[Failure], object] | None = None,
        collect_seconds: float = 0.0,
        join: Join | None = None,
    ) -> None:
        self.callback = callback
        self.name = name
        self.max_bytes = max_bytes
        self.on_error = on_error
        self.collect_seconds = collect_seconds
        self.join = join
        self._hurry = threading.Event()
        self._changed = threading.Condition()
        self._queue: deque[_Waiting] = deque()
        self._spill = Spill(spill_directory)
        self._runs: dict[str, str] = {}
        self._errors: deque[Failure] = deque(maxlen=ERRORS_KEPT)
        self._done = self._failed = self._spilled = self._held = 0
        self._closing = self._ended = False
        # A daemon, for a callback that hangs must not keep the interpreter from ending; what
        # still waits then is done, as far as possible, by `_at_exit`.
        self._thread = threading.Thread(target=self._work, name=name, daemon=True)
        self._thread.start()
        atexit.register(self._at_exit)

    def __repr__(self) -> str:
        return f"BackgroundCallback({self.callback!r}, name={self.name!r})"

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def __call__(self, name: str, doc: Document) -> None:
        """Take note of a document."""
        try:
            with self._changed:
                if self._closing:
                    self._refuse(name, doc)
                    return
                waiting = self._waiting(name, doc)
                self._queue.append(waiting)
                self._held += waiting.memory
                self._changed.notify_all()
        except Exception as error:  # noqa: BLE001  nothing may reach the RunEngine
            self._fail(name, "", error)

    def flush(self, timeout: float | None = None) -> bool:
        """Wait until all documents that were given so far are done with.

        Parameters
        ----------
        timeout
            For how many seconds at the most; None for as long as it takes.

        Returns
        -------
        Whether they are.
        """
        self._hurry.set()
        with self._changed:
            given = self._done + len(self._queue)
            return self._changed.wait_for(lambda: self._done >= given, timeout)

    def close(self, timeout: float | None = None) -> bool:
        """Take no more documents, do those that wait, and end the thread.

        Parameters
        ----------
        timeout
            How many seconds to wait for that; None for as long as it takes. What is not done by
            then is done nevertheless, unless the interpreter ends before.

        Returns
        -------
        Whether all are done.
        """
        self._hurry.set()
        with self._changed:
            self._closing = True
            self._changed.notify_all()
            # Not by joining the thread: Python < 3.13 takes it for ended if Ctrl-C interrupts that.
            if not self._changed.wait_for(lambda: self._ended, timeout):
                return False
        self._thread.join()
        atexit.unregister(self._at_exit)
        return True

    @property
    def errors(self) -> tuple[Failure, ...]:
        """The last failures, oldest first."""
        with self._changed:
            return tuple(self._errors)

    @property
    def given(self) -> int:
        """How many documents it was given so far: all are done with when its health tells so many."""
        with self._changed:
            return self._done + len(self._queue)

    @property
    def health(self) -> Health:
        """How it is getting on right now."""
        with self._changed:
            return Health(
                pending=len(self._queue),
                done=self._done,
                failed=self._failed,
                bytes_held=self._held,
                spilled=self._spilled,
                lag=time.monotonic() - self._queue[0].since if self._queue else 0.0,
            )

    def _waiting(self, name: str, doc: Document) -> _Waiting:
        run, memory, now = self._run_of(name, doc), memory_of(doc), time.monotonic()
        if self._held + memory > self.max_bytes:
            try:
                path = self._spill.write(doc)
                self._spilled += 1
                return _Waiting(name, run, path, 0, now)
            except Exception:
                logger.exception(
                    "%s: a document of run %s finds no place on disk, and is kept in memory beyond "
                    "the limit of %d bytes.", self.name, run, self.max_bytes,
                )  # fmt: skip
        return _Waiting(name, run, snapshot(doc), memory, now)

    def _run_of(self, name: str, doc: Document) -> str:
        """The run of a document, as far as it is known."""
        run: str = doc.get("uid", "") if name == "start" else doc.get("run_start", "")
        if name == "stop":
            self._runs = {uid: other for uid, other in self._runs.items() if other != run}
        elif run:
            self._runs[doc.get("uid", "")] = run
        return run or self._runs.get(doc.get("descriptor") or doc.get("resource") or "", "")

    def _work(self) -> None:
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._queue or self._closing)
                if not self._queue:
                    break
            if self.collect_seconds:
                self._hurry.wait(self.collect_seconds)
                self._hurry.clear()
            with self._changed:
                some = list(islice(self._queue, None if self.join else 1))
            self._hand_on(some)
            with self._changed:
                for waiting in some:
                    self._queue.popleft()
                    self._held -= waiting.memory
                    self._done += 1
                self._held = self._held if self._queue else 0
                del some, waiting  # or it would stay in memory until the next one
                self._changed.notify_all()
        self._spill.close()
        with self._changed:
            self._ended = True
            self._changed.notify_all()

    def _hand_on(self, some: list[_Waiting]) -> None:
        if self.join is None or len(some) == 1:
            for waiting in some:
                self._call(waiting.name, waiting.doc, waiting.run)
            return
        for run, group in groupby(some, attrgetter("run")):
            of_run = list(group)
            documents = [(waiting.name, waiting.doc) for waiting in of_run]
            if not any(isinstance(doc, Path) for _, doc in documents):
                documents = [*self.join(documents)]  # type: ignore[arg-type]  # none is a path
            for name, doc in documents:
                self._call(name, doc, run)

    def _call(self, name: str, doc: Document | Path, run: str) -> None:
        try:
            self.callback(name, self._spill.take(doc) if isinstance(doc, Path) else doc)
        # Not even an exit that a callback asks for may end the thread before its time.
        except BaseException as error:  # noqa: BLE001
            self._fail(name, run, error)

    def _fail(self, name: str, run: str, error: BaseException) -> None:
        message = str(error) or type(error).__name__
        details = "".join(traceback.format_exception(error))
        failure = Failure(run, name, message, details, time.time())
        with self._changed:
            known = bool(self._errors) and self._errors[-1].message == message
            self._errors.append(failure)
            self._failed += 1
        # One that repeats itself with every frame is not worth a page each time.
        logger.error(
            "%s failed with a document %r of run %s, and goes on with the next one: %s",
            self.name, name, run or "?", message if known else details,
        )  # fmt: skip
        if self.on_error is not None:
            try:
                self.on_error(failure)
            except Exception:
                logger.exception("%s: on_error failed itself.", self.name)

    def _refuse(self, name: str, doc: Document) -> None:
        logger.error(
            "%s is closed: a document %r of run %s is not handed on. Unsubscribe it first.",
            self.name, name, self._run_of(name, doc) or "?",
        )  # fmt: skip

    def _at_exit(self) -> None:
        """Do what waits before the interpreter ends, unless it takes too long."""
        if pending := self.health.pending:
            logger.warning(
                "%s was not closed; its last %d documents are done now.", self.name, pending
            )
        if not self.close(EXIT_SECONDS):
            with self._changed:
                runs = sorted({waiting.run for waiting in self._queue})
                pending = len(self._queue)
            logger.error(
                "%s is given up after %g s: %d documents of the runs %s were not handed on. Reduce "
                "these runs again.", self.name, EXIT_SECONDS, pending, ", ".join(runs),
            )  # fmt: skip
            self._spill.close()
