"""Beam centre and distance: what Nika, NIST and most SAXS programs call a calibration.

The programs differ in the number that the centre of the first pixel has:

=====  =====================================
0      Nika, ImageD11, and most that index from 0
0.5    Fit2D, Dioptas, PONI: its corner is 0
1      NIST's SANS reduction, XDS, and most that index from 1
=====  =====================================

A tilted or rotated detector is refused.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from bluesky_azint.conversions.pose import NATIVE, described, refuse_rotation
from bluesky_azint.detectors import Detector
from bluesky_azint.geometry import Geometry


@dataclass(frozen=True, kw_only=True)
class BeamCentre:
    """A detector perpendicular to the beam.

    Parameters
    ----------
    x, y
        Where the beam hits, on the fast and on the slow axis, in pixels.
    distance
        From the sample to the detector, in metres.
    first
        The number of the centre of the first pixel: 0, 0.5 or 1.
    """

    x: float
    y: float
    distance: float
    first: float = 0.0


def to_beam_centre(geometry: Geometry, first: float = 0.0) -> BeamCentre:
    """The beam centre, with the first pixel's centre at ``first``.

    Raises
    ------
    GeometryError
        If the detector is rotated.
    """
    refuse_rotation(geometry, "A beam centre")
    geometry = described(geometry, "A beam centre", NATIVE)
    return BeamCentre(
        x=geometry.poni2 / geometry.detector.pixel2 - 0.5 + first,
        y=geometry.poni1 / geometry.detector.pixel1 - 0.5 + first,
        distance=geometry.dist,
        first=first,
    )


def from_beam_centre(
    centre: BeamCentre, detector: Detector, wavelength: float | None = None
) -> Geometry:
    """The geometry of a detector perpendicular to the beam; the wavelength is in metres."""
    return Geometry(
        detector=replace(detector, orientation=NATIVE),
        dist=centre.distance,
        poni1=(centre.y + 0.5 - centre.first) * detector.pixel1,
        poni2=(centre.x + 0.5 - centre.first) * detector.pixel2,
        wavelength=wavelength,
    )
