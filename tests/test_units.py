"""Units against closed forms, recorded numbers and pyFAI, and under names of one's own."""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from types import ModuleType
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from bluesky_azint.detectors import Detector, detector
from bluesky_azint.errors import GeometryError, RecipeError
from bluesky_azint.geometry import Geometry, Position
from bluesky_azint.units import BUILT_IN, UNITS, Unit, register_unit, unit

FloatArray = NDArray[np.float64]
WAVELENGTH = 0.7e-10

# As pyFAI has them, and what an automatic range must not cut at zero.
RADIAL = {
    *("2th_deg", "2th_rad", "q_nm^-1", "q_A^-1", "r_m", "r_mm", "d_m", "d_nm", "d_A"),
    *("d*2_nm^-2", "d*2_A^-2", "log10(q.m)_None", "log(q.nm)_None", "log(1+q.nm)_None"),
    *("log(1+q.A)_None", "arcsinh(q.nm)_None", "arcsinh(q.A)_None", "qx_nm^-1", "qy_nm^-1"),
}
SIGNED = {"log10(q.m)_None", "log(q.nm)_None", "qx_nm^-1", "qy_nm^-1"}


@pytest.fixture
def own_units() -> Iterator[None]:
    """Forgets the units that a test registers."""
    yield
    for name in set(UNITS) - BUILT_IN:
        del UNITS[name]


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
    azimuth = np.arctan2(0.6, 0.8) if two_theta > 0 else 0
    expected = {
        "q_A^-1": q * 1e-10,
        "q_nm^-1": q * 1e-9,
        "2th_deg": np.degrees(two_theta),
        "2th_rad": two_theta,
        "r_mm": 300 * np.sin(two_theta),
        "r_m": 0.3 * np.sin(two_theta),
        "d_A": 1e10 * WAVELENGTH / 2 / np.sin(two_theta / 2),
        "d_nm": 1e9 * WAVELENGTH / 2 / np.sin(two_theta / 2),
        "d_m": WAVELENGTH / 2 / np.sin(two_theta / 2),
        "d*2_nm^-2": (2e-9 / WAVELENGTH * np.sin(two_theta / 2)) ** 2,
        "d*2_A^-2": (2e-10 / WAVELENGTH * np.sin(two_theta / 2)) ** 2,
        "log10(q.m)_None": np.log10(q),
        "log(q.nm)_None": np.log(q * 1e-9),
        "log(1+q.nm)_None": np.log1p(q * 1e-9),
        "log(1+q.A)_None": np.log1p(q * 1e-10),
        "arcsinh(q.nm)_None": np.arcsinh(q * 1e-9),
        "arcsinh(q.A)_None": np.arcsinh(q * 1e-10),
        "chi_deg": np.degrees(azimuth),
        "chi_rad": azimuth,
    }
    for name, value in expected.items():
        assert unit(name)(at_angle(two_theta), WAVELENGTH)[0] == pytest.approx(
            value, rel=1e-9, abs=1e-15
        ), name


@given(two_theta=st.floats(1e-6, 3.1))
def test_rectilinear_q_is_q_on_its_axis(two_theta: float) -> None:
    across = Position(
        y=np.zeros(1), x=np.array([np.sin(two_theta)]), z=np.array([np.cos(two_theta)])
    )
    up = Position(across.x, across.y, across.z)
    q = unit("q_nm^-1")(across, WAVELENGTH)
    np.testing.assert_allclose(unit("qx_nm^-1")(across, WAVELENGTH), q, rtol=1e-9)
    np.testing.assert_allclose(unit("qy_nm^-1")(up, WAVELENGTH), q, rtol=1e-9)
    np.testing.assert_allclose(unit("qx_A^-1")(across, WAVELENGTH), 0.1 * q, rtol=1e-9)
    assert two_theta > np.pi / 2 or unit("qy_nm^-1")(across, WAVELENGTH)[0] == 0


def test_at_the_beam_units_are_what_they_are_mathematically() -> None:
    beam = Position(y=np.zeros(1), x=np.zeros(1), z=np.array([0.2]))
    found = {name: unit(name)(beam, WAVELENGTH)[0] for name in RADIAL}
    infinite = {"d_m", "d_nm", "d_A"}
    assert {name for name, value in found.items() if value == np.inf} == infinite
    minus = {"log10(q.m)_None", "log(q.nm)_None"}
    assert {name for name, value in found.items() if value == -np.inf} == minus
    assert {found[name] for name in RADIAL - infinite - minus} == {0.0}


def test_q_straight_back_is_the_largest_there_is() -> None:
    place = Position(y=np.zeros(1), x=np.zeros(1), z=np.array([-0.2]))
    assert unit("q_nm^-1")(place, WAVELENGTH)[0] == pytest.approx(4e-9 * np.pi / WAVELENGTH)


def test_recorded_numbers_of_pyfai(vectors: dict[str, Any]) -> None:
    recorded = vectors["geometry"]
    geometry = Geometry(
        detector=detector(recorded["detector"]),
        **{key: recorded[key] for key in ("dist", "poni1", "poni2", "rot1", "rot2", "rot3")},
        wavelength=recorded["wavelength"],
    )
    rows, columns = np.transpose(recorded["pixels"])
    compared = [name for name in recorded if name in UNITS]
    assert {"2th_rad", "d_A", "d*2_nm^-2", "qx_nm^-1", "log10(q.m)_None"} <= set(compared)
    for name in compared:
        found = geometry.radial(unit(name))[rows, columns]
        np.testing.assert_allclose(found, recorded[name], rtol=1e-11, err_msg=name)


