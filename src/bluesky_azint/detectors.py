"""Detectors: the shape, the pixels and the gaps of an area detector.

Axis 1 is the slow one (rows, "y"), axis 2 the fast one (columns, "x"). The origin is the outer
corner of pixel (0, 0), and lengths are in metres.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from operator import gt
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import ArrayLike, NDArray

from bluesky_azint.catalogue import find_model
from bluesky_azint.errors import GeometryError
from bluesky_azint.masks import binned_mask
from bluesky_azint.parallax import Sensor
from bluesky_azint.pixels import Mesh, Pixels, Shifted

if TYPE_CHECKING:
    from os import PathLike


@dataclass(frozen=True, eq=False)
class Detector:
    """An area detector, by default flat and of equal, rectangular pixels.

    Parameters
    ----------
    pixel1, pixel2
        Size of a pixel along the slow and the fast axis, in metres; the usual one, where not all
        are equal.
    shape
        Rows and columns; None where a file does not tell: the first frame then decides.
    mask
        Boolean, of that shape, True = masked: the gaps between modules and what is never to be
        used. None means no mask.
    name
        Name in the catalogue, or any other.
    dummy, delta_dummy
        Frames mark bad pixels by a value within ``delta_dummy`` of ``dummy``.
    orientation
        Position of pixel (0, 0) as seen from the sample, in EXIF numbers: 1 top left, 2 top
        right, 3 bottom right (the native one), 4 bottom left. Only the indices are mirrored:
        2 and 1 count rows backwards, 4 and 1 columns.
    pixels
        Where the pixels lie if they are no regular grid, in the native orientation: one of
        `bluesky_azint.pixels`, such as ``Corners(array)``. None means that they are.
    sensor
        What absorbs the photons; only needed to correct for parallax.
    described_in
        The files that tell of the pixels, as pairs of a key of PONI files (filename, splineFile,
        x_offset_file, y_offset_file) and a path: what a PONI file says of this detector. No part
        of its value.
    """

    pixel1: float
    pixel2: float
    shape: tuple[int, int] | None = None
    mask: NDArray[np.bool_] | None = None
    name: str = "Detector"
    dummy: float | None = None
    delta_dummy: float | None = None
    orientation: int = 3
    pixels: Pixels | None = None
    sensor: Sensor | None = None
    described_in: tuple[tuple[str, str], ...] = ()

    def __post_init__(self) -> None:
        if not (self.pixel1 > 0 and self.pixel2 > 0):
            raise GeometryError(
                f"Detector {self.name!r} has pixels of {self.pixel1} x {self.pixel2} m; "
                "both sizes must be positive, in metres."
            )
        if self.orientation not in (1, 2, 3, 4):
            raise GeometryError(
                f"Detector {self.name!r} has orientation {self.orientation}; "
                "it must be 1, 2, 3 or 4 (EXIF numbering, 3 is the native one)."
            )
        if self.shape is not None:
            object.__setattr__(self, "shape", (int(self.shape[0]), int(self.shape[1])))
        if self.pixels is not None:
            self._fit("pixels", self.pixels.shape)
        if self.mask is not None:
            mask = np.asarray(self.mask, dtype=bool)
            self._fit("mask", mask.shape)
            object.__setattr__(self, "mask", mask)

    def _fit(self, part: str, shape: tuple[int, ...]) -> None:
        """Take the shape of a part of the detector for that of the detector, or see that it is."""
        if self.shape is None:
            object.__setattr__(self, "shape", shape)
        if shape != self.shape:
            raise GeometryError(
                f"The {part} of detector {self.name!r} has the shape {shape}, "
                f"the detector {self.shape}; they must be equal."
            )

    @classmethod
    def from_nexus(cls, path: str | PathLike[str]) -> Detector:
        """Read a detector from a NeXus file in pyFAI's layout.

        Raises
        ------
        FormatError
            If there is no such file, or no detector in it.
        """
        from bluesky_azint.io.detector_nexus import read_detector

        return read_detector(Path(path))

    def to_nexus(self, path: str | PathLike[str]) -> Detector:
        """Write the detector into a NeXus file in pyFAI's layout, over what stands there.

        Returns
        -------
        Detector
            The same one, that knows of the file, so that a PONI file can name it.
        """
        from bluesky_azint.io.detector_nexus import write_detector

        return write_detector(self, Path(path))

    def binned(self, factor1: int, factor2: int) -> Detector:
        """This detector, read out in blocks of pixels.

        What is left over at the end is cut off, and a block with a masked pixel is masked.

        Raises
        ------
        GeometryError
            If it has no shape, or pixels that cannot be joined.
        """
        factors = factor1, factor2
        if factors == (1, 1):
            return self
        whole = all(factor == int(factor) and factor >= 1 for factor in factors)
        if self.shape is None or not whole or any(map(gt, factors, self.shape)):
            raise GeometryError(
                f"Detector {self.name!r} of shape {self.shape} cannot be binned by {factors}."
            )
        return replace(
            self,
            pixel1=self.pixel1 * factor1,
            pixel2=self.pixel2 * factor2,
            shape=(self.shape[0] // factor1, self.shape[1] // factor2),
            mask=None if self.mask is None else binned_mask(self.mask, factors),
            pixels=None if self.pixels is None else self.pixels.binned(factors),
            described_in=(),
        )

    def displaced(self, dx: ArrayLike, dy: ArrayLike) -> Detector:
        """This detector with pixels away from the places of a regular grid.

        Parameters
        ----------
        dx, dy
            How far along the fast and along the slow axis, in pixels: either of each pixel, which
            is then moved as a whole, ``(rows, columns)``, or of the corners of pixels, ``(rows +
            1, columns + 1)``. These are the displacement maps of pyFAI.

        Raises
        ------
        GeometryError
            If the maps have another shape.
        """
        fast, slow = np.asarray(dx, dtype=np.float64), np.asarray(dy, dtype=np.float64)
        n1, n2 = self.shape or fast.shape
        if fast.shape == slow.shape == (n1, n2):
            shifted = Shifted(self.pixel1, self.pixel2, slow, fast)
            return replace(self, pixels=shifted, described_in=())
        if fast.shape == slow.shape == (n1 + 1, n2 + 1):
            knots = np.indices(slow.shape)
            mesh = Mesh((knots[0] + slow) * self.pixel1, (knots[1] + fast) * self.pixel2)
            return replace(self, pixels=mesh, described_in=())
        raise GeometryError(
            f"The displacements have the shapes {fast.shape} and {slow.shape}; both must have that "
            f"of detector {self.name!r}, {self.shape}, or one more row and column for its corners."
        )

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Detector):
            return NotImplemented
        return (
            self._scalars() == other._scalars()
            and _same(self.mask, other.mask)
            and self.pixels == other.pixels
        )

    def __hash__(self) -> int:
        return hash(self._scalars())

    def _scalars(self) -> tuple[object, ...]:
        return (
            self.pixel1,
            self.pixel2,
            self.shape,
            self.name,
            self.dummy,
            self.delta_dummy,
            self.orientation,
            self.sensor,
        )


def _same(one: NDArray[np.bool_] | None, other: NDArray[np.bool_] | None) -> bool:
    if one is None or other is None:
        return one is other
    return one is other or np.array_equal(one, other)


def detector(
    name: str,
    pixel1: float | None = None,
    pixel2: float | None = None,
    *,
    radius: float | None = None,
) -> Detector:
    """The detector of that name in the catalogue.

    Parameters
    ----------
    name
        As pyFAI writes it, or an alias; case, blanks and punctuation do not count.
    pixel1, pixel2
        Size of a pixel along the slow and the fast axis, in metres, which tells how the read-out
        bins; None is the usual one.
    radius
        Of a cylindrical detector, in metres; None is the usual one.

    Raises
    ------
    GeometryError
        If the catalogue has no such detector, or the detector no such pixels or no radius.

    Examples
    --------
    >>> detector("Pilatus 1M").shape
    (1043, 981)
    >>> detector("MAR165", pixel1=79e-6, pixel2=79e-6).shape
    (2048, 2048)
    """
    model = find_model(name)
    if radius is not None and model.radius is None:
        raise GeometryError(f"Detector {model.name!r} is no cylinder: it has no radius.")
    factor1, factor2 = model.factor(pixel1, 0), model.factor(pixel2, 1)
    blocks = (1, 1) if model.modes else (int(factor1), int(factor2))
    shape = model.shape
    if model.modes:
        shape = int(shape[0] / factor1), int(shape[1] / factor2)
    sizes = (
        pixel1 / blocks[0] if pixel1 else model.sizes[factor1][0],
        pixel2 / blocks[1] if pixel2 else model.sizes[factor2][1],
    )
    return Detector(
        pixel1=sizes[0],
        pixel2=sizes[1],
        shape=shape,
        mask=model.mask(shape),
        name=model.name,
        dummy=model.dummy,
        delta_dummy=model.delta_dummy,
        pixels=model.pixels(sizes, radius),
    ).binned(*blocks)
