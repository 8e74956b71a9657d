"""Plans that wait for the reduction of a frame."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from typing import Any

import bluesky.plan_stubs as bps
import bluesky.preprocessors as bpp
import numpy as np
import pytest
from bluesky import RunEngine
from bluesky.utils import MsgGenerator, RunEngineInterrupted
from ophyd.sim import SynSignal

from bluesky_azint.callbacks.pattern import Pattern
from bluesky_azint.callbacks.reduced_patterns import ReducedPatterns
from bluesky_azint.errors import RecipeError, ReductionFailed, ReductionTimeout
from bluesky_azint.plans.waiting import connected, opened_patterns, wait_for_reduction
from tests.callbacks.inline_runs import InlineRun


class Reduction:
    """Stands in for a reduction: gives a pattern of each event, some time after it."""

    def __init__(self, patterns: ReducedPatterns, seconds: float = 0.0) -> None:
        self.patterns = patterns
        self.seconds = seconds
        self.fails = ""  # the reason
        self.threads: list[threading.Thread] = []
        self.events: list[int] = []

    def __call__(self, name: str, doc: dict[str, Any]) -> None:
        if name == "start":
            self.run = InlineRun(self.patterns, doc["uid"])
            self.take = self.run.describe()
        elif name == "event":
            self.events.append(doc["seq_num"])
            timer = threading.Timer(self.seconds, self.reduce, [doc["seq_num"], doc["data"]])
            self.threads.append(timer)
            timer.start()

    def reduce(self, seq_num: int, data: dict[str, Any]) -> None:
        if self.fails:
            self.run.stop("fail", self.fails)
        else:
            self.take(seq_num, np.full(30, data["det"]))


@pytest.fixture
def patterns() -> ReducedPatterns:
    return ReducedPatterns()


@pytest.fixture
def reduction(run_engine: RunEngine, patterns: ReducedPatterns) -> Iterator[Reduction]:
    reduction = Reduction(patterns)
    run_engine.subscribe(reduction)  # type: ignore[no-untyped-call]
    yield reduction
    for thread in reduction.threads:
        thread.join()


@pytest.fixture(autouse=True)
def asyncio_is_silent(caplog: pytest.LogCaptureFixture) -> Iterator[None]:
    """No exception is lost in the loop."""
    yield
    assert not [record for record in caplog.records if record.name in ("asyncio", "concurrent")]


def counting(patterns: ReducedPatterns, points: int, seen: list[Pattern], **options: Any) -> Any:
    """A plan that waits for the pattern of each of its events."""
    values = iter(range(100))
    det: Any = SynSignal(name="det", func=lambda: next(values))

    def plan() -> MsgGenerator[None]:
        uid: str = yield from bps.open_run({})
        for number in range(1, points + 1):
            yield from bps.checkpoint()
            yield from bps.trigger_and_read([det])
            pattern = yield from wait_for_reduction(patterns, uid, number, **options)
            seen.append(pattern)

    wrapped = bpp.finalize_wrapper(plan(), bps.close_run)  # type: ignore[no-untyped-call]
    return bpp.stage_wrapper(wrapped, [det])  # type: ignore[no-untyped-call]


def test_the_pattern_of_each_event_comes(
    run_engine: RunEngine, patterns: ReducedPatterns, reduction: Reduction
) -> None:
    reduction.seconds = 0.02
    seen: list[Pattern] = []
    run_engine(counting(patterns, 5, seen))
    assert [pattern.intensity[0] for pattern in seen] == [1, 2, 3, 4, 5]


def test_the_loop_goes_on_meanwhile(
    run_engine: RunEngine, patterns: ReducedPatterns, reduction: Reduction
) -> None:
    reduction.seconds = 0.3
    ticks: list[float] = []

    def tick() -> None:
        ticks.append(time.monotonic())
        if len(ticks) < 25:
            run_engine.loop.call_later(0.01, tick)

    run_engine.loop.call_soon_threadsafe(tick)
    run_engine(counting(patterns, 1, []))
    assert len(ticks) > 10


def test_a_pause_takes_no_frame_again(
    run_engine: RunEngine, patterns: ReducedPatterns, reduction: Reduction
) -> None:
    reduction.seconds = 0.3
    seen: list[Pattern] = []
    pause = threading.Timer(0.1, run_engine.request_pause)
    pause.start()
    with pytest.raises(RunEngineInterrupted):
        run_engine(counting(patterns, 2, seen))
    assert (reduction.events, seen) == ([1], [])
    run_engine.resume()  # type: ignore[no-untyped-call]
    pause.join()
    assert reduction.events == [1, 2]
    assert [pattern.intensity[0] for pattern in seen] == [1, 2]


@pytest.mark.parametrize("end", ["abort", "stop"])
def test_waiting_can_be_ended(
    run_engine: RunEngine, patterns: ReducedPatterns, reduction: Reduction, end: str
) -> None:
    reduction.seconds = 0.5
    pause = threading.Timer(0.1, run_engine.request_pause)
    pause.start()
    with pytest.raises(RunEngineInterrupted):
        run_engine(counting(patterns, 2, []))
    begun = time.monotonic()
    getattr(run_engine, end)()
    pause.join()
    assert time.monotonic() - begun < 0.4
    assert not patterns._waiting


def test_a_time_out_fails_the_run_and_says_why(
    run_engine: RunEngine, patterns: ReducedPatterns
) -> None:
    stops: list[Any] = []
    run_engine.subscribe(lambda name, doc: stops.append(doc), "stop")  # type: ignore[no-untyped-call]
    begun = time.monotonic()
    with pytest.raises(ReductionTimeout, match=r"event 1 .* after 0\.2 s.* is running"):
        run_engine(counting(patterns, 2, [], timeout=0.2))
    assert 0.2 <= time.monotonic() - begun < 2.0
    assert not patterns._waiting


def test_a_reduction_that_fails_ends_the_waiting_with_its_reason(
    run_engine: RunEngine, patterns: ReducedPatterns, reduction: Reduction
) -> None:
    reduction.seconds, reduction.fails = 0.1, "There is no calibration of the detector 'det'."
    begun = time.monotonic()
    with pytest.raises(ReductionFailed, match="There is no calibration of the detector 'det'"):
        run_engine(counting(patterns, 2, []))
    assert time.monotonic() - begun < 5.0


def test_addresses() -> None:
    with pytest.raises(RecipeError, match="no address"), opened_patterns("tcp://nowhere"):
        pass
    with opened_patterns("redis://127.0.0.1:1/0#reduced") as patterns:
        ((source, _),) = patterns._sources
        assert (source.stream, source.position) == ("reduced", "$")  # type: ignore[attr-defined]
        assert patterns.unconnected
    known = ReducedPatterns()
    with opened_patterns(known) as patterns:
        assert patterns is known


def test_without_a_bus_nothing_begins(run_engine: RunEngine) -> None:
    def plan() -> MsgGenerator[None]:
        with opened_patterns("tcp://127.0.0.1:1") as patterns:
            yield from connected(patterns, 0.2)

    with pytest.raises(ReductionTimeout, match=r"waiting for the 0MQ proxy at .*127"):
        run_engine(plan())
