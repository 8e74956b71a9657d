"""Spaces of grazing incidence and fibres: the specular reflection, recorded numbers, and pyFAI."""

import json
import pickle
from types import ModuleType
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bluesky_azint.detectors import Detector, detector
from bluesky_azint.errors import RecipeError
from bluesky_azint.geometry import Geometry, Position
from bluesky_azint.reduction.recipe import Recipe
from bluesky_azint.units import fiber_unit, unit

WAVELENGTH = 1.1e-10
K = 2e-9 * np.pi / WAVELENGTH
OF_Q = [
    f"{stem}_{measure}"
    for stem in ("qip", "qoop", "qtot", "qxgi", "qygi", "qzgi")
    for measure in ("nm^-1", "A^-1")
] + ["chigi_deg", "chigi_rad"]
SCATTERING = ["scattering_angle_vert_rad", "scattering_angle_horz_rad"]
EXIT = [f"exit_angle_{way}_{measure}" for way in ("vert", "horz") for measure in ("deg", "rad")]

angles = st.floats(-1.2, 1.2)
orientations = st.integers(1, 8)


def ray(vertical: float, horizontal: float = 0.0, distance: float = 0.4) -> Position:
    """A place on the ray that leaves at two angles."""
    return Position(
        y=np.array([distance * np.sin(vertical)]),
        x=np.array([distance * np.cos(vertical) * np.sin(horizontal)]),
        z=np.array([distance * np.cos(vertical) * np.cos(horizontal)]),
    )


def value(name: str, place: Position, **sample: float) -> float:
    chosen = fiber_unit(name, **sample)  # type: ignore[arg-type]
    return float(chosen(place, WAVELENGTH)[0])


@given(incident=st.floats(1e-4, 1.5))
def test_specular_reflection_leaves_as_it_came(incident: float) -> None:
    specular = ray(2 * incident)
    assert value("exit_angle_vert_rad", specular, incident_angle=incident) == pytest.approx(
        incident
    )
    assert value("exit_angle_horz_deg", specular, incident_angle=incident) == pytest.approx(0)
    assert value("qoop_nm^-1", specular, incident_angle=incident) == pytest.approx(
        2 * K * np.sin(incident)
    )
    for name in ("qxgi_nm^-1", "qzgi_nm^-1", "qip_nm^-1"):
        assert value(name, specular, incident_angle=incident) == pytest.approx(0, abs=1e-12 * K)
    assert value("chigi_deg", specular, incident_angle=incident) == pytest.approx(0, abs=1e-6)


@given(incident=angles, tilt=angles, vertical=angles, horizontal=st.floats(-3, 3))
def test_q_is_what_the_angles_say(
    incident: float, tilt: float, vertical: float, horizontal: float
) -> None:
    """The wave vectors before and after, each by its angles in the sample, differ by q."""
    sample = {"incident_angle": incident, "tilt_angle": tilt}

    def directions(place: Position) -> np.ndarray:
        up = value("exit_angle_vert_rad", place, **sample)
        side = value("exit_angle_horz_rad", place, **sample)
        return np.array([np.cos(up) * np.sin(side), np.sin(up), np.cos(up) * np.cos(side)])

    q = K * (directions(ray(vertical, horizontal)) - directions(ray(0.0)))
    for name, component in zip(("qxgi_nm^-1", "qygi_nm^-1", "qzgi_nm^-1"), q, strict=True):
        found = value(name, ray(vertical, horizontal), **sample)
        assert found == pytest.approx(component, abs=1e-9 * K)


@given(incident=angles, tilt=angles, orientation=orientations, vertical=angles, horizontal=angles)
def test_length_of_q_does_not_depend_on_the_sample(
    incident: float, tilt: float, orientation: int, vertical: float, horizontal: float
) -> None:
    place = ray(vertical, horizontal)
    sample = {
        "incident_angle": incident,
        "tilt_angle": tilt,
        "sample_orientation": orientation,
    }
    q = float(unit("q_nm^-1")(place, WAVELENGTH)[0])
    assert value("qtot_nm^-1", place, **sample) == pytest.approx(q, rel=1e-9)
    in_plane, out_of_plane = (value(f"{name}_nm^-1", place, **sample) for name in ("qip", "qoop"))
    assert np.hypot(in_plane, out_of_plane) == pytest.approx(q, rel=1e-9)
    chi = value("chigi_rad", place, **sample)
    assert np.sin(chi) * q == pytest.approx(in_plane, abs=1e-9 * K)
    assert in_plane * value("qxgi_nm^-1", place, **sample) >= 0


def test_small_angles_lose_no_digits() -> None:
    """Close to the beam q along it is -k (2 theta)^2 / 2, where z/R - 1 has no digit left."""
    assert value("qzgi_nm^-1", ray(1e-7)) == pytest.approx(-K * 0.5e-14, rel=1e-6)


def test_at_the_beam_and_straight_back() -> None:
    assert value("qip_nm^-1", ray(0.0)) == 0
    assert value("qtot_nm^-1", Position(np.zeros(1), np.zeros(1), -np.ones(1))) == 2 * K
    nowhere = Position(np.zeros(1), np.zeros(1), np.zeros(1))
    assert np.isnan(value("qip_nm^-1", nowhere))


