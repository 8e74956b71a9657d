r"""Robust reducers: what most pixels of a bin say, whatever some of them say.

Both work on the pixels of each bin side by side, with :math:`s` the signal of a pixel, :math:`w` its
weight and :math:`c` its share, and give the sums over the pixels they keep.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from bluesky_azint.lookup import Lookup
from bluesky_azint.reduction.frame import BinSums, Frame
from bluesky_azint.reduction.plan import Plan

FloatArray = NDArray[np.float64]
Kept = NDArray[np.bool_]

# Parts of the weight of a bin that are equal but for rounding.
ROUNDING = 1e-12


@dataclass(frozen=True, eq=False)
class BinEntries:
    """The entries of a look-up sorted by bin, without the pixels that are bad in a frame.

    Parameters
    ----------
    n_bins
        Number of bins.
    bins, share, weight, signal, variance
        Of each entry: its bin, the share of the pixel in it, and weight, signal and variance of
        the pixel.
    """

    n_bins: int
    bins: NDArray[np.int64]
    share: FloatArray
    weight: FloatArray
    signal: FloatArray
    variance: FloatArray

    def sum(self, values: FloatArray, kept: Kept) -> FloatArray:
        """Sum of values in each bin, over the entries that are kept."""
        return np.bincount(self.bins[kept], values[kept], minlength=self.n_bins).astype(np.float64)

    def sums(self, kept: Kept, variance: FloatArray | None) -> BinSums:
        """The sums over the entries that are kept; `variance` is that of each pixel."""
        squares = self.share**2
        return BinSums(
            signal=self.sum(self.share * self.signal, kept),
            variance=None if variance is None else self.sum(squares * variance, kept),
            normalization=self.sum(self.share * self.weight, kept),
            normalization2=self.sum(squares * self.weight**2, kept),
            count=self.sum(self.share, kept),
            count2=self.sum(squares, kept),
        )


def bin_entries(
    plan: Plan,
    lookup: Lookup,
    frame: Frame,
    factor: float,
    variance: Frame | None,
) -> BinEntries:
    """The entries of a frame.

    Parameters
    ----------
    plan, lookup
        What is known before the frame.
    frame, factor, variance
        A flat frame, what its weights are multiplied by, and the variance of its pixels: None
        takes their counts.
    """
    shares = lookup.shares_of(np.flatnonzero(~plan.bad(frame)))
    order = np.argsort(shares.bin, kind="stable")
    pixel = np.flatnonzero(~plan.bad(frame))[shares.pixel[order]]
    signal = plan.pixels.net(frame)[pixel]
    spread = np.asarray(frame if variance is None else variance)[pixel].astype(np.float64)
    if plan.pixels.dark_variance is not None:
        spread = spread + plan.pixels.dark_variance[pixel]
    return BinEntries(
        n_bins=lookup.n_bins,
        bins=shares.bin[order],
        share=shares.weight[order],
        weight=plan.pixels.weight[pixel].astype(np.float64) * factor,
        signal=signal,
        variance=spread,
    )


def sigma_clip(
    entries: BinEntries, error_model: str, threshold: float, max_iterations: int
) -> BinSums:
    r"""Sums without the pixels that are too far from the mean of their bin.

    Again and again, those are left out for which
    :math:`|s/w - \langle I \rangle| > t\,std`, with
    :math:`t = \max(threshold, \sqrt{2 \ln(n/\sqrt{2\pi})})` for :math:`n` pixels in the bin
    (Chauvenet's criterion, as in pyFAI), until none is, or `max_iterations` times.

    No values are farther than their standard deviation from mean to median. Where counts or a
    given variance tell the deviation, and these two are, outliers have carried the mean away: the
    median stands for it, lest the mean of the outliers clips all the others.

    Parameters
    ----------
    entries
        The pixels, bin by bin.
    error_model
        What the standard deviation of a pixel comes from.
    threshold
        In standard deviations.
    max_iterations
        How often at the most.
    """
    kept = np.ones(entries.bins.size, dtype=bool)
    intensity = entries.signal / entries.weight
    order = np.lexsort((intensity, entries.bins))
    clipping = "azimuthal" if error_model == "hybrid" else error_model
    for _ in range(max_iterations):
        variance = _variances(entries, kept, clipping)
        sums = entries.sums(kept, None)
        mean = _ratio(sums.signal, sums.normalization)
        spread = np.sqrt(
            _ratio(entries.sum(entries.share**2 * variance, kept), sums.normalization2)
        )
        centre = mean
        if clipping != "azimuthal":
            median = _medians(entries, intensity, order[kept[order]])
            centre = np.where(np.abs(mean - median) > spread, median, mean)
        limit = spread * np.maximum(threshold, _chauvenet(sums.count))
        near = np.abs(intensity - centre[entries.bins]) <= limit[entries.bins]
        if (near | ~kept).all():
            break
        kept &= near
    return entries.sums(kept, _variances(entries, kept, error_model))


def quantile_mean(entries: BinEntries, low: float, high: float, error_model: str | None) -> BinSums:
    r"""Sums over the pixels between two quantiles of the intensity of their bin.

    The pixels of a bin are sorted by their intensity :math:`s/w`; each spans the part of the total
    weight :math:`\sum c w` that it contributes. Kept are those whose span overlaps the part from
    `low` to `high`: for two equal values the median, or any other quantile.

    Parameters
    ----------
    entries
        The pixels, bin by bin.
    low, high
        Between 0 and 1.
    error_model
        For the variance of the sums; None for no errors.
    """
    order = np.lexsort((entries.signal / entries.weight, entries.bins))
    weight = (entries.share * entries.weight)[order]
    bins = entries.bins[order]
    total = np.bincount(bins, weight, minlength=entries.n_bins)
    end = np.cumsum(weight)
    before = np.r_[0.0, np.cumsum(total)[:-1]]
    stop = (end - before[bins]) / total[bins]
    start = stop - weight / total[bins]
    # A quantile between two pixels is their mean; an interval that ends there has neither.
    margin = ROUNDING if low == high else -ROUNDING
    kept = np.zeros(bins.size, dtype=bool)
    kept[order] = (stop >= low - margin) & (start <= high + margin)
    variance = None if error_model is None else _variances(entries, kept, error_model)
    return entries.sums(kept, variance)


def _medians(entries: BinEntries, intensity: FloatArray, order: NDArray[np.int64]) -> FloatArray:
    """Median of each bin, 0 of an empty one: of the entries of `order`, sorted in their bins."""
    number = np.bincount(entries.bins[order], minlength=entries.n_bins)
    first = np.cumsum(number) - number
    filled = number > 0
    low, high = first + np.maximum(number - 1, 0) // 2, first + number // 2
    medians = np.zeros(entries.n_bins)
    medians[filled] = 0.5 * (intensity[order[low[filled]]] + intensity[order[high[filled]]])
    return medians


def _variances(entries: BinEntries, kept: Kept, error_model: str) -> FloatArray:
    """Variance of each pixel: known, or its distance from the mean of its bin, squared."""
    if error_model != "azimuthal":
        return entries.variance
    sums = entries.sums(kept, None)
    mean = _ratio(sums.signal, sums.normalization)
    deviation: FloatArray = entries.signal - entries.weight * mean[entries.bins]
    return deviation**2


def _chauvenet(count: FloatArray) -> FloatArray:
    limit: FloatArray = np.sqrt(2.0 * np.log(np.maximum(count, 3.0) / np.sqrt(2.0 * np.pi)))
    return limit


def _ratio(numerator: FloatArray, denominator: FloatArray) -> FloatArray:
    return np.divide(numerator, denominator, out=np.zeros_like(numerator), where=denominator != 0)
