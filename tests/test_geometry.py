"""Geometry against pyFAI's values and against what must hold for any geometry."""

import dataclasses
from types import ModuleType
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import bluesky_azint as ba
from bluesky_azint.errors import GeometryError
from bluesky_azint.parallax import Sensor
from bluesky_azint.pixels import Corners
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
    corners = geometry.at_corners(lambda place: place.x)
    assert corners.shape == (3, 5, 4)
    np.testing.assert_allclose(corners.mean(axis=-1), geometry.centres().x, rtol=1e-12)
    np.testing.assert_array_equal(corners[1:, :, 0], corners[:-1, :, 1])
    np.testing.assert_array_equal(corners[:, 1:, 0], corners[:, :-1, 3])


def test_blocks_of_rows_are_parts_of_the_whole() -> None:
    geometry = ba.Geometry(detector=ba.Detector(1e-4, 1e-4, (10, 4)), rot1=0.1)
    np.testing.assert_array_equal(geometry.centres(slice(3, 7)).y, geometry.centres().y[3:7])

    def heights(rows: slice = slice(None)) -> Any:
        return geometry.at_corners(lambda place: place.y, rows)

    np.testing.assert_array_equal(heights(slice(3, 7)), heights()[3:7])


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
def test_impossible_values_are_refused(values: dict[str, Any]) -> None:
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


POSE: dict[str, Any] = {
    "dist": 0.3,
    "poni1": 0.02,
    "poni2": 0.03,
    "rot1": 0.1,
    "rot2": -0.2,
    "rot3": 0.3,
}
REFLECTED = [(1, 2), (1, 3), (1, 4), (2, 3), (3, 4), (3, 3)]


def corners_of(geometry: ba.Geometry, rows: slice = slice(None)) -> Any:
    return np.stack(
        [
            geometry.at_corners(lambda place, axis=axis: place[axis], rows)  # type: ignore[misc]
            for axis in (2, 0, 1)
        ],
        axis=-1,
    )


@pytest.mark.parametrize("name", ["Jungfrau", "Xpad_flat", "Cirpad", "Pixirad1", "Rapid"])
def test_irregular_detectors_lie_where_pyfai_has_them(pyfai: ModuleType, name: str) -> None:
    theirs = pyfai.integrator.azimuthal.AzimuthalIntegrator(**POSE, detector=name)
    ours = ba.Geometry(**POSE, detector=ba.detector(name))
    rows = slice(100, 200)
    corners = theirs.position_array(corners=True)[rows]
    np.testing.assert_allclose(corners_of(ours, rows), corners, atol=1e-7)
    place = ours.centres(rows)
    np.testing.assert_allclose(
        np.stack([place.z, place.y, place.x], axis=-1), corners.mean(axis=2), atol=1e-7
    )
    centres = theirs.position_array()[rows]
    if name == "Pixirad1":  # pyFAI takes the mean of four of the six corners
        assert np.abs(place.x - centres[..., 2]).max() > 10e-6
    else:
        np.testing.assert_allclose(place.x, centres[..., 2], atol=1e-7)


@pytest.mark.parametrize("shape", [(40, 900), (30, 1300)])
def test_incidence_on_a_cylinder_is_pyfais(pyfai: ModuleType, shape: tuple[int, int]) -> None:
    class _Small(pyfai.detectors.Rapid):  # type: ignore[misc, name-defined]
        MAX_SHAPE = shape

    detector = dataclasses.replace(
        ba.detector("Rapid"),
        pixels=dataclasses.replace(ba.detector("Rapid").pixels, shape=shape),  # type: ignore[type-var]
        shape=shape,
    )
    ours = ba.Geometry(**POSE, detector=detector)
    theirs = pyfai.integrator.azimuthal.AzimuthalIntegrator(**POSE, detector=_Small())
    index = np.meshgrid(*map(np.arange, shape), indexing="ij")
    expected = theirs.cos_incidence(*(part.astype(float) for part in index))
    np.testing.assert_allclose(ours.cos_incidence(), expected, rtol=3e-4)  # theirs from float32
    np.testing.assert_array_equal(ours.cos_incidence(slice(5, 9)), ours.cos_incidence()[5:9])


