"""Noise, and what is smooth, are told from each other by sectors side by side."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

import bluesky_azint as ba
from bluesky_azint.calibration.cone import Cone
from bluesky_azint.calibration.refinement.neighbours import error_in_common, errors_by_scatter
from bluesky_azint.calibration.refinement.observations import Observations, observations
from bluesky_azint.calibration.surface import FloatArray, Surface

PIXEL = 1e-4
SURFACE = Surface(ba.Detector(pixel1=PIXEL, pixel2=PIXEL, shape=(1000, 1000)))
RINGS, SECTORS = 6, 200
NOISE = 0.05  # pixels


def seen(shift: FloatArray, claimed: FloatArray | float = NOISE) -> Observations:
    """Full rings, shifted by so many pixels in every sector."""
    chi = np.tile(np.linspace(-np.pi, np.pi, SECTORS, endpoint=False), RINGS)
    radius = np.repeat(np.linspace(100.0, 450.0, RINGS), SECTORS)
    made = observations(
        SURFACE,
        Cone(0.05, 0.05, 0.5, 0.0, 0.0),
        np.repeat(np.arange(RINGS), SECTORS),
        (499.5 + radius * np.sin(chi), 499.5 + radius * np.cos(chi)),
        shift,
        np.ones(len(chi)),
        np.ones(len(chi)),
    )
    return replace(made, shift=shift * made.scale, sigma=claimed * made.scale)


def noise(seed: int = 0) -> FloatArray:
    return NOISE * np.random.default_rng(seed).normal(size=RINGS * SECTORS)


def in_common(residual: FloatArray) -> tuple[float, float]:
    information = np.full(len(residual), NOISE**-2)
    return error_in_common(seen(residual), residual, information, SURFACE.size)


@pytest.mark.parametrize("seed", range(5))
def test_noise_is_not_smooth(seed: int) -> None:
    common, significance = in_common(noise(seed))
    assert common < 0.4 * NOISE
    assert significance < 2.5


def test_a_distortion_is_smooth() -> None:
    wave = 0.1 * np.sin(2 * seen(noise()).chi)
    common, significance = in_common(noise() + wave)
    assert common == pytest.approx(0.1 / np.sqrt(2), rel=0.1)
    assert significance > 8


def test_whole_rings_and_one_ring_alone_do_not_count() -> None:
    offsets = np.repeat(np.linspace(-1.0, 1.0, RINGS), SECTORS)
    assert in_common(noise() + offsets)[1] < 2.5
    wave = np.where(seen(noise()).line == 2, np.sin(seen(noise()).chi), 0.0)
    assert in_common(noise() + wave)[1] < 2.5


def test_nothing_is_not_smooth() -> None:
    empty = seen(noise())[np.zeros(RINGS * SECTORS, dtype=bool)]
    nothing = np.empty(0)
    assert error_in_common(empty, nothing, nothing, SURFACE.size) == (0.0, 0.0)


@pytest.mark.parametrize("factor", [0.3, 1.0, 3.0])
def test_errors_are_what_sectors_side_by_side_differ_by(factor: float) -> None:
    """Whatever the pixels claim, and though all follow a wave of ten times the noise."""
    found = seen(noise() + 10 * NOISE * np.sin(seen(noise()).chi), factor * NOISE)
    errors = errors_by_scatter(found, SURFACE.size) / found.scale
    assert np.median(errors) == pytest.approx(NOISE, rel=0.35)
    assert np.ptp(errors[:SECTORS]) < 1e-9
