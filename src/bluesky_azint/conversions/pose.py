r"""The pose of a detector as a rotation matrix, which every other convention can be reached from.

The columns of the matrix :math:`R = R_3 R_2 R_1` are the directions, in the laboratory
:math:`(t_1, t_2, t_3)`, of the slow axis, of the fast axis and of the normal of the detector. Its
last row, :math:`(\sin\tau\sin\delta,\ \sin\tau\cos\delta,\ \cos\tau)`, holds the tilt :math:`\tau`
and the direction :math:`\delta` in the detector plane, from the fast towards the slow axis, that
points away from the sample. What is left is a rotation about the beam, the *spin* :math:`\psi`,

.. math:: R = R_3(\psi)\, T(\tau, \delta)

with :math:`T` the rotation by :math:`\tau` about the line in the detector plane that is
perpendicular to :math:`\delta`. Only the tilt and its direction decide on :math:`2\theta`.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from bluesky_azint.detectors import Detector
from bluesky_azint.errors import GeometryError
from bluesky_azint.geometry import Geometry

FloatArray = NDArray[np.float64]

KEV_ANGSTROM = 12.398419843320026
"""Photon energy in keV times wavelength in angstrom: h c / e, exact since the SI of 2019."""

NATIVE = 3
"""The orientation in which pixel (0, 0) is at the origin of both axes."""


class Tilt(NamedTuple):
    """A rotation as tilt, direction of the tilt, and spin about the beam, in radians."""

    tilt: float
    direction: float
    spin: float


class BeamSpot(NamedTuple):
    """Where the beam hits the detector plane: distance along the beam, and place, in metres."""

    distance: float
    p1: float
    p2: float


def rotation_matrix(geometry: Geometry) -> FloatArray:
    """The matrix of ``rot1``, ``rot2`` and ``rot3``, ``(3, 3)``."""
    c1, s1 = np.cos(geometry.rot1), np.sin(geometry.rot1)
    c2, s2 = np.cos(geometry.rot2), np.sin(geometry.rot2)
    upright: FloatArray = np.array(
        [[c2, s1 * s2, -c1 * s2], [0.0, c1, s1], [s2, -c2 * s1, c1 * c2]]
    )
    turned: FloatArray = spin_matrix(geometry.rot3) @ upright
    return turned


def spin_matrix(angle: float) -> FloatArray:
    """Rotation about the beam, as ``rot3`` does it; it lowers every azimuth by the angle."""
    c, s = np.cos(angle), np.sin(angle)
    return np.array([[c, -s, 0.0], [s, c, 0.0], [0.0, 0.0, 1.0]])


def rotations_from_matrix(matrix: FloatArray) -> tuple[float, float, float]:
    """``rot1``, ``rot2`` and ``rot3`` of a rotation matrix.

    Of a detector that is parallel to the beam (``rot2`` a right angle) only the sum or difference
    of ``rot1`` and ``rot3`` is determined; ``rot3`` is then zero.
    """
    cos2 = np.hypot(matrix[2, 1], matrix[2, 2])
    rot2 = np.arctan2(matrix[2, 0], cos2)
    if cos2 < 1e-12:
        return float(np.arctan2(matrix[1, 2], matrix[1, 1])), float(rot2), 0.0
    rot1 = np.arctan2(-matrix[2, 1], matrix[2, 2])
    rot3 = np.arctan2(matrix[1, 0], matrix[0, 0])
    return float(rot1), float(rot2), float(rot3)


def tilt_from_matrix(matrix: FloatArray) -> Tilt:
    """Tilt, direction and spin of a rotation matrix; the direction of no tilt is zero."""
    # Adding zero makes -0 a 0, of which the arc tangent is not pi.
    slow, fast, along = matrix[2] + 0.0
    tilt, direction = np.arctan2(np.hypot(slow, fast), along), np.arctan2(slow, fast)
    left = matrix @ matrix_from_tilt(Tilt(tilt, direction, 0.0)).T
    return Tilt(float(tilt), float(direction), float(np.arctan2(left[1, 0], left[0, 0])))


def matrix_from_tilt(values: Tilt) -> FloatArray:
    """The rotation matrix of a tilt, its direction and a spin."""
    tilt, direction, spin = values
    c, s = np.cos(tilt), np.sin(tilt)
    less = 2.0 * np.sin(0.5 * tilt) ** 2  # 1 - c, without losing digits
    slow, fast = np.sin(direction), np.cos(direction)
    swing: FloatArray = np.array(
        [
            [1.0 - less * slow**2, -less * slow * fast, -s * slow],
            [-less * slow * fast, 1.0 - less * fast**2, -s * fast],
            [s * slow, s * fast, c],
        ]
    )
    turned: FloatArray = spin_matrix(spin) @ swing
    return turned


def beam_spot(geometry: Geometry) -> BeamSpot:
    """Where the beam hits the plane of the detector.

    Raises
    ------
    GeometryError
        If it never does.
    """
    slow, fast, along = rotation_matrix(geometry)[2].tolist()
    if along <= 0.0:
        raise GeometryError(
            f"The detector is tilted by {np.rad2deg(np.arccos(along)):.1f} degrees, so that the "
            "beam never hits its plane: there is no beam centre. Only formats that place the "
            "detector itself (PONI, heXRD, CXI) can hold this geometry."
        )
    distance = geometry.dist / along
    return BeamSpot(distance, geometry.poni1 + distance * slow, geometry.poni2 + distance * fast)


def geometry_from_beam_spot(
    spot: BeamSpot, matrix: FloatArray, detector: Detector, wavelength: float | None
) -> Geometry:
    """The geometry of a detector that is hit by the beam at a place, turned by a matrix."""
    slow, fast, along = matrix[2].tolist()
    rot1, rot2, rot3 = rotations_from_matrix(matrix)
    return Geometry(
        detector=detector,
        dist=spot.distance * along,
        poni1=spot.p1 - spot.distance * slow,
        poni2=spot.p2 - spot.distance * fast,
        rot1=rot1,
        rot2=rot2,
        rot3=rot3,
        wavelength=wavelength,
    )


def described(geometry: Geometry, program: str, orientation: int) -> Geometry:
    """The geometry as another program can describe it: in an orientation, without parallax.

    Where the orientation is another than the detector's, the same pixels are described, so that
    2theta is kept and the laboratory mirrored: see `Geometry.with_orientation`.

    Raises
    ------
    GeometryError
        If the geometry corrects for parallax, or the detector has no shape to be mirrored by.
    """
    if geometry.parallax:
        raise GeometryError(
            f"{program} knows no correction for parallax, without which this geometry is another "
            "one. Convert dataclasses.replace(geometry, parallax=False) if that does not matter."
        )
    return geometry.with_orientation(orientation)


def wavelength_needed(geometry: Geometry, program: str) -> float:
    """The wavelength, in metres.

    Raises
    ------
    GeometryError
        If there is none.
    """
    if geometry.wavelength is None:
        raise GeometryError(
            f"The geometry has no wavelength, which a calibration of {program} needs; set it with "
            "dataclasses.replace(geometry, wavelength=...), in metres."
        )
    return geometry.wavelength


def refuse_rotation(geometry: Geometry, program: str) -> None:
    """Refuse a detector that is not perpendicular to the beam and upright.

    Raises
    ------
    GeometryError
        If any rotation is not zero.
    """
    turned = {name: getattr(geometry, name) for name in ("rot1", "rot2", "rot3")}
    if any(turned.values()):
        values = ", ".join(f"{name} = {value:g}" for name, value in turned.items())
        raise GeometryError(
            f"{program} cannot hold a rotated detector, and this one has {values} rad. Set the "
            "rotations to zero if they do not matter, or choose a format with a tilt."
        )
