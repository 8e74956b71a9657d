"""Verdicts say what is wrong, and nothing where nothing is."""

from __future__ import annotations

from dataclasses import replace
from functools import cache
from typing import Any

import numpy as np
import pytest

import bluesky_azint as ba
from bluesky_azint.calibrants import calibrant
from bluesky_azint.calibration.cone import Cone
from bluesky_azint.calibration.refinement.diagnostics import Diagnostics, diagnose
from bluesky_azint.calibration.refinement.refine import refine
from bluesky_azint.calibration.refinement.refinement import Refinement
from bluesky_azint.calibration.result import Match, RingFit, WavelengthTest
from bluesky_azint.calibration.surface import FloatArray, Surface
from bluesky_azint.calibration.verdict import Judgement, judge
from tests.study.sample import Background, Displacement, Rings
from tests.study.simulator import Look

PIXEL = 172e-6
WAVELENGTH = 0.5e-10
SHAPE = 320, 340
CONE = Cone(170 * PIXEL, 150 * PIXEL, 0.08, 0.03, -0.02)
MATCH = Match(score=30.0, runner_up=3.0, matched=8, expected=9, unexplained=0.05)


def refined(off: float = 0.0, wavelength: float = WAVELENGTH) -> Refinement:
    """A frame of a detector whose pixels lie off, smoothly, by so many pixels."""
    surface = Surface(ba.Detector(pixel1=PIXEL, pixel2=PIXEL, shape=SHAPE))
    amplitudes = np.zeros((2, 4, 4))
    amplitudes[0, 1, 2], amplitudes[1, 2, 1] = off * PIXEL, -off * PIXEL
    look = Look(
        geometry=CONE.geometry(surface, WAVELENGTH),
        rings=Rings.of("CeO2", WAVELENGTH),
        fwhm=2.5 * PIXEL / CONE.distance,
        lorentzian=0.3,
        peak=2000.0,
        background=Background(air=0.05),
        displacement=Displacement(amplitudes=amplitudes, size=surface_size()),
    )
    image = np.random.default_rng(0).poisson(look.expected())
    start = replace(CONE, distance=CONE.distance * WAVELENGTH / wavelength)
    none = np.zeros(SHAPE, dtype=bool)
    return refine(image, none, surface, calibrant("CeO2"), wavelength, start)


def surface_size() -> tuple[float, float]:
    return SHAPE[0] * PIXEL, SHAPE[1] * PIXEL


@cache
def good() -> tuple[Refinement, Diagnostics]:
    found = refined()
    return found, diagnose(found)


def judged(match: Match = MATCH, distance: tuple[float, float] | None = None) -> Judgement:
    return judge(match, *good(), distance)


def with_refinement(**changes: Any) -> Judgement:
    refinement, diagnostics = good()
    return judge(MATCH, replace(refinement, **changes), diagnostics, None)


def with_diagnostics(**changes: Any) -> Judgement:
    refinement, diagnostics = good()
    return judge(MATCH, refinement, replace(diagnostics, **changes), None)


def with_ring(**changes: Any) -> Judgement:
    rings = good()[0].rings
    return with_refinement(rings=(*rings[:3], replace(rings[3], used=False, **changes), *rings[4:]))


def only(judgement: Judgement, verdict: str, words: str) -> None:
    assert judgement.verdict == verdict
    assert len(judgement.reasons) == 1
    assert words in judgement.reasons[0]


def test_a_good_calibration_is_accepted() -> None:
    assert judged() == Judgement("accepted", (), ())
    assert judged(distance=(0.07, 0.09)).verdict == "accepted"


@pytest.mark.parametrize(
    ("changes", "verdict", "words"),
    [
        ({"score": 6.9}, "refused", "do not go together"),
        ({"runner_up": 27.5}, "refused", "Another geometry"),
        ({"expected": 12}, "refused", "4 of the 12 rings"),
        ({"unexplained": 0.3}, "review", "30% of the rings"),
    ],
)
def test_rings_must_match(changes: dict[str, Any], verdict: str, words: str) -> None:
    only(judged(replace(MATCH, **changes)), verdict, words)


def test_foreign_rings_may_be_too_many() -> None:
    assert judged(replace(MATCH, unexplained=0.7)).verdict == "refused"


def test_there_must_be_enough_rings() -> None:
    rings = good()[0].rings[:2]
    only(with_refinement(rings=rings), "refused", "There are 2 usable rings")
    refinement, diagnostics = good()
    few = judge(MATCH, replace(refinement, rings=rings), diagnostics, (0.07, 0.09))
    assert few.verdict == "accepted"


