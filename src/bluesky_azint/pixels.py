"""Pixels that are no regular grid: where their corners lie on, or off, the plane of the detector.

Each class gives the corners of a block of rows, ``(rows, columns, K, 3)``, in metres, in the order
(z, y, x) that pyFAI has: y along the slow axis and x along the fast one, from the origin of the
detector, z along the normal, away from the sample. K is 4, or 6 for hexagons. Most detectors are
described by a few thousand numbers, from which the corners are made when they are asked for.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from bluesky_azint.errors import GeometryError

FloatArray = NDArray[np.float64]
EVERYTHING = slice(None)


class Pixels(Protocol):
    """What a detector and a geometry need to know of pixels."""

    @property
    def shape(self) -> tuple[int, int]:
        """Rows and columns."""

    @property
    def flat(self) -> bool:
        """Whether all pixels lie in the plane of the detector."""

    def corners(self, rows: slice = EVERYTHING) -> FloatArray:
        """Corners of a block of rows, ``(rows, columns, K, 3)``, in metres as (z, y, x)."""

    def binned(self, factors: tuple[int, int]) -> Pixels:
        """The pixels that a binning read-out makes of these; what is left over is cut off."""


@dataclass(frozen=True, eq=False)
class Rectangles:
    """Rectangles in rows and columns, of different sizes, maybe with gaps between them.

    Parameters
    ----------
    slow, fast
        Where each row, and each column, begins and ends, ``(rows, 2)`` and ``(columns, 2)``.
    """

    slow: FloatArray
    fast: FloatArray
    flat = True

    @property
    def shape(self) -> tuple[int, int]:
        """Rows and columns."""
        return len(self.slow), len(self.fast)

    def corners(self, rows: slice = EVERYTHING) -> FloatArray:
        """Corners of a block of rows, ``(rows, columns, 4, 3)``."""
        slow = self.slow[rows]
        corners = np.zeros((len(slow), len(self.fast), 4, 3))
        corners[..., 1] = slow[:, np.newaxis, [0, 1, 1, 0]]
        corners[..., 2] = self.fast[:, [0, 0, 1, 1]]
        return corners

    def binned(self, factors: tuple[int, int]) -> Rectangles:
        """Rectangles around blocks of these."""
        return Rectangles(_joined(self.slow, factors[0]), _joined(self.fast, factors[1]))

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Rectangles):
            return NotImplemented
        return np.array_equal(self.slow, other.slow) and np.array_equal(self.fast, other.fast)

    __hash__ = None  # type: ignore[assignment]


@dataclass(frozen=True)
class Cylinder:
    """A rectangle of equal pixels, bent around an axis parallel to the rows' direction.

    The plane of the detector touches it along its first column, from where it comes towards the
    sample: :math:`x = r \\sin\\varphi`, :math:`z = r (\\cos\\varphi - 1)`, with
    :math:`\\varphi = j\\,s_2/r`.

    Parameters
    ----------
    shape
        Rows and columns.
    pixel1, pixel2
        Size of a pixel along the axis, and around it, in metres.
    radius
        Of the cylinder, in metres.
    """

    shape: tuple[int, int]
    pixel1: float
    pixel2: float
    radius: float
    flat = False

    def corners(self, rows: slice = EVERYTHING) -> FloatArray:
        """Corners of a block of rows, ``(rows, columns, 4, 3)``."""
        first = np.arange(self.shape[0])[rows]
        angle = np.arange(self.shape[1] + 1) * (self.pixel2 / self.radius)
        around = np.stack([np.arange(self.shape[1]), np.arange(1, self.shape[1] + 1)], axis=-1)
        corners = np.empty((len(first), self.shape[1], 4, 3))
        corners[..., 0] = (self.radius * (np.cos(angle) - 1.0))[around[:, [0, 0, 1, 1]]]
        corners[..., 1] = ((first[:, np.newaxis] + [0, 1, 1, 0]) * self.pixel1)[:, np.newaxis]
        corners[..., 2] = (self.radius * np.sin(angle))[around[:, [0, 0, 1, 1]]]
        return corners

    def binned(self, factors: tuple[int, int]) -> Cylinder:
        """The same cylinder with larger pixels."""
        shape = self.shape[0] // factors[0], self.shape[1] // factors[1]
        return Cylinder(shape, self.pixel1 * factors[0], self.pixel2 * factors[1], self.radius)


@dataclass(frozen=True)
class Hexagons:
    """Regular hexagons with a corner up, every second row moved on by half a pixel.

    Parameters
    ----------
    shape
        Rows and columns.
    pitch
        Distance of the centres of neighbours, in metres.
    """

    shape: tuple[int, int]
    pitch: float
    flat = True

    def corners(self, rows: slice = EVERYTHING) -> FloatArray:
        """Corners of a block of rows, ``(rows, columns, 6, 3)``."""
        angle = np.arange(6) * (np.pi / 3) - np.pi / 2
        row = np.arange(self.shape[0])[rows, np.newaxis, np.newaxis]
        column = np.arange(self.shape[1])[:, np.newaxis]
        corners = np.zeros((len(row), self.shape[1], 6, 3))
        corners[..., 1] = row * np.sqrt(0.75) + (np.sin(angle) + 1.0) / np.sqrt(3.0)
        corners[..., 2] = column + 0.5 * (row % 2) + (np.cos(angle) / np.sqrt(3.0) + 0.5)
        return corners * self.pitch

    def binned(self, factors: tuple[int, int]) -> Hexagons:
        """Refuse: the union of hexagons is none.

        Raises
        ------
        GeometryError
            Unless both factors are 1.
        """
        if factors != (1, 1):
            raise GeometryError(f"Hexagonal pixels cannot be binned by {factors}.")
        return self


@dataclass(frozen=True, eq=False)
class Corners:
    """Pixels of any shape in any place.

    Parameters
    ----------
    array
        Corners of all pixels, ``(rows, columns, K, 3)``, in metres as (z, y, x); not copied, and
        kept in the precision it has.

    Raises
    ------
    GeometryError
        If the array has another shape, or no floating point numbers.
    """

    array: NDArray[np.floating]
    flat: bool = field(init=False)

    def __post_init__(self) -> None:
        array = np.asarray(self.array).view()
        if array.ndim != 4 or array.shape[2] < 3 or array.shape[3] != 3:
            raise GeometryError(
                f"The corners of pixels have the shape {array.shape}; it must be (rows, columns, "
                "corners of a pixel, 3), the last being z, y, x in metres."
            )
        if array.dtype.kind != "f":
            raise GeometryError(f"The corners of pixels are {array.dtype}; they must be floats.")
        array.flags.writeable = False
        object.__setattr__(self, "array", array)
        object.__setattr__(self, "flat", not array[..., 0].any())

    @property
    def shape(self) -> tuple[int, int]:
        """Rows and columns."""
        return self.array.shape[0], self.array.shape[1]

    def corners(self, rows: slice = EVERYTHING) -> FloatArray:
        """Corners of a block of rows, ``(rows, columns, K, 3)``."""
        return self.array[rows].astype(np.float64)

    def binned(self, factors: tuple[int, int]) -> Corners:
        """The outermost corners of blocks of pixels with four corners.

        Raises
        ------
        GeometryError
            If the pixels have another number of corners.
        """
        if self.array.shape[2] != 4:
            raise GeometryError("Only pixels with four corners can be binned.")
        (f1, f2), (n1, n2) = factors, self.shape
        used = self.array[: n1 - n1 % f1, : n2 - n2 % f2]
        first, last = slice(0, None, f1), slice(f1 - 1, None, f1)
        left, right = slice(0, None, f2), slice(f2 - 1, None, f2)
        outer = [(first, left), (last, left), (last, right), (first, right)]
        blocks = [used[row, column, corner] for corner, (row, column) in enumerate(outer)]
        return Corners(np.stack(blocks, axis=2))

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Corners):
            return NotImplemented
        return self.array is other.array or np.array_equal(self.array, other.array, equal_nan=True)

    __hash__ = None  # type: ignore[assignment]


@dataclass(frozen=True, eq=False)
class Mesh:
    """Pixels between the knots of a mesh in the plane: neighbours share their corners.

    Parameters
    ----------
    slow, fast
        Place of the knots along the slow and the fast axis, ``(rows + 1, columns + 1)``, in metres.
    """

    slow: FloatArray
    fast: FloatArray
    flat = True

    @property
    def shape(self) -> tuple[int, int]:
        """Rows and columns."""
        return self.slow.shape[0] - 1, self.slow.shape[1] - 1

    def corners(self, rows: slice = EVERYTHING) -> FloatArray:
        """Corners of a block of rows, ``(rows, columns, 4, 3)``."""
        start, stop, _ = rows.indices(self.shape[0])
        slow = corners_of_pixels(self.slow[start : stop + 1])
        fast = corners_of_pixels(self.fast[start : stop + 1])
        return np.stack([np.zeros_like(slow), slow, fast], axis=-1)

    def binned(self, factors: tuple[int, int]) -> Mesh:
        """A mesh of fewer knots."""
        (f1, f2), (n1, n2) = factors, self.shape
        knots = slice(0, n1 - n1 % f1 + 1, f1), slice(0, n2 - n2 % f2 + 1, f2)
        return Mesh(self.slow[knots], self.fast[knots])

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Mesh):
            return NotImplemented
        return np.array_equal(self.slow, other.slow) and np.array_equal(self.fast, other.fast)

    __hash__ = None  # type: ignore[assignment]


@dataclass(frozen=True, eq=False)
class Shifted:
    """Equal rectangles, each moved away from its place in a regular grid.

    Parameters
    ----------
    pixel1, pixel2
        Size of a pixel along the slow and the fast axis, in metres.
    slow, fast
        How far each is moved along the axes, ``(rows, columns)``, in pixels.
    """

    pixel1: float
    pixel2: float
    slow: FloatArray
    fast: FloatArray
    flat = True

    @property
    def shape(self) -> tuple[int, int]:
        """Rows and columns."""
        return self.slow.shape[0], self.slow.shape[1]

    def corners(self, rows: slice = EVERYTHING) -> FloatArray:
        """Corners of a block of rows, ``(rows, columns, 4, 3)``."""
        row = np.arange(self.shape[0])[rows, np.newaxis] + self.slow[rows]
        column = np.arange(self.shape[1]) + self.fast[rows]
        corners = np.zeros((*row.shape, 4, 3))
        corners[..., 1] = (row[..., np.newaxis] + [0, 1, 1, 0]) * self.pixel1
        corners[..., 2] = (column[..., np.newaxis] + [0, 0, 1, 1]) * self.pixel2
        return corners

    def binned(self, factors: tuple[int, int]) -> Corners:
        """The outermost corners of blocks of these."""
        return Corners(self.corners()).binned(factors)

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Shifted):
            return NotImplemented
        return (
            (self.pixel1, self.pixel2) == (other.pixel1, other.pixel2)
            and np.array_equal(self.slow, other.slow)
            and np.array_equal(self.fast, other.fast)
        )

    __hash__ = None  # type: ignore[assignment]


def corners_of_pixels(grid: FloatArray) -> FloatArray:
    """Values at the corners of each pixel, ``(rows, columns, 4)``, from those at all corners.

    The corners of pixel (i, j) come in the order (i, j), (i+1, j), (i+1, j+1), (i, j+1).
    """
    return np.stack([grid[:-1, :-1], grid[1:, :-1], grid[1:, 1:], grid[:-1, 1:]], axis=-1)


def wide_borders(
    number: int, pixel: float, *, chip: int, wide: float, gap: float = 0.0
) -> FloatArray:
    """Where pixels begin and end along an axis of several chips, ``(number, 2)``, in metres.

    The pixels on both sides of a border between chips are ``wide`` times as wide as the others,
    and ``gap`` metres lie between the chips.
    """
    index = np.arange(number)
    inside = (index >= chip - 1) & (index < number // chip * chip - 1)
    border = inside & ((index % chip == chip - 1) | (index % chip == 0))
    sizes = np.where(border, wide, 1.0) * pixel
    begin = np.concatenate([[0.0], np.cumsum(sizes)[:-1]]) + index // chip * gap
    return np.stack([begin, begin + sizes], axis=-1)


def cirpad(pixel: tuple[float, float], chip: int, wide: float) -> Corners:
    """The XPad of twenty flat modules of 560 x 120 pixels around a circle, 6.74 degrees apart.

    A module is as long as 598 pixels: its 560, 18 more of the wide ones, and a gap of 20.
    """
    module = Rectangles(
        wide_borders(560, pixel[0], chip=chip, wide=wide),
        wide_borders(120, pixel[1], chip=120, wide=1.0),
    ).corners()
    length = 598 * 0.13e-3
    step = np.deg2rad(6.74)
    modules = []
    along = across = 0.0
    for index in range(20):
        angle = index * step
        cos, sin = np.cos(angle), np.sin(angle)
        placed = module.copy()
        placed[..., 0] = cos * module[..., 0] + sin * module[..., 1] + across
        placed[..., 1] = cos * module[..., 1] - sin * module[..., 0] + along
        modules.append(placed)
        along += length * cos
        across += length * sin
    return Corners(np.concatenate(modules))


def _joined(edges: FloatArray, factor: int) -> FloatArray:
    used = edges[: len(edges) - len(edges) % factor]
    return np.stack([used[::factor, 0], used[factor - 1 :: factor, 1]], axis=-1)
