"""From one image to a geometry, or to a refusal."""

from __future__ import annotations

from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

import bluesky_azint as ba
from bluesky_azint.calibrants import calibrant
from bluesky_azint.calibration.calibrate import distance_limits
from bluesky_azint.calibration.cone import Cone, to_poni
from bluesky_azint.calibration.constraints import Fixed, Prior
from bluesky_azint.calibration.result import Calibration
from bluesky_azint.calibration.surface import Surface
from bluesky_azint.errors import FrameError, GeometryError, RecipeError
from tests.study.judge import errors
from tests.study.real import CASES, calibrated
from tests.study.sample import Background, Rings
from tests.study.simulator import Look

PIXEL = 172e-6
WAVELENGTH = 0.5e-10
SURFACE = Surface(ba.Detector(pixel1=PIXEL, pixel2=PIXEL, shape=(300, 320), name="panel"))
CONE = Cone(140 * PIXEL, 170 * PIXEL, 0.08, 0.03, -0.02)
# Well below what is promised for a real detector; statistical errors are a tenth of it.
CENTRE_PX, DISTANCE, TILT = 0.02, 5e-5, 0.02


@cache
def expected(
    cone: Cone = CONE, name: str = "CeO2", fwhm: float = 3.0, peak: float = 1000.0
) -> NDArray[np.float64]:
    look = Look(
        geometry=cone.geometry(SURFACE, WAVELENGTH),
        rings=Rings.of(name, WAVELENGTH),
        fwhm=fwhm * PIXEL / cone.distance,
        lorentzian=0.3,
        peak=peak,
        background=Background(air=0.05, halo=0.02),
    )
    return look.expected()


def frame(seed: int = 0, **changes: Any) -> NDArray[np.int32]:
    return np.random.default_rng(seed).poisson(expected(**changes)).astype(np.int32)


def found(image: NDArray[Any] | None = None, **options: Any) -> Calibration:
    """Calibrated, with the distance stated where it is not said that it is not: that is faster."""
    values: dict[str, Any] = {
        "detector": SURFACE.detector, "wavelength": WAVELENGTH, "distance": 0.08,
    }  # fmt: skip
    return ba.calibrate(frame() if image is None else image, **{**values, **options})


def assert_right(calibration: Calibration, cone: Cone = CONE) -> None:
    assert calibration.verdict == "accepted", calibration.reasons
    assert calibration.geometry is not None
    off = errors(cone.geometry(SURFACE, WAVELENGTH), calibration.geometry)
    assert off.centre_px < CENTRE_PX
    assert abs(off.distance) < DISTANCE
    assert off.tilt < TILT
    assert off.px < CENTRE_PX


STANDS = {
    "in the middle": CONE,
    "tilted by 20 degrees": Cone(130 * PIXEL, 90 * PIXEL, 0.08, 0.3, -0.2),
    "beside the beam": Cone(-60 * PIXEL, 160 * PIXEL, 0.08, 0.1, 0.0),
}


@pytest.mark.parametrize("cone", STANDS.values(), ids=STANDS)
def test_finds_the_geometry_from_nothing(cone: Cone) -> None:
    calibration = found(frame(cone=cone), distance=None)
    assert_right(calibration, cone)
    assert calibration.beam is not None
    assert calibration.beam_covariance is not None
    off = np.abs(calibration.beam.parameters - cone.parameters)
    assert np.all(off < 4 * np.sqrt(np.diag(calibration.beam_covariance)))


def test_finds_a_far_detector_on_an_arm() -> None:
    angle = np.radians(40.0)
    distance = 6 * SURFACE.size
    geometry = SURFACE.stand(
        dist=distance, poni1=150 * PIXEL, poni2=165 * PIXEL, rot2=angle, wavelength=WAVELENGTH
    )
    cone = Cone.of(geometry)
    calibration = found(frame(cone=cone, fwhm=3.0 / np.cos(angle)), distance=None)
    assert calibration.verdict == "accepted", calibration.reasons
    assert calibration.geometry is not None
    # The centre is far off the detector and not that well known; where rings lie is.
    assert errors(geometry, calibration.geometry).px < 0.02


@pytest.fixture(scope="module")
def plain() -> Calibration:
    return found()


