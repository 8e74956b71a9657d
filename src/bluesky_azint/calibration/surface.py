"""Where the pixels of a detector lie, by fractional index, before it is known how it stands.

An index is that of a pixel's centre: (0.0, 0.0) is the middle of the first pixel. Places are
``(3, n)`` arrays in metres, in the order (y, x, z) of `bluesky_azint.geometry.Position`: y along
the slow axis, x along the fast one, z along the normal, away from the sample.
"""

from __future__ import annotations

from dataclasses import replace
from functools import cached_property

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.ndimage import map_coordinates

from bluesky_azint.detectors import Detector
from bluesky_azint.geometry import Geometry

FloatArray = NDArray[np.float64]


class Surface:
    """The places of a detector's pixels.

    Parameters
    ----------
    detector
        With a shape.
    """

    def __init__(self, detector: Detector) -> None:
        self.detector = detector
        self.geometry = Geometry(detector=detector, dist=0.0)
        self.shape = self.geometry.shape

    def at(self, row: ArrayLike, column: ArrayLike) -> FloatArray:
        """Places of fractional indices, ``(3, n)``; of a regular grid they go on outside of it."""
        i = np.asarray(row, dtype=np.float64)
        j = np.asarray(column, dtype=np.float64)
        if self.detector.pixels is not None:
            return np.stack(
                [map_coordinates(one, [i, j], order=1, mode="nearest") for one in self._centres]
            )
        if self.detector.orientation in (1, 2):
            i = self.shape[0] - 1 - i
        if self.detector.orientation in (1, 4):
            j = self.shape[1] - 1 - j
        y = (i + 0.5) * self.detector.pixel1
        x = (j + 0.5) * self.detector.pixel2
        return np.stack([y, x, np.zeros_like(y)])

    def of_pixels(self, flat_index: NDArray[np.intp]) -> FloatArray:
        """Places of the centres of whole pixels, numbered in raster order, ``(3, n)``."""
        if self.detector.pixels is not None:
            return self._centres.reshape(3, -1)[:, flat_index]
        return self.at(*np.divmod(flat_index, self.shape[1]))

    @cached_property
    def _centres(self) -> FloatArray:
        place = self.geometry.centres()
        return np.stack([place.y, place.x, place.z])

    @property
    def size(self) -> float:
        """Length of the longer side, in metres."""
        return max(self.shape[0] * self.detector.pixel1, self.shape[1] * self.detector.pixel2)

    @property
    def pixel(self) -> float:
        """Size of a pixel, in metres: the geometric mean of both sides."""
        return float(np.sqrt(self.detector.pixel1 * self.detector.pixel2))

    @property
    def pixel_steps(self) -> FloatArray:
        """How far it is from a pixel to the next along both axes, in metres, negative if mirrored."""
        orientation = self.detector.orientation
        return np.array(
            [
                -self.detector.pixel1 if orientation in (1, 2) else self.detector.pixel1,
                -self.detector.pixel2 if orientation in (1, 4) else self.detector.pixel2,
            ]
        )

    def stand(self, **values: float) -> Geometry:
        """The geometry of this detector with these distances and rotations."""
        return replace(self.geometry, **values)  # type: ignore[arg-type]
