"""A RunEngine, the documents that it emits, and a small detector in front of a powder."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlparse

import h5py
import numpy as np
import pytest
from bluesky import RunEngine
from event_model import DocumentNames, schema_validators
from numpy.typing import NDArray
from ophyd_async.core import PathProvider, StaticPathProvider, UUIDFilenameProvider

from bluesky_azint.detectors import Detector
from bluesky_azint.geometry import Geometry
from bluesky_azint.masks import module_mask


@pytest.fixture(autouse=True)
def no_thread_is_left() -> Iterator[None]:
    """What a test starts, it ends."""
    before = set(threading.enumerate())
    yield
    left = [thread.name for thread in set(threading.enumerate()) - before]
    assert [name for name in left if "frame-stream" in name or "exposure" in name] == []


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


@dataclass(eq=False)
class Documents:
    """The documents of runs, each checked against its schema."""

    all: list[tuple[str, dict[str, Any]]] = field(default_factory=list)

    def __call__(self, name: str, document: dict[str, Any]) -> None:
        schema_validators[DocumentNames[name]].validate(document)
        self.all.append((name, document))

    def __getitem__(self, name: str) -> list[dict[str, Any]]:
        return [document for kind, document in self.all if kind == name]

    def only(self, name: str) -> dict[str, Any]:
        """The one document of that name."""
        (document,) = self[name]
        return document

    def frames(self) -> NDArray[Any]:
        """What the one stream resource leads to, as far as it is announced."""
        resource = self.only("stream_resource")
        (shape,) = [d["data_keys"][resource["data_key"]]["shape"] for d in self["descriptor"]]
        stop = max(datum["indices"]["stop"] for datum in self["stream_datum"])
        import hdf5plugin  # noqa: F401

        with h5py.File(unquote(urlparse(resource["uri"]).path), "r", swmr=True) as file:
            frames: NDArray[Any] = file[resource["parameters"]["dataset"]][: stop * shape[0]]
        return frames


@pytest.fixture
def documents(run_engine: RunEngine) -> Documents:
    """The documents that the RunEngine emits."""
    collected = Documents()
    run_engine.subscribe(collected)  # type: ignore[no-untyped-call]
    return collected


@pytest.fixture
def path_provider(tmp_path: Path) -> PathProvider:
    """A new name for every file."""
    return StaticPathProvider(UUIDFilenameProvider(), tmp_path)


@pytest.fixture(scope="session")
def geometry() -> Geometry:
    """Four modules of 90 x 110 pixels with gaps between them, tilted, at 30 keV."""
    mask = module_mask((190, 230), module=(90, 110), gap=(10, 10))
    return Geometry(
        dist=0.1,
        poni1=0.016,
        poni2=0.021,
        rot1=0.05,
        rot2=-0.03,
        rot3=0.7,
        wavelength=0.4133e-10,
        detector=Detector(pixel1=172e-6, pixel2=172e-6, mask=mask, name="four modules"),
    )


@pytest.fixture(scope="session")
def straight() -> Geometry:
    """The same without tilt or gaps: what is where can be told on paper."""
    return Geometry(
        dist=0.05,
        poni1=0.016,
        poni2=0.021,
        wavelength=0.4133e-10,
        detector=Detector(pixel1=172e-6, pixel2=172e-6, shape=(190, 230)),
    )


@pytest.fixture(scope="session")
def numbered() -> NDArray[np.int32]:
    """Three frames of which every pixel is different."""
    return np.arange(3 * 20 * 30, dtype=np.int32).reshape(3, 20, 30) - 7
