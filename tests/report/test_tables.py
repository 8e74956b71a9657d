"""Numbers as they are written."""

from __future__ import annotations

import re
from dataclasses import replace

import numpy as np
import pytest

from bluesky_azint.calibration.result import Distortion, WavelengthTest
from bluesky_azint.report import tables
from bluesky_azint.report.markup import measured, number, signed, table
from bluesky_azint.report.merit import merit_table
from tests.report.examples import Case

MINUS = "\N{MINUS SIGN}"
NOTHING = "\N{EN DASH}"


@pytest.mark.parametrize(
    ("value", "sigmas", "wanted"),
    [
        (208.688712, (0.0081, 0.0243), ("208.6887", "0.0081", "0.0243")),
        (-1.05671, (0.17, np.nan), (f"{MINUS}1.06", "0.17", NOTHING)),
        (1234.5, (45.0, 210.0), ("1234", "45", "210")),
        (-1e-12, (np.nan,), ("0.00000", NOTHING)),
        (0.5, (np.nan, 0.0), ("0.50000", NOTHING, NOTHING)),
    ],
)
def test_a_value_has_the_digits_that_its_errors_allow(
    value: float, sigmas: tuple[float, ...], wanted: tuple[str, ...]
) -> None:
    assert measured(value, *sigmas) == wanted


def test_numbers() -> None:
    assert number(0.05123, 2, "px") == "0.051 px"
    assert number(-1.5e-7, 2) == f"{MINUS}1.5e{MINUS}07"
    assert number(np.nan, 2, "px") == NOTHING
    assert number(0.0) == "0"
    assert signed(-0.77) == f"{MINUS}0.770"


def test_cells_are_text() -> None:
    assert "&lt;i&gt;" in table(("<i>",), [("<i>", "<i>")])
    assert "<i>" not in table(("<i>",), [("<i>", "<i>")])


def test_errors_are_in_the_unit_of_their_parameter(cases: dict[str, Case]) -> None:
    calibration = cases["accepted"].calibration
    assert calibration.geometry is not None
    rows = re.findall(r'scope="row">([^<]*)</th><td>([^<]*)</td><td>([^<]*)</td><td>([^<]*)<',
                      tables.beam_table(calibration, calibration.geometry))  # fmt: skip
    # 4 micrometres are 0.01 of a pixel, and 3e-5 of slope 0.0017 degrees.
    assert rows[0][2:] == ("0.010", "0.030")
    assert rows[2][0] == "distance along the beam (mm)"
    assert rows[2][2:] == ("0.0080", "0.0240")
    assert rows[3][2:] == ("0.0017", "0.0052")
    beam = calibration.beam
    assert beam is not None
    assert float(rows[4][1].replace(MINUS, "-")) == pytest.approx(
        np.rad2deg(np.arctan(beam.tilt2)), abs=1e-4
    )


def test_correlations(cases: dict[str, Case]) -> None:
    calibration = cases["accepted"].calibration
    assert calibration.covariance is not None
    assert calibration.beam_covariance is not None
    assert tables.correlations(calibration.beam_covariance)[0, 3] == pytest.approx(0.6)
    matrix = tables.correlations(calibration.covariance)
    assert signed(matrix[1, 4], 5) in tables.degenerate_pairs(calibration)
    assert signed(matrix[2, 3], 5) in tables.degenerate_pairs(calibration)
    fixed = calibration.covariance.copy()
    fixed[3:] = fixed[:, 3:] = 0.0
    assert NOTHING in tables.poni_correlations(replace(calibration, covariance=fixed))


def test_a_refined_wavelength_has_its_errors(cases: dict[str, Case]) -> None:
    calibration = cases["accepted"].calibration
    assert calibration.geometry is not None
    assert calibration.covariance is not None
    wider = np.zeros((6, 6))
    wider[:5, :5] = calibration.covariance
    wider[5, 5] = 2.5e-15**2
    text = tables.poni_table(replace(calibration, covariance=wider), calibration.geometry)
    assert "0.500000</td><td>0.000025</td>" in text
    assert "λ" in tables.poni_correlations(replace(calibration, covariance=wider))


def test_what_was_held_has_no_error(cases: dict[str, Case]) -> None:
    calibration = cases["accepted"].calibration
    assert calibration.geometry is not None
    assert calibration.beam_covariance is not None
    held = calibration.beam_covariance.copy()
    held[3:] = held[:, 3:] = 0.0
    held[3, 3] = held[4, 4] = 1e-18
    kept = replace(calibration, beam_covariance=held, beam_jackknife=np.full(5, 1e-12))
    text = tables.beam_table(kept, calibration.geometry)
    assert text.count(f"<td>{NOTHING}</td>") == 7
    assert np.isnan(tables.correlations(held)[3:]).all()
    assert tables.correlations(held)[2, 2] == 1.0


def test_only_the_largest_terms_of_a_distortion_are_told(cases: dict[str, Case]) -> None:
    distortion = Distortion(
        names=tuple(f"module {k} down" for k in range(40)),
        values_px=tuple(0.01 * (k % 20) for k in range(40)),
        sigmas_px=(0.01,) * 40,
        residual_px=0.03,
    )
    text = merit_table(replace(cases["accepted"].calibration, distortion=distortion))
    assert "Of its 40 terms: module 19 down +0.190" in text
    assert "module 39 down" in text
    assert "and 34 smaller ones." in text
    assert text.count("module") == 6


def test_an_untestable_wavelength_is_not_told(cases: dict[str, Case]) -> None:
    vague = WavelengthTest(relative=-0.265, sigma=0.0187, testable=False)
    text = merit_table(replace(cases["accepted"].calibration, wavelength_test=vague))
    assert "only to ± 1.9 %" in text
    assert "26.5" not in text


def test_every_figure_of_merit_is_told(cases: dict[str, Case]) -> None:
    text = merit_table(cases["review"].calibration)
    for wanted in (
        "11 of 13", "31 %", "0.052 px", "0.021 px", "0.043 px", "other geometry has 12.",
        "+0.420 ± 0.044 %", "radial, cubic +0.310 ± 0.020 px",
    ):  # fmt: skip
        assert wanted in text
    assert merit_table(cases["refused"].calibration) == ""


def test_rings(cases: dict[str, Case]) -> None:
    rows = tables.ring_table(cases["review"].calibration).split("<tr>")[2:]
    assert "left out" in rows[2]
    assert "not found" in rows[4]
    assert sum("used" in row for row in rows) == len(rows) - 2
    assert tables.ring_table(cases["refused"].calibration) == ""
