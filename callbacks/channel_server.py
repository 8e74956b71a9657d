"""A server of EPICS Channel Access in a thread of its own, for numbers that one wants to watch.

A CA client asks by UDP who has a PV, and then watches it over TCP. Of several servers at one UDP
address only one hears a question that is sent there, so that there is one server for an address in
a process, however many want to show something; and an address that somebody else has is refused.

A client that has stopped to take what it asked for must not keep the others waiting: what it has
not seen is replaced by what is new, and after some seconds it is cut off. It will come again.
"""

from __future__ import annotations

import asyncio
import errno
import ipaddress
import logging
import os
import socket
import threading
from collections.abc import Coroutine
from concurrent.futures import Future
from contextlib import suppress
from typing import Any, ClassVar, Self

import caproto
from caproto import AccessRights, ChannelData
from caproto.asyncio.server import Context, VirtualCircuit
from caproto.asyncio.utils import _TransportWrapper

from bluesky_azint.errors import AddressError

logger = logging.getLogger(__name__)

PORT = 5064  # of Channel Access, where the environment names no other
PATIENCE = 5.0  # seconds that a client may take for what was sent to it
START_SECONDS = 30.0
_BEACONS = (0.02, 15.0)  # seconds between them, at first and in the end, as Channel Access has it


class ChannelServer:
    """Shows channels to whoever asks; nobody but this process changes them.

    Get it from `at`, and give it back with `release`.

    Parameters
    ----------
    host, port
        Where it is asked; ``"0.0.0.0"`` for all addresses of this machine.

    Attributes
    ----------
    loop
        The event loop that it runs in. Channels are written there.
    port
        The UDP port at which it is asked for its channels.
    """

    _servers: ClassVar[dict[tuple[str, int], ChannelServer]] = {}
    _lock: ClassVar[threading.Lock] = threading.Lock()

    def __init__(self, host: str, port: int) -> None:
        self.host = host
        self.port = port
        self._channels: dict[str, ChannelData] = {}
        self._users = 0
        self._context: _Context | None = None
        self._stopping = asyncio.Event()
        started: Future[None] = Future()
        self.loop = asyncio.new_event_loop()
        self._thread = threading.Thread(
            target=self._run, args=(started,), name=f"channel-access-{port}", daemon=True
        )
        self._thread.start()
        try:
            started.result(START_SECONDS)
        except Exception as error:
            raise AddressError(
                f"Channel Access cannot be served at {host}:{port}: {error}"
            ) from error

    @classmethod
    def at(cls, host: str, port: int | None) -> Self:
        """The server at an address, which is started if it does not run yet.

        Parameters
        ----------
        host
            An address of this machine, or its name.
        port
            None for what EPICS_CAS_SERVER_PORT or EPICS_CA_SERVER_PORT say, or 5064.

        Raises
        ------
        AddressError
            If somebody else serves there, or nobody can.
        """
        port = _usual_port() if port is None else port
        with cls._lock:
            server = cls._servers.get((host, port))
            if server is None:
                _try(host, port)
                server = cls._servers[host, port] = cls(host, port)
            server._users += 1
        return server  # type: ignore[return-value]

    def release(self) -> None:
        """Say that it is not needed any more; it ends when nobody needs it."""
        with self._lock:
            self._users -= 1
            if self._users:
                return
            del self._servers[self.host, self.port]
            with suppress(RuntimeError):  # it has ended already
                self.loop.call_soon_threadsafe(self._stopping.set)
            self._thread.join()

    def submit(self, task: Coroutine[Any, Any, None]) -> Future[None]:
        """Run a coroutine in the loop."""
        return asyncio.run_coroutine_threadsafe(task, self.loop)

    def put(self, name: str, channel: ChannelData) -> None:
        """Show a channel; clients that know another one of that name connect again."""
        channel.check_access = _read_only
        known = name in self._channels
        self._channels[name] = channel
        if known:
            self._cut_off()

    def remove(self, names: list[str]) -> None:
        """Show some channels no more."""
        for name in names:
            self._channels.pop(name, None)
        self._cut_off()

    def _cut_off(self) -> None:
        for circuit in list(self._context.circuits) if self._context else ():
            circuit.cut_off()

    def _run(self, started: Future[None]) -> None:
        with asyncio.Runner(loop_factory=lambda: self.loop) as runner:
            runner.run(self._serve(started))

    async def _serve(self, started: Future[None]) -> None:
        async def tell(_: object) -> None:
            started.set_result(None)

        try:
            self._context = _Context(self._channels, self.host, self.port)
            serving = asyncio.create_task(self._context.run(startup_hook=tell))
            stopping = asyncio.create_task(self._stopping.wait())
            await asyncio.wait({serving, stopping}, return_when=asyncio.FIRST_COMPLETED)
            serving.cancel()
            await serving
        except Exception as error:
            if not started.done():
                started.set_exception(error)
            else:
                logger.exception("The PVs at %s:%d are not served any more.", self.host, self.port)
        finally:
            self._cut_off()


