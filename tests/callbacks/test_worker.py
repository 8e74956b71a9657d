"""A slow, failing or hanging callback: the scan does not notice, and no document is lost."""

from __future__ import annotations

import logging
import os
import signal
import subprocess
import sys
import threading
import time
import tracemalloc
import weakref
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import bluesky.plans as bp
import numpy as np
import pytest
from bluesky import RunEngine
from bluesky.run_engine import RunEngineResult
from ophyd.sim import SynSignal

from bluesky_azint.callbacks.worker import BackgroundCallback, Failure

MEGABYTE = 2**20


class Gate:
    """A callback that keeps what it gets, and waits before each document until it is opened."""

    def __init__(self) -> None:
        self.opened = threading.Event()
        self.documents: list[tuple[str, Any]] = []

    def __call__(self, name: str, doc: Any) -> None:
        assert self.opened.wait(60)
        self.documents.append((name, doc))


@pytest.fixture
def gate() -> Iterator[Gate]:
    gate = Gate()
    yield gate
    gate.opened.set()


def events(count: int, pixels: int = 4) -> Iterator[dict[str, Any]]:
    for number in range(count):
        frame = np.full(pixels, number, dtype="u1")
        yield {"uid": str(number), "descriptor": "d", "seq_num": number + 1, "data": {"x": frame}}


def test_documents_keep_their_order(tmp_path: Path, gate: Gate) -> None:
    """Whether they wait in memory or on disk."""
    with BackgroundCallback(
        gate, name="test", max_bytes=10_000, spill_directory=tmp_path
    ) as callback:
        for number, event in enumerate(events(50, pixels=2000)):
            callback("event", event)
            callback("stop", {"uid": f"stop {number}", "run_start": "r"})
        assert 0 < callback.health.spilled < 100
        gate.opened.set()
    assert [name for name, _ in gate.documents] == ["event", "stop"] * 50
    for number, event in enumerate(events(50, pixels=2000)):
        seen = gate.documents[2 * number][1]
        np.testing.assert_array_equal(seen["data"]["x"], event["data"]["x"])
        assert seen["data"]["x"].dtype == np.uint8
        assert gate.documents[2 * number + 1][1]["uid"] == f"stop {number}"
    assert list(tmp_path.iterdir()) == []


def test_a_hanging_callback_does_not_slow_a_scan(run_engine: RunEngine, gate: Gate) -> None:
    """The whole scan is over before the callback has done its first document."""
    detector = SynSignal(name="camera", func=lambda: np.zeros((100, 100)))
    with BackgroundCallback(gate, name="test") as callback:
        run_engine.subscribe(callback)  # type: ignore[no-untyped-call]
        result = run_engine(bp.count([detector], 20))
        assert isinstance(result, RunEngineResult)
        assert result.exit_status == "success"
        assert gate.documents == []
        assert callback.health.pending == 23
        gate.opened.set()
        assert callback.flush(30)
        assert len(gate.documents) == 23


def test_a_failing_callback_does_not_abort_a_scan(
    run_engine: RunEngine, caplog: pytest.LogCaptureFixture
) -> None:
    def fail(name: str, doc: Any) -> None:
        seen.append(name)
        if name != "start":
            raise ZeroDivisionError("the detector is upside down")

    seen: list[str] = []
    told: list[Failure] = []
    detector = SynSignal(name="camera", func=lambda: np.zeros((3, 3)))
    with BackgroundCallback(fail, name="reduction", on_error=told.append) as callback:
        run_engine.subscribe(callback)  # type: ignore[no-untyped-call]
        result = run_engine(bp.count([detector], 3))
        assert callback.flush(30)
    assert isinstance(result, RunEngineResult)
    assert result.exit_status == "success"
    assert seen == ["start", "descriptor", "event", "event", "event", "stop"]
    assert callback.errors == tuple(told)
    assert [failure.document for failure in told] == seen[1:]
    assert {failure.run for failure in told} == set(result.run_start_uids)
    assert told[0].message == "the detector is upside down"
    assert "ZeroDivisionError" in told[0].details
    assert callback.health.failed == 5
    assert callback.health.done == 6
    records = [r for r in caplog.records if r.name == "bluesky_azint.callbacks.worker"]
    assert len(records) == 5
    assert f"reduction failed with a document 'event' of run {told[0].run}" in caplog.text
    assert caplog.text.count("Traceback") == 1  # the others say the same


