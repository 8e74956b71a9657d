"""Calibrations to store, and stores for them."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any
from uuid import uuid4

import numpy as np
import pytest
from numpy.typing import NDArray

from bluesky_azint.detectors import Detector
from bluesky_azint.geometry import Geometry
from bluesky_azint.store import CalibrationRecord, CalibrationStore, DirectoryStore, TiledStore

if TYPE_CHECKING:
    from tiled.client.container import Container

    from bluesky_azint.callbacks import EmbeddedTiled


def speckled(rows: int, columns: int) -> NDArray[np.bool_]:
    """A mask of that shape, of no regularity."""
    return np.random.default_rng(rows * columns).random((rows, columns)) < 0.1


GEOMETRY = Geometry(
    dist=0.1 + 1e-17,
    poni1=0.030103,
    poni2=1 / 3,
    rot1=0.01,
    rot2=-0.005,
    rot3=np.pi,
    wavelength=4.066e-11,
    detector=Detector(
        pixel1=172e-6,
        pixel2=75e-6,
        name="built here",
        mask=speckled(31, 47),
        dummy=-2.0,
        delta_dummy=1.5,
        orientation=2,
    ),
)


@pytest.fixture
def make_record() -> Callable[..., CalibrationRecord]:
    """Make a calibration with everything in it, or with something else in its place."""

    def make(**changes: object) -> CalibrationRecord:
        values: dict[str, Any] = {
            "detector": "eiger",
            "geometry": GEOMETRY,
            "mask": speckled(47, 31).T,
            "valid_from": datetime(2026, 3, 1, 8, tzinfo=UTC),
            "metadata": {"calibrant": "CeO2", "residual_px": 0.16, "rings": [1, 2, None]},
        }
        return CalibrationRecord(**{**values, **changes})

    return make


@pytest.fixture(scope="session")
def tiled_client(tiled: EmbeddedTiled) -> Container:
    """The client of the one Tiled server of all tests."""
    return tiled.client


@pytest.fixture(params=["directory", "tiled"])
def new_store(request: pytest.FixtureRequest, tmp_path: Path) -> Callable[[], CalibrationStore]:
    """Make an empty store."""
    if request.param == "directory":
        return lambda: DirectoryStore(tmp_path / str(uuid4()))
    client = request.getfixturevalue("tiled_client")
    return lambda: TiledStore.open(client, str(uuid4()))


@pytest.fixture
def store(new_store: Callable[[], CalibrationStore]) -> CalibrationStore:
    """An empty store."""
    return new_store()
