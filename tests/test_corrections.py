"""Corrections against pyFAI's values and against limits known by heart."""

from types import ModuleType
from typing import Any

import numpy as np
import pytest

import bluesky_azint as ba
from bluesky_azint.corrections import (
    Corrections,
    absorption_from_incidence,
    polarization_from_position,
    solid_angle_from_incidence,
)
from bluesky_azint.errors import RecipeError


def test_corrections_agree_with_pyfai(vectors: dict[str, Any]) -> None:
    values = vectors["geometry"]
    names = ("dist", "poni1", "poni2", "rot1", "rot2", "rot3", "wavelength")
    geometry = ba.Geometry(
        detector=ba.Detector(values["pixel"], values["pixel"], tuple(values["shape"])),
        **{name: values[name] for name in names},
    )
    pixels = tuple(np.transpose(values["pixels"]))
    solid_angle = solid_angle_from_incidence(geometry.cos_incidence())
    np.testing.assert_allclose(solid_angle[pixels], values["solidangle_rel"], rtol=1e-7)
    np.testing.assert_allclose(solid_angle[pixels], np.power(values["cos_inc"], 3), rtol=1e-12)
    for factor, degrees, name in (
        (0.95, 0, "f=0.95 off=0.0000"),
        (0, 0, "f=0 off=0.0000"),
        (-1, 0, "f=-1 off=0.0000"),
        (0.95, 10, "f=0.95 off=0.1745"),
    ):
        polarization = polarization_from_position(
            *geometry.centres(), factor, offset=np.deg2rad(degrees)
        )
        np.testing.assert_allclose(polarization[pixels], values[f"polar {name}"], rtol=1e-7)


def test_a_horizontal_beam_scatters_nothing_sideways() -> None:
    one, zero = np.ones(1), np.zeros(1)
    assert polarization_from_position(zero, one, zero, 1.0)[0] == pytest.approx(0.0)
    assert polarization_from_position(one, zero, zero, 1.0)[0] == pytest.approx(1.0)
    assert polarization_from_position(zero, zero, one, 1.0)[0] == pytest.approx(1.0)


def test_an_unpolarized_beam_has_the_thomson_factor() -> None:
    angle = np.linspace(0, np.pi, 7)
    factor = polarization_from_position(np.sin(angle), np.zeros(7), np.cos(angle), 0.0)
    np.testing.assert_allclose(factor, (1 + np.cos(angle) ** 2) / 2, rtol=1e-14)


def test_solid_angle_falls_with_the_cube_of_the_cosine() -> None:
    assert solid_angle_from_incidence(np.array([0.5]))[0] == 0.125


def test_offset_turns_the_polarization() -> None:
    """What is polarized along the slow axis is so along the fast one after a quarter turn."""
    y, x, z = np.random.default_rng(1).normal(size=(3, 20))
    turned = polarization_from_position(y, x, z, 0.8, offset=np.pi / 2)
    np.testing.assert_allclose(turned, polarization_from_position(y, x, z, -0.8), rtol=1e-12)
    angle = 0.3
    rotated = polarization_from_position(
        y * np.cos(angle) + x * np.sin(angle), x * np.cos(angle) - y * np.sin(angle), z, 0.8
    )
    offset = polarization_from_position(y, x, z, 0.8, offset=angle)
    np.testing.assert_allclose(offset, rotated, rtol=1e-12)


def test_polarization_and_absorption_are_pyfais(pyfai: ModuleType) -> None:
    pose = {"dist": 0.1, "poni1": 0.01, "poni2": 0.02, "rot1": 0.3, "rot2": -0.2, "rot3": 0.4}
    theirs = pyfai.integrator.azimuthal.AzimuthalIntegrator(**pose, detector="Pilatus100k")
    ours = ba.Geometry(**pose, detector=ba.detector("Pilatus100k"))  # type: ignore[arg-type]
    shape = ours.shape
    found = polarization_from_position(*ours.centres(), 0.9, offset=0.7)
    expected = theirs.polarization(shape, factor=0.9, axis_offset=0.7)
    np.testing.assert_allclose(found, expected, rtol=2e-7)
    for transmission in (0.01, 0.3, 0.9):
        found = absorption_from_incidence(ours.cos_incidence(), transmission)
        expected = theirs.calc_transmission(transmission, shape)
        np.testing.assert_allclose(found, expected, rtol=1e-7)


def test_absorption_between_its_limits() -> None:
    cosine = np.array([1.0, 0.8, 0.5])
    np.testing.assert_allclose(absorption_from_incidence(cosine, 1 - 1e-9), 1 / cosine, rtol=1e-7)
    np.testing.assert_array_equal(absorption_from_incidence(cosine, 0.0), 1.0)
    assert absorption_from_incidence(cosine, 0.25)[2] == pytest.approx((1 - 0.25**2) / 0.75)
    for wrong in (1.0, -0.1, np.nan):
        with pytest.raises(RecipeError, match="The transmission of the sensor is"):
            absorption_from_incidence(cosine, wrong)


def test_corrections_are_multiplied() -> None:
    geometry = ba.Geometry(detector=ba.Detector(1e-3, 1e-3, (7, 5)), dist=0.1, rot1=0.2)
    solid = geometry.solid_angle()
    polarization = polarization_from_position(*geometry.centres(), 0.9, 0.3)
    absorbed = absorption_from_incidence(geometry.cos_incidence(), 0.2)
    everything = Corrections(
        polarization_factor=0.9, polarization_offset=0.3, sensor_transmission=0.2
    )
    expected = solid * polarization * absorbed
    np.testing.assert_allclose(everything(geometry), expected, rtol=1e-15)
    np.testing.assert_array_equal(Corrections()(geometry, slice(2, 4)), solid[2:4])
    assert (Corrections(solid_angle=False)(geometry) == np.ones((7, 5))).all()
