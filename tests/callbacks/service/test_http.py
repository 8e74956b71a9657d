"""The service tells over HTTP how it is: the pages, and what it does with rude clients."""

import json
import logging
import socket
import time
from collections.abc import Iterator
from contextlib import closing
from http.client import HTTPConnection, HTTPResponse

import pytest
from prometheus_client.parser import text_string_to_metric_families

from bluesky_azint.callbacks.service import http
from bluesky_azint.callbacks.service.http import StatusServer
from bluesky_azint.callbacks.service.sections import Address
from bluesky_azint.callbacks.service.status import ServiceStatus
from bluesky_azint.errors import ConfigError

STATUS = ServiceStatus(
    state="running", since=1e9, source="connected", runs_open=1, frames_in=10, frames_out=7,
    frames_refused=1, frames_behind=2, lag_seconds=0.5, documents_pending=3, memory_bytes=2**20,
    troubles=("a frame is <b>broken</b>",),
)  # fmt: skip


class Told:
    """What the server tells; an exception is raised."""

    now: ServiceStatus | Exception = STATUS

    def __call__(self) -> ServiceStatus:
        if isinstance(self.now, Exception):
            raise self.now
        return self.now


@pytest.fixture
def told() -> Told:
    """What can be set."""
    return Told()


@pytest.fixture
def server(told: Told) -> Iterator[StatusServer]:
    """A server on a port that is free."""
    with StatusServer(Address("127.0.0.1", 0), told) as server:
        yield server


def ask(server: StatusServer, path: str, method: str = "GET") -> tuple[HTTPResponse, str]:
    """An answer, and its content."""
    with closing(HTTPConnection(server.address.host, server.address.port, timeout=10)) as client:
        client.request(method, path)
        answer = client.getresponse()
        return answer, answer.read().decode()


def figures(text: str) -> dict[str, float]:
    """The figures that Prometheus reads."""
    families = text_string_to_metric_families(text)
    return {sample.name: sample.value for family in families for sample in family.samples}


def test_health_is_the_status(server: StatusServer) -> None:
    answer, text = ask(server, "/health")

    assert answer.status == 200
    assert answer.headers["Content-Type"] == "application/json"
    assert answer.headers["Server"] == "bluesky-azint"
    assert ServiceStatus(**{**json.loads(text), "troubles": STATUS.troubles}) == STATUS
    assert json.loads(text)["troubles"] == list(STATUS.troubles)


@pytest.mark.parametrize("state", ["starting", "stopping", "failed"])
def test_health_is_bad_when_nothing_is_reduced(
    server: StatusServer, told: Told, state: str
) -> None:
    told.now = ServiceStatus(state=state, since=1e9, source="connected")
    answer, text = ask(server, "/health")

    assert answer.status == 503
    assert json.loads(text)["state"] == state


def test_metrics_are_for_prometheus(server: StatusServer) -> None:
    answer, text = ask(server, "/metrics")
    found = figures(text)

    assert answer.status == 200
    assert answer.headers["Content-Type"].startswith("text/plain")
    assert {name: value for name, value in found.items() if name.startswith("azint_")} == {
        "azint_frames_in_total": 10,
        "azint_frames_out_total": 7,
        "azint_frames_refused_total": 1,
        "azint_frames_behind": 2,
        "azint_lag_seconds": 0.5,
        "azint_documents_pending": 3,
        "azint_runs_open": 1,
        "azint_well": 1,
        "azint_state_since_seconds": 1e9,
    }
    assert found["process_resident_memory_bytes"] > 1e7


def test_the_first_page_is_for_people(server: StatusServer) -> None:
    answer, text = ask(server, "/?from=a+person")

    assert answer.status == 200
    assert answer.headers["Content-Type"].startswith("text/plain")  # so nothing in it is HTML
    assert "running, connected; 1 runs open, 7 frames out" in text
    assert "- a frame is <b>broken</b>" in text
    assert "2001-09-09T01:46:40" in text


@pytest.mark.parametrize("path", ["/healthy", "/../etc/passwd", "/metrics/", "/%2e%2e/health", "*"])
def test_there_is_nothing_else(server: StatusServer, path: str) -> None:
    answer, text = ask(server, path)

    assert answer.status == 404
    assert text == "Not here. There are: / /health /metrics\n"


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "OPTIONS"])
def test_nothing_can_be_changed(server: StatusServer, method: str) -> None:
    assert ask(server, "/health", method)[0].status == 501


def test_head_has_no_content(server: StatusServer) -> None:
    with socket.create_connection((server.address.host, server.address.port), 10) as client:
        client.sendall(b"HEAD /health HTTP/1.0\r\n\r\n")
        answer = b"".join(iter(lambda: client.recv(10_000), b""))

    assert answer.startswith(b"HTTP/1.0 200 ")
    assert answer.endswith(b"\r\n\r\n")


def test_a_status_that_fails_is_a_bad_one(
    server: StatusServer, told: Told, caplog: pytest.LogCaptureFixture
) -> None:
    told.now = RuntimeError("no status")

    assert ask(server, "/health")[0].status == 503
    assert "no status" in caplog.text
    told.now = STATUS
    assert ask(server, "/health")[0].status == 200


def test_without_prometheus_the_cure_is_told(
    server: StatusServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(__import__("sys").modules, "prometheus_client", None)
    answer, text = ask(server, "/metrics")

    assert answer.status == 501
    assert "bluesky-azint[service]" in text
    assert ask(server, "/health")[0].status == 200


def test_requests_are_in_the_log_and_forge_no_line(
    server: StatusServer, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG, http.__name__)
    ask(server, "/health%0aforged")

    assert '127.0.0.1: "GET /health%0aforged HTTP/1.1" 404 -' in caplog.messages


def test_clients_that_say_nothing_hold_nobody_up(
    server: StatusServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert http._Handler.timeout < 10
    monkeypatch.setattr(http._Handler, "timeout", 0.2)
    silent = [socket.create_connection((server.address.host, server.address.port)) for _ in "abc"]
    try:
        silent[0].sendall(b"GET /heal")
        silent[1].sendall(b"\x00\xff" * 100 + b"\r\n\r\n")
        silent[2].close()

        assert ask(server, "/health")[0].status == 200
        assert silent[0].recv(10) == b""  # given up
    finally:
        for client in silent:
            client.close()


def test_a_port_in_use_is_an_error_with_the_cure(server: StatusServer, told: Told) -> None:
    port = server.address.port

    with pytest.raises(ConfigError, match=rf"service\.http: the port {port} .* write another port"):
        StatusServer(server.address, told)


def test_an_address_of_another_machine_is_an_error(told: Told) -> None:
    with pytest.raises(ConfigError, match=r"service\.http: nothing can listen at 192\.0\.2\.1:0"):
        StatusServer(Address("192.0.2.1", 0), told)


def test_the_port_is_free_afterwards(told: Told) -> None:
    with StatusServer(Address("127.0.0.1", 0), told) as server:
        pass
    begun = time.monotonic()
    with StatusServer(server.address, told) as again:
        assert ask(again, "/health")[0].status == 200

    assert time.monotonic() - begun < 5


def test_it_listens_with_ipv6_as_well(told: Told) -> None:
    try:
        with socket.create_server(("::1", 0), family=socket.AF_INET6):
            pass
    except OSError:
        pytest.skip("There is no IPv6 here.")
    with StatusServer(Address("::1", 0), told) as server:
        assert ask(server, "/health")[0].status == 200