def test_rings_must_lie_where_the_geometry_has_them() -> None:
    only(with_refinement(residual_px=0.46), "refused", "0.46 px (rms) from where")
    rings = tuple(replace(ring, mean_px=0.3) for ring in good()[0].rings)
    only(with_refinement(rings=rings), "refused", "Whole rings are 0.30 px")
    wide = tuple(replace(ring, fwhm_px=10.0) for ring in good()[0].rings)
    assert with_refinement(residual_px=0.46, rings=wide).verdict == "accepted"


def test_the_geometry_must_be_determined() -> None:
    only(with_diagnostics(ring_error_px=0.6), "refused", "to 0.6 px only")
    vague = good()[0].beam_covariance * 1e6
    assert "the distance to" in with_refinement(beam_covariance=vague).reasons[0]
    told = with_diagnostics(detector_error_px=0.7)
    assert told.verdict == "accepted"
    assert "0.7 px only" in told.notes[0]


def test_the_distance_must_be_the_one_that_was_stated() -> None:
    only(judged(distance=(0.09, 0.1)), "refused", "not between the 0.09 m and 0.1 m")


def test_a_ring_that_disagrees_asks_for_a_review() -> None:
    only(with_ring(mean_px=0.5, sigma_px=0.01), "review", "The rings 4 0 0 disagree")


@pytest.mark.parametrize(
    "poor",
    [{"fwhm_px": 30.0}, {"sectors": 3}, {"sigma_px": 0.2}],
    ids=["too wide", "too short", "too weak"],
)
def test_a_ring_that_is_measured_poorly_does_not(poor: dict[str, Any]) -> None:
    told = with_ring(**({"mean_px": 0.5, "sigma_px": 0.01} | poor))
    assert told.verdict == "accepted"
    assert "4 0 0 are too weak" in told.notes[0]


def test_most_rings_must_agree() -> None:
    rings = good()[0].rings

    def disagreeing(ring: RingFit) -> RingFit:
        return replace(ring, used=False, mean_px=0.5, sigma_px=0.01, sectors=20)

    told = with_refinement(rings=(*rings[:3], *map(disagreeing, rings)))
    assert told.verdict == "refused"
    assert f"Only 3 of {len(rings) + 3} rings" in told.reasons[0]


@pytest.mark.parametrize(
    ("relative", "sigma", "testable", "verdict"),
    [
        (0.01, 1e-3, True, "review"),
        (0.01, 3e-3, True, "accepted"),
        (1e-3, 1e-4, True, "accepted"),
        (-0.99, 5e-3, False, "accepted"),
    ],
)
def test_the_wavelength_is_doubted_where_it_can_be(
    relative: float, sigma: float, testable: bool, verdict: str
) -> None:
    test = WavelengthTest(relative=relative, sigma=sigma, testable=testable)
    told = with_diagnostics(wavelength_test=test)
    assert told.verdict == verdict
    assert bool(told.notes) is not testable


def test_parts_of_the_detector_must_agree() -> None:
    spread: FloatArray = np.array([0.2 * PIXEL, 0.0, 0.0, 0.0, 0.0])
    only(with_diagnostics(beam_jackknife=spread), "review", "Parts of the detector disagree")


@pytest.mark.parametrize(
    ("pixels", "sigmas", "verdict"),
    [(0.05, 8.0, "review"), (0.05, 2.0, "accepted"), (0.01, 8.0, "accepted")],
)
def test_what_is_smooth_is_a_distortion(pixels: float, sigmas: float, verdict: str) -> None:
    distortion = good()[1].distortion
    smooth = replace(distortion, smooth_px=pixels, smooth_sigmas=sigmas)
    assert with_diagnostics(distortion=smooth).verdict == verdict


def test_a_distorted_detector_is_not_accepted() -> None:
    found = refined(off=0.15)
    told = judge(MATCH, found, diagnose(found), None)
    assert told.verdict == "review"
    assert any("in common" in reason for reason in told.reasons)


def test_a_wrong_wavelength_is_not_accepted() -> None:
    found = refined(wavelength=1.01 * WAVELENGTH)
    told = judge(MATCH, found, diagnose(found), None)
    assert told.verdict != "accepted"
    assert any("would fit better at a wavelength -1.0" in reason for reason in told.reasons)
