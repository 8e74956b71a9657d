"""The look-up table and its two forms."""

from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

import bluesky_azint as ba
from bluesky_azint.binning import EPSILON
from bluesky_azint.grid import make_grid
from bluesky_azint.lookup import Lookup, build_lookup
from bluesky_azint.units import R_MM, TTH_DEG

GEOMETRY = ba.Geometry(
    detector=ba.Detector(1e-3, 0.9e-3, (130, 40)),
    dist=0.12,
    poni1=0.05,
    poni2=0.013,
    rot1=0.12,
    rot2=-0.07,
    rot3=0.3,
)
SPLITTINGS = ("no", "bbox", "pseudo", "full")


def table(
    splitting: str, npt: int = 100, mask: NDArray[np.bool_] | None = None, **ranges: Any
) -> Lookup:
    return build_lookup(GEOMETRY, make_grid(GEOMETRY, TTH_DEG, splitting, npt, **ranges), mask)


@pytest.mark.parametrize("splitting", SPLITTINGS)
def test_every_pixel_is_counted_once(splitting: str) -> None:
    lookup = table(splitting)
    np.testing.assert_allclose(lookup.matrix.sum(axis=0), 1.0, rtol=1e-12)
    assert lookup.matrix.shape == (100, 130 * 40)
    assert lookup.whole == (splitting == "no")


@pytest.mark.parametrize("splitting", SPLITTINGS)
def test_masked_pixels_are_nowhere_and_do_not_move_the_axis(splitting: str) -> None:
    mask = np.zeros((130, 40), dtype=bool)
    mask[60:, :7] = True
    lookup = table(splitting, mask=mask)
    np.testing.assert_array_equal(lookup.used, ~mask.ravel())
    whole = table(splitting)
    np.testing.assert_array_equal(lookup.matrix.toarray(), whole.matrix.toarray() * ~mask.ravel())


@pytest.mark.parametrize("splitting", SPLITTINGS)
def test_sectors_make_up_the_whole(splitting: str) -> None:
    starts = np.arange(-180.0, 180, 72)
    sectors = [table(splitting, azimuth_range=(start, start + 72)) for start in starts]
    parts = sum(sector.matrix.toarray() for sector in sectors)
    np.testing.assert_allclose(parts, table(splitting).matrix.toarray(), atol=1e-4)


@pytest.mark.parametrize("splitting", SPLITTINGS)
def test_a_cake_adds_up_to_a_pattern(splitting: str) -> None:
    cake = table(splitting, npt_azim=36, azimuth_range=(-180, 180)).matrix.toarray()
    pattern = table(splitting).matrix.toarray()
    np.testing.assert_allclose(cake.reshape(36, 100, -1).sum(axis=0), pattern, atol=1e-12)


@pytest.mark.parametrize("splitting", SPLITTINGS)
def test_what_is_outside_the_range_is_not_counted(splitting: str) -> None:
    wide = make_grid(GEOMETRY, TTH_DEG, splitting, 100).radial
    inner = (wide.lower + 20 * wide.step, (wide.upper - 30 * wide.step) / EPSILON)
    lookup = table(splitting, 50, radial_range=inner)
    np.testing.assert_allclose(
        lookup.matrix.toarray(), table(splitting).matrix.toarray()[20:70], atol=1e-9
    )


def test_bbox_is_the_centre_and_the_farthest_corner() -> None:
    geometry = ba.Geometry(detector=ba.Detector(1e-3, 1e-3, (1, 1)), dist=0.1, poni1=-3e-3)
    axis = make_grid(geometry, R_MM, "bbox", 10).radial
    centre, reach = np.hypot(3.5, 0.5), np.hypot(4, 1) - np.hypot(3.5, 0.5)
    assert axis.lower == pytest.approx(centre - reach)
    assert axis.upper == pytest.approx(centre + reach, rel=2e-7)


@pytest.mark.parametrize(("npt", "columns"), [(40, 2), (150, 4), (300, 8)])
def test_the_compact_form_holds_the_same(npt: int, columns: int) -> None:
    lookup = table("bbox", npt)
    compact = lookup.compact()
    assert compact is not None
    assert compact.weights is not None
    assert compact.bins_per_pixel == columns
    dense = np.zeros((npt + columns, lookup.n_pixels))
    for column in range(columns):
        dense[compact.first + column, np.arange(lookup.n_pixels)] += compact.weights[:, column]
    np.testing.assert_allclose(dense[:npt], lookup.matrix.toarray(), rtol=1e-7)


def test_too_many_bins_per_pixel_have_no_compact_form() -> None:
    assert table("full", 2000).compact() is None


def test_selected_columns_are_those_of_the_matrix() -> None:
    lookup = table("full")
    pixels = np.array([5, 17, 3000])
    np.testing.assert_array_equal(
        lookup.select(pixels).matrix.toarray(), lookup.matrix.toarray()[:, pixels]
    )
    assert lookup.select(np.empty(0, dtype=int)).matrix.shape == (100, 0)
