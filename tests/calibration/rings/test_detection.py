"""The scale at which rings show best."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from bluesky_azint.calibration.rings import detection
from bluesky_azint.calibration.rings.detection import detect, detect_grains

FloatArray = NDArray[np.float64]
SHAPE = (500, 520)
ROW, COLUMN = np.indices(SHAPE).astype(np.float64)
NOTHING = np.zeros(SHAPE, dtype=bool)
RADII = (90.0, 150.0, 210.0)


def rings(fwhm: float, height: float, background: float) -> NDArray[np.int64]:
    radius = np.hypot(ROW - 250, COLUMN - 260)
    mean = np.full(SHAPE, background)
    for r in RADII:
        mean += height * np.exp(-4 * np.log(2) * ((radius - r) / fwhm) ** 2)
    counts: NDArray[np.int64] = np.random.default_rng(0).poisson(mean)
    return counts


def spread(row: FloatArray, column: FloatArray) -> tuple[float, float]:
    """Share of the points on rings, and how much of the rings they cover."""
    radius = np.hypot(row - 250, column - 260)
    near = np.abs(radius[:, np.newaxis] - RADII).min(axis=1) < 2.5
    angle = np.degrees(np.arctan2(row - 250, column - 260))[near].astype(int) // 4
    ring = np.abs(radius[near, np.newaxis] - RADII).argmin(axis=1)
    return float(near.mean()), len(np.unique(ring * 1000 + angle)) / (3 * 90)


@pytest.mark.parametrize(
    ("fwhm", "height", "background", "spacing"),
    [(2.5, 200.0, 20.0, 1.0), (8.0, 1.2, 0.6, 2.0), (14.0, 1.5, 1.5, 2.0)],
)
def test_the_scale_follows_the_rings(
    fwhm: float, height: float, background: float, spacing: float
) -> None:
    arcs = detect(rings(fwhm, height, background), NOTHING)
    right, covered = spread(arcs.row, arcs.column)
    assert right > 0.9
    assert covered > 0.85
    # About one point for each pixel of the scale.
    density = len(arcs.row) / (2 * np.pi * sum(RADII))
    if spacing == 1.0:
        assert density > 0.8
    else:
        assert density < 0.8


def test_large_frames_are_looked_at_in_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    image = rings(5.0, 200.0, 20.0)
    fine = detect(image, NOTHING)
    monkeypatch.setattr(detection, "_MOST_PIXELS", 1e5)
    coarse = detect(image, NOTHING)
    assert len(coarse.row) < 0.7 * len(fine.row)
    right, covered = spread(coarse.row, coarse.column)
    assert right > 0.95
    assert covered > 0.95


@pytest.mark.parametrize("number", [60, 250])
def test_rows_of_grains_are_found_where_rings_are_not(number: int) -> None:
    rng = np.random.default_rng(5)
    mean = np.full(SHAPE, 5.0)
    for radius in RADII:
        for angle in rng.uniform(0, 2 * np.pi, number):
            row, column = 250 + radius * np.sin(angle), 260 + radius * np.cos(angle)
            at = np.s_[int(row) - 8 : int(row) + 9, int(column) - 8 : int(column) + 9]
            square = (ROW[at] - row) ** 2 + (COLUMN[at] - column) ** 2
            mean[at] += rng.exponential(300.0) * np.exp(-0.5 * square / 1.3**2)
    image = rng.poisson(mean)
    arcs = detect_grains(image, NOTHING)
    right, covered = spread(arcs.row, arcs.column)
    assert right > 0.8
    assert covered > (0.3 if number == 60 else 0.8)
    plain = detect(image, NOTHING)
    assert np.bincount(plain.arc).max() < np.bincount(arcs.arc).max()


def test_a_frame_of_nothing() -> None:
    for mask in (NOTHING, ~NOTHING):
        assert len(detect(np.zeros(SHAPE), mask)) == 0
        assert len(detect_grains(np.zeros(SHAPE), mask)) == 0