def test_tells_all_there_is_to_tell(plain: Calibration) -> None:
    assert_right(plain)
    assert plain.accepted
    assert plain.reasons == ()
    assert plain.calibrant.name == "CeO2"
    assert plain.wavelength == WAVELENGTH
    assert plain.geometry == plain.candidate
    assert plain.geometry is not None
    assert plain.geometry.wavelength == WAVELENGTH
    assert plain.geometry.detector == SURFACE.detector
    assert plain.mask.shape == SURFACE.shape
    assert not plain.mask.any()
    assert plain.covariance is not None
    assert plain.covariance.shape == (5, 5)
    assert plain.residual_px < 0.1
    assert 0.5 < plain.held_out_px / plain.residual_px < 2
    assert plain.ring_error_px < 0.02
    assert plain.match is not None
    assert plain.match.score > 12
    assert plain.match.matched == plain.match.expected >= 6
    assert plain.match.unexplained < 0.1
    assert plain.wavelength_test is not None
    assert abs(plain.wavelength_test.relative) < 4 * plain.wavelength_test.sigma
    assert plain.sectors is not None
    assert plain.sectors.used.sum() > 60
    assert plain.seconds > 0


def test_is_the_same_every_time(plain: Calibration) -> None:
    again = found()
    assert again.geometry == plain.geometry
    for name in ("covariance", "jackknife", "beam_covariance", "beam_jackknife"):
        np.testing.assert_array_equal(getattr(again, name), getattr(plain, name))
    assert (again.match, again.residual_px) == (plain.match, plain.residual_px)


def test_energy_calibrant_and_mask_are_taken_as_they_come(plain: Calibration) -> None:
    mask = np.zeros(SURFACE.shape, dtype=bool)
    mask[:, 40] = True
    kev = 12.39841984332 / 0.5
    calibration = found(
        wavelength=None, energy_kev=kev, calibrant=calibrant("CeO2"), mask=mask.astype(int).tolist()
    )
    assert_right(calibration)
    np.testing.assert_array_equal(calibration.mask, mask)
    assert calibration.geometry is not None
    assert calibration.geometry.wavelength == pytest.approx(WAVELENGTH, rel=1e-12)


def test_a_detector_of_the_catalogue_with_its_gaps() -> None:
    surface = Surface(ba.detector("Pilatus300k"))
    cone = Cone(300 * PIXEL, 200 * PIXEL, 0.15, -0.02, 0.05)
    look = Look(
        geometry=cone.geometry(surface, WAVELENGTH), rings=Rings.of("LaB6", WAVELENGTH),
        fwhm=2.5 * PIXEL / 0.15, lorentzian=0.5, peak=300.0, background=Background(air=0.1),
    )  # fmt: skip
    image = np.random.default_rng(1).poisson(look.expected()).astype(np.int32)
    image[surface.detector.mask] = -1
    calibration = ba.calibrate(
        image, detector="Pilatus 300k", calibrant="LaB6", wavelength=WAVELENGTH, distance=(0.1, 0.2)
    )
    assert calibration.verdict == "accepted", calibration.reasons
    assert calibration.geometry is not None
    off = errors(cone.geometry(surface, WAVELENGTH), calibration.geometry)
    assert off.centre_px < CENTRE_PX
    assert abs(off.distance) < DISTANCE
    np.testing.assert_array_equal(calibration.mask, surface.detector.mask)


def test_counts_in_another_unit() -> None:
    # The mean of many frames, or counts over those of a monitor.
    assert_right(found(frame().astype(np.float32) / 8))


def test_a_wrong_distance_is_told() -> None:
    calibration = found(distance=0.16)
    assert calibration.verdict == "refused"
    assert calibration.geometry is None
    assert calibration.reasons
    inside = found(distance=(0.075, 0.0805))
    assert_right(inside)
    outside = found(distance=(0.0803, 0.0815))
    assert outside.verdict == "refused"
    assert "not between the 0.0803 m and 0.0815 m" in " ".join(outside.reasons)


def test_a_geometry_tells_where_to_look() -> None:
    about = replace(CONE, centre1=CONE.centre1 + 20 * PIXEL, distance=0.07)
    geometry = about.geometry(SURFACE, 1e-10, rot3=0.3)
    calibration = found(distance=None, geometry=geometry)
    assert_right(calibration)
    assert calibration.geometry is not None
    assert calibration.geometry.rot3 == 0.3  # rings do not tell it
    assert calibration.geometry.wavelength == WAVELENGTH


