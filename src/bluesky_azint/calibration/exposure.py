"""Whether an image is exposed well enough to be calibrated with, judged before any ring is known.

Rings stand out of their surroundings. How many photons they hold decides how well a geometry can
be known, with 100 000 the centre of the beam to some 0.01 pixels; and what is saturated has lost the
shape that its place is told by.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter, zoom

from bluesky_azint.errors import FrameError

FloatArray = NDArray[np.float64]

WANTED_PHOTONS = 1e5
LARGEST_SATURATED = 0.05  # share of the ring pixels
_SMOOTHING = 1.5  # pixels
_BLOCK = 32  # pixels, wider than a ring
_SIGNIFICANT = 5.0  # errors
_STEEPEST = 10.0  # times longer, at once
_SHORTER = 0.3
_WIDEST_MARKED = 16  # bits: the largest value of wider types marks pixels that are none


@dataclass(frozen=True, kw_only=True)
class Exposure:
    """How an image is exposed.

    Parameters
    ----------
    photons
        Counts of all ring pixels, above their surroundings.
    saturated
        Share of the ring pixels that are, 0 to 1.
    peak
        What the brightest ring pixels count, all but one in a thousand below it.
    limit
        What a pixel can count; infinite if it is not known.
    """

    photons: float
    saturated: float
    peak: float
    limit: float

    @property
    def good(self) -> bool:
        """Whether there are enough photons, and few pixels saturated."""
        return self.photons >= WANTED_PHOTONS and self.saturated <= LARGEST_SATURATED

    def next_time(self, time: float, longest: float) -> float | None:
        """How long to expose after this image; None if it is good, or as good as it gets.

        Parameters
        ----------
        time
            How long this one was exposed, in seconds.
        longest
            How long it may be exposed, in seconds.
        """
        if self.good:
            return None
        if self.saturated > LARGEST_SATURATED:
            return time * _SHORTER
        factor = 1.5 * WANTED_PHOTONS / max(self.photons, 1.0)
        headroom = 0.8 * self.limit / max(self.peak, 1.0)
        longer = time * min(factor, headroom, _STEEPEST)
        if time >= longest or longer < 1.1 * time:
            return None
        return min(longer, longest)


def judge_exposure(
    image: NDArray[Any], mask: NDArray[np.bool_] | None = None, saturation: float | None = None
) -> Exposure:
    """Look at how an image is exposed.

    Parameters
    ----------
    image
        Of one exposure, (rows, columns), in the type of the detector.
    mask
        Of that shape, True = pixels that do not count.
    saturation
        Counts from which on a pixel is saturated; None is the largest value of integers up to 16
        bits, and none otherwise.

    Raises
    ------
    FrameError
        If image and mask have different shapes.
    """
    if mask is not None and mask.shape != image.shape:
        raise FrameError(
            f"The image has the shape {image.shape}, the mask of the detector {mask.shape}; check "
            "which model the detector is."
        )
    limit = _limit(image.dtype) if saturation is None else float(saturation)
    counts = np.asarray(image, dtype=np.float64)
    good = np.isfinite(counts) & (counts >= 0)
    if mask is not None:
        good &= ~mask
    if image.dtype.kind in "iu" and np.iinfo(image.dtype).bits > _WIDEST_MARKED:
        good &= image != np.iinfo(image.dtype).max
    background = _background(counts, good)
    weight = gaussian_filter(good.astype(np.float64), _SMOOTHING)
    excess = np.where(good, counts - background, 0.0)
    smooth = gaussian_filter(excess, _SMOOTHING) / np.maximum(weight, 1e-3)
    # The variance that a smoothed pixel has of its own.
    noise = np.sqrt(np.maximum(background, 0.05) / (4 * np.pi * _SMOOTHING**2))
    ring = good & (smooth > _SIGNIFICANT * noise)
    if not ring.any():
        return Exposure(photons=0.0, saturated=0.0, peak=0.0, limit=limit)
    return Exposure(
        photons=float(excess[ring].sum()),
        saturated=float(np.mean(counts[ring] >= limit)),
        peak=float(np.quantile(counts[ring], 0.999)),
        limit=limit,
    )


def _limit(dtype: np.dtype[Any]) -> float:
    if dtype.kind in "iu" and np.iinfo(dtype).bits <= _WIDEST_MARKED:
        return float(np.iinfo(dtype).max)
    return np.inf


def _background(counts: FloatArray, good: NDArray[np.bool_]) -> FloatArray:
    """The median of each block, and what lies between them."""
    rows, columns = counts.shape
    down, across = max(rows // _BLOCK, 1), max(columns // _BLOCK, 1)
    values = np.where(good, counts, np.nan)
    overall = float(np.median(counts[good])) if good.any() else 0.0
    blocks = np.full((down, across), overall)
    for i, part in enumerate(np.array_split(values, down)):
        for j, block in enumerate(np.array_split(part, across, axis=1)):
            known = block[np.isfinite(block)]
            if known.size > block.size // 10:
                blocks[i, j] = np.median(known)
    wide: FloatArray = zoom(
        blocks, (rows / down, columns / across), order=1, mode="nearest", grid_mode=True
    )
    return wide
