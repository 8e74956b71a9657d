r"""Simulated frames of powder rings, exact where a calibration is judged: in where the rings lie.

A pixel counts what falls on it,

.. math::
    n = \frac{1}{A} \int \Omega\, P\, \sum_k m_k(\chi)\, I_k\, V(2\theta - 2\theta_k)\, dA
        + \text{background}

with the pseudo-Voigt :math:`V`, the solid angle and the polarization taken at each of 3 x 3 places
in the pixel. As the places lie symmetrically, that leaves no error in the place of a ring; the
width comes out 1e-3 pixels too small. The sum of all rings is tabulated once, finer than anything
in it; the modulation :math:`m_k` along a ring is taken at the middle of the pixel.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
from numpy.typing import ArrayLike, NDArray

import bluesky_azint as ba
from bluesky_azint.calibrants import calibrant
from bluesky_azint.corrections import polarization_from_position

FloatArray = NDArray[np.float64]
POLARIZATION = 0.95
SAMPLES = 3  # places in a pixel, along both axes
_ROWS = 32  # at a time, so that all stays in cache
_STEPS = 64.0  # of the table per width of a ring


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


@dataclass(frozen=True, eq=False, kw_only=True)
class Look:
    """All that makes the mean counts of a frame.

    Parameters
    ----------
    geometry
        Where the detector stands, with the true wavelength.
    rings, background, stop, displacement
        See there.
    fwhm
        Width of all rings, in radians.
    lorentzian
        Share of the Lorentzian in their shape.
    peak
        Counts on the brightest ring at its brightest place.
    """

    geometry: ba.Geometry
    rings: Rings
    fwhm: float
    lorentzian: float
    peak: float
    background: Background
    stop: Stop | None = None
    displacement: Displacement | None = None

    def expected(
        self, rows: slice = slice(None), columns: slice = slice(None), samples: int = SAMPLES
    ) -> FloatArray:
        """Mean counts of the pixels of a window."""
        n1, n2 = self.geometry.shape
        i, j = np.arange(n1)[rows], np.arange(n2)[columns]
        i, j = i[:, np.newaxis], j[np.newaxis, :]
        blocks = [self._block(i[k : k + _ROWS], j, samples) for k in range(0, len(i), _ROWS)]
        return np.concatenate(blocks)

    def _block(self, i: NDArray[np.intp], j: NDArray[np.intp], samples: int) -> FloatArray:
        sum_of_rings = np.zeros((i.size, j.size))
        for place, two_theta in self._sampled(i, j, samples):
            sum_of_rings += self.profile(two_theta) * self._efficiency(*place)
        p1, p2 = places_in_plane(self.geometry, i, j)
        y, x, z = self._laboratory(p1, p2)
        two_theta = np.arctan2(np.hypot(x, y), z)
        counts = sum_of_rings * (self.scale / samples**2)
        if self.rings.modulation is not None:
            counts *= self._modulation(two_theta, np.arctan2(y, x))
        counts += self.peak * self.background(two_theta) * self._efficiency(y, x, z)
        if self.stop is not None:
            counts *= self.stop.transmission(p1, p2)
        return counts

    def _sampled(
        self, i: NDArray[np.intp], j: NDArray[np.intp], samples: int
    ) -> Iterator[tuple[tuple[FloatArray, FloatArray, FloatArray], FloatArray]]:
        offsets = (np.arange(samples) + 0.5) / samples - 0.5
        for one in offsets:
            for two in offsets:
                y, x, z = self._laboratory(*places_in_plane(self.geometry, i + one, j + two))
                yield (y, x, z), np.arctan2(np.sqrt(x * x + y * y), z)

    def _laboratory(
        self, p1: FloatArray, p2: FloatArray
    ) -> tuple[FloatArray, FloatArray, FloatArray]:
        if self.displacement is not None:
            by1, by2 = self.displacement(p1, p2)
            p1, p2 = p1 + by1, p2 + by2
        return self.geometry.lab_fromplaces_in_plane(p1, p2)

    def _efficiency(self, y: FloatArray, x: FloatArray, z: FloatArray) -> FloatArray:
        """Solid angle and polarization."""
        r2 = x * x + y * y + z * z
        efficiency: FloatArray = polarization_from_position(y, x, z, POLARIZATION)
        efficiency *= self.geometry.dist**3 / (r2 * np.sqrt(r2))
        return efficiency

    def shape_of_ring(self, x: FloatArray) -> FloatArray:
        """The pseudo-Voigt, 1 at its top."""
        x2 = (x / self.fwhm) ** 2
        shape: FloatArray = self.lorentzian / (1.0 + 4.0 * x2)
        shape += (1.0 - self.lorentzian) * np.exp(-4.0 * np.log(2.0) * x2)
        return shape

    @cached_property
    def profile(self) -> Callable[[FloatArray], FloatArray]:
        """The sum of all rings over the scattering angle, tabulated."""
        step = self.fwhm / _STEPS
        largest = two_theta_at(self.geometry, *_border(self.geometry.shape)).max()
        angles = np.arange(0.0, largest + 3 * self.fwhm, step)
        table = np.zeros_like(angles)
        for centre, height in zip(self.rings.two_theta, self.rings.height, strict=True):
            table += height * self.shape_of_ring(angles - centre)
        slopes = np.append(np.diff(table), 0.0)

        def at(two_theta: FloatArray) -> FloatArray:
            place = two_theta * (1.0 / step)
            index = place.astype(np.int32)
            place -= index
            value: FloatArray = slopes.take(index, mode="clip")
            value *= place
            value += table.take(index, mode="clip")
            return value

        return at

    @cached_property
    def scale(self) -> float:
        """Counts for a height of 1, so that the brightest ring has its peak."""
        tops = [0.0]
        for two_theta, height in zip(self.rings.two_theta, self.rings.height, strict=True):
            i, j = places_on_ring(self.geometry, two_theta)
            inside = on_detector(self.geometry.shape, i, j)
            if inside.any():
                place = self.geometry.lab_fromplaces_in_plane(
                    *places_in_plane(self.geometry, i[inside], j[inside])
                )
                tops.append(height * float(self._efficiency(*place).max()))
        return self.peak / max(tops) if max(tops) > 0 else 0.0

    def _modulation(self, two_theta: FloatArray, chi: FloatArray) -> FloatArray | float:
        """That of the nearest ring."""
        modulation = self.rings.modulation
        if modulation is None:
            return 1.0
        between = 0.5 * (self.rings.two_theta[1:] + self.rings.two_theta[:-1])
        ring = np.searchsorted(between, two_theta)
        n = modulation.shape[1]
        place = (chi + np.pi) * (n / (2.0 * np.pi))
        index = place.astype(np.intp)
        place -= index
        here, there = modulation[ring, index % n], modulation[ring, (index + 1) % n]
        value: FloatArray = here + place * (there - here)
        return value


def two_theta_at(geometry: ba.Geometry, i: ArrayLike, j: ArrayLike) -> FloatArray:
    """Scattering angles of fractional indices, in radians."""
    y, x, z = geometry.lab_fromplaces_in_plane(*places_in_plane(geometry, i, j))
    return np.arctan2(np.hypot(y, x), z)


def angle_of_pixel(geometry: ba.Geometry, i: ArrayLike, j: ArrayLike) -> FloatArray:
    """Length of the gradient of the scattering angle, in radians per pixel."""
    i, j = np.asarray(i, dtype=np.float64), np.asarray(j, dtype=np.float64)
    down = two_theta_at(geometry, i + 0.5, j) - two_theta_at(geometry, i - 0.5, j)
    right = two_theta_at(geometry, i, j + 0.5) - two_theta_at(geometry, i, j - 0.5)
    return np.hypot(down, right)


def places_on_ring(
    geometry: ba.Geometry, two_theta: float, azimuths: int = 360
) -> tuple[FloatArray, FloatArray]:
    """Fractional indices of places around a ring, NaN where it never meets the plane."""
    chi = np.linspace(-np.pi, np.pi, azimuths, endpoint=False)
    ray = np.stack(
        [
            np.sin(two_theta) * np.sin(chi),
            np.sin(two_theta) * np.cos(chi),
            np.full(azimuths, np.cos(two_theta)),
        ]
    )
    at_sample = replace(geometry, dist=0.0, poni1=0.0, poni2=0.0)
    y, x, z = (np.array(at_sample.lab_fromplaces_in_plane(*axis)) for axis in np.eye(3))
    ahead = z @ ray
    reach = geometry.dist / np.where(ahead > 1e-6, ahead, np.nan)
    i = (geometry.poni1 + reach * (y @ ray)) / geometry.detector.pixel1 - 0.5
    j = (geometry.poni2 + reach * (x @ ray)) / geometry.detector.pixel2 - 0.5
    return i, j


def on_detector(shape: tuple[int, int], i: FloatArray, j: FloatArray) -> NDArray[np.bool_]:
    """Whether fractional indices lie on the detector; NaN do not."""
    inside: NDArray[np.bool_] = (
        (i >= -0.5) & (i < shape[0] - 0.5) & (j >= -0.5) & (j < shape[1] - 0.5)
    )
    return inside


def places_in_plane(
    geometry: ba.Geometry, i: ArrayLike, j: ArrayLike
) -> tuple[FloatArray, FloatArray]:
    """Places in the plane of the detector of fractional indices, in metres."""
    detector = geometry.detector
    p1 = (np.asarray(i, dtype=np.float64) + 0.5) * detector.pixel1
    p2 = (np.asarray(j, dtype=np.float64) + 0.5) * detector.pixel2
    return p1, p2


def _border(shape: tuple[int, int]) -> tuple[FloatArray, FloatArray]:
    """A coarse grid over the detector, its border included."""
    i = np.linspace(-1.0, shape[0], 33)[:, np.newaxis]
    j = np.linspace(-1.0, shape[1], 33)[np.newaxis, :]
    return i, j
