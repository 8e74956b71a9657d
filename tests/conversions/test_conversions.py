"""Conversions: against pyFAI and other programs' formulas, and there and back."""

import math
import warnings
from collections.abc import Callable
from dataclasses import asdict, astuple, replace
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
from hypothesis import assume, example, given, settings
from hypothesis import strategies as st

import bluesky_azint as ba
from bluesky_azint.conversions.beam_centre import BeamCentre, from_beam_centre, to_beam_centre
from bluesky_azint.conversions.cxi import CXIGeometry, from_cxi, to_cxi
from bluesky_azint.conversions.fit2d import Fit2DGeometry, from_fit2d, to_fit2d
from bluesky_azint.conversions.gsas import GSASGeometry, from_gsas, to_gsas
from bluesky_azint.conversions.hexrd import HexrdBeam, HexrdPanel, from_hexrd, to_hexrd
from bluesky_azint.conversions.imaged11 import from_imaged11, to_imaged11
from bluesky_azint.conversions.pose import (
    matrix_from_tilt,
    rotation_matrix,
    rotations_from_matrix,
    tilt_from_matrix,
)
from bluesky_azint.conversions.spd import SPDGeometry, from_spd, spd_from_header, to_spd
from bluesky_azint.errors import FormatError, GeometryError

SHAPE = (9, 13)

Convert = Callable[[ba.Geometry], ba.Geometry]


@st.composite
def geometries(draw: st.DrawFn, angle: float = 1.0) -> ba.Geometry:
    """Any geometry of a small detector with pixels large enough to see the tilt."""
    place = st.floats(-0.2, 0.2)
    turn = st.floats(-angle, angle)
    return ba.Geometry(
        detector=ba.Detector(
            draw(st.floats(1e-3, 2e-2)),
            draw(st.floats(1e-3, 2e-2)),
            SHAPE,
            orientation=draw(st.integers(1, 4)),
        ),
        dist=draw(st.floats(0.05, 2.0)),
        poni1=draw(place),
        poni2=draw(place),
        rot1=draw(turn),
        rot2=draw(turn),
        rot3=draw(st.floats(-math.pi, math.pi)),
        wavelength=draw(st.floats(1e-11, 3e-10)),
    )


def same_two_theta(one: ba.Geometry, other: ba.Geometry) -> None:
    np.testing.assert_allclose(one.two_theta(), other.two_theta(), rtol=0, atol=1e-12)
    assert other.wavelength == pytest.approx(one.wavelength, rel=1e-14)


def same_directions(one: ba.Geometry, other: ba.Geometry) -> None:
    """2theta and chi of every pixel, wherever the cut of chi is."""
    same_two_theta(one, other)
    a, b = one.centres(), other.centres()
    np.testing.assert_allclose([b.y, b.x, b.z], [a.y, a.x, a.z], rtol=0, atol=1e-12)


THERE_AND_BACK: dict[str, Convert] = {
    "imaged11": lambda g: from_imaged11(to_imaged11(g), g.detector),
    "gsas": lambda g: from_gsas(to_gsas(g), g.detector),
    "cxi": lambda g: from_cxi(to_cxi(g), g.detector),
}


@pytest.mark.parametrize("name", THERE_AND_BACK)
@given(geometry=geometries())
def test_there_and_back_is_the_identity(name: str, geometry: ba.Geometry) -> None:
    native = geometry if name == "imaged11" else geometry.with_orientation(3)
    same_directions(native, THERE_AND_BACK[name](geometry))
    same_two_theta(geometry, THERE_AND_BACK[name](geometry))


@given(geometry=geometries())
def test_hexrd_there_and_back_is_the_identity(geometry: ba.Geometry) -> None:
    back = from_hexrd(*to_hexrd(geometry))
    assert back.shape == SHAPE
    same_directions(geometry.with_orientation(2), back)
    same_two_theta(geometry, back)


@given(geometry=geometries())
@example(geometry=ba.Geometry(detector=ba.Detector(1e-3, 1e-3, SHAPE), wavelength=1e-10))
def test_fit2d_keeps_all_but_an_offset_of_chi(geometry: ba.Geometry) -> None:
    back = from_fit2d(to_fit2d(geometry), geometry.detector)
    same_two_theta(geometry, back)
    native = geometry.with_orientation(3)
    offset = np.exp(1j * (native.chi() - back.chi()))
    np.testing.assert_allclose(offset, offset[0, 0], atol=1e-9)


