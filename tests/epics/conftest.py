"""IOCs in processes of their own, on the loopback and on ports that nobody else has."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
SECONDS = 120.0

# Programs, which load what should not be in the process of the tests.
collect_ignore = [
    f"{name}.py" for name in ("async_client", "classic_client", "detector_ioc", "geometry_softioc")
]


def free_port() -> int:
    """A port that is free for UDP and TCP."""
    while True:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as udp, socket.socket() as tcp:
            udp.bind(("127.0.0.1", 0))
            port: int = udp.getsockname()[1]
            try:
                tcp.bind(("127.0.0.1", port))
            except OSError:
                continue
            return port


def environment(port: int, *others: int) -> dict[str, str]:
    """For a server at a port of the loopback, or a client that knows the others."""
    known = " ".join(f"127.0.0.1:{number}" for number in (port, *others))
    return {
        **os.environ,
        "EPICS_CA_ADDR_LIST": known,
        "EPICS_CA_AUTO_ADDR_LIST": "NO",
        "EPICS_CA_SERVER_PORT": str(port),
        "EPICS_CAS_AUTO_BEACON_ADDR_LIST": "NO",
        "EPICS_CAS_BEACON_ADDR_LIST": "127.0.0.1",
        "EPICS_CAS_INTF_ADDR_LIST": "127.0.0.1",
    }


@pytest.fixture
def ioc(tmp_path: Path) -> Iterator[Callable[..., int]]:
    """``ioc(module, *arguments)`` starts one, and tells its port; clients wait for it by asking."""
    started: list[subprocess.Popen[bytes]] = []

    def start(module: str, *arguments: str) -> int:
        port = free_port()
        with (tmp_path / f"{module}.log").open("wb") as log:
            process = subprocess.Popen(
                [sys.executable, "-m", module, *arguments],
                cwd=ROOT,
                env=environment(port),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
            )
        started.append(process)
        return port

    yield start
    for process in started:
        process.kill()
        process.wait()


@pytest.fixture
def session(tmp_path: Path) -> Callable[..., Path]:
    """``session(module, prefix, port)`` runs one against an IOC, and tells where its results are."""

    def run(module: str, prefix: str, ioc_port: int, results: str) -> Path:
        own = free_port()
        path = tmp_path / results
        subprocess.run(
            [sys.executable, "-m", module, prefix, str(own), str(path)],
            cwd=ROOT,
            env=environment(ioc_port, own),
            stdin=subprocess.DEVNULL,
            timeout=SECONDS,
            check=True,
        )
        return path

    return run
