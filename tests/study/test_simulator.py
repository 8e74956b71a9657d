"""The simulator is exact where calibrations are judged, and its classes are what they say."""

import time
from dataclasses import replace

import numpy as np
import pytest

import bluesky_azint as ba
from bluesky_azint.calibrants import calibrant
from bluesky_azint.calibration.cone import Cone
from bluesky_azint.corrections import polarization_from_position
from tests.study.classes import few, half_rings, view
from tests.study.places import FloatArray, angle_of_pixel, two_theta_at
from tests.study.sample import Background, Displacement, Rings
from tests.study.scene import Scene
from tests.study.scenes import MAKERS, MEANINGS, kinds, make
from tests.study.simulator import POLARIZATION, Look

WAVELENGTH = 0.4e-10
GEOMETRY = ba.Geometry(
    detector=ba.detector("Pilatus1M"),
    dist=0.12,
    poni1=0.09,
    poni2=0.08,
    rot1=0.35,
    rot2=-0.2,
    wavelength=WAVELENGTH,
)


def look(fwhm_px: float, background: float = 0.0) -> Look:
    size = float(angle_of_pixel(GEOMETRY, 500.0, 700.0))
    return Look(
        geometry=GEOMETRY,
        rings=Rings.of("CeO2", WAVELENGTH),
        fwhm=fwhm_px * size,
        lorentzian=0.5,
        peak=1000.0,
        background=Background(air=background),
    )


def one_ring(two_theta: float) -> Rings:
    return Rings(two_theta=np.array([two_theta]), height=np.ones(1))


def exact(made: Look, rows: slice, columns: slice, samples: int) -> FloatArray:
    """The rings by their formula, at many places in each pixel, without a table."""
    total = 0.0
    offsets = (np.arange(samples) + 0.5) / samples - 0.5
    detector = GEOMETRY.detector
    for one in offsets:
        for two in offsets:
            p1 = (np.arange(rows.start, rows.stop)[:, np.newaxis] + 0.5 + one) * detector.pixel1
            p2 = (np.arange(columns.start, columns.stop) + 0.5 + two) * detector.pixel2
            y, x, z = GEOMETRY.lab_from_plane(p1, p2[np.newaxis, :])
            r = np.sqrt(x * x + y * y + z * z)
            angle = np.arctan2(np.hypot(x, y), z)
            rings = sum(
                height * made.shape_of_ring(angle - place)
                for place, height in zip(made.rings.two_theta, made.rings.height, strict=True)
            )
            efficiency = polarization_from_position(y, x, z, POLARIZATION)
            total = total + rings * efficiency * (GEOMETRY.dist / r) ** 3
    return np.asarray(total * made.scale / samples**2)


@pytest.mark.parametrize("fwhm", [1.6, 6.0])
@pytest.mark.parametrize("corner", [(420, 60), (700, 500), (60, 700)])
def test_rings_lie_where_they_should(fwhm: float, corner: tuple[int, int]) -> None:
    """To 2e-4 pixels, by what moving the ring outwards would change."""
    rows, columns = slice(corner[0], corner[0] + 90), slice(corner[1], corner[1] + 90)
    i, j = np.arange(rows.start, rows.stop)[:, np.newaxis], np.arange(columns.start, columns.stop)
    angles = two_theta_at(GEOMETRY, i, j)
    made = replace(look(fwhm), rings=one_ring(float(angles[45, 45])))
    simulated, truth = made.expected(rows, columns), exact(made, rows, columns, 9)
    down, right = np.gradient(angles)
    g1, g2 = np.gradient(truth)
    outwards = (g1 * down + g2 * right) / np.hypot(down, right)
    shift = ((simulated - truth) * outwards).sum() / (outwards**2).sum()
    assert abs(shift) < 2e-4
    np.testing.assert_allclose(simulated, truth, atol=0.03 * truth.max())


def test_the_middle_of_a_ring_is_at_its_angle() -> None:
    """To 5e-4 pixels, by its mean over the angles, which knows nothing of how it was made."""
    two_theta = float(Rings.of("CeO2", WAVELENGTH).two_theta[2])  # all of it is seen
    made = replace(look(3.0), rings=one_ring(two_theta), lorentzian=0.0)
    angles = GEOMETRY.two_theta()
    y, x, z = GEOMETRY.centres()
    # A pixel covers (solid angle) / sin(2 theta) of the plane of 2 theta and chi.
    weight = made.expected() / (polarization_from_position(y, x, z, POLARIZATION) * np.sin(angles))
    near = np.abs(angles - two_theta) < 5 * made.fwhm
    off = (weight * (angles - two_theta))[near].sum() / weight[near].sum()
    pixel = np.average(angle_of_pixel(GEOMETRY, *np.indices(GEOMETRY.shape)), weights=weight)
    assert abs(off) < 5e-4 * pixel


def test_the_brightest_ring_has_its_peak() -> None:
    counts = look(6.0).expected()
    assert 950 < counts.max() < 1010


def test_heights_follow_structure_and_lorentz_factor() -> None:
    rings, substance = Rings.of("LaB6", WAVELENGTH, damping=0.0), calibrant("LaB6")
    theta = 0.5 * rings.two_theta[:2]
    expected = [ring.intensity for ring in substance.rings[:2]] / (
        np.sin(theta) ** 2 * np.cos(theta)
    )
    np.testing.assert_allclose(rings.height[:2], expected)


