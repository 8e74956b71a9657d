"""Which pixels are fitted."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

import bluesky_azint as ba
from bluesky_azint.calibrants import calibrant
from bluesky_azint.calibration.cone import Cone
from bluesky_azint.calibration.refinement.lines import lines_on
from bluesky_azint.calibration.refinement.observations import renumbered
from bluesky_azint.calibration.refinement.sampling import Sampler, unsaturated
from bluesky_azint.calibration.surface import Surface

PIXEL = 1e-4
SURFACE = Surface(ba.Detector(pixel1=PIXEL, pixel2=PIXEL, shape=(300, 320)))
CONE = Cone(150 * PIXEL, 160 * PIXEL, 0.1, 0.1, 0.05)


def test_pixels_near_lines() -> None:
    good = np.random.default_rng(0).random(SURFACE.shape) < 0.9
    image = np.arange(good.size, dtype=np.int32).reshape(SURFACE.shape)
    lines = lines_on(SURFACE, CONE, calibrant("CeO2"), 0.3e-10)
    half_width = np.minimum(0.9 * lines.reach, 3e-3)
    pixels = Sampler(image, good, SURFACE).near(CONE, lines, half_width, None)
    two_theta = CONE.two_theta(SURFACE.of_pixels(np.arange(good.size)))
    distance = np.abs(two_theta[:, np.newaxis] - lines.two_theta)
    near = np.any(distance < half_width, axis=1) & good.ravel()
    np.testing.assert_array_equal(pixels.index, np.flatnonzero(near))
    np.testing.assert_array_equal(pixels.value, pixels.index)
    np.testing.assert_array_equal(pixels.line, distance[near].argmin(axis=1))
    np.testing.assert_allclose(pixels.x, two_theta[near] - lines.two_theta[pixels.line])
    # A sector is an arc of about 30 pixels.
    sectors, counts = np.unique(pixels.sector[pixels.line == 0], return_counts=True)
    assert len(sectors) == lines.sectors[0]
    area = 30 * 2 * half_width[0] / lines.scale[0]
    assert np.median(counts) == pytest.approx(0.9 * area, rel=0.2)


def test_the_weight_is_solid_angle_and_polarization() -> None:
    geometry = CONE.geometry(SURFACE, 0.3e-10)
    lines = lines_on(SURFACE, CONE, calibrant("CeO2"), 0.3e-10)
    everything = np.ones(SURFACE.shape, dtype=bool)
    pixels = Sampler(np.zeros(SURFACE.shape), everything, SURFACE).near(
        CONE, lines, 0.9 * lines.reach, None
    )
    cosine = np.cos(geometry.two_theta().ravel()[pixels.index])
    expected = geometry.solid_angle().ravel()[pixels.index] * (1 + cosine**2)
    ratio = pixels.weight / expected
    np.testing.assert_allclose(ratio, ratio[0], rtol=1e-6)


def test_sectors_are_renumbered() -> None:
    lines = lines_on(SURFACE, CONE, calibrant("CeO2"), 0.3e-10)
    everything = np.ones(SURFACE.shape, dtype=bool)
    pixels = Sampler(np.zeros(SURFACE.shape), everything, SURFACE).near(
        CONE, lines, np.minimum(0.9 * lines.reach, 3e-3), None
    )
    some, line = renumbered(pixels, np.full(len(lines), 40.0), most=5)
    counts = np.bincount(some.sector)
    assert len(counts) == len(line)
    assert counts.min() >= 40
    assert np.all(np.bincount(line) < 10)
    np.testing.assert_array_equal(line[some.sector], some.line)
    assert len(renumbered(replace(pixels), np.full(len(lines), 1e9))[1]) == 0


def test_ceilings_are_found() -> None:
    rng = np.random.default_rng(0)
    good = np.ones((100, 100), dtype=bool)
    counts = rng.exponential(300.0, good.shape)
    for image in (counts, counts.astype(np.int32), rng.poisson(2.0, good.shape)):
        assert unsaturated(image, good).sum() >= good.size - 1
    cut = np.minimum(counts, 700.0)
    np.testing.assert_array_equal(unsaturated(cut, good), cut < 700)
    np.testing.assert_array_equal(unsaturated(cut.astype(np.uint16), good), cut.astype(int) < 700)
    byte = np.minimum(counts, 255).astype(np.uint8)
    np.testing.assert_array_equal(unsaturated(byte, good), byte < 255)