class _Circuit(VirtualCircuit):  # type: ignore[misc]
    """The connection of a client."""

    async def _send_buffers(self, *buffers: bytes) -> None:
        try:
            await asyncio.wait_for(super()._send_buffers(*buffers), PATIENCE)
        except TimeoutError:
            logger.warning(
                "A CA client at %s:%d does not take what it asked for; it is cut off.",
                *self.circuit.address,
            )
            self.cut_off()

    def cut_off(self) -> None:
        self.client.writer.transport.abort()


class _Context(Context):  # type: ignore[misc]
    """caproto's server, at an address of our choice instead of the environment's."""

    CircuitClass = _Circuit

    def __init__(self, channels: dict[str, ChannelData], host: str, port: int) -> None:
        super().__init__(channels, [socket.gethostbyname(host)])
        self.ca_server_port = port

    async def server_accept_loop(self, sock: socket.socket) -> None:
        def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            client = _TransportWrapper(reader, writer)
            self.server_tasks.create(self.tcp_handler(client, client.getpeername()))

        server = await asyncio.start_server(accept, sock=sock)
        try:
            await asyncio.Event().wait()
        finally:
            server.close()

    async def broadcast_beacon_loop(self) -> None:
        """Tell clients that there is a server, so that they ask it for what they miss."""
        port = self.environ["EPICS_CAS_BEACON_PORT"]
        (own,) = self.interfaces
        addresses = caproto.get_beacon_address_list()
        if ipaddress.ip_address(own).is_loopback:
            addresses = [(own, port)]  # nobody else could connect
        pause, longest = _BEACONS
        while True:
            for host, udp in self.udp_socks.items():
                beacon = caproto.Beacon(13, self.port, self.beacon_count, host)
                for address in addresses:
                    try:
                        await udp.sendto(self.broadcaster.send(beacon), address)
                    except (OSError, caproto.CaprotoNetworkError) as error:
                        logger.debug("No beacon to %s:%d: %s", *address, error)
            self.beacon_count += 1
            await asyncio.sleep(pause)
            pause = min(2 * pause, longest)


def _read_only(hostname: str, username: str) -> AccessRights:
    return AccessRights.READ


def _usual_port() -> int:
    for name in ("EPICS_CAS_SERVER_PORT", "EPICS_CA_SERVER_PORT"):
        if os.environ.get(name, "").isdecimal():
            return int(os.environ[name])
    return PORT


def _try(host: str, port: int) -> None:
    """Raise where nothing can be served, or somebody does already."""
    # Several servers can share a port for questions that go to all: those of a broadcast.
    if host == "0.0.0.0":
        return
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as udp:
        try:
            udp.bind((host, port))
        except (OSError, OverflowError) as error:
            cure = f"{host!r} is no address of this machine, or {port} no port it may serve at."
            if getattr(error, "errno", None) == errno.EADDRINUSE:
                cure = (
                    "Another CA server is there, and only one of the two would hear what clients "
                    "ask. Choose another port and let the clients have it in EPICS_CA_ADDR_LIST, "
                    f"as {host}:{port + 2}; or serve at 0.0.0.0, and let them broadcast."
                )
            raise AddressError(
                f"Channel Access cannot be served at {host}:{port}: {error}. {cure}"
            ) from error
