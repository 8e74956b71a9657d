"""Refined geometries against the truth, whose errors are predicted."""

from __future__ import annotations

from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

import fabio
import h5py
import numpy as np
import pytest
from numpy.typing import NDArray

import bluesky_azint as ba
from bluesky_azint.calibrants import Calibrant, calibrant
from bluesky_azint.calibration.cone import Cone, to_poni
from bluesky_azint.calibration.constraints import Bounds, Fixed, Prior
from bluesky_azint.calibration.refinement.diagnostics import diagnose
from bluesky_azint.calibration.refinement.refine import refine
from bluesky_azint.calibration.refinement.refinement import Refinement
from bluesky_azint.calibration.refinement.tilt import given_tilt
from bluesky_azint.calibration.surface import Surface
from bluesky_azint.errors import CalibrationError
from tests.study.sample import Background, Rings
from tests.study.simulator import Look

PIXEL = 172e-6
WAVELENGTH = 0.5e-10
SURFACE = Surface(ba.Detector(pixel1=PIXEL, pixel2=PIXEL, shape=(320, 340)))
CONE = Cone(170 * PIXEL, 150 * PIXEL, 0.1, 0.03, -0.02)
NOTHING = np.zeros(SURFACE.shape, dtype=bool)
CERIA = calibrant("CeO2")
OFF = np.array([2 * PIXEL, -1.5 * PIXEL, 3e-4, 2e-3, -1e-3])
TOLERANCE = np.array([0.02 * PIXEL, 0.02 * PIXEL, 4e-5 * 0.1, 4e-4, 4e-4])


