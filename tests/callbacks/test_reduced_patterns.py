"""The last patterns, for those who wait for one."""

from __future__ import annotations

import threading
import time
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import pytest
from event_model import pack_event_page

from bluesky_azint.callbacks.pattern import Pattern
from bluesky_azint.callbacks.reduced_patterns import ReducedPatterns
from bluesky_azint.errors import ReductionFailed, ReductionTimeout
from tests.callbacks.inline_runs import AZIMUTHAL, RADIAL, InlineRun

SOON = 5.0


def constant(value: float) -> Any:
    return np.full(RADIAL.size, value)


@pytest.fixture
def patterns() -> ReducedPatterns:
    return ReducedPatterns()


def level(pattern: Pattern) -> float:
    """The value of a pattern that is the same everywhere."""
    (value,) = set(pattern.intensity.ravel())
    return float(value)


def test_a_pattern_that_has_come_is_there(patterns: ReducedPatterns) -> None:
    take = InlineRun(patterns, "raw").describe()
    take(1, constant(1.0))
    take(2, np.arange(30.0))
    pattern = patterns.wait("raw", 2, timeout=0.0)
    assert np.array_equal(pattern.intensity, np.arange(30.0))
    assert np.array_equal(pattern.sigma, np.sqrt(np.arange(30.0)))  # type: ignore[arg-type]
    assert np.array_equal(pattern.radial, RADIAL)
    assert (pattern.unit, pattern.azimuthal) == ("q_A^-1", None)
    assert level(patterns.wait("raw", 1, timeout=0.0)) == 1.0


def test_a_cake_without_errors(patterns: ReducedPatterns) -> None:
    cake = np.arange(180.0).reshape(6, 30)
    take = InlineRun(patterns, "raw").describe(azimuthal=AZIMUTHAL, errors=False)
    take(1, cake)
    pattern = patterns.wait("raw", 1, timeout=0.0)
    assert np.array_equal(pattern.intensity, cake)
    assert np.array_equal(pattern.azimuthal, AZIMUTHAL)  # type: ignore[arg-type]
    assert pattern.sigma is None


def test_who_waits_gets_it_when_it_comes(patterns: ReducedPatterns) -> None:
    take = InlineRun(patterns, "raw").describe()
    with ThreadPoolExecutor(8) as pool:
        waiting = [pool.submit(patterns.wait, "raw", number, SOON) for number in (3, 1, 2, 3)]
        time.sleep(0.05)
        assert not any(future.done() for future in waiting)
        for number in (1, 2, 3):
            take(number, constant(number))
        assert [level(future.result()) for future in waiting] == [3.0, 1.0, 2.0, 3.0]
    assert not patterns._waiting


def test_many_threads_at_once(patterns: ReducedPatterns) -> None:
    def run(number: int) -> None:
        run = InlineRun(patterns, f"raw {number}")
        take = run.describe()
        for event in range(1, 51):
            take(event, constant(100 * number + event))
        run.stop()

    with ThreadPoolExecutor(12) as pool:
        waiting = [pool.submit(patterns.wait, f"raw {number}", 50, SOON) for number in range(6)]
        list(pool.map(run, range(6)))
        assert [level(one.result()) for one in waiting] == [50, 150, 250, 350, 450, 550]


def test_what_others_have_is_not_taken(patterns: ReducedPatterns) -> None:
    for raw, key, stream, value in [
        ("raw", "one", "primary", 1.0),
        ("raw", "two", "primary", 2.0),
        ("raw", "one", "monitor", 3.0),
        ("other", "one", "primary", 4.0),
    ]:
        InlineRun(patterns, raw, key).describe(stream)(1, constant(value))
    assert level(patterns.wait("raw", 1, 0.0, data_key="one")) == 1.0
    assert level(patterns.wait("raw", 1, 0.0, data_key="two")) == 2.0
    assert level(patterns.wait("raw", 1, 0.0, stream="monitor")) == 3.0
    assert level(patterns.wait("other", 1, 0.0)) == 4.0
    with pytest.raises(ReductionTimeout, match="'three' in the stream 'primary'"):
        patterns.wait("raw", 1, 0.0, data_key="three")