def test_a_displacement_moves_the_rings_by_what_it_says() -> None:
    """A shift of all pixels by a tenth along the columns is one of the PONI."""
    pixel = GEOMETRY.detector.pixel1
    amplitudes = np.zeros((2, 2, 2))
    amplitudes[0, 0, 0] = 0.1 * pixel
    n1, n2 = GEOMETRY.shape
    made = look(3.0)
    window = slice(400, 500), slice(100, 200)
    shifted = replace(
        made, displacement=Displacement(amplitudes=amplitudes, size=(n1 * pixel, n2 * pixel))
    )
    moved = replace(made, geometry=replace(GEOMETRY, poni1=GEOMETRY.poni1 - 0.1 * pixel))
    np.testing.assert_allclose(shifted.expected(*window), moved.expected(*window), rtol=1e-3)
    assert np.abs(shifted.expected(*window) / made.expected(*window) - 1).max() > 0.02


def test_noise_is_that_of_counting() -> None:
    scene = make("A", 0)
    assert scene.look is not None
    mean = scene.look.expected()
    good = ~scene.mask & (mean > 5)
    if scene.detector.mask is not None:
        good &= ~scene.detector.mask
    pull = (scene.image[good].astype(np.float64) - mean[good]) / np.sqrt(mean[good])
    pull = pull[np.abs(pull) < 6]  # dead and hot pixels
    assert len(pull) > 100_000
    assert abs(pull.mean()) < 0.01
    assert abs(pull.std() - 1) < 0.01


def test_a_scene_is_the_same_every_time_and_whatever_went_before() -> None:
    first = make("B", 7)
    make("B", 6)
    again = make("B", 7)
    np.testing.assert_array_equal(first.image, again.image)
    np.testing.assert_array_equal(first.mask, again.mask)
    assert first.geometry == again.geometry
    assert make("B", 8).geometry != again.geometry


def test_a_frame_is_made_in_little_time() -> None:
    seconds = []
    for seed in range(3):
        start = time.process_time()
        make("C", seed)
        seconds.append(time.process_time() - start)
    assert min(seconds) < 1.5


def centre(scene: Scene) -> FloatArray:
    """Of the beam, in units of the detector."""
    cone, detector = Cone.of(scene.geometry), scene.geometry.detector
    n1, n2 = scene.geometry.shape
    return np.array([cone.centre1 / (n1 * detector.pixel1), cone.centre2 / (n2 * detector.pixel2)])


def tilt(scene: Scene) -> float:
    return float(np.degrees(Cone.of(scene.geometry).tilt))


@pytest.mark.parametrize("seed", range(3))
def test_classes_obey_their_definitions(seed: int) -> None:
    a, b, c = (make(kind, seed) for kind in ("A", "B", "C"))
    assert ((centre(a) >= 0.3) & (centre(a) <= 0.7)).all()
    assert tilt(a) <= 3
    seen = view(a.geometry, a.calibrant)
    assert seen is not None
    assert half_rings(seen)
    assert ((centre(b) >= 0.03) & (centre(b) <= 0.97)).all()
    assert tilt(b) <= 20
    off = np.maximum(-centre(c), centre(c) - 1).max()
    middle = np.degrees(two_theta_at(c.geometry, *(0.5 * np.asarray(c.geometry.shape))))
    assert 0.1 <= off <= 0.7 or 6 < middle < 60
    assert tilt(c) <= 50
    for scene in (b, c):
        assert 4 <= float(scene.variations["arcs"]) <= 25


@pytest.mark.parametrize("seed", range(3))
def test_hard_classes_obey_their_definitions(seed: int) -> None:
    saxs, weak, sparse = make("D1", seed), make("D3", seed), make("D4", seed)
    assert saxs.calibrant == "AgBh"
    assert np.degrees(saxs.geometry.two_theta()).max() < 30
    assert weak.look is not None
    assert 1.5 <= weak.look.peak <= 8
    seen = view(sparse.geometry, sparse.calibrant)
    assert seen is not None
    assert few(seen)


def test_grains_are_spots() -> None:
    scene = make("D2", 0)
    assert scene.look is not None
    modulation = scene.look.rings.modulation
    assert modulation is not None
    np.testing.assert_allclose(modulation.mean(axis=1), 1)
    assert modulation.std() > 0.8


def test_controls_tell_what_is_not_true() -> None:
    wavelength, distance = make("F-wavelength-1", 0), make("E-distance", 0)
    assert abs(wavelength.wavelength / (wavelength.geometry.wavelength or 0) - 1) == pytest.approx(
        0.01
    )
    assert distance.distance is not None
    low, high = distance.distance
    assert not low < Cone.of(distance.geometry).distance < high
    powder = make("E-powder", 0)
    assert powder.variations["shown"] != powder.calibrant
    gaps = make("V-gaps", 0)
    assert gaps.detector.mask is None
    assert (gaps.image[gaps.geometry.detector.mask] == 0).all()


def test_every_class_has_a_meaning() -> None:
    assert list(MEANINGS) == list(MAKERS)
    assert kinds(["D"]) == ["D1", "D2", "D3", "D4"]


@pytest.mark.parametrize("kind", ["E-blank", "E-stripes", "E-spots", "E-single", "E-powder"])
def test_controls_are_to_be_refused(kind: str) -> None:
    assert make(kind, 1).expects == "refused"
