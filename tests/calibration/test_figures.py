"""A calibration as plain values."""

import json

import numpy as np
import pytest

from bluesky_azint.calibration.figures import figures
from tests.calibration.made import GEOMETRY, calibration


def test_what_the_figures_are() -> None:
    found = figures(calibration("review", residual_relative=np.float32(0.5)))
    assert json.loads(json.dumps(found, allow_nan=False)) == found
    assert found["verdict"] == "review"
    assert found["reasons"] == ["Half of the rings are missing."]
    assert found["energy_kev"] == pytest.approx(30.996, abs=1e-3)
    assert found["parameters"]["rot2"] == {
        "value": -0.02, "sigma": pytest.approx(5e-5), "jackknife": pytest.approx(5e-4),
    }  # fmt: skip
    assert found["parameters"]["rot3"] == {"value": 0.0, "sigma": None, "jackknife": None}
    assert found["beam"]["distance"]["value"] == pytest.approx(0.1 / np.cos(0.01) / np.cos(0.02))
    assert found["beam"]["centre1"]["sigma"] == pytest.approx(5e-7)
    assert found["correlations"]["poni1"]["rot2"] == pytest.approx(-0.9)
    assert found["correlations"]["rot1"]["rot1"] == pytest.approx(1.0)
    assert found["residual_relative"] == 0.5
    assert found["floor_px"] is None  # it is NaN
    assert (found["sectors"], found["sectors_used"]) == (3, 2)
    assert [ring["hkl"] for ring in found["rings"]] == [[1, 1, 1], [2, 0, 0], [2, 2, 0]]
    assert [ring["used"] for ring in found["rings"]] == [True, True, False]
    assert found["match"]["runner_up"] == 3.0
    assert found["distortion"] is None
    assert found["masked"] == pytest.approx(55 / 4800)


def test_a_refined_wavelength_is_a_parameter() -> None:
    wide = np.diag(np.arange(1.0, 7.0) ** 2) * 1e-14
    found = figures(calibration(covariance=wide, jackknife=np.arange(6.0)))
    assert found["parameters"]["wavelength"] == {
        "value": 4e-11, "sigma": pytest.approx(6e-7), "jackknife": 5.0,
    }  # fmt: skip
    assert found["correlations"]["wavelength"]["dist"] == 0.0


def test_a_parameter_that_was_held_has_no_correlations() -> None:
    covariance = np.diag([1.0, 1.0, 1.0, 0.0, 0.0])
    found = figures(calibration(covariance=covariance))
    assert found["correlations"]["rot1"]["rot1"] is None
    assert found["parameters"]["rot1"]["sigma"] == 0.0


def test_a_refusal_gives_no_geometry() -> None:
    found = figures(calibration("refused", covariance=None, sectors=None, rings=()))
    assert (found["parameters"], found["beam"], found["detector"]) == (None, None, None)
    assert found["correlations"] is None
    assert str(GEOMETRY.poni2) not in json.dumps(found)
    assert found["sectors"] == 0
