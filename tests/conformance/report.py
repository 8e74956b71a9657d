"""Writes CONFORMANCE.md: ours against pyFAI, and whether our errors are honest.

Run as ``python -m tests.conformance.report`` in the root of the repository.
"""

from __future__ import annotations

import ast
import sys
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from itertools import groupby
from operator import attrgetter
from pathlib import Path

from tests.conformance import honest_errors
from tests.conformance.compare import (
    ENGINES,
    ENOUGH,
    INTENSITY_LIMIT,
    MEDIAN_MARGIN,
    SIGMA_LIMIT,
    Comparison,
    Deviation,
    Task,
    import_pyfai,
)
from tests.conformance.setups import Setup, everything, features

HERE = Path(__file__).parent
REPORT = HERE.parents[1] / "CONFORMANCE.md"

SPLITTINGS = {
    "1D": ("no", "bbox", "full"),
    "2D": ("no", "bbox"),
    "sigma_clip": ("no",),
    "medfilt": ("no", "bbox", "full"),
}
MODELS = ("poisson", "variance", "hybrid", "azimuthal")
# What is done with the large detectors, which take their time: results and error models.
LARGE = {
    "Pilatus1M": (tuple(SPLITTINGS), ("poisson", "azimuthal")),
    "Eiger2_4M": (("1D", "2D", "sigma_clip"), ("poisson",)),
}

TEXT = """# Conformance

Ours against pyFAI {version} on the same grid, as `make conformance` measured it.

* The numbers are the worst relative difference over all bins that are compared; at most
  {intensity_limit:.0e} in the intensity and {sigma_limit:.0e} in sigma is agreement.
* Compared are the bins that hold {enough:.0f} pixels or more: pyFAI keeps corners in single
  precision, which displaces the edges of pixels by some parts in 1e5 of their size and averages out
  in bins of many pixels. "Bins" tells how many of all that hold something these are.
* Left out are the bins at the ends of the ranges, three radial ones and an azimuthal one at each
  end: pyFAI counts there what lies outside the range.
* Medians are compared where {margin} % of the pixels of the bin more or less make no difference:
  elsewhere single precision decides which of two pixels is the one in the middle. Their sigma is
  compared where pyFAI takes the same one of pixels of one intensity.
* Frames have a count in every pixel, and darks are without noise where pyFAI takes them so: of the
  variance of few counts, and of the dark, see the differences below.
* pyFAI shares no polygons of six corners, and takes four of them for the centre of a hexagon; here
  it was given the true one. Its azimuthal errors with splitting differ from engine to engine, and
  so do its clipping with splitting and its quantiles; ours are compared with the engine that
  computes what is documented (two-pass, in Python), in bins where its engines clip alike.

## One thing at a time

{features}

## All corrections at once, every detector

Tilt, another orientation (but for Pixirad1), mask, dark, flat, polarization, dummy and
normalization.

{detectors}

## Where we differ on purpose

Each of these is a test in
[tests/conformance/test_differences.py](tests/conformance/test_differences.py), which shows that
ours is right.

{differences}

## Errors are honest

{honesty}
"""


def feature_tasks() -> Iterator[Task]:
    """One thing at a time, with Poisson errors."""
    for setup in features("Pilatus1M"):
        yield from tasks(setup, ("1D", "2D"), MODELS[:1])


def detector_tasks() -> Iterator[Task]:
    """Everything at once, all error models."""
    for detector in ("Pilatus1M", "Eiger2_4M", "Jungfrau", "Pixirad1"):
        results, models = LARGE.get(detector, (tuple(SPLITTINGS), MODELS))
        yield from tasks(everything(detector), results, models)


def tasks(setup: Setup, results: Iterable[str], models: Sequence[str]) -> Iterator[Task]:
    """All that can be compared for a set-up."""
    for result in results:
        for splitting in SPLITTINGS[result]:
            if splitting == "full" and setup.detector == "Pixirad1":
                continue
            for model in models:
                two_pass = model == "azimuthal" and (splitting != "no" or result == "medfilt")
                if not two_pass and not (model == "hybrid" and result not in ("1D", "2D")):
                    yield Task(setup, result, splitting, model)


def compare(tasks_of_one: Sequence[Task]) -> list[tuple[Task, list[Deviation]]]:
    """Compare all of one set-up."""
    comparison = Comparison(tasks_of_one[0].setup)
    return [(task, list(comparison.deviations(task))) for task in tasks_of_one]


def table(rows: Iterable[tuple[Task, list[Deviation]]]) -> str:
    """Rows of Markdown."""
    head = ["detector", "set-up", "result", "splitting", "error model", "bins"]
    head += [f"{symbol} {engine}" for symbol in ("intensity", "sigma") for engine in ENGINES]
    lines = [head, ["---"] * 5 + ["---:"] * 7]
    for task, deviations in rows:
        cells = [*task.key, f"{deviations[0].compared:.1%}"]
        for name in ("intensity", "sigma"):
            values = [f"{getattr(deviation, name):.1e}" for deviation in deviations]
            cells += values + [""] * (len(ENGINES) - len(values))
        lines.append(cells)
    return "\n".join(f"| {' | '.join(cells)} |" for cells in lines)


def differences() -> str:
    """What the tests of differences say of themselves."""
    tree = ast.parse((HERE / "test_differences.py").read_text())
    texts = (
        (node.name, ast.get_docstring(node))
        for node in tree.body
        if isinstance(node, ast.FunctionDef) and node.name.startswith("test_")
    )
    return "\n".join(f"* {' '.join(text.split())} (`{name}`)" for name, text in texts if text)


def main() -> int:
    """Measure, write, and tell whether all is within the limits."""
    everything_to_do = [*feature_tasks(), *detector_tasks()]
    groups = [list(group) for _, group in groupby(everything_to_do, key=attrgetter("setup"))]
    with ProcessPoolExecutor(max_workers=2) as pool:
        honesty = pool.submit(honest_errors.report)
        rows = [row for group in pool.map(compare, groups) for row in group]
    n_features = sum(1 for _ in feature_tasks())
    text = TEXT.format(
        version=import_pyfai().version,
        intensity_limit=INTENSITY_LIMIT,
        sigma_limit=SIGMA_LIMIT,
        enough=ENOUGH,
        margin=MEDIAN_MARGIN,
        features=table(rows[:n_features]),
        detectors=table(rows[n_features:]),
        differences=differences(),
        honesty=honesty.result(),
    )
    REPORT.write_text(text, encoding="utf-8")
    failed = [
        task for task, found in rows if not all(deviation.within_limits for deviation in found)
    ]
    for task in failed:
        sys.stderr.write(f"Beyond the limits: {' '.join(task.key)}\n")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
