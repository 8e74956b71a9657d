"""Where pixels lie, against the geometry that integrates them."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

import bluesky_azint as ba
from bluesky_azint.calibration.surface import Surface

REGULAR = ba.Detector(pixel1=1e-4, pixel2=2e-4, shape=(30, 50))
IRREGULAR = ba.detector("Aarhus").binned(20, 20)
DETECTORS = {
    **{f"orientation {k}": replace(REGULAR, orientation=k) for k in (1, 2, 3, 4)},
    "cylinder": IRREGULAR,
}


@pytest.fixture(params=list(DETECTORS))
def surface(request: pytest.FixtureRequest) -> Surface:
    return Surface(DETECTORS[request.param])


def test_places_are_those_of_the_geometry(surface: Surface) -> None:
    centres = surface.geometry.centres()
    wanted = np.stack(np.broadcast_arrays(centres.y, centres.x, centres.z)).reshape(3, -1)
    pixels = np.arange(surface.shape[0] * surface.shape[1])
    np.testing.assert_allclose(surface.of_pixels(pixels), wanted, atol=1e-12)
    np.testing.assert_allclose(surface.at(*np.divmod(pixels, surface.shape[1])), wanted, atol=1e-12)


def test_between_pixels_places_lie_between(surface: Surface) -> None:
    middle = surface.at([10.5], [20.25])
    corners = surface.at([10, 10, 11, 11], [20, 21, 20, 21])
    weighted = corners @ [[0.375], [0.125], [0.375], [0.125]]
    np.testing.assert_allclose(middle, weighted, atol=1e-12)


def test_steps_are_mirrored_as_the_detector_is() -> None:
    for detector in (replace(REGULAR, orientation=k) for k in (1, 2, 3, 4)):
        surface = Surface(detector)
        down = surface.at([11], [20]) - surface.at([10], [20])
        right = surface.at([10], [21]) - surface.at([10], [20])
        steps = np.array([down[0, 0], right[1, 0]])
        np.testing.assert_allclose(surface.pixel_steps, steps)


def test_regular_detectors_go_on_outside() -> None:
    places = Surface(REGULAR).at([-0.5, -10.5, 99.5], [-0.5, 60.0, 4.0])
    wanted = np.array([[0.0, -1e-3, 1e-2], [0.0, 0.0121, 0.0009], [0.0, 0.0, 0.0]])
    np.testing.assert_allclose(places, wanted)


def test_sizes() -> None:
    surface = Surface(REGULAR)
    assert surface.shape == (30, 50)
    assert surface.size == pytest.approx(0.01)
    assert surface.pixel == pytest.approx(np.sqrt(2) * 1e-4)


def test_a_stand_is_a_geometry_of_this_detector() -> None:
    geometry = Surface(REGULAR).stand(dist=0.3, rot1=0.1, wavelength=1e-10)
    assert geometry.detector == REGULAR
    assert (geometry.dist, geometry.rot1, geometry.wavelength) == (0.3, 0.1, 1e-10)
