"""Servers that tests start, kill and start again: on loopback, on ports that the system gives."""

from __future__ import annotations

import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

PATIENCE = 20.0


def wait_until(condition: Callable[[], object], timeout: float = PATIENCE) -> None:
    """Wait until something is so; fail where it takes too long."""
    end = time.monotonic() + timeout
    while not condition():
        assert time.monotonic() < end, f"Not so within {timeout} s."
        time.sleep(0.01)


def free_ports(number: int) -> list[int]:
    """Ports on loopback that were free a moment ago."""
    sockets = [socket.socket() for _ in range(number)]
    try:
        for one in sockets:
            one.bind(("127.0.0.1", 0))
        return [one.getsockname()[1] for one in sockets]
    finally:
        for one in sockets:
            one.close()


class Server:
    """A process that listens on a port, and may be killed and started again.

    Parameters
    ----------
    command
        What to run.
    port
        The port that answers when the server is up.
    """

    def __init__(self, command: list[str], port: int) -> None:
        self.command = command
        self.port = port
        self.process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start it, and wait until it listens."""
        self.process = subprocess.Popen(
            self.command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        wait_until(self.listens)

    def listens(self) -> bool:
        """Whether someone listens on its port."""
        assert self.process is not None
        assert self.process.poll() is None, f"{self.command} ended with {self.process.returncode}."
        with socket.socket() as probe:
            return probe.connect_ex(("127.0.0.1", self.port)) == 0

    def kill(self) -> None:
        """Kill it, as with ``kill -9``."""
        if self.process is not None:
            self.process.kill()
            self.process.wait()


class RedisServer(Server):
    """A Redis server that keeps its data in a directory, and writes down each command at once."""

    def __init__(self, directory: Path, *options: str) -> None:
        (port,) = free_ports(1)
        self.url = f"redis://127.0.0.1:{port}"
        command = ["redis-server", "--port", str(port), "--bind", "127.0.0.1", "--save", ""]
        command += ["--dir", str(directory), "--appendonly", "yes", "--appendfsync", "always"]
        super().__init__([*command, *options], port)


class ProxyServer(Server):
    """bluesky's 0MQ proxy: documents go in at one address, and come out at another."""

    def __init__(self, *options: str) -> None:
        inside, outside = (f"127.0.0.1:{port}" for port in free_ports(2))
        self.inside, self.outside = inside, outside
        command = [sys.executable, "-m", "bluesky.commandline.zmq_proxy"]
        command += ["--in-address", inside, "--out-address", outside]
        # It binds the way out last.
        super().__init__([*command, *options], int(outside.rpartition(":")[2]))


@contextmanager
def redis_server(directory: Path, *options: str) -> Iterator[RedisServer]:
    """A Redis server with its data in a directory, and a `url`."""
    server = RedisServer(directory, *options)
    try:
        server.start()
        yield server
    finally:
        server.kill()


@contextmanager
def zmq_proxy(*options: str) -> Iterator[ProxyServer]:
    """bluesky's 0MQ proxy, with the addresses `inside` and `outside`."""
    server = ProxyServer(*options)
    try:
        server.start()
        yield server
    finally:
        server.kill()
