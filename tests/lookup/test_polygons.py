"""Plain polygons are told as all others are."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

import bluesky_azint as ba
from bluesky_azint.grid import along_axes, make_grid, split_some
from bluesky_azint.lookup import as_matrix, build_lookup
from bluesky_azint.lookup.layout import Layout, Rows
from bluesky_azint.lookup.polygons import fill_polygons
from bluesky_azint.pixels import Cylinder, Hexagons
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
PIXELS = {
    "flat": None,
    "bent": Cylinder((90, 80), 1e-3, 0.9e-3, 0.3),
    "hexagons": Hexagons((90, 80), 1e-3),
}


@pytest.mark.parametrize("kind", PIXELS)
@pytest.mark.parametrize("orientation", [1, 2, 3])
@pytest.mark.parametrize(
    "options", [{"npt": 10}, {"npt": 70}, {"npt": 150}, {"npt": 70, "radial_range": (3.0, 30.0)}]
)
def test_they_are_told_as_entry_by_entry(
    kind: str, orientation: int, options: dict[str, Any]
) -> None:
    detector = replace(FLAT.detector, pixels=PIXELS[kind], orientation=orientation)
    geometry = replace(FLAT, detector=detector)
    grid = make_grid(geometry, unit("q_nm^-1"), "full", **options)
    mask = np.random.default_rng(1).random(geometry.shape) < 0.1
    lookup = build_lookup(geometry, grid, mask)
    told = np.flatnonzero(~mask)
    shares = split_some(grid, *along_axes(geometry, grid, slice(0, 90)), told)
    exact = as_matrix(shares._replace(pixel=told[shares.pixel]), mask.size, grid.n_bins)
    assert np.abs(lookup.matrix - exact).max() < 1e-7
    assert (lookup.first[mask.ravel()] == grid.n_bins).all()


def test_few_pixels_are_odd() -> None:
    grid = make_grid(FLAT, unit("q_nm^-1"), "full", 100)
    rows = Rows.empty(90 * 80, grid.n_bins, Layout((0, 1, 2, 3)))
    radial, azimuthal = along_axes(FLAT, grid, slice(0, 90))
    assert azimuthal is not None
    odd = fill_polygons(radial, azimuthal, np.ones(90 * 80, bool), rows)
    assert 0 < odd.sum() < 0.01 * odd.size
    assert (rows.first[odd] == grid.n_bins).all()
    assert rows.shares is not None
    assert not rows.shares[odd].any()
