"""Plain pixels are told as all others are."""

from typing import Any

import numpy as np
import pytest

import bluesky_azint as ba
from bluesky_azint.grid import along_axes, make_grid, split_some
from bluesky_azint.lookup import build_lookup
from bluesky_azint.lookup.build import layout_for
from bluesky_azint.lookup.layout import Layout, Rows, pack
from bluesky_azint.lookup.plain import fill_plain
from bluesky_azint.pixels import Cylinder
from bluesky_azint.units import unit

POSE: dict[str, Any] = {
    "dist": 0.12,
    "poni1": 0.05,
    "poni2": 0.033,
    "rot1": 0.12,
    "rot2": -0.07,
    "rot3": 0.3,
    "wavelength": 1e-10,
}
FLAT = ba.Geometry(detector=ba.Detector(1e-3, 0.9e-3, (90, 80)), **POSE)
BENT = ba.Geometry(
    detector=ba.Detector(1e-3, 0.9e-3, pixels=Cylinder((90, 80), 1e-3, 0.9e-3, 0.3)), **POSE
)
GRIDS: list[dict[str, Any]] = [
    {"npt": 10},
    {"npt": 50},
    {"npt": 700},
    {"npt": 40, "npt_azim": 36},
    {"npt": 1, "npt_azim": 36, "radial_range": (1.0, 40.0)},
    {"npt": 30, "azimuth_range": (-170, 30)},
    {"npt": 400, "azimuth_range": (100, 260)},
    {"npt": 40, "npt_azim": 9, "azimuth_range": (100, 260), "radial_range": (3.0, 30.0)},
    {"npt": 80, "radial_range": (3.0, 30.0)},
]


@pytest.mark.parametrize("geometry", [FLAT, BENT], ids=["flat", "bent"])
@pytest.mark.parametrize("name", ["q_nm^-1", "d_A", "qx_nm^-1"])
@pytest.mark.parametrize("options", GRIDS, ids=str)
@pytest.mark.parametrize("splitting", ["no", "bbox"])
def test_they_are_told_as_entry_by_entry(
    geometry: ba.Geometry, name: str, options: dict[str, Any], splitting: str
) -> None:
    if name == "d_A":
        options = {"radial_range": (1.0, 9.0)} | options
    grid = make_grid(geometry, unit(name), splitting, **options)
    mask = np.random.default_rng(1).random(geometry.shape) < 0.1
    lookup = build_lookup(geometry, grid, mask)
    layout = layout_for(geometry, grid)
    along = along_axes(geometry, grid, slice(0, 90))
    told = np.flatnonzero(~mask)
    packed = pack(split_some(grid, *along, told), told.size, grid.n_bins, layout)
    np.testing.assert_array_equal(lookup.first[told], packed.first)
    assert (lookup.first[mask.ravel()] == grid.n_bins).all()
    for found, expected in ((lookup.shares, packed.shares), (lookup.spans, packed.spans)):
        assert (found is None) == (expected is None)
        if found is not None and expected is not None:
            np.testing.assert_array_equal(found[told], expected)
            assert not found[mask.ravel()].any()
    rest = np.unique(told[packed.rest.pixel])
    np.testing.assert_array_equal([] if lookup.rest is None else lookup.rest.pixels, rest)


def test_few_pixels_are_odd() -> None:
    grid = make_grid(FLAT, unit("q_nm^-1"), "bbox", 100, (3.0, 30.0))
    rows = Rows.empty(90 * 80, grid.n_bins, Layout((0, 1, 2, 3)))
    along = along_axes(FLAT, grid, slice(0, 90))
    odd = fill_plain(grid, *along, np.ones(90 * 80, bool), rows)
    assert 0 < odd.sum() < 0.05 * odd.size
    assert not (rows.first[odd] != grid.n_bins).any()
