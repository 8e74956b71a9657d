"""One frame: from its pixels to the sums of its bins."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bluesky_azint.engines import Engine
from bluesky_azint.reduction.normalization import Normalization
from bluesky_azint.reduction.plan import Plan

FloatArray = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class BinSums:
    """Sums of one frame, each ``(n_bins,)``; see `bluesky_azint.reduction.result`."""

    signal: FloatArray
    variance: FloatArray | None
    normalization: FloatArray
    normalization2: FloatArray
    count: FloatArray


class FrameReducer:
    """Sums frames by a plan and an engine, without the pixels that are bad in a frame."""

    def __init__(self, plan: Plan, engine: Engine) -> None:
        self.plan = plan
        self.engine = engine
        # Most frames have the bad pixels of the frame before them.
        self._last = (np.empty(0, dtype=np.int64), plan.normalization)

    def __call__(self, frame: NDArray[Any], factor: float) -> BinSums:
        """Sum a flat frame, its weights multiplied by the normalization factor."""
        signal, square, bad = self.engine.sum_frame(frame)
        normalization = self._normalization(bad)
        filled = normalization.count > 0
        return BinSums(
            signal=np.where(filled, signal - normalization.dark, 0.0),
            variance=None if square is None else poisson_variance(square, normalization),
            normalization=normalization.weight * factor,
            normalization2=normalization.weight2 * factor**2,
            count=normalization.count,
        )

    def _normalization(self, bad: NDArray[np.int64]) -> Normalization:
        known, normalization = self._last
        if not np.array_equal(bad, known):
            excluded = self.plan.pixels.sums(self.plan.lookup, bad)
            normalization = self.plan.normalization.without(excluded)
            self._last = bad, normalization
        return normalization


def poisson_variance(square: FloatArray, normalization: Normalization) -> FloatArray:
    r"""Variance of the sums of counts, which is their expectation.

    .. math:: V = \max(\sum c_i^2 (raw_i + \mathrm{var}(dark_i)),\; \sum c_i^2 / \sum c_i)

    The counts of a bin estimate their own variance well, those of a pixel do not; so the bin has
    the floor, not the pixel: what one count, anywhere in the bin, would have given.

    Parameters
    ----------
    square
        :math:`\sum c_i^2\, raw_i` of each bin.
    normalization
        The sums of the pixels that are in it.
    """
    count = normalization.count
    floor = np.divide(normalization.count2, count, out=np.zeros_like(count), where=count > 0)
    return np.where(count > 0, np.maximum(square + normalization.dark_variance, floor), 0.0)
