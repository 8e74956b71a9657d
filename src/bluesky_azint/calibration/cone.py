r"""Cones around the beam: the geometry of a detector in numbers that do not hide each other.

PONI and rotations are nearly degenerate (at 15 degrees their correlation is 0.9999), and undefined
for small tilts in centre-and-tilt-direction form. Here a detector stands by where the beam meets
its plane, :math:`(c_1, c_2)`, the distance :math:`D` from the sample to there, and the slope
:math:`(t_1, t_2)` of the beam against the normal; the beam runs along :math:`b = (t_1, t_2, 1) /
\sqrt{1 + t_1^2 + t_2^2}`. For a place :math:`p` relative to the centre

.. math::
    u = b \cdot p, \qquad \rho^2 = |p|^2 - u^2, \qquad 2\theta = \mathrm{atan2}(\rho, D + u)

All five numbers are well determined together, and nothing happens at zero tilt. In PONI terms

.. math::
    L = D b_3, \quad poni = c - D (b_1, b_2), \quad rot_2 = \arcsin b_1, \quad
    rot_1 = \mathrm{atan2}(-b_2, b_3)

Functions take parameters ``(..., 5)`` in the order (c1, c2, D, t1, t2) and places ``(3, n)`` as
(y, x, z), in metres, and broadcast: many geometries are tried at once.
"""

from __future__ import annotations

from dataclasses import astuple, dataclass

import numpy as np
from numpy.typing import NDArray

from bluesky_azint.calibration.surface import Surface
from bluesky_azint.geometry import Geometry

FloatArray = NDArray[np.float64]
PARAMETERS = ("centre1", "centre2", "distance", "tilt1", "tilt2")
PONI_PARAMETERS = ("dist", "poni1", "poni2", "rot1", "rot2")
_STEPS = np.array([1e-7, 1e-7, 1e-7, 1e-7, 1e-7])  # metres, and slopes


@dataclass(frozen=True)
class Cone:
    """How a detector stands to the beam.

    Parameters
    ----------
    centre1, centre2
        Where the beam meets the plane of the detector, along the slow and the fast axis, in metres.
    distance
        From the sample to there, along the beam, in metres.
    tilt1, tilt2
        Slope of the beam against the normal of the detector along both axes.
    """

    centre1: float
    centre2: float
    distance: float
    tilt1: float = 0.0
    tilt2: float = 0.0

    @property
    def parameters(self) -> FloatArray:
        """The five numbers, in the order of `PARAMETERS`."""
        return np.array(astuple(self))

    @property
    def tilt(self) -> float:
        """Angle between the beam and the normal of the detector, in radians."""
        return float(np.arctan(np.hypot(self.tilt1, self.tilt2)))

    def two_theta(self, places: FloatArray) -> FloatArray:
        """Scattering angles of places ``(3, n)``, in radians."""
        return two_theta(self.parameters, places)

    def chi(self, places: FloatArray) -> FloatArray:
        """Azimuths of places ``(3, n)``, in radians, as `Geometry.chi` has them for rot3 = 0."""
        y, x, z = places
        beam = _beam(self.parameters)
        y, x = y - self.centre1, x - self.centre2
        rot1, rot2 = _rotations(beam)
        c1, s1, c2, s2 = np.cos(rot1), np.sin(rot1), np.cos(rot2), np.sin(rot2)
        azimuth: FloatArray = np.arctan2(y * c2 + (x * s1 - z * c1) * s2, x * c1 + z * s1)
        return azimuth

    def geometry(self, surface: Surface, wavelength: float, rot3: float = 0.0) -> Geometry:
        """This stand in PONI terms, the wavelength in metres."""
        dist, poni1, poni2, rot1, rot2 = to_poni(self.parameters)
        return surface.stand(
            dist=dist, poni1=poni1, poni2=poni2, rot1=rot1, rot2=rot2, rot3=rot3,
            wavelength=wavelength,
        )  # fmt: skip

    @classmethod
    def of(cls, geometry: Geometry) -> Cone:
        """The stand of a geometry."""
        return cls(*map(float, from_poni(geometry)))


