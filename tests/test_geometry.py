"""Geometry against pyFAI's values and against what must hold for any geometry."""

import dataclasses
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import bluesky_azint as ba
from bluesky_azint.errors import GeometryError
from bluesky_azint.geometry import corners_of_pixels
from bluesky_azint.units import Q_NM, R_MM, TTH_DEG

small_angles = st.floats(-0.5, 0.5)


@pytest.fixture
def pilatus(vectors: dict[str, Any]) -> ba.Geometry:
    """The geometry of the vectors."""
    values = vectors["geometry"]
    names = ("dist", "poni1", "poni2", "rot1", "rot2", "rot3", "wavelength")
    detector = ba.Detector(values["pixel"], values["pixel"], tuple(values["shape"]))
    return ba.Geometry(detector=detector, **{name: values[name] for name in names})


def test_positions_agree_with_pyfai(pilatus: ba.Geometry, vectors: dict[str, Any]) -> None:
    values = vectors["geometry"]
    pixels = tuple(np.transpose(values["pixels"]))
    place = pilatus.centres()
    for component, name in ((place.y, "t1_y_m"), (place.x, "t2_x_m"), (place.z, "t3_z_m")):
        np.testing.assert_allclose(component[pixels], values[name], rtol=1e-13)


@pytest.mark.parametrize(
    ("quantity", "name"),
    [
        (lambda g: g.two_theta(), "2th_rad"),
        (lambda g: g.chi(), "chi_rad"),
        (lambda g: g.q(), "q_nm^-1"),
        (lambda g: g.radial(R_MM) / 1e3, "r_m"),
        (lambda g: g.cos_incidence(), "cos_inc"),
    ],
)
def test_quantities_agree_with_pyfai(
    pilatus: ba.Geometry, vectors: dict[str, Any], quantity: Any, name: str
) -> None:
    values = vectors["geometry"]
    computed = quantity(pilatus)
    assert computed.dtype == np.float64
    assert computed.shape == (1043, 981)
    np.testing.assert_allclose(computed[tuple(np.transpose(values["pixels"]))], values[name], 1e-12)


@pytest.mark.parametrize(
    ("orientation", "chi", "y", "x"),
    [
        (3, -1.23197402, -2092.858e-6, 737.549e-6),
        (1, -0.80691263, None, None),
        (2, -1.1762711, None, None),
        (4, -0.88497088, None, None),
    ],
)
def test_orientation_mirrors_the_pixel_index_only(
    orientation: int, chi: float, y: float | None, x: float | None
) -> None:
    detector = ba.Detector(100e-6, 200e-6, (4, 6), orientation=orientation)
    geometry = ba.Geometry(
        detector=detector, dist=0.1, poni1=1.2e-4, poni2=3e-4, rot1=0.01, rot2=0.02, rot3=0.03
    )
    assert geometry.chi()[0, 0] == pytest.approx(chi, abs=1e-8)
    if y is not None:
        assert geometry.centres().y[0, 0] == pytest.approx(y, abs=1e-9)
        assert geometry.centres().x[0, 0] == pytest.approx(x, abs=1e-9)


def test_corners_surround_the_centre() -> None:
    geometry = ba.Geometry(
        detector=ba.Detector(1e-4, 2e-4, (3, 5)), dist=0.1, poni1=1e-4, rot1=0.1, rot2=0.2
    )
    corners = corners_of_pixels(geometry.corners().x)
    assert corners.shape == (3, 5, 4)
    np.testing.assert_allclose(corners.mean(axis=-1), geometry.centres().x, rtol=1e-12)
    np.testing.assert_array_equal(corners[1:, :, 0], corners[:-1, :, 1])
    np.testing.assert_array_equal(corners[:, 1:, 0], corners[:, :-1, 3])


def test_blocks_of_rows_are_parts_of_the_whole() -> None:
    geometry = ba.Geometry(detector=ba.Detector(1e-4, 1e-4, (10, 4)), rot1=0.1)
    np.testing.assert_array_equal(geometry.centres(slice(3, 7)).y, geometry.centres().y[3:7])
    np.testing.assert_array_equal(geometry.corners(slice(3, 7)).y, geometry.corners().y[3:8])


@given(rot1=small_angles, rot2=small_angles, rot3=small_angles)
def test_rotations_keep_distances(rot1: float, rot2: float, rot3: float) -> None:
    straight = ba.Geometry(detector=ba.Detector(1e-3, 1e-3, (4, 4)), dist=0.2, poni1=1e-3)
    turned = dataclasses.replace(straight, rot1=rot1, rot2=rot2, rot3=rot3)

    def distance(geometry: ba.Geometry) -> Any:
        return np.linalg.norm(geometry.centres(), axis=0)

    np.testing.assert_allclose(distance(turned), distance(straight), rtol=1e-13)


@given(angle=st.floats(-3, 3))
def test_rot3_turns_the_azimuth_alone(angle: float) -> None:
    straight = ba.Geometry(
        detector=ba.Detector(1e-3, 1e-3, (4, 4)), dist=0.2, poni1=-1e-2, rot1=0.1, wavelength=1e-10
    )
    turned = dataclasses.replace(straight, rot3=angle)
    np.testing.assert_allclose(turned.q(), straight.q(), rtol=1e-12)
    turn = np.exp(1j * turned.chi()) / np.exp(1j * straight.chi())
    np.testing.assert_allclose(turn, np.exp(-1j * angle), atol=1e-12)


def test_two_theta_reaches_beyond_ninety_degrees() -> None:
    geometry = ba.Geometry(
        detector=ba.Detector(1e-3, 1e-3, (1, 1)), dist=0.1, poni1=5e-4, poni2=5e-4, rot1=2.5
    )
    assert geometry.two_theta()[0, 0] == pytest.approx(2.5)


def test_q_needs_a_wavelength() -> None:
    geometry = ba.Geometry(detector=ba.Detector(1e-3, 1e-3, (2, 2)))
    with pytest.raises(GeometryError, match="q_nm\\^-1 needs a wavelength"):
        geometry.q()
    geometry.radial(TTH_DEG)


def test_a_detector_without_shape_is_told() -> None:
    geometry = ba.Geometry(detector=ba.Detector(1e-3, 1e-3))
    with pytest.raises(GeometryError, match="has no shape"):
        geometry.two_theta()


@pytest.mark.parametrize(
    "values", [{"dist": np.nan}, {"rot1": np.inf}, {"wavelength": 0}, {"wavelength": -1e-10}]
)
def test_impossible_values_are_refused(values: dict[str, float]) -> None:
    with pytest.raises(GeometryError):
        ba.Geometry(detector=ba.Detector(1e-3, 1e-3), **values)


def test_geometries_are_values() -> None:
    one = ba.Geometry(
        detector=ba.Detector(1e-3, 1e-3, (2, 2), mask=np.eye(2, dtype=bool)), dist=0.1
    )
    same = ba.Geometry(
        detector=ba.Detector(1e-3, 1e-3, (2, 2), mask=np.eye(2, dtype=bool)), dist=0.1
    )
    assert one == same
    assert hash(one) == hash(same)
    assert one != dataclasses.replace(one, dist=0.2)
    assert Q_NM.label == "q (1/nm)"