@given(geometry=geometries(angle=0.0), first=st.sampled_from([0.0, 0.5, 1.0]))
def test_beam_centre_and_spd_there_and_back(geometry: ba.Geometry, first: float) -> None:
    upright = replace(geometry, rot3=0.0)
    centre = to_beam_centre(upright, first)
    same_two_theta(upright, from_beam_centre(centre, upright.detector, upright.wavelength))
    same_two_theta(upright, from_spd(to_spd(upright), upright.detector))


@given(geometry=geometries(angle=math.pi))
def test_rotations_of_a_matrix(geometry: ba.Geometry) -> None:
    matrix = rotation_matrix(geometry)
    rot1, rot2, rot3 = rotations_from_matrix(matrix)
    again = rotation_matrix(replace(geometry, rot1=rot1, rot2=rot2, rot3=rot3))
    np.testing.assert_allclose(again, matrix, atol=1e-12)
    assume(abs(matrix[2, 2] + 1) > 1e-6)  # turned round: the direction is that of rounding errors
    np.testing.assert_allclose(matrix_from_tilt(tilt_from_matrix(matrix)), matrix, atol=1e-9)


def test_the_matrix_places_the_pixels() -> None:
    geometry = ba.Geometry(detector=ba.Detector(1e-3, 2e-3, SHAPE), rot1=0.1, rot2=-0.2, rot3=0.3)
    place = geometry.lab_from_plane(np.array(0.4), np.array(-0.7))
    np.testing.assert_allclose(
        rotation_matrix(geometry) @ [0.4, -0.7, 1.0], [place.y, place.x, place.z], atol=1e-15
    )


def test_a_detector_parallel_to_the_beam_has_rotations() -> None:
    geometry = ba.Geometry(
        detector=ba.Detector(1e-3, 1e-3, SHAPE), rot1=0.3, rot2=math.pi / 2, rot3=0.2
    )
    matrix = rotation_matrix(geometry)
    rot1, rot2, rot3 = rotations_from_matrix(matrix)
    again = rotation_matrix(replace(geometry, rot1=rot1, rot2=rot2, rot3=rot3))
    np.testing.assert_allclose(again, matrix, atol=1e-12)
    with pytest.raises(GeometryError, match="never hits"):
        to_fit2d(replace(geometry, rot2=2.0))


# --- pyFAI ---------------------------------------------------------------------------------------


@pytest.fixture
def pilatus(vectors: dict[str, Any]) -> ba.Geometry:
    """The geometry of the vectors."""
    values = vectors["geometry"]
    names = ("dist", "poni1", "poni2", "rot1", "rot2", "rot3", "wavelength")
    detector = ba.Detector(values["pixel"], values["pixel"], tuple(values["shape"]))
    return ba.Geometry(detector=detector, **{name: values[name] for name in names})


def peer(pyfai: ModuleType, geometry: ba.Geometry) -> Any:
    """The same geometry in pyFAI."""
    described = geometry.detector
    detector = pyfai.detectors.Detector(
        described.pixel1,
        described.pixel2,
        max_shape=described.shape,
        orientation=described.orientation,
    )
    names = ("dist", "poni1", "poni2", "rot1", "rot2", "rot3", "wavelength")
    return pyfai.integrator.azimuthal.AzimuthalIntegrator(
        detector=detector, **{name: getattr(geometry, name) for name in names}
    )


def assume_tilted(geometry: ba.Geometry) -> None:
    """Of smaller tilts pyFAI loses digits: it takes the arc cosine of nearly 1."""
    assume(math.acos(math.cos(geometry.rot1) * math.cos(geometry.rot2)) > 1e-4)


def two_theta_of(ai: Any) -> Any:
    return ai.center_array(SHAPE, unit="2th_rad")


def test_fit2d_vector(pilatus: ba.Geometry, vectors: dict[str, Any]) -> None:
    expected = vectors["fit2d"]
    values = to_fit2d(pilatus)
    assert values.direct_distance == pytest.approx(expected["directDist"], rel=1e-13)
    assert values.center_x == pytest.approx(expected["centerX"], rel=1e-13)
    assert values.center_y == pytest.approx(expected["centerY"], rel=1e-13)
    assert values.tilt == pytest.approx(expected["tilt"], rel=1e-12)
    assert values.tilt_plane_rotation == pytest.approx(expected["tiltPlanRotation"], rel=1e-12)
    assert (values.pixel_x, values.wavelength) == pytest.approx((172.0, 1.0))


