"""What is no count of photons, made into counts."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from bluesky_azint.calibration.counting import lifted, photons

NONE = np.zeros((128, 160), dtype=bool)


def frame(mean: float = 50.0) -> NDArray[np.int64]:
    rows = np.linspace(0.5, 1.5, 128)[:, np.newaxis] * np.ones(160)
    return np.random.default_rng(3).poisson(mean * rows)


def test_marks_stay_bad() -> None:
    image = frame().astype(np.int32)
    image[3], image[4, 5] = -1, -2
    values, bad = lifted(image, NONE)
    assert values is image
    assert bad.sum() == 161


def test_noise_of_a_subtracted_background_is_lifted() -> None:
    image = frame() - 50.3 + np.random.default_rng(1).normal(size=NONE.shape)
    assert (image < 0).mean() > 0.3
    values, bad = lifted(image, NONE)
    assert bad.mean() == pytest.approx(0.001, abs=2e-4)
    assert values[~bad].min() >= 0
    np.testing.assert_allclose(np.diff(values, axis=0), np.diff(image, axis=0), atol=1e-12)


@pytest.mark.parametrize("scale", [1e-4, 0.1, 7.0, 1e3])
def test_scaled_counts_come_back(scale: float) -> None:
    counts = photons(frame() * scale, ~NONE)
    # Multiples of counts by more than one are whole numbers, too.
    assert np.mean(counts) == pytest.approx(50.0, rel=0.12)


@pytest.mark.parametrize("mean", [0.1, 1.0, 100.0])
def test_counts_are_left_alone(mean: float) -> None:
    image = frame(mean)
    np.testing.assert_allclose(photons(image, ~NONE), image, rtol=0.1)


def test_hot_pixels_do_not_count() -> None:
    image = frame()
    image[::40, ::40] = 100000
    assert np.median(photons(image, ~NONE)) == pytest.approx(50.0, rel=0.1)


def test_values_without_noise_are_not_blown_up() -> None:
    smooth = np.ones((128, 1)) * np.linspace(1.0, 1000.0, 160)
    assert photons(smooth, ~NONE).max() <= 1.01e5


def test_few_good_pixels_tell_nothing() -> None:
    image = frame() * 0.5
    good = NONE.copy()
    good[:20, :20] = True
    np.testing.assert_array_equal(photons(image, good), image)
