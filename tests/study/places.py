"""Where rings and pixels are, by fractional index; pixel centres are at whole numbers."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numpy.typing import ArrayLike, NDArray

import bluesky_azint as ba

FloatArray = NDArray[np.float64]


def two_theta_at(geometry: ba.Geometry, i: ArrayLike, j: ArrayLike) -> FloatArray:
    """Scattering angles of fractional indices, in radians."""
    y, x, z = geometry.lab_from_plane(*places_in_plane(geometry, i, j))
    return np.arctan2(np.hypot(y, x), z)


def angle_of_pixel(geometry: ba.Geometry, i: ArrayLike, j: ArrayLike) -> FloatArray:
    """Length of the gradient of the scattering angle, in radians per pixel."""
    i, j = np.asarray(i, dtype=np.float64), np.asarray(j, dtype=np.float64)
    down = two_theta_at(geometry, i + 0.5, j) - two_theta_at(geometry, i - 0.5, j)
    right = two_theta_at(geometry, i, j + 0.5) - two_theta_at(geometry, i, j - 0.5)
    return np.hypot(down, right)


def places_on_ring(
    geometry: ba.Geometry, two_theta: float, azimuths: int = 360
) -> tuple[FloatArray, FloatArray]:
    """Fractional indices of places around a ring, NaN where it never meets the plane."""
    chi = np.linspace(-np.pi, np.pi, azimuths, endpoint=False)
    ray = np.stack(
        [
            np.sin(two_theta) * np.sin(chi),
            np.sin(two_theta) * np.cos(chi),
            np.full(azimuths, np.cos(two_theta)),
        ]
    )
    at_sample = replace(geometry, dist=0.0, poni1=0.0, poni2=0.0)
    y, x, z = (np.array(at_sample.lab_from_plane(*axis)) for axis in np.eye(3))
    ahead = z @ ray
    reach = geometry.dist / np.where(ahead > 1e-6, ahead, np.nan)
    i = (geometry.poni1 + reach * (y @ ray)) / geometry.detector.pixel1 - 0.5
    j = (geometry.poni2 + reach * (x @ ray)) / geometry.detector.pixel2 - 0.5
    return i, j


def on_detector(shape: tuple[int, int], i: FloatArray, j: FloatArray) -> NDArray[np.bool_]:
    """Whether fractional indices lie on the detector; NaN do not."""
    inside: NDArray[np.bool_] = (
        (i >= -0.5) & (i < shape[0] - 0.5) & (j >= -0.5) & (j < shape[1] - 0.5)
    )
    return inside


def places_in_plane(
    geometry: ba.Geometry, i: ArrayLike, j: ArrayLike
) -> tuple[FloatArray, FloatArray]:
    """Places in the plane of the detector of fractional indices, in metres."""
    detector = geometry.detector
    p1 = (np.asarray(i, dtype=np.float64) + 0.5) * detector.pixel1
    p2 = (np.asarray(j, dtype=np.float64) + 0.5) * detector.pixel2
    return p1, p2


def border(shape: tuple[int, int]) -> tuple[FloatArray, FloatArray]:
    """A coarse grid over the detector, its border included."""
    i = np.linspace(-1.0, shape[0], 33)[:, np.newaxis]
    j = np.linspace(-1.0, shape[1], 33)[np.newaxis, :]
    return i, j
