"""The identity of look-ups."""

from dataclasses import dataclass, replace

import numpy as np
import pytest
from numpy.typing import NDArray

import bluesky_azint as ba
from bluesky_azint.grid import Grid, make_grid
from bluesky_azint.lookup.identity import identity
from bluesky_azint.pixels import Corners
from bluesky_azint.units import Unit, fiber_unit, unit

DETECTOR = ba.Detector(1e-3, 0.9e-3, (30, 40))
GEOMETRY = ba.Geometry(detector=DETECTOR, dist=0.12, poni1=0.05, wavelength=1e-10)
GRID = make_grid(GEOMETRY, unit("q_nm^-1"), "bbox", 100)
EXPECTED = "a4852f5e9aa66f8fa12be9d0295477e39f6fab8b129bfa954489c28ff4cfb277"
CORNERS = np.random.default_rng(0).random((30, 40, 4, 3))


def own(x: NDArray[np.float64], *_: object) -> NDArray[np.float64]:
    """A space of one's own."""
    return x


@dataclass(frozen=True)
class Own:
    """A space of one's own, with a parameter."""

    power: int = 1

    def __call__(self, x: NDArray[np.float64], *_: object) -> NDArray[np.float64]:
        return x**self.power


def with_corners(corners: NDArray[np.float64]) -> ba.Geometry:
    return replace(GEOMETRY, detector=replace(DETECTOR, pixels=Corners(corners)))


def test_it_does_not_hang_on_the_process() -> None:
    # It names files that other processes read.
    assert identity(GEOMETRY, GRID, None) == EXPECTED


@pytest.mark.parametrize(
    "geometry",
    [
        replace(GEOMETRY, poni1=0.05 + 1e-12),
        replace(GEOMETRY, wavelength=1.1e-10),
        GEOMETRY.with_orientation(2),
        replace(GEOMETRY, detector=replace(DETECTOR, pixel1=1.1e-3)),
        with_corners(CORNERS),
        with_corners(CORNERS + 1e-9),
    ],
)
def test_another_place_is_another_look_up(geometry: ba.Geometry) -> None:
    assert identity(geometry, GRID, None) != identity(GEOMETRY, GRID, None)
    assert identity(geometry, GRID, None) == identity(replace(geometry), GRID, None)


@pytest.mark.parametrize(
    "grid",
    [
        make_grid(GEOMETRY, unit("q_nm^-1"), "full", 100),
        make_grid(GEOMETRY, unit("q_nm^-1"), "bbox", 101),
        make_grid(GEOMETRY, unit("q_nm^-1"), "bbox", 100, npt_azim=1),
        make_grid(GEOMETRY, unit("q_nm^-1"), "bbox", 100, (0.1, 10.0)),
        replace(GRID, radial_unit=unit("2th_deg")),
        replace(GRID, radial_unit=unit("qip_nm^-1")),
        replace(GRID, radial_unit=fiber_unit("qip_nm^-1", incident_angle=0.1)),
        replace(GRID, radial_unit=fiber_unit("qip_nm^-1", incident_angle=0.2)),
    ],
)
def test_other_bins_are_another_look_up(grid: Grid) -> None:
    assert identity(GEOMETRY, grid, None) not in {None, identity(GEOMETRY, GRID, None)}


def test_parameters_of_units_count() -> None:
    angles = [fiber_unit("qip_nm^-1", incident_angle=angle) for angle in (0.0, 0.1, 0.2)]
    keys = {identity(GEOMETRY, replace(GRID, radial_unit=each), None) for each in angles}
    assert len(keys) == 3


def test_another_mask_is_another_look_up() -> None:
    mask = np.zeros((30, 40), bool)
    one, none = identity(GEOMETRY, GRID, mask), identity(GEOMETRY, GRID, None)
    mask[29, 39] = True
    assert len({one, none, identity(GEOMETRY, GRID, mask)}) == 3


def test_names_do_not_count() -> None:
    named = replace(DETECTOR, name="other", dummy=3.0, mask=np.ones((30, 40), bool))
    assert identity(replace(GEOMETRY, detector=named), GRID, None) == EXPECTED


@pytest.mark.parametrize("equation", [own, Own(), lambda x, *_: x])
def test_units_of_ones_own_have_none(equation: Unit) -> None:
    one = Unit("own", "x", "m", "own", equation)  # type: ignore[arg-type]
    assert identity(GEOMETRY, replace(GRID, radial_unit=one), None) is None
