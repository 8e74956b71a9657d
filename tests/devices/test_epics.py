"""The geometry in PVs, without an IOC; with one it is tested in ``tests/epics``."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime
from functools import partial
from math import isnan
from typing import Any

import bluesky.plan_stubs as bps
import pytest
from bluesky import FailedStatus, RunEngine
from ophyd_async.core import callback_on_mock_put, init_devices

from bluesky_azint.callbacks.resolve import resolve_calibration
from bluesky_azint.detectors import detector
from bluesky_azint.devices import EpicsGeometryDevice, GeometryDevice
from bluesky_azint.devices.geometry_signals import (
    NAMES,
    UNITS,
    pv_suffix,
    signal_values,
    writing_order,
)
from bluesky_azint.errors import AzintError, GeometryError
from bluesky_azint.geometry import Geometry
from bluesky_azint.store import CalibrationRecord

OLD = Geometry(dist=0.1, poni1=0.01, poni2=0.02, rot1=0.1, detector=detector("Pilatus100k"))
NEW = Geometry(dist=0.2, poni1=0.03, poni2=0.04, wavelength=1e-10, detector=detector("Pilatus1M"))


def record(geometry: Geometry) -> CalibrationRecord:
    return CalibrationRecord(detector="eiger", geometry=geometry, valid_from=datetime.now(UTC))


class Store:
    """Has one calibration."""

    def __init__(self, only: CalibrationRecord) -> None:
        self.only = only

    def get(self, uid: str) -> CalibrationRecord:
        assert uid == self.only.uid
        return self.only

    def latest(self, detector: str, when: datetime) -> None:
        return None


def resolved(signals: Mapping[str, Any], store: Any) -> Geometry | None:
    """The geometry that a run has which finds the signals so; None if it is refused."""
    descriptor: Any = {
        "data_keys": {"eiger": {"shape": [1, 2, 3]}},
        "object_keys": {"eiger": ["eiger"]},
        "configuration": {"eiger": {"data": {f"g-{key}": signals[key] for key in signals}}},
    }
    start: Any = {"uid": "raw", "time": 0.0}
    try:
        return resolve_calibration(descriptor, start, "eiger", store=store).geometry
    except AzintError:
        return None


def test_a_geometry_that_is_half_written_is_never_used() -> None:
    new = record(NEW)
    signals = signal_values(OLD, "g") | {"calibration_uid": ""}
    found = [resolved(signals, Store(new))]
    for step in writing_order(signal_values(new, "g"), "g"):
        for key, value in step.items():
            signals[key] = value
            found.append(resolved(signals, Store(new)))
    assert found[0] == OLD
    assert found[-1] == NEW
    assert {geometry for geometry in found if geometry is not None} == {OLD, NEW}
    assert found.index(None) == 1  # with the first PV that is written, the old one is over


def test_the_device_writes_in_that_order(run_engine: RunEngine) -> None:
    with init_devices(mock=True):
        device = EpicsGeometryDevice("ca://XRD:Geometry:")
    assert isinstance(device, GeometryDevice)
    assert device.poni1.source == "mock+ca://XRD:Geometry:Poni1"
    assert device.calibration_uid.source == "mock+ca://XRD:Geometry:CalibrationUid"
    assert [signal.name for signal in device.config_signals()] == [
        f"device-{key}" for key in (*UNITS, *NAMES)
    ]
    written: list[tuple[str, Any]] = []
    for key in (*UNITS, *NAMES):
        signal: Any = getattr(device, key)
        callback_on_mock_put(signal, partial(lambda k, value, **_: written.append((k, value)), key))
    new = record(NEW)
    run_engine(bps.mv(device, new))
    first, last = dict(written[:2]), written[-1]
    assert first.keys() == {"dist", "calibration_uid"}
    assert isnan(first["dist"])
    assert first["calibration_uid"] == ""
    assert last == ("dist", 0.2)
    assert dict(written)["calibration_uid"] == new.uid
    assert len(written) == 2 + 8 + 1


def test_what_pvs_cannot_hold_is_refused_before_anything_is_written(run_engine: RunEngine) -> None:
    with init_devices(mock=True):
        device = EpicsGeometryDevice("ca://XRD:Geometry:")
    long = replace(NEW, detector=replace(NEW.detector, name="é" * 20))
    with pytest.raises(FailedStatus) as failure:
        run_engine(bps.mv(device, long))
    assert isinstance(failure.value.__cause__, GeometryError)
    assert "has at most 39 bytes" in str(failure.value.__cause__)


def test_the_names_of_pvs() -> None:
    assert [pv_suffix(key) for key in (*UNITS, *NAMES)] == [
        "Dist", "Poni1", "Poni2", "Rot1", "Rot2", "Rot3", "Wavelength", "Detector", "CalibrationUid",
    ]  # fmt: skip
