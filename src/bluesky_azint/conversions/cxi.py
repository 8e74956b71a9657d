r"""CXI: the corner of the detector, and the directions of its two axes.

As pyFAI writes and reads it: x is the fast axis and y the slow one; ``orientation`` holds the six
numbers :math:`x'\cdot x,\ x'\cdot y,\ x'\cdot z,\ y'\cdot x,\ y'\cdot y,\ y'\cdot z`, where the prime is
the detector's axis, and ``translation`` is (-poni2, -poni1, dist): the corner seen in the axes of the
*detector*, which is that in the laboratory only without rotations (the CXI reference leaves this
open). Nothing of a geometry is lost but the orientation of the detector.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from bluesky_azint.conversions.pose import (
    NATIVE,
    described,
    rotation_matrix,
    rotations_from_matrix,
)
from bluesky_azint.detectors import Detector
from bluesky_azint.errors import FormatError
from bluesky_azint.geometry import Geometry

Six = tuple[float, float, float, float, float, float]


@dataclass(frozen=True, kw_only=True)
class CXIGeometry:
    """A detector of a CXI file, in metres.

    Parameters
    ----------
    translation
        Place of the corner of the first pixel, (x, y, z).
    orientation
        Directions of the fast and of the slow axis.
    x_pixel_size, y_pixel_size
        Size of a pixel along the fast and the slow axis.
    wavelength
        In metres, or None.
    """

    translation: tuple[float, float, float]
    orientation: Six = (1.0, 0.0, 0.0, 0.0, 1.0, 0.0)
    x_pixel_size: float
    y_pixel_size: float
    wavelength: float | None = None


def to_cxi(geometry: Geometry) -> CXIGeometry:
    """The calibration in CXI's terms."""
    geometry = described(geometry, "CXI", NATIVE)
    (yy, xy, _), (yx, xx, _), (yz, xz, _) = rotation_matrix(geometry).tolist()
    return CXIGeometry(
        translation=(-geometry.poni2, -geometry.poni1, geometry.dist),
        orientation=(xx, xy, xz, yx, yy, yz),
        x_pixel_size=geometry.detector.pixel2,
        y_pixel_size=geometry.detector.pixel1,
        wavelength=geometry.wavelength,
    )


def from_cxi(values: CXIGeometry, detector: Detector | None = None) -> Geometry:
    """The geometry of a detector of a CXI file.

    Parameters
    ----------
    detector
        The detector, for its shape and mask; its pixels get the size that the file has.

    Raises
    ------
    FormatError
        If the two axes are not perpendicular unit vectors.
    """
    xx, xy, xz, yx, yy, yz = values.orientation
    slow, fast = np.array([yy, yx, yz]), np.array([xy, xx, xz])
    products = np.array([slow @ slow, fast @ fast, slow @ fast])
    if not np.allclose(products, [1.0, 1.0, 0.0], atol=1e-6):
        raise FormatError(
            f"The orientation {values.orientation} of the detector does not hold two perpendicular "
            "unit vectors; it must be the six numbers x'.x, x'.y, x'.z, y'.x, y'.y, y'.z."
        )
    matrix = np.stack([slow, fast, np.cross(slow, fast)], axis=1)
    rot1, rot2, rot3 = rotations_from_matrix(matrix)
    x, y, z = values.translation
    pixel1, pixel2 = values.y_pixel_size, values.x_pixel_size
    if detector is None:
        detector = Detector(pixel1, pixel2)
    return Geometry(
        detector=replace(detector, pixel1=pixel1, pixel2=pixel2, orientation=NATIVE),
        dist=z,
        poni1=-y,
        poni2=-x,
        rot1=rot1,
        rot2=rot2,
        rot3=rot3,
        wavelength=values.wavelength,
    )
