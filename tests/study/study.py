"""Calibrates simulated frames from nothing and judges what was found.

Run as ``python -m tests.study.study --classes A B --seeds 0:20`` in the root of the repository; the
table goes to stdout. ``python -m tests.study.one A 17`` looks at one of them alone.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import os
import sys
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import asdict
from functools import partial
from pathlib import Path

import numpy as np
from tqdm import tqdm

from tests.study.judge import Errors, Outcome, judge
from tests.study.one import calibrated as calibrate_scene
from tests.study.scene import Scene
from tests.study.scenes import MAKERS, kinds, make
from tests.study.tables import markdown

Task = tuple[str, int]


def calibrated(scene: Scene) -> Outcome:
    """Calibrate a scene, and judge."""
    try:
        calibration, seconds = calibrate_scene(scene)
    except Exception as error:  # noqa: BLE001 - whatever it is, the study goes on
        return failed(scene, f"{type(error).__name__}: {error}")
    return judge(scene, calibration, seconds)


def failed(scene: Scene, message: str) -> Outcome:
    """The outcome of a calibration that raised an error, which none may."""
    return Outcome(
        kind=scene.kind,
        seed=scene.seed,
        expects=scene.expects,
        verdict="failed",
        errors=None,
        pulls=(np.nan,) * 5,
        wavelength=np.nan,
        wavelength_sigma=np.nan,
        seconds=np.nan,
        reasons=(message,),
    )


def run_one(task: Task) -> Outcome:
    """Make a scene and calibrate it."""
    return calibrated(make(*task))


def run(tasks: Sequence[Task], jobs: int) -> Iterator[Outcome]:
    """Outcomes as they come, from processes of one thread each."""
    show = partial(tqdm, total=len(tasks), unit="frame", file=sys.stderr, disable=None)
    if jobs == 1:
        yield from show(map(run_one, tasks))
        return
    for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
        os.environ.setdefault(name, "1")
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(jobs, mp_context=context) as pool:
        futures = [pool.submit(run_one, task) for task in tasks]
        yield from show(future.result() for future in as_completed(futures))


def outcomes(tasks: Sequence[Task], jobs: int, keep: Path | None = None) -> list[Outcome]:
    """Outcomes in the order of the tasks; each is written to a file as it comes."""
    found = {}
    if keep is not None:
        keep.write_text("")
    for outcome in run(tasks, jobs):
        found[outcome.kind, outcome.seed] = outcome
        if keep is not None:
            with keep.open("a") as file:
                file.write(json.dumps(asdict(outcome)) + "\n")
    return [found[task] for task in tasks]


def read(path: Path) -> list[Outcome]:
    """Outcomes of an earlier study."""
    found = []
    for line in path.read_text().splitlines():
        values = json.loads(line)
        if values["errors"] is not None:
            values["errors"] = Errors(**values["errors"])
        values |= {name: tuple(values[name]) for name in ("pulls", "reasons")}
        found.append(Outcome(**values))
    order = list(MAKERS)
    return sorted(found, key=lambda outcome: (order.index(outcome.kind), outcome.seed))


def seeds(text: str) -> range:
    """0:100, or a single one."""
    first, _, last = text.partition(":")
    return range(int(first), int(last or int(first) + 1))


def parser() -> argparse.ArgumentParser:
    """What can be asked for."""
    arguments = argparse.ArgumentParser(description=__doc__, prog="python -m tests.study.study")
    arguments.add_argument("--classes", nargs="+", default=["A", "B", "C"], help="E means all E")
    arguments.add_argument("--seeds", type=seeds, default=range(100), help="such as 0:100")
    arguments.add_argument("--jobs", type=int, default=2, help="processes")
    arguments.add_argument("--json", type=Path, help="outcomes, one a line, as they come")
    return arguments


def main() -> int:
    """Run it, and print the tables."""
    wanted = parser().parse_args()
    tasks = [(kind, seed) for kind in kinds(wanted.classes) for seed in wanted.seeds]
    found = outcomes(tasks, wanted.jobs, wanted.json)
    sys.stdout.write(markdown(found))
    return 1 if any(outcome.silently_wrong for outcome in found) else 0


if __name__ == "__main__":
    sys.exit(main())