@cache
def expected(
    cone: Cone = CONE, name: str = "CeO2", fwhm: float = 3.0, peak: float = 2000.0
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


def start(cone: Cone = CONE) -> Cone:
    return Cone(*(cone.parameters + OFF))


def refined(image: NDArray[Any], mask: NDArray[np.bool_] = NOTHING, **options: Any) -> Refinement:
    return refine(image, mask, SURFACE, CERIA, WAVELENGTH, start(), **options)


def deviation(found: Refinement, cone: Cone = CONE) -> NDArray[np.float64]:
    off: NDArray[np.float64] = found.cone.parameters - cone.parameters
    return off


@pytest.fixture(scope="module")
def plain() -> Refinement:
    return refined(frame())


def test_finds_the_truth_from_some_pixels_off(plain: Refinement) -> None:
    assert np.all(np.abs(deviation(plain)) < TOLERANCE)
    assert all(ring.used for ring in plain.rings)
    assert plain.fixed == {}


@pytest.mark.parametrize("fwhm", [1.6, 6.0])
def test_is_without_bias_where_nothing_is_noise(fwhm: float) -> None:
    found = refined(expected(fwhm=fwhm))
    bias = np.abs(deviation(found)) / [PIXEL, PIXEL, CONE.distance, 1, 1]
    assert np.all(bias < [1e-3, 1e-3, 2e-5, 5e-5, 5e-5])


def test_predicts_its_errors() -> None:
    beam, poni = [], []
    for seed in range(24):
        found = refined(frame(seed))
        beam.append(deviation(found) / np.sqrt(np.diag(found.beam_covariance)))
        off = to_poni(found.cone.parameters) - to_poni(CONE.parameters)
        poni.append(off / np.sqrt(np.diag(found.covariance)))
    for pulls in (np.array(beam), np.array(poni)):
        spread = np.sqrt(np.mean(pulls**2, axis=0))
        assert np.all((spread > 0.65) & (spread < 1.45))
        assert 0.8 < np.sqrt(np.mean(pulls**2)) < 1.25


def test_weak_rings() -> None:
    found = refined(frame(peak=2.0))
    pulls = deviation(found) / np.sqrt(np.diag(found.beam_covariance))
    assert np.all(np.abs(pulls) < 4)
    assert np.all(np.abs(deviation(found)) < 12 * TOLERANCE)


def test_broken_pixels_do_no_harm() -> None:
    rng = np.random.default_rng(5)
    image = frame()
    image[rng.random(image.shape) < 1e-3] = 0
    image[rng.random(image.shape) < 5e-4] = 100_000
    assert np.all(np.abs(deviation(refined(image))) < TOLERANCE)


def test_gaps_and_shadows_do_no_harm() -> None:
    image, mask = frame(), NOTHING.copy()
    mask[:, 100:110] = mask[200:212] = True
    image[mask] = -1
    image[160:180, 150:] //= 3  # the arm of a beam stop
    assert np.all(np.abs(deviation(refined(image, mask))) < 1.5 * TOLERANCE)


@pytest.mark.parametrize("ceiling", [500, 65535])
def test_saturated_rings_do_no_harm(ceiling: int) -> None:
    image = np.minimum(frame(peak=2000.0 * ceiling / 500), ceiling).astype(np.uint16)
    assert np.count_nonzero(image == ceiling) > 1000
    assert np.all(np.abs(deviation(refined(image))) < TOLERANCE)


def test_counts_in_any_unit_give_the_same(plain: Refinement) -> None:
    scaled = refined(frame().astype(np.float32) * np.float32(0.01))
    assert np.all(np.abs(deviation(scaled, plain.cone)) < 0.1 * TOLERANCE)
    ratio = np.diag(scaled.beam_covariance) / np.diag(plain.beam_covariance)
    np.testing.assert_allclose(ratio, 1.0, atol=0.1)


def test_a_ring_that_disagrees_is_left_out_and_told(plain: Refinement) -> None:
    rings = list(CERIA.rings)
    rings[2] = replace(rings[2], d=rings[2].d * 1.005)  # about half a pixel
    wrong = Calibrant(name="wrong", source="", rings=tuple(rings))
    found = refine(frame(), NOTHING, SURFACE, wrong, WAVELENGTH, CONE)
    assert [ring.ring.hkl for ring in found.rings if not ring.used] == [CERIA.rings[2].hkl]
    assert np.all(np.abs(deviation(found)) < TOLERANCE)
    assert not found.sectors.used[found.sectors.ring == 2].any()


def test_tells_of_sectors_and_rings(plain: Refinement) -> None:
    sectors = plain.sectors
    places = SURFACE.at(sectors.row, sectors.column)
    np.testing.assert_allclose(plain.cone.two_theta(places), sectors.two_theta)
    # The place lies as far outside of the ring as is told.
    lines = CERIA.two_theta(WAVELENGTH)[sectors.ring]
    off = (sectors.two_theta - lines) / plain.seen.scale
    np.testing.assert_allclose(off, sectors.residual_px, atol=2e-3)
    innermost = plain.rings[0]
    assert innermost.ring == CERIA.rings[0]
    assert innermost.fwhm_px == pytest.approx(3.0, rel=0.15)
    assert innermost.coverage > 0.9
    assert plain.residual_px < 0.05


def test_a_blank_image_is_refused() -> None:
    for image in (np.zeros(SURFACE.shape), np.full(SURFACE.shape, 7)):
        with pytest.raises(CalibrationError, match="sectors"):
            refined(image)
    with pytest.raises(CalibrationError, match="sectors"):
        refined(frame(), ~NOTHING)
    noise = np.random.default_rng(0).poisson(100.0, SURFACE.shape)
    with pytest.raises(CalibrationError, match="sectors"):
        refined(noise)


def test_a_tilt_that_rings_do_not_tell_is_held() -> None:
    cone = Cone(CONE.centre1, CONE.centre2, 1.5, 0.01, 0.0)
    image = frame(cone=cone, name="AgBh", fwhm=5.0, peak=20.0)
    behenate = calibrant("AgBh")
    off = replace(cone, centre1=cone.centre1 + PIXEL, centre2=cone.centre2 - PIXEL, distance=1.502)
    found = refine(image, NOTHING, SURFACE, behenate, WAVELENGTH, off)
    assert found.cone.tilt < 1e-9
    assert "do not tell the tilt" in found.fixed["tilt"]
    sigma = np.sqrt(np.diag(found.beam_covariance))
    np.testing.assert_allclose(sigma[3:], np.deg2rad(1.0), rtol=1e-3)
    assert np.all(np.abs(deviation(found, cone)) < 3 * sigma)
    assert sigma[0] < 0.3 * PIXEL
    known = np.sqrt(np.abs(np.diag(given_tilt(found.fit.covariance, found.rows))))
    assert np.all(known[:2] < 0.6 * sigma[:2])
    assert np.all(known[3:5] < 1e-6)
    given = {"tilt1": Fixed(0.01)}
    found = refine(image, NOTHING, SURFACE, behenate, WAVELENGTH, off, constraints=given)
    assert found.cone.tilt1 == pytest.approx(0.01)
    assert found.cone.tilt2 == pytest.approx(0.0, abs=1e-9)
    assert set(found.fixed) == {"tilt1", "tilt"}


def test_constraints_are_kept(plain: Refinement) -> None:
    dist, poni1, poni2, _, _ = to_poni(plain.cone.parameters)
    given = {
        "poni1": Fixed(poni1 + 1e-4),
        "dist": Prior(dist + 1e-3, 1e-9),
        "poni2": Bounds(poni2 + 2e-4, 1.0),
    }
    found = to_poni(refined(frame(), constraints=given).cone.parameters)
    np.testing.assert_allclose(found[:3], [dist + 1e-3, poni1 + 1e-4, poni2 + 2e-4], atol=1e-7)
    loose = {"distance": Bounds(0.0, 1.0), "rot1": Prior(0.0, 10.0)}
    same = refined(frame(), constraints=loose)
    assert np.all(np.abs(deviation(same, plain.cone)) < 1e-3 * TOLERANCE)


def test_the_wavelength_needs_a_prior() -> None:
    known = Prior(WAVELENGTH * 1.002, WAVELENGTH * 1e-3)
    found = refined(frame(), constraints={"wavelength": known})
    assert found.covariance.shape == (6, 6)
    sigma = np.sqrt(found.covariance[5, 5])
    assert sigma < 3e-4 * WAVELENGTH
    assert abs(found.wavelength - WAVELENGTH) < 4 * sigma


def test_progress_is_told() -> None:
    told: list[tuple[str, float]] = []
    refined(frame(), progress=lambda what, done: told.append((what, done)))
    shares = [done for _, done in told]
    assert shares == sorted(shares)
    assert shares[-1] == 1.0


def test_ceria_on_a_pilatus_1m(shared_data: Path) -> None:
    folder = shared_data / "dioptas_ceo2_pilatus1m"
    image = fabio.open(folder / "CeO2_Pilatus1M.tif").data
    geometry = _published(folder, image.shape)
    found = _refined_from(geometry, image, image < 0)
    assert found.residual_px <= 0.150
    assert len(found.rings) >= 14


def test_ceria_on_a_pilatus_2m(shared_data: Path) -> None:
    folder = shared_data / "hexrd_ceo2_pilatus2m"
    with h5py.File(folder / "ceria_50x30_740mm_000005_Pilatus2M.hdf5") as file:
        image = file["imageseries/images"][0]
    with np.load(folder / "mask.npz") as file:
        mask = file[file.files[0]] | (image < 0)
    found = _refined_from(_published(folder, image.shape), image, mask)
    assert found.residual_px <= 0.168


def test_behenate_on_a_ccd(shared_data: Path) -> None:
    folder = shared_data / "gsas_agbh_marccd"
    image = fabio.open(folder / "AgBehenate_003.tif").data
    geometry = _published(folder, image.shape)
    found = _refined_from(geometry, image, image < 1, "AgBh")
    assert found.residual_px < 0.72
    assert "held at 0" in found.fixed["tilt"]
    published = Cone.of(geometry)
    assert found.cone.distance == pytest.approx(published.distance, rel=3e-3)
    assert abs(found.cone.centre1 - published.centre1) < 0.5 * 158e-6
    assert all(3 < ring.fwhm_px < 9 for ring in found.rings)
    test = diagnose(found).wavelength_test
    assert not test.testable
    assert abs(test.relative) <= 0.1
    held = refine(
        image, image < 1, found.surface, found.calibrant, found.wavelength, published,
        hold_tilt=(0.01, -0.02),
    ).cone  # fmt: skip
    assert (held.tilt1, held.tilt2) == pytest.approx((0.01, -0.02), abs=1e-5)


def _published(folder: Path, shape: tuple[int, ...]) -> ba.Geometry:
    geometry = ba.Geometry.from_poni(folder / "published.poni")
    rows, columns = shape
    return replace(geometry, detector=replace(geometry.detector, shape=(rows, columns), mask=None))


def _refined_from(
    geometry: ba.Geometry, image: NDArray[Any], mask: NDArray[np.bool_], name: str = "CeO2"
) -> Refinement:
    assert geometry.wavelength is not None
    surface = Surface(geometry.detector)
    return refine(image, mask, surface, calibrant(name), geometry.wavelength, Cone.of(geometry))
