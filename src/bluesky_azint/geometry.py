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
its PONI files mean here what they mean there. A pixel that is no rectangle of a regular grid has its
centre in the mean of its corners, and off the plane of the detector :math:`z = L + p_3`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from numpy.typing import NDArray

from bluesky_azint.detectors import Detector
from bluesky_azint.errors import GeometryError
from bluesky_azint.pixels import Pixels
from bluesky_azint.units import Q_NM, TTH_RAD, Unit

if TYPE_CHECKING:
    from os import PathLike

FloatArray = NDArray[np.float64]

# Pixels that are mirrored lie where others do, to this many metres.
_SYMMETRIC = 1e-7
_ROWS_PER_BLOCK = 64


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
    parallax
        Whether pixels are placed where the photons that they count came in, not where they were
        absorbed (see `bluesky_azint.parallax`); needs a wavelength and a flat detector with a
        sensor.
    """

    detector: Detector
    dist: float = 1.0
    poni1: float = 0.0
    poni2: float = 0.0
    rot1: float = 0.0
    rot2: float = 0.0
    rot3: float = 0.0
    wavelength: float | None = None
    parallax: bool = False

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
        if self.parallax:
            self._refuse_impossible_parallax()

    def _refuse_impossible_parallax(self) -> None:
        pixels = self.detector.pixels
        missing = {
            "a wavelength": self.wavelength is None,
            "the sensor of the detector, as Detector(sensor=Sensor('Si', 450e-6))": (
                self.detector.sensor is None
            ),
            "a flat detector": pixels is not None and not pixels.flat,
        }
        if wanted := [what for what, lacks in missing.items() if lacks]:
            raise GeometryError(
                f"The correction for parallax needs {' and '.join(wanted)}; give it, or leave the "
                "correction out with parallax=False."
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
        """Write a PONI file of version 2.1, or 3 with parallax, over what stands there.

        Raises
        ------
        GeometryError
            If pixels of the detector have places of their own that no file describes.
        """
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

    def with_orientation(self, orientation: int) -> Geometry:
        r"""The same geometry of the same frames, with the pixels counted from another corner.

        Along a mirrored axis the PONI is measured from the other end of the detector. Rows that
        are mirrored turn the signs of rot2 and rot3 and columns those of rot1 and rot3, so that
        :math:`2\theta`, solid angle and polarization stay what they are, and :math:`\chi` becomes
        :math:`-\chi` and :math:`\pi - \chi`. (pyFAI leaves rot3 as it is, which moves
        the polarization if it is not zero.)

        Raises
        ------
        GeometryError
            If there is no such orientation, or the pixels do not lie symmetrically.
        """
        detector = replace(self.detector, orientation=orientation)
        before, after = _mirrored(self.detector.orientation), _mirrored(orientation)
        rows, columns = before[0] != after[0], before[1] != after[1]
        extent1, extent2 = self._extent(rows, columns) if rows or columns else (0.0, 0.0)
        return replace(
            self,
            detector=detector,
            poni1=extent1 - self.poni1 if rows else self.poni1,
            poni2=extent2 - self.poni2 if columns else self.poni2,
            rot1=-self.rot1 if columns else self.rot1,
            rot2=-self.rot2 if rows else self.rot2,
            rot3=-self.rot3 if rows != columns else self.rot3,
        )

    def _extent(self, rows: bool, columns: bool) -> tuple[float, float]:
        """Where the first and the last pixel along both axes mirror into each other."""
        n1, n2 = self.shape
        pixels = self.detector.pixels
        if pixels is None:
            return n1 * self.detector.pixel1, n2 * self.detector.pixel2
        centres = pixels.corners().mean(axis=2)
        mirrored = centres[:: -1 if rows else 1, :: -1 if columns else 1]
        extent = centres[0, 0] + mirrored[0, 0]
        off = [np.abs(mirrored[..., 0] - centres[..., 0])]
        for axis, flipped in ((1, rows), (2, columns)):
            expected = extent[axis] - centres[..., axis] if flipped else centres[..., axis]
            off.append(np.abs(mirrored[..., axis] - expected))
        if not all((far < _SYMMETRIC).all() for far in off):
            raise GeometryError(
                f"The pixels of detector {self.detector.name!r} do not lie symmetrically; describe "
                "it in the orientation that is wanted instead."
            )
        return float(extent[1]), float(extent[2])

    def lab_from_plane(
        self, p1: FloatArray, p2: FloatArray, p3: FloatArray | None = None
    ) -> Position:
        """Place in the laboratory of points ``(p1, p2)`` of the detector plane, all in metres.

        The two arrays broadcast: a column of ``p1`` and a row of ``p2`` give a whole detector.
        ``p3`` is how far they lie behind the plane, None for in it. The correction for parallax is
        applied if the geometry has one.
        """
        y, x = p1 - self.poni1, p2 - self.poni2
        if self.parallax:
            y, x = self._entrance(y, x)
        z = self.dist if p3 is None else self.dist + p3
        slow, fast = self._along_slow(y), self._along_fast(x, z)
        return Position(y=slow.y + fast.y, x=slow.x + fast.x, z=slow.z + fast.z)

    def _along_slow(self, y: FloatArray) -> Position:
        """Where in the laboratory a way along the slow axis of the detector leads."""
        c2, s2 = np.cos(self.rot2), np.sin(self.rot2)
        c3, s3 = np.cos(self.rot3), np.sin(self.rot3)
        return Position(y=y * (c2 * c3), x=y * (c2 * s3), z=y * s2)

    def _along_fast(self, x: FloatArray, z: FloatArray | float) -> Position:
        """Where a way along the fast axis, and one along the normal of the detector, lead."""
        c1, s1 = np.cos(self.rot1), np.sin(self.rot1)
        c2, s2 = np.cos(self.rot2), np.sin(self.rot2)
        c3, s3 = np.cos(self.rot3), np.sin(self.rot3)
        return Position(
            y=x * (c3 * s1 * s2 - c1 * s3) - z * (c1 * c3 * s2 + s1 * s3),
            x=x * (c1 * c3 + s1 * s2 * s3) + z * (c3 * s1 - c1 * s2 * s3),
            z=z * c1 * c2 - x * (c2 * s1),
        )

    def _entrance(self, y: FloatArray, x: FloatArray) -> tuple[FloatArray, FloatArray]:
        """Where photons that are counted at ``(y, x)`` from the PONI came into the sensor."""
        sensor, wavelength = self.detector.sensor, self.wavelength
        if sensor is None or wavelength is None:
            return y, x  # never: such a geometry is refused
        radius = np.hypot(y, x)
        entrance = sensor.entrance(radius, self.dist, wavelength)
        ratio = np.divide(entrance, radius, out=np.ones_like(radius), where=radius > 0)
        return y * ratio, x * ratio

    def centres(self, rows: slice = slice(None)) -> Position:
        """Place of the pixel centres, each an array of shape (rows, columns)."""
        if (pixels := self.detector.pixels) is not None:
            return self._placed(
                self._of_corners(pixels, rows, lambda corners: corners.mean(axis=2))
            )
        n1, n2 = self.shape
        return self._grid(_counted(n1)[rows] + 0.5, _counted(n2) + 0.5)

    def knots(self, rows: slice = slice(None)) -> Position:
        """Place of the corners of a block of pixels, each once.

        An array of one more row and column of pixels of a regular grid, which share their corners,
        and (rows, columns, K) for others.
        """
        if (pixels := self.detector.pixels) is not None:
            return self._placed(self._corners_in_plane(pixels, rows))
        n1, n2 = self.shape
        start, stop, _ = rows.indices(n1)
        return self._grid(_counted(n1 + 1)[start : stop + 1], _counted(n2 + 1))

    def around(self, values: FloatArray) -> list[FloatArray]:
        """Values at `knots` as seen by the pixels: K arrays (rows, columns), corner by corner.

        K is 4, in the order (i, j), (i+1, j), (i+1, j+1), (i, j+1) for pixels of a regular grid,
        and what the detector says for others.
        """
        if self.detector.pixels is not None:
            return list(np.moveaxis(values, -1, 0))
        return [values[:-1, :-1], values[1:, :-1], values[1:, 1:], values[:-1, 1:]]

    def at_corners(
        self, function: Callable[[Position], FloatArray], rows: slice = slice(None)
    ) -> FloatArray:
        """Values of a function of the place, at the corners of each pixel, (rows, columns, K)."""
        return np.stack(self.around(function(self.knots(rows))), axis=-1)

    @property
    def regular(self) -> bool:
        """Whether the place of a pixel is the sum of one of its row and one of its column."""
        return self.detector.pixels is None and not self.parallax

    def rows_and_columns(self, offset: float) -> tuple[Position, Position]:
        """What the places of a `regular` detector are sums of: (n, 1) of rows, (1, m) of columns.

        Parameters
        ----------
        offset
            0.5 for the centres of the pixels, 0 for their corners, of which there is one more.
        """
        n1, n2 = (number + (offset == 0.0) for number in self.shape)
        p1, p2 = self._in_plane(
            _counted(n1)[:, np.newaxis] + offset, _counted(n2)[np.newaxis, :] + offset
        )
        return self._along_slow(p1 - self.poni1), self._along_fast(p2 - self.poni2, self.dist)

    def places_of(self, pixels: NDArray[np.int64]) -> tuple[Position, Position]:
        """Place of the centres (n,) and the corners (n, 4) of some pixels of a regular grid.

        Parameters
        ----------
        pixels
            Their flat indices.
        """
        row, column = np.divmod(pixels, self.shape[1])
        corner1 = row[:, np.newaxis] + np.array([0.0, 1.0, 1.0, 0.0])
        corner2 = column[:, np.newaxis] + np.array([0.0, 0.0, 1.0, 1.0])
        return (
            self.lab_from_plane(*self._in_plane(row + 0.5, column + 0.5)),
            self.lab_from_plane(*self._in_plane(corner1, corner2)),
        )

    def _of_corners(
        self, pixels: Pixels, rows: slice, function: Callable[[FloatArray], FloatArray]
    ) -> FloatArray:
        """A function of the corners of irregular pixels, block by block: the corners fill 1 GB."""
        start, stop, _ = rows.indices(self.shape[0])
        blocks = [
            slice(first, min(first + _ROWS_PER_BLOCK, stop))
            for first in range(start, max(stop, start + 1), _ROWS_PER_BLOCK)
        ]
        return np.concatenate([function(self._corners_in_plane(pixels, one)) for one in blocks])

    def _corners_in_plane(self, pixels: Pixels, rows: slice) -> FloatArray:
        """Corners of irregular pixels as (z, y, x), the orientation applied."""
        n1 = self.shape[0]
        start, stop, _ = rows.indices(n1)
        mirrored = _mirrored(self.detector.orientation)
        if mirrored[0]:
            start, stop = n1 - stop, n1 - start
        corners = pixels.corners(slice(start, stop))
        return corners[:: -1 if mirrored[0] else 1, :: -1 if mirrored[1] else 1]

    def _placed(self, points: FloatArray) -> Position:
        """Lab positions of points (..., 3) given as (z, y, x)."""
        return self.lab_from_plane(points[..., 1], points[..., 2], points[..., 0])

    def _grid(self, index1: FloatArray, index2: FloatArray) -> Position:
        """Lab positions of a grid of fractional pixel indices."""
        return self.lab_from_plane(*self._in_plane(index1[:, np.newaxis], index2[np.newaxis, :]))

    def _in_plane(self, index1: FloatArray, index2: FloatArray) -> tuple[FloatArray, FloatArray]:
        """Fractional pixel indices in metres, the orientation applied."""
        n1, n2 = self.shape
        mirrored = _mirrored(self.detector.orientation)
        if mirrored[0]:
            index1 = n1 - index1
        if mirrored[1]:
            index2 = n2 - index2
        return index1 * self.detector.pixel1, index2 * self.detector.pixel2

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
        r"""Cosine of the angle between the ray to a pixel and the normal of the detector there.

        .. math:: \cos\alpha = L / \sqrt{L^2 + (p_1 - poni_1)^2 + (p_2 - poni_2)^2}

        of a flat detector. Of another it is that to the normal of the pixel, which is
        perpendicular to the diagonals. Parallax plays no part in it.
        """
        return self._cos_incidence(rows, None)

    def _cos_incidence(self, rows: slice, distances: FloatArray | None) -> FloatArray:
        """The same, where the distances may be known."""
        pixels = self.detector.pixels
        if pixels is None or pixels.flat:
            return self.dist / (self._distances(rows) if distances is None else distances)
        return self._of_corners(pixels, rows, self._cos_to_normal)

    def _distances(self, rows: slice) -> FloatArray:
        """From the sample to the centres of the pixels, parallax left aside."""
        place = (replace(self, parallax=False) if self.parallax else self).centres(rows)
        distances: FloatArray = np.sqrt(place.x**2 + place.y**2 + place.z**2)
        return distances

    def _cos_to_normal(self, corners: FloatArray) -> FloatArray:
        """Cosine of the angle between the rays to polygons (..., K, 3), as (z, y, x), and normals."""
        sample = np.array([-self.dist, self.poni1, self.poni2])
        ray = corners.mean(axis=-2) - sample
        normal = _vector_areas(corners)
        cosine: FloatArray = np.abs((ray * normal).sum(axis=-1)) / (
            np.linalg.norm(ray, axis=-1) * np.linalg.norm(normal, axis=-1)
        )
        return cosine

    def solid_angle(self, rows: slice = slice(None), *, areas: bool = False) -> FloatArray:
        r"""Solid angle of each pixel, relative to one of the usual size at the PONI.

        .. math:: \frac{\Omega}{\Omega_0} = \frac{L^2}{R^2} \cos\alpha

        with :math:`R` the distance to the pixel, which is :math:`\cos^3\alpha` for a flat detector.
        pyFAI takes the cube for others too, which holds for a cylinder around the sample alone.

        Parameters
        ----------
        rows
            A block of rows.
        areas
            Whether pixels of another area count more, in proportion. pyFAI does so for detectors
            with a spline, and for no others: as a rule, the flat field holds the areas already.
        """
        distances = self._distances(rows)
        relative = self.dist**2 / distances**2 * self._cos_incidence(rows, distances)
        pixels = self.detector.pixels
        if areas and pixels is not None:
            area = self._of_corners(
                pixels, rows, lambda corners: np.linalg.norm(_vector_areas(corners), axis=-1)
            )
            relative *= area / (self.detector.pixel1 * self.detector.pixel2)
        return relative


def _vector_areas(corners: FloatArray) -> FloatArray:
    """Normals of polygons (..., K, 3), as long as their areas, (..., 3)."""
    arms = corners - corners[..., :1, :]
    areas: FloatArray = 0.5 * np.cross(arms[..., 1:-1, :], arms[..., 2:, :]).sum(axis=-2)
    return areas


def _mirrored(orientation: int) -> tuple[bool, bool]:
    """Whether rows and columns are counted backwards."""
    return orientation in (1, 2), orientation in (1, 4)


def _counted(number: int) -> FloatArray:
    return np.arange(number, dtype=np.float64)
