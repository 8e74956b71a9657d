"""Where rings are marked, and as what."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

import bluesky_azint as ba
from bluesky_azint.report.rings import Contours, marked_rings
from tests.report.examples import Case

STEEP = ba.Geometry(
    detector=ba.Detector(172e-6, 172e-6, (1043, 981)), dist=0.2, poni1=0.09, poni2=0.3, rot1=0.4,
    rot2=-0.3, wavelength=0.5e-10,
)  # fmt: skip


@pytest.mark.parametrize("mirrored", [3, 1])
def test_a_contour_lies_at_its_angle(mirrored: int) -> None:
    geometry = STEEP.with_orientation(mirrored)
    two_theta = geometry.two_theta()
    step = np.abs(np.gradient(two_theta)).max()
    contours = Contours(geometry)
    for angle in np.deg2rad([15.0, 25.0, 40.0]):
        lines = np.concatenate(contours.at(angle))
        assert len(lines) > 100
        column, row = lines.T
        inside = (column > 1) & (column < 979) & (row > 1) & (row < 1041)
        i, j = (np.floor(one[inside]).astype(int) for one in (row, column))
        across, down = column[inside] - j, row[inside] - i
        near = (
            two_theta[i, j] * (1 - down) * (1 - across)
            + two_theta[i + 1, j] * down * (1 - across)
            + two_theta[i, j + 1] * (1 - down) * across
            + two_theta[i + 1, j + 1] * down * across
        )
        assert np.abs(near - angle).max() < 0.05 * step  # of a pixel


def test_a_ring_that_misses_the_detector_has_no_contour() -> None:
    contours = Contours(STEEP)
    assert contours.at(np.deg2rad(80.0)) == []
    assert not contours.holds(np.deg2rad(80.0))
    assert contours.holds(np.deg2rad(30.0))


def test_rings_are_marked_as_what_became_of_them(cases: dict[str, Case]) -> None:
    states = [ring.state for ring in marked_rings(cases["review"].calibration)]
    assert states[2] == "left out"
    assert states[4] == "missing"
    assert states.count("used") == len(states) - 2


def test_where_nobody_looked_the_strong_rings_are_predicted(cases: dict[str, Case]) -> None:
    calibration = replace(cases["accepted"].calibration, rings=())
    rings = marked_rings(calibration)
    assert [ring.label for ring in rings[:3]] == ["111", "200", "220"]
    assert {ring.state for ring in rings} == {"predicted"}
    strongest = max(ring.ring.intensity for ring in rings)
    assert min(ring.ring.intensity for ring in rings) >= 0.01 * strongest
    assert len(rings) <= 30
    beyond = replace(calibration, wavelength=4e-10)  # reflected by 111, 200 and no other
    assert len(marked_rings(beyond)) == 2
