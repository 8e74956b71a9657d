"""Ridges: where they lie, and that there are none where nothing is."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from numpy.typing import NDArray

from bluesky_azint.calibration.rings.circles import Circle
from bluesky_azint.calibration.rings.cleaning import CleanFrame, clean
from bluesky_azint.calibration.rings.ridges import Arcs, find_arcs

FloatArray = NDArray[np.float64]
SHAPE = (240, 260)
ROW, COLUMN = np.indices(SHAPE).astype(np.float64)
Height = Callable[[FloatArray], FloatArray]


def profile(distance: FloatArray, fwhm: float = 4.0) -> FloatArray:
    return np.asarray(np.exp(-4 * np.log(2) * (distance / fwhm) ** 2))


def frame(distance: FloatArray, height: float = 8.0) -> CleanFrame:
    """A ridge without noise, already of even noise."""
    values = (10.0 + height * profile(distance)).astype(np.float32)
    return CleanFrame(values, np.ones(values.shape, dtype=bool), 1)


def inside(arcs: Arcs) -> NDArray[np.bool_]:
    """Points that are not at the border, beyond which nothing is known."""
    row, column = arcs.row, arcs.column
    near = (row > 8) & (row < SHAPE[0] - 9) & (column > 8) & (column < SHAPE[1] - 9)
    return np.asarray(near)


def poisson(mean: FloatArray, seed: int = 0) -> CleanFrame:
    counts = np.random.default_rng(seed).poisson(mean)
    return clean(counts, np.zeros(mean.shape, dtype=bool), 1)


@pytest.mark.parametrize("direction", [0.0, 0.3, np.pi / 4, np.pi / 2, 2.5])
def test_straight_ridges_to_a_small_part_of_a_pixel(direction: float) -> None:
    normal = np.array([np.cos(direction), np.sin(direction)])

    def distance(row: FloatArray, column: FloatArray) -> FloatArray:
        across: FloatArray = (row - 120.3) * normal[0] + (column - 130.7) * normal[1]
        return across

    arcs = find_arcs(frame(distance(ROW, COLUMN)))
    assert len(arcs) == 1
    assert len(arcs.row) > 200
    inner = inside(arcs)
    off = distance(arcs.row, arcs.column)[inner]
    assert abs(off.mean()) < 0.01
    assert off.std() < 0.05
    assert np.abs(off).max() < 0.12
    np.testing.assert_allclose(np.abs(arcs.normal[inner] @ normal), 1.0, atol=1e-3)


@pytest.mark.parametrize("radius", [12.0, 40.0, 95.0, 400.0])
def test_curved_ridges(radius: float) -> None:
    centre = np.array([120.3, 130.7] if radius < 100 else [120.3, 500.4])
    arcs = find_arcs(frame(np.hypot(ROW - centre[0], COLUMN - centre[1]) - radius))
    off = np.stack([arcs.row, arcs.column], axis=-1) - centre
    found = np.linalg.norm(off, axis=1)
    error = (found - radius)[inside(arcs)]
    # A Gaussian mean over 2 pixels moves a ring inwards, by 2^2 / (2 r).
    assert error.mean() == pytest.approx(-2.0 / radius, abs=0.01 + 0.5 / radius)
    assert error.std() < 0.05
    assert np.abs(error).max() < 0.12 + 2.0 / radius
    cosine = np.abs((off * arcs.normal).sum(axis=1) / found)[inside(arcs)]
    assert cosine.min() > 0.998
    if radius < 100:  # a point for every pixel that the ring passes
        assert len(arcs.row) == pytest.approx(2 * np.pi * radius, rel=0.4)


def test_points_follow_each_other_along_an_arc() -> None:
    arcs = find_arcs(frame(np.hypot(ROW - 120, COLUMN - 130) - 80))
    for number in range(len(arcs)):
        on = arcs.arc == number
        steps = np.hypot(np.diff(arcs.row[on]), np.diff(arcs.column[on]))
        assert steps.max() < 3.0
    assert np.all(np.diff(arcs.arc) >= 0)


def test_what_is_no_arc_of_a_circle_is_cut() -> None:
    bent = np.abs(COLUMN - 130) * 0.5 + 60 - ROW
    arcs = find_arcs(frame(bent))
    assert len(arcs) >= 2
    for number in range(len(arcs)):
        on = arcs.arc == number
        sides = np.sign(arcs.column[on] - 130)[np.abs(arcs.column[on] - 130) > 8]
        assert len(np.unique(sides)) <= 1  # none goes round the corner


def test_noise_has_no_ridges() -> None:
    points = sum(
        len(find_arcs(poisson(np.full((1000, 1000), counts), seed)).row)
        for seed, counts in enumerate((0.02, 1.0, 300.0))
    )
    assert points < 100  # of 3 million pixels


def test_a_smooth_background_and_edges_of_shadows_have_none() -> None:
    halo = 300.0 * np.exp(-np.hypot(ROW - 120, COLUMN - 130) / 60.0) + 20
    assert len(find_arcs(poisson(halo)).row) < 20
    mask = np.zeros(SHAPE, dtype=bool)
    mask[100:117] = mask[:, 60:67] = True
    counts = np.where(mask, 0, np.random.default_rng(1).poisson(200.0, SHAPE))
    assert len(find_arcs(clean(counts, mask, 1))) == 0


def test_weak_rings_are_found_in_their_noise() -> None:
    off = np.hypot(ROW - 120, COLUMN - 130) - 85
    arcs = find_arcs(poisson(100 + 30 * profile(off)))
    error = np.hypot(arcs.row - 120, arcs.column - 130) - 85
    on = np.abs(error) < 2
    assert on.mean() > 0.95
    assert on.sum() > 350  # most of the ring
    assert error[on].std() < 0.6
    assert abs(error[on].mean()) < 0.06


def test_gaps_interrupt_rings_and_bend_none() -> None:
    off = np.hypot(ROW - 120, COLUMN - 130) - 85
    counts = np.random.default_rng(4).poisson(20 + 400 * profile(off))
    mask = np.zeros(SHAPE, dtype=bool)
    mask[:, 150:157] = mask[70:87] = True
    counts[mask] = 0
    arcs = find_arcs(clean(counts, mask, 1))
    assert not mask[arcs.row.round().astype(int), arcs.column.round().astype(int)].any()
    assert len(arcs) == 4  # a ring that two gaps cut twice
    assert np.abs(np.hypot(arcs.row - 120, arcs.column - 130) - 85).max() < 0.7


def test_strength_is_how_much_more_a_ridge_is_than_the_least() -> None:
    off = COLUMN - 130.0
    weak, strong = (find_arcs(poisson(400 + h * profile(off))) for h in (100, 400))
    # 2 sqrt(N) rises by 4.7 and 16.6 there.
    assert np.median(strong.strength) / np.median(weak.strength) == pytest.approx(3.5, rel=0.12)
    assert weak.strength.min() > 1.0
    assert np.median(weak.strength) == pytest.approx(2.8, abs=0.5)


@pytest.mark.parametrize("radius", [40.0, 95.0])
def test_the_flanks_of_bright_rings_are_no_ridges(radius: float) -> None:
    # There the frame bends around the ring, too, by its slope over the radius.
    off = np.hypot(ROW - 120.3, COLUMN - 130.7) - radius
    for bright in (frame(off, 300.0), poisson(400 + 40_000 * profile(off))):
        arcs = find_arcs(bright)
        assert np.abs(np.hypot(arcs.row - 120.3, arcs.column - 130.7) - radius).max() < 1


def test_places_of_binned_frames_are_those_of_the_detector() -> None:
    off = np.hypot(ROW - 120.3, COLUMN - 130.7) - 85
    counts = np.round(400 + 4000 * profile(off, 8.0)).astype(np.int64)
    arcs = find_arcs(clean(counts, np.zeros(SHAPE, dtype=bool), 2))
    # The mean is one over 4 pixels now: 4^2 / (2 r) inwards.
    found = np.hypot(arcs.row - 120.3, arcs.column - 130.7).mean()
    assert found == pytest.approx(85.0 - 16.0 / 170.0, abs=0.03)
    centre = Circle.through(np.stack([arcs.row, arcs.column], axis=-1)).centre
    np.testing.assert_allclose(centre, [120.3, 130.7], atol=0.03)


def test_a_frame_of_nothing_has_no_arcs() -> None:
    for values in (np.zeros(SHAPE), np.full(SHAPE, 5.0)):
        arcs = find_arcs(CleanFrame(values.astype(np.float32), np.ones(SHAPE, bool), 1))
        assert len(arcs) == 0
        assert arcs.row.shape == (0,)
        assert arcs.normal.shape == (0, 2)
    arcs = find_arcs(CleanFrame(np.zeros(SHAPE, np.float32), np.zeros(SHAPE, bool), 1))
    assert len(arcs) == 0


def test_longer_arcs_are_numbered_anew() -> None:
    arcs = Arcs(
        row=np.arange(6.0),
        column=np.arange(6.0),
        normal=np.ones((6, 2)),
        strength=np.arange(6.0),
        arc=np.array([0, 0, 1, 2, 2, 2]),
    )
    few = arcs.longer(2)
    np.testing.assert_array_equal(few.arc, [0, 0, 1, 1, 1])
    np.testing.assert_array_equal(few.strength, [0, 1, 3, 4, 5])
    assert len(few) == 2
    assert len(arcs.longer(4)) == 0
    assert len(arcs.longer(4).longer(4)) == 0