def test_the_last_one_of_a_rewound_event_counts(patterns: ReducedPatterns) -> None:
    take = InlineRun(patterns, "raw").describe()
    take(1, constant(1.0))
    take(1, constant(2.0))
    assert level(patterns.wait("raw", 1, 0.0)) == 2.0


def test_a_stream_that_goes_on_with_another_geometry_is_the_same_to_who_waits(
    patterns: ReducedPatterns,
) -> None:
    run = InlineRun(patterns, "raw")
    run.describe()(1, constant(1.0))
    run.describe("primary_2")(2, constant(2.0), row=1)
    assert level(patterns.wait("raw", 1, 0.0)) == 1.0
    assert level(patterns.wait("raw", 2, 0.0)) == 2.0
    run.describe("image_5")(1, constant(3.0))  # that is its name
    assert level(patterns.wait("raw", 1, 0.0, stream="image_5")) == 3.0


def test_pages_are_read(patterns: ReducedPatterns) -> None:
    events: list[Any] = []

    def emit(name: str, doc: Any) -> None:
        if name == "event":
            events.append(doc)
        else:
            patterns(name, doc)

    take = InlineRun(emit, "raw").describe()
    take(1, constant(1.0))
    take(2, constant(2.0))
    patterns("event_page", pack_event_page(*events))
    assert level(patterns.wait("raw", 2, 0.0)) == 2.0


def test_a_frame_that_failed_is_told_at_once(patterns: ReducedPatterns) -> None:
    InlineRun(patterns, "raw").describe()(1, constant(np.nan))
    with pytest.raises(ReductionFailed, match=r"event 1 .* could not be reduced"):
        patterns.wait("raw", 1, SOON)


def test_a_run_that_ends_without_the_frame_is_told_with_its_reason(
    patterns: ReducedPatterns,
) -> None:
    run = InlineRun(patterns, "raw", calibrated=False)
    with ThreadPoolExecutor(1) as pool:
        waiting = pool.submit(patterns.wait, "raw", 1, SOON)
        time.sleep(0.05)
        run.stop("fail", "There is no calibration of the detector 'det'.")
        with pytest.raises(ReductionFailed) as told:
            waiting.result()
    for fact in (run.uid, "'fail'", "There is no calibration of the detector 'det'."):
        assert fact in str(told.value)


def test_a_run_that_ended_well_lacks_no_frame_that_came(patterns: ReducedPatterns) -> None:
    run = InlineRun(patterns, "raw")
    run.describe()(1, constant(1.0))
    run.stop()
    assert level(patterns.wait("raw", 1, 0.0)) == 1.0
    with pytest.raises(ReductionFailed, match=r"of event 1 at last.* ended with 'success'"):
        patterns.wait("raw", 2, SOON)


def test_a_run_may_go_on_after_its_end(patterns: ReducedPatterns) -> None:
    """As it does when a service that was killed finds what is missing."""
    run = InlineRun(patterns, "raw")
    run.describe()(1, constant(1.0))
    run.stop("fail")
    patterns("start", run.run.start_doc)
    with pytest.raises(ReductionTimeout):
        patterns.wait("raw", 2, 0.0)
    run.describe()(2, constant(2.0))
    assert level(patterns.wait("raw", 2, 0.0)) == 2.0
    assert level(patterns.wait("raw", 1, 0.0)) == 1.0


def test_a_time_out_tells_what_is_known(patterns: ReducedPatterns) -> None:
    begun = time.monotonic()
    with pytest.raises(ReductionTimeout, match=r"after 0\.1 s.* See that the reduction is running"):
        patterns.wait("raw", 1, 0.1)
    assert 0.1 <= time.monotonic() - begun < 2.0
    run = InlineRun(patterns, "raw", calibrated=False)
    with pytest.raises(ReductionTimeout, match=r"sent no pattern of 'det'.* without a calibration"):
        patterns.wait("raw", 1, 0.0)
    run.describe()(4, constant(1.0))
    with pytest.raises(ReductionTimeout, match="event 4 at last"):
        patterns.wait("raw", 5, 0.0)
    assert not patterns._waiting