@pytest.fixture
def tilted() -> Geometry:
    """A detector of which one corner is beyond 90 degrees."""
    return Geometry(
        detector=Detector(pixel1=2e-3, pixel2=1e-3, shape=(60, 90)),
        dist=0.03,
        poni1=0.05,
        poni2=0.03,
        rot1=0.7,
        rot2=-0.5,
        rot3=0.3,
        wavelength=WAVELENGTH,
    )


@pytest.mark.parametrize("name", sorted(RADIAL | {"chi_deg", "chi_rad"}))
def test_all_pixels_agree_with_pyfai(pyfai: ModuleType, tilted: Geometry, name: str) -> None:
    units = pyfai.units
    place = tilted.centres()
    assert unit("2th_deg")(place, WAVELENGTH).max() > 90
    theirs = units.to_unit(name)
    expected = theirs.equation(place.x, place.y, place.z, WAVELENGTH) * theirs.scale
    np.testing.assert_allclose(tilted.radial(unit(name)), expected, rtol=1e-11)
    assert unit(name).positive is theirs.positive
    assert (unit(name).period is None) == (theirs.period is None)


def test_every_unit_of_pyfai_is_there(pyfai: ModuleType) -> None:
    assert set(UNITS) >= set(pyfai.units.ANY_UNITS)


def test_automatic_ranges_start_at_zero_where_nothing_is_below() -> None:
    assert {name for name in RADIAL if not unit(name).positive} == SIGNED


def test_a_pure_number_has_no_measure_on_its_axis() -> None:
    assert unit("log10(q.m)_None").label == "log10(q·m)"
    assert unit("q_A^-1").label == "q (1/angstrom)"


def test_a_unit_that_needs_a_wavelength_says_so(tilted: Geometry) -> None:
    for name in UNITS:
        if UNITS[name].needs_wavelength:
            with pytest.raises(GeometryError, match="needs a wavelength"):
                UNITS[name](tilted.centres(), None)
        else:
            assert np.isfinite(UNITS[name](tilted.centres(), None)).all(), name


@pytest.mark.parametrize("name", ["q", "Q_A^-1", "q_A^-1 ", None, 3, ["q_A^-1"]])
def test_an_unknown_unit_names_the_known_ones(name: object) -> None:
    with pytest.raises(RecipeError, match="q_A\\^-1, q_nm\\^-1"):
        unit(name)  # type: ignore[arg-type]


def height(x: FloatArray, y: FloatArray, z: FloatArray, wavelength: float) -> FloatArray:
    """Height above the beam, in metres."""
    return y


def energy(x: FloatArray, y: FloatArray, z: FloatArray, wavelength: float) -> FloatArray:
    """The same for every pixel."""
    return np.full_like(x, 1 / wavelength)


@pytest.mark.usefixtures("own_units")
def test_a_space_of_ones_own(tilted: Geometry) -> None:
    own = register_unit(Unit("height_mm", "h", "mm", "height", height, scale=1e3, positive=False))
    assert unit("height_mm") is own
    np.testing.assert_array_equal(tilted.radial(own), tilted.centres().y * 1e3)
    again = register_unit(replace(own, symbol="height"))
    assert unit("height_mm") is again


@dataclass(frozen=True)
class Shifted:
    """Radius about another centre: a space with parameters."""

    x0: float = 0.0
    turns: int = 1

    def __call__(
        self, x: FloatArray, y: FloatArray, z: FloatArray, wavelength: float
    ) -> FloatArray:
        return np.hypot(x - self.x0, y)


@pytest.mark.usefixtures("own_units")
def test_a_space_of_ones_own_with_parameters() -> None:
    register_unit(Unit("shifted_m", "r", "m", "radius", Shifted()))
    moved = unit("shifted_m( x0 = 0.25, turns=2)")
    assert moved.name == "shifted_m(x0=0.25,turns=2)"
    assert moved.equation == Shifted(0.25, 2)
    assert moved == unit(moved.name)
    with pytest.raises(RecipeError, match=r"'shifted_m' is no number: .*'much'"):
        unit("shifted_m(x0=much)")


@pytest.mark.usefixtures("own_units")
@pytest.mark.parametrize("name", ["q_A^-1", "qip_nm^-1", " "])
def test_built_in_units_stay_what_they_are(name: str) -> None:
    with pytest.raises(RecipeError, match="built-in"):
        register_unit(Unit(name, "h", "m", "height", height))


@pytest.mark.usefixtures("own_units")
def test_a_space_that_does_not_work_is_refused() -> None:
    with pytest.raises(RecipeError, match="needs_wavelength must be True"):
        register_unit(Unit("energy", "E", "1/m", "energy", energy))
    register_unit(Unit("energy", "E", "1/m", "energy", energy, needs_wavelength=True))
    with pytest.raises(RecipeError, match=r"for six pixels of shape \(3, 2\)"):
        register_unit(Unit("flat", "h", "m", "height", lambda x, y, z, wavelength: y.ravel()))
    assert "flat" not in UNITS
