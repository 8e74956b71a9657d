"""A frame whose geometry is known, and what a calibration is told of it."""

from __future__ import annotations

import zlib
from dataclasses import dataclass, field
from typing import Literal

import numpy as np
from numpy.typing import NDArray

import bluesky_azint as ba
from tests.study.places import FloatArray, angle_of_pixel, places_in_plane
from tests.study.sample import Background, Rings, Stop
from tests.study.simulator import Look

Expectation = Literal["right", "refused", "doubt"]
DEAD, HOT = 5e-4, 2e-4  # shares of the pixels


@dataclass(frozen=True, eq=False, kw_only=True)
class Scene:
    """A simulated frame.

    Parameters
    ----------
    kind, seed
        The class and the number in it.
    geometry
        The truth, with the true wavelength.
    detector, calibrant, wavelength, mask, distance
        What the calibration is told.
    image
        The counts.
    expects
        "right": the geometry; "refused"; "doubt": no geometry that is accepted.
    look
        What made it; None of frames that are not made of rings.
    variations
        What was drawn, for people to read.
    """

    kind: str
    seed: int
    geometry: ba.Geometry
    detector: ba.Detector
    calibrant: str
    wavelength: float
    image: NDArray[np.generic]
    mask: NDArray[np.bool_]
    distance: tuple[float, float] | None = None
    expects: Expectation = "right"
    look: Look | None = None
    variations: dict[str, float | str] = field(default_factory=dict)


def generator(kind: str, seed: int) -> np.random.Generator:
    """Random numbers of one scene, whatever was made before."""
    return np.random.default_rng([zlib.crc32(kind.encode()), seed])


def look_at(
    geometry: ba.Geometry,
    rings: Rings,
    rng: np.random.Generator,
    *,
    peak: tuple[float, float] = (100.0, 20000.0),
    texture: float = 0.3,
) -> Look:
    """Draw all but where the detector stands and what is seen there."""
    i, j = _grid(geometry.shape)
    size = float(np.median(angle_of_pixel(geometry, i, j)))  # of a pixel, in radians
    width = size * max(geometry.shape)
    background = log_uniform(rng, 0.02, 0.4)
    air = rng.uniform(0.2, 0.8)
    return Look(
        geometry=geometry,
        rings=with_texture(rings, rng, rng.uniform(0.0, texture)),
        fwhm=size * rng.uniform(1.6, 6.0),
        lorentzian=rng.uniform(0.0, 0.8),
        peak=log_uniform(rng, *peak),
        background=Background(
            air=background * air,
            air_width=width * rng.uniform(0.3, 1.0),
            halo=background * (1.0 - air),
            halo_place=width * rng.uniform(0.1, 0.5),
            halo_width=width * rng.uniform(0.06, 0.2),
            direct=log_uniform(rng, 0.1, 5.0),
            direct_width=width * rng.uniform(0.003, 0.01),
        ),
        stop=_stop(geometry, rings, rng),
    )


def with_texture(rings: Rings, rng: np.random.Generator, strength: float) -> Rings:
    """The rings, their counts modulated smoothly by up to that share."""
    chi = np.linspace(-np.pi, np.pi, 720, endpoint=False)
    n = len(rings.two_theta)
    phase = rng.uniform(-np.pi, np.pi, (n, 2, 1))
    share = strength * rng.uniform(0.0, 1.0, (n, 1, 1)) * np.array([0.7, 0.3])[:, np.newaxis]
    waves = share * np.cos(np.array([2.0, 4.0])[:, np.newaxis] * chi + phase)
    return Rings(two_theta=rings.two_theta, height=rings.height, modulation=1.0 + waves.sum(axis=1))


def _stop(geometry: ba.Geometry, rings: Rings, rng: np.random.Generator) -> Stop | None:
    """A stop where the beam meets the detector, inside of the first ring; None if it does not."""
    from bluesky_azint.calibration.cone import Cone

    beam = Cone.of(geometry)
    detector = geometry.detector
    lengths = geometry.shape[0] * detector.pixel1, geometry.shape[1] * detector.pixel2
    radius = rng.uniform(0.015, 0.04) * max(lengths)
    direction, arm, blur = rng.uniform(-np.pi, np.pi), rng.uniform(0.3, 0.8), rng.uniform(0.3, 1.0)
    if not (0 < beam.centre1 < lengths[0] and 0 < beam.centre2 < lengths[1]):
        return None
    innermost = beam.distance * np.tan(rings.two_theta.min()) if rings.two_theta.size else np.inf
    radius = min(radius, 0.6 * innermost)
    return Stop(
        centre=(beam.centre1, beam.centre2),
        radius=radius,
        direction=direction,
        arm=arm * radius,
        blur=blur * detector.pixel1,
    )


def exposed(
    mean: FloatArray,
    look: Look,
    rng: np.random.Generator,
    *,
    dead: float = DEAD,
    hot: float = HOT,
) -> tuple[NDArray[np.generic], NDArray[np.bool_]]:
    """Counts with noise and bad pixels, and the mask that a user would have: half of the dead."""
    detector = look.geometry.detector
    shape = look.geometry.shape
    counts = rng.poisson(mean)
    broken = rng.random(shape)
    is_dead, is_hot = broken < dead, broken > 1.0 - hot
    brightest = max(look.peak, 10.0)
    counts[is_dead] = 0
    counts[is_hot] = brightest * rng.uniform(0.3, 10.0, shape)[is_hot]
    mask = is_dead & (rng.random(shape) < 0.5)
    if rng.random() < 0.5 and look.stop is not None:
        places = places_in_plane(look.geometry, *np.indices(shape, sparse=True))
        mask |= look.stop.depth(*places) > -4.0 * detector.pixel1
    return digitized(counts, detector), mask


def digitized(counts: NDArray[np.int64], detector: ba.Detector) -> NDArray[np.generic]:
    """Counts in the type that the detector writes, the gaps marked as it does."""
    if detector.mask is None:  # an integrating panel: 16 bits
        return np.minimum(counts, 65535).astype(np.uint16)
    if detector.name.startswith("Eiger"):
        return np.where(detector.mask, np.iinfo(np.uint32).max, counts).astype(np.uint32)
    return np.where(detector.mask, -1, counts).astype(np.int32)


def log_uniform(rng: np.random.Generator, low: float, high: float) -> float:
    """A number whose logarithm is drawn evenly."""
    return float(np.exp(rng.uniform(np.log(low), np.log(high))))


def _grid(shape: tuple[int, int]) -> tuple[FloatArray, FloatArray]:
    i = np.linspace(0.0, shape[0] - 1.0, 25)[:, np.newaxis]
    j = np.linspace(0.0, shape[1] - 1.0, 25)[np.newaxis, :]
    return i, j
