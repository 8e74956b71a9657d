"""Where a detector may stand, when rings have no numbers yet."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from bluesky_azint.calibration.cone import Cone, two_theta
from bluesky_azint.calibration.indexing.evenness import make_even, scatter_along
from bluesky_azint.calibration.indexing.pieces import sample
from bluesky_azint.calibration.indexing.search import STEP, distances_between, stands
from bluesky_azint.calibration.indexing.starts import from_aside, likely_centres, starts, unevenness
from tests.calibration.indexing.made import CONES, PIXEL, SIZE, SURFACE, arcs, parameters


@pytest.mark.parametrize("cone", CONES.values(), ids=CONES)
def test_a_true_stand_keeps_angles_even(cone: Cone) -> None:
    pieces = sample(arcs(cone), SURFACE, 100, 900)
    true = parameters(cone)[np.newaxis]
    assert scatter_along(pieces, true)[0] == pytest.approx(0.1, abs=0.03)  # the noise of its points
    assert unevenness(pieces, true)[0] < 0.01
    for axis in (0, 1, 3, 4):
        wrong = true.copy()
        wrong[0, axis] += 0.02 * max(1.0, true[0, 2])
        assert scatter_along(pieces, wrong)[0] > 0.12


@pytest.mark.parametrize("cone", CONES.values(), ids=CONES)
def test_the_search_passes_the_true_stand(cone: Cone) -> None:
    found = arcs(cone)
    pieces = sample(found, SURFACE, 100, 900)
    # Steps about the true distance are enough of a search; all of them take seconds.
    limits = 0.7 * cone.distance, 1.05 * cone.distance
    tried, scatter = stands(pieces, likely_centres(found, SURFACE), distances_between(limits, SIZE))
    assert tried.shape == (len(scatter), 5)
    near = np.abs(np.log(tried[:, 2] * SIZE / cone.distance)) < 0.6 * np.log(STEP)
    assert near.any()
    # At a distance a few percent off, what is left to fit makes up for it.
    assert scatter[near].min() < 0.3
    best = tried[near][np.argmin(scatter[near])]
    start = np.insert(best[[0, 1, 3, 4]], 2, parameters(cone)[2])[np.newaxis]
    settled, left = make_even(pieces, start, 9, cone.tilt > 0.5)
    assert left[0] < 0.15
    angle, true = (two_theta(one, pieces.places) for one in (settled[0], parameters(cone)))
    order = np.argsort(true)
    assert np.corrcoef(angle, true)[0, 1] > 0.999
    assert np.all(np.diff(angle[order]) > -0.01)


@pytest.mark.parametrize(
    "cone", [CONES["in the middle"], CONES["tilted"]], ids=["in the middle", "tilted"]
)
def test_an_even_stand_is_found_from_aside_of_it(cone: Cone) -> None:
    pieces = sample(arcs(cone), SURFACE, 100, 900)
    true = parameters(cone)
    start = true + np.array([0.1, -0.1, 0.0, 0.1, 0.1])
    settled, scatter = make_even(pieces, start[np.newaxis], 9, False)
    assert scatter[0] < 0.11
    np.testing.assert_allclose(settled[0, :2], true[:2], atol=2 * PIXEL / SIZE)
    np.testing.assert_allclose(settled[0, 3:], true[3:], atol=0.01)
    assert settled[0, 2] == true[2]


def test_what_one_arc_does_not_tell_is_decided_by_what_is_liked() -> None:
    cone = CONES["beside the beam"]
    found = arcs(cone)
    alone = found.longer(np.bincount(found.arc).max())
    assert len(alone) == 1
    pieces = sample(alone, SURFACE, 100, 900)
    start = parameters(cone)[np.newaxis] + np.array([0.0, 0.0, 0.0, 0.1, -0.1])
    upright, scatter = make_even(pieces, start, 30, False)
    aside, scatter_aside = make_even(pieces, start, 30, True)
    assert max(scatter[0], scatter_aside[0]) < 0.15
    assert abs(upright[0, 4]) < 0.03  # no tilt
    assert np.linalg.norm(foot(aside) - 0.5) < np.linalg.norm(foot(upright) - 0.5) - 0.02


def foot(stands: NDArray[np.float64]) -> NDArray[np.float64]:
    """Where the normals through the sample meet the detector."""
    slopes = stands[:, 3:]
    sine = slopes / np.sqrt(1 + (slopes**2).sum(axis=1, keepdims=True))
    points: NDArray[np.float64] = stands[:, :2] - stands[:, 2:3] * sine
    return points


def test_distances() -> None:
    everything = distances_between(None, 0.1)
    assert everything[0] == pytest.approx(0.15)
    assert everything[-1] == pytest.approx(100.0, rel=0.06)
    np.testing.assert_allclose(everything[1:] / everything[:-1], STEP)
    # A detector on an arm at 45 degrees is 1.4 times as far away along the beam.
    some = distances_between((0.3, 0.5), 0.1)
    assert some[0] < 3.0
    assert some[-1] > 5.0 * 1.4
    assert len(some) < 20
    assert len(distances_between((0.3, 0.3001), 0.1)) >= 2


def test_arcs_vote_for_the_centre() -> None:
    for name in ("in the middle", "beside the beam"):
        cone = CONES[name]
        centres = likely_centres(arcs(cone, noise=0.0), SURFACE)
        assert centres.shape == (6, 2)
        off = np.abs(centres - parameters(cone)[:2]).max(axis=1)
        assert off[0] < 0.06 if cone.tilt < 0.05 else off.min() < 0.2


def test_starts_are_everywhere() -> None:
    tried = starts(np.array([[0.123, 0.456]]))
    assert tried.shape[1] == 4
    assert (np.abs(tried[:, :2] - [0.123, 0.456]).max(axis=1) < 1e-12).sum() == 25
    assert tried[:, :2].min() < -1.4
    assert tried[:, :2].max() > 2.4
    assert np.hypot(tried[:, 2], tried[:, 3]).max() == pytest.approx(1.0)


def test_stands_from_aside_look_at_the_sample() -> None:
    curvature = np.array([[4.0, 0.5], [0.6, 0.4], [60.0, 0.5]])
    tried = from_aside(curvature, 5.0)
    assert len(tried) == 3  # not those around the detector itself, nor any beyond its distance
    np.testing.assert_allclose(foot(tried), 0.5, atol=1e-12)
    np.testing.assert_allclose(tried[:, 0] - 0.5, 3.5 * np.array([0.85, 1.0, 1.15]))


def test_samples_are_of_the_longest_arcs() -> None:
    found = arcs(CONES["tilted"])
    lengths = np.bincount(found.arc)
    assert len(lengths) > 8
    pieces = sample(found, SURFACE, 5, 200)
    assert len(pieces.lengths) == 5
    np.testing.assert_array_equal(np.sort(pieces.extent), np.sort(lengths)[-5:])
    assert pieces.places.shape[1] == pytest.approx(200, abs=10)
    share = pieces.lengths / pieces.extent
    assert share.max() / share.min() < 1.3  # each as many as its length deserves
    few = pieces.every(3)
    assert few.places.shape[1] == pytest.approx(67, abs=1)
    everything = sample(found, SURFACE, 10_000, 10_000_000)
    assert everything.places.shape[1] == len(found.row)
    least = sample(found, SURFACE, 100, 1)
    assert set(least.lengths) == {4}
