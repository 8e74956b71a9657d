"""What a device computes of every pixel is what NumPy does."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

import bluesky_azint as ba
from bluesky_azint.corrections import Corrections
from bluesky_azint.grid import extent, make_grid
from bluesky_azint.lookup import Builder, Lookup
from bluesky_azint.lookup.disk import possible
from bluesky_azint.units import Unit, unit

pytest.importorskip("pyopencl")
from bluesky_azint.engines.opencl.build import DeviceBuilder

# More rows than a block has; the beam is on the detector, and pixels are not square.
GEOMETRY = ba.Geometry(
    detector=ba.Detector(1e-3, 0.9e-3, (133, 71)),
    dist=0.12,
    poni1=0.05,
    poni2=0.033,
    rot1=0.12,
    rot2=-0.07,
    rot3=0.3,
    wavelength=1e-10,
)
MASK = np.random.default_rng(1).random(GEOMETRY.shape) < 0.1

GRIDS: list[dict[str, Any]] = [
    {"npt": 20},
    {"npt": 100},
    {"npt": 400},
    {"npt": 100, "radial_range": (5.0, 30.0)},
    {"npt": 50, "azimuth_range": (-170, 30)},
    {"npt": 50, "azimuth_range": (350, 380)},
    {"npt": 30, "npt_azim": 36},
    {"npt": 1, "npt_azim": 36, "radial_range": (5.0, 60.0)},
]
ALGEBRAIC = ("q_A^-1", "q_nm^-1", "r_mm", "d_A", "d*2_A^-2")


@pytest.fixture(scope="module")
def device() -> DeviceBuilder:
    return DeviceBuilder()


@pytest.fixture
def nothing_left_to_numpy(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise AssertionError

    for name in ("lookup", "weights", "extent"):
        monkeypatch.setattr(Builder, name, refuse)


def off(found: Lookup, expected: Lookup) -> float:
    """By how much shares differ at the most."""
    assert found.offsets == expected.offsets
    assert (found.spans is None) == (expected.spans is None)
    assert possible(found)
    return float(np.abs(found.matrix - expected.matrix).max())


@pytest.mark.usefixtures("nothing_left_to_numpy")
@pytest.mark.parametrize("orientation", [1, 2, 3, 4])
@pytest.mark.parametrize("splitting", ["no", "bbox", "pseudo", "full"])
@pytest.mark.parametrize("name", ALGEBRAIC)
def test_ends_of_axes_are_equal_to_the_bit(
    device: DeviceBuilder, orientation: int, splitting: str, name: str
) -> None:
    geometry = GEOMETRY.with_orientation(orientation)
    found = device.extent(geometry, unit(name), splitting)
    assert found == extent(geometry, unit(name), splitting)


@pytest.mark.usefixtures("nothing_left_to_numpy")
@pytest.mark.parametrize("splitting", ["no", "bbox", "full"])
@pytest.mark.parametrize("name", ["2th_deg", "2th_rad", "chi_deg", "chi_rad"])
def test_ends_of_angles_are_equal_to_rounding(
    device: DeviceBuilder, splitting: str, name: str
) -> None:
    behind = replace(GEOMETRY, rot1=2.5)  # where 2theta is more than a right angle
    aside = replace(GEOMETRY, poni2=-0.03)  # where chi is cut nowhere
    for geometry in (GEOMETRY, behind, aside):
        found = device.extent(geometry, unit(name), splitting)
        expected = extent(geometry, unit(name), splitting)
        assert found == pytest.approx(expected, rel=1e-13)
        # No pixel is lost where the other one sorts them.
        assert found[0] <= expected[0]
        assert found[1] >= expected[1]


@pytest.mark.usefixtures("nothing_left_to_numpy")
@pytest.mark.parametrize("name", ["chi_deg", "chi_rad"])
def test_a_centre_where_the_angle_is_cut_is_not_beyond(device: DeviceBuilder, name: str) -> None:
    middle = ba.Geometry(
        detector=ba.Detector(1e-3, 1e-3, (101, 67)), dist=0.2, poni1=0.0505, poni2=0.0335
    )
    found = device.extent(middle, unit(name), "no")
    expected = extent(middle, unit(name), "no")
    assert found[1] == expected[1]
    assert found == pytest.approx(expected, rel=1e-13)


@pytest.mark.parametrize("splitting", ["no", "bbox"])
@pytest.mark.parametrize("options", GRIDS, ids=str)
@pytest.mark.parametrize("orientation", [1, 3])
def test_look_ups_are_equal(
    device: DeviceBuilder, splitting: str, options: dict[str, Any], orientation: int
) -> None:
    geometry = GEOMETRY.with_orientation(orientation)
    grid = make_grid(geometry, unit("q_nm^-1"), splitting, **options)
    expected = Builder().lookup(geometry, grid, MASK)
    found = device.lookup(geometry, grid, MASK)
    np.testing.assert_array_equal(found.first, expected.first)
    np.testing.assert_array_equal(found.used, expected.used)
    if grid.azimuthal.undivided:
        for one, other in ((found.shares, expected.shares), (found.spans, expected.spans)):
            np.testing.assert_array_equal(one, other)
    assert off(found, expected) < 1e-7


@pytest.mark.parametrize(
    ("splitting", "options"), [("no", GRIDS[0]), ("bbox", GRIDS[2]), ("bbox", GRIDS[6])]
)
def test_work_items_side_by_side_give_the_same(splitting: str, options: dict[str, Any]) -> None:
    # As on a GPU.
    device = DeviceBuilder(group=4)
    grid = make_grid(GEOMETRY, unit("q_nm^-1"), splitting, **options, find_extent=device.extent)
    assert grid == make_grid(GEOMETRY, unit("q_nm^-1"), splitting, **options)
    expected = Builder().lookup(GEOMETRY, grid, MASK)
    assert off(device.lookup(GEOMETRY, grid, MASK), expected) < 1e-7
    weights = device.weights(GEOMETRY, Corrections())
    np.testing.assert_array_equal(weights, Corrections()(GEOMETRY).astype(np.float32))


@pytest.mark.parametrize("npt", [20, 100, 250])
@pytest.mark.parametrize("orientation", [1, 2, 3, 4])
def test_polygons_are_equal(device: DeviceBuilder, npt: int, orientation: int) -> None:
    geometry = GEOMETRY.with_orientation(orientation)
    grid = make_grid(geometry, unit("q_nm^-1"), "full", npt)
    assert off(device.lookup(geometry, grid, MASK), Builder().lookup(geometry, grid, MASK)) < 1e-6


@pytest.mark.parametrize("name", [*ALGEBRAIC, "2th_deg"])
@pytest.mark.parametrize("splitting", ["no", "bbox", "full"])
def test_units_are_equal(device: DeviceBuilder, name: str, splitting: str) -> None:
    options = {"radial_range": (1.0, 9.0)} if name == "d_A" else {}
    grid = make_grid(GEOMETRY, unit(name), splitting, 60, **options)  # type: ignore[arg-type]
    found = device.lookup(GEOMETRY, grid, None)
    assert off(found, Builder().lookup(GEOMETRY, grid, None)) < 1e-6


@pytest.mark.usefixtures("nothing_left_to_numpy")
@pytest.mark.parametrize(
    "corrections",
    [
        Corrections(),
        Corrections(polarization_factor=0.95),
        Corrections(polarization_factor=-0.5, polarization_offset=0.3),
        Corrections(solid_angle=False, polarization_factor=0.9),
        Corrections(solid_angle=False),
    ],
)
def test_weights_are_equal(device: DeviceBuilder, corrections: Corrections) -> None:
    exact = corrections(GEOMETRY).astype(np.float32)
    np.testing.assert_array_equal(device.weights(GEOMETRY, corrections), exact)


@pytest.mark.usefixtures("nothing_left_to_numpy")
@pytest.mark.parametrize("splitting", ["no", "bbox", "full"])
def test_the_usual_is_not_left_to_numpy(device: DeviceBuilder, splitting: str) -> None:
    grid = make_grid(GEOMETRY, unit("q_nm^-1"), splitting, 60, find_extent=device.extent)
    assert device.lookup(GEOMETRY, grid, MASK).used.sum() == (~MASK).sum()


BENT = replace(
    GEOMETRY,
    detector=ba.Detector(1e-3, 0.9e-3).displaced(np.zeros((133, 71)), np.full((133, 71), 0.2)),
)
OWN = Unit("own", "x", "m", "own", lambda x, *_: x, positive=False)


@pytest.mark.parametrize(
    ("geometry", "own", "splitting", "options"),
    [
        (BENT, unit("q_nm^-1"), "bbox", {}),
        (GEOMETRY, OWN, "bbox", {}),
        (GEOMETRY, unit("qip_nm^-1"), "no", {}),
        (GEOMETRY, unit("q_nm^-1"), "pseudo", {}),
        (GEOMETRY, unit("chi_deg"), "bbox", {}),
        (GEOMETRY, unit("q_nm^-1"), "full", {"npt_azim": 10}),
        (GEOMETRY, unit("q_nm^-1"), "bbox", {"npt_azim": 10, "azimuthal_unit": unit("qx_nm^-1")}),
    ],
)
def test_the_rest_is_left_to_numpy(
    geometry: ba.Geometry, own: Unit, splitting: str, options: dict[str, Any]
) -> None:
    device = DeviceBuilder()
    grid = make_grid(geometry, own, splitting, 60, **options)
    ends = device.extent(geometry, own, splitting)
    assert ends == pytest.approx(extent(geometry, own, splitting), rel=1e-13)
    found = device.lookup(geometry, grid, MASK)
    assert off(found, Builder().lookup(geometry, grid, MASK)) == 0
    corrections = Corrections(sensor_transmission=0.2)
    weights = device.weights(geometry, corrections)
    np.testing.assert_array_equal(weights, corrections(geometry).astype(np.float32))


def test_a_wavelength_is_asked_for(device: DeviceBuilder) -> None:
    without = replace(GEOMETRY, wavelength=None)
    with pytest.raises(ba.AzintError, match="needs a wavelength"):
        device.extent(without, unit("q_nm^-1"), "bbox")
    ends = device.extent(without, unit("r_mm"), "bbox")
    assert ends == extent(without, unit("r_mm"), "bbox")
