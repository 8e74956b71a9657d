"""Sources that others make."""

from __future__ import annotations

import logging
import queue
import threading
from collections.abc import Callable
from typing import Any

import pytest

from bluesky_azint.callbacks.transports import (
    DispatcherSource,
    source_from_entry,
    unpack,
    zmq_publisher,
)
from bluesky_azint.callbacks.transports.source import BaseSource, Take
from bluesky_azint.errors import FormatError, RecipeError
from tests.callbacks.transports.collected import Collect, collected
from tests.servers import ProxyServer, wait_until

HERE = "tests.callbacks.transports.test_source"


class Dispatcher:
    """Hands on what is put into `bus`; swallows what its callbacks raise; an error in it ends it."""

    bus: queue.Queue[Any]
    made = 0

    def __init__(self) -> None:
        type(self).made += 1
        self.callbacks: list[Callable[[Any, Any], object]] = []
        self.stopped = False

    def subscribe(self, func: Callable[[Any, Any], object]) -> None:
        self.callbacks.append(func)

    def start(self) -> None:
        while not self.stopped:
            try:
                item = self.bus.get(timeout=0.02)
            except queue.Empty:
                continue
            if isinstance(item, Exception):
                raise item
            for callback in self.callbacks:
                try:
                    callback(*item)
                except Exception:  # noqa: BLE001
                    logging.getLogger(__name__).debug("swallowed")

    def stop(self) -> None:
        self.stopped = True


class OwnSource(BaseSource):
    """A source of someone's own."""

    def __init__(self, name: str = "nothing") -> None:
        super().__init__(name)

    def run(self, take: Take) -> None:
        self._stopped.wait()


def fail(**options: Any) -> None:
    raise OSError(f"no such bus: {options}")


@pytest.fixture
def bus(monkeypatch: pytest.MonkeyPatch) -> queue.Queue[Any]:
    """What the next dispatchers hand on."""
    made: queue.Queue[Any] = queue.Queue()
    monkeypatch.setattr(Dispatcher, "bus", made, raising=False)
    monkeypatch.setattr(Dispatcher, "made", 0)
    return made


def test_blueskys_dispatcher_is_a_source(proxy: ProxyServer) -> None:
    source = source_from_entry(
        "bluesky.callbacks.zmq:RemoteDispatcher",
        address=proxy.outside,
        prefix=b"dispatcher",
        deserializer=unpack,
    )
    with collected(source) as got, zmq_publisher(proxy.inside, prefix=b"dispatcher") as publisher:

        def arrives() -> bool:
            publisher("stop", {"uid": "0f3a"})
            return bool(got)

        wait_until(arrives)
    assert got[0] == ("stop", {"uid": "0f3a"})


def test_a_dispatcher_that_fails_is_made_again(
    bus: queue.Queue[Any], collect: Collect, caplog: pytest.LogCaptureFixture
) -> None:
    source = DispatcherSource(Dispatcher, "the bus")
    bus.put(("start", {"uid": "0f3a"}))
    bus.put(ConnectionError("The broker has gone."))
    bus.put(("event", {"uid": "41b7"}))
    bus.put(ConnectionError("The broker has gone."))
    bus.put(("stop", {"uid": "9d1c"}))
    got = collect(source)
    wait_until(lambda: len(got) == 3)
    assert [name for name, _ in got] == ["start", "event", "stop"]
    assert Dispatcher.made == 3
    assert caplog.text.count("The broker has gone.") == 2


def test_one_that_fails_again_and_again_is_told_once_and_asked_ever_more_seldom(
    bus: queue.Queue[Any], caplog: pytest.LogCaptureFixture
) -> None:
    for _ in range(20):
        bus.put(ConnectionError("The broker has gone."))
    source = DispatcherSource(Dispatcher, "the bus")
    thread = threading.Thread(target=source.run, args=(print,))
    thread.start()
    wait_until(lambda: Dispatcher.made == 3)
    source.stop()
    thread.join(1)
    assert not thread.is_alive()
    assert Dispatcher.made <= 4
    assert caplog.text.count("The broker has gone.") == 1


def test_an_error_of_the_taker_ends_the_run(bus: queue.Queue[Any]) -> None:
    for number in range(3):
        bus.put(("event", {"seq_num": number}))
    taken: list[int] = []

    def take(name: str, doc: dict[str, Any]) -> None:
        taken.append(doc["seq_num"])
        raise OSError("The disk is full.")

    with pytest.raises(OSError, match="disk is full"):
        DispatcherSource(Dispatcher, "the bus").run(take)
    assert taken == [0]


def test_a_source_that_was_stopped_before_it_began_ends_at_once(bus: queue.Queue[Any]) -> None:
    bus.put(("event", {}))
    source = source_from_entry(f"{HERE}:Dispatcher")
    source.stop()
    source.run(print)
    assert bus.qsize() == 1


def test_a_source_of_ones_own_is_taken_with_its_options() -> None:
    source = source_from_entry(f"{HERE}:OwnSource", name="the bus")
    assert source.state == "waiting for the bus"


@pytest.mark.parametrize(
    ("entry", "reason"),
    [
        ("no_such_module:bus", "No module"),
        (f"{HERE}:no_such_name", "no_such_name"),
        ("documents", "Give a module"),
        ("", "Give a module"),
        (f"{HERE}:fail", "no such bus: {'topic': 1}"),
        (f"{HERE}:OwnSource", "unexpected keyword"),
        ("builtins:dict", "run"),
    ],
)
def test_an_entry_that_gives_no_source_is_refused(entry: str, reason: str) -> None:
    with pytest.raises(RecipeError) as caught:
        source_from_entry(entry, topic=1)
    assert reason in str(caught.value)
    assert entry in str(caught.value)


def test_a_flood_of_rubbish_does_not_flood_the_log(caplog: pytest.LogCaptureFixture) -> None:
    source = OwnSource("the bus")
    for _ in range(12345):
        source._refuse(FormatError("A message is rubbish."))
    assert source.refused == 12345
    assert caplog.text.count("rubbish") == 9  # 1 to 5, 10, 100, 1000 and 10000
