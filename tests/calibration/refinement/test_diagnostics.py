"""What diagnostics say of good frames, and of frames that something is wrong with."""

from __future__ import annotations

from functools import cache

import numpy as np
import pytest
from numpy.typing import NDArray

import bluesky_azint as ba
from bluesky_azint.calibrants import calibrant
from bluesky_azint.calibration.cone import Cone
from bluesky_azint.calibration.refinement.diagnostics import diagnose
from bluesky_azint.calibration.refinement.refine import refine
from bluesky_azint.calibration.refinement.refinement import Refinement
from bluesky_azint.calibration.surface import Surface
from tests.study.sample import Background, Rings
from tests.study.simulator import Look

PIXEL = 172e-6
WAVELENGTH = 0.5e-10
SHAPE = 320, 340
CONE = Cone(170 * PIXEL, 150 * PIXEL, 0.08, 0.03, -0.02)


def surface(mask: NDArray[np.bool_] | None = None, pixel1: float = PIXEL) -> Surface:
    return Surface(ba.Detector(pixel1=pixel1, pixel2=PIXEL, shape=SHAPE, mask=mask))


@cache
def counts(centre1: float = CONE.centre1) -> NDArray[np.int64]:
    cone = Cone(centre1, CONE.centre2, CONE.distance, CONE.tilt1, CONE.tilt2)
    look = Look(
        geometry=cone.geometry(surface(), WAVELENGTH),
        rings=Rings.of("CeO2", WAVELENGTH),
        fwhm=2.5 * PIXEL / cone.distance,
        lorentzian=0.3,
        peak=2000.0,
        background=Background(air=0.05),
    )
    return np.random.default_rng(0).poisson(look.expected())


def refined(
    image: NDArray[np.int64], where: Surface, wavelength: float = WAVELENGTH, cone: Cone = CONE
) -> Refinement:
    mask = where.detector.mask if where.detector.mask is not None else np.zeros(SHAPE, bool)
    return refine(image, mask, where, calibrant("CeO2"), wavelength, cone)


def test_a_good_frame() -> None:
    found = refined(counts(), surface())
    told = diagnose(found)
    sigma = np.sqrt(np.diag(found.beam_covariance))
    assert np.all(told.beam_jackknife < 4 * sigma)
    assert np.all(told.beam_jackknife > 0.05 * sigma)
    assert told.jackknife.shape == (5,)
    assert told.held_out_px == pytest.approx(found.residual_px, rel=0.2)
    assert told.ring_error_px < 0.01
    assert told.ring_error_px <= told.detector_error_px < 0.05
    test = told.wavelength_test
    assert test.testable
    assert abs(test.relative) < 4 * test.sigma
    assert np.all(np.abs(told.distortion.values_px) < 4 * np.array(told.distortion.sigmas_px))


def test_a_wrong_wavelength_is_seen() -> None:
    start = Cone(CONE.centre1, CONE.centre2, CONE.distance / 1.01, CONE.tilt1, CONE.tilt2)
    test = diagnose(refined(counts(), surface(), 1.01 * WAVELENGTH, start)).wavelength_test
    assert test.relative == pytest.approx(-0.01, rel=0.2)
    assert abs(test.relative) > 5 * test.sigma


def test_pixels_of_another_shape_are_seen() -> None:
    told = diagnose(refined(counts(), surface(pixel1=1.002 * PIXEL))).distortion
    aspect = told.values_px[told.names.index("aspect")]
    # Rows are 0.2 % too far apart: 0.1 % of the outermost radius, opposite along columns.
    assert abs(aspect) == pytest.approx(0.2, rel=0.3)
    assert told.residual_px < 0.03


def test_shifted_modules_are_seen() -> None:
    mask = np.zeros(SHAPE, dtype=bool)
    mask[150:160] = True
    image = counts().copy()
    image[:150] = counts(CONE.centre1 + 0.3 * PIXEL)[:150]
    image[mask] = 0
    told = diagnose(refined(image, surface(mask))).distortion
    assert told.names == ("module 1 down", "module 1 right", "module 2 down", "module 2 right")
    # Rings are seen 0.3 pixels too far down: the pixels lie farther up than was thought.
    down = told.values_px[0] - told.values_px[2]
    assert down == pytest.approx(-0.3, abs=4 * np.hypot(told.sigmas_px[0], told.sigmas_px[2]))
    assert abs(down) > 0.1
    # Modules that are shifted are not distorted.
    assert told.smooth_sigmas < 2.5


def test_pixels_of_another_shape_are_no_shifts_of_modules() -> None:
    mask = np.zeros(SHAPE, dtype=bool)
    mask[157:163], mask[:, 168:172] = True, True
    image = counts().copy()
    image[mask] = 0
    assert diagnose(refined(image, surface(mask))).distortion.smooth_sigmas < 2.5
    told = diagnose(refined(image, surface(mask, 1.002 * PIXEL))).distortion
    assert told.names[0] == "module 1 down"
    assert told.smooth_sigmas > 4
