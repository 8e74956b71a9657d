"""A process whose files may not grow: what a full disk is for HDF5. Run by a test, with a folder."""

from __future__ import annotations

import json
import resource
import signal
import sys
from pathlib import Path
from typing import Any

import h5py
import numpy as np
from event_model import compose_run

from bluesky_azint import Detector, Geometry, Integrator, Recipe
from bluesky_azint.callbacks import Reducer

RECIPE = Recipe(npt=500, unit="q_nm^-1", error_model="poisson")
GEOMETRY = Geometry(
    detector=Detector(1e-4, 1e-4, shape=(12, 16)),
    dist=0.1, poni1=0.0005, poni2=0.0007, wavelength=1e-10,
)  # fmt: skip
FRAMES = np.random.default_rng(3).poisson(100, (40, 12, 16)).astype("u2")


def limit(size: int) -> None:
    """Let files have so many bytes; beyond it writing fails, and no signal ends the process."""
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, resource.RLIM_INFINITY))


def documents() -> list[tuple[str, Any]]:
    run = compose_run()
    key: Any = {"source": "test", "dtype": "array", "shape": [12, 16]}
    bundle = run.compose_descriptor("primary", {"image": key}, object_keys={"image": ["image"]})
    events = [
        bundle.compose_event(
            data={"image": frame}, timestamps={"image": 0.0}, time=1000.0, validate=False
        )
        for frame in FRAMES
    ]
    started = [("start", run.start_doc), ("descriptor", bundle.descriptor_doc)]
    return [*started, *(("event", event) for event in events), ("stop", run.compose_stop())]


def main(folder: Path, when: str) -> None:
    """Reduce a run; the disk is full at the 31st frame, or at the first, and 10 frames long."""
    full = {"begin": 0, "middle": 30}[when]
    docs = documents()
    told: list[Any] = []

    def reduce() -> None:
        stops: list[Any] = []
        with Reducer(
            lambda name, doc: stops.append(doc) if name == "stop" else None,
            recipe=RECIPE, default=GEOMETRY, engine="scipy", directory=folder, continues=True,
        ) as reducer:  # fmt: skip
            for number, (name, doc) in enumerate(docs):
                if number == full + 2 and not told:
                    sizes = [file.stat().st_size for file in folder.iterdir()]
                    limit(max(sizes, default=20_000))
                if number == full + 12:
                    limit(resource.RLIM_INFINITY)
                reducer(name, doc)
        told.append(stops[-1])

    reduce()
    first = rows(folder)
    reduce()
    (file,) = folder.iterdir()
    result = {"stops": told, "first": first, "second": rows(folder), "file": file.name}
    json.dump(result, sys.stdout)


def rows(folder: Path) -> list[int]:
    """The rows that are right, in the file as others see it."""
    expected = Integrator.from_recipe(GEOMETRY, RECIPE, engine="scipy")
    patterns = expected.integrate(FRAMES, alone=True).intensity
    (path,) = folder.iterdir()
    with h5py.File(path, "r") as file:
        found = file["entry/data/I"][()]
    return [n for n, row in enumerate(found) if np.array_equal(row, patterns[n])]


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2])
