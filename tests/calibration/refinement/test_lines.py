"""Lines on a detector, their shape, and the tails of their neighbours."""

from __future__ import annotations

import numpy as np
import pytest

import bluesky_azint as ba
from bluesky_azint.calibrants import calibrant
from bluesky_azint.calibration.cone import Cone
from bluesky_azint.calibration.refinement.lines import Lines, lines_on, shape
from bluesky_azint.calibration.refinement.tails import Tails
from bluesky_azint.calibration.surface import Surface

PIXEL = 1e-4
SURFACE = Surface(ba.Detector(pixel1=PIXEL, pixel2=PIXEL, shape=(400, 400)))
CONE = Cone(200 * PIXEL, 200 * PIXEL, 0.1)
WAVELENGTH = 0.3e-10


@pytest.fixture
def lines() -> Lines:
    return lines_on(SURFACE, CONE, calibrant("CeO2"), WAVELENGTH)


def test_lines_are_where_they_are_seen(lines: Lines) -> None:
    corner = np.arctan(np.hypot(0.02, 0.02) / 0.1)
    angles = calibrant("CeO2").two_theta(WAVELENGTH)
    np.testing.assert_array_equal(lines.two_theta, angles[angles < corner])
    np.testing.assert_allclose(lines.radius, 1000 * np.tan(lines.two_theta), rtol=0.02)
    np.testing.assert_allclose(lines.scale, 1e-3 * np.cos(lines.two_theta) ** 2, rtol=0.01)
    assert lines.reach[0] == pytest.approx(0.5 * (angles[1] - angles[0]))
    assert lines.sectors[0] == np.ceil(2 * np.pi * lines.radius[0] / 30)


def test_higher_lines_keep_their_windows(lines: Lines) -> None:
    half_width = np.full(len(lines), 1.2 * lines.reach[3])  # 311 and 222 overlap, 222 is weaker
    apart = lines.apart(half_width)
    hkl = [ring.hkl for ring in calibrant("CeO2").rings]
    assert apart[hkl.index((3, 1, 1))]
    assert not apart[hkl.index((2, 2, 2))]


def test_derivatives_of_the_shape() -> None:
    x, fwhm, lorentzian = np.linspace(-8, 8, 33), np.full(33, 3.0), np.full(33, 0.4)
    value, by_place, by_width, by_shape = shape(x, fwhm, lorentzian)
    assert value[16] == 1.0
    assert shape(np.array([1.5]), fwhm[:1], lorentzian[:1])[0] == pytest.approx(0.5)
    step = 1e-6

    def change(dx: float, dw: float, ds: float) -> np.ndarray:
        ahead, *_ = shape(x - dx, fwhm * np.exp(dw), lorentzian + ds)
        behind, *_ = shape(x + dx, fwhm * np.exp(-dw), lorentzian - ds)
        return (ahead - behind) / (2 * step)

    np.testing.assert_allclose(by_place, change(step, 0, 0), atol=1e-8)
    np.testing.assert_allclose(by_width, change(0, step, 0), atol=1e-8)
    np.testing.assert_allclose(by_shape, change(0, 0, step), atol=1e-8)


def test_tails_are_those_of_the_others(lines: Lines) -> None:
    three, missing = lines[np.arange(len(lines)) < 3], lines[np.arange(len(lines)) == 3]
    half_width = 0.9 * three.reach
    fwhm, lorentzian = 3 * three.scale, np.full(3, 0.5)
    height = 7.0 * three.expected  # the fourth is not fitted, but is as high as it should be
    x_relative = np.linspace(-0.95, 0.95, 11)
    line = np.ones(11, dtype=np.intp)
    tails = Tails(three, missing, half_width).at(line, x_relative, height, fwhm, lorentzian)
    place = three.two_theta[1] + half_width[1] * x_relative
    expected = np.zeros(11)
    for centre, top, width in (
        (three.two_theta[0], height[0], fwhm[0]),
        (three.two_theta[2], height[2], fwhm[2]),
        (missing.two_theta[0], 7.0 * missing.expected[0], fwhm[2]),
    ):
        expected += top * shape(place - centre, np.full(11, width), np.full(11, 0.5))[0]
    np.testing.assert_allclose(tails, expected, rtol=2e-3)
    nothing = Tails(three, missing, half_width).at(line, x_relative, np.zeros(3), fwhm, lorentzian)
    assert not nothing.any()