@pytest.mark.parametrize("error", [KeyboardInterrupt, SystemExit, GeneratorExit, MemoryError])
def test_no_exception_ends_the_thread(error: type[BaseException]) -> None:
    def fail(name: str, doc: Any) -> None:
        seen.append(name)
        raise error

    def fail_again(failure: Failure) -> None:
        raise RuntimeError(failure.message)

    seen: list[str] = []
    with BackgroundCallback(fail, name="test", on_error=fail_again) as callback:
        callback("start", {"uid": "r"})
        callback("stop", {"uid": "s", "run_start": "r"})
    assert seen == ["start", "stop"]
    assert [failure.message for failure in callback.errors] == [error.__name__] * 2
    assert [failure.run for failure in callback.errors] == ["r", "r"]


def test_a_document_that_is_done_is_not_kept() -> None:
    arrays: list[weakref.ref[Any]] = []
    with BackgroundCallback(
        lambda name, doc: arrays.append(weakref.ref(doc["data"]["x"])), name="test"
    ) as callback:
        callback("event", next(events(1)))
        assert callback.flush(30)
        assert arrays[0]() is None


def test_failures_keep_no_frame_in_memory() -> None:
    def fail(name: str, doc: Any) -> None:
        frame = doc["data"]["x"].copy()
        raise ValueError(f"{frame.shape} {doc['uid']}")

    tracemalloc.start()
    try:
        with BackgroundCallback(fail, name="test") as callback:
            for event in events(50, pixels=MEGABYTE):
                callback("event", event)
                callback.flush()
            held, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert callback.health.failed == 50
    assert held < 5 * MEGABYTE


def test_memory_is_bounded(tmp_path: Path, gate: Gate) -> None:
    """200 MB of frames wait in 8 MB of memory, and come back bit for bit."""
    tracemalloc.start()
    try:
        with BackgroundCallback(
            gate, name="test", max_bytes=8 * MEGABYTE, spill_directory=tmp_path
        ) as callback:
            for event in events(200, pixels=MEGABYTE):
                callback("event", event)
                assert callback.health.bytes_held <= 8 * MEGABYTE
            _, peak = tracemalloc.get_traced_memory()
            health = callback.health
            on_disk = sum(file.stat().st_size for file in tmp_path.rglob("*.pickle"))
            gate.documents = checked = Checked()
            gate.opened.set()
    finally:
        tracemalloc.stop()
    assert peak < 12 * MEGABYTE
    assert health.pending == 200
    assert health.spilled == 193
    assert on_disk == pytest.approx(193 * MEGABYTE, rel=0.01)
    assert checked.seen == 200
    assert callback.health.bytes_held == 0
    assert list(tmp_path.iterdir()) == []


class Checked(list[tuple[str, Any]]):
    """Forgets documents as soon as it has seen that they are right."""

    seen = 0

    def append(self, document: tuple[str, Any]) -> None:
        _, event = document
        assert np.all(event["data"]["x"] == event["seq_num"] - 1)
        self.seen += 1


def test_without_room_on_disk_documents_stay_in_memory(
    tmp_path: Path, gate: Gate, caplog: pytest.LogCaptureFixture
) -> None:
    with BackgroundCallback(
        gate, name="test", max_bytes=10, spill_directory=tmp_path / "no-such"
    ) as callback:
        for event in events(3):
            callback("event", event)
        gate.opened.set()
    assert [event["seq_num"] for _, event in gate.documents] == [1, 2, 3]
    assert "is kept in memory beyond the limit of 10 bytes" in caplog.text
    assert callback.health.spilled == 0


def test_a_spilled_document_that_is_gone(tmp_path: Path, gate: Gate) -> None:
    with BackgroundCallback(gate, name="test", max_bytes=10, spill_directory=tmp_path) as callback:
        callback("descriptor", {"uid": "d", "run_start": "r"})
        for event in events(3):
            callback("event", event)
        (file,) = tmp_path.rglob("2.pickle")
        file.unlink()
        gate.opened.set()
    assert [doc["uid"] for _, doc in gate.documents] == ["d", "0", "2"]
    (failure,) = callback.errors
    assert (failure.run, failure.document) == ("r", "event")
    assert "No such file" in failure.message


def test_documents_may_change_after_they_were_given(gate: Gate) -> None:
    frame = np.zeros((4, 4))
    with BackgroundCallback(gate, name="test") as callback:
        for number in range(3):
            frame[:] = number
            callback("event", {"uid": "e", "data": {"x": frame}})
        gate.opened.set()
    assert [doc["data"]["x"].max() for _, doc in gate.documents] == [0, 1, 2]


