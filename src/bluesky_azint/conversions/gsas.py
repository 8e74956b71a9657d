r"""GSAS-II image controls: beam centre in millimetres, perpendicular distance, tilt and rotation.

In the notation of `bluesky_azint.conversions.pose`, with x along the fast axis and y along the slow
one: ``tilt`` is :math:`\tau`, ``rotation`` the direction of the *axis* of the tilt,
:math:`\delta - 90°`, and ``azmthOff``, which is added to every azimuth, :math:`-\psi`: nothing of a
geometry is lost. ``distance`` is that to the plane, as ``dist`` here. The corner of the first pixel is
at (0, 0).

This is how ``GetTthAzmG`` of ``GSASIIimage.py`` places a pixel; azimuths that GSAS-II shows for a
tilted detector elsewhere are taken in the plane of the detector and differ a little. The
penetration depth (``DetDepth``), the sag and the 2theta of the detector have no counterpart here.
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
    wavelength_needed,
)
from bluesky_azint.detectors import Detector
from bluesky_azint.geometry import Geometry


@dataclass(frozen=True, kw_only=True)
class GSASGeometry:
    """The geometry in the image controls of GSAS-II.

    Parameters
    ----------
    wavelength
        In angstrom.
    distance
        From the sample to the plane of the detector, in millimetres.
    center
        Place of the beam, x and y, in millimetres.
    tilt, rotation
        The tilt and the direction of its axis, in degrees.
    azimuth_offset
        What is added to every azimuth, in degrees.
    """

    wavelength: float
    distance: float
    center: tuple[float, float]
    tilt: float = 0.0
    rotation: float = 0.0
    azimuth_offset: float = 0.0


def to_gsas(geometry: Geometry) -> GSASGeometry:
    """The calibration in GSAS-II's terms.

    Raises
    ------
    GeometryError
        If the geometry has no wavelength, or the beam never hits the plane of the detector.
    """
    wavelength = wavelength_needed(geometry, "GSAS-II")
    geometry = described(geometry, "GSAS-II", NATIVE)
    spot = beam_spot(geometry)
    tilt = tilt_from_matrix(rotation_matrix(geometry))
    return GSASGeometry(
        wavelength=wavelength * 1e10,
        distance=geometry.dist * 1e3,
        center=(spot.p2 * 1e3, spot.p1 * 1e3),
        tilt=float(np.rad2deg(tilt.tilt)),
        rotation=float(np.rad2deg(tilt.direction)) - 90.0,
        azimuth_offset=float(-np.rad2deg(tilt.spin)),
    )


def from_gsas(values: GSASGeometry, detector: Detector) -> Geometry:
    """The geometry of image controls of GSAS-II, which do not tell the detector."""
    tilt = float(np.deg2rad(values.tilt))
    direction = float(np.deg2rad(values.rotation + 90.0))
    matrix = matrix_from_tilt(Tilt(tilt, direction, float(-np.deg2rad(values.azimuth_offset))))
    x, y = values.center
    spot = BeamSpot(values.distance * 1e-3 / float(np.cos(tilt)), y * 1e-3, x * 1e-3)
    return geometry_from_beam_spot(
        spot, matrix, replace(detector, orientation=NATIVE), values.wavelength * 1e-10
    )
