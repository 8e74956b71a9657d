r"""The sample's own spaces: grazing incidence and fibres.

A sample is a film that the beam grazes, or a fibre that it crosses. In the laboratory :math:`x` is
horizontal, :math:`y` vertical and :math:`z` along the beam; `Sample.sample_orientation` says which
way the sample stands in it, the incident angle :math:`\eta` how steeply the beam meets it, and the
tilt angle :math:`\tau` how far it is rolled about the beam. A vector is brought into the frame of
the sample by

.. math::
    u = y\cos\eta - z\sin\eta, \qquad
    (x, y, z) \to (x\cos\tau + u\sin\tau,\; u\cos\tau - x\sin\tau,\; y\sin\eta + z\cos\eta)

so that :math:`y` is the normal of the film, or the axis of the fibre. Two vectors are looked at:
the direction :math:`k = (x, y, z)/R` in which a ray leaves, and the scattering vector
:math:`q = (2\pi/\lambda)(k - k_0)` with the beam :math:`k_0 = (0, 0, 1)`.

The specular reflection leaves the film at the angle it came in: at :math:`2\eta` from the beam, at
:math:`\eta` from the film, and :math:`q_{oop} = (4\pi/\lambda)\sin\eta` is all there is of
:math:`q`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from bluesky_azint.errors import RecipeError

FloatArray = NDArray[np.float64]


class Vector(NamedTuple):
    """Horizontal, vertical and along the beam, in the laboratory or in the sample."""

    x: FloatArray
    y: FloatArray
    z: FloatArray


@dataclass(frozen=True)
class Sample:
    """How the sample stands in the beam: what the equations of this module have in common.

    Parameters
    ----------
    incident_angle
        Angle between the beam and the film, in radians: the film leans towards the beam.
    tilt_angle
        Roll of the sample about the beam, in radians.
    sample_orientation
        How the sample stands in the laboratory, numbered as the orientations of images in EXIF:
        1 upright, 3 upside down, 6 and 8 on either side, 2, 4, 5 and 7 mirrored.

    Raises
    ------
    RecipeError
        If an angle is not finite, or there is no such orientation.
    """

    incident_angle: float = 0.0
    tilt_angle: float = 0.0
    sample_orientation: int = 1

    def __post_init__(self) -> None:
        for name in ("incident_angle", "tilt_angle"):
            value = float(getattr(self, name))
            if not np.isfinite(value):
                raise RecipeError(f"{name} is {value}; it must be a finite angle in radians.")
            object.__setattr__(self, name, value)
        if self.sample_orientation not in range(1, 9):
            raise RecipeError(
                f"sample_orientation is {self.sample_orientation!r}; it must be one of 1 to 8."
            )
        object.__setattr__(self, "sample_orientation", int(self.sample_orientation))

    def upright(self, x: FloatArray, y: FloatArray, z: FloatArray) -> Vector:
        """A place of the laboratory, seen with the sample upright.

        1 (x, y), 2 (-x, y), 3 (-x, -y), 4 (x, -y), 5 (-y, -x), 6 (-y, x), 7 (y, x), 8 (y, -x).
        """
        if self.sample_orientation >= 5:
            x, y = y, x
        return Vector(
            -x if self.sample_orientation in (2, 3, 5, 6) else x,
            -y if self.sample_orientation in (3, 4, 5, 8) else y,
            z,
        )

    def turned(self, vector: Vector) -> Vector:
        r"""A vector of the laboratory in the frame of the sample.

        :math:`u = y\cos\eta - z\sin\eta`, then
        :math:`(x\cos\tau + u\sin\tau,\; u\cos\tau - x\sin\tau,\; y\sin\eta + z\cos\eta)`.
        """
        cos_i, sin_i = np.cos(self.incident_angle), np.sin(self.incident_angle)
        cos_t, sin_t = np.cos(self.tilt_angle), np.sin(self.tilt_angle)
        x, y, z = vector
        u = y * cos_i - z * sin_i
        return Vector(x * cos_t + u * sin_t, u * cos_t - x * sin_t, y * sin_i + z * cos_i)

    def scattering(self, x: FloatArray, y: FloatArray, z: FloatArray, wavelength: float) -> Vector:
        r"""Scattering vector in the frame of the sample, in 1/nm.

        .. math::
            q = \frac{2\pi}{\lambda} \left(\frac xR, \frac yR, \frac zR - 1\right), \qquad
            \frac zR - 1 = -\frac{r^2}{R(R + z)}

        turned; the second form loses no digits at small angles.
        """
        x, y, z = self.upright(x, y, z)
        r2 = x * x + y * y
        total = np.sqrt(r2 + z * z)
        k = 2e-9 * np.pi / wavelength
        with np.errstate(invalid="ignore", divide="ignore"):
            # R + z vanishes straight backwards alone.
            along = np.where(total + z > 0, -r2 / (total * (total + z)), -2.0)
            return self.turned(Vector(k * x / total, k * y / total, k * along))


class ScatteringAngleVertical(Sample):
    """Angle of a ray above the horizontal plane of the beam, in radians."""

    def __call__(
        self, x: FloatArray, y: FloatArray, z: FloatArray, wavelength: float
    ) -> FloatArray:
        r""":math:`\mathrm{atan2}(y, \sqrt{x^2 + z^2})`."""
        return _elevation(self.upright(x, y, z))


class ScatteringAngleHorizontal(Sample):
    """Angle of a ray beside the vertical plane of the beam, in radians."""

    def __call__(
        self, x: FloatArray, y: FloatArray, z: FloatArray, wavelength: float
    ) -> FloatArray:
        r""":math:`\mathrm{atan2}(x, z)`."""
        return _bearing(self.upright(x, y, z))


class ExitAngleVertical(Sample):
    """Angle of a ray above the film, in radians."""

    def __call__(
        self, x: FloatArray, y: FloatArray, z: FloatArray, wavelength: float
    ) -> FloatArray:
        r""":math:`\mathrm{atan2}(k_y, \sqrt{k_x^2 + k_z^2})` in the frame of the sample."""
        return _elevation(self.turned(self.upright(x, y, z)))


class ExitAngleHorizontal(Sample):
    """Angle of a ray beside the plane of incidence, in radians."""

    def __call__(
        self, x: FloatArray, y: FloatArray, z: FloatArray, wavelength: float
    ) -> FloatArray:
        r""":math:`\mathrm{atan2}(k_x, k_z)` in the frame of the sample."""
        return _bearing(self.turned(self.upright(x, y, z)))


class QHorizontal(Sample):
    """Component of the scattering vector in the film, across the beam, in 1/nm."""

    def __call__(
        self, x: FloatArray, y: FloatArray, z: FloatArray, wavelength: float
    ) -> FloatArray:
        """:math:`q_x` in the frame of the sample."""
        return self.scattering(x, y, z, wavelength).x


class QOutOfPlane(Sample):
    """Component of the scattering vector along the normal of the film, in 1/nm."""

    def __call__(
        self, x: FloatArray, y: FloatArray, z: FloatArray, wavelength: float
    ) -> FloatArray:
        """:math:`q_{oop} = q_y` in the frame of the sample."""
        return self.scattering(x, y, z, wavelength).y


class QAlongBeam(Sample):
    """Component of the scattering vector in the film, along the beam, in 1/nm."""

    def __call__(
        self, x: FloatArray, y: FloatArray, z: FloatArray, wavelength: float
    ) -> FloatArray:
        """:math:`q_z` in the frame of the sample."""
        return self.scattering(x, y, z, wavelength).z


class QInPlane(Sample):
    """Component of the scattering vector in the film, in 1/nm, with the sign of its :math:`x`."""

    def __call__(
        self, x: FloatArray, y: FloatArray, z: FloatArray, wavelength: float
    ) -> FloatArray:
        r""":math:`q_{ip} = \pm\sqrt{q_x^2 + q_z^2}`, with the sign of :math:`q_x`."""
        return _in_plane(self.scattering(x, y, z, wavelength))


class QTotal(Sample):
    """Length of the scattering vector, in 1/nm."""

    def __call__(
        self, x: FloatArray, y: FloatArray, z: FloatArray, wavelength: float
    ) -> FloatArray:
        r""":math:`|q| = \sqrt{q_x^2 + q_y^2 + q_z^2}`, however the sample stands."""
        q = self.scattering(x, y, z, wavelength)
        return np.sqrt(q.x**2 + q.y**2 + q.z**2)


class PolarAngle(Sample):
    """Angle of the scattering vector from the normal of the film, in radians."""

    def __call__(
        self, x: FloatArray, y: FloatArray, z: FloatArray, wavelength: float
    ) -> FloatArray:
        r""":math:`\chi = \mathrm{atan2}(q_{ip}, q_{oop})`."""
        q = self.scattering(x, y, z, wavelength)
        return np.arctan2(_in_plane(q), q.y)


def _elevation(direction: Vector) -> FloatArray:
    return np.arctan2(direction.y, np.hypot(direction.x, direction.z))


def _bearing(direction: Vector) -> FloatArray:
    return np.arctan2(direction.x, direction.z)


def _in_plane(q: Vector) -> FloatArray:
    return np.where(q.x > 0, 1.0, -1.0) * np.hypot(q.x, q.z)
