"""Splitting against areas known exactly, and against finely subdivided pixels."""

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bluesky_azint.binning import Axis
from bluesky_azint.splitting import Coordinate, FloatArray, Shares, split

ALL_AROUND = Axis.from_range(-180.0, 180.0, 1, 360.0)
TEN = Axis(0.0, 10.0, 10)


def by_bin(shares: Shares) -> dict[int, float]:
    return dict(zip(shares.bin.tolist(), shares.weight.tolist(), strict=True))


def radial(
    centre: Any, corners: Any = None, axis: Axis = TEN, origin: float = -np.inf
) -> Coordinate:
    centre = np.atleast_1d(np.asarray(centre, dtype=float))
    relative = None if corners is None else np.atleast_2d(corners) - centre[:, np.newaxis]
    return Coordinate(axis, axis.position(centre), relative, origin)


def around(corners: Any, axis: Axis = ALL_AROUND, centre: Any = None) -> Coordinate:
    """A coordinate of angles in degrees, given like those of arctan2."""
    corners = np.atleast_2d(corners).astype(float)
    centre = corners.mean(axis=1) if centre is None else np.atleast_1d(centre)
    relative = axis.difference(corners, centre[:, np.newaxis])
    return Coordinate(axis, axis.position(centre), relative)


def test_no_split_floors() -> None:
    shares = split("no", radial([-0.5, 0.0, 0.999, 1.0, 7.3, 10.0]), None)
    np.testing.assert_array_equal(shares.bin, [0, 0, 1, 7])
    np.testing.assert_array_equal(shares.pixel, [1, 2, 3, 4])


def test_no_split_takes_the_pixels_in_the_range_of_azimuth() -> None:
    axis = Axis.from_range(170, 190, 2, 360.0)
    chi = axis.position(np.array([-179.0, 179, 171, 150, 10]))
    shares = split("no", radial(np.zeros(5)), Coordinate(axis, chi))
    np.testing.assert_array_equal(shares.pixel, [0, 1, 2])
    np.testing.assert_array_equal(shares.bin, [10, 0, 0])


def test_bbox_shares_by_overlap() -> None:
    shares = split("bbox", radial(2.5, [[1.5, 3.5, 2.5, 2.5]]), None)
    assert by_bin(shares) == pytest.approx({1: 0.25, 2: 0.5, 3: 0.25})


def test_bbox_is_as_wide_as_the_farthest_corner() -> None:
    shares = split("bbox", radial(2.5, [[1.5, 2.6, 2.5, 2.5]]), None)
    assert by_bin(shares) == pytest.approx({1: 0.25, 2: 0.5, 3: 0.25})


def test_bbox_outside_the_axis_is_counted_nowhere() -> None:
    low = split("bbox", radial(0.5, [[-0.5, 1.5, 0.5, 0.5]]), None)
    high = split("bbox", radial(9.5, [[8.5, 10.5, 9.5, 9.5]]), None)
    assert by_bin(low) == pytest.approx({0: 0.5, 1: 0.25})
    assert by_bin(high) == pytest.approx({8: 0.25, 9: 0.5})


def test_bbox_below_the_origin_belongs_to_the_first_bin() -> None:
    shares = split("bbox", radial(0.5, [[-0.5, 1.5, 0.5, 0.5]], origin=0.0), None)
    assert by_bin(shares) == pytest.approx({0: 0.75, 1: 0.25})


def test_bbox_in_two_dimensions_is_a_product() -> None:
    axis = Axis(0.0, 4.0, 4)
    shares = split(
        "bbox",
        radial([2.5, 7.5], [[1.5, 3.5, 2.5, 2.5], [7.2, 7.8, 7.5, 7.5]]),
        radial([1.0, 3.0], [[0.5, 1.5, 1, 1], [2.9, 3.1, 3, 3]], axis),
    )
    dense = np.zeros((2, 40))
    dense[shares.pixel, shares.bin] = shares.weight
    first = np.outer([0.5, 0.5, 0, 0], [0, 0.25, 0.5, 0.25, 0, 0, 0, 0, 0, 0])
    second = np.outer([0, 0, 0.5, 0.5], np.arange(10) == 7)
    np.testing.assert_allclose(dense, [first.ravel(), second.ravel()])


