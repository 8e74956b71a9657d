"""The lines of a calibrant as a detector sees them: where, how far from each other, how wide."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from bluesky_azint.calibrants import Calibrant
from bluesky_azint.calibration.cone import Cone, two_theta_and_jacobian
from bluesky_azint.calibration.surface import FloatArray, Surface

_NEGLIGIBLE = 0.02  # of the intensity of a line: a neighbour so weak does not move it
_ALIKE = 1.6  # a width this many times another one
_ROOM = 0.9  # of the usual distance to the next line: what has it, has room around it
_GRID = 200  # places along each axis that tell which lines are on the detector


@dataclass(frozen=True, eq=False, kw_only=True)
class Lines:
    """Lines on a detector: arrays of equal length, angles in radians.

    Parameters
    ----------
    ring
        Index in the calibrant.
    two_theta
        Where they are.
    reach
        How far the middle to the next line is.
    scale
        The usual step of the angle over a pixel.
    expected
        Relative height by the structure of the calibrant, without thermal motion.
    radius
        Usual distance from the beam, in pixels.
    fwhm, lorentzian
        Width, and share of the Lorentzian in the shape.
    arc
        Length of a sector, in pixels.
    """

    ring: NDArray[np.intp]
    two_theta: FloatArray
    reach: FloatArray
    expected: FloatArray
    scale: FloatArray
    radius: FloatArray
    fwhm: FloatArray
    lorentzian: FloatArray
    arc: FloatArray

    def __len__(self) -> int:
        return len(self.ring)

    def __getitem__(self, chosen: NDArray[np.bool_]) -> Lines:
        return Lines(**{name: value[chosen] for name, value in vars(self).items()})

    @property
    def sectors(self) -> NDArray[np.intp]:
        """Number of sectors in a full turn."""
        turns = np.ceil(2 * np.pi * self.radius / self.arc).astype(np.intp)
        return np.maximum(turns, 8)

    def alike(self) -> Lines:
        """The same lines, none of them much wider or narrower than those with room around them.

        A line among others can be mistaken for a narrow one, or for a wide one with them.
        """
        if len(self) == 0:
            return self
        free = self.reach / self.scale >= _ROOM * np.median(self.reach / self.scale)
        usual = np.median((self.fwhm / self.scale)[free]) * self.scale
        return replace(self, fwhm=np.clip(self.fwhm, usual / _ALIKE, usual * _ALIKE))

    def apart(self, half_width: FloatArray) -> NDArray[np.bool_]:
        """Lines whose windows no higher line's window overlaps."""
        apart = np.ones(len(self), dtype=bool)
        for one in np.argsort(-self.expected):
            if apart[one]:
                overlap = (
                    np.abs(self.two_theta - self.two_theta[one]) < half_width + half_width[one]
                )
                apart &= ~overlap | (self.expected > self.expected[one])
                apart[one] = True
        return apart


def lines_on(surface: Surface, cone: Cone, calibrant: Calibrant, wavelength: float) -> Lines:
    """The lines that hit a detector, whatever their width."""
    angles = calibrant.two_theta(wavelength)
    strength = np.array([ring.intensity for ring in calibrant.rings[: len(angles)]])
    rows, columns = (np.linspace(0, n - 1, min(n, _GRID)) for n in surface.shape)
    places = surface.at(*(grid.ravel() for grid in np.meshgrid(rows, columns, indexing="ij")))
    two_theta, jacobian = two_theta_and_jacobian(cone.parameters, places)
    order = np.argsort(two_theta)
    two_theta = two_theta[order]
    scale = surface.pixel * np.hypot(jacobian[order, 0], jacobian[order, 1])
    radius = _across(cone, places)[order] / surface.pixel
    on = (angles > two_theta[0]) & (angles < two_theta[-1])
    place = np.searchsorted(two_theta, angles)
    near = [slice(max(one - 50, 0), one + 50) for one in place]
    found = np.flatnonzero(on)
    return Lines(
        ring=found,
        two_theta=angles[found],
        reach=_reach(angles, strength)[found],
        expected=(strength / (np.sin(0.5 * angles) ** 2 * np.cos(0.5 * angles)))[found],
        scale=np.array([np.median(scale[near[one]]) for one in found]),
        radius=np.array([np.median(radius[near[one]]) for one in found]),
        fwhm=np.full(len(found), np.nan),
        lorentzian=np.full(len(found), 0.3),
        arc=np.full(len(found), 30.0),
    )


def joined(one: Lines, other: Lines) -> Lines:
    """All lines of both."""
    both = {name: np.concatenate([value, vars(other)[name]]) for name, value in vars(one).items()}
    return Lines(**both)


def _across(cone: Cone, places: FloatArray) -> FloatArray:
    """Distances of places from the beam, in metres."""
    beam = np.array([cone.tilt1, cone.tilt2, 1.0])
    beam /= np.linalg.norm(beam)
    from_centre = places - np.array([[cone.centre1], [cone.centre2], [0.0]])
    across: FloatArray = np.linalg.norm(from_centre - np.outer(beam, beam @ from_centre), axis=0)
    return across


def _reach(angles: FloatArray, strength: FloatArray) -> FloatArray:
    """Half the distance to the next line that is not negligible beside the line itself."""
    distance = np.abs(angles - angles[:, np.newaxis])
    distance[strength < _NEGLIGIBLE * strength[:, np.newaxis]] = np.inf
    np.fill_diagonal(distance, np.inf)
    reach: FloatArray = 0.5 * distance.min(axis=1, initial=2 * np.pi)
    return reach


def shape(
    x: FloatArray, fwhm: FloatArray, lorentzian: FloatArray
) -> tuple[FloatArray, FloatArray, FloatArray, FloatArray]:
    """The pseudo-Voigt of height 1 at distances from its middle, and its derivatives.

    Returns
    -------
    The shape, and its derivatives by the place of its middle, by the logarithm of the width, and
    by the share of the Lorentzian.
    """
    over = 1.0 / fwhm
    t = x * over
    t2 = t * t
    gauss = np.exp((-4.0 * np.log(2.0)) * t2)
    lorentz = 1.0 / (1.0 + 4.0 * t2)
    value = gauss + lorentzian * (lorentz - gauss)
    # d/dt, without the factor -8 t.
    slope = np.log(2.0) * gauss * (1.0 - lorentzian) + lorentzian * lorentz * lorentz
    slope *= 8.0
    return value, slope * t * over, slope * t2, lorentz - gauss
