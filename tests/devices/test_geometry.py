"""The geometry as a device."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import bluesky.plan_stubs as bps
import bluesky.plans as bp
import numpy as np
import pytest
from bluesky import FailedStatus, RunEngine
from bluesky.protocols import Configurable, Movable, Readable
from ophyd_async.core import PathProvider, init_devices
from ophyd_async.sim import SimBlobDetector

from bluesky_azint.devices import GeometryDevice
from bluesky_azint.geometry import Geometry
from bluesky_azint.store import CalibrationRecord

if TYPE_CHECKING:
    from tests.devices.conftest import Documents

NUMBERS = ("dist", "poni1", "poni2", "rot1", "rot2", "rot3", "wavelength")


@pytest.fixture
def device(run_engine: RunEngine) -> GeometryDevice:
    """A geometry that is not known yet."""
    with init_devices():
        geometry = GeometryDevice()
    return geometry


@pytest.fixture
def detector(
    run_engine: RunEngine, device: GeometryDevice, path_provider: PathProvider
) -> SimBlobDetector:
    """Somebody else's detector, which carries the geometry."""
    with init_devices():
        blob = SimBlobDetector(path_provider)
    blob.add_config_signals(*device.config_signals())
    return blob


def test_the_protocols(device: GeometryDevice) -> None:
    assert isinstance(device, Movable)
    assert isinstance(device, Readable)
    assert isinstance(device, Configurable)


def test_a_geometry_that_is_not_set_says_so(
    run_engine: RunEngine, documents: Documents, detector: SimBlobDetector
) -> None:
    run_engine(bp.count([detector]))
    configuration = documents.only("descriptor")["configuration"]["blob"]["data"]
    assert np.isnan([configuration[f"geometry-{name}"] for name in NUMBERS]).all()
    assert configuration["geometry-detector"] == configuration["geometry-calibration_uid"] == ""


def test_a_calibration_is_in_the_descriptor(
    run_engine: RunEngine,
    documents: Documents,
    device: GeometryDevice,
    detector: SimBlobDetector,
    geometry: Geometry,
) -> None:
    record = CalibrationRecord(
        detector="blob", geometry=geometry, valid_from=datetime(2026, 3, 1, tzinfo=UTC)
    )
    run_engine(bps.mv(device, record))
    run_engine(bp.count([detector]))
    configuration = documents.only("descriptor")["configuration"]["blob"]
    data, keys = configuration["data"], configuration["data_keys"]
    assert {name: data[f"geometry-{name}"] for name in NUMBERS} == {
        name: getattr(geometry, name) for name in NUMBERS
    }
    assert data["geometry-detector"] == "four modules"
    assert data["geometry-calibration_uid"] == record.uid
    assert [keys[f"geometry-{name}"]["units"] for name in NUMBERS] == [
        *["m"] * 3,
        *["rad"] * 3,
        "m",
    ]


def test_the_next_run_has_the_next_geometry(
    run_engine: RunEngine,
    documents: Documents,
    device: GeometryDevice,
    detector: SimBlobDetector,
    geometry: Geometry,
) -> None:
    record = CalibrationRecord(detector="blob", geometry=geometry, valid_from=datetime.now(UTC))
    run_engine(bps.mv(device, record))
    run_engine(bp.count([detector]))
    run_engine(bps.mv(device, replace(geometry, dist=0.25, wavelength=None)))
    run_engine(bp.count([detector]))
    first, second = (d["configuration"]["blob"]["data"] for d in documents["descriptor"])
    assert (first["geometry-dist"], second["geometry-dist"]) == (0.1, 0.25)
    assert second["geometry-calibration_uid"] == ""  # it is from none, nothing is left of the first
    assert np.isnan(second["geometry-wavelength"])


def test_nothing_else_can_be_set(run_engine: RunEngine, device: GeometryDevice) -> None:
    with pytest.raises(FailedStatus) as failure:
        run_engine(bps.mv(device, 0.2))
    assert "geometry is set to 0.2; it must be a CalibrationRecord or a Geometry" in str(
        failure.value.__cause__
    )
    assert not hasattr(device.dist, "set")  # the numbers change together or not at all
