"""Peaks that belong to no ring are marked, and no others."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from bluesky_azint.calibrants import calibrant
from bluesky_azint.report.frame import Frame
from bluesky_azint.report.pattern import foreign_peaks, reduce
from tests.report.examples import Case, counted


def test_a_pure_calibrant_has_no_foreign_peak(cases: dict[str, Case]) -> None:
    case = cases["accepted"]
    assert case.calibration.geometry is not None
    pattern = reduce(case.calibration.geometry, Frame.of(case.calibration, case.image))
    assert foreign_peaks(case.calibration, pattern).size == 0


def test_a_ring_that_is_missing_is_not_foreign(cases: dict[str, Case]) -> None:
    case = cases["review"]
    assert case.calibration.geometry is not None
    pattern = reduce(case.calibration.geometry, Frame.of(case.calibration, case.image))
    assert foreign_peaks(case.calibration, pattern).size == 0


def test_rings_of_another_powder_are_marked(cases: dict[str, Case]) -> None:
    case = cases["accepted"]
    geometry = case.calibration.geometry
    assert geometry is not None
    other = calibrant("LaB6", d_min=2.0)
    image = np.where(case.image < 0, -1, case.image + counted(geometry, other) // 2)
    pattern = reduce(geometry, Frame.of(case.calibration, image))
    marked = pattern.radial[foreign_peaks(case.calibration, pattern)]
    lines = 2 * np.pi / other.d
    apart = np.abs(lines[:, np.newaxis] - 2 * np.pi / case.calibration.calibrant.d).min(axis=1)
    clear = lines[(apart > 0.25) & (lines < pattern.radial[-1])]
    assert clear.size >= 2
    for line in clear:
        assert np.abs(marked - line).min() < 0.02
    for peak in marked:
        assert np.abs(lines - peak).min() < 0.05


def test_rings_of_a_foil_are_known(cases: dict[str, Case]) -> None:
    case = cases["accepted"]
    geometry = case.calibration.geometry
    assert geometry is not None
    other = calibrant("LaB6", d_min=0.7)
    image = np.where(case.image < 0, -1, case.image + counted(geometry, other) // 2)
    substance = replace(case.calibration.calibrant, foreign=other.rings)
    known = replace(case.calibration, calibrant=substance)
    pattern = reduce(geometry, Frame.of(known, image))
    assert foreign_peaks(case.calibration, pattern).size > 0
    assert foreign_peaks(known, pattern).size == 0


def test_a_frame_without_light_has_none(cases: dict[str, Case]) -> None:
    calibration = replace(cases["accepted"].calibration, rings=())
    assert calibration.geometry is not None
    dark = Frame.of(calibration, np.zeros(calibration.mask.shape))
    with np.errstate(all="raise"):
        pattern = reduce(calibration.geometry, dark)
        assert foreign_peaks(calibration, pattern).size == 0
    assert pattern.intensity == pytest.approx(0.0)