def test_imaged11_vector(pilatus: ba.Geometry) -> None:
    values = to_imaged11(pilatus)
    assert values.distance == pytest.approx(201255.7009, rel=1e-9)
    assert (values.tilt_x, values.tilt_y, values.tilt_z) == (0.02, -0.05, -0.1)
    assert values.y_center == pytest.approx(377.01782, abs=5e-6)
    assert values.z_center == pytest.approx(464.27562, abs=5e-6)
    assert (values.o11, values.o12, values.o21, values.o22) == (1, 0, 0, -1)


@given(geometry=geometries())
@settings(max_examples=30)
def test_fit2d_agrees_with_pyfai(pyfai: ModuleType, geometry: ba.Geometry) -> None:
    geometry = geometry.with_orientation(3)  # where pyFAI's conversion is valid
    assume_tilted(geometry)
    ours, theirs = to_fit2d(geometry), peer(pyfai, geometry).getFit2D()
    assert ours.direct_distance == pytest.approx(theirs["directDist"], rel=1e-12)
    assert ours.center_x == pytest.approx(theirs["centerX"], rel=1e-8, abs=1e-6)
    assert ours.center_y == pytest.approx(theirs["centerY"], rel=1e-8, abs=1e-6)
    assert ours.tilt == pytest.approx(theirs["tilt"], abs=1e-8)
    turned = ours.tilt_plane_rotation - theirs["tiltPlanRotation"]
    assert abs(turned + 180) % 360 - 180 == pytest.approx(0, abs=1e-3)  # by arccos there
    # Back, pyFAI finds the same rotations: the tilt alone, and no more rotation about the beam.
    back = pyfai.integrator.azimuthal.AzimuthalIntegrator()
    back.setFit2D(**{key: theirs[key] for key in ("directDist", "centerX", "centerY", "tilt")},
                  tiltPlanRotation=theirs["tiltPlanRotation"], pixelX=theirs["pixelX"],
                  pixelY=theirs["pixelY"])  # fmt: skip
    mine = from_fit2d(ours, geometry.detector)
    assert (mine.rot1, mine.rot2, mine.rot3) == pytest.approx(
        (back.rot1, back.rot2, back.rot3), abs=1e-6
    )


@pytest.mark.parametrize("orientation", [1, 2, 3, 4])
@given(geometry=geometries())
@settings(max_examples=30)
def test_imaged11_agrees_with_pyfai(
    pyfai: ModuleType, orientation: int, geometry: ba.Geometry
) -> None:
    assume_tilted(geometry)
    geometry = geometry.with_orientation(orientation)
    ours = to_imaged11(geometry)
    theirs = peer(pyfai, geometry).getImageD11(distance_unit="µm", wavelength_unit="A")
    for name in ("distance", "tilt_x", "tilt_y", "tilt_z", "y_center", "z_center", "y_size",
                 "z_size", "o11", "o12", "o21", "o22", "wavelength"):  # fmt: skip
        expected = theirs[name]
        assert getattr(ours, name) == pytest.approx(expected, rel=1e-7, abs=1e-6), name


def test_pyfai_reads_our_imaged11(pyfai: ModuleType) -> None:
    geometry = ba.Geometry(
        detector=ba.Detector(1e-3, 2e-3, SHAPE), dist=0.3, poni1=0.01, poni2=-0.02,
        rot1=0.2, rot2=-0.3, rot3=0.4, wavelength=1e-10,
    )  # fmt: skip
    ai = peer(pyfai, ba.Geometry(detector=geometry.detector))
    values = asdict(to_imaged11(geometry)) | {"shape": SHAPE}
    ai.setImageD11(values, distance_unit="µm", wavelength_unit="A")
    np.testing.assert_allclose(two_theta_of(ai), geometry.two_theta(), atol=1e-12)


def test_spd_agrees_with_pyfai(pyfai: ModuleType) -> None:
    geometry = ba.Geometry(
        detector=ba.Detector(1e-3, 2e-3, SHAPE), dist=0.3, poni1=0.01, poni2=-0.02, wavelength=1e-10
    )
    expected = peer(pyfai, geometry).getSPD()
    for name, value in to_spd(geometry).header().items():
        assert value == pytest.approx(expected[name]), name
    same_directions(geometry, from_spd(spd_from_header(expected), geometry.detector))