def test_memory_is_bounded() -> None:
    patterns = ReducedPatterns(max_bytes=10 * (2 * 30 * 8 + 1000))
    for number in range(300):
        take = InlineRun(patterns, f"raw {number}").describe()
        for event in range(1, 6):
            take(event, constant(event))
    assert len(patterns._frames) == 10
    assert patterns._held <= patterns._max_bytes
    assert len(patterns._runs) == len(patterns._read._runs) == 100
    assert len(patterns._read._streams) <= 1000
    assert level(patterns.wait("raw 299", 5, 0.0)) == 5.0
    with pytest.raises(ReductionTimeout):
        patterns.wait("raw 200", 1, 0.0)


def test_what_is_no_reduced_run_is_passed_over(
    patterns: ReducedPatterns, caplog: pytest.LogCaptureFixture
) -> None:
    patterns("start", {"uid": "raw", "time": 0.0})
    patterns("descriptor", {"uid": "d", "run_start": "raw", "data_keys": {}})
    patterns("event", {"descriptor": "d", "data": {}})
    patterns("stream_datum", {"descriptor": "d"})
    patterns("stop", {"run_start": "raw", "exit_status": "success"})
    assert caplog.text == ""


def test_rubbish_does_not_raise(
    patterns: ReducedPatterns, caplog: pytest.LogCaptureFixture
) -> None:
    run = InlineRun(patterns, "raw")
    take = run.describe()
    descriptor = next(iter(patterns._read._streams))
    patterns("event", {"descriptor": descriptor, "data": {"intensity": "many"}})
    patterns("start", {"analysis_stage": "azint1d", "raw_uid": "x"})
    assert caplog.text.count("cannot be read") == 2
    take(1, constant(1.0))
    assert level(patterns.wait("raw", 1, 0.0)) == 1.0


def test_patterns_in_files_are_not_waited_for_in_silence(
    patterns: ReducedPatterns, caplog: pytest.LogCaptureFixture
) -> None:
    def emit(name: str, doc: Any) -> None:
        if name == "descriptor":
            doc["data_keys"]["intensity"]["external"] = "STREAM:"
        patterns(name, doc)

    InlineRun(emit, "raw").describe()(1, constant(1.0))
    assert "its flavour 'inline'" in caplog.text


class FakeSource:
    """A source of documents that has them already."""

    refused = 0
    state = "waiting for Godot"

    def __init__(self, documents: list[tuple[str, Any]]) -> None:
        self.documents = documents
        self.stopped = threading.Event()

    def run(self, take: Any) -> None:
        for name, doc in self.documents:
            take(name, doc)
        self.stopped.wait()

    def stop(self) -> None:
        self.stopped.set()


def test_a_source_is_followed_until_it_is_closed() -> None:
    documents: list[tuple[str, Any]] = []
    InlineRun(lambda name, doc: documents.append((name, doc)), "raw").describe()(1, constant(1.0))
    with ReducedPatterns() as patterns, ThreadPoolExecutor(1) as pool:
        patterns.follow(FakeSource(documents))
        assert level(patterns.wait("raw", 1, SOON)) == 1.0
        with pytest.raises(ReductionTimeout, match="is waiting for Godot"):
            patterns.wait("raw", 2, 0.0)
        waiting = pool.submit(patterns.wait, "raw", 2, SOON)
        while not patterns._waiting:
            time.sleep(0.001)
        patterns.close()
        with pytest.raises(ReductionFailed, match="Nobody follows"):
            waiting.result()
    assert not [thread for thread in threading.enumerate() if thread.name == "azint-patterns"]