def brute_force_solid_angle(geometry: ba.Geometry, pixel: tuple[int, int]) -> float:
    """Of a pixel with four corners, by the formula of van Oosterom and Strackee."""
    corners = corners_of(geometry)[pixel]
    total = 0.0
    for triangle in ((0, 1, 2), (0, 2, 3)):
        a, b, c = corners[list(triangle)]
        la, lb, lc = (np.linalg.norm(side) for side in (a, b, c))
        flux = np.dot(a, np.cross(b, c))
        total += 2 * np.arctan2(abs(flux), la * lb * lc + a @ b * lc + a @ c * lb + b @ c * la)
    return float(total)


@pytest.mark.parametrize("name", ["Rapid", "Jungfrau", "ImXPadS10", "Pilatus100k"])
def test_solid_angle_is_that_of_the_corners(name: str) -> None:
    whole = ba.detector(name)
    detector = (
        whole
        if name == "ImXPadS10"
        else dataclasses.replace(whole.binned(*((np.array(whole.shape) // 64).tolist())), mask=None)
    )
    geometry = ba.Geometry(**{**POSE, "dist": 5.0}, detector=detector)
    unit = detector.pixel1 * detector.pixel2 / geometry.dist**2
    relative = geometry.solid_angle(areas=True)
    for pixel in ((0, 0), (20, 30), (60, 50)):
        exact = brute_force_solid_angle(geometry, pixel) / unit
        assert relative[pixel] == pytest.approx(exact, rel=2e-4)
    if name != "Rapid":
        np.testing.assert_allclose(
            geometry.solid_angle(), geometry.cos_incidence() ** 3, rtol=1e-12
        )


def test_area_of_a_hexagon_is_that_of_its_share_of_the_plane() -> None:
    detector = ba.detector("Pixirad1")
    geometry = ba.Geometry(**POSE, detector=detector)
    rows = slice(0, 3)
    np.testing.assert_allclose(
        geometry.solid_angle(rows, areas=True), geometry.solid_angle(rows), rtol=1e-12
    )


@pytest.mark.parametrize("name", ["ImXPadS10", "Jungfrau", "Maxipix"])
@pytest.mark.parametrize(("one", "other"), REFLECTED)
def test_orientation_is_converted(name: str, one: int, other: int) -> None:
    detector = dataclasses.replace(ba.detector(name), orientation=one)
    before = ba.Geometry(**POSE, detector=detector)
    after = before.with_orientation(other)
    assert after.detector.orientation == other
    np.testing.assert_allclose(after.two_theta(), before.two_theta(), rtol=1e-10)
    np.testing.assert_allclose(after.cos_incidence(), before.cos_incidence(), rtol=1e-10)
    np.testing.assert_allclose(np.cos(2 * after.chi()), np.cos(2 * before.chi()), atol=1e-9)
    back = after.with_orientation(one)
    for value in POSE:
        assert getattr(back, value) == pytest.approx(getattr(before, value), abs=1e-12)


@pytest.mark.parametrize(("one", "other"), REFLECTED)
def test_orientation_is_converted_as_pyfai_does(pyfai: ModuleType, one: int, other: int) -> None:
    """But for rot3, which pyFAI keeps."""
    from pyFAI.geometry.utils import convert_orientation

    pose = {**POSE, "rot3": 0.0}
    theirs = convert_orientation(pose, pyfai.detectors.Pilatus100k(), one, other)
    detector = dataclasses.replace(ba.detector("Pilatus100k"), orientation=one)
    ours = ba.Geometry(**pose, detector=detector).with_orientation(other)
    for name in pose:
        assert getattr(ours, name) == pytest.approx(theirs[name], abs=1e-8)


def test_pixels_without_symmetry_have_one_orientation() -> None:
    for name in ("Pixirad1", "Cirpad"):
        geometry = ba.Geometry(**POSE, detector=ba.detector(name))
        with pytest.raises(GeometryError, match="do not lie symmetrically"):
            geometry.with_orientation(2)
        assert geometry.with_orientation(3) == geometry


def test_orientation_mirrors_the_index_of_irregular_pixels() -> None:
    array = np.random.default_rng(1).normal(size=(4, 5, 6, 3))
    native = ba.Geometry(detector=ba.Detector(1e-3, 1e-3, pixels=Corners(array)), dist=2.0)
    for orientation, rows, columns in ((1, -1, -1), (2, -1, 1), (4, 1, -1)):
        detector = dataclasses.replace(native.detector, orientation=orientation)
        mirrored = dataclasses.replace(native, detector=detector)
        np.testing.assert_array_equal(mirrored.chi(), native.chi()[::rows, ::columns])
        np.testing.assert_array_equal(mirrored.centres(slice(1, 3)).y, mirrored.centres().y[1:3])


def parallax_pair(pyfai: ModuleType, name: str, thickness: float | None) -> tuple[Any, Any]:
    config = {"material": name, "thickness": thickness}
    theirs = pyfai.integrator.azimuthal.AzimuthalIntegrator(
        dist=0.1, poni1=0.04, poni2=0.04, rot1=0.1, rot2=0.2, wavelength=12.398419843320026e-10 / 20,
        detector=pyfai.detectors.detector_factory("Eiger2_1M", {"sensor": config}),
    )  # fmt: skip
    theirs.enable_parallax()
    pose = {key: getattr(theirs, key) for key in (*POSE, "wavelength")}
    detector = dataclasses.replace(ba.detector("Eiger2_1M"), sensor=Sensor(name, thickness))
    return ba.Geometry(**pose, detector=detector, parallax=True), theirs


@pytest.mark.parametrize(
    ("material", "thickness"), [("Si", 450e-6), ("CdTe", 750e-6), ("Si", None)]
)
def test_parallax_is_pyfais(pyfai: ModuleType, material: str, thickness: float | None) -> None:
    ours, theirs = parallax_pair(pyfai, material, thickness)
    expected = theirs.position_array()
    place = ours.centres()
    found = np.stack([place.z, place.y, place.x], axis=-1)
    np.testing.assert_allclose(found, expected, atol=5e-9)  # theirs from a table of 1024 angles
    flat = dataclasses.replace(ours, parallax=False)
    assert np.abs(flat.centres().x - place.x).max() > 5e-6
    np.testing.assert_array_equal(flat.cos_incidence(), ours.cos_incidence())
    corners = corners_of(ours, slice(10, 20))
    expected = theirs.position_array(corners=True)[10:20]
    np.testing.assert_allclose(corners, expected, atol=2e-8)


def test_parallax_has_the_recorded_values() -> None:
    detector = dataclasses.replace(ba.detector("Eiger2_1M"), sensor=Sensor("Si", 450e-6))
    geometry = ba.Geometry(
        detector=detector, dist=0.1, poni1=0.04, poni2=0.04,
        wavelength=12.398419843320026e-10 / 20, parallax=True,
    )  # fmt: skip
    found = np.rad2deg(geometry.two_theta())[[0, 500], [0, 1000]]
    np.testing.assert_allclose(found, [29.422961644104, 19.316355574976], atol=2e-7)


def test_parallax_needs_a_sensor_and_a_wavelength() -> None:
    with pytest.raises(GeometryError, match="needs a wavelength and the sensor"):
        ba.Geometry(detector=ba.detector("Eiger2_1M"), parallax=True)
    rapid = dataclasses.replace(ba.detector("Rapid"), sensor=Sensor("Si"))
    with pytest.raises(GeometryError, match="needs a flat detector"):
        ba.Geometry(detector=rapid, wavelength=1e-10, parallax=True)


def test_a_regular_detector_is_its_rows_and_columns() -> None:
    small = ba.Geometry(
        detector=ba.Detector(1e-3, 0.9e-3, (7, 5)),
        dist=0.1,
        poni1=0.002,
        rot1=0.1,
        rot2=0.2,
        rot3=0.3,
    )
    for orientation in (1, 2, 3, 4):
        geometry = small.with_orientation(orientation)
        assert geometry.regular
        for offset, expected in ((0.5, geometry.centres()), (0.0, geometry.knots())):
            rows, columns = geometry.rows_and_columns(offset)
            for row, column, place in zip(rows, columns, expected, strict=True):
                np.testing.assert_array_equal(row + column, place)
        pixels = np.array([3, 0, 34, 17])
        centres, corners = geometry.places_of(pixels)
        np.testing.assert_array_equal(centres.y, geometry.centres().y.ravel()[pixels])
        expected_corners = geometry.at_corners(lambda place: place.x).reshape(-1, 4)
        np.testing.assert_array_equal(corners.x, expected_corners[pixels])


def test_what_is_not_regular_is_not() -> None:
    detector = ba.Detector(1e-3, 1e-3, (7, 5))
    moved = detector.displaced(np.zeros((7, 5)), np.full((7, 5), 0.1))
    assert not ba.Geometry(detector=moved).regular
    sensor = dataclasses.replace(detector, sensor=Sensor("Si", 450e-6))
    assert not ba.Geometry(detector=sensor, parallax=True, wavelength=1e-10).regular
