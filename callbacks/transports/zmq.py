"""bluesky's 0MQ proxy: fast, in every installation of bluesky, and lossy.

::

    RunEngine ──> zmq_publisher ──> bluesky-0MQ-proxy ──> ZmqSource

The messages are bluesky's own, ``prefix name document`` with spaces between, so that its
``RemoteDispatcher(address, deserializer=unpack)`` reads what is published here, and what its
``Publisher(address, serializer=pack)`` publishes is read here. What nobody takes in time, 0MQ drops
without a word, and what a proxy had in hand is lost when it dies: whoever needs every document
compares with the raw run in the end, or takes `bluesky_azint.callbacks.transports.redis`.

The proxy can ask for CURVE keys on one side; on both it does not start (bluesky 1.15), so that the
other side had better be on loopback or an ``ipc://`` address.
"""

from __future__ import annotations

import logging
import re
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any, Self

import zmq
import zmq.auth
from bluesky.callbacks.zmq import ClientCurve
from zmq.utils.monitor import recv_monitor_message

from bluesky_azint.callbacks.transports.packing import pack, unpack_named
from bluesky_azint.callbacks.transports.source import CONNECTED, BaseSource, Take
from bluesky_azint.errors import FormatError, RecipeError

logger = logging.getLogger(__name__)

_ADDRESS = re.compile(r"tcp://[^\s/]+:[0-9]{1,5}|(ipc|inproc)://\S+")
_POLL_MS = 250
# All times in milliseconds. The heartbeat finds a peer whose machine went away without a word.
_OPTIONS: dict[int, int | bytes] = {
    zmq.LINGER: 1000,
    zmq.HEARTBEAT_IVL: 5000,
    zmq.HEARTBEAT_TIMEOUT: 15000,
    zmq.RECONNECT_IVL: 100,
    zmq.RECONNECT_IVL_MAX: 5000,
}
_BROKEN: dict[int, str] = {
    zmq.EVENT_HANDSHAKE_FAILED_AUTH: "it refuses our CURVE key",
    zmq.EVENT_HANDSHAKE_FAILED_PROTOCOL: "it speaks otherwise: is CURVE used on one side alone?",
    zmq.EVENT_HANDSHAKE_FAILED_NO_DETAIL: "it breaks off: are the CURVE keys right?",
}


class ZmqSource(BaseSource):
    """Documents from bluesky's 0MQ proxy.

    Parameters
    ----------
    address
        Where the proxy publishes: ``"host:port"``, or with ``tcp://`` or ``ipc://``.
    prefix
        Take only what was published with this prefix; empty for everything.
    curve
        Our keys and the proxy's, where it asks for them.
    max_waiting
        How many messages may wait for being taken. More are dropped by 0MQ.

    Raises
    ------
    RecipeError
        If the address, the prefix or a key cannot be used.
    """

    def __init__(
        self,
        address: str,
        prefix: bytes = b"",
        curve: ClientCurve | None = None,
        *,
        max_waiting: int = 100_000,
    ) -> None:
        super().__init__(f"the 0MQ proxy at {address}")
        self.address = _address(address)
        self.prefix = _prefix(prefix)
        self._options = _OPTIONS | _keys(curve) | {zmq.RCVHWM: max_waiting}

    def run(self, take: Take) -> None:
        """Hand on documents until `stop` is called; see `Source`."""
        with _watched_socket(self._options) as (socket, monitor):
            socket.subscribe(self.prefix + b" " if self.prefix else b"")
            socket.connect(self.address)
            poller = zmq.Poller()
            poller.register(socket, zmq.POLLIN)
            poller.register(monitor, zmq.POLLIN)
            while not self._stopped.is_set():
                ready = dict(poller.poll(_POLL_MS))
                if monitor in ready:
                    self._note(recv_monitor_message(monitor)["event"])
                if socket in ready:
                    self._hand_on(socket.recv(), take)

    def _hand_on(self, message: bytes, take: Take) -> None:
        try:
            parts = message.split(b" ", 2)
            if len(parts) < 3:
                raise FormatError(
                    f"A message of {len(message)} bytes has not the form 'prefix name document'."
                )
            name, doc = unpack_named(parts[1], parts[2])
        except FormatError as error:
            self._refuse(error)
        else:
            take(name, doc)

    def _note(self, event: int) -> None:
        """Note what became of the connection."""
        if event == zmq.EVENT_HANDSHAKE_SUCCEEDED:
            self._connected()
        elif event in _BROKEN:
            self._waiting(_BROKEN[event])
        elif event == zmq.EVENT_CONNECT_RETRIED:
            if not self._told:
                self._waiting("nothing answers there")
        elif self.state == CONNECTED:
            self._waiting("it has gone")


