"""How many frames of an Eiger2 4M go from a file into Tiled in a second, and what limits that.

::

    python -m tests.measures.sustained [FRAMES]

Frames of 2167 x 2070 pixels in uint32, in an HDF5 file as Dectris writes it, of few, some and many
counts. Four ways take turns with the same file:

decode
    Every chunk is unpacked by bitshuffle, on all cores, and thrown away: nobody who unpacks frames
    can be faster. The Reducer can, for it sums packed frames as they are.
Tiled
    From documents to rows in Tiled: the Reducer of the service, its sink, and a Tiled server.
together
    The same frames summed together, not each alone as the Reducer does it, and not written.
pyFAI
    ``pyFAI.worker.Worker``, which is given one frame after the other by h5py and hdf5plugin.
"""

from __future__ import annotations

import sys
import tempfile
import time
import warnings
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import h5py
import hdf5plugin
import numpy as np
from event_model import ComposeStreamResource, compose_run
from numpy.typing import NDArray

from bluesky_azint import Integrator, Recipe
from bluesky_azint.benchmark.files import DATASET, write_frames
from bluesky_azint.benchmark.machine import this_machine
from bluesky_azint.benchmark.scene import BAD, geometry_of
from bluesky_azint.callbacks import EmbeddedTiled, Reducer, TiledSink, embedded_tiled, reduced_runs
from bluesky_azint.geometry import Geometry
from bluesky_azint.io.chunks import packed_frames, unpack

FRAMES, DIFFERENT, ROUNDS, STEP = 200, 6, 3, 10
COUNTS = (0.1, 3.0, 100.0)
RECIPE = Recipe(npt=1000, unit="q_A^-1", splitting="bbox", error_model="poisson")
PROMISED_OF_PYFAI = 1.0

Documents = list[tuple[str, dict[str, Any]]]


@dataclass
class Speed:
    """The shortest times of a way, in seconds for each frame: by the clock, and of all threads."""

    wall: float = np.inf
    cpu: float = np.inf

    def note(self, call: Callable[[], object], frames: int) -> None:
        """Time a call for so many frames."""
        wall, cpu = time.perf_counter(), time.process_time()
        call()
        self.wall = min(self.wall, (time.perf_counter() - wall) / frames)
        self.cpu = min(self.cpu, (time.process_time() - cpu) / frames)


def write_file(path: Path, geometry: Geometry, counts: float, number: int) -> int:
    """Write the rings of a powder, the same few frames again and again; the bytes of one."""
    rings = 0.3 + np.exp(-((geometry.q() % 5 - 2) ** 2) / 0.1)
    dice = np.random.default_rng(1)
    counted = dice.poisson(rings * counts / rings.mean(), (DIFFERENT, *geometry.shape))
    frames = counted.astype(np.uint32)
    frames[:, geometry.detector.mask] = BAD
    stored = write_frames(path, frames)
    with h5py.File(path, "r") as file:
        chunks = [file[DATASET].id.read_direct_chunk((one, 0, 0))[1] for one in range(DIFFERENT)]
    with h5py.File(path, "w") as file:
        dataset = file.create_dataset(
            DATASET,
            shape=(number, *geometry.shape),
            dtype=np.uint32,
            chunks=(1, *geometry.shape),
            **hdf5plugin.Bitshuffle(cname="lz4"),
        )
        for one in range(number):
            dataset.id.write_direct_chunk((one, 0, 0), chunks[one % DIFFERENT])
    return stored // DIFFERENT


def documents(path: Path, shape: tuple[int, ...], number: int) -> Documents:
    """A fly scan with the frames of a file."""
    run = compose_run(metadata={"scan_id": 1})
    key = {"source": "file", "dtype": "array", "dtype_numpy": "<u4", "external": "STREAM:"}
    descriptor: Any = run.compose_descriptor(
        "primary",
        {"det": {**key, "shape": [1, *shape]}},
        object_keys={"det": ["det"]},
    )
    resource, compose_datum = ComposeStreamResource(run.start_doc)(
        mimetype="application/x-hdf5",
        uri=f"file://localhost{path}",
        data_key="det",
        parameters={"dataset": DATASET, "chunk_shape": [1, *shape]},
    )
    found: Documents = [
        ("start", dict(run.start_doc)),
        ("descriptor", dict(descriptor.descriptor_doc)),
        ("stream_resource", dict(resource)),
    ]
    for start in range(0, number, STEP):
        datum = compose_datum(
            indices={"start": start, "stop": start + STEP},
            seq_nums={"start": start + 1, "stop": start + STEP + 1},
            descriptor=descriptor.descriptor_doc,
            validate=False,
        )
        found.append(("stream_datum", dict(datum)))
    run.compose_stop.event_counters["primary"] = number + 1
    found.append(("stop", dict(run.compose_stop())))
    return found


