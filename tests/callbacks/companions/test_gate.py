"""The gate: documents wait for the numbers of their frames, and for nothing else."""

from __future__ import annotations

import random
import time

import pytest

from bluesky_azint.callbacks.assets import Document
from bluesky_azint.callbacks.companions.companions import Companions
from bluesky_azint.callbacks.companions.config import CompanionsConfig
from tests.callbacks.companions.raw_runs import NUMBER, STREAMED, RawRun, feed, only


@pytest.fixture
def given() -> Companions:
    """Companions that want a monitor."""
    return Companions(CompanionsConfig.from_dict({"monitor": "i0"}), timeout=0.0)


def begin(given: Companions, raw_run: RawRun, **keys: Document) -> None:
    descriptor = raw_run.descriptor()
    descriptor = {**descriptor, "data_keys": {**descriptor["data_keys"], **keys}}
    named = [("start", raw_run.start), ("descriptor", descriptor)]
    named.append(("stream_resource", raw_run.resource()))
    assert feed(given, *named) == [doc for _, doc in named]


def test_a_step_scan_releases_each_frame_with_its_event(given: Companions, raw_run: RawRun) -> None:
    begin(given, raw_run, i0=NUMBER)
    for n in (1, 2, 3):
        datum, event = raw_run.datum(n), raw_run.event(n, i0=float(n))
        assert feed(given, ("stream_datum", datum)) == []
        assert given.held == 1
        assert feed(given, ("event", event)) == [event, datum]
        assert only(given.conditions(raw_run.batch(n))).normalization.tolist() == [n]
    assert given.held == 0


def test_an_event_that_comes_first_lets_its_frames_pass(given: Companions, raw_run: RawRun) -> None:
    begin(given, raw_run, i0=NUMBER)
    event, datum = raw_run.event(1, i0=1.0), raw_run.datum(1)
    assert feed(given, ("event", event), ("stream_datum", datum)) == [event, datum]


def test_a_fly_scan_without_events_waits_for_streamed_numbers(
    given: Companions, raw_run: RawRun
) -> None:
    begin(given, raw_run, i0=STREAMED)
    raw_run.write(i0=[1.0, 2.0, 3.0, 4.0, 5.0])
    frames = raw_run.datum(1, 4), raw_run.datum(5)
    first, second = (
        raw_run.datum(1, 3, data_key="i0"),
        raw_run.datum(4, 5, data_key="i0"),
    )
    resource = raw_run.resource("i0", "i0")
    assert feed(given, *(("stream_datum", datum) for datum in frames)) == []
    assert feed(given, ("stream_resource", resource)) == [resource]
    assert feed(given, ("stream_datum", first)) == [first]
    assert feed(given, ("stream_datum", second)) == [second, *frames]
    found = only(given.conditions(raw_run.batch(1, 2, 3, 4, 5)))
    assert found.normalization.tolist() == [1, 2, 3, 4, 5]


def test_frames_inside_of_events_wait_for_streamed_numbers(
    given: Companions, raw_run: RawRun
) -> None:
    begin(given, raw_run, i0=STREAMED)
    event = raw_run.event(1, det=[[1.0]])
    numbers = raw_run.datum(1, data_key="i0")
    assert feed(given, ("event", event)) == []
    resource = raw_run.resource("i0", "i0")
    assert feed(given, ("stream_datum", numbers)) == []  # of what, nobody knows yet
    assert feed(given, ("stream_resource", resource)) == [resource, event, numbers]


def test_frames_wait_for_a_baseline_that_is_announced(given: Companions, raw_run: RawRun) -> None:
    feed(given, ("start", raw_run.start))
    feed(given, ("descriptor", raw_run.descriptor("baseline", i0=NUMBER)))
    feed(given, ("descriptor", raw_run.descriptor()), ("stream_resource", raw_run.resource()))
    frames = [raw_run.datum(1), raw_run.datum(2)]
    assert feed(given, *(("stream_datum", datum) for datum in frames)) == []
    event = raw_run.event(1, name="baseline", i0=2.0)
    assert feed(given, ("event", event)) == [event, *frames]


def test_a_rewound_frame_waits_for_its_own_event(given: Companions, raw_run: RawRun) -> None:
    """The RunEngine goes back to event 2: the monitor of the first attempt is of another frame."""
    begin(given, raw_run, i0=NUMBER)
    feed(given, *((("stream_datum"), raw_run.datum(n)) for n in (1, 2)))
    feed(given, *(("event", raw_run.event(n, i0=float(n))) for n in (1, 2)))
    again = raw_run.datum(2, index=2)
    assert feed(given, ("stream_datum", again)) == []
    event = raw_run.event(2, uid="second", i0=20.0)
    assert feed(given, ("event", event)) == [event, again]
    assert only(given.conditions(raw_run.batch(1, 2))).normalization.tolist() == [1.0, 20.0]


