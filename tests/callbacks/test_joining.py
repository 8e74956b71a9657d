"""Fewer documents say the same."""

from __future__ import annotations

import threading
import time
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from bluesky_azint.callbacks.joining import joined
from bluesky_azint.callbacks.worker import BackgroundCallback

Document = dict[str, Any]


def datum(start: int, stop: int, event: int, resource: str = "r") -> tuple[str, Document]:
    return "stream_datum", {
        "uid": f"{resource}/{start}-{event}",
        "stream_resource": resource,
        "descriptor": "d",
        "indices": {"start": start, "stop": stop},
        "seq_nums": {"start": event, "stop": event + stop - start},
    }


def event(number: int) -> tuple[str, Document]:
    return "event", {"descriptor": "d", "seq_num": number, "data": {}}


def test_datums_that_follow_each_other_become_one() -> None:
    found = joined([datum(0, 1, 1), event(1), datum(1, 3, 2), event(2), event(3), ("stop", {})])
    assert [name for name, _ in found] == ["event", "event", "event", "stream_datum", "stop"]
    assert found[3][1] == datum(0, 3, 1)[1]


def test_detectors_are_joined_apart() -> None:
    found = joined([datum(0, 1, 1), datum(0, 1, 1, "s"), datum(1, 2, 2), datum(1, 2, 2, "s")])
    assert [doc for _, doc in found] == [datum(0, 2, 1)[1], datum(0, 2, 1, "s")[1]]


def test_a_rewind_keeps_its_place() -> None:
    documents = [datum(0, 2, 1), event(1), event(2), datum(2, 3, 2), event(2)]
    assert joined(documents) == [event(1), event(2), datum(0, 2, 1), event(2), datum(2, 3, 2)]


@given(
    st.lists(st.tuples(st.sampled_from("rs"), st.integers(0, 3), st.integers(1, 3)), max_size=20)
)
def test_every_row_is_announced_as_before(steps: list[tuple[str, int, int]]) -> None:
    documents, ends = [], {"r": 0, "s": 0}
    for resource, gap, length in steps:
        start = ends[resource] + gap // 3
        documents.append(datum(start, start + length, start + 1, resource))
        ends[resource] = start + length

    def rows(some: list[tuple[str, Any]]) -> list[tuple[str, int, int]]:
        return sorted(
            (doc["stream_resource"], index, doc["seq_nums"]["start"] + place)
            for _, doc in some
            for place, index in enumerate(range(doc["indices"]["start"], doc["indices"]["stop"]))
        )

    found = joined(documents)
    assert rows(found) == rows(documents)
    assert len(found) <= len(documents)


def test_a_worker_collects_and_joins() -> None:
    seen: list[tuple[str, Any]] = []
    first = threading.Event()

    def callback(name: str, doc: Any) -> None:
        first.set()
        seen.append((name, doc))

    with BackgroundCallback(callback, name="test", collect_seconds=30.0, join=joined) as worker:
        begin = time.monotonic()
        for number in range(5):
            worker(*datum(number, number + 1, number + 1))
        assert worker.health.pending == 5
        assert worker.flush(10.0)
        assert [doc for _, doc in seen] == [datum(0, 5, 1)[1]]
        health = worker.health
        assert (health.done, health.pending, health.bytes_held) == (5, 0, 0)
        assert time.monotonic() - begin < 20.0
