"""From arcs to rings: those of one angle are pieces of one."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from bluesky_azint.calibration.cone import two_theta, two_theta_and_jacobian
from bluesky_azint.calibration.indexing.matching import Peaks
from bluesky_azint.calibration.indexing.pieces import Pieces

FloatArray = NDArray[np.float64]

_ONE_PEAK = 1.5  # pixels between arcs of one ring
UNEVEN = 2.0  # pixels: scatter of what is no arc of this stand


def find_peaks(pieces: Pieces, parameters: FloatArray, stands: FloatArray) -> Peaks:
    """The rings that arcs are pieces of for one stand, and where others much like it see them."""
    angle, per_pixel, scatter = mean_angles(pieces, parameters)
    arcs = np.flatnonzero(scatter < UNEVEN)
    arcs = arcs[np.argsort(angle[arcs])]
    weight, angle, per_pixel = pieces.extent[arcs], angle[arcs], per_pixel[arcs]
    if not arcs.size:
        return Peaks(np.empty((len(stands), 0)), angle, weight)
    first = np.concatenate([[True], np.diff(angle) > _ONE_PEAK * per_pixel[1:]])
    group = np.cumsum(first) - 1
    total = np.bincount(group, weight)
    mean = np.bincount(group, weight * angle) / total
    slope = np.bincount(group, weight * per_pixel) / total
    # A point of each ring tells how it moves from stand to stand.
    point = np.searchsorted(pieces.arc, arcs[first]) + pieces.lengths[arcs[first]] // 2
    places = pieces.places[:, point]
    moved = two_theta(stands, places) - two_theta(parameters, places)
    return Peaks(mean + moved, slope, total / total.mean())


def mean_angles(
    pieces: Pieces, parameters: FloatArray
) -> tuple[FloatArray, FloatArray, FloatArray]:
    """Mean angle of each arc, radians per pixel there, and its scatter in pixels."""
    angle, jacobian = two_theta_and_jacobian(parameters, pieces.places)
    per_pixel = np.linalg.norm(jacobian[:, :2], axis=1) * pieces.pixel + 1e-12
    number = pieces.lengths
    mean = np.bincount(pieces.arc, angle) / number
    slope = np.bincount(pieces.arc, per_pixel) / number
    deviation = (angle - mean[pieces.arc]) / per_pixel
    return mean, slope, np.sqrt(np.bincount(pieces.arc, deviation**2) / number)
