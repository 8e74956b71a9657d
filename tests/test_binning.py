"""Axes and ranges of azimuth."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bluesky_azint.binning import Axis
from bluesky_azint.errors import RecipeError


def test_the_axis_holds_both_ends() -> None:
    axis = Axis.from_range(1.3, 5.0, 10)
    numbers = np.floor(axis.position(np.array([1.3, 5.0])))
    np.testing.assert_array_equal(numbers, [0, 9])


def test_the_axis_is_that_of_pyfai() -> None:
    # Recorded from pyFAI 2026.9: range (1.5, 5) in 5 bins.
    np.testing.assert_allclose(
        Axis.from_range(1.5, 5.0, 5).centres,
        [1.8500000596046446, 2.550000178813934, 3.2500002980232234, 3.9500004172325127,
         4.650000536441802],
        rtol=1e-15,
    )  # fmt: skip


def test_a_negative_upper_end_is_inside() -> None:
    axis = Axis.from_range(-5.0, -1.0, 4)
    assert np.floor(axis.position(np.array([-1.0])))[0] == 3


@pytest.mark.parametrize("ends", [(1.0, 0.5), (np.nan, 1.0)])
def test_a_range_of_nothing_is_refused(ends: tuple[float, float]) -> None:
    with pytest.raises(RecipeError, match="holds nothing"):
        Axis.from_range(*ends, 10)


@given(st.floats(-1000, 1000), st.floats(-360, 360))
def test_angles_come_back_to_themselves(angle: float, lower: float) -> None:
    axis = Axis.from_range(lower, lower + 360, 36, 360.0)
    position = axis.position(np.array([angle, angle + 360]))
    assert ((position >= 0) & (position <= axis.end)).all()
    turn = np.exp(2j * np.pi * position / axis.end)
    np.testing.assert_allclose(turn, np.exp(1j * np.deg2rad(angle - lower)), atol=1e-6)


@pytest.mark.parametrize(
    ("ends", "lower", "width"),
    [
        ((170, 190), 170, 20),
        ((170, -170), 170, 20),
        ((90, -90), 90, 180),
        ((0, 360), 0, 360),
        ((-180, 180), -180, 360),
        ((0, 1000), 0, 360),
        ((-10, 10), -10, 20),
        ((350, -350), 350, 20),
    ],
)
def test_ranges_of_angles_mean_what_they_say(
    ends: tuple[float, float], lower: float, width: float
) -> None:
    axis = Axis.from_range(*ends, 4, 360.0)
    assert axis.lower == lower
    assert axis.step * 4 == pytest.approx(width, rel=1e-5)
    assert axis.everything == (width == 360)
    assert axis.end == pytest.approx(4)


def test_an_empty_range_of_angles_is_refused() -> None:
    with pytest.raises(RecipeError, match="holds nothing"):
        Axis.from_range(30, 30, 1, 360.0)


@given(st.floats(-180, 180), st.floats(-180, 180))
def test_differences_of_angles_go_the_shorter_way(one: float, other: float) -> None:
    axis = Axis.from_range(0, 360, 360, 360.0)
    difference = axis.difference(np.array([one]), np.array([other]))[0]
    assert abs(difference) <= 180.01
    np.testing.assert_allclose(
        np.exp(1j * np.deg2rad(difference * axis.step)),
        np.exp(1j * np.deg2rad(one - other)),
        atol=1e-9,
    )
