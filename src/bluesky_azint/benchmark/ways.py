"""Ways to integrate: each makes a function from frames to patterns, of a case and a geometry."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from bluesky_azint.benchmark.cases import Case
from bluesky_azint.benchmark.scene import POLARIZATION, UNIT, Scene, grid_of
from bluesky_azint.geometry import Geometry
from bluesky_azint.io.images import open_frames
from bluesky_azint.lookup import build_lookup
from bluesky_azint.reduction.integrator import Integrator

FloatArray = NDArray[np.float64]
Frames = NDArray[Any]

OURS = "bluesky-azint"


class Patterns(NamedTuple):
    """Patterns of frames, ``(n, npt)`` or ``(n, npt_azim, npt)``; None for what is not known.

    ``signal`` is the sum of the counts in each bin, before it is normalized.
    """

    intensity: FloatArray
    sigma: FloatArray | None = None
    signal: FloatArray | None = None


Reduce = Callable[[Frames], Patterns]


@dataclass(frozen=True)
class Way:
    """A way to integrate.

    Parameters
    ----------
    name
        For people.
    make
        ``make(case, scene, geometry)`` does all that is done once, and gives the function from
        frames to patterns.
    open
        ``open(case, scene, path)`` does the same for a file of frames: each call of what it gives
        reads and integrates all of them.
    lookup_bytes
        ``lookup_bytes(case, scene)``: size of the table; None where it is not known.
    comparable
        Whether it computes what the reference does.
    """

    name: str
    make: Callable[[Case, Scene, Geometry], Reduce]
    open: Callable[[Case, Scene, Path], Callable[[], Patterns]]
    lookup_bytes: Callable[[Case, Scene], int] | None = None
    comparable: bool = True


def integrator(case: Case, scene: Scene, geometry: Geometry) -> Integrator:
    """Our integrator of a case."""
    return Integrator(
        geometry,
        case.npt,
        case.npt_azim,
        unit=UNIT,
        radial_range=scene.radial_range,
        azimuth_range=case.azimuth_range,
        splitting=case.splitting,
        polarization_factor=POLARIZATION,
        error_model=case.error_model,
        engine=case.engine,
    )


def _make(case: Case, scene: Scene, geometry: Geometry) -> Reduce:
    ours = integrator(case, scene, geometry)
    return lambda frames: _reduce(ours, case, frames)


def _open(case: Case, scene: Scene, path: Path) -> Callable[[], Patterns]:
    """Frames go to the engine as they are stored: it unpacks them itself where it can."""
    ours = integrator(case, scene, scene.geometry)

    def curves() -> Patterns:
        with open_frames(path) as frames:
            return _reduce(ours, case, frames.stored(0, len(frames)))

    return curves


def _reduce(ours: Integrator, case: Case, frames: ArrayLike) -> Patterns:
    result = ours.sigma_clip(frames) if case.clip else ours.integrate(frames)
    return Patterns(result.intensity, result.sigma, result.sum_signal)


def lookup_bytes(case: Case, scene: Scene) -> int:
    """Size of our table of a case."""
    mask = scene.geometry.detector.mask
    return build_lookup(scene.geometry, grid_of(case, scene), mask).nbytes


def ours() -> Way:
    """The way of this library."""
    return Way(OURS, _make, _open, lookup_bytes)
