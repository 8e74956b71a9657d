"""Documents over a stream in Redis."""

from __future__ import annotations

import pickle
import time
from typing import Any

import numpy as np
import pytest
import redis

from bluesky_azint.callbacks.transports import RedisPublisher, RedisSource, pack
from bluesky_azint.errors import RecipeError
from tests.callbacks.transports.collected import Collect, Documents, RunScan, collected
from tests.servers import RedisServer, free_ports, wait_until


def numbers(documents: Documents) -> list[int]:
    return [doc["seq_num"] for _, doc in documents]


def test_a_scan_arrives_as_it_was(
    redis_for_all: RedisServer, collect: Collect, run_scan: RunScan
) -> None:
    source = RedisSource(redis_for_all.url, "scan")
    got = collect(source)
    with RedisPublisher(redis_for_all.url, "scan") as publisher:
        given = run_scan(publisher)
        assert publisher.flush(20)
        wait_until(lambda: len(got) == len(given))
    assert got == given
    assert [name for name, _ in got] == ["start", "descriptor", *5 * ["event"], "stop"]
    assert (publisher.lost, source.refused, source.gaps) == (0, 0, 0)


def test_arrays_arrive_as_they_were(redis_for_all: RedisServer, collect: Collect) -> None:
    got = collect(RedisSource(redis_for_all.url, "array"))
    frame = np.arange(12, dtype=">u2").reshape(3, 4)
    with RedisPublisher(redis_for_all.url, "array") as publisher:
        publisher("event", {"data": {"frame": frame}})
        frame[:] = 0  # a device may use its array again
        wait_until(lambda: got)
    np.testing.assert_array_equal(got[0][1]["data"]["frame"], np.arange(12).reshape(3, 4))


def test_nothing_is_lost_when_redis_is_killed(redis_alone: RedisServer, collect: Collect) -> None:
    source = RedisSource(redis_alone.url)
    got = collect(source)
    with RedisPublisher(redis_alone.url) as publisher:
        for number in range(2000):
            publisher("event", {"seq_num": number})
            if number in (700, 1400):
                redis_alone.kill()
            if number in (900, 1600):
                assert publisher.health.pending >= 200
                redis_alone.start()
                wait_until(lambda: not publisher.health.pending)
        assert publisher.flush(20)
    wait_until(lambda: numbers(got)[-1:] == [1999])
    # One that was on its way when Redis was killed may come again at once.
    once = [
        number
        for number, after in zip(numbers(got), [*numbers(got)[1:], -1], strict=True)
        if number != after
    ]
    assert once == list(range(2000))
    assert len(got) <= 2002
    assert (publisher.lost, source.gaps) == (0, 0)


def test_a_reader_goes_on_where_it_was(redis_for_all: RedisServer) -> None:
    with RedisPublisher(redis_for_all.url, "again") as publisher:
        for number in range(100):
            publisher("event", {"seq_num": number})
    positions = ["0-0"]
    done: list[int] = []
    deaths = [10, 41, 77]

    def take(name: str, doc: dict[str, Any]) -> None:
        if len(done) in deaths:
            deaths.remove(len(done))
            raise KeyboardInterrupt
        done.append(doc["seq_num"])

    while deaths:
        source = RedisSource(redis_for_all.url, "again", positions[-1], positions.append)
        with pytest.raises(KeyboardInterrupt):
            source.run(take)
    assert len(done) == 77
    assert len(positions) == 1 + 77
    with collected(RedisSource(redis_for_all.url, "again", positions[-1])) as rest:
        wait_until(lambda: len(rest) >= 23)
    assert done + numbers(rest) == list(range(100))


def test_a_reader_of_what_comes_leaves_what_was(
    redis_for_all: RedisServer, collect: Collect
) -> None:
    with RedisPublisher(redis_for_all.url, "end") as publisher:
        publisher("event", {"seq_num": 1})
        assert publisher.flush(20)
        got = collect(RedisSource(redis_for_all.url, "end", "$"))
        publisher("event", {"seq_num": 2})
        wait_until(lambda: got)
    assert numbers(got) == [2]


def test_rubbish_is_left_out(
    redis_for_all: RedisServer, collect: Collect, caplog: pytest.LogCaptureFixture
) -> None:
    positions: list[str] = []
    source = RedisSource(redis_for_all.url, "rubbish", moved=positions.append)
    got = collect(source)
    with redis.Redis.from_url(redis_for_all.url) as client:
        for fields in (
            {"colour": "blue"},
            {"name": "event"},
            {"name": "evnt", "doc": pack({})},
            {"name": "event", "doc": b"rubbish"},
            {"name": "event", "doc": pickle.dumps({"seq_num": 1})},
            {"name": "event", "doc": pack({"seq_num": 2})},
        ):
            client.xadd("rubbish", fields)
    wait_until(lambda: got)
    wait_until(lambda: len(positions) == 6)
    assert numbers(got) == [2]
    assert source.refused == 5
    assert "pickled" in caplog.text


