"""Geometries and engines."""

import pytest

import bluesky_azint as ba


@pytest.fixture(params=["scipy", "opencl", "histogram"])
def engine(request: pytest.FixtureRequest) -> str:
    name: str = request.param
    return name


@pytest.fixture
def small() -> ba.Geometry:
    """A tilted detector of 60 x 80 pixels with the beam on it."""
    return ba.Geometry(
        detector=ba.Detector(1e-3, 0.9e-3, (60, 80)),
        dist=0.12,
        poni1=0.031,
        poni2=0.0345,
        rot1=0.12,
        rot2=-0.07,
        rot3=0.3,
        wavelength=0.8e-10,
    )
