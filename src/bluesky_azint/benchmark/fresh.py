"""Fresh processes: what is measured of a process that has done nothing yet.

``python -m bluesky_azint.benchmark.fresh`` reads what to measure from its standard input.
"""

from __future__ import annotations

import gc
import json
import subprocess
import sys
from collections.abc import Callable
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from bluesky_azint.benchmark.cases import Case, Goal
from bluesky_azint.benchmark.peers import peers
from bluesky_azint.benchmark.scene import scene_of
from bluesky_azint.benchmark.timing import timed
from bluesky_azint.benchmark.ways import Way, ours
from bluesky_azint.errors import EngineError

_STATUS = Path("/proc/self/status")
_FORGET_PEAK = Path("/proc/self/clear_refs")


def in_fresh_process(case: Case, way: str) -> dict[str, Any]:
    """Measure a case in a new process, with the way of that name.

    Raises
    ------
    EngineError
        If the process fails.
    """
    done = subprocess.run(
        [sys.executable, "-m", __spec__.name],
        input=json.dumps({"case": asdict(case), "way": way}),
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        raise EngineError(
            f"The process that measures {way} in the case {case.name!r} failed: {done.stderr[-2000:]}"
        )
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return found


def first_call(case: Case, way: Way) -> dict[str, Any]:
    """Seconds of the first frame: all is imported, and the integrator made."""
    scene = scene_of(case)
    reduce = way.make(case, scene, scene.geometry)
    cpu, wall = timed(lambda: reduce(scene.frames))
    return {"cpu": cpu, "wall": wall}


def plan_memory(case: Case, way: Way) -> dict[str, Any]:
    """Bytes by which memory grows, at its peak, from nothing to the first pattern.

    What is loaded and compiled for any plan is there before: it came with a tiny one.
    """
    tiny = replace(case, detector="tiny")
    way.make(tiny, scene_of(tiny), scene_of(tiny).geometry)(scene_of(tiny).frames)
    scene = scene_of(case)
    grown = peak_growth(lambda: way.make(case, scene, scene.geometry)(scene.frames))
    return {"peak": grown, "lookup": way.lookup_bytes and way.lookup_bytes(case, scene)}


def peak_growth(call: Callable[[], object]) -> int | None:
    """Bytes of resident memory that a call takes at its peak; None where Linux does not tell."""
    gc.collect()
    try:
        _FORGET_PEAK.write_text("5")
        before = _resident("VmRSS")
        call()
        return max(_resident("VmHWM") - before, 0)
    except OSError:
        return None


def _resident(name: str) -> int:
    line = next(line for line in _STATUS.read_text().splitlines() if line.startswith(f"{name}:"))
    return 1024 * int(line.split()[1])


def _main() -> None:
    asked = json.load(sys.stdin)
    goals = tuple(Goal(**goal) for goal in asked["case"].pop("goals"))
    radial_range = asked["case"].pop("radial_range")
    case = Case(
        **asked["case"],
        goals=goals,
        radial_range=radial_range and (radial_range[0], radial_range[1]),
    )
    way = next(way for way in (ours(), *peers(case)) if way.name == asked["way"])
    found = first_call(case, way) if case.task == "first call" else plan_memory(case, way)
    sys.stdout.write(json.dumps(found) + "\n")


if __name__ == "__main__":
    _main()
