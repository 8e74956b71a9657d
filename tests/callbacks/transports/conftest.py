"""Servers for the tests of transports, and threads that collect what comes over them."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
from bluesky import RunEngine
from bluesky.plans import scan
from ophyd.sim import SynAxis, SynGauss

from bluesky_azint.callbacks.transports import Source
from tests.callbacks.transports.collected import Collect, Documents, RunScan, collected
from tests.servers import ProxyServer, RedisServer, redis_server, wait_until, zmq_proxy


@pytest.fixture(scope="session")
def redis_for_all(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisServer]:
    """One Redis server; each test takes a stream of its own."""
    with redis_server(tmp_path_factory.mktemp("redis")) as server:
        yield server


@pytest.fixture
def redis_alone(tmp_path: Path) -> Iterator[RedisServer]:
    """A Redis server that a test may kill."""
    with redis_server(tmp_path) as server:
        yield server


@pytest.fixture(scope="session")
def proxy() -> Iterator[ProxyServer]:
    """One 0MQ proxy; each test takes a prefix of its own."""
    with zmq_proxy() as server:
        yield server


@pytest.fixture
def collect() -> Iterator[Collect]:
    """Runs sources in threads, until the test ends; gives the list that their documents come to."""
    with ExitStack() as stack:

        def connected(source: Source) -> Documents:
            documents = stack.enter_context(collected(source))
            wait_until(lambda: source.state == "connected")
            return documents

        yield connected


@pytest.fixture
def run_scan(run_engine: RunEngine) -> RunScan:
    """Runs a scan of five points with a subscriber; gives its documents, as they are in JSON."""

    def run(subscriber: Callable[[str, Any], object]) -> Documents:
        motor = SynAxis(name="motor")
        detector = SynGauss("det", motor, "motor", center=0, Imax=1)
        documents: Documents = []

        def publish(name: str, doc: dict[str, Any]) -> None:
            documents.append((name, json.loads(json.dumps(doc))))
            subscriber(name, doc)

        token = run_engine.subscribe(publish)  # type: ignore[no-untyped-call]
        run_engine(scan([detector], motor, -1, 1, 5), sample={"angle": 0.1, "phases": ("a", "b")})
        run_engine.unsubscribe(token)  # type: ignore[no-untyped-call]
        return documents

    return run
