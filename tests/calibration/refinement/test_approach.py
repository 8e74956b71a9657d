"""Rings are found some pixels off, and told from rings that are not there."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

import bluesky_azint as ba
from bluesky_azint.calibrants import calibrant
from bluesky_azint.calibration.cone import Cone
from bluesky_azint.calibration.refinement.approach import approach
from bluesky_azint.calibration.refinement.lines import lines_on
from bluesky_azint.calibration.refinement.sampling import Sampler
from bluesky_azint.calibration.surface import FloatArray, Surface
from tests.study.sample import Background, Rings
from tests.study.simulator import Look

PIXEL = 172e-6
WAVELENGTH = 0.4e-10
SURFACE = Surface(ba.Detector(pixel1=PIXEL, pixel2=PIXEL, shape=(320, 340)))
CONE = Cone(160 * PIXEL, 170 * PIXEL, 0.1, 0.0, 0.0)
CERIA = calibrant("CeO2")


def counts(fwhm: float, peak: float = 500.0, missing: int | None = None) -> FloatArray:
    rings = Rings.of("CeO2", WAVELENGTH)
    height = rings.height.copy()
    if missing is not None:
        height[missing] = 0.0
    look = Look(
        geometry=CONE.geometry(SURFACE, WAVELENGTH),
        rings=replace(rings, height=height),
        fwhm=fwhm * PIXEL / CONE.distance,
        lorentzian=0.0,
        peak=peak,
        background=Background(air=0.05),
    )
    return np.random.default_rng(0).poisson(look.expected()).astype(np.float64)


def sampler(image: FloatArray) -> Sampler:
    return Sampler(image, np.ones(image.shape, dtype=bool), SURFACE)


@pytest.mark.parametrize("fwhm", [2.0, 5.0])
def test_rings_are_found_where_they_are(fwhm: float) -> None:
    start = replace(CONE, centre1=CONE.centre1 + 3 * PIXEL)
    lines, seen, absent = approach(
        sampler(counts(fwhm)), start, lines_on(SURFACE, start, CERIA, WAVELENGTH)
    )
    assert len(lines) >= 4
    assert len(absent) == 0
    expected = lines.two_theta[seen.line] + start.two_theta(seen.places)
    expected -= CONE.two_theta(seen.places) + lines.two_theta[seen.line]
    off = (seen.shift - expected) / seen.scale
    assert np.sqrt(np.mean(np.square(expected / seen.scale))) > 1.5
    assert np.median(np.abs(off)) < 0.3
    np.testing.assert_allclose(lines.fwhm / lines.scale, fwhm, rtol=0.7)


def test_a_ring_that_is_missing_is_told() -> None:
    lines = lines_on(SURFACE, CONE, CERIA, WAVELENGTH)
    found, _, absent = approach(sampler(counts(2.0, missing=2)), CONE, lines)
    assert list(absent) == [2]
    assert 2 not in found.ring
    assert {0, 1} <= set(found.ring)
    assert len(found) >= 4


def test_noise_has_no_rings() -> None:
    noise = np.random.default_rng(0).poisson(20.0, SURFACE.shape).astype(np.float64)
    found, seen, _ = approach(sampler(noise), CONE, lines_on(SURFACE, CONE, CERIA, WAVELENGTH))
    assert len(found) == len(seen) == 0