def test_what_was_removed_before_it_was_read_is_told(
    redis_for_all: RedisServer, collect: Collect, caplog: pytest.LogCaptureFixture
) -> None:
    with redis.Redis.from_url(redis_for_all.url) as client:
        ids: list[bytes] = [
            client.xadd("trimmed", {"name": "event", "doc": pack({"seq_num": number})})
            for number in range(10)
        ]
        client.xtrim("trimmed", maxlen=5, approximate=False)
    unharmed = RedisSource(redis_for_all.url, "trimmed", ids[5].decode())
    harmed = RedisSource(redis_for_all.url, "trimmed", ids[2].decode())
    rest, what_is_left = collect(unharmed), collect(harmed)
    wait_until(lambda: len(rest) == 4 and len(what_is_left) == 5)
    assert (unharmed.gaps, harmed.gaps) == (0, 1)
    assert "may have been removed before it was read" in caplog.text


def test_the_stream_keeps_no_more_than_it_should(redis_for_all: RedisServer) -> None:
    with RedisPublisher(redis_for_all.url, "short", max_length=100) as publisher:
        for number in range(500):
            publisher("event", {"seq_num": number})
    with redis.Redis.from_url(redis_for_all.url) as client:
        assert 100 <= client.xlen("short") <= 250


def test_a_stream_that_lost_its_last_entries_is_read_from_its_beginning(
    redis_for_all: RedisServer, collect: Collect
) -> None:
    with RedisPublisher(redis_for_all.url, "emptied") as publisher:
        publisher("event", {"seq_num": 1})
    later = f"{round(1000 * time.time()) + 10**6}-0"
    source = RedisSource(redis_for_all.url, "emptied", later)
    got = collect(source)
    wait_until(lambda: got)
    assert numbers(got) == [1]
    assert source.gaps == 1


def test_a_publisher_without_redis_keeps_documents_and_gives_up_when_closed(
    caplog: pytest.LogCaptureFixture,
) -> None:
    (port,) = free_ports(1)
    publisher = RedisPublisher(f"redis://127.0.0.1:{port}")
    for number in range(3):
        publisher("event", {"seq_num": number})
    assert not publisher.flush(0.05)
    assert publisher.health.pending == 3
    assert not publisher.close(0.05)
    assert publisher.lost == 3
    assert "3 documents did not get to" in caplog.text


@pytest.mark.parametrize(("setting", "warnings"), [("always", 0), ("everysec", 1)])
def test_a_redis_that_may_forget_is_told(
    redis_for_all: RedisServer, caplog: pytest.LogCaptureFixture, setting: str, warnings: int
) -> None:
    with redis.Redis.from_url(redis_for_all.url) as client:
        client.config_set("appendfsync", setting)
        with RedisPublisher(redis_for_all.url, "told") as publisher:
            for number in range(3):
                publisher("event", {"seq_num": number})
        client.config_set("appendfsync", "always")
    assert caplog.text.count("set appendonly yes and appendfsync always") == warnings


def test_what_no_message_can_carry_is_lost_and_told(
    redis_for_all: RedisServer, caplog: pytest.LogCaptureFixture
) -> None:
    with RedisPublisher(redis_for_all.url, "lost") as publisher:
        publisher("start", {"uid": "0f3a", "when": {1, 2}})
    assert publisher.lost == 1
    assert "{1, 2}" in caplog.text
    assert "0f3a" in caplog.text


def test_a_stream_that_is_none_is_waited_for(redis_for_all: RedisServer) -> None:
    source = RedisSource(redis_for_all.url, "text")
    with redis.Redis.from_url(redis_for_all.url) as client:
        client.set("text", "no stream")
        with collected(source) as got:
            wait_until(lambda: "WRONGTYPE" in source.state)
            client.delete("text")
            client.xadd("text", {"name": "event", "doc": pack({"seq_num": 1})})
            wait_until(lambda: got)
    assert source.state == "connected"


@pytest.mark.parametrize("url", ["", "localhost:6379", "http://localhost", "redis://host:port"])
def test_an_address_that_cannot_be_is_refused(url: str) -> None:
    for make in (RedisSource, RedisPublisher):
        with pytest.raises(RecipeError, match="redis://host:6379"):
            make(url)


@pytest.mark.parametrize("position", ["", "last", "1-2-3", "-1"])
def test_a_position_that_cannot_be_is_refused(position: str) -> None:
    with pytest.raises(RecipeError, match="position"):
        RedisSource("redis://localhost", position=position)


def test_no_password_is_shown(caplog: pytest.LogCaptureFixture) -> None:
    (port,) = free_ports(1)
    source = RedisSource(f"redis://:secret@127.0.0.1:{port}")
    with collected(source):
        wait_until(lambda: "(" in source.state)
    assert f"127.0.0.1:{port}" in source.state
    assert "secret" not in source.state + caplog.text + repr(source)