def sheet() -> Geometry:
    """A tilted detector."""
    return Geometry(
        detector=Detector(pixel1=2e-3, pixel2=1e-3, shape=(40, 60)),
        dist=0.05,
        poni1=0.035,
        poni2=0.03,
        rot1=0.4,
        rot2=-0.3,
        rot3=0.2,
        wavelength=WAVELENGTH,
    )


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize(("incident", "tilt"), [(0.0, 0.0), (0.21, -0.13)])
def test_all_pixels_agree_with_pyfai(
    pyfai: ModuleType, orientation: int, incident: float, tilt: float
) -> None:
    units = pyfai.units
    place = sheet().centres()
    sample = {
        "incident_angle": incident,
        "tilt_angle": tilt,
        "sample_orientation": orientation,
    }
    for name in (*OF_Q, *SCATTERING, *EXIT):
        angle = dict(sample)
        if name in EXIT:
            # pyFAI turns rays the other way round than q: with it, the specular reflection would
            # leave the film at three times the incident angle.
            angle |= {"incident_angle": -incident, "tilt_angle": -tilt}
        theirs = units.get_unit_fiber(name, **angle)
        expected = theirs.equation(place.x, place.y, place.z, WAVELENGTH) * theirs.scale
        ours = fiber_unit(name, **sample)(place, WAVELENGTH)  # type: ignore[arg-type]
        np.testing.assert_allclose(ours, expected, rtol=1e-9, atol=1e-11, err_msg=name)
        assert unit(name).positive is theirs.positive is False


def test_recorded_numbers_of_pyfai(vectors: dict[str, Any]) -> None:
    recorded = vectors["geometry"]
    geometry = Geometry(
        detector=detector(recorded["detector"]),
        **{key: recorded[key] for key in ("dist", "poni1", "poni2", "rot1", "rot2", "rot3")},
        wavelength=recorded["wavelength"],
    )
    rows, columns = np.transpose(recorded["pixels"])
    incident, tilt = np.radians([0.2, 0.3])  # what they were recorded with
    for key, expected in vectors["fiber"].items():
        name = key.split()[1]
        sign = -1 if name in EXIT else 1
        chosen = fiber_unit(
            name,
            incident_angle=sign * incident,
            tilt_angle=sign * tilt,
            sample_orientation=int(key[2]),
        )
        found = geometry.radial(chosen)[rows, columns]
        np.testing.assert_allclose(found, expected, rtol=1e-12, err_msg=key)


@given(incident=angles, tilt=angles, orientation=orientations)
def test_the_name_tells_the_parameters(incident: float, tilt: float, orientation: int) -> None:
    chosen = fiber_unit(
        "qip_A^-1", incident_angle=incident, tilt_angle=tilt, sample_orientation=orientation
    )
    assert unit(chosen.name) == chosen
    assert pickle.loads(pickle.dumps(chosen)) == chosen
    assert not set(chosen.name) & set(" \n\"'\\")
    recipe = Recipe(unit=chosen.name)
    again = Recipe.from_dict(json.loads(json.dumps(recipe.to_dict())))
    assert unit(again.unit) == chosen


def test_the_name_is_readable_and_tells_only_what_is_special() -> None:
    chosen = fiber_unit("exit_angle_vert_deg", incident_angle=np.float64(0.0035))
    assert chosen.name == "exit_angle_vert_deg(incident_angle=0.0035)"
    assert chosen.label == "vertical exit angle (degree)"
    assert fiber_unit("qip_nm^-1") is unit("qip_nm^-1")
    assert unit("qip_nm^-1 (sample_orientation = 1, tilt_angle=1)").name == (
        "qip_nm^-1(tilt_angle=1.0)"
    )


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("q_A^-1(incident_angle=0.1)", "'q_A\\^-1' has no parameter 'incident_angle'; it has none"),
        (
            "qip_A^-1(incident=0.1)",
            "has no parameter 'incident'; it has incident_angle, tilt_angle",
        ),
        ("qip_A^-1(tilt_angle=steep)", "is no number: .*'steep'"),
        ("qip_A^-1(tilt_angle=inf)", "tilt_angle is inf; it must be a finite angle in radians"),
        ("qip_A^-1(sample_orientation=9)", "sample_orientation is 9; it must be one of 1 to 8"),
        ("qip_A^-1(sample_orientation=2.5)", "is no number: .*'2.5'"),
        ("qip(tilt_angle=0.1)", "There is no unit 'qip'; the units are q_A"),
        ("qip_A^-1(tilt_angle=0.1)(tilt_angle=0.2)", "There is no unit"),
        ("qip_A^-1()", "There is no unit"),
    ],
)
def test_parameters_that_cannot_be_are_refused(name: str, message: str) -> None:
    with pytest.raises(RecipeError, match=message):
        unit(name)


def test_parameters_are_given_once() -> None:
    with pytest.raises(RecipeError, match="There is no unit"):
        fiber_unit("qip_A^-1(tilt_angle=0.1)", incident_angle=0.1)
    with pytest.raises(RecipeError, match=r"sample_orientation is 2\.5"):
        fiber_unit("qip_A^-1", sample_orientation=2.5)  # type: ignore[arg-type]
