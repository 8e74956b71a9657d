r"""A frame made ready to look for rings in: small enough, of even noise, and without holes.

Blocks of pixels are summed until about a million are left; counts :math:`N` become
:math:`2\sqrt{N + 3/8}`, whose noise is 1 whatever the counts (Anscombe, Biometrika 35 (1948) 246).
Pixels far off all their neighbours, and those without a count to trust, are replaced by what lies
around them.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

FloatArray = NDArray[np.float64]
Mask = NDArray[np.bool_]

_NEIGHBOURS = np.array([[1, 1, 1], [1, 0, 1], [1, 1, 1]], dtype=bool)
_OUTLIER_RATIO = 4.0  # of a pixel to its second neighbour in brightness
_OUTLIER_SIGMAS = 6.0
_FILL_WIDTHS = (1.5, 6.0, 24.0, 96.0)  # pixels; each fills what the one before could not


@dataclass(frozen=True, eq=False)
class CleanFrame:
    """A frame of even noise.

    Parameters
    ----------
    values
        Stabilised counts, everywhere finite.
    valid
        False near gaps and shadows of the mask, where values are invented.
    binning
        How many pixels of the detector, along each axis, one of these is.
    """

    values: NDArray[np.float32]
    valid: Mask
    binning: int

    def to_detector(self, index: FloatArray) -> FloatArray:
        """Indices on the detector of indices here, pixel centres at whole numbers."""
        return (index + 0.5) * self.binning - 0.5


def clean(image: NDArray[Any], mask: Mask, binning: int) -> CleanFrame:
    """Stabilise a frame in blocks of ``binning`` squared pixels.

    Parameters
    ----------
    image
        Counts, (rows, columns).
    mask
        Pixels without a count to trust.
    binning
        Size of the blocks; what is left over at the end is cut off.
    """
    good = ~mask
    counts = np.where(good, image, 0).astype(np.float32)
    known = block_sum(good, binning)
    valid = 2 * known >= binning**2
    counts = block_sum(counts, binning)
    counts = np.where(valid, counts * (binning**2 / np.maximum(known, 1)), 0)
    values = stabilised(counts)
    valid &= ~_outliers(counts, values)
    # Single pixels are filled well; what is wider hides whole pieces of rings.
    wide = ndimage.binary_dilation(
        ndimage.binary_erosion(~valid, np.ones((2, 2), bool)), iterations=5
    )
    return CleanFrame(_filled(values, valid), ~wide, binning)


def stabilised(counts: NDArray[np.float32]) -> NDArray[np.float32]:
    """Counts on a scale on which their noise is 1."""
    return np.asarray(2.0 * np.sqrt(np.maximum(counts, 0) + 0.375), dtype=np.float32)


def block_sum(array: NDArray[Any], binning: int) -> NDArray[np.float32]:
    """Sums of blocks of ``binning`` squared pixels."""
    if binning == 1:
        return array.astype(np.float32)
    rows, columns = (length // binning for length in array.shape)
    blocks = array[: rows * binning, : columns * binning]
    lines = np.add.reduceat(blocks, np.arange(0, rows * binning, binning), axis=0, dtype=np.float32)
    summed: NDArray[np.float32] = lines.reshape(rows, columns, binning).sum(axis=2)
    return summed


def _outliers(counts: NDArray[np.float32], values: NDArray[np.float32]) -> Mask:
    """Pixels far above or far below all their neighbours."""
    second = ndimage.rank_filter(counts, rank=-2, footprint=_NEIGHBOURS)
    hot = counts > _OUTLIER_RATIO * second
    hot &= values > stabilised(second) + _OUTLIER_SIGMAS
    second = ndimage.rank_filter(counts, rank=1, footprint=_NEIGHBOURS)
    dead = _OUTLIER_RATIO * counts < second
    dead &= values < stabilised(second) - _OUTLIER_SIGMAS
    outliers: Mask = hot | dead
    return outliers


def _filled(values: NDArray[np.float32], valid: Mask) -> NDArray[np.float32]:
    """Values with the holes filled by Gaussian means of what lies around them."""
    known = valid.astype(np.float32)
    filled = values * known
    for width in _FILL_WIDTHS:
        missing = known == 0
        if not missing.any():
            break
        weight = ndimage.gaussian_filter(known, width, truncate=2.5)
        mean = ndimage.gaussian_filter(filled, width, truncate=2.5)
        reached = missing & (weight > 0.05)
        filled[reached] = mean[reached] / weight[reached]
        known[reached] = 1.0
    filled[known == 0] = np.median(values[valid]) if valid.any() else 0.0
    return filled
