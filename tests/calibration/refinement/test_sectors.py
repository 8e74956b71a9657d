"""Rings are measured in sectors to what the counts allow."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from numpy.typing import NDArray

import bluesky_azint as ba
from bluesky_azint.calibrants import calibrant
from bluesky_azint.calibration.cone import Cone
from bluesky_azint.calibration.refinement.lines import Lines, lines_on
from bluesky_azint.calibration.refinement.observations import Observations
from bluesky_azint.calibration.refinement.sampling import Sampler
from bluesky_azint.calibration.refinement.sectors import measure
from bluesky_azint.calibration.surface import FloatArray, Surface
from tests.study.sample import Background, Rings
from tests.study.simulator import Look

PIXEL = 172e-6
WAVELENGTH = 0.4e-10
SURFACE = Surface(ba.Detector(pixel1=PIXEL, pixel2=PIXEL, shape=(320, 340)))
CONE = Cone(160 * PIXEL, 170 * PIXEL, 0.1, 0.05, 0.0)
FWHM = 3.0


def expected(peak: float) -> FloatArray:
    look = Look(
        geometry=CONE.geometry(SURFACE, WAVELENGTH),
        rings=Rings.of("CeO2", WAVELENGTH),
        fwhm=FWHM * PIXEL / CONE.distance,
        lorentzian=0.2,
        peak=peak,
        background=Background(air=0.05),
    )
    return look.expected()


def measured(
    image: FloatArray, cone: Cone = CONE, good: NDArray[np.bool_] | None = None
) -> tuple[Lines, Observations]:
    good = np.ones(SURFACE.shape, dtype=bool) if good is None else good
    lines = lines_on(SURFACE, cone, calibrant("CeO2"), WAVELENGTH)
    lines = replace(lines, fwhm=np.full(len(lines), FWHM * PIXEL / CONE.distance))
    none = lines[np.zeros(len(lines), dtype=bool)]
    lines, seen, _ = measure(Sampler(image, good, SURFACE), cone, lines, none)
    return lines, seen


@pytest.mark.parametrize("peak", [30.0, 3000.0])
def test_errors_are_those_of_the_counts(peak: float) -> None:
    pulls = []
    for seed in range(3):
        _, seen = measured(np.random.default_rng(seed).poisson(expected(peak)).astype(np.float64))
        pulls.append(seen.shift / seen.sigma)
    pull = np.concatenate(pulls)
    assert len(pull) > 200
    assert abs(pull.mean()) < 4 / np.sqrt(len(pull))
    assert pull.std() == pytest.approx(1.0, abs=0.2)


def test_shifts_are_those_of_the_geometry() -> None:
    off = replace(CONE, centre1=CONE.centre1 + 0.8 * PIXEL)
    _, seen = measured(expected(3000.0), off)
    shift = off.two_theta(seen.places) - CONE.two_theta(seen.places)
    assert np.abs(shift / seen.scale).max() > 0.7
    # One step of Gauss and Newton is left: the next pass makes it.
    assert np.abs((seen.shift - shift) / seen.scale).max() < 0.03


def test_broken_pixels_are_left_out() -> None:
    image = expected(3000.0)
    rng = np.random.default_rng(0)
    image[rng.random(image.shape) < 1e-3] = 60_000.0
    _, seen = measured(image)
    assert np.quantile(np.abs(seen.shift / seen.scale), 0.98) < 0.1


def test_halves_of_sectors_are_not_used() -> None:
    """A mask along a ring leaves it one flank."""
    two_theta = CONE.two_theta(SURFACE.of_pixels(np.arange(320 * 340))).reshape(SURFACE.shape)
    lines, _ = measured(expected(3000.0))
    inner = two_theta < lines.two_theta[1] - 0.3 * lines.fwhm[1]
    outer = two_theta > lines.two_theta[1] + 2.0 * lines.fwhm[1]
    without, _ = measured(expected(3000.0), good=inner | outer)
    assert lines.ring[1] not in without.ring
    assert lines.ring[0] in without.ring


def test_sectors_are_longer_in_weak_rings_and_short_in_spotty_ones() -> None:
    rng = np.random.default_rng(0)
    weak, _ = measured(rng.poisson(expected(4.0)).astype(np.float64))
    strong, _ = measured(rng.poisson(expected(3000.0)).astype(np.float64))
    assert weak.arc.max() > 60
    assert set(strong.arc) == {30.0}
    chi = CONE.chi(SURFACE.of_pixels(np.arange(320 * 340))).reshape(SURFACE.shape)
    grains = rng.exponential(size=120)[((chi + np.pi) / (2 * np.pi) * 119.99).astype(int)] ** 2
    spotty, _ = measured(rng.poisson(expected(3000.0) * grains).astype(np.float64))
    assert set(spotty.arc) == {8.0}
