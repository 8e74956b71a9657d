"""Writes CALIBRATION.md: how often, how exactly and how honestly detectors are calibrated.

Run as ``python -m tests.study.report`` in the root of the repository, which takes an hour; with
``--from FILE`` the frames are those of an earlier study (``python -m tests.study.study --json
FILE``), and ``--quick`` takes a tenth of everything.
"""

from __future__ import annotations

import argparse
import multiprocessing
import os
import sys
from collections.abc import Callable, Iterable
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import TypeVar

from tqdm import tqdm

from tests.study import metamorphic, peers, real, realizations, timing
from tests.study.scenes import MAKERS
from tests.study.study import outcomes, read
from tests.study.tables import markdown

REPORT = Path(__file__).parents[2] / "CALIBRATION.md"
PEER_CLASSES = ("A", "B", "C", "D2")

TEXT = """# Calibration

What `make study` measured: `calibrate` finds the geometry of simulated and of real frames with no
start value, or refuses.

* The simulator ([tests/study/simulator.py](tests/study/simulator.py)) makes rings of CeO2, LaB6, Si
  and silver behenate, 1.6 to 6 pixels wide, 100 to 20000 counts high, at 0.15 to 1.1 angstrom, on
  air scatter, an amorphous halo and the glow of the beam, with a beam stop that half of the masks
  leave out, texture, Poisson noise, dead pixels (half of them in the mask) and hot ones (none), on a
  Pilatus 1M or 300k, an Eiger 1M and two flat panels. It places rings to 5e-4 pixels.
* A geometry is right if its scattering angles are off by less than 1 pixel rms over the detector, or
  0.3 pixels between the rings that were found. Silently wrong is one that is accepted and not right.
* Where there are two numbers, they are the median and the 90th percentile.
* There are 100 frames of A, B and C; 25 of each D; 10 of each E, and 20 of each F.
* One frame is calibrated again by `python -m tests.study.one CLASS NUMBER`.

## Simulated frames

{frames}

## Side by side with pyFAI

pyFAI extracts control points and refines, three times over, from three starts. Wrong is what is
not right; ours gives no answer where it refuses.

{peers}

## Honest errors

One scene, exposed again and again: the spread of the parameters over the error that was predicted,
which must lie in 0.8 to 1.25, and in brackets the mean error in units of its own standard error.

{honesty}

## The same frame, turned, cut and binned

The worst difference of each parameter to that of the frame as it was, in standard errors; at most 3.

{changes}

## Real frames

The sector residual, and how far the geometry is from the published one.

{real}

{reasons}

## Time

On one core.

{times}
"""

In = TypeVar("In")
Out = TypeVar("Out")


def frames_of(kind: str) -> int:
    """How many frames of a class: 100 of the main ones, and of what is told apart within the others."""
    return {"A": 100, "B": 100, "C": 100, "E": 10, "F": 20, "V": 10}.get(kind[0], 25)


def spread_out(
    function: Callable[[In], Out], tasks: Iterable[In], jobs: int, what: str
) -> list[Out]:
    """Do it in some processes of one thread each, and show how far it is."""
    for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
        os.environ.setdefault(name, "1")
    todo = list(tasks)
    with ProcessPoolExecutor(jobs, mp_context=multiprocessing.get_context("spawn")) as pool:
        results = pool.map(function, todo)
        return list(tqdm(results, desc=what, total=len(todo), file=sys.stderr, disable=None))


def main() -> int:
    """Measure, write, and tell whether anything was silently wrong."""
    parser = argparse.ArgumentParser(description=__doc__, prog="python -m tests.study.report")
    parser.add_argument("--from", dest="kept", type=Path, help="outcomes of an earlier study")
    parser.add_argument("--quick", action="store_true", help="a tenth of everything")
    parser.add_argument("--jobs", type=int, default=2, help="processes")
    wanted = parser.parse_args()
    part = 10 if wanted.quick else 1
    jobs: int = wanted.jobs
    tasks = [(kind, seed) for kind in MAKERS for seed in range(frames_of(kind) // part)]
    found = read(wanted.kept) if wanted.kept else outcomes(tasks, jobs)
    beside = [(kind, seed) for kind in PEER_CLASSES for seed in range(8 // min(part, 8))]
    trials = spread_out(peers.trials, beside, jobs, "pyFAI")
    again = [(*one, number) for one in realizations.SCENES for number in range(100 // part)]
    exposures = spread_out(realizations.realize, again, jobs, "exposures")
    changes = spread_out(metamorphic.compare, metamorphic.SCENES[:: min(part, 3)], jobs, "changes")
    sizes = [(name, seed) for name in timing.DETECTORS for seed in range(max(5 // part, 1))]
    frames = spread_out(real.calibrated, real.CASES, 1, "real frames") if real.DATA.is_dir() else []
    text = TEXT.format(
        frames=markdown(found),
        peers=peers.markdown([trial for some in trials for trial in some]),
        honesty=realizations.markdown(exposures),
        changes=metamorphic.markdown([one for some in changes for one in some]),
        real=real.markdown(frames),
        reasons=real.reasons(frames),
        times=timing.markdown(spread_out(timing.timed, sizes, 1, "time")),
    )
    REPORT.write_text(text, encoding="utf-8")
    return 1 if any(one.silently_wrong for one in found) else 0


if __name__ == "__main__":
    sys.exit(main())
