"""A RunEngine, and detectors that announce their frames in each of the ways there are."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Generator, Iterator
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
from bluesky import RunEngine
from numpy.typing import NDArray
from ophyd.areadetector.filestore_mixins import resource_factory
from ophyd.sim import NullStatus
from ophyd_async.core import StaticPathProvider, UUIDFilenameProvider, init_devices
from ophyd_async.sim import SimBlobDetector

from bluesky_azint.callbacks.frames import FrameBatch, FrameSource
from bluesky_azint.errors import FrameError

ROWS, COLUMNS = 30, 40


@pytest.fixture
def run_engine() -> Iterator[RunEngine]:
    """A RunEngine, stopped afterwards."""
    engine = RunEngine({}, call_returns_result=True)
    yield engine
    if engine.state == "paused":
        engine.halt()  # type: ignore[no-untyped-call]
    engine.loop.call_soon_threadsafe(engine.loop.stop)
    engine._th.join()
    engine.loop.close()


@pytest.fixture
def blob_detector(run_engine: RunEngine, tmp_path: Path) -> SimBlobDetector:
    """The simulated detector of ophyd-async: 240 x 320 pixels, stream documents, HDF5 in SWMR."""
    with init_devices():
        detector = SimBlobDetector(
            StaticPathProvider(UUIDFilenameProvider(), tmp_path), name="blob"
        )
    return detector


class FileDetector:
    """A detector that writes files, and tells of them, as areaDetector does with ophyd v1.

    Its frames are random numbers, kept in `taken`.
    """

    parent = None

    def __init__(self, directory: Path, *, spec: str, frames_per_point: int, name: str) -> None:
        self.name = name
        self.directory = directory
        self.spec = spec
        self.frames_per_point = frames_per_point
        self.taken: list[NDArray[np.uint16]] = []
        self.asset_docs: list[tuple[str, dict[str, Any]]] = []
        self.random = np.random.default_rng(1)

    def stage(self) -> None:
        self.points = itertools.count()
        stem = f"{self.name}_{len(self.taken)}"
        arguments: dict[str, Any] = {"frame_per_point": self.frames_per_point}
        if self.spec == "AD_TIFF":
            path = ""
            arguments |= {"template": "%s%s_%6.6d.tiff", "filename": stem}
            self.write = self.write_tiff(self.directory / stem)
        else:
            path = f"{stem}.h5"
            self.write = self.write_hdf5(self.directory / path)
        next(self.write)
        resource, self.make_datum = resource_factory(
            self.spec, self.directory, path, arguments, "posix"
        )
        self.asset_docs.append(("resource", resource))

    def write_tiff(self, stem: Path) -> Generator[None]:
        import tifffile

        for number in itertools.count():
            yield
            for place, frame in enumerate(self.taken[-1]):
                number_of_file = number * self.frames_per_point + place
                tifffile.imwrite(f"{stem}_{number_of_file:06d}.tiff", frame)

    def write_hdf5(self, path: Path) -> Generator[None]:
        with h5py.File(path, "w", libver="latest") as file:
            dataset = file.create_dataset(
                "/entry/data/data",
                shape=(0, ROWS, COLUMNS),
                maxshape=(None, ROWS, COLUMNS),
                chunks=(1, ROWS, COLUMNS),
                dtype="uint16",
            )
            if self.spec == "AD_HDF5_SWMR":
                file.swmr_mode = True
            while True:
                yield
                dataset.resize(len(dataset) + self.frames_per_point, axis=0)
                dataset[-self.frames_per_point :] = self.taken[-1]
                file.flush()

    def trigger(self) -> NullStatus:
        shape = (self.frames_per_point, ROWS, COLUMNS)
        self.taken.append(self.random.integers(0, 2**16, shape, dtype=np.uint16))
        next(self.write)
        datum = self.make_datum({"point_number": next(self.points)})
        self.datum_id = datum["datum_id"]
        self.asset_docs.append(("datum", datum))
        return NullStatus()

    def read(self) -> dict[str, dict[str, Any]]:
        return {self.name: {"value": self.datum_id, "timestamp": 0.0}}

    def describe(self) -> dict[str, dict[str, Any]]:
        shape = [self.frames_per_point, ROWS, COLUMNS]
        return {
            self.name: {
                "source": "test", "dtype": "array", "shape": shape, "external": "FILESTORE:",
            }
        }  # fmt: skip

    def collect_asset_docs(self) -> Iterator[tuple[str, dict[str, Any]]]:
        docs, self.asset_docs = self.asset_docs, []
        yield from docs

    def read_configuration(self) -> dict[str, Any]:
        return {}

    def describe_configuration(self) -> dict[str, Any]:
        return {}

    def configure(self) -> tuple[dict[str, Any], dict[str, Any]]:
        return {}, {}

    def unstage(self) -> None:
        self.write.close()


@pytest.fixture
def file_detector(tmp_path: Path) -> Callable[..., FileDetector]:
    """``file_detector(spec=, frames_per_point=)`` makes a detector of ophyd v1."""

    def make(spec: str, frames_per_point: int = 1, name: str = "camera") -> FileDetector:
        return FileDetector(tmp_path, spec=spec, frames_per_point=frames_per_point, name=name)

    return make


class Collector:
    """Feeds documents to a `FrameSource`; keeps them, the batches and the errors."""

    def __init__(self, **options: Any) -> None:
        self.source = FrameSource(**options)
        self.documents: list[tuple[str, dict[str, Any]]] = []
        self.batches: list[FrameBatch] = []
        self.errors: list[FrameError] = []

    def __call__(self, name: str, doc: dict[str, Any]) -> None:
        self.documents.append((name, doc))
        try:
            self.batches.extend(self.source(name, doc))
        except FrameError as error:
            self.errors.append(error)

    def of(self, name: str) -> list[dict[str, Any]]:
        """The documents of one kind."""
        return [doc for kind, doc in self.documents if kind == name]

    @property
    def frames(self) -> NDArray[Any]:
        return np.concatenate([batch.frames for batch in self.batches])

    @property
    def indices(self) -> list[int]:
        return [int(index) for batch in self.batches for index in batch.indices]

    @property
    def seq_nums(self) -> list[int]:
        return [int(number) for batch in self.batches for number in batch.seq_nums]


@pytest.fixture
def collect() -> Iterator[Callable[..., Collector]]:
    """``collect(**options of FrameSource)`` makes a subscriber that keeps the frames of runs."""
    made: list[Collector] = []

    def make(**options: Any) -> Collector:
        made.append(Collector(**options))
        return made[-1]

    yield make
    for collector in made:
        collector.source.close()