@given(geometry=geometries())
@settings(max_examples=5)
def test_cxi_agrees_with_pyfai(pyfai: ModuleType, geometry: ba.Geometry) -> None:
    geometry = geometry.with_orientation(3)
    theirs = peer(pyfai, geometry).getCXI()
    ours = to_cxi(geometry)
    placed = theirs["detector_1"]["geometry_1"]
    np.testing.assert_allclose(ours.translation, placed["translation"], atol=1e-15)
    np.testing.assert_allclose(ours.orientation, placed["orientation"], atol=1e-12)
    ai = peer(pyfai, ba.Geometry(detector=geometry.detector))
    with warnings.catch_warnings(action="ignore"):  # an import of theirs
        ai.setCXI(theirs)
    np.testing.assert_allclose(
        from_cxi(ours, geometry.detector).two_theta(), two_theta_of(ai), atol=1e-9
    )


# --- GSAS-II and heXRD: their own formulas, pixel by pixel -----------------------------------------


def gsas_angles(values: GSASGeometry, size: tuple[float, float]) -> tuple[Any, Any]:
    """2theta and azimuth by the steps of ``GetTthAzmG``: tilt about x, turn about z."""
    rotation, tilt = np.deg2rad([values.rotation, values.tilt])
    c, s = np.cos(tilt), np.sin(tilt)
    about_x = np.array([[1, 0, 0], [0, c, -s], [0, s, c]])
    c, s = np.cos(rotation), np.sin(rotation)
    about_z = np.array([[c, -s, 0], [s, c, 0], [0, 0, 1]])
    turn = about_z @ about_x @ about_z.T
    y, x = np.mgrid[: SHAPE[0], : SHAPE[1]] + 0.5
    flat = np.stack([x * size[1] - values.center[0], y * size[0] - values.center[1], 0 * x], -1)
    place = flat @ turn.T + [0, 0, values.distance / np.cos(tilt)]
    azimuth = np.arctan2(place[..., 1], place[..., 0]) + np.deg2rad(values.azimuth_offset)
    return np.arctan2(np.hypot(place[..., 0], place[..., 1]), place[..., 2]), azimuth


@given(geometry=geometries())
def test_gsas_sees_the_same_angles(geometry: ba.Geometry) -> None:
    geometry = geometry.with_orientation(3)
    size = geometry.detector.pixel1 * 1e3, geometry.detector.pixel2 * 1e3
    two_theta, azimuth = gsas_angles(to_gsas(geometry), size)
    np.testing.assert_allclose(two_theta, geometry.two_theta(), atol=1e-12)
    np.testing.assert_allclose(np.exp(1j * azimuth), np.exp(1j * geometry.chi()), atol=1e-9)


@given(tilt=st.floats(-60, 60), rotation=st.floats(-200, 200), offset=st.floats(-180, 180))
def test_any_gsas_controls_are_understood(tilt: float, rotation: float, offset: float) -> None:
    values = GSASGeometry(
        wavelength=0.5, distance=70.0, center=(33.0, 21.0), tilt=tilt, rotation=rotation,
        azimuth_offset=offset,
    )  # fmt: skip
    geometry = from_gsas(values, ba.Detector(5e-3, 7e-3, SHAPE))
    two_theta, azimuth = gsas_angles(values, (5.0, 7.0))
    np.testing.assert_allclose(geometry.two_theta(), two_theta, atol=1e-12)
    np.testing.assert_allclose(np.exp(1j * geometry.chi()), np.exp(1j * azimuth), atol=1e-9)


def hexrd_angles(beam: HexrdBeam, panel: HexrdPanel) -> tuple[Any, Any]:
    """2theta and eta by heXRD's definitions: rows downwards, beam -Z, eta from X to Y."""
    from scipy.linalg import expm

    y = panel.size[0] * (0.5 * (panel.rows - 1) - np.arange(panel.rows))
    x = panel.size[1] * (np.arange(panel.columns) - 0.5 * (panel.columns - 1))
    flat = np.stack([*np.meshgrid(x, y), np.zeros((panel.rows, panel.columns))], -1)
    a, b, c = panel.tilt
    place = flat @ expm(np.array([[0, -c, b], [c, 0, -a], [-b, a, 0]])).T + panel.translation
    azimuth, polar = np.deg2rad([beam.azimuth, beam.polar_angle])
    along = -np.array(
        [np.sin(polar) * np.cos(azimuth), np.cos(polar), np.sin(polar) * np.sin(azimuth)]
    )
    up = np.cross([1.0, 0, 0], along)
    up /= np.linalg.norm(up)
    side = np.cross(along, up)
    two_theta = np.arccos(place @ along / np.linalg.norm(place, axis=-1))
    return two_theta, np.arctan2(place @ up, place @ side)


