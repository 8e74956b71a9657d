"""A stream in Redis: a bus that keeps what it carries, so that nobody misses anything.

::

    RunEngine ──> RedisPublisher ──> Redis, stream "bluesky" ──> RedisSource

Each document is an entry of the stream with the fields ``name`` and ``doc``. Redis gives it an id,
made of its clock and a number, so that ids only grow; a reader says after which id it goes on. So
readers may come late, or die and come back, as long as the stream still has what they did not read:
it keeps the last ``max_length`` documents or some more.

Nothing is lost when Redis or its machine dies, if it is started with ``appendonly yes`` and
``appendfsync always``: what it has taken is on disk then. With ``everysec``, which it does by
itself, it may forget what it took in the last two seconds, and without ``appendonly`` everything;
a publisher warns of either. A document may come twice: where the connection broke before Redis
could say that it has it, or where its reader died before it had noted the position.
"""

from __future__ import annotations

import logging
import re
import threading
import time
from collections.abc import Callable, Mapping
from typing import Any, Self

import numpy as np
import redis
from redis.backoff import NoBackoff
from redis.retry import Retry

from bluesky_azint.callbacks.transports.packing import pack, unpack_named
from bluesky_azint.callbacks.transports.source import (
    CONNECTED,
    FIRST_WAIT,
    LONGEST_WAIT,
    BaseSource,
    Take,
)
from bluesky_azint.callbacks.worker import BackgroundCallback, Health
from bluesky_azint.errors import FormatError, RecipeError

logger = logging.getLogger(__name__)

BEGINNING, END = "0-0", "$"
_BATCH = 16  # entries to read at once: few, since each may hold a frame
_BLOCK_MS = 500
_CHECK_SECONDS = 10.0
_SECONDS = 5.0  # to wait for an answer
_LASTING = {"appendonly": "yes", "appendfsync": "always"}
_TROUBLES = (redis.RedisError, OSError)
_ID = re.compile(r"[0-9]{1,20}(-[0-9]{1,20})?")
_LATEST = 2**53  # in milliseconds: the last time that is not nonsense

_Entry = tuple[bytes, dict[bytes, bytes]]


class RedisPublisher:
    """Appends documents to a stream in Redis: a callback that never waits and never raises.

    While Redis is away, documents wait: in memory as far as that goes, and then on disk. They get
    there in their order when it is back.

    Parameters
    ----------
    url
        Where Redis is: ``"redis://host:6379/0"``, or ``rediss://`` or ``unix://``.
    stream
        The key of the stream.
    max_length
        About how many documents the stream keeps; the oldest go. This is memory of Redis: some
        kilobytes each, or much more with frames in them.
    max_bytes
        How much memory waiting documents may take here.

    Attributes
    ----------
    lost
        How many documents were given up: those that cannot be written as messages, and those that
        Redis did not take before the publisher was closed.

    Raises
    ------
    RecipeError
        If the address cannot be used.
    """

    def __init__(
        self,
        url: str,
        stream: str = "bluesky",
        max_length: int = 100_000,
        *,
        max_bytes: int = 256 * 2**20,
    ) -> None:
        self.stream = stream
        self.max_length = max_length
        self.lost = 0
        self._client, self.name = _connection(url, stream)
        self._given_up = threading.Event()
        self._checked = False
        self._worker = BackgroundCallback(self._append, name="azint-redis", max_bytes=max_bytes)

    def __repr__(self) -> str:
        return f"<{type(self).__name__}: {self.name}, {self.health.pending} documents wait>"

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __call__(self, name: str, doc: Mapping[str, Any]) -> None:
        """Take note of a document, to be appended."""
        self._worker(name, doc)

    @property
    def health(self) -> Health:
        """How many documents wait, and for how long."""
        return self._worker.health

    def flush(self, timeout: float | None = None) -> bool:
        """Wait until Redis has all documents that were given so far.

        Parameters
        ----------
        timeout
            For how many seconds at the most; None for as long as it takes.

        Returns
        -------
        Whether it has.
        """
        return self._worker.flush(timeout)

    def close(self, timeout: float = 30.0) -> bool:
        """Take no more documents, and append those that wait.

        Parameters
        ----------
        timeout
            How many seconds to wait for Redis. What it has not taken by then is given up.

        Returns
        -------
        Whether it has all.
        """
        if not self._worker.close(timeout):
            self._given_up.set()
            self._worker.close()
            logger.error("%d documents did not get to %s, for it is away.", self.lost, self.name)
        self._client.close()
        return not self.lost

    def _append(self, name: str, doc: Mapping[str, Any]) -> None:
        """Append a document, however often that must be tried."""
        try:
            fields: dict[Any, Any] = {"name": name, "doc": pack(doc)}
        except FormatError:
            self.lost += 1
            raise
        wait, told = FIRST_WAIT, set[str]()
        while not self._given_up.is_set():
            try:
                self._client.xadd(self.stream, fields, maxlen=self.max_length)
            except _TROUBLES as error:
                if str(error) not in told:
                    told.add(str(error))
                    logger.warning("Documents wait for %s, which fails: %s", self.name, error)
                self._given_up.wait(wait)
                wait = min(2 * wait, LONGEST_WAIT)
            else:
                if told:
                    logger.info("Documents go on to %s.", self.name)
                if not self._checked:
                    self._check_memory()
                return
        self.lost += 1

    def _check_memory(self) -> None:
        """Warn of a Redis that forgets."""
        self._checked = True
        try:
            settings: Any = self._client.config_get("append*")
        except _TROUBLES as error:  # not everyone may ask
            logger.debug("Whether Redis writes down what it takes is not known: %s", error)
            return
        found = {key: settings.get(key) for key in _LASTING}
        if found != _LASTING:
            logger.warning(
                "Redis has %s, so that documents get lost when it is killed. In its configuration, "
                "set %s.",
                ", ".join(f"{key} {value}" for key, value in found.items()),
                " and ".join(f"{key} {value}" for key, value in _LASTING.items()),
            )