class ZmqPublisher:
    """Publishes documents to bluesky's 0MQ proxy: a callback that never waits and never raises.

    While the proxy is away, documents wait for it; those that are too many are dropped and counted.
    It is made by `zmq_publisher`.

    Attributes
    ----------
    lost
        How many documents were not published, as far as this side can know.
    """

    def __init__(
        self, address: str, prefix: bytes, curve: ClientCurve | None, max_waiting: int
    ) -> None:
        self.name = f"the 0MQ proxy at {address}"
        self.lost = 0
        self._prefix = _prefix(prefix)
        self._lock = threading.Lock()  # a socket is for one thread at a time
        self._subscribed = False
        # Unlike a PUB, it is told when the proxy subscribes, and refuses what PUB would drop.
        options = _OPTIONS | _keys(curve) | {zmq.SNDHWM: max_waiting, zmq.XPUB_NODROP: 1}
        where = _address(address)
        self._context = zmq.Context()
        self._socket = _socket(self._context, zmq.XPUB, options)
        self._socket.connect(where)

    def __repr__(self) -> str:
        return f"<{type(self).__name__}: {self.name}, {self.lost} documents lost>"

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __call__(self, name: str, doc: Mapping[str, Any]) -> None:
        """Publish a document."""
        try:
            message = b" ".join([self._prefix, name.encode(), pack(doc)])
            if not self.wait(0):
                raise ConnectionError("It is not there, or refuses us.")
            with self._lock:
                self._socket.send(message, zmq.NOBLOCK)
        except zmq.Again:
            self._lose(name, "It is away, or too slow, and too many documents wait for it.")
        except Exception as error:  # noqa: BLE001  nothing may reach the RunEngine
            self._lose(name, error)

    def wait(self, timeout: float) -> bool:
        """Wait until the proxy takes documents.

        Parameters
        ----------
        timeout
            For how many seconds at the most.

        Returns
        -------
        Whether it does.
        """
        with self._lock:
            while self._socket.poll(0 if self._subscribed else round(1000 * timeout)):
                self._subscribed = self._socket.recv().startswith(b"\x01")
            return self._subscribed

    def close(self) -> None:
        """Publish no more; what still waits has a second to go."""
        with self._lock:
            self._context.destroy()

    def _lose(self, name: str, reason: object) -> None:
        self.lost += 1
        if str(self.lost).strip("0") == "1":
            logger.error(
                "%d documents did not get to %s, the last a document %r: %s",
                self.lost, self.name, name, reason,
            )  # fmt: skip


def zmq_publisher(
    address: str,
    *,
    prefix: bytes = b"",
    curve: ClientCurve | None = None,
    timeout: float = 2.0,
    max_waiting: int = 10_000,
) -> ZmqPublisher:
    """Make a callback that publishes documents to bluesky's 0MQ proxy, and wait for the proxy.

    It waits since 0MQ drops everything until it is connected. Without a proxy it says so and goes
    on: documents get through as soon as there is one.

    ``RE.subscribe(zmq_publisher("localhost:5577"))`` is all that a session needs.

    Parameters
    ----------
    address
        Where the proxy takes documents: ``"host:port"``, or with ``tcp://`` or ``ipc://``.
    prefix
        What subscribers tell publishers apart by; without spaces.
    curve
        Our keys and the proxy's, where it asks for them.
    timeout
        How many seconds to wait for the proxy.
    max_waiting
        How many documents may wait while it is away.

    Raises
    ------
    RecipeError
        If the address, the prefix or a key cannot be used.
    """
    publisher = ZmqPublisher(address, prefix, curve, max_waiting)
    if not publisher.wait(timeout):
        logger.warning(
            "Nothing answers as %s. Documents get lost until it does. Start bluesky-0MQ-proxy, and "
            "see whether it asks for CURVE keys.", publisher.name,
        )  # fmt: skip
    return publisher


@contextmanager
def _watched_socket(
    options: Mapping[int, int | bytes],
) -> Iterator[tuple[zmq.Socket[bytes], zmq.Socket[bytes]]]:
    """A socket that is not connected yet, and one that tells what becomes of its connection."""
    context = zmq.Context()
    try:
        socket = _socket(context, zmq.SUB, options)
        events = zmq.EVENT_HANDSHAKE_SUCCEEDED | zmq.EVENT_DISCONNECTED | zmq.EVENT_CONNECT_RETRIED
        for event in _BROKEN:
            events |= event
        yield socket, socket.get_monitor_socket(events)
        socket.disable_monitor()
    finally:
        context.destroy(linger=0)


def _socket(
    context: zmq.Context[zmq.Socket[bytes]], kind: int, options: Mapping[int, int | bytes]
) -> zmq.Socket[bytes]:
    socket = context.socket(kind)
    for option, value in options.items():
        socket.set(option, value)
    return socket


def _address(address: str) -> str:
    full = str(address) if "://" in str(address) else f"tcp://{address}"
    if not _ADDRESS.fullmatch(full):
        raise RecipeError(
            f"{address!r} is no address of a 0MQ proxy. Give it as 'host:port' or 'ipc:///path'."
        )
    return full


def _prefix(prefix: bytes) -> bytes:
    if not isinstance(prefix, bytes) or b" " in prefix:
        raise RecipeError(f"The prefix {prefix!r} must be bytes without a space in them.")
    return prefix


def _keys(curve: ClientCurve | None) -> dict[int, int | bytes]:
    """The options of a socket that has the keys of a client."""
    if curve is None:
        return {}
    try:
        public, secret = zmq.auth.load_certificate(curve.secret_path)
        server, _ = zmq.auth.load_certificate(curve.server_public_key)
    except (OSError, ValueError) as error:
        raise RecipeError(f"A CURVE key cannot be read: {error}.") from error
    if secret is None:
        raise RecipeError(
            f"{curve.secret_path} holds no secret key. Give the file that ends in '.key_secret'."
        )
    return {zmq.CURVE_PUBLICKEY: public, zmq.CURVE_SECRETKEY: secret, zmq.CURVE_SERVERKEY: server}
