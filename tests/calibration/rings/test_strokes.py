"""Rings of grains."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from bluesky_azint.calibration.rings.cleaning import CleanFrame, clean
from bluesky_azint.calibration.rings.ridges import Arcs, find_arcs
from bluesky_azint.calibration.rings.strokes import stroke_derivatives

FloatArray = NDArray[np.float64]
SHAPE = (300, 320)
ROW, COLUMN = np.indices(SHAPE).astype(np.float64)
NOTHING = np.zeros(SHAPE, dtype=bool)
RADIUS = 110.0


def spots(places: FloatArray, sizes: FloatArray, background: float = 5.0) -> CleanFrame:
    """Grains at places ``(n, 2)``."""
    mean = np.full(SHAPE, background)
    for (row, column), size in zip(places, sizes, strict=True):
        mean += size * np.exp(-0.5 * ((ROW - row) ** 2 + (COLUMN - column) ** 2) / 1.3**2)
    return clean(np.random.default_rng(0).poisson(mean), NOTHING, 1)


def on_ring(number: int, seed: int = 7) -> tuple[FloatArray, FloatArray]:
    """Grains of all sizes, anywhere on a ring."""
    rng = np.random.default_rng(seed)
    angle = rng.uniform(0, 2 * np.pi, number)
    places = [150.0, 160.0] + RADIUS * np.stack([np.sin(angle), np.cos(angle)], axis=-1)
    return places, 20.0 + rng.exponential(300.0, number)


def off_ring(arcs: Arcs) -> FloatArray:
    return np.asarray(np.hypot(arcs.row - 150, arcs.column - 160) - RADIUS)


@pytest.mark.parametrize("number", [40, 90])
def test_a_ring_of_grains_is_found(number: int) -> None:
    frame = spots(*on_ring(number))
    plain, strokes = find_arcs(frame), find_arcs(frame, 20.0)
    off = off_ring(strokes)
    assert (np.abs(off) < 2.5).mean() > 0.9
    assert abs(off[np.abs(off) < 4].mean()) < 1.5
    longest, longest_plain = (np.bincount(arcs.arc).max() for arcs in (strokes, plain))
    assert longest > 60
    assert longest_plain < 0.6 * longest  # grain by grain


def test_the_direction_is_that_along_the_row() -> None:
    along = np.array([np.sin(0.4), np.cos(0.4)])
    normal = np.array([np.cos(0.4), -np.sin(0.4)])
    places = [150.0, 160.0] + np.arange(-100, 101, 8.0)[:, np.newaxis] * along
    arcs = find_arcs(spots(places, np.full(len(places), 200.0)), 12.0)
    assert len(arcs) == 1
    middle = np.abs(arcs.column - 160) < 60
    np.testing.assert_allclose(np.abs(arcs.normal[middle] @ normal), 1.0, atol=0.02)
    off = (np.stack([arcs.row - 150, arcs.column - 160], axis=-1) @ normal)[middle]
    assert np.abs(off).max() < 0.7  # spots count where their brightest pixel is
    assert abs(off.mean()) < 0.15


def test_only_where_spots_are_counts() -> None:
    places, sizes = on_ring(90)
    one, other = find_arcs(spots(places, sizes), 20.0), find_arcs(spots(places, 30 * sizes), 20.0)
    assert np.abs(off_ring(other)).max() < 6
    assert len(other.row) == pytest.approx(len(one.row), rel=0.25)


def test_a_stroke_over_one_spot_is_told() -> None:
    frame = spots(np.array([[150.0, 160.0]]), np.array([500.0]))
    for along in (12.0, 32.0):
        derivatives = stroke_derivatives(frame, along)
        assert derivatives.curvature.shape == SHAPE
        # Two of them, one over the other, would be the least that makes a ridge.
        assert derivatives.curvature[150, 160] == pytest.approx(-derivatives.least / 2, rel=0.02)
        assert abs(derivatives.slope[150, 160]) < 1e-3 * derivatives.least
        assert len(find_arcs(frame, along)) == 0


def test_no_rows_in_noise() -> None:
    for counts in (0.02, 1.0, 300.0):
        image = np.random.default_rng(3).poisson(counts, (400, 400))
        frame = clean(image, np.zeros(image.shape, dtype=bool), 1)
        assert sum(len(find_arcs(frame, along).row) for along in (12.0, 20.0, 32.0)) < 100


def test_spots_anywhere_make_no_long_rows() -> None:
    rng = np.random.default_rng(4)
    places = rng.uniform([10, 10], [290, 310], (60, 2))
    arcs = find_arcs(spots(places, np.full(60, 300.0)), 12.0)
    assert np.bincount(arcs.arc, minlength=1).max() < 36  # three strokes count as long


def test_what_is_masked_has_no_spots() -> None:
    places, sizes = on_ring(90)
    frame = spots(places, sizes)
    left = COLUMN < 160
    half = CleanFrame(frame.values, frame.valid & left, 1)
    arcs = find_arcs(half, 20.0)
    assert len(arcs.row) > 50
    assert arcs.column.max() < 160.5
