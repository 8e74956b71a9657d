"""Numbers beside frames: where they are looked for, and when they are there."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from bluesky_azint.callbacks.companions.companions import Companions
from bluesky_azint.callbacks.companions.config import CompanionsConfig
from tests.callbacks.companions.raw_runs import NUMBER, STREAMED, RawRun, feed, only

MONITOR = CompanionsConfig.from_dict({"monitor": "i0"})


def companions(**values: Any) -> Companions:
    """Companions of a configuration; a file that is not there is not waited for."""
    config = CompanionsConfig.from_dict(values or {"monitor": "i0"})
    return Companions(config, timeout=0.0)


def test_a_frame_is_divided_by_the_monitor_of_its_event(raw_run: RawRun) -> None:
    given = companions()
    feed(given, ("start", raw_run.start), ("descriptor", raw_run.descriptor(i0=NUMBER)))
    feed(given, *(("event", raw_run.event(n, i0=10.0 * n)) for n in (1, 2, 3)))
    found = only(given.conditions(raw_run.batch(3, 1, 2)))
    assert found.normalization.tolist() == [30.0, 10.0, 20.0]
    assert found.provenance["readings"] == {"monitor": ["i0 of the events"]}


def test_several_monitors_are_multiplied_and_each_has_its_zero(raw_run: RawRun) -> None:
    given = companions(monitor=[{"key": "i0", "scale": 0.5, "zero": 4}, "seconds"])
    feed(given, ("start", {**raw_run.start, "seconds": 2}))
    feed(given, ("descriptor", raw_run.descriptor(i0=NUMBER)))
    feed(given, ("event", raw_run.event(1, i0=10)))
    assert only(given.conditions(raw_run.batch(1))).normalization.tolist() == [(10 - 4) / 2 * 2]


PLACES = ["events", "file", "baseline", "configuration", "start"]


@pytest.mark.parametrize("place", range(len(PLACES)), ids=PLACES)
def test_the_first_place_of_the_order_counts(raw_run: RawRun, place: int) -> None:
    given = companions()
    own: list[dict[str, Any]] = [{"i0": NUMBER}, {"i0": STREAMED}, {}, {}, {}]
    raw_run.write(i0=[7.0, 8.0])
    feed(given, ("start", {**raw_run.start, "i0": 5.0}))
    if place <= 2:
        feed(given, ("descriptor", raw_run.descriptor("baseline", i0=NUMBER)))
        feed(given, ("event", raw_run.event(1, name="baseline", i0=3.0)))
    configuration = {"i0": 4.0} if place <= 3 else {}
    feed(given, ("descriptor", raw_run.descriptor(configuration=configuration, **own[place])))
    if place == 0:
        feed(given, ("event", raw_run.event(1, i0=1.0)))
    if place == 1:
        feed(given, ("stream_resource", raw_run.resource("i0", "i0")))
        feed(given, ("stream_datum", raw_run.datum(1, 2, data_key="i0")))
    expected = [1.0, 7.0, 3.0, 4.0, 5.0][place]
    assert only(given.conditions(raw_run.batch(1))).normalization.tolist() == [expected]


def test_the_baseline_counts_as_it_is_first_read(raw_run: RawRun) -> None:
    given = companions()
    feed(given, ("start", raw_run.start))
    feed(given, ("descriptor", raw_run.descriptor("baseline", i0=NUMBER)))
    feed(given, ("event", raw_run.event(1, name="baseline", i0=3.0)))
    feed(given, ("event", raw_run.event(2, name="baseline", i0=9.0)))
    feed(given, ("descriptor", raw_run.descriptor()))
    assert only(given.conditions(raw_run.batch(1))).normalization.tolist() == [3.0]


def test_every_frame_of_an_event_has_its_number(raw_run: RawRun) -> None:
    given = companions()
    three = {"dtype": "array", "shape": [3], "external": "STREAM:"}
    raw_run.write(i0=np.arange(1.0, 7.0))
    feed(given, ("start", raw_run.start))
    feed(given, ("descriptor", raw_run.descriptor(frames_per_event=3, i0=three)))
    feed(given, ("stream_resource", raw_run.resource("i0", "i0")))
    feed(given, ("stream_datum", raw_run.datum(1, 2, data_key="i0")))
    found = only(given.conditions(raw_run.batch(2, 1, frames_per_event=3)))
    assert found.normalization.tolist() == [4.0, 5.0, 6.0, 1.0, 2.0, 3.0]


@pytest.mark.parametrize("bad", [0, -2.5, float("nan"), float("inf"), "high", None, [1, 2]])
def test_a_frame_without_a_usable_monitor_is_refused_alone(raw_run: RawRun, bad: Any) -> None:
    given = companions()
    feed(given, ("start", raw_run.start), ("descriptor", raw_run.descriptor(i0=NUMBER)))
    events = [raw_run.event(n, i0=value) for n, value in ((1, 5.0), (2, bad), (3, 6.0))]
    feed(given, *(("event", event) for event in events))
    first, refused, last = given.conditions(raw_run.batch(1, 2, 3))
    assert refused[0].seq_nums.tolist() == [2]
    assert "Event 2 of the stream 'primary'" in refused[1].problem
    assert "the monitor 'i0'" in refused[1].problem
    assert np.isnan(refused[1].normalization).all()
    assert [part.seq_nums.tolist() for part, _ in (first, last)] == [[1], [3]]
    assert [c.normalization.tolist() for _, c in (first, last)] == [[5.0], [6.0]]


def test_what_is_nowhere_is_said_with_the_place_where_it_should_be(raw_run: RawRun) -> None:
    given = companions()
    feed(given, ("start", raw_run.start), ("descriptor", raw_run.descriptor()))
    [(_, found)] = given.conditions(raw_run.batch(4, 5))
    assert found.problem.startswith("No frame of the stream 'primary' can be reduced without")
    assert "correct its name in the configuration" in found.problem
    feed(given, ("descriptor", raw_run.descriptor("i0_monitor", i0=NUMBER)))
    [(_, found)] = given.conditions(raw_run.batch(4, 5))
    assert "It is in the stream 'i0_monitor', which has times of its own" in found.problem


def test_an_event_without_its_number_does_not_fall_back_on_the_start_document(
    raw_run: RawRun,
) -> None:
    given = companions()
    feed(given, ("start", {**raw_run.start, "i0": 5.0}))
    feed(given, ("descriptor", raw_run.descriptor(i0=NUMBER)))
    [(_, found)] = given.conditions(raw_run.batch(1))
    assert "It should be in the events, where it is missing" in found.problem


def test_a_file_without_the_numbers_refuses_the_frames_and_says_why(raw_run: RawRun) -> None:
    given = companions()
    feed(given, ("start", raw_run.start), ("descriptor", raw_run.descriptor(i0=STREAMED)))
    feed(given, ("stream_resource", raw_run.resource("i0", "i0")))
    feed(given, ("stream_datum", raw_run.datum(1, 3, data_key="i0")))
    [(_, found)] = given.conditions(raw_run.batch(1, 2))
    assert "does not give the numbers of its events 0 to 2" in found.problem
    raw_run.write(i0=[1.0, 2.0])
    [(_, found)] = given.conditions(raw_run.batch(1, 2))
    assert "It holds 2 rows, 3 were announced" in found.problem
    raw_run.write(i0=[1.0, 2.0, 3.0])
    assert only(given.conditions(raw_run.batch(1, 2))).normalization.tolist() == [1.0, 2.0]


def test_numbers_from_files_come_again_where_a_run_is_rewound(raw_run: RawRun) -> None:
    given = companions()
    raw_run.write(i0=[[1.0], [2.0], [20.0], [30.0]])
    feed(given, ("start", raw_run.start), ("descriptor", raw_run.descriptor(i0=STREAMED)))
    feed(given, ("stream_resource", raw_run.resource("i0", "i0")))
    feed(given, ("stream_datum", raw_run.datum(1, 2, data_key="i0")))
    assert only(given.conditions(raw_run.batch(2))).normalization.tolist() == [2.0]
    feed(given, ("stream_datum", raw_run.datum(2, 3, data_key="i0", index=2)))
    found = only(given.conditions(raw_run.batch(1, 2, 3)))
    assert found.normalization.tolist() == [1.0, 20.0, 30.0]
