r"""ImageD11: beam centre, distance along the beam, three tilts, and a matrix of flips.

ImageD11's x axis runs along the beam, y to the left and z upwards, and its three tilts are the
rotations here under other names, ``tilt_x`` = rot3, ``tilt_y`` = rot2, ``tilt_z`` = -rot1; nothing is
lost. The centre of the first pixel is at (0, 0), half a pixel from Fit2D's. The flips stand for the
orientation:

============  ====  ====
orientation   o11   o22
============  ====  ====
1             -1     1
2             -1    -1
3              1    -1
4              1     1
============  ====  ====

Along a mirrored axis ImageD11 counts the centre from the other side, so that these orientations
need the shape of the detector.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from bluesky_azint.conversions.pose import (
    BeamSpot,
    beam_spot,
    described,
    geometry_from_beam_spot,
    rotation_matrix,
)
from bluesky_azint.detectors import Detector
from bluesky_azint.errors import FormatError
from bluesky_azint.geometry import Geometry

FLIPS = {1: (-1, 1), 2: (-1, -1), 3: (1, -1), 4: (1, 1)}
"""``o11`` and ``o22`` of each orientation."""


@dataclass(frozen=True, kw_only=True)
class ImageD11Geometry:
    """The detector's part of the parameters of ImageD11.

    Parameters
    ----------
    distance
        From the sample to the detector along the beam, in micrometres.
    tilt_x, tilt_y, tilt_z
        Rotations about the beam, the horizontal and the vertical, in radians.
    y_center, z_center
        Place of the beam along the fast and the slow axis, in pixels.
    y_size, z_size
        Size of a pixel along the fast and the slow axis, in micrometres.
    o11, o12, o21, o22
        The flips.
    wavelength
        In angstrom, or None.
    """

    distance: float
    tilt_x: float = 0.0
    tilt_y: float = 0.0
    tilt_z: float = 0.0
    y_center: float
    z_center: float
    y_size: float
    z_size: float
    o11: int = 1
    o12: int = 0
    o21: int = 0
    o22: int = -1
    wavelength: float | None = None


def to_imaged11(geometry: Geometry) -> ImageD11Geometry:
    """The calibration in ImageD11's terms.

    Raises
    ------
    GeometryError
        If the beam never hits the plane of the detector, or an orientation needs a shape.
    """
    detector = geometry.detector
    geometry = described(geometry, "ImageD11", detector.orientation)
    spot = beam_spot(geometry)
    o11, o22 = FLIPS[detector.orientation]
    return ImageD11Geometry(
        distance=spot.distance * 1e6,
        tilt_x=geometry.rot3,
        tilt_y=geometry.rot2,
        tilt_z=-geometry.rot1,
        y_center=_mirrored(spot.p2 / detector.pixel2 - 0.5, geometry, 1),
        z_center=_mirrored(spot.p1 / detector.pixel1 - 0.5, geometry, 0),
        y_size=detector.pixel2 * 1e6,
        z_size=detector.pixel1 * 1e6,
        o11=o11,
        o22=o22,
        wavelength=None if geometry.wavelength is None else geometry.wavelength * 1e10,
    )


def from_imaged11(values: ImageD11Geometry, detector: Detector | None = None) -> Geometry:
    """The geometry of ImageD11's parameters.

    Parameters
    ----------
    detector
        The detector, for its shape and mask; its pixels and orientation are those of ImageD11.

    Raises
    ------
    FormatError
        If the axes of the image are swapped, which no orientation of a detector here does.
    GeometryError
        If the flips need the shape of the detector and there is none.
    """
    flips = {flips: orientation for orientation, flips in FLIPS.items()}
    if values.o12 or values.o21 or (values.o11, values.o22) not in flips:
        raise FormatError(
            f"The flips of ImageD11 are ({values.o11}, {values.o12}, {values.o21}, {values.o22}): "
            "they swap the two axes of the image, which no orientation here does. Transpose the "
            "images and calibrate again."
        )
    pixel1, pixel2 = values.z_size * 1e-6, values.y_size * 1e-6
    if detector is None:
        detector = Detector(pixel1, pixel2)
    detector = replace(
        detector, pixel1=pixel1, pixel2=pixel2, orientation=flips[values.o11, values.o22]
    )
    turned = Geometry(
        detector=detector, rot1=-values.tilt_z, rot2=values.tilt_y, rot3=values.tilt_x
    )
    spot = BeamSpot(
        values.distance * 1e-6,
        (_mirrored(values.z_center, turned, 0) + 0.5) * pixel1,
        (_mirrored(values.y_center, turned, 1) + 0.5) * pixel2,
    )
    wavelength = None if values.wavelength is None else values.wavelength * 1e-10
    placed = geometry_from_beam_spot(spot, rotation_matrix(turned), detector, wavelength)
    # The angles themselves, not those found again in the matrix: every digit is kept.
    return replace(placed, rot1=turned.rot1, rot2=turned.rot2, rot3=turned.rot3)


def _mirrored(centre: float, geometry: Geometry, axis: int) -> float:
    """A centre, counted from the other side if the orientation mirrors that axis."""
    mirrors = ((1, 2), (1, 4))[axis]
    if geometry.detector.orientation not in mirrors:
        return centre
    return geometry.shape[axis] - 1 - centre
