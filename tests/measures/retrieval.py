"""How long it takes to get any row and any column of a large reduced run out of Tiled.

::

    python -m tests.measures.retrieval
"""

from __future__ import annotations

import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
from tiled.client import from_uri

from bluesky_azint import Detector, Geometry, Recipe
from bluesky_azint.callbacks import (
    AzintRun,
    EmbeddedTiled,
    Reducer,
    TiledSink,
    embedded_tiled,
    reduced_runs,
)
from tests.callbacks.raw_files import announced_run

ROWS, BINS = 10_000, 1000
SHAPE = (64, 64)
REPEATS = 20
PROMISED_SECONDS = 0.5

GEOMETRY = Geometry(
    detector=Detector(1e-4, 1e-4, shape=SHAPE), dist=0.1, poni1=0.001, wavelength=1e-10
)


def measure(folder: Path) -> list[tuple[str, float, float]]:
    """What was read, and the median and the longest time of that, in seconds."""
    dice = np.random.default_rng(1)
    with embedded_tiled(folder / "server", readable_storage=[folder]) as tiled:
        uid = write(tiled, folder)
        (run,) = reduced_runs(tiled.reduced, uid)

        def each(read: Callable[[int], object], size: int) -> list[float]:
            times = []
            for number in dice.integers(0, size, REPEATS).tolist():
                begin = time.perf_counter()
                read(number)
                times.append(time.perf_counter() - begin)
            return times

        def again(read: Callable[[AzintRun], object]) -> list[float]:
            """By somebody who has just connected."""
            times = []
            for _ in range(3):
                client = from_uri(tiled.uri)
                begin = time.perf_counter()
                read(reduced_runs(client["reduced"], uid)[0])
                times.append(time.perf_counter() - begin)
                client.context.close()
            return times

        column = run["primary"]["intensity"]
        radial = run.radial
        figures = {
            "row: run.pattern(i)": each(run.pattern, ROWS),
            'row: run["primary"]["intensity"][i]': each(lambda i: column[i], ROWS),
            'column: run["primary"]["intensity"][:, j]': each(lambda j: column[:, j], BINS),
            "column: run.intensity_at(q)": each(lambda j: run.intensity_at(radial[j]), BINS),
            "row, found by the raw uid": again(lambda run: run.pattern(ROWS // 2)),
            "column, found by the raw uid": again(lambda run: run.intensity_at(radial[BINS // 2])),
            "raw -> reduced": each(lambda _: reduced_runs(tiled.reduced, uid), 1),
            "reduced -> raw": each(lambda _: run.raw(tiled.raw), 1),
        }
        raw = run.raw(tiled.raw)
        assert raw.metadata["start"]["uid"] == uid
        assert np.array_equal(run.pattern(77).intensity, column[77])
        assert np.array_equal(run.intensity_at(radial[99]), column[:, 99])
        return [(what, statistics.median(times), max(times)) for what, times in figures.items()]


def write(tiled: EmbeddedTiled, folder: Path) -> str:
    """Reduce a raw run into Tiled, and give its uid."""
    frames = np.random.default_rng(1).poisson(9, (ROWS, *SHAPE)).astype(np.uint16)
    documents = announced_run(folder / "raw.h5", frames, step=100)
    backup = folder / "backup"
    with (
        TiledSink(tiled.raw, backup_directory=backup) as raw,
        TiledSink(tiled.reduced, backup_directory=backup) as reduced,
        Reducer(
            reduced,
            recipe=Recipe(npt=BINS, error_model="poisson"),
            default=GEOMETRY,
            directory=folder / "patterns",
        ) as reducer,
    ):
        for name, doc in documents:
            raw(name, doc)
            reducer(name, doc)
    return str(documents[0][1]["uid"])


def main() -> int:
    """Print the figures; 1 if a row or a column takes longer than promised."""
    with tempfile.TemporaryDirectory() as directory:
        figures = measure(Path(directory))
    print(f"a reduced run of {ROWS} x {BINS}; seconds for each of {REPEATS}")
    print(f"{'':44s} {'median':>8s} {'longest':>8s}")
    for what, median, longest in figures:
        print(f"{what:44s} {median:8.3f} {longest:8.3f}")
    return 1 if any(median > PROMISED_SECONDS for _, median, _ in figures) else 0


if __name__ == "__main__":
    sys.exit(main())
