"""Corrections against pyFAI's values and against limits known by heart."""

from typing import Any

import numpy as np
import pytest

import bluesky_azint as ba
from bluesky_azint.corrections import polarization_from_position, solid_angle_from_incidence


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
    for factor, name in ((0.95, "0.95"), (0, "0"), (-1, "-1")):
        polarization = polarization_from_position(*geometry.centres(), factor)
        np.testing.assert_allclose(
            polarization[pixels], values[f"polar f={name} off=0.0000"], rtol=1e-7
        )


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
