"""What of a detector rings can cover."""

from __future__ import annotations

from typing import Self

import numpy as np
from numpy.typing import NDArray

from bluesky_azint.calibration.cone import two_theta, two_theta_and_jacobian
from bluesky_azint.calibration.surface import Surface

FloatArray = NDArray[np.float64]

_PLACES = 7000  # that stand for the detector


class Terrain:
    """What of the detector can be covered by rings.

    Parameters
    ----------
    places
        Of pixels all over the detector that can be used, ``(3, n)``.
    pixels_each
        How many pixels each of them stands for.
    pixel
        Size of a pixel, in the unit of the places.
    """

    def __init__(self, places: FloatArray, pixels_each: float, pixel: float) -> None:
        self.places = places
        self.pixels_each = pixels_each
        self.pixel = pixel
        self.few = places[:, :: max(1, places.shape[1] // 100)]

    @classmethod
    def of(cls, surface: Surface, good: NDArray[np.bool_]) -> Self:
        """What can be used of a detector, every few pixels, in detector sizes."""
        step = max(1, int(np.sqrt(good.size / _PLACES)))
        rows, columns = np.nonzero(good[step // 2 :: step, step // 2 :: step])
        places = surface.at(rows * step + step // 2, columns * step + step // 2) / surface.size
        return cls(places, float(step**2), surface.pixel / surface.size)

    def slope(self, parameters: FloatArray) -> float:
        """Radians per pixel, in the middle of what there is."""
        _, jacobian = two_theta_and_jacobian(parameters, self.few)
        return float(np.median(np.linalg.norm(jacobian[:, :2], axis=1))) * self.pixel

    def arc_lengths(self, stands: FloatArray, two_theta_of: FloatArray) -> FloatArray:
        """Pixels of rings on the detector, ``(stands, rings)``, for stands that are much alike."""
        middle = stands[len(stands) // 2]
        angle = two_theta(middle, self.places)
        number, edges = np.histogram(angle, bins=128)
        length = number * self.pixels_each / (edges[1] - edges[0]) * self.slope(middle)
        # From one to the other angles shift and stretch, well enough for this.
        ends = self.places[:, [int(np.argmin(angle)), int(np.argmax(angle))]]
        low, high = two_theta(stands, ends).T[..., np.newaxis]
        share = (two_theta_of - low) / np.maximum(high - low, 1e-12)
        bins = (np.arange(128) + 0.5) / 128
        return np.asarray(np.interp(share, bins, length, left=0.0, right=0.0))

    def apart(self, one: FloatArray, other: FloatArray) -> float:
        """Root mean square difference of where two stands put rings, in pixels."""
        angle, jacobian = two_theta_and_jacobian(one, self.places)
        per_pixel = np.linalg.norm(jacobian[:, :2], axis=1) * self.pixel
        difference = (two_theta(other, self.places) - angle) / per_pixel
        return float(np.sqrt(np.mean(difference**2)))
