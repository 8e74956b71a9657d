"""Goniometers: the geometry of a position, and what is refused."""

import math
from typing import Any

import pytest

import bluesky_azint as ba
from bluesky_azint.errors import GeometryError, RecipeError
from bluesky_azint.goniometer import Goniometer

DETECTOR = ba.Detector(1e-4, 2e-4, (10, 20))


def arm(**changes: Any) -> Goniometer:
    values: dict[str, Any] = {
        "detector": DETECTOR,
        "parameters": {"dist0": 0.5, "poni": 0.01, "zero": 0.002, "keV": 20.0},
        "positions": ("tth", "z"),
        "expressions": {
            "dist": "dist0 + z / 1000",
            "poni1": "poni",
            "rot2": "zero - tth * pi / 180",
            "wavelength": "hc / keV * 1e-10",
        },
    }
    return Goniometer(**values | changes)


def test_the_geometry_of_a_position() -> None:
    geometry = arm().geometry(tth=30.0, z=10.0)
    assert geometry.dist == pytest.approx(0.51)
    assert (geometry.poni1, geometry.poni2, geometry.rot1, geometry.rot3) == (0.01, 0.0, 0.0, 0.0)
    assert geometry.rot2 == pytest.approx(0.002 - math.pi / 6)
    assert geometry.wavelength == pytest.approx(12.398419843320026e-10 / 20)
    assert geometry.detector is DETECTOR


def test_a_detector_that_goes_up_sees_larger_angles() -> None:
    """From the sample, a negative rot2 moves the detector up."""
    low, high = (arm().geometry(tth=tth, z=0.0).two_theta().min() for tth in (20.0, 40.0))
    assert math.degrees(high - low) == pytest.approx(20.0, abs=0.2)


def test_a_wavelength_without_a_formula() -> None:
    expressions = {"dist": "dist0 + z"}
    assert arm(expressions=expressions).geometry(tth=0.0, z=0.0).wavelength is None
    known = arm(expressions=expressions, wavelength=1e-10)
    assert known.geometry(tth=0.0, z=0.0).wavelength == 1e-10


def test_constants_have_a_say() -> None:
    scaled = arm(constants={"scale": 2.0}, expressions={"dist": "dist0 * scale"})
    assert scaled.geometry(tth=0.0, z=0.0).dist == 1.0


@pytest.mark.parametrize(
    ("changes", "error", "message"),
    [
        ({"positions": ("tth", "keV")}, GeometryError, "keV .* two things"),
        ({"positions": ("tth", "sin")}, GeometryError, "sin .* two things"),
        ({"constants": {"pi": 3.0}}, GeometryError, "pi .* two things"),
        ({"expressions": {"tilt": "1"}}, GeometryError, "formula for tilt"),
        ({"expressions": {"dist": "distance"}}, GeometryError, "for dist uses distance"),
        ({"expressions": {"dist": "dist0[0]"}}, RecipeError, "not understood"),
    ],
)
def test_goniometers_that_are_refused(
    changes: dict[str, Any], error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message):
        arm(**changes)


@pytest.mark.parametrize("positions", [{}, {"tth": 1.0}, {"tth": 1.0, "z": 1.0, "y": 1.0}])
def test_every_position_is_needed(positions: dict[str, float]) -> None:
    with pytest.raises(GeometryError, match="the motors tth, z"):
        arm().geometry(**positions)


def test_a_place_without_a_geometry() -> None:
    with pytest.raises(GeometryError, match="no geometry there"):
        arm(expressions={"dist": "dist0 / z"}).geometry(tth=0.0, z=0.0)
    with pytest.raises(GeometryError, match="no geometry there"):
        arm().geometry(tth=math.nan, z=0.0)
