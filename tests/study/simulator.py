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
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

import bluesky_azint as ba
from bluesky_azint.corrections import polarization_from_position
from tests.study.places import border, on_detector, places_in_plane, places_on_ring, two_theta_at
from tests.study.sample import Background, Displacement, Rings, Stop

FloatArray = NDArray[np.float64]
POLARIZATION = 0.95
SAMPLES = 3  # places in a pixel, along both axes
_ROWS = 32  # at a time, so that all stays in cache
_STEPS = 64.0  # of the table per width of a ring


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
        return self.geometry.lab_from_plane(p1, p2)

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
        largest = two_theta_at(self.geometry, *border(self.geometry.shape)).max()
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
                place = self.geometry.lab_from_plane(
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