def test_bbox_wraps() -> None:
    axis = Axis.from_range(0, 360, 4, 360.0)
    shares = split("bbox", radial(0.5, [[0.4, 0.6, 0.5, 0.5]]), around([-10, 30, 10, 10], axis, 10))
    assert by_bin(shares) == pytest.approx({0: 0.75, 30: 0.25}, abs=1e-5)
    partial = Axis.from_range(170, 190, 1, 360.0)
    cut = split(
        "bbox", radial(0.5, [[0.4, 0.6, 0.5, 0.5]]), around([-172, 192, -170, -170], partial, -170)
    )
    assert by_bin(cut) == pytest.approx({0: 0.5}, abs=1e-4)


def test_a_box_without_width_stays_whole() -> None:
    assert by_bin(split("bbox", radial(2.5, [[2.5] * 4]), None)) == {2: 1.0}


def test_pseudo_shrinks_the_box_to_the_area() -> None:
    # A diamond has half the area of its box: both sides shrink by the square root of two.
    shares = split("pseudo", radial(5.0, [[4.0, 5, 6, 5]]), around([0, 10, 0, -10], centre=0))
    half = np.sqrt(0.5)
    assert by_bin(shares) == pytest.approx({4: 0.5, 5: 0.5})
    wide = split("pseudo", radial(5.2, [[4.2, 5.2, 6.2, 5.2]]), around([0, 10, 0, -10], centre=0))
    assert by_bin(wide)[4] == pytest.approx((half - 0.2) / (2 * half))


def test_full_shares_a_rectangle_like_its_box() -> None:
    shares = split("full", radial(1.5, [[0.5, 0.5, 2.5, 2.5]]), around([0, 10, 10, 0]))
    assert by_bin(shares) == pytest.approx({0: 0.25, 1: 0.5, 2: 0.25})


def test_full_shares_a_triangle_by_its_area() -> None:
    # A right triangle of base 2: three quarters lie in the first half.
    shares = split("full", radial(0.5, [[0.0, 0.0, 2.0, 0.0]]), around([0, 20, 0, 0]))
    assert by_bin(shares) == pytest.approx({0: 0.75, 1: 0.25})


@pytest.mark.parametrize("axis", [ALL_AROUND, Axis.from_range(-180, 180, 36, 360.0)])
def test_full_does_not_mind_sense_or_cut(axis: Axis) -> None:
    corners, chi = np.array([0.2, 0.9, 2.4, 1.7]), np.array([0.0, 6, 7, 2])
    one = split("full", radial(1.3, [corners]), around(chi, axis))
    other = split("full", radial(1.3, [corners[[0, 3, 2, 1]]]), around(chi[[0, 3, 2, 1]], axis))
    assert by_bin(one) == pytest.approx(by_bin(other))
    crossing = (chi + 177 + 180) % 360 - 180
    cut = split("full", radial(1.3, [corners]), around(crossing, axis, 180.0))
    assert cut.weight.sum() == pytest.approx(1.0)
    if axis is ALL_AROUND:
        assert by_bin(cut) == pytest.approx(by_bin(one))


def test_full_in_a_range_of_azimuth_is_the_area_inside() -> None:
    axis = Axis(10.0, 20.0, 1, 360.0)
    shares = split("full", radial(0.95, [[0.0, 0.0, 1.9, 1.9]]), around([0, 40, 40, 0], axis))
    assert by_bin(shares) == pytest.approx({0: 0.25 / 1.9, 1: 0.25 * 0.9 / 1.9})


