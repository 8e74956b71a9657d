"""Frames of even noise without holes."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from bluesky_azint.calibration.rings.cleaning import CleanFrame, block_sum, clean, stabilised

RNG = np.random.default_rng(3)


def nothing(image: NDArray[np.generic]) -> NDArray[np.bool_]:
    return np.zeros(image.shape, dtype=bool)


@pytest.mark.parametrize("counts", [4.0, 20.0, 1000.0, 50_000.0])
def test_the_noise_is_one_whatever_the_counts(counts: float) -> None:
    image = RNG.poisson(counts, (300, 300))
    assert clean(image, nothing(image), 1).values.std() == pytest.approx(1.0, abs=0.02)
    image[:, ::7] = RNG.poisson(9 * counts, image[:, ::7].shape)  # also beside brighter pixels
    assert clean(image, nothing(image), 1).values[:, ::7].std() == pytest.approx(1.0, abs=0.03)


def test_blocks_have_the_noise_of_their_sum() -> None:
    image = RNG.poisson(1.0, (402, 407))
    frame = clean(image, nothing(image), 4)
    assert frame.values.shape == (100, 101)
    assert frame.values.std() == pytest.approx(1.0, abs=0.03)
    assert frame.values.mean() == pytest.approx(2 * np.sqrt(16.0 + 0.375), abs=0.3)


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.int32, np.float32])
def test_sums_of_blocks(dtype: type[np.generic]) -> None:
    image = RNG.integers(0, 250, (11, 13)).astype(dtype)
    for binning in (1, 2, 4):
        rows, columns = 11 // binning, 13 // binning
        wanted = np.array(
            [
                [
                    image[i * binning : (i + 1) * binning, j * binning : (j + 1) * binning].sum(
                        dtype=np.float64
                    )
                    for j in range(columns)
                ]
                for i in range(rows)
            ]
        )
        np.testing.assert_array_equal(block_sum(image, binning), wanted)


def test_places_in_blocks_are_places_on_the_detector() -> None:
    frame = CleanFrame(np.zeros((2, 2), np.float32), np.ones((2, 2), bool), 4)
    # The first block holds the pixels 0 to 3, whose middle is at 1.5.
    np.testing.assert_array_equal(frame.to_detector(np.array([0.0, 1.0, -0.5])), [1.5, 5.5, -0.5])


def test_pixels_far_off_all_their_neighbours_are_filled() -> None:
    image = RNG.poisson(50.0, (200, 200))
    at = RNG.integers(3, 197, (60, 2))
    image[tuple(at[:30].T)] = 20_000
    image[tuple(at[30:].T)] = 0
    frame = clean(image, nothing(image), 1)
    assert np.abs(frame.values - 2 * np.sqrt(50.4)).max() < 5.5
    assert frame.valid.all()  # single pixels leave no gap


def test_pairs_of_outliers_are_filled_too() -> None:
    image = RNG.poisson(50.0, (100, 100))
    for row in range(10, 90, 10):
        image[row, row : row + 2] = 20_000
    values = clean(image, nothing(image), 1).values
    assert np.abs(values - 2 * np.sqrt(50.4)).max() < 5.5


def test_what_is_wide_is_no_outlier() -> None:
    image = RNG.poisson(20.0, (200, 200))
    image[:, 100] = RNG.poisson(5000.0, 200)  # a ring one pixel wide
    image[50, 30:33] = 5000
    frame = clean(image, nothing(image), 1)
    assert frame.values[:, 100].min() > 2 * np.sqrt(4600.0)
    assert frame.values[50, 31] > 2 * np.sqrt(4600.0)


def test_few_counts_are_no_outliers() -> None:
    image = RNG.poisson(0.05, (200, 200))
    frame = clean(image, nothing(image), 1)
    np.testing.assert_array_equal(frame.values, stabilised(image.astype(np.float32)))


def test_gaps_are_filled_with_what_lies_around() -> None:
    slope = np.linspace(100.0, 400.0, 300)
    image = np.broadcast_to(slope, (200, 300)).copy()
    truth = 2 * np.sqrt(image + 0.375)
    mask = nothing(image)
    mask[90:97] = mask[:, 140:147] = True
    image[mask] = np.nan
    frame = clean(image, mask, 1)
    assert np.isfinite(frame.values).all()
    assert np.abs(frame.values - truth).max() < 0.6
    # Near them nothing is believed: places are up to 5 pixels off.
    assert not frame.valid[87:101].any()
    assert not frame.valid[:, 137:151].any()
    assert frame.valid[:85, :135].all()


def test_large_holes_are_filled_too() -> None:
    image = np.full((300, 300), 60.0)
    mask = nothing(image)
    mask[:, 20:] = True
    values = clean(image, mask, 1).values
    np.testing.assert_allclose(values, 2 * np.sqrt(60.375), rtol=1e-4)


def test_a_frame_without_valid_pixels_is_empty() -> None:
    image = np.full((40, 40), 7.0)
    frame = clean(image, ~nothing(image), 1)
    assert not frame.valid.any()
    np.testing.assert_array_equal(frame.values, 0.0)


def test_blocks_with_a_gap_count_for_the_whole() -> None:
    image = np.full((40, 40), 30)
    mask = nothing(image)
    mask[10] = True
    image[10] = -1
    frame = clean(image, mask, 4)
    np.testing.assert_allclose(frame.values, 2 * np.sqrt(16 * 30 + 0.375), rtol=1e-6)
    assert frame.valid.all()
    mask[8:11] = mask[13:16] = True  # more than half of the blocks
    assert not clean(image, mask, 4).valid[2:4].any()
