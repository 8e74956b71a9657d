"""How long a calibration takes, by the size of the detector."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

import bluesky_azint as ba
from tests.study.classes import anywhere, arcs, drawn, scene
from tests.study.one import calibrated
from tests.study.scene import generator, look_at
from tests.study.tables import spread, table

DETECTORS = ("Pilatus1M", "Eiger2_4M", "Eiger2_16M")
LIMITS = {"Pilatus1M": 4.0, "Eiger2_4M": 10.0, "Eiger2_16M": 30.0}  # seconds, median


@dataclass(frozen=True, kw_only=True)
class Timed:
    """One calibration."""

    detector: str
    megapixels: float
    verdict: str
    seconds: float


def timed(task: tuple[str, int]) -> Timed:
    """Calibrate a frame of class B on a detector."""
    name, seed = task
    rng = generator(f"timing {name}", seed)
    detector = ba.detector(name)
    geometry, calibrant, seen = drawn(rng, anywhere, arcs, among=(detector,))
    look = look_at(geometry, seen.rings, rng)
    calibration, seconds = calibrated(scene("B", seed, calibrant, look, rng, seen))
    return Timed(
        detector=name,
        megapixels=float(np.prod(geometry.shape)) / 1e6,
        verdict=calibration.verdict,
        seconds=seconds,
    )


def markdown(found: Sequence[Timed]) -> str:
    """A row for each detector."""
    rows = []
    for name in DETECTORS:
        alike = [one for one in found if one.detector == name]
        if alike:
            accepted = sum(one.verdict == "accepted" for one in alike)
            times = spread([one.seconds for one in alike], "{:.1f}")
            size = f"{alike[0].megapixels:.1f}"
            limit = f"{LIMITS[name]:.0f}"
            rows.append([name, size, str(len(alike)), str(accepted), times, limit])
    head = ["detector", "Mpixel", "frames", "accepted", "seconds", "median at most"]
    return table(head, rows)
