"""What a detector gives, as counts of photons.

Rings are told from noise by the noise that counts have. Values that are none (of a CCD, normalised,
less a dark frame) are brought to a scale on which their variance is about their mean.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

Mask = NDArray[np.bool_]
FloatArray = NDArray[np.float64]

_SENTINELS = 8  # different negative values, at most, that mark bad pixels; more are noise
_LOWEST = 0.1  # percent of the pixels that may stay below zero when noise is lifted above it
_TILE = 16  # pixels
_LEAST_TILES = 10
_MOST_COUNTS = 1e5  # in the brightest pixels: of values without noise


def lifted(frame: NDArray[Any], bad: Mask) -> tuple[NDArray[Any], Mask]:
    """The frame with noise around zero lifted above it, and the pixels that stay bad.

    Where a dark frame was subtracted half of the background is negative. A few values, and always
    the same, are marks of bad pixels and stay.

    Parameters
    ----------
    frame
        (rows, columns).
    bad
        Pixels without a count for other reasons than being negative.
    """
    negative = ~bad & (frame < 0)
    if not negative.any() or len(np.unique(frame[negative])) <= _SENTINELS:
        return frame, bad | negative
    values = np.asarray(frame, dtype=np.float64)
    values = values - np.percentile(values[~bad], _LOWEST)
    return values, bad | (values < 0)


def photons(frame: NDArray[Any], good: Mask) -> NDArray[Any]:
    """The frame on a scale on which the variance of a pixel is about its value.

    Whole numbers are counts already, unless they vary by more than counts do.
    """
    whole = frame.dtype.kind in "iu" or bool((frame[good] == np.floor(frame[good])).all())
    scale = max(_gain(frame, good), float(np.percentile(frame[good], 99.9)) / _MOST_COUNTS)
    if whole:
        scale = max(scale, 1.0)
    return frame if scale == 1.0 or scale <= 0 else frame / scale


def _gain(frame: NDArray[Any], good: Mask) -> float:
    """Variance over value, from the differences of neighbours; 1 where nothing can be told."""
    rows, columns = (length // _TILE for length in frame.shape)
    cut = slice(rows * _TILE), slice(columns * _TILE)
    tiles = frame[cut].reshape(rows, _TILE, columns, _TILE).swapaxes(1, 2)
    use = good[cut].reshape(rows, _TILE, columns, _TILE).swapaxes(1, 2).all(axis=(2, 3))
    some = tiles[use].astype(np.float64)
    mean = some.mean(axis=(1, 2)) if len(some) else np.empty(0)
    some = some[mean > 0]
    if len(some) < _LEAST_TILES:
        return 1.0
    variance = 0.5 * np.var(some[..., ::2] - some[..., 1::2], axis=(1, 2))
    # Rings make neighbours differ, too, and so do hot pixels: the tiles without tell.
    return float(np.percentile(variance / mean[mean > 0], 30))