def test_a_pixel_may_have_six_corners() -> None:
    angle = np.deg2rad(np.arange(0, 360, 60))
    axis = Axis(-2.0, 2.0, 4)
    hexagon = split(
        "full",
        radial(5.0, [5 + np.cos(angle)]),
        Coordinate(axis, np.array([2.0]), np.sin(angle)[np.newaxis]),
    )
    assert hexagon.weight.sum() == pytest.approx(1.0)
    assert by_bin(hexagon) == pytest.approx(dict.fromkeys([14, 15, 24, 25], 0.25))


@pytest.mark.parametrize("npt", [1, 36])
def test_the_pixel_that_holds_the_beam_is_shared_whole(npt: int) -> None:
    corners = [[0.7, 1.4, 2.1, 1.6]]
    chi = [-135.0, 120, 45, -60]
    everything = Axis.from_range(-180, 180, npt, 360.0)
    shares = split("full", radial(0.9, corners), around(chi, everything, 17.0))
    assert shares.weight.sum() == pytest.approx(1.0)
    assert (shares.weight >= 0).all()
    half = split("full", radial(0.9, corners), around(chi, Axis(20.0, 200.0, npt, 360.0), 17.0))
    assert half.weight.sum() == pytest.approx(0.5)


parallelograms = st.tuples(
    st.floats(1, 8), st.floats(-170, 170), st.floats(0.05, 1.5), st.floats(0.5, 40), st.floats(0, 6)
)


@given(parallelograms, st.floats(-180, 180), st.floats(3, 360), st.integers(1, 5))
def test_full_is_the_area_found_by_subdivision(
    shape: tuple[float, float, float, float, float], start: float, width: float, rows: int
) -> None:
    place, chi, half_radial, half_chi, turn = shape
    corner = np.array([[-1, -1], [1, -1], [1, 1], [-1, 1]]) @ np.array(
        [[np.cos(turn), np.sin(turn)], [-np.sin(turn), np.cos(turn)]]
    )
    corners, angles = place + corner[:, 0] * half_radial, chi + corner[:, 1] * half_chi
    axis = Axis(start, start + width, rows, 360.0)
    shares = split("full", radial(place, [corners]), around(angles, axis, chi))
    # The parallelogram as the image of a fine grid on the unit square.
    fine = (np.arange(300) + 0.5) / 300
    u, v = np.meshgrid(fine, fine)

    def point(values: FloatArray) -> FloatArray:
        image: FloatArray = values[0] + u * (values[1] - values[0]) + v * (values[3] - values[0])
        return image

    row = np.floor(axis.position(point(angles))).astype(int)
    column = np.floor(point(corners)).astype(int)
    inside = (row < rows) & (column >= 0) & (column < 10)
    expected = np.bincount((column + 10 * row)[inside], minlength=10 * rows) / inside.size
    found = np.bincount(shares.bin, shares.weight, minlength=10 * rows)
    np.testing.assert_allclose(found, expected, atol=0.012)


@given(
    st.lists(st.tuples(st.floats(2, 7), st.floats(0.01, 1.9)), min_size=1, max_size=20),
    st.sampled_from(["bbox", "pseudo", "full"]),
    st.integers(1, 40),
)
def test_shares_of_a_pixel_add_up_to_one(
    intervals: list[tuple[float, float]], kind: str, rows: int
) -> None:
    centre, half = np.transpose(intervals)
    axis = Axis.from_range(-180, 180, rows, 360.0)
    corners = centre[:, np.newaxis] + half[:, np.newaxis] * np.array([-1, -0.3, 1, 0.2])
    chi = np.linspace(-180, 180, len(centre))
    angles = chi[:, np.newaxis] + np.array([0.0, 9, 11, -7])
    shares = split(kind, radial(centre, corners), around(angles, axis, chi))
    total = np.bincount(shares.pixel, shares.weight, minlength=len(centre))
    np.testing.assert_allclose(total, 1.0, rtol=1e-12)
    assert (np.diff(shares.pixel) >= 0).all()
