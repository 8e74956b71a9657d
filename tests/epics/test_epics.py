"""Detectors, geometries and patterns over Channel Access, with the IOCs and clients that there are."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from caproto import CaprotoTimeoutError
from caproto.sync.client import read, write

from bluesky_azint import Integrator
from bluesky_azint.devices.geometry_signals import UNITS
from tests.epics.documents import pattern
from tests.epics.frames import GEOMETRY, frame

IOC = Callable[..., int]
Session = Callable[..., Path]


def test_a_detector_of_an_ioc_is_reduced_and_shown(ioc: IOC, session: Session) -> None:
    port = ioc("tests.epics.detector_ioc", "XRD:")
    path = session("tests.epics.classic_client", "XRD:", port, "results.npz")
    told = json.loads(path.with_suffix(".json").read_text())
    with np.load(path) as results:
        arrays = dict(results)
    assert told["stops"] == ["success", "success"]
    assert arrays["motor"].tolist() == [0.0, 0.5, 2.0, 1.0]
    assert [c["camera_geometry_dist"] for c in told["configurations"]] == [0.05, 0.08]
    assert told["configurations"][0]["camera_geometry_calibration_uid"] == ""
    assert told["configurations"][1]["camera_geometry_calibration_uid"] == ""
    assert told["configurations"][0]["camera_energy"] == 17.712

    for number, motor in enumerate(arrays["motor"], start=1):
        geometry = GEOMETRY if number < 4 else replace(GEOMETRY, dist=0.08)
        integrator = Integrator(
            geometry, npt=200, unit="q_A^-1", error_model="poisson", engine="scipy"
        )
        expected = integrator.integrate(frame(number, motor))
        np.testing.assert_allclose(arrays["intensity"][number - 1], expected.intensity, rtol=1e-12)
    np.testing.assert_array_equal(arrays["by_caproto_Intensity"], arrays["intensity"][-1])
    np.testing.assert_array_equal(arrays["by_ophyd"], arrays["intensity"][-1])
    assert expected.sigma is not None
    np.testing.assert_allclose(arrays["by_caproto_Sigma"], expected.sigma, rtol=1e-12)
    np.testing.assert_array_equal(arrays["by_caproto_Radial"], expected.radial)


def test_a_calibration_goes_into_records_and_from_there_into_descriptors(
    ioc: IOC, session: Session
) -> None:
    port = ioc("tests.epics.geometry_softioc", "XRD:Geometry:")
    path = session("tests.epics.async_client", "XRD:", port, "results.json")
    told = json.loads(path.read_text())
    before, after = told["configurations"]
    assert np.isnan([before[f"geometry-{key}"] for key in UNITS]).all()
    assert before["geometry-calibration_uid"] == ""
    assert {key: after[f"geometry-{key}"] for key in UNITS} == {
        key: getattr(GEOMETRY, key) for key in UNITS
    }
    assert after["geometry-detector"] == GEOMETRY.detector.name
    assert after["geometry-calibration_uid"] == "0f3a-uid"
    assert {key: told["units"][f"geometry-{key}"] for key in UNITS} == UNITS
    assert told["intensity"] == pattern(3, 50)
    assert told["state"] == "idle"


def test_the_ioc_for_a_geometry(ioc: IOC, monkeypatch: pytest.MonkeyPatch) -> None:
    port = ioc("bluesky_azint.devices.geometry_ioc", "XRD:")
    monkeypatch.setenv("EPICS_CA_ADDR_LIST", f"127.0.0.1:{port}")
    monkeypatch.setenv("EPICS_CA_AUTO_ADDR_LIST", "NO")
    first = patiently("XRD:Dist")
    assert np.isnan(first.data).all()
    assert first.metadata.units == b"m"
    write("XRD:Poni1", 0.25, repeater=False, notify=True, timeout=60)
    write("XRD:CalibrationUid", "0f3a", repeater=False, notify=True, timeout=60)
    assert read("XRD:Poni1", repeater=False, timeout=60).data.tolist() == [0.25]
    assert read("XRD:CalibrationUid", repeater=False, timeout=60).data == [b"0f3a"]


def patiently(pv: str) -> Any:
    """Ask again and again, until somebody has the PV."""
    deadline = time.monotonic() + 120
    while True:
        try:
            return read(pv, data_type="control", repeater=False, timeout=0.5)
        except CaprotoTimeoutError:
            if time.monotonic() > deadline:
                raise