def test_frames_of_the_same_event_keep_their_order(given: Companions, raw_run: RawRun) -> None:
    """Else the first attempt would be reduced last, and would stay."""
    begin(given, raw_run, i0=NUMBER)
    first, again = raw_run.datum(1, 3), raw_run.datum(2, index=3)
    events = [raw_run.event(n, uid=f"{k}", i0=1.0) for k, n in enumerate((1, 2, 2, 3))]
    feed(given, ("stream_datum", first), ("event", events[0]), ("event", events[1]))
    assert feed(given, ("stream_datum", again), ("event", events[2])) == [events[2]]
    assert feed(given, ("event", events[3])) == [events[3], first, again]


def test_the_same_documents_again_are_no_rewind(given: Companions, raw_run: RawRun) -> None:
    begin(given, raw_run, i0=NUMBER)
    event, datum = raw_run.event(1, i0=1.0), raw_run.datum(1)
    feed(given, ("stream_datum", datum), ("event", event))
    assert feed(given, ("stream_datum", datum), ("event", event)) == [datum, event]


def test_what_never_comes_is_let_go_at_the_end_of_its_run_alone(
    given: Companions, raw_run: RawRun
) -> None:
    other = RawRun(raw_run.directory, "other")
    begin(given, raw_run, i0=NUMBER)
    begin(given, other, i0=NUMBER)
    lost, last, of_other = raw_run.datum(1), raw_run.datum(2), other.datum(1)
    assert feed(given, ("stream_datum", lost), ("stream_datum", of_other)) == []
    event = raw_run.event(2, i0=2.0)
    assert feed(given, ("stream_datum", last), ("event", event)) == [event, last]
    assert feed(given, ("stop", raw_run.stop)) == [lost, raw_run.stop]
    [(_, found)] = given.conditions(raw_run.batch(1))
    assert "Event 1 of the stream 'primary' cannot be reduced without" in found.problem
    assert only(given.conditions(raw_run.batch(2))).normalization.tolist() == [2.0]
    assert feed(given, ("stop", other.stop)) == [of_other, other.stop]
    assert given.held == 0


def test_a_run_without_an_end_can_be_abandoned(given: Companions, raw_run: RawRun) -> None:
    begin(given, raw_run, i0=NUMBER)
    datum, event = raw_run.datum(1), raw_run.event(2, i0=2.0)
    feed(given, ("stream_datum", datum), ("event", event))
    assert given.abandon(raw_run.uid) == [("stream_datum", datum)]
    assert given.abandon("another") == []
    assert only(given.conditions(raw_run.batch(2))).normalization.tolist() == [2.0]
    feed(given, ("start", RawRun(raw_run.directory, "next").start))
    [(_, found)] = given.conditions(raw_run.batch(2))
    assert "was never seen" in found.problem


def test_nothing_waits_where_nothing_is_needed(raw_run: RawRun) -> None:
    given = Companions(CompanionsConfig())
    begin(given, raw_run, i0=NUMBER)
    datum = raw_run.datum(1, 100)
    assert feed(given, ("stream_datum", datum)) == [datum]
    assert only(given.conditions(raw_run.batch(1, 2))).normalization.tolist() == [1.0, 1.0]


def test_each_detector_has_its_own_needs(raw_run: RawRun) -> None:
    wanted = CompanionsConfig.from_dict({"monitor": "i0"})
    given = Companions({"other": wanted})
    begin(given, raw_run, i0=NUMBER)
    datum = raw_run.datum(1)
    assert feed(given, ("stream_datum", datum)) == [datum]
    given = Companions({"det": wanted})
    begin(given, raw_run, i0=NUMBER)
    assert feed(given, ("stream_datum", datum)) == []


@pytest.mark.parametrize("seed", range(5))
def test_in_any_order_every_document_comes_out_once(
    given: Companions, raw_run: RawRun, seed: int
) -> None:
    begin(given, raw_run, i0=NUMBER)
    events = [("event", raw_run.event(n, i0=float(n))) for n in range(1, 40)]
    frames = [("stream_datum", raw_run.datum(n, n + 2)) for n in range(1, 37, 3)]
    shuffled: list[tuple[str, Document]] = [*events, *frames]
    random.Random(seed).shuffle(shuffled)
    passed = feed(given, *shuffled, ("stop", raw_run.stop))
    assert sorted(doc["uid"] for doc in passed) == sorted(
        doc["uid"] for doc in (*(doc for _, doc in shuffled), raw_run.stop)
    )
    for _, datum in frames:
        some = range(datum["seq_nums"]["start"], datum["seq_nums"]["stop"])
        position = passed.index(datum)
        assert all(passed.index(raw_run.event(n, i0=float(n))) < position for n in some)


def test_many_that_wait_cost_no_more_than_as_many_that_do_not(
    given: Companions, raw_run: RawRun
) -> None:
    begin(given, raw_run, i0=NUMBER)
    before = time.process_time()
    number = 3000
    feed(given, *(("stream_datum", raw_run.datum(n)) for n in range(1, number + 1)))
    assert given.held == number
    feed(given, *(("event", raw_run.event(n, i0=1.0)) for n in range(number, 0, -1)))
    assert given.held == 0
    assert time.process_time() - before < 3.0  # 5 million comparisons would take ten times that