def two_theta(parameters: FloatArray, places: FloatArray) -> FloatArray:
    """Scattering angles in radians, ``(..., n)``."""
    _, _, along, across, _ = _coordinates(parameters, places)
    return np.arctan2(across, along)


def two_theta_and_jacobian(
    parameters: FloatArray, places: FloatArray
) -> tuple[FloatArray, FloatArray]:
    """Scattering angles, ``(..., n)``, and their derivatives by the parameters, ``(..., n, 5)``."""
    y, x, along, across, u = _coordinates(parameters, places)
    beam = _beam(parameters)
    b1, b2 = beam[..., 0, np.newaxis], beam[..., 1, np.newaxis]
    cosine = beam[..., 2, np.newaxis]  # 1 / |t|
    over = 1.0 / (along**2 + across**2)
    steep = 1.0 / np.maximum(across, 1e-12)  # on the beam itself no direction is outwards
    jacobian = np.empty((*along.shape, 5))
    jacobian[..., 2] = -across * over
    for axis, p, b in ((0, y, b1), (1, x, b2)):
        # p -> p - dc: u falls by b, |p|^2 / 2 by p.
        jacobian[..., axis] = (along * (u * b - p) * steep + across * b) * over
        slope = (p - u * b) * cosine
        jacobian[..., 3 + axis] = -(along * u * steep + across) * slope * over
    return np.arctan2(across, along), jacobian


def to_poni(parameters: FloatArray) -> FloatArray:
    """(dist, poni1, poni2, rot1, rot2) of parameters, ``(..., 5)``."""
    beam = _beam(parameters)
    distance = parameters[..., 2]
    rot1, rot2 = _rotations(beam)
    return np.stack(
        [
            distance * beam[..., 2],
            parameters[..., 0] - distance * beam[..., 0],
            parameters[..., 1] - distance * beam[..., 1],
            rot1,
            rot2,
        ],
        axis=-1,
    )


def to_poni_jacobian(parameters: FloatArray) -> FloatArray:
    """Derivatives of (dist, poni1, poni2, rot1, rot2) by the parameters, ``(5, 5)``."""
    steps = np.diag(_STEPS)
    moved = to_poni(parameters + steps) - to_poni(parameters - steps)
    jacobian: FloatArray = (moved / (2 * _STEPS)[:, np.newaxis]).T
    return jacobian


def from_poni(geometry: Geometry) -> FloatArray:
    """The parameters of a geometry."""
    c1, s1 = np.cos(geometry.rot1), np.sin(geometry.rot1)
    c2, s2 = np.cos(geometry.rot2), np.sin(geometry.rot2)
    beam = np.array([s2, -c2 * s1, c1 * c2])
    distance = geometry.dist / beam[2]
    return np.array(
        [
            geometry.poni1 + distance * beam[0],
            geometry.poni2 + distance * beam[1],
            distance,
            beam[0] / beam[2],
            beam[1] / beam[2],
        ]
    )


def _beam(parameters: FloatArray) -> FloatArray:
    """Unit vectors along the beam, ``(..., 3)``."""
    slope = np.concatenate([parameters[..., 3:5], np.ones_like(parameters[..., :1])], axis=-1)
    unit: FloatArray = slope / np.linalg.norm(slope, axis=-1, keepdims=True)
    return unit


def _rotations(beam: FloatArray) -> tuple[FloatArray, FloatArray]:
    return np.arctan2(-beam[..., 1], beam[..., 2]), np.arcsin(beam[..., 0])


def _coordinates(parameters: FloatArray, places: FloatArray) -> tuple[FloatArray, ...]:
    """(y, x) from the centre, the parts along and across the beam, and u, each ``(..., n)``."""
    beam = _beam(parameters)
    y = places[0] - parameters[..., 0, np.newaxis]
    x = places[1] - parameters[..., 1, np.newaxis]
    z = places[2]
    u = beam[..., 0, np.newaxis] * y + beam[..., 1, np.newaxis] * x + beam[..., 2, np.newaxis] * z
    across = np.sqrt(np.maximum(y * y + x * x + z * z - u * u, 0.0))
    return y, x, parameters[..., 2, np.newaxis] + u, across, u
