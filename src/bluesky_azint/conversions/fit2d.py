r"""Fit2D: beam centre in pixels, distance along the beam, and a tilt with its direction.

.. math::
    L_{beam} = L / \cos\tau, \qquad
    x_c = (poni_2 - L \tan rot_1) / s_2, \qquad
    y_c = (poni_1 + L \tan rot_2 / \cos rot_1) / s_1

with :math:`\cos\tau = \cos rot_1 \cos rot_2`; the rotation of the tilt plane is the direction
:math:`\delta` of `bluesky_azint.conversions.pose` (Hammersley et al., High Pressure Res. 14 (1996)
235). The corner of the first pixel is at (0, 0) and its centre at (0.5, 0.5).

Fit2D has no rotation about the beam: :math:`2\theta` of every pixel is kept, and :math:`\chi` up to
one offset for all. Neither has it an orientation: the numbers are about the array of pixels, which
for an orientation other than 3 is the mirror image of the laboratory.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from bluesky_azint.conversions.pose import (
    NATIVE,
    BeamSpot,
    Tilt,
    beam_spot,
    described,
    geometry_from_beam_spot,
    matrix_from_tilt,
    rotation_matrix,
    tilt_from_matrix,
)
from bluesky_azint.detectors import Detector
from bluesky_azint.geometry import Geometry


@dataclass(frozen=True, kw_only=True)
class Fit2DGeometry:
    """A calibration of Fit2D.

    Parameters
    ----------
    direct_distance
        From the sample to the detector along the beam, in millimetres.
    center_x, center_y
        Place of the beam on the fast and on the slow axis, in pixels.
    tilt
        In degrees.
    tilt_plane_rotation
        Direction of the tilt, in degrees from the fast towards the slow axis; the detector lies
        farther from the sample that way.
    pixel_x, pixel_y
        Size of a pixel along the fast and the slow axis, in micrometres.
    wavelength
        In angstrom, or None.
    """

    direct_distance: float
    center_x: float
    center_y: float
    tilt: float = 0.0
    tilt_plane_rotation: float = 0.0
    pixel_x: float
    pixel_y: float
    wavelength: float | None = None


def to_fit2d(geometry: Geometry) -> Fit2DGeometry:
    """The calibration in Fit2D's terms.

    Raises
    ------
    GeometryError
        If the beam never hits the plane of the detector.
    """
    geometry = described(geometry, "Fit2D", NATIVE)
    detector = geometry.detector
    spot = beam_spot(geometry)
    tilt = tilt_from_matrix(rotation_matrix(geometry))
    return Fit2DGeometry(
        direct_distance=spot.distance * 1e3,
        center_x=spot.p2 / detector.pixel2,
        center_y=spot.p1 / detector.pixel1,
        tilt=float(np.rad2deg(tilt.tilt)),
        tilt_plane_rotation=float(np.rad2deg(tilt.direction)),
        pixel_x=detector.pixel2 * 1e6,
        pixel_y=detector.pixel1 * 1e6,
        wavelength=None if geometry.wavelength is None else geometry.wavelength * 1e10,
    )


def from_fit2d(values: Fit2DGeometry, detector: Detector | None = None) -> Geometry:
    """The geometry of a calibration by Fit2D.

    Parameters
    ----------
    detector
        The detector, for its shape and mask; its pixels get the size that Fit2D has.
    """
    pixels = values.pixel_y * 1e-6, values.pixel_x * 1e-6
    if detector is None:
        detector = Detector(*pixels)
    else:
        detector = replace(detector, pixel1=pixels[0], pixel2=pixels[1], orientation=NATIVE)
    spot = BeamSpot(
        values.direct_distance * 1e-3, values.center_y * pixels[0], values.center_x * pixels[1]
    )
    tilt = Tilt(float(np.deg2rad(values.tilt)), float(np.deg2rad(values.tilt_plane_rotation)), 0.0)
    wavelength = None if values.wavelength is None else values.wavelength * 1e-10
    return geometry_from_beam_spot(spot, matrix_from_tilt(tilt), detector, wavelength)
