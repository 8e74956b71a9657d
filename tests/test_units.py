"""Radial units against closed forms."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bluesky_azint.errors import RecipeError
from bluesky_azint.geometry import Position
from bluesky_azint.units import UNITS, unit

WAVELENGTH = 0.7e-10


def at_angle(two_theta: float) -> Position:
    """A place 0.3 m from the sample at a scattering angle."""
    return Position(
        y=np.array([0.3 * np.sin(two_theta) * 0.6]),
        x=np.array([0.3 * np.sin(two_theta) * 0.8]),
        z=np.array([0.3 * np.cos(two_theta)]),
    )


@given(two_theta=st.floats(1e-9, 3.1))
def test_units_are_what_they_say(two_theta: float) -> None:
    q = 4 * np.pi / WAVELENGTH * np.sin(two_theta / 2)
    expected = {
        "q_A^-1": q * 1e-10,
        "q_nm^-1": q * 1e-9,
        "2th_deg": np.degrees(two_theta),
        "2th_rad": two_theta,
        "r_mm": 300 * np.sin(two_theta),
    }
    for name, value in expected.items():
        assert unit(name)(at_angle(two_theta), WAVELENGTH)[0] == pytest.approx(value, rel=1e-9), (
            name
        )


def test_q_straight_back_is_the_largest_there_is() -> None:
    place = Position(y=np.zeros(1), x=np.zeros(1), z=np.array([-0.2]))
    assert unit("q_nm^-1")(place, WAVELENGTH)[0] == pytest.approx(4e-9 * np.pi / WAVELENGTH)


def test_all_units_of_the_recipe_are_there() -> None:
    assert set(UNITS) >= {"q_A^-1", "q_nm^-1", "2th_deg", "2th_rad", "r_mm"}


@pytest.mark.parametrize("name", ["q", "Q_A^-1", None, 3])
def test_an_unknown_unit_names_the_known_ones(name: object) -> None:
    with pytest.raises(RecipeError, match="q_A\\^-1, q_nm\\^-1"):
        unit(name)  # type: ignore[arg-type]
