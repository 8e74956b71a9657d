r"""heXRD: each panel by the place of its middle, and a rotation vector.

heXRD's laboratory has X to the right, Y upwards and the beam along -Z (unless ``beam: vector`` turns
it). A panel's own frame has its origin in the middle, x along the columns and y *against* the rows:
row 0 is at the top. A point of it is at :math:`R(tilt)\,(x, y, 0) + translation`, with ``tilt`` the axis
of the rotation times its angle in radians, and lengths in millimetres.

Such a panel is a detector of orientation 2 here (pixel (0, 0) at the top), and :math:`\chi` is
heXRD's :math:`\eta`. A geometry of another orientation is described by the same pixels, so that
:math:`2\theta` is kept, with its laboratory mirrored (see
`Geometry.with_orientation`). Angles are seen from the
``translation`` of the oscillation stage, where heXRD has the sample.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from bluesky_azint.conversions.pose import (
    KEV_ANGSTROM,
    described,
    rotation_matrix,
    rotations_from_matrix,
    wavelength_needed,
)
from bluesky_azint.detectors import Detector
from bluesky_azint.errors import FormatError, GeometryError
from bluesky_azint.geometry import Geometry

FloatArray = NDArray[np.float64]
Vector = tuple[float, float, float]

TOP = 2
"""The orientation of a detector whose first row is at the top."""

# (t1, t2, t3) = (Y, X, -Z), its own inverse; it serves for the panel's axes too.
_AXES = np.array([[0.0, 1.0, 0.0], [1.0, 0.0, 0.0], [0.0, 0.0, -1.0]])


@dataclass(frozen=True, kw_only=True)
class HexrdBeam:
    """The beam of a heXRD instrument.

    Parameters
    ----------
    energy
        In keV.
    azimuth, polar_angle
        Of the direction that the beam comes from, in degrees; 90 and 90 is from +Z.
    """

    energy: float
    azimuth: float = 90.0
    polar_angle: float = 90.0

    def axes(self) -> FloatArray:
        r"""The beam's frame in the laboratory, as columns: X (:math:`\eta` = 0), Y and -beam.

        Raises
        ------
        FormatError
            If the beam runs along X, where :math:`\eta` would have no origin.
        """
        azimuth, polar = np.deg2rad([self.azimuth, self.polar_angle])
        z = np.array(
            [np.sin(polar) * np.cos(azimuth), np.cos(polar), np.sin(polar) * np.sin(azimuth)]
        )
        y = np.cross(z, [1.0, 0.0, 0.0])
        if np.linalg.norm(y) < 1e-8:
            raise FormatError(
                f"The beam of the instrument (azimuth {self.azimuth}, polar angle "
                f"{self.polar_angle}) runs along X, where azimuths have no origin."
            )
        y /= np.linalg.norm(y)
        return np.stack([np.cross(y, z), y, z], axis=1)


@dataclass(frozen=True, kw_only=True)
class HexrdPanel:
    """A planar panel of a heXRD instrument.

    Parameters
    ----------
    rows, columns
        Shape.
    size
        Height and width of a pixel, in millimetres.
    tilt
        Rotation vector, in radians.
    translation
        Place of the middle, in millimetres.
    """

    rows: int
    columns: int
    size: tuple[float, float]
    tilt: Vector
    translation: Vector


def to_hexrd(geometry: Geometry) -> tuple[HexrdBeam, HexrdPanel]:
    """The calibration in heXRD's terms, the beam along -Z and the sample at the origin.

    Raises
    ------
    GeometryError
        If the geometry has no wavelength, or the detector no shape.
    """
    from scipy.spatial.transform import Rotation

    energy = KEV_ANGSTROM / (wavelength_needed(geometry, "heXRD") * 1e10)
    rows, columns = geometry.shape
    geometry = described(geometry, "heXRD", TOP)
    detector = geometry.detector
    matrix = rotation_matrix(geometry)
    height, width = rows * detector.pixel1, columns * detector.pixel2
    middle = [0.5 * height - geometry.poni1, 0.5 * width - geometry.poni2, geometry.dist]
    x, y, z = (_AXES @ matrix @ middle * 1e3).tolist()
    tilt = Rotation.from_matrix(_AXES @ matrix @ _AXES).as_rotvec().tolist()
    panel = HexrdPanel(
        rows=rows,
        columns=columns,
        size=(detector.pixel1 * 1e3, detector.pixel2 * 1e3),
        tilt=(tilt[0], tilt[1], tilt[2]),
        translation=(x, y, z),
    )
    return HexrdBeam(energy=energy), panel


def from_hexrd(
    beam: HexrdBeam,
    panel: HexrdPanel,
    detector: Detector | None = None,
    sample: Vector = (0.0, 0.0, 0.0),
) -> Geometry:
    """The geometry of a panel of a heXRD instrument.

    Parameters
    ----------
    detector
        The detector, for its mask; its pixels and orientation are those of the panel.
    sample
        The ``translation`` of the oscillation stage, in millimetres.

    Raises
    ------
    GeometryError
        If the panel is seen from behind, where the two programs would mirror it differently, or
        the detector has another shape.
    """
    from scipy.spatial.transform import Rotation

    frame = beam.axes()
    matrix = _AXES @ frame.T @ Rotation.from_rotvec(panel.tilt).as_matrix() @ _AXES
    place = _AXES @ frame.T @ (np.array(panel.translation) - sample) * 1e-3
    across1, across2, dist = (matrix.T @ place).tolist()
    if dist <= 0:
        raise GeometryError(
            f"The panel at {panel.translation} mm with the tilt {panel.tilt} turns its back to the "
            "sample, which a geometry here cannot hold."
        )
    rot1, rot2, rot3 = rotations_from_matrix(matrix)
    pixel1, pixel2 = (length * 1e-3 for length in panel.size)
    return Geometry(
        detector=_detector(panel, detector, pixel1, pixel2),
        dist=dist,
        poni1=0.5 * panel.rows * pixel1 - across1,
        poni2=0.5 * panel.columns * pixel2 - across2,
        rot1=rot1,
        rot2=rot2,
        rot3=rot3,
        wavelength=KEV_ANGSTROM / beam.energy * 1e-10,
    )


def _detector(
    panel: HexrdPanel, detector: Detector | None, pixel1: float, pixel2: float
) -> Detector:
    shape = panel.rows, panel.columns
    if detector is None:
        return Detector(pixel1, pixel2, shape, orientation=TOP)
    if detector.shape not in (None, shape):
        raise GeometryError(
            f"The panel has the shape {shape}, the detector {detector.name!r} {detector.shape}; "
            "they must be equal."
        )
    return replace(detector, pixel1=pixel1, pixel2=pixel2, shape=shape, orientation=TOP)
