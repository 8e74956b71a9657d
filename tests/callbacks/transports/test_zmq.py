"""Documents over bluesky's 0MQ proxy."""

from __future__ import annotations

import pickle
import shutil
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing, contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import zmq.auth
from bluesky.callbacks.zmq import ClientCurve, Publisher

from bluesky_azint.callbacks.transports import ZmqSource, pack, zmq_publisher
from bluesky_azint.errors import RecipeError
from tests.callbacks.transports.collected import Collect, Documents, RunScan, collected
from tests.servers import ProxyServer, free_ports, wait_until, zmq_proxy


@pytest.fixture
def raw_send(proxy: ProxyServer) -> Iterator[Callable[[bytes], object]]:
    """Sends anything to the proxy."""
    with zmq.Context() as context, context.socket(zmq.XPUB) as socket:
        socket.connect(f"tcp://{proxy.inside}")
        socket.recv()
        yield socket.send


def subscribe(publisher: Callable[[str, Any], object], got: Documents) -> None:
    """Publish until something arrives: 0MQ does not say when a subscription has got everywhere."""

    def arrives() -> bool:
        publisher("start", {"uid": "first"})
        time.sleep(0.02)
        return bool(got)

    wait_until(arrives)
    publisher("stop", {"uid": "last"})
    wait_until(lambda: got[-1][1].get("uid") == "last")
    got.clear()


def test_a_scan_arrives_as_it_was(proxy: ProxyServer, collect: Collect, run_scan: RunScan) -> None:
    source = ZmqSource(proxy.outside, prefix=b"scan")
    got = collect(source)
    with zmq_publisher(proxy.inside, prefix=b"scan") as publisher:
        subscribe(publisher, got)
        given = run_scan(publisher)
        wait_until(lambda: len(got) == len(given))
    assert got == given
    assert [name for name, _ in got] == ["start", "descriptor", *5 * ["event"], "stop"]
    assert (publisher.lost, source.refused) == (0, 0)


def test_arrays_arrive_as_they_were(proxy: ProxyServer, collect: Collect) -> None:
    source = ZmqSource(proxy.outside, prefix=b"array")
    got = collect(source)
    frame = np.arange(12, dtype=">u2").reshape(3, 4)
    with zmq_publisher(proxy.inside, prefix=b"array") as publisher:
        subscribe(publisher, got)
        publisher("event", {"data": {"frame": frame[:, ::2]}})
        wait_until(lambda: got)
    np.testing.assert_array_equal(got[0][1]["data"]["frame"], frame[:, ::2])
    assert got[0][1]["data"]["frame"].dtype == frame.dtype


def test_publishers_of_bluesky_are_read_and_others_prefixes_left(
    proxy: ProxyServer, collect: Collect
) -> None:
    source = ZmqSource(proxy.outside, prefix=b"ours")
    got = collect(source)
    with (
        closing(Publisher(proxy.inside, prefix=b"ours", serializer=pack)) as publisher,
        zmq_publisher(proxy.inside, prefix=b"ours2") as other,
    ):
        subscribe(publisher, got)
        other("event", {"seq_num": 1})
        publisher("event", {"seq_num": 2})
        wait_until(lambda: got)
    assert got == [("event", {"seq_num": 2})]


def test_rubbish_is_left_out(
    proxy: ProxyServer, collect: Collect, raw_send: Callable[[bytes], object]
) -> None:
    source = ZmqSource(proxy.outside)
    got = collect(source)
    with zmq_publisher(proxy.inside) as publisher:
        subscribe(publisher, got)
        for message in (
            b"",
            b"two parts",
            b" \xff\xfe " + pack({}),
            b" evnt " + pack({}),
            b" event rubbish",
            b" event " + pack({"seq_num": 1})[:-1],
            b" event " + pickle.dumps({"seq_num": 1}),
        ):
            raw_send(message)
        raw_send(b" event " + pack({"seq_num": 2}))
        wait_until(lambda: got)
    assert got == [("event", {"seq_num": 2})]
    assert source.refused == 7


def test_a_pickle_is_told_with_the_cure(
    proxy: ProxyServer, collect: Collect, caplog: pytest.LogCaptureFixture
) -> None:
    source = ZmqSource(proxy.outside, b"pickled")
    collect(source)
    publisher = Publisher(proxy.inside, prefix=b"pickled")
    with closing(publisher):

        def is_refused() -> bool:
            publisher("start", {"uid": "0f3a"})
            return source.refused > 0

        wait_until(is_refused)
    assert "serializer=pack" in caplog.text


def test_the_proxy_may_be_killed_and_started_again(collect: Collect) -> None:
    with (
        zmq_proxy() as proxy,
        zmq_publisher(proxy.inside) as publisher,
        zmq_publisher(proxy.inside, max_waiting=10) as impatient,
    ):
        source = ZmqSource(proxy.outside)
        got = collect(source)
        subscribe(publisher, got)
        proxy.kill()
        wait_until(lambda: source.state.startswith("waiting for the 0MQ proxy"))
        for number in range(50):
            publisher("event", {"seq_num": number})  # nobody promises that these arrive
            impatient("event", {"seq_num": number})
        assert publisher.lost == 0
        assert 30 <= impatient.lost <= 50
        proxy.start()
        wait_until(lambda: source.state == "connected")
        subscribe(publisher, got)
        for number in range(1000):
            publisher("event", {"seq_num": number})
        wait_until(lambda: len(got) == 1000)
    assert [doc["seq_num"] for _, doc in got] == list(range(1000))


