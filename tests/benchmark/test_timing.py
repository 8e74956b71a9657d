"""Calls take turns, and their times are those of one frame."""

import time
from functools import partial

from bluesky_azint.benchmark.timing import Effort, Timing, in_turns, summary, timed


def test_ways_take_turns() -> None:
    said: list[str] = []
    ways = {name: partial(said.append, name) for name in "ab"}
    timings = in_turns(ways, Effort(rounds=3, seconds=60))
    assert said == ["a", "b"] * 3
    assert timings["a"].rounds == timings["b"].rounds == 3


def test_calls_that_are_too_short_are_timed_as_one() -> None:
    said: list[str] = []
    timings = in_turns({"a": partial(said.append, "a")}, Effort(1, 60), frames=2, repeat=5)
    assert len(said) == 5
    assert 0 < timings["a"].wall_min < 1e-3


def test_no_round_begins_after_the_time_but_two_are_made() -> None:
    timings = in_turns({"a": partial(time.sleep, 0.01)}, Effort(rounds=50, seconds=0))
    assert timings["a"].rounds == 2


def test_sleeping_takes_time_but_no_cpu() -> None:
    cpu, wall = timed(partial(time.sleep, 0.05))
    assert wall > 0.045
    assert cpu < 0.04


def test_the_summary_is_of_one_frame() -> None:
    times = [(4.0, 3.0), (2.0, 8.0), (6.0, 4.0)]
    found = summary(times, frames=2)
    assert found == Timing(cpu_min=1.0, wall_min=1.5, wall_median=2.0, rounds=3)
