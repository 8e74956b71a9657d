"""What the simulated detector in an IOC shows: every frame differs, and can be told beforehand."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from bluesky_azint.detectors import detector
from bluesky_azint.geometry import Geometry

MODEL = "Maxipix_1x1"
GEOMETRY = Geometry(
    dist=0.05,
    poni1=0.006,
    poni2=0.008,
    rot1=0.02,
    rot2=-0.01,
    rot3=0.3,
    wavelength=0.7e-10,
    detector=detector(MODEL),
)
SHAPE = GEOMETRY.shape


def frame(number: int, motor: float) -> NDArray[np.int32]:
    """The frame of that number (1 is the first), taken with the motor at some place."""
    rows, columns = np.indices(SHAPE)
    pattern = 1000 + 3 * rows + 7 * columns + 100 * number
    return np.asarray(pattern * (1 + motor), dtype=np.int32)
