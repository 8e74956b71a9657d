"""Measure: a case, with every way that there is to do it."""

from __future__ import annotations

import tempfile
import warnings
from collections.abc import Callable
from dataclasses import dataclass, replace
from itertools import count
from pathlib import Path

import numpy as np

from bluesky_azint.benchmark.cases import Case
from bluesky_azint.benchmark.files import write_frames
from bluesky_azint.benchmark.fresh import in_fresh_process
from bluesky_azint.benchmark.peers import PYFAI, peers
from bluesky_azint.benchmark.reference import Reference, difference, reference
from bluesky_azint.benchmark.roofline import Traffic, traffic_of
from bluesky_azint.benchmark.scene import Scene, moved, scene_of
from bluesky_azint.benchmark.timing import Effort, Timing, in_turns, summary
from bluesky_azint.benchmark.ways import OURS, Patterns, Way, ours

Call = Callable[[], Patterns]

_ROUNDING = 1e-6


@dataclass(frozen=True, kw_only=True)
class Measured:
    """What is measured of one way.

    Parameters
    ----------
    timing
        Its times; None where memory is measured.
    accuracy, sigma_accuracy, signal_accuracy
        Largest relative difference of the intensity, of its error, and of the sum of the counts in
        a bin from the reference; None where there is nothing to compare, as of errors that are
        defined otherwise.
    peak, lookup
        Bytes: by which memory grows from nothing to the first pattern, and of the table.
    """

    timing: Timing | None = None
    accuracy: float | None = None
    sigma_accuracy: float | None = None
    signal_accuracy: float | None = None
    peak: int | None = None
    lookup: int | None = None


@dataclass(frozen=True)
class Outcome:
    """What is measured in a case.

    Parameters
    ----------
    case, pixels
        What it is, and the pixels of a frame.
    ways
        What was found, by the name of each way.
    traffic
        What has to be moved; None where it is not memory that sets the limit.
    """

    case: Case
    pixels: int
    ways: dict[str, Measured]
    traffic: Traffic | None = None

    def figure(self, name: str, way: str = OURS) -> float | None:
        """One of the figures of a way: ``"cpu_min"``, ``"wall_min"``, ``"peak"`` ..."""
        measured = self.ways.get(way)
        timing = measured and measured.timing
        value: float | None = getattr(measured, name, getattr(timing, name, None))
        return value

    def ratio(self, name: str, way: str = PYFAI) -> float | None:
        """How many times more a way takes than we."""
        theirs, ours = self.figure(name, way), self.figure(name)
        return theirs / ours if theirs and ours else None


def measure(case: Case, effort: Effort) -> Outcome:
    """Measure a case with all ways that are installed."""
    ways = [ours(), *peers(case)]
    scene = scene_of(case)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of libraries about one another
        if case.task == "memory":
            return Outcome(case, scene.frames[0].size, _memory(case, ways, effort))
        if case.task == "first call":
            return Outcome(case, scene.frames[0].size, _first_call(case, effort))
        with tempfile.TemporaryDirectory() as folder:
            calls = {way.name: _call(case, scene, way, Path(folder)) for way in ways}
            expected = reference(case, scene)
            found = _timed(case, ways, calls, expected, effort)
    by_memory = case.task == "frames" and case.repeat == 1
    traffic = traffic_of(case, scene, expected.touched) if by_memory else None
    return Outcome(case, scene.frames[0].size, found, traffic)


def _call(case: Case, scene: Scene, way: Way, folder: Path) -> Call:
    """What is called again and again."""
    if case.task == "geometry":
        # No cache can know them; the first is that of the reference.
        steps = count()
        return lambda: way.make(case, scene, moved(scene.geometry, next(steps)))(scene.frames)
    if case.task == "file":
        path = folder / "frames.h5"
        if not path.exists():
            write_frames(path, scene.frames)
        return way.open(case, scene, path)
    reduce = way.make(case, scene, scene.geometry)
    return lambda: reduce(scene.frames)


def _timed(
    case: Case, ways: list[Way], calls: dict[str, Call], expected: Reference, effort: Effort
) -> dict[str, Measured]:
    """Call all once for what comes out, then by turns for how long it takes."""
    compared = {way.name: _compared(way, calls[way.name](), expected.patterns) for way in ways}
    timings = in_turns(calls, effort, frames=case.frames, repeat=case.repeat)
    return {name: replace(compared[name], timing=timings[name]) for name in calls}


def _compared(way: Way, found: Patterns, expected: Patterns) -> Measured:
    """Differences from the reference, of what is defined alike."""
    if not way.comparable:
        return Measured()
    measured = Measured(accuracy=difference(found.intensity, expected.intensity))
    if found.signal is not None and expected.signal is not None:
        signal = difference(found.signal, expected.signal)
        measured = replace(measured, signal_accuracy=signal)
    if way.name == OURS and found.sigma is not None and expected.sigma is not None:
        # The spread of equal pixels is nothing but rounding errors.
        told = expected.sigma > _ROUNDING * np.abs(expected.intensity)
        sigma = difference(np.where(told, found.sigma, 0.0), np.where(told, expected.sigma, 0.0))
        measured = replace(measured, sigma_accuracy=sigma)
    return measured


def _first_call(case: Case, effort: Effort) -> dict[str, Measured]:
    """Ours alone: others build their table in the first call. One process before fills the cache."""
    runs = [in_fresh_process(case, OURS) for _ in range(1 + effort.processes)][1:]
    return {OURS: Measured(timing=summary([(run["cpu"], run["wall"]) for run in runs]))}


def _memory(case: Case, ways: list[Way], effort: Effort) -> dict[str, Measured]:
    """The least of all processes: a compiler may be at work in the first one."""
    found = {}
    for way in ways:
        runs = [in_fresh_process(case, way.name) for _ in range(effort.processes)]
        peaks = [run["peak"] for run in runs if run["peak"] is not None]
        found[way.name] = Measured(peak=min(peaks, default=None), lookup=runs[0]["lookup"])
    return found
