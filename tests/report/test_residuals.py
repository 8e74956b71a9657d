"""The shapes that are looked for in residuals, and how sure they are."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from bluesky_azint.report.residuals import azimuthal_means, parabola
from tests.report.examples import FLOOR_PX, Case


def test_a_bend_is_found_and_its_error_is_right(cases: dict[str, Case]) -> None:
    bent, flat = parabola(cases["review"].calibration), parabola(cases["accepted"].calibration)
    assert bent is not None
    assert flat is not None
    assert bent.bend_px == pytest.approx(0.15, abs=3 * bent.sigma_px)
    assert bent.bend_px > 5 * bent.sigma_px
    assert abs(flat.bend_px) < 3 * flat.sigma_px


def test_the_bend_of_a_parabola_is_the_height_of_its_middle(cases: dict[str, Case]) -> None:
    calibration = cases["accepted"].calibration
    rings = [
        replace(fit, mean_px=0.2 - 0.1 * x + 0.5 * (1 - x * x), sigma_px=0.01)
        for fit, x in zip(
            calibration.rings[:5],
            scaled([fit.two_theta for fit in calibration.rings[:5]]),
            strict=True,
        )
    ]
    bend = parabola(replace(calibration, rings=tuple(rings)))
    assert bend is not None
    assert bend.bend_px == pytest.approx(0.5, abs=1e-9)
    angles = np.rad2deg([fit.two_theta for fit in rings])
    assert np.polyval(bend.coefficients, angles) == pytest.approx([fit.mean_px for fit in rings])


def scaled(angles: list[float]) -> np.ndarray:
    low, high = min(angles), max(angles)
    return 2 * (np.array(angles) - low) / (high - low) - 1


def test_the_error_of_a_bend_is_what_it_scatters_by(cases: dict[str, Case]) -> None:
    calibration = cases["accepted"].calibration
    rng = np.random.default_rng(0)
    bends = []
    for _ in range(300):
        rings = (replace(fit, mean_px=rng.normal(0, fit.sigma_px)) for fit in calibration.rings)
        bend = parabola(replace(calibration, rings=tuple(rings)))
        assert bend is not None
        bends.append((bend.bend_px, bend.sigma_px))
    found, sigma = np.array(bends).T
    assert found.std() / np.median(sigma) == pytest.approx(1.0, abs=0.15)


def test_three_rings_have_no_parabola(cases: dict[str, Case]) -> None:
    calibration = cases["accepted"].calibration
    assert parabola(replace(calibration, rings=calibration.rings[:3])) is None


def test_means_by_azimuth(cases: dict[str, Case]) -> None:
    sectors = cases["accepted"].calibration.sectors
    assert sectors is not None
    wave = replace(sectors, residual_px=sectors.residual_px + 0.3 * np.cos(sectors.chi))
    chi, mean, sigma = azimuthal_means(wave)
    assert chi.size > 20
    assert np.all(np.abs(mean - 0.3 * np.cos(chi)) < 4 * sigma + 0.01)
    assert np.median(sigma) == pytest.approx(FLOOR_PX / np.sqrt(len(sectors) / chi.size), rel=0.4)
    nothing = replace(sectors, used=np.zeros(len(sectors), dtype=bool))
    assert azimuthal_means(nothing)[0].size == 0