@given(
    tilt=st.tuples(*[st.floats(-0.7, 0.7)] * 3),
    place=st.tuples(st.floats(-50, 50), st.floats(-50, 50), st.floats(-900, -200)),
    azimuth=st.floats(60, 120),
    polar=st.floats(60, 120),
)
def test_any_hexrd_panel_is_understood(
    tilt: tuple[float, float, float],
    place: tuple[float, float, float],
    azimuth: float,
    polar: float,
) -> None:
    beam = HexrdBeam(energy=61.332, azimuth=azimuth, polar_angle=polar)
    panel = HexrdPanel(rows=9, columns=13, size=(8.0, 5.0), tilt=tilt, translation=place)
    geometry = from_hexrd(beam, panel)
    two_theta, eta = hexrd_angles(beam, panel)
    np.testing.assert_allclose(geometry.two_theta(), two_theta, atol=1e-7)  # arccos near 0
    np.testing.assert_allclose(np.exp(1j * geometry.chi()), np.exp(1j * eta), atol=1e-8)
    assert geometry.wavelength == pytest.approx(2.02152544e-11, rel=1e-8)


def test_the_sample_of_a_hexrd_instrument_may_be_displaced() -> None:
    beam = HexrdBeam(energy=50.0)
    panel = HexrdPanel(
        rows=9, columns=13, size=(8.0, 5.0), tilt=(0.1, 0.2, 0.3), translation=(5.0, 6.0, -700.0)
    )
    moved = replace(panel, translation=(4.0, 8.0, -703.0))
    same_directions(from_hexrd(beam, moved), from_hexrd(beam, panel, sample=(1.0, -2.0, 3.0)))


# --- published calibrations -----------------------------------------------------------------------


def test_published_gsas_calibration(shared_data: Path) -> None:
    geometry = ba.Geometry.from_poni(shared_data / "gsas_agbh_marccd" / "published.poni")
    values = to_gsas(geometry)
    assert values.center == pytest.approx((76.254, 90.02), abs=1e-9)
    assert values.distance == pytest.approx(564.92, abs=1e-9)
    assert values.wavelength == pytest.approx(1.0332)
    same_directions(geometry, from_gsas(values, geometry.detector))


def test_published_hexrd_calibration(shared_data: Path) -> None:
    geometry = ba.Geometry.from_poni(shared_data / "hexrd_ceo2_pilatus2m" / "published.poni")
    beam, panel = to_hexrd(geometry)
    assert beam.energy == pytest.approx(61.332305, abs=1e-4)
    assert panel.translation[2] == pytest.approx(-739.78, abs=0.05)
    # The beam hits the panel where heXRD says, counted from the centre of the first pixel.
    two_theta, _ = hexrd_angles(beam, panel)
    row, column = np.unravel_index(np.argmin(two_theta), two_theta.shape)
    fit2d = to_fit2d(geometry)
    assert (fit2d.center_x, fit2d.center_y) == pytest.approx((775.33, 807.58), abs=0.01)
    assert (int(column), int(row)) == (775, 807)
    np.testing.assert_allclose(two_theta, geometry.two_theta(), atol=1e-7)


# --- what is refused -------------------------------------------------------------------------------


@pytest.mark.parametrize("rotation", ["rot1", "rot2", "rot3"])
def test_formats_without_rotation_refuse_one(rotation: str) -> None:
    geometry = ba.Geometry(detector=ba.Detector(1e-3, 1e-3, SHAPE), **{rotation: 1e-3})  # type: ignore[arg-type]
    for convert in (to_spd, to_beam_centre):
        with pytest.raises(GeometryError, match=f"{rotation} = 0.001"):
            convert(geometry)


