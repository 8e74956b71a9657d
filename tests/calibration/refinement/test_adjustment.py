"""The robust fit, and the floor of its errors."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

import bluesky_azint as ba
from bluesky_azint.calibration.cone import Cone, two_theta
from bluesky_azint.calibration.constraints import Bounds
from bluesky_azint.calibration.refinement.adjustment import adjust, floor_of, solvable
from bluesky_azint.calibration.refinement.observations import Observations, observations
from bluesky_azint.calibration.surface import FloatArray, Surface
from bluesky_azint.errors import CalibrationError

PIXEL = 1e-4
SURFACE = Surface(ba.Detector(pixel1=PIXEL, pixel2=PIXEL, shape=(1000, 1000)))
FIRST = Cone(0.05, 0.05, 0.2, 0.02, 0.0)
TRUE = Cone(0.0502, 0.0499, 0.2003, 0.021, -0.001)


def seen(rng: np.random.Generator, noise: float = 0.02) -> tuple[Observations, FloatArray]:
    row, column = rng.uniform(0, 999, (2, 400))
    places = SURFACE.at(row, column)
    angle = two_theta(TRUE.parameters, places)  # every place is on a line of its own
    scale = 5e-4
    found = observations(
        SURFACE,
        FIRST,
        np.arange(400),
        (row, column),
        two_theta(FIRST.parameters, places) - angle + noise * scale * rng.normal(size=400),
        np.full(400, noise * scale),
        np.full(400, 50.0),
    )
    return found, angle


def test_the_truth_is_found_in_spite_of_outliers() -> None:
    found, angle = seen(np.random.default_rng(1))
    found.shift[::20] += 2e-3
    fit = adjust(found, angle, 1e-10, {})
    pulls = (fit.values[:5] - TRUE.parameters) / np.sqrt(np.diag(fit.covariance)[:5])
    assert np.all(np.abs(pulls) < 4)
    assert not fit.weight[::20].any()
    assert fit.values[5] == 0.0
    assert fit.covariance[5, 5] == 0.0


def test_too_few_sectors_are_refused() -> None:
    found, angle = seen(np.random.default_rng(1))
    with pytest.raises(CalibrationError, match="Only 4 sectors"):
        adjust(found, angle, 1e-10, {}, use=np.arange(400) < 4)


def test_rings_that_hold_no_geometry_are_refused() -> None:
    found, angle = seen(np.random.default_rng(1))
    with pytest.raises(CalibrationError, match="did not converge"):
        adjust(replace(found, shift=np.full(400, np.nan)), angle, 1e-10, {})
    with pytest.raises(CalibrationError, match="did not converge"), solvable():
        np.linalg.inv(np.zeros((2, 2)))


def test_steps_are_limited() -> None:
    found, angle = seen(np.random.default_rng(1))
    far = np.append(TRUE.parameters, 0.0)
    far[:5] += [0.0, 0.0, 3.0, 1.0, 0.0]
    fit = adjust(found, angle, 1e-10, {}, start=far)
    assert np.isfinite(fit.values).all()
    assert 0.0 < fit.cone.distance < 4.0


def test_a_bound_that_is_reached_is_told() -> None:
    found, angle = seen(np.random.default_rng(1))
    given = {"distance": Bounds(0.1, 0.2), "rot2": Bounds(-1.0, 1.0)}
    fit = adjust(found, angle, 1e-10, given)
    assert fit.at_bounds == {"distance": 0.2}
    assert fit.cone.distance == pytest.approx(0.2, abs=1e-7)


@pytest.mark.parametrize("half", [True, False])
def test_the_floor_is_what_the_counts_do_not_explain(half: bool) -> None:
    rng = np.random.default_rng(2)
    sigma = rng.uniform(0.01, 0.3, 20_000)
    residual = np.hypot(sigma, 0.1) * rng.normal(size=20_000)
    assert floor_of(residual, sigma, half=half) == pytest.approx(0.1, rel=0.05)
    assert floor_of(0.5 * sigma, sigma, half=half) == 0.0
    assert floor_of(residual[:0], sigma[:0], half=half) == 0.0
    residual[::5] = 10.0
    assert floor_of(residual, sigma, half=True) < 0.2
