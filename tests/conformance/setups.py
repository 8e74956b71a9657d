"""What is compared: detectors and frames, and what is done to them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

import bluesky_azint as ba

LEVEL = {"dist": 0.2, "rot1": 0.0, "rot2": 0.0, "rot3": 0.0, "wavelength": 1e-10}
TILT = {"dist": 0.2, "rot1": 0.1, "rot2": -0.05, "rot3": 0.02, "wavelength": 1e-10}

# Where the PONI is, as parts of the detector: the beam is on it, off its edge, or off its corner.
BEAM = {"Jungfrau": (-0.1, 0.3), "Pixirad1": (-0.2, -0.3)}
ON = (0.42, 0.47)


@dataclass(frozen=True, kw_only=True)
class Setup:
    """A frame of a detector, and all that decides what becomes of it.

    Parameters
    ----------
    name
        Of what is special about it.
    detector
        Name in the catalogue.
    position
        Distance, rotations and wavelength.
    orientation
        Of the detector.
    corrections
        Names of what is used, of `CORRECTIONS`.
    """

    name: str
    detector: str
    position: Mapping[str, Any] = field(default_factory=lambda: TILT)
    orientation: int = 3
    corrections: tuple[str, ...] = ()

    def geometry(self) -> ba.Geometry:
        """Where the detector stands."""
        detector = replace(ba.detector(self.detector), orientation=self.orientation)
        beam = BEAM.get(self.detector, ON)
        n1, n2 = detector.shape or (0, 0)
        return ba.Geometry(
            detector=detector,
            poni1=beam[0] * n1 * detector.pixel1,
            poni2=beam[1] * n2 * detector.pixel2,
            **self.position,
        )


CORRECTIONS = ("mask", "dark", "flat", "polarization", "dummy", "normalization")


def features(detector: str) -> list[Setup]:
    """One thing at a time."""
    tilted = Setup(name="tilt", detector=detector)
    return [
        replace(tilted, name="no tilt", position=LEVEL),
        tilted,
        *(replace(tilted, name=f"orientation {o}", orientation=o) for o in (1, 2, 4)),
        *(replace(tilted, name=name, corrections=(name,)) for name in CORRECTIONS),
    ]


def everything(detector: str) -> Setup:
    """All corrections at once."""
    # pyFAI knows no other orientation of a detector of hexagons.
    orientation = 3 if detector == "Pixirad1" else 2
    return Setup(
        name="everything", detector=detector, orientation=orientation, corrections=CORRECTIONS
    )


@dataclass(frozen=True, eq=False)
class Exposure:
    """A frame, and the maps that go with it; None where a correction is not used."""

    frame: NDArray[np.int32]
    variance: NDArray[np.float64]
    mask: NDArray[np.bool_] | None = None
    dark: NDArray[np.float64] | None = None
    flat: NDArray[np.float64] | None = None
    polarization_factor: float | None = None
    dummy: float | None = None
    delta_dummy: float | None = None
    normalization_factor: float = 1.0


def expose(setup: Setup, geometry: ba.Geometry) -> Exposure:
    """Rings on a background: at least one count in every pixel, where pyFAI knows the variance."""
    rng = np.random.default_rng(1)
    q = geometry.q()
    rings = 40.0 + 300.0 * np.exp(-((q % 5.0 - 2.0) ** 2) / 0.1)
    frame = np.maximum(rng.poisson(rings), 1).astype(np.int32)
    chosen: dict[str, Any] = {}
    if "mask" in setup.corrections:
        chosen["mask"] = rng.random(frame.shape) < 0.02
    if "dark" in setup.corrections:
        chosen["dark"] = rng.uniform(1.0, 4.0, frame.shape)
        frame += 4
    if "flat" in setup.corrections:
        chosen["flat"] = rng.uniform(0.8, 1.2, frame.shape)
    if "polarization" in setup.corrections:
        chosen["polarization_factor"] = 0.95
    if "dummy" in setup.corrections:
        chosen |= {"dummy": -5.0, "delta_dummy": 1.5}
        frame[rng.random(frame.shape) < 0.01] = -6
    if "normalization" in setup.corrections:
        chosen["normalization_factor"] = 3.7
    return Exposure(frame=frame, variance=1.3 * np.abs(frame) + 5.0, **chosen)
