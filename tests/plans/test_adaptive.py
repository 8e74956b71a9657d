"""A scan that decides by the patterns of its frames."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import zmq
from bluesky import RunEngine
from bluesky.utils import MsgGenerator

from bluesky_azint import Recipe
from bluesky_azint.callbacks import BackgroundCallback, Reducer
from bluesky_azint.callbacks.pattern import Pattern
from bluesky_azint.callbacks.reduced_patterns import ReducedPatterns
from bluesky_azint.callbacks.transports import zmq_publisher
from bluesky_azint.errors import RecipeError, ReductionTimeout
from bluesky_azint.geometry import Geometry
from bluesky_azint.plans import AdaptiveOutcome, adaptive_pattern_scan
from bluesky_azint.plans.adaptive import change, next_position
from tests.plans.conftest import Documents, Station, still

THRESHOLD = 3.3
RECIPE = Recipe(npt=200, unit="q_A^-1", error_model="poisson")


def with_transition(position: float) -> Geometry:
    """The rings move by some pixels at the threshold, as those of another phase would."""
    return replace(still(position), dist=0.1 if position < THRESHOLD else 0.104)


@pytest.fixture
def station(make_station: Callable[..., Station]) -> Station:
    return make_station(with_transition)


@contextmanager
def reduction(run_engine: RunEngine, emit: Callable[[str, Any], object]) -> Iterator[None]:
    """Reduce what the RunEngine measures, with a geometry that knows of no transition."""
    reducer = Reducer(emit, recipe=RECIPE, default=still(0.0), engine="scipy", flavour="inline")
    with reducer, BackgroundCallback(reducer, name="azint-test") as worker:
        token = run_engine.subscribe(worker)  # type: ignore[no-untyped-call]
        yield
        run_engine.unsubscribe(token)  # type: ignore[no-untyped-call]


@contextmanager
def zmq_proxy() -> Iterator[tuple[str, str]]:
    """Addresses to publish to and to subscribe to."""
    with zmq.Context() as context:
        sockets = [context.socket(kind) for kind in (zmq.SUB, zmq.PUB, zmq.PAIR)]
        inlet, outlet, control = sockets
        inlet.subscribe(b"")
        ports = [socket.bind_to_random_port("tcp://127.0.0.1") for socket in (inlet, outlet)]
        control.bind("inproc://control")
        steering = context.socket(zmq.PAIR)
        steering.connect("inproc://control")
        thread = threading.Thread(
            target=zmq.proxy_steerable, args=(inlet, outlet, None, control), daemon=True
        )
        thread.start()
        try:
            yield f"tcp://127.0.0.1:{ports[0]}", f"tcp://127.0.0.1:{ports[1]}"
        finally:
            steering.send(b"TERMINATE")
            thread.join()
            for socket in (*sockets, steering):
                socket.close(linger=0)


def gathered(outcome: AdaptiveOutcome) -> None:
    """The points are where the transition is, and the transition is known to a small step."""
    first, later = outcome.positions[:5], np.array(outcome.positions[5:])
    assert np.allclose(first, [0.0, 2.5, 5.0, 7.5, 10.0])
    assert np.allclose(later, [3.75, 3.125, 3.4375, 3.28125, 3.359375])
    points = sorted(outcome.positions)
    place = np.searchsorted(points, THRESHOLD)
    assert points[place] - points[place - 1] < 0.1
    assert outcome.settled


SCAN: dict[str, Any] = {"num": 5, "min_step": 0.05}


def test_points_gather_where_the_pattern_changes(
    run_engine: RunEngine, station: Station, documents: Documents
) -> None:
    patterns = ReducedPatterns()
    with reduction(run_engine, patterns):
        plan = adaptive_pattern_scan(
            [station.det], station.motor, 0.0, 10.0, patterns=patterns, **SCAN
        )
        outcome: Any = run_engine(plan).plan_result  # type: ignore[union-attr]
    gathered(outcome)
    (start,), (stop,) = documents["start"], documents["stop"]
    assert start["uid"] == outcome.run_uid
    assert start["motors"] == ["motor"]
    assert (stop["exit_status"], stop["num_events"]) == ("success", {"primary": 10})
    taken = [event["motor"] for event in documents.events("primary")]
    assert taken == pytest.approx(outcome.positions)


def test_patterns_that_come_over_a_bus(run_engine: RunEngine, station: Station) -> None:
    with zmq_proxy() as (publish, subscribe), zmq_publisher(publish) as publisher:
        with reduction(run_engine, publisher):
            plan = adaptive_pattern_scan(
                [station.det], station.motor, 0.0, 10.0, patterns=subscribe, **SCAN
            )
            outcome: Any = run_engine(plan).plan_result  # type: ignore[union-attr]
        assert publisher.lost == 0
    gathered(outcome)


def test_it_is_the_reduced_patterns_that_decide(run_engine: RunEngine, station: Station) -> None:
    """The frames change as before, but what arrives of them does not."""
    patterns = ReducedPatterns()

    def emit(name: str, doc: Any) -> None:
        if name == "event":
            doc["data"]["intensity"] = [1.0] * 200
        patterns(name, doc)

    with reduction(run_engine, emit):
        plan = adaptive_pattern_scan(
            [station.det], station.motor, 0.0, 10.0, patterns=patterns, **SCAN
        )
        outcome: Any = run_engine(plan).plan_result  # type: ignore[union-attr]
    assert outcome.positions == (0.0, 2.5, 5.0, 7.5, 10.0)
    assert outcome.settled


def test_a_scan_without_reduction_fails_and_says_why(
    run_engine: RunEngine, station: Station, documents: Documents
) -> None:
    def night() -> MsgGenerator[int]:
        """Goes on with something else; how many runs are closed by then."""
        with pytest.raises(ReductionTimeout, match="See that the reduction is running"):
            yield from adaptive_pattern_scan(
                [station.det], station.motor, 0.0, 10.0, patterns=ReducedPatterns(), timeout=0.2
            )
        return len(documents["stop"])

    assert run_engine(night()).plan_result == 1  # type: ignore[union-attr]
    (stop,) = documents["stop"]
    assert stop["exit_status"] == "fail"
    assert "See that the reduction is running" in stop["reason"]


@pytest.mark.parametrize(
    "arguments",
    [{"stop": 0.0}, {"num": 1}, {"num": 5, "max_points": 4}, {"min_step": -1.0}],
    ids=["place", "points", "most", "step"],
)
def test_what_is_no_scan(
    run_engine: RunEngine, station: Station, documents: Documents, arguments: dict[str, Any]
) -> None:
    options = {"stop": 1.0, "patterns": ReducedPatterns(), **arguments}
    with pytest.raises(RecipeError, match="nothing to scan"):
        run_engine(adaptive_pattern_scan([station.det], station.motor, 0.0, **options))
    assert documents["start"] == []


def pattern(intensity: Any, errors: bool = True) -> Pattern:
    values = np.asarray(intensity, dtype=np.float64)
    sigma = np.sqrt(values) if errors else None
    return Pattern(
        radial=np.arange(1.0 * values.size), unit="q_A^-1", intensity=values, sigma=sigma
    )


def test_noise_is_no_change() -> None:
    chance = np.random.default_rng(5)
    level = np.full(1000, 100.0)
    noisy = [pattern(chance.poisson(level)) for _ in range(100)]
    changes = [change(one, noisy[0], 5.0) for one in noisy[1:]]
    assert changes == [0.0] * 99
    # The statistic is one: as many are above one standard deviation as should be.
    above = np.mean([change(one, noisy[0], 1.0) > 0 for one in noisy[1:]])
    assert 0.05 < above < 0.35


def test_a_small_peak_is_a_change() -> None:
    chance = np.random.default_rng(5)
    peak = np.zeros(1000)
    peak[500:505] = 160.0  # adds 0.8 % to the total
    one, other = chance.poisson(100.0 + np.zeros(1000)), chance.poisson(100.0 + peak)
    assert change(pattern(one), pattern(other), 5.0) > 0


def test_without_errors_all_steps_are_compared_by_what_changes() -> None:
    taken = {
        0.0: pattern([1.0, 1.0], errors=False),
        1.0: pattern([1.0, 2.0], errors=False),
        2.0: pattern([1.0, 5.0], errors=False),
    }
    assert change(taken[1.0], taken[2.0], 5.0) == 4.5
    assert next_position(taken, 0.1, 5.0) == 1.5
    assert next_position(taken, 0.6, 5.0) is None
    assert next_position(dict.fromkeys(taken, taken[0.0]), 0.1, 5.0) is None


def test_steps_that_cannot_be_halved_any_more() -> None:
    taken = {1.0: pattern([1.0]), float(np.nextafter(1.0, 2.0)): pattern([1000.0])}
    assert next_position(taken, 0.0, 5.0) is None


def test_patterns_with_other_bins_cannot_be_compared() -> None:
    one = pattern([1.0, 2.0])
    with pytest.raises(RecipeError, match="radial_range"):
        change(one, replace(one, radial=one.radial + 0.1), 5.0)
    with pytest.raises(RecipeError, match="radial_range"):
        change(one, pattern([1.0]), 5.0)
