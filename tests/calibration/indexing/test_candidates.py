"""Rings with numbers."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from numpy.typing import NDArray

from bluesky_azint.calibration.cone import Cone, two_theta
from bluesky_azint.calibration.indexing.candidates import distinct, settle
from bluesky_azint.calibration.indexing.index import index
from bluesky_azint.calibration.indexing.peaks import find_peaks, mean_angles
from bluesky_azint.calibration.indexing.pieces import Pieces, sample
from bluesky_azint.calibration.indexing.terrain import Terrain
from tests.calibration.indexing.made import (
    CONES,
    PIXEL,
    SHAPE,
    SIZE,
    SURFACE,
    TERRAIN,
    arcs,
    parameters,
    pixels_apart,
    reference,
)

MIDDLE = CONES["in the middle"]


def shift(pixels: float) -> NDArray[np.float64]:
    """Of the centre, downwards."""
    return np.array([pixels * PIXEL / SIZE, 0.0, 0.0, 0.0, 0.0])


def pieces_of(cone: Cone, noise: float = 0.1) -> Pieces:
    return sample(arcs(cone, noise=noise), SURFACE, 400, 4000)


@pytest.mark.parametrize("cone", CONES.values(), ids=CONES)
def test_a_stand_settles_on_exact_arcs(cone: Cone) -> None:
    pieces = pieces_of(cone, noise=0.0)
    # On an arm, rings move off much faster.
    off = 1.004 if cone.tilt < 0.5 else 1.0002
    start = parameters(replace(cone, distance=off * cone.distance))
    found = settle(pieces, start, reference(), TERRAIN)
    assert found is not None
    assert pixels_apart(parameters(cone), found.parameters) < 0.02
    assert found.matched == found.expected
    assert found.unexplained == 0
    assert found.score > 2 * found.matched
    if cone.tilt < 0.5:
        assert found.cone(SIZE).distance == pytest.approx(cone.distance, rel=1e-4)
        assert found.cone(SIZE).centre1 == pytest.approx(cone.centre1, abs=0.1 * PIXEL)


def test_a_stand_that_fits_no_line_is_none() -> None:
    pieces = pieces_of(MIDDLE)
    lines = reference()
    beyond = replace(lines, two_theta=lines.two_theta + 1.5)
    assert settle(pieces, parameters(MIDDLE), beyond, TERRAIN) is None


def test_a_wrong_stand_settles_on_a_lower_score() -> None:
    pieces = pieces_of(MIDDLE)
    right = settle(pieces, parameters(MIDDLE), reference(), TERRAIN)
    wrong = settle(
        pieces, parameters(replace(MIDDLE, distance=0.5 * MIDDLE.distance)), reference(), TERRAIN
    )
    assert right is not None
    assert wrong is None or wrong.score < 0.3 * right.score


def test_foreign_arcs_are_left_out_and_counted() -> None:
    foreign = arcs(MIDDLE, "LaB6")
    own = arcs(MIDDLE)
    both = replace(
        own,
        **{
            name: np.concatenate([getattr(own, name), getattr(foreign, name)])
            for name in ("row", "column", "normal", "strength")
        },
        arc=np.concatenate([own.arc, foreign.arc + len(own)]),
    )
    found = settle(sample(both, SURFACE, 400, 4000), parameters(MIDDLE), reference(), TERRAIN)
    assert found is not None
    assert pixels_apart(parameters(MIDDLE), found.parameters) < 0.5
    assert 0.3 < found.unexplained < 0.6


@pytest.mark.parametrize("cone", [MIDDLE, CONES["on an arm"]], ids=["in the middle", "on an arm"])
def test_the_right_stand_is_the_best(cone: Cone) -> None:
    found = arcs(cone)
    coarse, pieces = sample(found, SURFACE, 100, 900), sample(found, SURFACE, 400, 4000)
    true = parameters(cone)
    tried = np.array([true * [1, 1, s, 1, 1] for s in (0.5, 0.8, 0.98, 1.02, 1.5)])
    scatter = np.array([0.15, 0.12, 0.1, 0.1, 0.13])
    candidates = index(tried, scatter, coarse, pieces, reference(), TERRAIN)
    assert pixels_apart(true, candidates[0].parameters) < 0.1
    scores = [one.score for one in candidates]
    assert scores == sorted(scores, reverse=True)
    assert all(score < scores[0] - 6 for score in scores[1:])


def test_no_stand_explains_what_is_even_for_none() -> None:
    pieces = pieces_of(MIDDLE)
    tried = parameters(MIDDLE)[np.newaxis]
    assert index(tried, np.array([2.9]), pieces, pieces, reference(), TERRAIN) == []


def test_doubles_are_one() -> None:
    found = settle(pieces_of(MIDDLE), parameters(MIDDLE), reference(), TERRAIN)
    assert found is not None
    near = replace(found, parameters=found.parameters + shift(0.5))
    far = replace(found, parameters=found.parameters + shift(5.0))
    assert distinct([found, near], TERRAIN) == [found]
    assert distinct([found, far, near], TERRAIN) == [found, far]
    assert distinct([], TERRAIN) == []


def test_arcs_of_one_ring_are_one_peak() -> None:
    cone = CONES["tilted"]
    pieces = pieces_of(cone)
    true = parameters(cone)
    stretched = np.array([true, true * [1, 1, 1.01, 1, 1]])
    peaks = find_peaks(pieces, true, stretched)
    lines = reference().two_theta
    nearest = np.abs(peaks.two_theta[0][:, np.newaxis] - lines).min(axis=1)
    assert np.all(nearest < 0.3 * peaks.per_pixel)
    assert peaks.two_theta.shape[1] < len(pieces.lengths)
    assert np.all(np.diff(peaks.two_theta[0]) > 1.5 * peaks.per_pixel[1:] - 1e-12)
    assert peaks.weight.mean() == pytest.approx(1.0)
    # What they move to at another distance is what a fit at that one would see.
    again, _, _ = mean_angles(pieces, stretched[1])
    assert (
        np.abs(peaks.two_theta[1][:, np.newaxis] - again).min(axis=1).max()
        < 0.5 * peaks.per_pixel.max()
    )


def test_uneven_arcs_are_no_peaks() -> None:
    wrong = parameters(MIDDLE) + shift(0.3 * SIZE / PIXEL)
    assert find_peaks(pieces_of(MIDDLE), wrong, wrong[np.newaxis]).weight.size == 0


@pytest.mark.parametrize("name", ["in the middle", "tilted", "beside the beam"])
def test_lengths_of_rings_on_the_detector(name: str) -> None:
    cone = CONES[name]
    two_theta_of = reference().two_theta[:8]
    rows, columns = np.indices(SHAPE)
    angle = cone.two_theta(SURFACE.at(rows.ravel(), columns.ravel())).reshape(SHAPE)
    size = np.hypot(*np.gradient(angle))
    # Pixels within a band, over its width.
    width = 6.0
    wanted = np.array(
        [(np.abs(angle - t) < 0.5 * width * size).sum() / width for t in two_theta_of]
    )
    stands = np.array([parameters(cone)] * 3)
    found = TERRAIN.arc_lengths(stands, two_theta_of)
    assert found.shape == (3, 8)
    np.testing.assert_allclose(found[0], wanted, rtol=0.25, atol=60)


def test_gaps_have_no_rings() -> None:
    good = np.ones(SHAPE, dtype=bool)
    good[:, :250] = False
    half = Terrain.of(SURFACE, good)
    stand = parameters(MIDDLE)[np.newaxis]
    lines = reference().two_theta[:3]
    ratio = half.arc_lengths(stand, lines) / TERRAIN.arc_lengths(stand, lines)
    assert np.all((ratio > 0.3) & (ratio < 0.7))


def test_stands_apart() -> None:
    true = parameters(MIDDLE)
    assert TERRAIN.apart(true, true) == 0
    # Rings go up, and their left and right sides do not change.
    moved = true + shift(3.0)
    assert TERRAIN.apart(true, moved) == pytest.approx(3 / np.sqrt(2), rel=0.15)
    assert TERRAIN.slope(true) == pytest.approx(
        np.median(np.hypot(*np.gradient(two_theta_of_all(true)))), rel=0.05
    )


def two_theta_of_all(stand: NDArray[np.float64]) -> NDArray[np.float64]:
    rows, columns = np.indices(SHAPE)
    places = SURFACE.at(rows.ravel(), columns.ravel()) / SIZE
    return np.asarray(two_theta(stand, places)).reshape(SHAPE)
