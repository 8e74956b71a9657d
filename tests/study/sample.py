"""What stands between the source and the detector: the powder, all else that scatters, the stop."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from bluesky_azint.calibrants import calibrant

FloatArray = NDArray[np.float64]


@dataclass(frozen=True, eq=False, kw_only=True)
class Rings:
    """What a powder scatters: angles in radians, the heights of the rings, and their modulation.

    ``modulation``, ``(rings, azimuths)``, goes once around from chi = -pi on; its mean is 1.
    """

    two_theta: FloatArray
    height: FloatArray
    modulation: FloatArray | None = None

    @classmethod
    def of(cls, name: str, wavelength: float, damping: float = 0.4) -> Rings:
        r"""Those of a calibrant: :math:`m |F|^2 e^{-2B s^2} / (\sin^2\theta \cos\theta)`.

        The last factor is Lorentz's for the counts of a pixel on the ring. ``damping`` is B of
        thermal motion, in square angstrom.
        """
        substance = calibrant(name)
        two_theta = substance.two_theta(wavelength)
        d = substance.d[: len(two_theta)]
        strength = np.array([ring.intensity for ring in substance.rings[: len(two_theta)]])
        theta = 0.5 * two_theta
        lorentz = 1.0 / (np.sin(theta) ** 2 * np.cos(theta))
        return cls(two_theta=two_theta, height=strength * np.exp(-damping / (2 * d**2)) * lorentz)

    def joined(self, other: Rings) -> Rings:
        """Both powders, mixed; without modulation."""
        two_theta = np.concatenate([self.two_theta, other.two_theta])
        order = np.argsort(two_theta)
        height = np.concatenate([self.height, other.height])
        return Rings(two_theta=two_theta[order], height=height[order])


@dataclass(frozen=True, kw_only=True)
class Background:
    """Heights relative to the highest ring, widths in radians."""

    air: float = 0.0
    air_width: float = 0.2
    halo: float = 0.0
    halo_place: float = 0.2
    halo_width: float = 0.05
    direct: float = 0.0
    direct_width: float = 0.005

    def __call__(self, two_theta: FloatArray) -> FloatArray:
        direct = self.direct / (1.0 + (two_theta / self.direct_width) ** 2) ** 1.5
        air = self.air * np.exp(-two_theta / self.air_width)
        halo = self.halo * np.exp(-0.5 * ((two_theta - self.halo_place) / self.halo_width) ** 2)
        total: FloatArray = direct + air + halo
        return total


@dataclass(frozen=True, kw_only=True)
class Stop:
    """A round beam stop on an arm that leaves the detector; lengths in metres along the detector.

    ``direction`` is that of the arm, in radians from the fast axis.
    """

    centre: tuple[float, float]
    radius: float
    direction: float
    arm: float
    blur: float

    def depth(self, p1: FloatArray, p2: FloatArray) -> FloatArray:
        """How deep a place lies in the shadow, in metres, negative outside."""
        y, x = p1 - self.centre[0], p2 - self.centre[1]
        along = x * np.cos(self.direction) + y * np.sin(self.direction)
        across = np.abs(y * np.cos(self.direction) - x * np.sin(self.direction))
        disc = self.radius - np.hypot(y, x)
        depth: FloatArray = np.maximum(disc, np.where(along > 0, 0.5 * self.arm - across, -np.inf))
        return depth

    def transmission(self, p1: FloatArray, p2: FloatArray) -> FloatArray:
        """Share of the light that passes, with a soft edge."""
        passed: FloatArray = 1.0 / (1.0 + np.exp(np.clip(self.depth(p1, p2) / self.blur, -30, 6)))
        return passed


@dataclass(frozen=True, eq=False, kw_only=True)
class Displacement:
    """A smooth distortion: cosines along both axes, ``(2, n, n)`` amplitudes in metres."""

    amplitudes: FloatArray
    size: tuple[float, float]

    def __call__(self, p1: FloatArray, p2: FloatArray) -> tuple[FloatArray, FloatArray]:
        orders = np.pi * np.arange(self.amplitudes.shape[1])
        first = np.cos(orders * (p1 / self.size[0]))
        second = np.cos(orders[:, np.newaxis] * (p2 / self.size[1]))
        return first @ self.amplitudes[0] @ second, first @ self.amplitudes[1] @ second
