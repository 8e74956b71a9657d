"""Errors are honest: curves of one sample differ by as much as their errors say."""

import json
from itertools import pairwise

import numpy as np
import pytest

from tests.conformance import honest_errors


@pytest.mark.parametrize("level", [0.05, 1.0])
def test_curves_differ_by_as_much_as_their_errors_say(level: float) -> None:
    curves = honest_errors.our_curves(level, honest_errors.FRAMES, "no")
    found = honest_errors.verdict(curves, level, "ours", "no")
    assert found.bins == honest_errors.NPT
    assert found.mean == pytest.approx(1.0, abs=0.01)
    assert found.distance < 0.03
    assert found.correlation == pytest.approx(0.0, abs=0.02)


@pytest.mark.parametrize("splitting", ["bbox", "pseudo", "full"])
def test_bins_are_correlated_as_their_shares_say(splitting: str) -> None:
    curves = honest_errors.our_curves(1.0, 400, splitting, "opencl")
    found = honest_errors.verdict(curves, 1.0, "ours", splitting)
    assert found.mean == pytest.approx(1.0, abs=0.02)
    assert found.expected_correlation > 0.02
    assert found.correlation == pytest.approx(found.expected_correlation, abs=0.015)


def test_errors_of_one_count_for_each_pixel_would_not_pass() -> None:
    curves = honest_errors.our_curves(0.05, 100, "no")
    per_pixel = curves.sigma * np.sqrt(1.0 / 0.05)
    values = honest_errors.chi_squared(
        honest_errors.Curves(curves.radial, curves.intensity, per_pixel),
        honest_errors.enough_counts(0.05),
    )
    assert values.mean() < 0.1


def test_the_numbers_in_the_repository_are_good() -> None:
    verdicts = json.loads(honest_errors.NUMBERS.read_text())
    ours = [one for one in verdicts if one["errors"] == "ours"]
    assert {one["level"] for one in ours} == set(honest_errors.LEVELS)
    for one in ours:
        assert one["pairs"] == 499500
        assert one["mean"] == pytest.approx(1.0, abs=0.01)
    theirs = sorted((one["level"], one["mean"]) for one in verdicts if one["errors"] == "pyFAI")
    assert all(low[1] < high[1] for low, high in pairwise(theirs))
    assert theirs[0][1] < 0.1  # a pixel without counts has the error of one count there
    assert honest_errors.FIGURE.stat().st_size < 200_000
