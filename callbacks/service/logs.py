"""The log of the service: one line for each message, with the run that it is about.

Messages hold what is in documents, and documents come from anywhere; so what would begin a new line
is escaped. A message that repeats itself, perhaps with every frame, is written once a minute, and
how often it came.
"""

from __future__ import annotations

import copy
import json
import logging
import sys
import threading
from collections import OrderedDict
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TextIO

logger = logging.getLogger(__name__)

_QUIET_SECONDS = 60.0
_MESSAGES_KEPT = 1000
_LONGEST = 10_000  # characters of a message

_CONTROL = {
    code: f"\\x{code:02x}" if code < 256 else f"\\u{code:04x}"
    for code in (*range(0x20), *range(0x7F, 0xA0), 0x2028, 0x2029)
} | {ord("\n"): "\\n", ord("\r"): "\\r", ord("\t"): "\\t"}

_run: ContextVar[tuple[str, str]] = ContextVar("run", default=("", ""))


@contextmanager
def about_run(uid: str, data_key: str = "") -> Iterator[None]:
    """Have all messages of this thread be about a raw run, and a data key of it.

    Parameters
    ----------
    uid
        Of the raw run.
    data_key
        Whose frames it is about; an empty string if that is not known.
    """
    token = _run.set((uid, data_key))
    try:
        yield
    finally:
        _run.reset(token)


def log_to(stream: TextIO, *, form: str = "text", level: str = "info") -> logging.Handler:
    """Write the log of this process to a stream, and nowhere else.

    Other libraries are heard from warnings on, or the log would be full of requests to Tiled.

    Parameters
    ----------
    stream
        Where to.
    form
        ``"text"``, or ``"json"``: one object a line.
    level
        The least level of messages of ours.
    """
    handler = _Handler(stream)
    handler.setFormatter(_JsonLines() if form == "json" else _TextLines())
    number = getattr(logging, level.upper())
    logging.basicConfig(handlers=[handler], level=max(number, logging.WARNING), force=True)
    logging.getLogger("bluesky_azint").setLevel(number)
    logging.captureWarnings(True)
    threading.excepthook = _tell_of_thread
    sys.excepthook = _tell_of_end
    return handler


class _Handler(logging.StreamHandler[TextIO]):
    """Knows of each message which run it is about, and whether it was there a moment ago."""

    def __init__(self, stream: TextIO) -> None:
        super().__init__(stream)
        self._repeats = _Repeats()

    def emit(self, record: logging.LogRecord) -> None:
        try:
            for line in self._repeats.take(_whole(record)):
                super().emit(line)
        except Exception:  # noqa: BLE001  a message that cannot be formatted, most likely
            self.handleError(record)

    def close(self) -> None:
        self.acquire()
        try:
            for line in self._repeats.rest():
                super().emit(line)
        finally:
            self.release()
        super().close()


def _whole(record: logging.LogRecord) -> logging.LogRecord:
    """A record with its message put together, and what it is about."""
    whole = copy.copy(record)
    whole.msg, whole.args = record.getMessage(), None
    if len(whole.msg) > _LONGEST:
        whole.msg = f"{whole.msg[:_LONGEST]} ... ({len(whole.msg)} characters)"
    whole.raw_uid, whole.data_key = _run.get()
    return whole


@dataclass
class _Said:
    record: logging.LogRecord
    more: int = 0


class _Repeats:
    """Holds back what was said a moment ago, and tells later how often it came."""

    def __init__(self) -> None:
        self._said: OrderedDict[tuple[object, ...], _Said] = OrderedDict()

    def take(self, record: logging.LogRecord) -> list[logging.LogRecord]:
        """What is to be written now that a record has come."""
        lines = [*self._expired(record.created)]
        key = (record.name, record.levelno, record.msg, *_about(record).values())
        if key in self._said:
            self._said[key].more += 1
            return lines
        # Without the exception, which would keep the frames of its traceback in memory.
        said = copy.copy(record)
        said.exc_info = None
        self._said[key] = _Said(said)
        return [*lines, record]

    def rest(self) -> Iterator[logging.LogRecord]:
        """What is left to be said in the end."""
        while self._said:
            yield from self._oldest()

    def _expired(self, now: float) -> Iterator[logging.LogRecord]:
        while self._said:
            age = now - next(iter(self._said.values())).record.created
            if 0 <= age < _QUIET_SECONDS and len(self._said) < _MESSAGES_KEPT:
                return
            yield from self._oldest()

    def _oldest(self) -> Iterator[logging.LogRecord]:
        _, said = self._said.popitem(last=False)
        if said.more:
            said.record.msg += f" ({said.more} times more)"
            yield said.record


class _TextLines(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        about = " ".join(part for part in _about(record).values() if part)
        line = (
            f"{_time(record)} {record.levelname} {record.name}: "
            + (f"[{about}] " if about else "")
            + record.getMessage()
        ).translate(_CONTROL)
        # Lines of a traceback are set in, so that none looks like a message.
        details = [f"    {text.translate(_CONTROL)}" for text in self._details(record).split("\n")]
        return "\n".join([line, *(text for text in details if text.strip())])

    def _details(self, record: logging.LogRecord) -> str:
        return self.formatException(record.exc_info) if record.exc_info else ""


class _JsonLines(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        entry = {
            "time": _time(record),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
            **{name: part for name, part in _about(record).items() if part},
        }
        if record.exc_info:
            entry["exception"] = self.formatException(record.exc_info)
        return json.dumps(entry)


def _about(record: logging.LogRecord) -> dict[str, str]:
    return {name: getattr(record, name, "") for name in ("raw_uid", "data_key")}


def _time(record: logging.LogRecord) -> str:
    moment = datetime.fromtimestamp(record.created, UTC).replace(tzinfo=None)
    return moment.isoformat(timespec="milliseconds") + "Z"


def _tell_of_thread(args: threading.ExceptHookArgs) -> None:
    if args.exc_type is not SystemExit and args.exc_value is not None:
        name = args.thread.name if args.thread else "?"
        logger.critical("The thread %s has ended with an error.", name, exc_info=args.exc_value)


def _tell_of_end(kind: type[BaseException], error: BaseException, trace: object) -> None:
    logger.critical("The service ends with an error.", exc_info=error)
