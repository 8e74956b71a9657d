"""Circles through points, and lines."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from bluesky_azint.calibration.rings.circles import Circle

FloatArray = NDArray[np.float64]
CENTRE = np.array([120.0, -40.0])


def arc(radius: float, first: float, last: float, number: int = 200) -> FloatArray:
    angle = np.linspace(first, last, number)
    return CENTRE + radius * np.stack([np.sin(angle), np.cos(angle)], axis=-1)


def radius_of(circle: Circle, points: FloatArray) -> float:
    return float(np.linalg.norm(points - circle.centre, axis=1).mean())


@pytest.mark.parametrize("extent", [0.05, 1.0, 3.0, 2 * np.pi])
def test_points_on_a_circle(extent: float) -> None:
    points = arc(300.0, 0.3, 0.3 + extent)
    circle = Circle.through(points)
    np.testing.assert_allclose(circle.centre, CENTRE, atol=1e-4)
    assert np.abs(circle.distance(points)).max() < 1e-8


def test_distances_are_those_from_the_circle() -> None:
    circle = Circle.through(arc(300.0, 0.0, 2.0))
    outside, inside = arc(302.0, 0.0, 2.0), arc(285.0, 0.0, 2.0)
    sign = np.sign(circle.distance(outside)[0])
    np.testing.assert_allclose(circle.distance(outside), 2.0 * sign, rtol=1e-6)
    np.testing.assert_allclose(circle.distance(inside), -15.0 * sign, rtol=1e-6)


def test_short_noisy_arcs_have_no_bias_in_their_radius() -> None:
    # Circles fitted by the algebraic distance alone are 10 % too small here.
    rng = np.random.default_rng(1)
    found = []
    for _ in range(100):
        points = arc(100.0, 0.4, 1.0, 60) + rng.normal(0.0, 0.5, (60, 2))
        found.append(radius_of(Circle.through(points), points))
    assert np.mean(found) == pytest.approx(100.0, rel=0.02)
    assert np.std(found) < 7.0


@pytest.mark.parametrize("direction", [0.0, 0.7, np.pi / 2])
def test_lines_are_circles_far_away(direction: float) -> None:
    along = np.array([np.sin(direction), np.cos(direction)])
    across = np.array([along[1], -along[0]])
    points = CENTRE + np.linspace(-50, 50, 101)[:, np.newaxis] * along
    circle = Circle.through(points)
    assert np.abs(circle.distance(points)).max() < 1e-9
    np.testing.assert_allclose(np.abs(circle.distance(points + 3.0 * across)), 3.0, rtol=1e-4)
    away = circle.centre - CENTRE
    assert 1e3 < np.linalg.norm(away) < 1e6
    assert abs(away @ along) < 1e-3 * np.linalg.norm(away)
    np.testing.assert_array_equal(np.abs(np.diff(circle.order(points))), 1)


def test_points_are_ordered_from_the_widest_gap_on() -> None:
    points = arc(50.0, 1.0, 6.0, 80)  # across the cut of the angle
    shuffled = np.random.default_rng(2).permutation(80)
    circle = Circle.through(points[shuffled])
    order = shuffled[circle.order(points[shuffled])]
    wanted = np.arange(80)
    assert np.array_equal(order, wanted) or np.array_equal(order, wanted[::-1])


def test_points_that_are_one() -> None:
    circle = Circle.through(np.full((9, 2), 5.0))
    assert np.isfinite(circle.centre).all()
    assert np.isfinite(circle.distance(np.array([[5.0, 6.0]]))).all()
