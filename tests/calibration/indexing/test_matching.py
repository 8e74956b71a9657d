"""Scores of peaks against lines."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from bluesky_azint.calibrants import calibrant
from bluesky_azint.calibration.indexing.matching import Explanation, Peaks, Reference, explain

FloatArray = NDArray[np.float64]
WAVELENGTH = 0.5e-10
PIXEL = 1e-3  # radians
LAST = 0.5  # the largest angle on the detector


def reference(name: str = "CeO2", **changes: FloatArray) -> Reference:
    substance = calibrant(name)
    two_theta = substance.two_theta(WAVELENGTH)
    intensity = np.array([ring.intensity for ring in substance.rings[: len(two_theta)]])
    brightness = intensity / (np.sin(0.5 * two_theta) * np.sin(two_theta))
    return Reference(two_theta, brightness, **changes)


CERIA = reference()
SEEN = CERIA.two_theta[CERIA.two_theta < LAST]
SIGMA = 0.6


def peaks(two_theta: FloatArray) -> Peaks:
    """Peaks of equal weight; a row for each stand."""
    two_theta = np.sort(np.atleast_2d(two_theta))
    number = two_theta.shape[1]
    return Peaks(two_theta, np.full(number, PIXEL), np.ones(number))


def explained(two_theta: FloatArray, lines: Reference = CERIA) -> Explanation:
    seen = peaks(two_theta)
    lengths = np.where(lines.two_theta < LAST, 400.0, 0.0)
    return explain(lines, seen, np.tile(lengths, (len(seen.two_theta), 1)), SIGMA)


def jittered(two_theta: FloatArray = SEEN, seed: int = 0) -> FloatArray:
    return np.asarray(
        two_theta + np.random.default_rng(seed).normal(0, 0.3 * PIXEL, two_theta.shape)
    )


def test_the_right_stand_explains_everything() -> None:
    right = explained(jittered())
    assert right.score[0] > 2.0 * len(SEEN)
    np.testing.assert_array_equal(right.line[0], np.arange(len(SEEN)))
    assert right.expected[0, : len(SEEN)].all()
    assert not right.expected[0, len(SEEN) :].any()
    assert not right.foreign.any()


def test_wrong_stands_score_less() -> None:
    seen = jittered()
    wrong = {
        "shifted": seen + 3 * PIXEL,
        "half the distance": 2 * seen,
        "double the distance": 0.5 * seen,
        "3 % off": 1.03 * seen,
        "the first ring left out": seen * CERIA.two_theta[1] / CERIA.two_theta[0],
    }
    right = explained(seen).score[0]
    for name, two_theta in wrong.items():
        assert explained(two_theta).score[0] < 0.4 * right, name


def test_stands_are_scored_one_by_one() -> None:
    seen = jittered()
    stretched = np.stack([seen * s for s in (0.98, 1.0, 1.02)])
    alone = [explained(one).score[0] for one in stretched]
    # Only the density of the peaks is that of the stand in the middle.
    np.testing.assert_allclose(explained(stretched).score, alone, atol=0.5)
    assert np.argmax(alone) == 1


def test_random_peaks_are_no_calibrant() -> None:
    rng = np.random.default_rng(1)
    scores = [explained(rng.uniform(0.1, LAST, len(SEEN))).score[0] for _ in range(200)]
    assert max(scores) < 7.0  # what a calibration must have
    assert np.median(scores) < -5


def test_another_structure_is_no_calibrant() -> None:
    silver = reference("LaB6").two_theta
    assert explained(silver[silver < LAST]).score[0] < 3


def test_foreign_peaks_cost_by_their_weight() -> None:
    right = explained(jittered()).score[0]
    middle = 0.5 * (SEEN[2] + SEEN[3])
    seen = peaks(np.append(jittered(), middle))
    where = int(np.searchsorted(SEEN, middle))
    lengths = np.where(CERIA.two_theta < LAST, 400.0, 0.0)[np.newaxis]
    costs = []
    for weight in (0.1, 1.0, 2.0, 50.0):
        weights = np.ones(len(SEEN) + 1)
        weights[where] = weight
        result = explain(CERIA, Peaks(seen.two_theta, seen.per_pixel, weights), lengths, SIGMA)
        np.testing.assert_array_equal(np.flatnonzero(result.foreign[0]), [where])
        assert result.line[0, where] == -1
        costs.append(right - result.score[0])
    assert np.all(np.diff(costs[:3]) > 0)
    assert costs[1] - costs[0] == pytest.approx(0.9 * 1.2)
    assert costs[3] == costs[2] < 5  # one peak alone does not decide


def test_a_missing_bright_line_costs_and_a_weak_one_does_not() -> None:
    whole = explained(jittered())
    brightest, weakest = np.argmax(CERIA.brightness), np.argmin(CERIA.brightness[: len(SEEN)])
    without_bright = explained(np.delete(jittered(), brightest))
    without_weak = explained(np.delete(jittered(), weakest))
    assert whole.score[0] - without_bright.score[0] > 5
    assert without_bright.expected[0, brightest]
    assert whole.score[0] - without_weak.score[0] < 5


def test_known_other_rings_are_not_foreign() -> None:
    foil = np.array([0.5 * (SEEN[2] + SEEN[3])])
    seen = np.append(jittered(), foil)
    plain, told = explained(seen), explained(seen, reference(others=foil))
    assert plain.foreign.sum() == 1
    assert not told.foreign.any()
    assert told.score[0] == pytest.approx(plain.score[0] + 1.2)
    elsewhere = reference(others=foil + 10 * PIXEL)
    assert explained(seen, elsewhere).foreign.sum() == 1


def test_peaks_beyond_the_last_line_of_the_table_are_not_foreign() -> None:
    few = Reference(SEEN, CERIA.brightness[: len(SEEN)])
    beyond = np.append(jittered(), SEEN[-1] + np.array([5.0, 15.0, 25.0]) * PIXEL)
    result = explained(beyond, few)
    assert not result.foreign.any()
    assert np.all(result.line[0, -3:] == -1)


def test_lines_beside_a_brighter_one_may_hide() -> None:
    pair = Reference(np.array([0.10, 0.20, 0.205, 0.30]), np.array([1.0, 1.0, 0.9, 1.0]))
    np.testing.assert_array_equal(pair.hidden(PIXEL), [False, False, True, False])
    assert not pair.hidden(0.5 * PIXEL).any()
    hiding = explained(np.array([0.10, 0.20, 0.30]), pair)
    apart = explained(
        np.array([0.10, 0.20, 0.30]),
        Reference(pair.two_theta + np.array([0.0, 0.0, 0.02, 0.0]), pair.brightness),
    )
    assert hiding.score[0] > apart.score[0] + 2
    assert not hiding.expected[0, 2]
    assert apart.expected[0, 2]
    both = explained(pair.two_theta, pair)
    np.testing.assert_array_equal(both.line[0], [0, 1, 2, 3])


def test_lines_that_are_hardly_on_the_detector_are_not_expected() -> None:
    seen = peaks(jittered()[1:])
    lengths = np.where(CERIA.two_theta < LAST, 400.0, 0.0)
    missing = explain(CERIA, seen, lengths[np.newaxis], SIGMA)
    lengths[0] = 20.0
    absent = explain(CERIA, seen, lengths[np.newaxis], SIGMA)
    assert missing.expected[0, 0]
    assert not absent.expected[0, 0]
    assert absent.score[0] > missing.score[0] + 2


def test_a_line_serves_one_peak_the_nearest() -> None:
    lines = Reference(np.array([0.1, 0.2, 0.3]), np.ones(3))
    near = explained(np.array([0.1, 0.1995, 0.2002, 0.3]), lines)
    np.testing.assert_array_equal(near.line[0], [0, -1, 1, 2])
    np.testing.assert_array_equal(near.foreign[0], [False, True, False, False])
    far = explained(np.array([0.1, 0.2 + 2 * PIXEL, 0.3]), lines)
    np.testing.assert_array_equal(far.line[0], [0, -1, 2])


def test_one_line_and_one_peak() -> None:
    lines = Reference(np.array([0.2]), np.ones(1))
    assert explained(np.array([0.2, 0.25]), lines).line[0].tolist() == [0, -1]
    assert explained(np.array([0.2]), lines).line[0].tolist() == [0]


def test_parts_of_lines_and_peaks() -> None:
    few = CERIA.between(SEEN[1] - 1e-9, SEEN[4])
    np.testing.assert_array_equal(few.two_theta, SEEN[1:5])
    np.testing.assert_array_equal(few.brightness, CERIA.brightness[1:5])
    some = Peaks(np.array([[1.0, 2.0, 3.0]]), np.array([1.0, 2.0, 3.0]), np.array([0.5, 0.1, 2.0]))
    strongest = some.strongest(2)
    np.testing.assert_array_equal(strongest.two_theta, [[1.0, 3.0]])
    np.testing.assert_array_equal(strongest.per_pixel, [1.0, 3.0])
    np.testing.assert_array_equal(strongest.weight, [0.5, 2.0])
    assert some.strongest(3) is some
