"""Axes and ranges of azimuth."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bluesky_azint.binning import Axis, AzimuthRange, wrapped
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


@given(st.floats(-100, 100))
def test_wrapped_angles_are_the_same_angles(angle: float) -> None:
    assert -np.pi <= wrapped(np.array(angle)) <= np.pi
    np.testing.assert_allclose(
        np.exp(1j * wrapped(np.array(angle))), np.exp(1j * angle), atol=1e-12
    )


@pytest.mark.parametrize(
    ("ends", "start", "width"),
    [
        ((170, 190), 170, 20),
        ((170, -170), 170, 20),
        ((90, -90), 90, 180),
        ((0, 360), 0, 360),
        ((-180, 180), -180, 360),
        ((0, 1000), 0, 360),
        ((-10, 10), -10, 20),
    ],
)
def test_ranges_of_azimuth_mean_what_they_say(
    ends: tuple[float, float], start: float, width: float
) -> None:
    azimuth = AzimuthRange.from_degrees(*ends)
    assert azimuth.start == pytest.approx(np.deg2rad(start))
    assert azimuth.width == pytest.approx(np.deg2rad(width))
    assert azimuth.everything == (width == 360)


def test_an_empty_range_of_azimuth_is_refused() -> None:
    with pytest.raises(RecipeError, match="holds nothing"):
        AzimuthRange.from_degrees(30, 30)