def test_health(gate: Gate) -> None:
    with BackgroundCallback(gate, name="test") as callback:
        assert callback.health.lag == 0
        for event in events(3, pixels=1000):
            callback("event", event)
        time.sleep(0.05)
        health = callback.health
        assert (health.pending, health.done, health.failed, health.spilled) == (3, 0, 0, 0)
        assert 3000 < health.bytes_held < 9000
        assert 0.05 <= health.lag < 5
        gate.opened.set()
        assert callback.flush(30)
        health = callback.health
        assert (health.pending, health.done, health.bytes_held, health.lag) == (0, 3, 0, 0)


def test_flush_and_close_wait_no_longer_than_allowed(gate: Gate) -> None:
    callback = BackgroundCallback(gate, name="test")
    assert callback.flush(0)
    callback("start", {"uid": "r"})
    begin = time.monotonic()
    assert not callback.flush(0.05)
    assert not callback.close(0.05)
    assert time.monotonic() - begin < 5
    gate.opened.set()
    assert callback.close(30)
    assert len(gate.documents) == 1
    assert callback.close()  # once more does no harm


def test_nothing_is_taken_after_close(caplog: pytest.LogCaptureFixture, gate: Gate) -> None:
    gate.opened.set()
    callback = BackgroundCallback(gate, name="reduction")
    callback.close()
    callback("start", {"uid": "0f3a"})
    assert gate.documents == []
    assert "reduction is closed: a document 'start' of run 0f3a is not handed on" in caplog.text


def test_no_document_is_too_odd(gate: Gate) -> None:
    gate.opened.set()
    with BackgroundCallback(gate, name="test") as callback:
        callback("start", {})
        callback("event", {"data": {"x": object()}})
        callback("event", None)  # type: ignore[arg-type]
        callback("stop", {})
    assert [name for name, _ in gate.documents] == ["start", "event", "stop"]
    assert callback.health.failed == 1


def test_waiting_can_be_interrupted(gate: Gate) -> None:
    """By Ctrl-C; the documents are not affected."""
    with BackgroundCallback(gate, name="test") as callback:
        callback("start", {"uid": "r"})
        for wait in (callback.flush, callback.close):
            timer = threading.Timer(0.1, os.kill, (os.getpid(), signal.SIGINT))
            timer.start()
            with pytest.raises(KeyboardInterrupt):
                wait(60)
            timer.join()
        gate.opened.set()
    assert len(gate.documents) == 1


def run_script(text: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-W", "error", "-c", text],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


FORGOTTEN = """
import time
import bluesky_azint.callbacks.worker as worker

worker.EXIT_SECONDS = {limit}

def slow(name, doc):
    time.sleep({pause})
    print(doc["uid"], flush=True)

callback = worker.BackgroundCallback(slow, name="reduction", max_bytes=100)
for number in range(5):
    callback("start", dict(uid=f"run {{number}}"))
{end}
"""


@pytest.mark.parametrize(("end", "code"), [("", 0), ("raise SystemExit(3)", 3), ("1 / 0", 1)])
def test_a_forgotten_close_loses_nothing(end: str, code: int) -> None:
    done = run_script(FORGOTTEN.format(limit=30, pause=0.05, end=end))
    assert done.returncode == code
    assert done.stdout.splitlines() == [f"run {number}" for number in range(5)]
    assert "reduction was not closed; its last 5 documents are done now" in done.stderr


def test_a_forgotten_close_and_a_hanging_callback() -> None:
    """The interpreter ends, and says what is lost."""
    begin = time.monotonic()
    done = run_script(FORGOTTEN.format(limit=0.2, pause=1000, end=""))
    assert time.monotonic() - begin < 30
    assert done.returncode == 0
    assert done.stdout == ""
    assert "reduction is given up after 0.2 s: 5 documents of the runs run 0, run 1" in done.stderr


def test_a_closed_callback_says_nothing_at_exit() -> None:
    done = run_script(FORGOTTEN.format(limit=30, pause=0, end="callback.close()"))
    assert len(done.stdout.splitlines()) == 5
    assert done.stderr == ""


def test_it_is_a_subscriber_that_returns_at_once(gate: Gate) -> None:
    """By the time it takes for a frame of 4 million pixels, which is copied or written to disk."""
    event = next(events(1, pixels=16 * MEGABYTE))
    with BackgroundCallback(gate, name="test", max_bytes=64 * MEGABYTE) as callback:
        begin = time.monotonic()
        for _ in range(6):
            callback("event", event)
        assert time.monotonic() - begin < 5
        assert callback.health.spilled == 3
        gate.opened.set()


def test_the_log_belongs_to_the_module(caplog: pytest.LogCaptureFixture, gate: Gate) -> None:
    gate.opened.set()
    with caplog.at_level(logging.DEBUG), BackgroundCallback(gate, name="test") as callback:
        callback("start", {"uid": "r"})
    assert caplog.records == []
