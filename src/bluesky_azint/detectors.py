"""Detectors: the shape, the pixels and the gaps of an area detector.

Axis 1 is the slow one (rows, "y"), axis 2 the fast one (columns, "x"). The origin is the outer
corner of pixel (0, 0), and lengths are in metres. The catalogue knows detectors by pyFAI's names.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from bluesky_azint.errors import GeometryError


@dataclass(frozen=True, eq=False)
class Detector:
    """A flat detector of equal, rectangular pixels.

    Parameters
    ----------
    pixel1, pixel2
        Size of a pixel along the slow and the fast axis, in metres.
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
    """

    pixel1: float
    pixel2: float
    shape: tuple[int, int] | None = None
    mask: NDArray[np.bool_] | None = None
    name: str = "Detector"
    dummy: float | None = None
    delta_dummy: float | None = None
    orientation: int = 3

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
        if self.mask is not None:
            mask = np.asarray(self.mask, dtype=bool)
            if self.shape is None:
                object.__setattr__(self, "shape", mask.shape)
            if mask.shape != self.shape:
                raise GeometryError(
                    f"The mask of detector {self.name!r} has the shape {mask.shape}, "
                    f"the detector {self.shape}; they must be equal."
                )
            object.__setattr__(self, "mask", mask)

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Detector):
            return NotImplemented
        return self._scalars() == other._scalars() and (
            self.mask is other.mask
            or (
                self.mask is not None
                and other.mask is not None
                and np.array_equal(self.mask, other.mask)
            )
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
        )
