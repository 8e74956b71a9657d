r"""Geometry: from a pixel to its place in the laboratory, and to the scattering angles.

The point of normal incidence (PONI) is the foot of the perpendicular from the sample to the
detector plane, :math:`L` its length. A pixel centre lies at :math:`p_1 = (i + 1/2)\,s_1` and
:math:`p_2 = (j + 1/2)\,s_2`; with :math:`y = p_1 - poni_1`, :math:`x = p_2 - poni_2`, :math:`z = L`
its place in the laboratory is :math:`t = R_3(rot_3)\,R_2(rot_2)\,R_1(rot_1)\,(y, x, z)`, where
:math:`t_3` runs along the beam, :math:`R_1` and :math:`R_2` are left-handed and :math:`R_3` is
right-handed. Then

.. math::
    2\theta = \mathrm{atan2}(\sqrt{t_1^2 + t_2^2},\, t_3), \qquad
    \chi = \mathrm{atan2}(t_1, t_2), \qquad
    q = \frac{4\pi}{\lambda} \sin\frac{2\theta}{2}

These are pyFAI's conventions (Kieffer & Karkoulis, J. Phys. Conf. Ser. 425 (2013) 202012), so that
its PONI files mean here what they mean there.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from numpy.typing import NDArray

from bluesky_azint.detectors import Detector
from bluesky_azint.errors import GeometryError
from bluesky_azint.units import Q_NM, TTH_RAD, Unit

if TYPE_CHECKING:
    from os import PathLike

FloatArray = NDArray[np.float64]


class Position(NamedTuple):
    """Places in the laboratory, in metres: ``y`` (t1), ``x`` (t2), and ``z`` (t3) along the beam."""

    y: FloatArray
    x: FloatArray
    z: FloatArray


@dataclass(frozen=True, kw_only=True)
class Geometry:
    """Where the detector stands, and the wavelength.

    Parameters
    ----------
    dist, poni1, poni2
        Distance from the sample to the PONI, and the coordinates of the PONI along the slow and
        the fast axis of the detector, in metres.
    rot1, rot2, rot3
        Rotations of the detector, in radians.
    wavelength
        In metres; None where only angles and lengths are wanted.
    detector
        The detector.
    """

    detector: Detector
    dist: float = 1.0
    poni1: float = 0.0
    poni2: float = 0.0
    rot1: float = 0.0
    rot2: float = 0.0
    rot3: float = 0.0
    wavelength: float | None = None

    def __post_init__(self) -> None:
        for name in ("dist", "poni1", "poni2", "rot1", "rot2", "rot3", "wavelength"):
            value = getattr(self, name)
            if value is None and name == "wavelength":
                continue
            value = float(value)
            if not np.isfinite(value):
                raise GeometryError(f"{name} of the geometry is {value}; it must be finite.")
            object.__setattr__(self, name, value)
        if self.wavelength is not None and self.wavelength <= 0:
            raise GeometryError(
                f"The wavelength is {self.wavelength} m; it must be positive (1 angstrom is 1e-10)."
            )

    @classmethod
    def from_poni(cls, path: str | PathLike[str]) -> Geometry:
        """Read a PONI file of version 1, 2, 2.1 or 3, or its JSON form.

        Raises
        ------
        FormatError
            If the file is no PONI file, or of a version that is not known.
        """
        from bluesky_azint.io.poni import read_poni

        return read_poni(Path(path))

    def to_poni(self, path: str | PathLike[str]) -> None:
        """Write a PONI file of version 2.1, over what stands there."""
        from bluesky_azint.io.poni import write_poni

        write_poni(self, Path(path))

    @property
    def shape(self) -> tuple[int, int]:
        """Rows and columns of the detector.

        Raises
        ------
        GeometryError
            If the detector has no shape.
        """
        if self.detector.shape is None:
            raise GeometryError(
                f"The detector {self.detector.name!r} of this geometry has no shape; set one with "
                "dataclasses.replace(geometry, detector=Detector(pixel1=..., pixel2=..., shape=...))."
            )
        return self.detector.shape

    def lab_from_plane(self, p1: FloatArray, p2: FloatArray) -> Position:
        """Place in the laboratory of points ``(p1, p2)`` of the detector plane, all in metres.

        The two arrays broadcast: a column of ``p1`` and a row of ``p2`` give a whole detector.
        """
        c1, s1 = np.cos(self.rot1), np.sin(self.rot1)
        c2, s2 = np.cos(self.rot2), np.sin(self.rot2)
        c3, s3 = np.cos(self.rot3), np.sin(self.rot3)
        y, x, z = p1 - self.poni1, p2 - self.poni2, self.dist
        return Position(
            y=y * (c2 * c3) + (x * (c3 * s1 * s2 - c1 * s3) - z * (c1 * c3 * s2 + s1 * s3)),
            x=y * (c2 * s3) + (x * (c1 * c3 + s1 * s2 * s3) + z * (c3 * s1 - c1 * s2 * s3)),
            z=y * s2 + (z * c1 * c2 - x * (c2 * s1)),
        )

    def centres(self, rows: slice = slice(None)) -> Position:
        """Place of the pixel centres, each an array of shape (rows, columns)."""
        n1, n2 = self.shape
        return self._grid(_counted(n1)[rows] + 0.5, _counted(n2) + 0.5)

    def corners(self, rows: slice = slice(None)) -> Position:
        """Place of the pixel corners, each an array of shape (rows + 1, columns + 1).

        `at_corners` gives each pixel its four.
        """
        n1, n2 = self.shape
        start, stop, _ = rows.indices(n1)
        return self._grid(_counted(n1 + 1)[start : stop + 1], _counted(n2 + 1))

    def at_corners(
        self, function: Callable[[Position], FloatArray], rows: slice = slice(None)
    ) -> FloatArray:
        """Values of a function of the place, at the corners of each pixel, (rows, columns, 4)."""
        return corners_of_pixels(function(self.corners(rows)))

    def _grid(self, index1: FloatArray, index2: FloatArray) -> Position:
        """Lab positions of a grid of fractional pixel indices, the orientation applied."""
        n1, n2 = self.shape
        if self.detector.orientation in (1, 2):
            index1 = n1 - index1
        if self.detector.orientation in (1, 4):
            index2 = n2 - index2
        return self.lab_from_plane(
            index1[:, np.newaxis] * self.detector.pixel1,
            index2[np.newaxis, :] * self.detector.pixel2,
        )

    def two_theta(self) -> FloatArray:
        """Scattering angle of every pixel centre, in radians, of detector shape."""
        return self.radial(TTH_RAD)

    def chi(self) -> FloatArray:
        r"""Azimuth of every pixel centre, in radians from :math:`-\pi` to :math:`\pi`.

        0 lies along the fast axis, :math:`\pi/2` along the slow one.
        """
        place = self.centres()
        return np.arctan2(place.y, place.x)

    def q(self) -> FloatArray:
        """Magnitude of the scattering vector of every pixel centre, in 1/nm.

        Raises
        ------
        GeometryError
            If the geometry has no wavelength.
        """
        return self.radial(Q_NM)

    def radial(self, unit: Unit) -> FloatArray:
        """The radial quantity ``unit`` of every pixel centre, of detector shape."""
        return unit(self.centres(), self.wavelength)

    def cos_incidence(self, rows: slice = slice(None)) -> FloatArray:
        r"""Cosine of the angle between the ray to a pixel and the normal of the detector.

        .. math:: \cos\alpha = L / \sqrt{L^2 + (p_1 - poni_1)^2 + (p_2 - poni_2)^2}
        """
        place = self.centres(rows)
        return self.dist / np.sqrt(place.x**2 + place.y**2 + place.z**2)


def corners_of_pixels(grid: FloatArray) -> FloatArray:
    """Values at the corners of each pixel, ``(rows, columns, 4)``, from those at all corners.

    The corners of pixel (i, j) come in the order (i, j), (i+1, j), (i+1, j+1), (i, j+1).
    """
    return np.stack([grid[:-1, :-1], grid[1:, :-1], grid[1:, 1:], grid[:-1, 1:]], axis=-1)


def _counted(number: int) -> FloatArray:
    return np.arange(number, dtype=np.float64)
