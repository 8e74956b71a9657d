"""What the service tells systemd, and how it obeys signals."""

import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from bluesky_azint.callbacks.service.status import ServiceStatus
from bluesky_azint.callbacks.service.systemd import (
    Heartbeat,
    notify,
    obeying_signals,
    watchdog_seconds,
)

PATIENCE = 10.0


class Listener:
    """systemd's end of the socket."""

    def __init__(self, address: str) -> None:
        self.environment = {"NOTIFY_SOCKET": address.replace("\0", "@")}
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._socket.bind(address)
        self._socket.settimeout(PATIENCE)

    def next(self) -> list[str]:
        """The assignments of the next message."""
        return self._socket.recv(10_000).decode().split("\n")

    def close(self) -> None:
        """Hear no more."""
        self._socket.close()


@pytest.fixture(params=["file", "abstract"])
def systemd(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Listener]:
    """Somebody who listens."""
    if request.param == "abstract" and sys.platform != "linux":
        pytest.skip("Only Linux has sockets that are no file.")
    abstract = f"\0azint-{os.getpid()}-{time.monotonic_ns()}"
    listener = Listener(str(tmp_path / "notify") if request.param == "file" else abstract)
    yield listener
    listener.close()


def status(state: str = "running", source: str = "connected") -> ServiceStatus:
    """A status."""
    return ServiceStatus(state=state, since=0.0, source=source)


def test_systemd_is_told(systemd: Listener) -> None:
    assert notify("READY=1\nSTATUS=on the way", systemd.environment)
    assert systemd.next() == ["READY=1", "STATUS=on the way"]


@pytest.mark.parametrize("where", [{}, {"NOTIFY_SOCKET": ""}, {"NOTIFY_SOCKET": "vsock:2:1"}])
def test_where_there_is_no_systemd_nothing_happens(where: dict[str, str]) -> None:
    assert not notify("READY=1", where)


def test_systemd_that_is_gone_does_no_harm(tmp_path: Path) -> None:
    assert not notify("READY=1", {"NOTIFY_SOCKET": str(tmp_path / "nobody")})


@pytest.mark.parametrize(
    ("environment", "seconds"),
    [
        ({}, None),
        ({"WATCHDOG_USEC": "30000000"}, 30.0),
        ({"WATCHDOG_USEC": "500000", "WATCHDOG_PID": str(os.getpid())}, 0.5),
        ({"WATCHDOG_USEC": "30000000", "WATCHDOG_PID": "1"}, None),
        ({"WATCHDOG_USEC": "soon"}, None),
        ({"WATCHDOG_USEC": "0"}, None),
    ],
)
def test_the_watchdog_is_that_of_this_process(
    environment: dict[str, str], seconds: float | None
) -> None:
    assert watchdog_seconds(environment) == seconds


def test_it_is_ready_once_and_alive_twice_as_often_as_asked(systemd: Listener) -> None:
    states = iter(["starting", "starting"])
    environment = {**systemd.environment, "WATCHDOG_USEC": "200000"}
    with Heartbeat(lambda: status(next(states, "running")), environment) as heartbeat:
        messages = [systemd.next() for _ in range(2)]
        messages += [systemd.next()]
        messages += [systemd.next() for _ in range(3)]

    assert [message[0] == "READY=1" for message in messages] == [False, False, True, *3 * [False]]
    assert all(message[-1] == "WATCHDOG=1" for message in messages)
    assert messages[-1][0].startswith("STATUS=running, connected; 0 runs open")
    assert heartbeat._seconds == 0.1


def test_it_is_not_alive_when_its_status_hangs_or_fails(
    systemd: Listener, caplog: pytest.LogCaptureFixture
) -> None:
    failed, hang = threading.Event(), threading.Event()

    def failing() -> ServiceStatus:
        if not failed.is_set():
            failed.set()
            raise RuntimeError("no status")
        hang.wait(PATIENCE)
        return status()

    environment = {**systemd.environment, "WATCHDOG_USEC": "100000"}
    heartbeat = Heartbeat(failing, environment)
    try:
        assert failed.wait(PATIENCE)
        systemd._socket.settimeout(0.4)
        with pytest.raises(TimeoutError):
            systemd.next()
    finally:
        hang.set()
        heartbeat.close()
    assert "no status" in caplog.text


def test_what_a_source_says_cannot_pose_as_something_else(systemd: Listener) -> None:
    with Heartbeat(lambda: status(source="waiting\nREADY=0"), systemd.environment):
        message = systemd.next()

    assert [line.split("=")[0] for line in message] == ["READY", "STATUS", "WATCHDOG"]


def test_the_end_is_told(systemd: Listener) -> None:
    with Heartbeat(status, systemd.environment):
        systemd.next()

    assert systemd.next() == ["STOPPING=1"]


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_stops_from_another_thread(number: signal.Signals) -> None:
    stopped = threading.Event()
    lock = threading.Lock()

    def stop() -> None:
        with lock:
            stopped.set()

    before = signal.getsignal(number)
    with obeying_signals(stop):
        with lock:  # as the service may hold it when the signal comes
            signal.raise_signal(number)
        assert stopped.wait(PATIENCE)
    assert signal.getsignal(number) is before


def test_a_hangup_only_speaks(caplog: pytest.LogCaptureFixture) -> None:
    stopped = threading.Event()
    with obeying_signals(stopped.set):
        signal.raise_signal(signal.SIGHUP)
        deadline = time.monotonic() + PATIENCE
        while "restart the service" not in caplog.text and time.monotonic() < deadline:
            time.sleep(0.01)

    assert "restart the service" in caplog.text
    assert not stopped.is_set()


STUBBORN = """
import time
from bluesky_azint.callbacks.service.systemd import obeying_signals
with obeying_signals(lambda: print("stopping", flush=True)):
    print("ready", flush=True)
    time.sleep(60)
"""


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_the_second_signal_ends_at_once(number: signal.Signals) -> None:
    with subprocess.Popen(
        [sys.executable, "-c", STUBBORN], stdout=subprocess.PIPE, text=True
    ) as process:
        try:
            assert process.stdout is not None
            for line in ("ready\n", "stopping\n"):
                assert process.stdout.readline() == line
                process.send_signal(number)
            assert process.wait(PATIENCE) == 128 + number
        finally:
            process.kill()