def test_the_first_pixel_may_be_counted_from_anywhere() -> None:
    geometry = ba.Geometry(detector=ba.Detector(1e-3, 2e-3, SHAPE), poni1=5e-3, poni2=6e-3)
    centres = [astuple(to_beam_centre(geometry, first))[:2] for first in (0.0, 0.5, 1.0)]
    np.testing.assert_allclose(centres, [(2.5, 4.5), (3.0, 5.0), (3.5, 5.5)])
    assert from_beam_centre(BeamCentre(x=2.5, y=4.5, distance=1.0), geometry.detector) == geometry


def test_swapped_axes_of_imaged11_are_refused() -> None:
    values = to_imaged11(ba.Geometry(detector=ba.Detector(1e-3, 1e-3, SHAPE)))
    with pytest.raises(FormatError, match="swap"):
        from_imaged11(replace(values, o11=0, o12=-1, o21=-1, o22=0))


def test_a_mirrored_axis_of_imaged11_needs_a_shape() -> None:
    values = to_imaged11(ba.Geometry(detector=ba.Detector(1e-3, 1e-3, SHAPE)))
    with pytest.raises(GeometryError, match="no shape"):
        from_imaged11(replace(values, o11=-1))


def test_a_rotated_spd_header_is_refused() -> None:
    header = to_spd(ba.Geometry(detector=ba.Detector(1e-3, 1e-3, SHAPE))).header()
    with pytest.raises(FormatError, match="Rot_2"):
        spd_from_header(header | {"Rot_2": "0.1"})
    with pytest.raises(FormatError, match="Center_1"):
        spd_from_header({key: value for key, value in header.items() if key != "Center_1"})
    assert spd_from_header({**header, "SampleDistance": "2_m"}).sample_distance == 2.0


def test_a_wavelength_is_asked_for() -> None:
    geometry = ba.Geometry(detector=ba.Detector(1e-3, 1e-3, SHAPE))
    for convert in (to_gsas, to_hexrd):
        with pytest.raises(GeometryError, match="no wavelength"):
            convert(geometry)


def test_parallax_is_refused() -> None:
    from bluesky_azint.parallax import Sensor

    detector = ba.Detector(1e-3, 1e-3, SHAPE, sensor=Sensor("Si", 450e-6))
    geometry = ba.Geometry(detector=detector, wavelength=1e-10, parallax=True)
    for convert in (to_fit2d, to_imaged11, to_spd, to_beam_centre, to_gsas, to_cxi, to_hexrd):
        with pytest.raises(GeometryError, match="parallax"):
            convert(geometry)


def test_a_panel_seen_from_behind_is_refused() -> None:
    panel = HexrdPanel(
        rows=9, columns=13, size=(1.0, 1.0), tilt=(0.0, 0.0, 0.0), translation=(0.0, 0.0, 500.0)
    )
    with pytest.raises(GeometryError, match="back"):
        from_hexrd(HexrdBeam(energy=50.0), panel)


def test_crooked_axes_of_cxi_are_refused() -> None:
    values = CXIGeometry(
        translation=(0.0, 0.0, 1.0), x_pixel_size=1e-3, y_pixel_size=1e-3,
        orientation=(1.0, 0.0, 0.0, 0.5, 1.0, 0.0),
    )  # fmt: skip
    with pytest.raises(FormatError, match="perpendicular"):
        from_cxi(values)


def test_a_detector_keeps_its_mask() -> None:
    mask = np.zeros(SHAPE, dtype=bool)
    mask[2, 3] = True
    detector = ba.Detector(1e-3, 1e-3, SHAPE, mask)
    geometry = ba.Geometry(detector=detector, wavelength=1e-10)
    converted = [
        from_fit2d(to_fit2d(geometry), detector),
        from_imaged11(to_imaged11(geometry), detector),
        from_spd(to_spd(geometry), detector),
        from_cxi(to_cxi(geometry), detector),
        from_gsas(to_gsas(geometry), detector),
        from_hexrd(*to_hexrd(geometry), detector),
    ]
    for found in converted:
        np.testing.assert_array_equal(found.detector.mask, mask)
    without = Fit2DGeometry(direct_distance=1.0, center_x=1, center_y=1, pixel_x=10, pixel_y=20)
    assert from_fit2d(without).detector.pixel1 == pytest.approx(2e-5)
    assert (
        from_spd(
            SPDGeometry(sample_distance=1, center_1=0, center_2=0, psize_1=2e-5, psize_2=1e-5)
        ).detector.pixel1
        == 1e-5
    )
