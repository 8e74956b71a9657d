"""Attenuation against pyFAI at the energies of the tables, and against xraydb between them."""

import pytest

from bluesky_azint.attenuation import linear_attenuation, materials
from bluesky_azint.errors import GeometryError

sensors = pytest.importorskip("pyFAI.detectors.sensors")

# From xraydb 4.5.8 (tables of Elam, Ravel and Sieber), in 1/m, at energies in keV.
XRAYDB = {
    "Si": {8: 15066.2, 15: 2407.24, 20: 1039.53, 25: 550.553, 40: 163.252, 80: 51.8873},
    "CdTe": {8: 145781, 15: 27239.4, 20: 12542.3, 25: 6866.84, 40: 11290.6, 80: 1766.2},
    "GaAs": {8: 37014.1, 15: 49025.6, 20: 22640.7, 25: 12296.1, 40: 3329.57, 80: 509.842},
    "Ge": {8: 36714.1, 15: 48745.9, 20: 22494.4, 25: 12214.3, 40: 3306.76, 80: 506.275},
    "Se": {8: 34560.4, 15: 43991.9, 20: 20525.8, 25: 11212.1, 40: 3060.09, 80: 464.405},
    "Gd2O2S": {8: 254024, 15: 57845.6, 20: 26992.5, 25: 14875.3, 40: 4285.06, 80: 3415.86},
}


@pytest.mark.parametrize("name", XRAYDB)
def test_attenuation_agrees_with_another_table(name: str) -> None:
    for energy, expected in XRAYDB[name].items():
        assert linear_attenuation(name, energy) == pytest.approx(expected, rel=0.015), energy


@pytest.mark.parametrize("name", ["Si", "Ge", "Se", "GaAs", "CdTe"])
def test_attenuation_is_pyfais_where_it_stands_in_the_table(name: str) -> None:
    for energy in (4.0, 8.0, 10.0, 15.0, 20.0, 30.0, 40.0, 60.0, 100.0, 200.0):
        theirs = sensors.ALL_MATERIALS[name].mu(energy, "m")
        assert linear_attenuation(name, energy) == pytest.approx(theirs, rel=1e-3)


def test_a_straight_line_between_energies_is_far_off() -> None:
    """Which is what pyFAI draws: a quarter too much for silicon at 25 keV."""
    theirs = sensors.ALL_MATERIALS["Si"].mu(25.0, "m")
    assert theirs > 1.2 * XRAYDB["Si"][25]


def test_every_material_of_pyfai_is_known() -> None:
    assert set(materials()) == set(sensors.ALL_MATERIALS)
    assert all(linear_attenuation(name, 50.0) > 0 for name in materials())


def test_attenuation_jumps_up_at_an_edge() -> None:
    assert linear_attenuation("Ge", 11.1031) > 5 * linear_attenuation("Ge", 11.1030)


def test_what_is_not_tabulated_is_refused() -> None:
    with pytest.raises(GeometryError, match=r"from 1 to 1000 keV, not at 0\.5 keV"):
        linear_attenuation("Si", 0.5)
    with pytest.raises(GeometryError, match="attenuation of 'Pb' is not known"):
        linear_attenuation("Pb", 20.0)
