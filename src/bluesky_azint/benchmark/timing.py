"""Timing: calls that take turns, so that whatever else the machine does hits them all."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np

# Threads of OpenMP go on spinning when their work is done; what comes next is not to pay for it.
_PAUSE = 0.01
_FEWEST_ROUNDS = 2


@dataclass(frozen=True)
class Timing:
    """Seconds a frame, over all rounds: of all threads together, and by the clock."""

    cpu_min: float
    wall_min: float
    wall_median: float
    rounds: int


@dataclass(frozen=True)
class Effort:
    """How long calls are timed.

    Parameters
    ----------
    rounds
        Of all ways, at the most.
    seconds
        After which no other round begins; two are made anyhow.
    processes
        Of what takes a process of its own.
    """

    rounds: int
    seconds: float
    processes: int = 1


THOROUGH = Effort(rounds=30, seconds=8.0, processes=3)
HURRIED = Effort(rounds=8, seconds=1.5)


def in_turns(
    ways: Mapping[str, Callable[[], object]], effort: Effort, *, frames: int = 1, repeat: int = 1
) -> dict[str, Timing]:
    """Time calls by turns.

    Parameters
    ----------
    ways
        The calls; each has been made once before.
    effort
        How long.
    frames
        In each call.
    repeat
        Calls that are timed as one.
    """
    times: dict[str, list[tuple[float, float]]] = {name: [] for name in ways}
    end = time.perf_counter() + effort.seconds
    for number in range(effort.rounds):
        if number >= _FEWEST_ROUNDS and time.perf_counter() > end:
            break
        for name, way in ways.items():
            time.sleep(_PAUSE)
            times[name].append(timed(way, repeat))
    return {name: summary(values, frames * repeat) for name, values in times.items()}


def timed(call: Callable[[], object], repeat: int = 1) -> tuple[float, float]:
    """Seconds of all threads, and by the clock, that so many calls take."""
    wall, cpu = time.perf_counter(), time.process_time()
    for _ in range(repeat):
        call()
    return time.process_time() - cpu, time.perf_counter() - wall


def summary(times: list[tuple[float, float]], frames: int = 1) -> Timing:
    """What is told of the times of a way."""
    cpu, wall = np.array(times).T / frames
    return Timing(float(cpu.min()), float(wall.min()), float(np.median(wall)), len(times))
