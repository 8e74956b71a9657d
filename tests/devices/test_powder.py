"""Whether computed powder frames are what crystallography says."""

from __future__ import annotations

import time
from dataclasses import replace

import numpy as np
import pytest

from bluesky_azint import Integrator, detector
from bluesky_azint.calibrants import calibrant
from bluesky_azint.devices import powder
from bluesky_azint.devices.powder import POLARIZATION, debye_scherrer, powder_pattern
from bluesky_azint.errors import GeometryError
from bluesky_azint.geometry import Geometry

CEO2 = calibrant("CeO2")


def test_rings_lie_where_they_can_be_told_on_paper(straight: Geometry) -> None:
    """Along the row of the PONI a ring is at poni2 + L tan 2theta."""
    assert straight.wavelength is not None
    row = debye_scherrer(straight, CEO2, background=0.0)[int(straight.poni1 / 172e-6)]
    for two_theta in CEO2.two_theta(straight.wavelength)[:3]:
        pixel = (straight.poni2 + straight.dist * np.tan(two_theta)) / 172e-6 - 0.5
        near = np.arange(round(pixel) - 1, round(pixel) + 2)
        top = -0.5 * np.polyfit(near - pixel, np.log(row[near]), 2)
        assert top[1] / (2 * -top[0]) == pytest.approx(0.0, abs=0.03)  # of a pixel


def test_rings_of_a_tilted_detector_come_out_at_bragg_angles(geometry: Geometry) -> None:
    assert geometry.wavelength is not None
    frame = debye_scherrer(geometry, CEO2, background=0.0)
    result = Integrator(
        geometry, npt=2000, unit="2th_rad", splitting="no", polarization_factor=POLARIZATION
    ).integrate(frame)
    width = 1.2 * 172e-6 / geometry.dist
    for two_theta in CEO2.two_theta(geometry.wavelength)[:4]:
        near = (abs(result.radial - two_theta) < 2 * width) & (result.count > 0)
        shape = np.exp(-0.5 * ((result.radial[near] - two_theta) / width) ** 2)
        seen = result.intensity[near]
        # The position to a hundredth of the width, and nothing left of polarization and tilt.
        slope = np.gradient(shape, result.radial[near])
        height, shift = np.linalg.lstsq(np.stack([shape, -slope], 1), seen, rcond=None)[0]
        assert abs(shift / height) < 0.01 * width
        np.testing.assert_allclose(seen / height, shape, atol=0.03)


def test_heights_follow_structure_factors_and_lorentz(straight: Geometry) -> None:
    wavelength = 0.4133e-10
    axis, pattern = powder_pattern(CEO2, wavelength, width=1e-3)
    for ring, two_theta in zip(CEO2.rings[:5], CEO2.two_theta(wavelength), strict=False):
        height = np.interp(two_theta, axis, pattern)
        theta = two_theta / 2
        wanted = ring.intensity / (2 * np.sin(theta) ** 2 * np.cos(theta))
        assert height == pytest.approx(wanted, rel=1e-3)


def test_counts_and_background(straight: Geometry) -> None:
    frame = debye_scherrer(straight, CEO2, counts=500.0, background=20.0)
    bare = debye_scherrer(straight, CEO2, counts=500.0, background=0.0)
    assert bare.max() == pytest.approx(500.0)
    assert bare.min() < 1e-3  # between the rings there is nothing else
    centre = int(straight.poni1 / 172e-6), int(straight.poni2 / 172e-6)
    assert (frame - bare)[centre] == pytest.approx(20.0, rel=1e-4)
    assert (frame - bare).max() < 20.0001


def test_the_beam_is_polarized_along_the_rows(straight: Geometry) -> None:
    """At one distance from the beam only the polarization differs."""
    frame = debye_scherrer(straight, CEO2, counts=1e-6)
    row, column, away = int(straight.poni1 / 172e-6), int(straight.poni2 / 172e-6), 70
    two_theta = np.arctan(away * 172e-6 / straight.dist)
    c2, s2 = np.cos(two_theta) ** 2, np.sin(two_theta) ** 2
    ratio = frame[row, column + away] / frame[row + away, column]
    assert ratio == pytest.approx((1 + c2 - 0.99 * s2) / (1 + c2 + 0.99 * s2), rel=2e-3)
    assert ratio < 0.96


def test_rows_at_a_time_make_no_difference(
    geometry: Geometry, monkeypatch: pytest.MonkeyPatch
) -> None:
    frame = debye_scherrer(geometry, CEO2)
    monkeypatch.setattr(powder, "_ROWS", 7)
    np.testing.assert_array_equal(debye_scherrer(geometry, CEO2), frame)


def test_rings_get_as_wide_as_asked(straight: Geometry) -> None:
    narrow, wide = (debye_scherrer(straight, CEO2, background=0, width=w) for w in (1e-3, 2e-3))
    assert wide.sum() / narrow.sum() == pytest.approx(2.0, rel=0.1)


def test_four_million_pixels_take_less_than_two_seconds() -> None:
    large = Geometry(
        dist=0.2, poni1=0.08, poni2=0.08, wavelength=4e-11, detector=detector("Eiger2_4M")
    )
    start = time.process_time()
    assert debye_scherrer(large, CEO2).shape == (2162, 2068)
    assert time.process_time() - start < 2.0


def test_what_cannot_be_shown(straight: Geometry) -> None:
    with pytest.raises(GeometryError, match="has no wavelength"):
        debye_scherrer(replace(straight, wavelength=None), CEO2)
    with pytest.raises(GeometryError, match="No ring of CeO2 hits the detector"):
        debye_scherrer(replace(straight, dist=50.0), CEO2)
