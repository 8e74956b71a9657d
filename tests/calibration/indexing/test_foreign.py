"""Rings of something else, told from scraps around the beam."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from bluesky_azint.calibration.indexing.candidates import Candidate
from bluesky_azint.calibration.indexing.matching import Explanation, Peaks

# Two rings of the calibrant, and a third one, of which so much is found.
ANGLES, LENGTHS = np.array([0.1, 0.2, 0.3]), np.array([600.0, 900.0, 300.0])


def candidate(found: float) -> Candidate:
    line = np.array([[0, 1, -1]])
    return Candidate(
        parameters=np.zeros(5),
        explanation=Explanation(
            score=np.array([20.0]), line=line, expected=np.ones((1, 2), bool), foreign=line < 0
        ),
        peaks=Peaks(
            two_theta=ANGLES[np.newaxis],
            per_pixel=np.full(3, 1e-3),
            weight=LENGTHS / 600.0 * [0.9, 0.9, found],
        ),
        arc_length=LENGTHS,
    )


@pytest.mark.parametrize(("found", "rings"), [(0.9, 1), (0.6, 1), (0.3, 0), (0.0, 0)])
def test_a_ring_is_as_complete_as_the_others(found: float, rings: int) -> None:
    assert candidate(found).foreign_rings == rings


def test_what_surrounds_the_beam_is_no_ring() -> None:
    one = candidate(0.9)
    inside = replace(one.peaks, two_theta=np.array([[0.1, 0.2, 0.05]]))
    assert replace(one, peaks=inside).foreign_rings == 0


def test_rings_that_are_known_do_not_count() -> None:
    one = candidate(0.9)
    known = replace(one.explanation, foreign=np.zeros((1, 3), bool))
    assert replace(one, explanation=known).foreign_rings == 0
