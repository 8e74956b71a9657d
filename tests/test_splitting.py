"""Splitting against areas known exactly, and against finely subdivided pixels."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bluesky_azint.binning import AzimuthRange
from bluesky_azint.splitting import FloatArray, Shares, bbox_split, full_split, no_split

EVERYTHING = None


def by_bin(shares: Shares) -> dict[int, float]:
    return dict(zip(shares.bin.tolist(), shares.weight.tolist(), strict=True))


def split_quadrilateral(
    corners: list[float], chi: list[float], azimuth: AzimuthRange | None = None
) -> dict[int, float]:
    return by_bin(
        full_split(np.array([corners]), np.array([chi]), np.array([np.mean(chi)]), azimuth)
    )


def test_no_split_floors() -> None:
    shares = no_split(np.array([-0.5, 0.0, 0.999, 1.0, 7.3]), None, EVERYTHING)
    np.testing.assert_array_equal(shares.bin, [-1, 0, 0, 1, 7])
    np.testing.assert_array_equal(shares.inside(7).bin, [0, 0, 1])
    np.testing.assert_array_equal(shares.inside(7).pixel, [1, 2, 3])


def test_no_split_takes_the_pixels_in_the_range_of_azimuth() -> None:
    chi = np.deg2rad([-179, 179, 171, 150, 10])
    shares = no_split(np.zeros(5), chi, AzimuthRange.from_degrees(170, 190))
    np.testing.assert_array_equal(shares.pixel, [0, 1, 2])


def test_bbox_shares_by_overlap() -> None:
    shares = bbox_split(np.array([1.5]), np.array([3.75]), -np.inf, None, None, EVERYTHING)
    assert by_bin(shares) == pytest.approx({1: 0.5 / 2.25, 2: 1 / 2.25, 3: 0.75 / 2.25})


def test_bbox_below_the_origin_belongs_to_the_first_bin() -> None:
    shares = bbox_split(np.array([-0.5]), np.array([1.5]), 0.0, None, None, EVERYTHING)
    assert by_bin(shares) == pytest.approx({0: 0.75, 1: 0.25})


def test_bbox_multiplies_the_share_of_azimuth() -> None:
    azimuth = AzimuthRange.from_degrees(170, 190)
    chi, half = np.deg2rad([190.0 - 360, 180, 100]), np.deg2rad([2.0, 3, 5])
    shares = bbox_split(np.zeros(3), np.full(3, 0.5), -np.inf, chi, half, azimuth)
    np.testing.assert_allclose(shares.weight, [0.5, 1.0, 0.0], atol=1e-12)


def test_a_box_without_width_stays_whole() -> None:
    shares = bbox_split(np.array([2.5]), np.array([2.5]), -np.inf, None, None, EVERYTHING)
    assert by_bin(shares) == {2: 1.0}


def test_full_shares_a_rectangle_like_its_box() -> None:
    assert split_quadrilateral([0.5, 0.5, 2.5, 2.5], [0.0, 0.1, 0.1, 0.0]) == pytest.approx(
        {0: 0.25, 1: 0.5, 2: 0.25}
    )


def test_full_shares_a_triangle_by_its_area() -> None:
    # A right triangle of base 2 and height 0.2: three quarters lie in the first half.
    weights = split_quadrilateral([0.0, 0.0, 2.0, 0.0], [0.0, 0.2, 0.0, 0.0])
    assert weights == pytest.approx({0: 0.75, 1: 0.25, 2: 0.0})


def test_full_does_not_mind_the_sense_of_rotation() -> None:
    one = split_quadrilateral([0.2, 0.9, 2.4, 1.7], [0.0, 0.1, 0.12, 0.03])
    other = split_quadrilateral([0.2, 1.7, 2.4, 0.9], [0.0, 0.03, 0.12, 0.1])
    assert one == pytest.approx(other)


def test_full_crosses_the_cut_of_azimuth() -> None:
    corners = [0.2, 0.9, 2.4, 1.7]
    chi = np.array([0.0, 0.1, 0.12, 0.03])
    crossing = chi + np.pi - 0.06
    wrapped = np.where(crossing > np.pi, crossing - 2 * np.pi, crossing)
    shares = full_split(
        np.array([corners]), wrapped[np.newaxis], np.array([crossing.mean()]), EVERYTHING
    )
    assert by_bin(shares) == pytest.approx(split_quadrilateral(corners, chi.tolist()))


def test_full_in_a_range_of_azimuth_is_the_area_inside() -> None:
    # A rectangle from 0 to 0.4 rad, of which 0.1 to 0.2 rad counts.
    azimuth = AzimuthRange(0.1, 0.1)
    weights = split_quadrilateral([0.0, 0.0, 1.9, 1.9], [0.0, 0.4, 0.4, 0.0], azimuth)
    assert weights == pytest.approx({0: 0.25 / 1.9, 1: 0.25 * 0.9 / 1.9})


def test_the_pixel_that_holds_the_beam_is_shared_whole() -> None:
    corners = np.array([[0.7, 1.4, 2.1, 1.6]])
    chi = np.deg2rad([[-135.0, 120, 45, -60]])
    shares = full_split(corners, chi, np.array([0.3]), EVERYTHING)
    assert shares.weight.sum() == pytest.approx(1.0)
    assert (shares.weight >= 0).all()
    half = full_split(corners, chi, np.array([0.3]), AzimuthRange.from_degrees(20, 200))
    np.testing.assert_allclose(half.weight, shares.weight / 2)


quadrilaterals = st.tuples(
    st.floats(-3, 3), st.floats(-3, 3), st.floats(0.05, 0.9), st.floats(0.01, 0.6), st.floats(0, 6)
)


@given(quadrilaterals, st.floats(-3, 3), st.floats(0.05, 6.2))
def test_full_is_the_area_found_by_subdivision(
    shape: tuple[float, float, float, float, float], start: float, width: float
) -> None:
    radial, chi, half_radial, half_chi, turn = shape
    corner = np.array([[-1, -1], [1, -1], [1, 1], [-1, 1]]) @ np.array(
        [[np.cos(turn), np.sin(turn)], [-np.sin(turn), np.cos(turn)]]
    )
    corners, angles = radial + corner[:, 0] * half_radial, chi + corner[:, 1] * half_chi
    azimuth = AzimuthRange(start, width)
    shares = full_split(corners[np.newaxis], angles[np.newaxis], np.array([angles.mean()]), azimuth)
    # The parallelogram as the image of a fine grid on the unit square.
    fine = (np.arange(300) + 0.5) / 300
    u, v = np.meshgrid(fine, fine)

    def point(values: FloatArray) -> FloatArray:
        image: FloatArray = values[0] + u * (values[1] - values[0]) + v * (values[3] - values[0])
        return image

    inside = np.abs(azimuth.offset(point(angles))) <= width / 2
    found = np.floor(point(corners)).astype(int)
    for number, weight in by_bin(shares).items():
        assert weight == pytest.approx((inside & (found == number)).mean(), abs=0.01)


@given(
    st.lists(st.tuples(st.floats(0.1, 50), st.floats(0.01, 5)), min_size=1, max_size=20),
    st.sampled_from(["bbox", "full"]),
)
def test_shares_of_a_pixel_add_up_to_one(intervals: list[tuple[float, float]], kind: str) -> None:
    centre, half = np.transpose(intervals)
    if kind == "bbox":
        shares = bbox_split(centre - half, centre + half, 0.0, None, None, EVERYTHING)
    else:
        corners = centre[:, np.newaxis] + half[:, np.newaxis] * np.array([-1, -0.3, 1, 0.2])
        angles = np.broadcast_to([0.0, 0.01, 0.012, -0.01], corners.shape)
        shares = full_split(corners, angles, np.zeros(len(centre)), EVERYTHING)
    total = np.bincount(shares.pixel, shares.weight, minlength=len(centre))
    np.testing.assert_allclose(total, 1.0, rtol=1e-12)