class IntoTiled:
    """Reduces runs with these frames into Tiled, with one Reducer, as the service does."""

    def __init__(self, tiled: EmbeddedTiled, folder: Path, geometry: Geometry) -> None:
        self._catalog = tiled.reduced
        self._sink = TiledSink(tiled.reduced, backup_directory=folder / "backup")
        self._reducer = Reducer(
            self._sink, recipe=RECIPE, default=geometry, directory=folder, roots=[folder.parent],
        )  # fmt: skip

    def __call__(self, path: Path, shape: tuple[int, ...], number: int) -> None:
        """Reduce a new run of a file, until its last row is in Tiled."""
        run = documents(path, shape, number)
        for name, doc in run:
            self._reducer(name, doc)
        assert self._sink.flush(60.0)
        (reduced,) = reduced_runs(self._catalog, run[0][1]["uid"])
        rows = reduced["primary"]["intensity"].shape[0]
        assert rows == number, f"{rows} rows of {number} are in Tiled."

    def close(self) -> None:
        """End the threads."""
        self._reducer.close()
        self._sink.close()


def decode(path: Path) -> None:
    """Unpack every frame of a file, on all cores."""
    with h5py.File(path, "r") as file:
        dataset = file[DATASET]

        def one(number: int) -> None:
            packed = packed_frames(dataset, number, number + 1)
            assert packed is not None
            unpack(packed)

        with ThreadPoolExecutor(this_machine().cores) as threads:
            list(threads.map(one, range(len(dataset))))


def together(path: Path, integrator: Integrator) -> None:
    """Sum the frames of a file, some at a time."""
    with h5py.File(path, "r") as file:
        dataset = file[DATASET]
        for start in range(0, len(dataset), STEP):
            packed = packed_frames(dataset, start, min(start + STEP, len(dataset)))
            assert packed is not None
            integrator.integrate(packed)


def pyfai_worker(geometry: Geometry, implementation: str) -> Callable[[NDArray[Any]], object]:
    """PyFAI's worker for the same patterns."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from pyFAI.detectors import detector_factory
        from pyFAI.integrator.azimuthal import AzimuthalIntegrator
        from pyFAI.worker import Worker
    names = ("dist", "poni1", "poni2", "rot1", "rot2", "rot3", "wavelength")
    worker = Worker(
        AzimuthalIntegrator(
            detector=detector_factory(geometry.detector.name),
            **{name: getattr(geometry, name) for name in names},
        ),
        shapeOut=(1, RECIPE.npt),
        unit=RECIPE.unit,
        dummy=BAD,
        delta_dummy=0.5,
        method=("bbox", "csr", implementation),
    )
    worker.error_model = RECIPE.error_model
    worker.safe = False
    worker.output = "raw"
    return lambda frame: worker.process(frame)


def by_pyfai(path: Path, worker: Callable[[NDArray[Any]], object], number: int) -> None:
    """Give it frames of a file, one after the other."""
    with h5py.File(path, "r") as file:
        dataset = file[DATASET]
        for one in range(number):
            worker(dataset[one])


def measure(folder: Path, number: int, counts: float) -> tuple[int, dict[str, Speed]]:
    """The bytes of a frame, and how fast each way is."""
    geometry = geometry_of("Eiger2 4M")
    path = folder / f"raw-{counts:g}.h5"
    size = write_file(path, geometry, counts, number)
    few = min(number, 2 * STEP)
    with embedded_tiled(folder / "server", readable_storage=[folder]) as tiled:
        into_tiled = IntoTiled(tiled, folder / "patterns", geometry)
        integrator = Integrator.from_recipe(geometry, RECIPE)
        ways: dict[str, tuple[Callable[[], object], int]] = {
            "decode": (lambda: decode(path), number),
            "Tiled": (lambda: into_tiled(path, geometry.shape, number), number),
            "together": (lambda: together(path, integrator), number),
        }
        for implementation in ("cython", "opencl"):
            try:
                worker = pyfai_worker(geometry, implementation)
                by_pyfai(path, worker, 1)
            except Exception as error:  # noqa: BLE001  it may be missing, or find no device
                print(f"pyFAI with {implementation} does not work here: {error!r}")
                continue
            ways[f"pyFAI {implementation}"] = (
                lambda worker=worker: by_pyfai(path, worker, few),  # type: ignore[misc]
                few,
            )
        speeds = {way: Speed() for way in ways}
        for round_ in range(ROUNDS + 1):
            for way, (call, frames) in ways.items():
                if round_:
                    speeds[way].note(call, frames)
                else:
                    call()
        into_tiled.close()
    return size, speeds


def main() -> int:
    """Print the figures; 1 if the way into Tiled is slower than pyFAI alone."""
    number = int(sys.argv[1]) if len(sys.argv) > 1 else FRAMES
    machine = this_machine()
    print(f"{number} frames at a time, best of {ROUNDS}; {machine.cpu}, {machine.cores} cores")
    failed = False
    for counts in COUNTS:
        with tempfile.TemporaryDirectory() as directory:
            size, speeds = measure(Path(directory), number, counts)
        print(f"\n{counts:g} counts a pixel, {size / 1e6:.1f} MB a frame in the file")
        print(f"{'':14s} {'frames/s':>9s} {'ms':>7s} {'CPU ms':>7s} {'Tiled is faster by':>19s}")
        for way, speed in speeds.items():
            ratio = speed.wall / speeds["Tiled"].wall
            print(
                f"{way:14s} {1 / speed.wall:9.1f} {1e3 * speed.wall:7.1f} {1e3 * speed.cpu:7.1f} "
                f"{ratio:18.2f}x"
            )
            failed |= way.startswith("pyFAI") and ratio < PROMISED_OF_PYFAI
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
