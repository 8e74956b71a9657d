"""What to do next, by verdict and by what the figures say."""

from __future__ import annotations

from dataclasses import replace

from bluesky_azint.calibration.result import WavelengthTest
from bluesky_azint.report.advice import next_steps
from tests.report.examples import Case


def test_an_accepted_calibration_asks_for_nothing(cases: dict[str, Case]) -> None:
    (only,) = next_steps(cases["accepted"].calibration)
    assert only.startswith("Nothing needs to be done.")


def test_a_doubtful_wavelength_comes_first(cases: dict[str, Case]) -> None:
    calibration = cases["review"].calibration
    steps = next_steps(calibration)
    assert steps[0].startswith("The rings fit a wavelength that is 0.42 % longer")
    assert steps[1].startswith("31 % of the weight of the peaks")
    assert steps[-1].startswith("Look at the cake")
    shorter = WavelengthTest(relative=-4.2e-3, sigma=4.4e-4, testable=True)
    assert "0.42 % shorter" in next_steps(replace(calibration, wavelength_test=shorter))[0]


def test_a_wavelength_that_cannot_be_tested_is_not_blamed(cases: dict[str, Case]) -> None:
    vague = WavelengthTest(relative=0.2, sigma=0.01, testable=False)
    within = WavelengthTest(relative=1.6e-3, sigma=4.4e-4, testable=True)
    for test in (vague, within, None):
        steps = next_steps(replace(cases["review"].calibration, wavelength_test=test))
        assert not any("monochromator" in step for step in steps)


def test_a_refusal_says_where_to_look(cases: dict[str, Case]) -> None:
    nothing = next_steps(cases["refused"].calibration)
    assert nothing[0] == "Look at the frame below: are there rings, and is CeO2 in the beam?"
    candidate = next_steps(cases["candidate"].calibration)
    assert "for looking only" in candidate[-1]


def test_few_rings_limit_where_a_geometry_can_be_used(cases: dict[str, Case]) -> None:
    vague = replace(cases["review"].calibration, detector_error_px=1.7)
    assert any("wrong by 1.7 pixels" in step for step in next_steps(vague))