def test_what_is_known_is_kept() -> None:
    truth = to_poni(CONE.parameters)
    calibration = found(constraints={"rot1": Fixed(truth[3]), "dist": Prior(truth[0] + 1e-4, 1e-8)})
    assert calibration.candidate is not None
    assert calibration.candidate.rot1 == pytest.approx(truth[3], abs=1e-7)
    assert calibration.candidate.dist == pytest.approx(truth[0] + 1e-4, abs=1e-6)
    assert "rot1" in calibration.fixed


def test_progress_is_told_and_rises() -> None:
    told: list[tuple[str, float]] = []
    found(progress=lambda what, done: told.append((what, done)))
    shares = [done for _, done in told]
    assert len(set(shares)) > 4
    assert shares == sorted(shares)
    assert 0 <= shares[0] < 0.1
    assert 0.9 < shares[-1] <= 1
    assert all(what[0].isupper() for what, _ in told)


@pytest.mark.parametrize(
    "image",
    [
        np.zeros(SURFACE.shape, dtype=np.int32),
        np.random.default_rng(0).poisson(50.0, SURFACE.shape),
        np.full(SURFACE.shape, 65534, dtype=np.uint16),
    ],
    ids=["nothing", "noise", "saturated"],
)
def test_without_rings_there_is_no_geometry(image: NDArray[np.generic]) -> None:
    calibration = found(image)
    assert calibration.verdict == "refused"
    assert calibration.geometry is None
    assert calibration.reasons
    assert "look" in calibration.reasons[0]


def test_another_powder_is_refused_when_everything_was_tried() -> None:
    told: list[tuple[str, float]] = []
    calibration = found(calibrant="LaB6", progress=lambda what, done: told.append((what, done)))
    assert calibration.verdict == "refused"
    assert calibration.geometry is None
    assert sum(what == "Looking for the geometry" for what, _ in told) == 2
    shares = [done for _, done in told]
    assert shares == sorted(shares)


@pytest.mark.parametrize(
    ("options", "error", "told"),
    [
        ({"image": np.zeros((4, 300, 320))}, FrameError, "one image"),
        ({"image": np.zeros((320, 300))}, FrameError, "rotated"),
        ({"image": np.full((300, 320), np.nan)}, FrameError, "Only 0.0%"),
        ({"mask": np.zeros((3, 3))}, FrameError, "The mask has the shape"),
        ({"detector": "Pilatos"}, GeometryError, "Pilatos"),
        ({"calibrant": "Unobtainium"}, RecipeError, "Unobtainium"),
        ({"wavelength": 0.5}, RecipeError, "in metres"),
        ({"wavelength": None}, RecipeError, "energy_kev"),
        ({"distance": -1.0}, RecipeError, "positive distance"),
        ({"constraints": {"rot4": Fixed(0.0)}}, RecipeError, "rot4"),
    ],
)
def test_what_cannot_be_used_is_refused_at_once(
    options: dict[str, Any], error: type[Exception], told: str
) -> None:
    with pytest.raises(error, match=told):
        found(**options)


def test_limits_of_the_distance() -> None:
    assert distance_limits(None, None) is None
    assert distance_limits(0.4, None) == pytest.approx((0.3, 0.5))
    assert distance_limits((0.3, 0.31), None) == (0.3, 0.31)
    geometry = SURFACE.stand(dist=0.2)
    assert distance_limits(None, geometry) == pytest.approx((0.15, 0.25))
    assert distance_limits((1, 2), geometry) == (1.0, 2.0)
    for wrong in (0.0, -0.4, np.nan, (0.5, 0.4), (0.4, 0.4), (0.0, 1.0), (-1.0, 1.0)):
        with pytest.raises(RecipeError, match="positive distance in metres"):
            distance_limits(wrong, None)


@pytest.mark.parametrize("orientation", [1, 2, 4])
def test_detectors_that_are_read_out_from_another_corner(orientation: int) -> None:
    axes = {1: (0, 1), 2: (0,), 4: (1,)}[orientation]
    detector = replace(SURFACE.detector, orientation=orientation)
    calibration = found(np.flip(frame(), axes), detector=detector)
    # The same places count the same, so it stands as it did.
    assert calibration.geometry is not None
    assert calibration.geometry.detector.orientation == orientation
    assert_right(
        replace(calibration, geometry=replace(calibration.geometry, detector=SURFACE.detector))
    )


