"""The look-up table."""

from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

import bluesky_azint as ba
from bluesky_azint.binning import EPSILON
from bluesky_azint.grid import make_grid, split_block
from bluesky_azint.lookup import Lookup, as_matrix, build_lookup
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
    np.testing.assert_allclose(cake.reshape(36, 100, -1).sum(axis=0), pattern, atol=2e-7)


@pytest.mark.parametrize("splitting", SPLITTINGS)
def test_what_is_outside_the_range_is_not_counted(splitting: str) -> None:
    wide = make_grid(GEOMETRY, TTH_DEG, splitting, 100).radial
    inner = (wide.lower + 20 * wide.step, (wide.upper - 30 * wide.step) / EPSILON)
    lookup = table(splitting, 50, radial_range=inner)
    np.testing.assert_allclose(
        lookup.matrix.toarray(), table(splitting).matrix.toarray()[20:70], atol=1e-7
    )


def test_bbox_is_the_centre_and_the_farthest_corner() -> None:
    geometry = ba.Geometry(detector=ba.Detector(1e-3, 1e-3, (1, 1)), dist=0.1, poni1=-3e-3)
    axis = make_grid(geometry, R_MM, "bbox", 10).radial
    centre, reach = np.hypot(3.5, 0.5), np.hypot(4, 1) - np.hypot(3.5, 0.5)
    assert axis.lower == pytest.approx(centre - reach)
    assert axis.upper == pytest.approx(centre + reach, rel=2e-7)


@pytest.mark.parametrize(
    ("splitting", "npt", "columns"),
    [("no", 40, 1), ("bbox", 40, 2), ("bbox", 150, 0), ("full", 150, 4), ("full", 300, 8)],
)
def test_the_table_is_compact(splitting: str, npt: int, columns: int) -> None:
    lookup = table(splitting, npt)
    assert (lookup.spans is not None) == (columns == 0)
    assert lookup.offsets == tuple(range(columns or 1))
    assert lookup.rest is None or lookup.rest.pixels.size < 0.01 * lookup.n_pixels


@pytest.mark.parametrize("splitting", SPLITTINGS)
@pytest.mark.parametrize(("npt", "npt_azim"), [(60, None), (400, None), (30, 20)])
def test_the_table_holds_the_shares(splitting: str, npt: int, npt_azim: int | None) -> None:
    ranges: dict[str, Any] = {"radial_range": (2.0, 20.0), "azimuth_range": (-100.0, 170.0)}
    grid = make_grid(GEOMETRY, TTH_DEG, splitting, npt, npt_azim=npt_azim, **ranges)
    usable = np.ones(GEOMETRY.shape, dtype=bool)
    shares = split_block(GEOMETRY, grid, slice(0, 130), usable)
    exact = as_matrix(shares, usable.size, grid.n_bins)
    lookup = build_lookup(GEOMETRY, grid)
    np.testing.assert_allclose(lookup.matrix.toarray(), exact.toarray(), rtol=0, atol=2e-7)
    # A pixel that is all inside is shared out as a whole, and not to single precision.
    inside = np.flatnonzero(lookup.first != lookup.n_bins)
    np.testing.assert_allclose(lookup.matrix_of(inside).sum(axis=0), 1.0, rtol=1e-15)


def test_runs_are_the_used_pixels() -> None:
    mask = np.zeros((130, 40), dtype=bool)
    mask[60:70, :] = mask[3, 7] = mask[4, :20] = True
    runs = table("no", mask=mask).runs
    assert runs.tolist() == [[0, 160], [180, 2400], [2800, 5200]]
    assert table("no", mask=np.ones((130, 40), dtype=bool)).runs.size == 0


def test_selected_columns_are_those_of_the_matrix() -> None:
    lookup = table("full")
    pixels = np.array([5, 17, 3000])
    np.testing.assert_array_equal(
        lookup.matrix_of(pixels).toarray(), lookup.matrix.toarray()[:, pixels]
    )
    assert lookup.matrix_of(np.empty(0, dtype=int)).shape == (100, 0)