def test_a_proxy_that_is_not_there_is_told_once_and_waited_for(
    caplog: pytest.LogCaptureFixture,
) -> None:
    (port,) = free_ports(1)
    source = ZmqSource(f"127.0.0.1:{port}")
    with collected(source):
        wait_until(lambda: "nothing answers" in source.state)
        time.sleep(0.3)
    assert caplog.text.count("nothing answers") == 1


def test_a_publisher_without_a_proxy_neither_waits_nor_raises(
    caplog: pytest.LogCaptureFixture,
) -> None:
    (port,) = free_ports(1)
    publisher = zmq_publisher(f"127.0.0.1:{port}", timeout=0.05)
    assert "bluesky-0MQ-proxy" in caplog.text
    begin = time.monotonic()
    for number in range(100):
        publisher("event", {"seq_num": number})
    publisher.close()
    publisher("event", {"seq_num": 101})
    assert time.monotonic() - begin < 5
    assert publisher.lost == 101
    assert caplog.text.count("did not get to") == 3  # 1, 10 and 100


def test_what_no_message_can_carry_is_lost_and_told(
    proxy: ProxyServer, caplog: pytest.LogCaptureFixture
) -> None:
    with zmq_publisher(proxy.inside, prefix=b"lost") as publisher:
        publisher("start", {"uid": "0f3a", "when": {1, 2}})
    assert publisher.lost == 1
    assert "{1, 2}" in caplog.text


def test_an_error_of_the_taker_ends_the_run(proxy: ProxyServer) -> None:
    source = ZmqSource(proxy.outside, b"taker")

    def take(name: str, doc: dict[str, Any]) -> None:
        raise OSError("The disk is full.")

    stop = threading.Event()
    with zmq_publisher(proxy.inside, prefix=b"taker") as publisher:

        def publish() -> None:
            while not stop.wait(0.02):
                publisher("event", {"seq_num": 1})

        thread = threading.Thread(target=publish)
        thread.start()
        try:
            with pytest.raises(OSError, match="disk is full"):
                source.run(take)
        finally:
            stop.set()
            thread.join()


@pytest.mark.parametrize("address", ["", "host", "host:port", "tcp://host", "http://host:80", 5577])
def test_an_address_that_cannot_be_is_refused(address: Any) -> None:
    for make in (ZmqSource, zmq_publisher):
        with pytest.raises(RecipeError, match="host:port"):
            make(address)


@pytest.mark.parametrize("prefix", [b"a b", "text"])
def test_a_prefix_that_cannot_be_is_refused(prefix: Any) -> None:
    with pytest.raises(RecipeError, match="prefix"):
        ZmqSource("localhost:5578", prefix)


@pytest.fixture(scope="module")
def keys(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A directory with keys of the server, of a client that is known, and of a stranger."""
    directory = tmp_path_factory.mktemp("keys")
    (directory / "known").mkdir()
    for name in ("server", "client", "stranger"):
        zmq.auth.create_certificates(directory, name)
    shutil.copy(directory / "client.key", directory / "known")
    return directory


@contextmanager
def locked(side: str, keys: Path) -> Iterator[ProxyServer]:
    """A proxy that asks for keys on one side; bluesky's cannot do that on both."""
    options = [f"--{side}-curve-secret", str(keys / "server.key_secret")]
    options += [f"--{side}-curve-client-keys", str(keys / "known")]
    with zmq_proxy(*options) as server:
        yield server


def curves(keys: Path) -> tuple[ClientCurve, list[ClientCurve | None]]:
    """The right keys, and wrong ones: a stranger's, for another server, none."""
    client, stranger = keys / "client.key_secret", keys / "stranger.key_secret"
    server = keys / "server.key"
    wrong = [ClientCurve(stranger, server), ClientCurve(client, keys / "stranger.key"), None]
    return ClientCurve(client, server), wrong


def test_only_who_has_the_keys_gets_documents(keys: Path, collect: Collect) -> None:
    right, wrong = curves(keys)
    with (
        locked("out", keys) as proxy,
        zmq_publisher(proxy.inside) as publisher,
        ExitStack() as stack,
    ):
        got = collect(ZmqSource(proxy.outside, curve=right))
        strangers = [ZmqSource(proxy.outside, curve=curve) for curve in wrong]
        nothing = [stack.enter_context(collected(source)) for source in strangers]
        wait_until(lambda: all("CURVE" in source.state for source in strangers))
        subscribe(publisher, got)
        publisher("event", {"seq_num": 1})
        wait_until(lambda: got)
    assert got == [("event", {"seq_num": 1})]
    assert nothing == [[], [], []]
    assert "it refuses our CURVE key" in strangers[0].state


def test_only_who_has_the_keys_publishes(keys: Path, collect: Collect) -> None:
    right, wrong = curves(keys)
    with locked("in", keys) as proxy:
        got = collect(ZmqSource(proxy.outside))
        for curve in wrong:
            with zmq_publisher(proxy.inside, curve=curve, timeout=0.1) as stranger:
                stranger("event", {"seq_num": 1})
            assert stranger.lost == 1
        with zmq_publisher(proxy.inside, curve=right) as publisher:
            subscribe(publisher, got)
            publisher("event", {"seq_num": 2})
            wait_until(lambda: got)
        assert publisher.lost == 0
    assert got == [("event", {"seq_num": 2})]


def test_keys_that_cannot_be_are_refused(keys: Path) -> None:
    for secret in ("missing.key", "client.key"):
        with pytest.raises(RecipeError, match="key"):
            ZmqSource("localhost:5578", curve=ClientCurve(keys / secret, keys / "server.key"))
