"""The five numbers of a stand against the geometry in PONI terms."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

import bluesky_azint as ba
from bluesky_azint.calibration.cone import (
    PONI_PARAMETERS,
    Cone,
    to_poni,
    to_poni_jacobian,
    two_theta,
    two_theta_and_jacobian,
)
from bluesky_azint.calibration.surface import Surface

DETECTORS = {
    "flat": ba.Detector(pixel1=172e-6, pixel2=100e-6, shape=(40, 50)),
    "mirrored": ba.Detector(pixel1=172e-6, pixel2=100e-6, shape=(40, 50), orientation=1),
    "cylinder": replace(ba.detector("Aarhus").binned(100, 100), mask=None),
}


def _geometry(detector: ba.Detector) -> ba.Geometry:
    return ba.Geometry(
        detector=detector, dist=0.3, poni1=0.01, poni2=-0.02, rot1=0.4, rot2=-0.3, wavelength=1e-10
    )


@pytest.mark.parametrize("name", DETECTORS)
def test_angles_are_those_of_the_geometry(name: str) -> None:
    geometry = _geometry(DETECTORS[name])
    surface = Surface(geometry.detector)
    places = surface.of_pixels(np.arange(geometry.two_theta().size))
    cone = Cone.of(geometry)
    np.testing.assert_allclose(cone.two_theta(places), geometry.two_theta().ravel(), atol=1e-13)
    np.testing.assert_allclose(cone.chi(places), geometry.chi().ravel(), atol=1e-12)


@pytest.mark.parametrize("name", DETECTORS)
def test_there_and_back(name: str) -> None:
    geometry = _geometry(DETECTORS[name])
    back = Cone.of(geometry).geometry(Surface(geometry.detector), 1e-10)
    for parameter in PONI_PARAMETERS:
        assert getattr(back, parameter) == pytest.approx(getattr(geometry, parameter), abs=1e-13)


def test_fractional_indices_lie_between_the_pixels() -> None:
    for detector in DETECTORS.values():
        surface = Surface(detector)
        middle = surface.at([3.5], [4.0])
        columns = surface.shape[1]
        pair = surface.of_pixels(np.array([3 * columns + 4, 4 * columns + 4]))
        np.testing.assert_allclose(middle[:, 0], pair.mean(axis=1), atol=1e-12)


def test_derivatives() -> None:
    rng = np.random.default_rng(1)
    places = rng.uniform(-0.2, 0.2, (3, 50))
    parameters = np.array([[0.01, 0.03, 0.4, 0.3, -0.2], [0.0, 0.0, 0.2, 0.0, 0.0]])
    angles, jacobian = two_theta_and_jacobian(parameters, places)
    np.testing.assert_array_equal(angles, two_theta(parameters, places))
    for index in range(5):
        step = np.zeros(5)
        step[index] = 1e-6
        difference = two_theta(parameters + step, places) - two_theta(parameters - step, places)
        np.testing.assert_allclose(jacobian[..., index], difference / 2e-6, rtol=1e-6, atol=1e-8)


def test_derivatives_of_the_poni_terms() -> None:
    parameters = np.array([0.01, 0.03, 0.4, 0.3, -0.2])
    jacobian = to_poni_jacobian(parameters)
    step = np.array([1e-4, -2e-4, 1e-4, 3e-4, 1e-4])
    moved = to_poni(parameters + step) - to_poni(parameters - step)
    np.testing.assert_allclose(jacobian @ (2 * step), moved, rtol=1e-5)