class RedisSource(BaseSource):
    """Documents from a stream in Redis.

    Parameters
    ----------
    url
        Where Redis is: ``"redis://host:6379/0"``, or ``rediss://`` or ``unix://``.
    stream
        The key of the stream.
    position
        The id of the last entry that is done with; ``"0-0"`` for the beginning of the stream, and
        ``"$"`` for what comes from now on.
    moved
        Is told the position after each entry, when its document was taken.

    Attributes
    ----------
    gaps
        How often entries were gone before they were read here. Documents may be lost then.

    Raises
    ------
    RecipeError
        If the address or the position cannot be used.
    """

    def __init__(
        self,
        url: str,
        stream: str = "bluesky",
        position: str = BEGINNING,
        moved: Callable[[str], object] | None = None,
    ) -> None:
        self._client, name = _connection(url, stream)
        super().__init__(name)
        self.stream = stream
        self.gaps = 0
        if position != END:
            _order(position)
        self.position = position
        self._moved = moved

    def run(self, take: Take) -> None:
        """Hand on documents until `stop` is called; see `Source`."""
        next_check = 0.0
        try:
            while not self._stopped.is_set():
                try:
                    if self.state != CONNECTED or time.monotonic() > next_check:
                        self._check_position()
                        next_check = time.monotonic() + _CHECK_SECONDS
                    entries = self._read()
                except _TROUBLES as error:
                    self._waiting(error)
                    self._pause()
                else:
                    self._connected()
                    self._hand_on(entries, take)
        finally:
            self._client.close()

    def _hand_on(self, entries: list[_Entry], take: Take) -> None:
        for entry, fields in entries:
            if self._stopped.is_set():
                return
            try:
                name, doc = unpack_named(fields.get(b"name", b""), fields.get(b"doc", b""))
            except FormatError as error:
                self._refuse(error)
            else:
                take(name, doc)
            self.position = entry.decode()
            if self._moved is not None:
                self._moved(self.position)

    def _read(self) -> list[_Entry]:
        """The next entries; none if none come for a while."""
        answer: Any = self._client.xread(
            {self.stream: self.position}, count=_BATCH, block=_BLOCK_MS
        )
        entries: list[_Entry] = answer[0][1] if answer else []
        # The oldest go first. As long as the last one that was read is there, so are all since.
        if entries and self.position != BEGINNING and not self._is_there(self.position):
            self._tell_gap(
                f"what was published from {_time(self.position)} to {_time(entries[0][0].decode())}"
                " UTC may have been removed before it was read. Let the stream keep more documents "
                "(max_length)"
            )
        return entries

    def _is_there(self, entry: str) -> bool:
        return bool(self._client.xrange(self.stream, entry, entry, count=1))

    def _check_position(self) -> None:
        """Find out where to begin, and whether Redis still is where it was."""
        last = BEGINNING
        if self._client.exists(self.stream):
            info: Any = self._client.xinfo_stream(self.stream)
            last = info["last-generated-id"].decode()
        if self.position == END:
            self.position = last
        elif _order(last) < _order(self.position):
            self.position = BEGINNING
            self._tell_gap("the last entries are forgotten, so that it is read from its beginning")

    def _tell_gap(self, sentence: str) -> None:
        self.gaps += 1
        logger.error("In %s, %s. Compare the runs with the raw data.", self.name, sentence)


def _connection(url: str, stream: str) -> tuple[redis.Redis, str]:
    """A client that leaves it to us to try again, and what it is connected to, in words."""
    try:
        client = redis.Redis.from_url(
            url,
            protocol=2,
            retry=Retry(NoBackoff(), 0),
            socket_timeout=_SECONDS,
            socket_connect_timeout=_SECONDS,
        )
    except ValueError:
        # The address is not shown, for it may hold a password.
        raise RecipeError(
            "The address of Redis cannot be used. Give it as 'redis://host:6379/0', with a "
            "password as 'redis://:password@host:6379/0'."
        ) from None
    where = client.connection_pool.connection_kwargs
    place = where.get("path") or f"{where.get('host', 'localhost')}:{where.get('port', 6379)}"
    return client, f"the stream {stream!r} of Redis at {place}"


def _order(position: str) -> tuple[int, int]:
    """The two numbers of an id, which order the entries."""
    if not _ID.fullmatch(position):
        raise RecipeError(
            f"{position!r} is no position in a stream of Redis. Give the id of an entry, such as "
            f"'1700000000000-0', {BEGINNING!r} for the beginning, or {END!r} for what comes."
        )
    milliseconds, _, number = position.partition("-")
    return int(milliseconds), int(number or 0)


def _time(position: str) -> str:
    """When an entry was made, by the clock of Redis."""
    return str(np.datetime64(min(_order(position)[0], _LATEST), "ms"))