@pytest.mark.parametrize(
    ("detector", "cone", "distance"),
    [
        (ba.detector("ImXPadS140"), Cone(0.0127, 0.045, 0.1, 0.05, 0.02), None),
        (ba.detector("Aarhus").binned(20, 20), Cone(-0.024, 0.087, 0.3, 0.05, 0.05), (0.2, 0.4)),
    ],
    ids=["pixels of several sizes", "cylinder"],
)
def test_detectors_that_are_no_regular_grid(
    detector: ba.Detector, cone: Cone, distance: tuple[float, float] | None
) -> None:
    assert detector.pixels is not None
    surface = Surface(detector)
    image = seen_by(surface, cone, "LaB6")
    calibration = found(image, detector=detector, calibrant="LaB6", distance=distance)
    assert calibration.verdict == "accepted", calibration.reasons
    assert calibration.geometry is not None
    true, size = angles(surface, cone)
    off = (angles(surface, Cone.of(calibration.geometry))[0] - true) / size
    # The cylinder is a strip of 50 rows, which do not tell much of the tilt.
    assert np.sqrt(np.mean(off**2)) < (0.02 if distance is None else 0.2)


def angles(surface: Surface, cone: Cone) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Scattering angles of all pixels, and by how much they differ from one to the next."""
    pixels = np.arange(surface.shape[0] * surface.shape[1])
    two_theta = cone.two_theta(surface.of_pixels(pixels)).reshape(surface.shape)
    return two_theta, np.hypot(*np.gradient(two_theta))


def seen_by(surface: Surface, cone: Cone, name: str) -> NDArray[np.int32]:
    """What a detector of any shape counts: in every pixel what falls on its middle."""
    two_theta, size = angles(surface, cone)
    rings = Rings.of(name, WAVELENGTH)
    seen = (rings.two_theta > two_theta.min()) & (rings.two_theta < two_theta.max())
    mean = np.full(surface.shape, 30.0)
    for centre, height in zip(rings.two_theta[seen], rings.height[seen], strict=True):
        ring = np.exp(-4 * np.log(2) * ((two_theta - centre) / (3 * np.median(size))) ** 2)
        mean += 1000 * height / rings.height[seen].max() * ring
    return np.random.default_rng(0).poisson(mean).astype(np.int32)


@settings(max_examples=3)
@given(axes=st.sampled_from([(0,), (1,), (0, 1)]), seed=st.integers(1, 100))
def test_a_mirrored_frame_has_a_mirrored_geometry(axes: tuple[int, ...], seed: int) -> None:
    image = frame(seed)
    one, other = found(image), found(np.flip(image, axes))
    assert one.beam is not None
    assert other.beam is not None
    wanted = one.beam.parameters
    for axis in axes:
        wanted[axis] = SURFACE.shape[axis] * PIXEL - wanted[axis]
        wanted[3 + axis] *= -1
    assert one.beam_covariance is not None
    sigma = np.sqrt(np.diag(one.beam_covariance))
    assert np.all(np.abs(other.beam.parameters - wanted) < 3 * sigma)


def test_ceria_on_a_pilatus_1m(shared_data: Path) -> None:
    real = calibrated(CASES[0], shared_data)
    assert real.calibration.verdict == "accepted", real.calibration.reasons
    assert real.calibration.residual_px <= 0.150
    assert real.off is not None
    assert real.off.centre_px < 0.2
    assert abs(real.off.distance) < 2e-4


def test_ceria_on_a_pilatus_2m(shared_data: Path) -> None:
    real = calibrated(CASES[1], shared_data)
    assert real.calibration.verdict == "accepted", real.calibration.reasons
    assert real.calibration.residual_px <= 0.170
    assert real.off is not None
    assert real.off.centre_px < 0.2
    assert abs(real.off.distance) < 2e-4


def test_behenate_on_a_ccd(shared_data: Path) -> None:
    real = calibrated(CASES[2], shared_data)
    assert real.calibration.verdict in ("accepted", "review"), real.calibration.reasons
    folder = shared_data / CASES[2].folder
    published = Cone.of(ba.Geometry.from_poni(folder / "published.poni"))
    beam = real.calibration.beam
    assert beam is not None
    # Along each axis; published with a tilt of 2.6 degrees, which five broad rings do not tell.
    assert abs(beam.centre1 - published.centre1) < 0.5 * 158e-6
    assert abs(beam.centre2 - published.centre2) < 0.5 * 158e-6
    assert beam.distance == pytest.approx(published.distance, rel=3e-3)
