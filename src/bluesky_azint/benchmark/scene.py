"""The scene: a tilted detector in the rings of a powder, with gaps and dead pixels."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bluesky_azint.benchmark.cases import DETECTOR, Case
from bluesky_azint.detectors import Detector, detector
from bluesky_azint.geometry import Geometry
from bluesky_azint.grid import Grid, make_grid
from bluesky_azint.units import unit

Frames = NDArray[np.uint32]

BAD = np.iinfo(np.uint32).max
DEAD_PIXELS = 200
POLARIZATION = 0.95
UNIT = "q_A^-1"

# Of the Eiger2 4M; the beam is in the same part of other detectors.
_POSE: dict[str, Any] = {
    "dist": 0.2,
    "poni1": 0.08,
    "poni2": 0.075,
    "rot1": 0.1,
    "rot2": -0.05,
    "rot3": 0.02,
    "wavelength": 1e-10,
}
_TINY = Detector(75e-6, 75e-6, shape=(64, 64), name="tiny")


@dataclass(frozen=True, eq=False)
class Scene:
    """What is integrated.

    Parameters
    ----------
    geometry
        Where the detector stands.
    radial_range
        That all ways are given, in 1/A: a mask moves the axis of some where they choose it.
    frames
        ``(n, rows, columns)`` in uint32; bad pixels hold the largest value.
    """

    geometry: Geometry
    radial_range: tuple[float, float]
    frames: Frames


def scene_of(case: Case) -> Scene:
    """The scene of a case; the one before is kept."""
    geometry, frames = _rings(case.detector, case.frames, case.counts)
    radial_range = case.radial_range or (0.0, _farthest(geometry))
    return Scene(geometry, radial_range, frames)


def moved(geometry: Geometry, steps: int) -> Geometry:
    """A geometry that differs by as little as makes no odds, but differs."""
    return replace(geometry, poni1=geometry.poni1 + 1e-8 * steps)


def grid_of(case: Case, scene: Scene) -> Grid:
    """The bins of a case."""
    return make_grid(
        scene.geometry,
        unit(UNIT),
        case.splitting,
        case.npt,
        scene.radial_range,
        npt_azim=case.npt_azim,
        azimuth_range=case.azimuth_range,
    )


@lru_cache(maxsize=1)
def _rings(name: str, number: int, counts: float) -> tuple[Geometry, Frames]:
    geometry = geometry_of(name)
    mask = geometry.detector.mask
    rng = np.random.default_rng(0)
    rings = 0.3 + np.exp(-((geometry.q() % 5 - 2) ** 2) / 0.1)
    rings *= counts / rings.mean()
    dead = rng.choice(rings.size, min(DEAD_PIXELS, rings.size // 20), replace=False)
    frames = np.empty((number, *geometry.shape), np.uint32)
    for frame in frames:
        frame[:] = rng.poisson(rings)
        if mask is not None:
            frame[mask] = BAD
        frame.flat[dead] = BAD
    return geometry, frames


def geometry_of(name: str) -> Geometry:
    """A detector of the catalogue, or the tiny one, in its place."""
    model = _TINY if name == _TINY.name else detector(name)
    usual = detector(DETECTOR)
    geometry = Geometry(detector=model, **_POSE)
    scale1, scale2 = (
        size * pixel / (usual_size * usual_pixel)
        for size, pixel, usual_size, usual_pixel in zip(
            geometry.shape,
            (model.pixel1, model.pixel2),
            usual.shape or geometry.shape,
            (usual.pixel1, usual.pixel2),
            strict=True,
        )
    )
    return replace(geometry, poni1=geometry.poni1 * scale1, poni2=geometry.poni2 * scale2)


def _farthest(geometry: Geometry) -> float:
    """The largest q in 1/A, rounded up."""
    return float(np.ceil(10.0 * geometry.q().max()) / 100.0)
