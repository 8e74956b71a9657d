r"""Robust sums: what most pixels of a bin say, whatever some of them say.

The pixels of each bin are looked at side by side, with :math:`s` the signal of a pixel, :math:`w`
its weight and :math:`c` its share; the sums are those over the pixels that are kept.

Sigma clipping leaves out, again and again, the pixels for which
:math:`|s/w - \langle I \rangle| > t\,std`, with :math:`t = \max(threshold, \sqrt{2 \ln(n/\sqrt{2\pi})})`
for :math:`n` pixels in the bin (Chauvenet's criterion, as in pyFAI), until none is, or as often as
is allowed. No values are farther than their standard deviation from mean to median. Where counts or
a given variance tell the deviation, and these two are, outliers have carried the mean away: the
median stands for it, lest the mean of the outliers clips all the others.

Between two quantiles the pixels of a bin are sorted by their intensity :math:`s/w`; each spans the
part of the total weight :math:`\sum c w` that it contributes. Kept are those whose span overlaps the
part from one quantile to the other: for two equal values the median, or any other quantile. Pixels
of the same intensity follow each other as they do in the frame.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
from numpy.typing import NDArray

from bluesky_azint.engines.protocol import BadValues, Frames

if TYPE_CHECKING:
    from bluesky_azint.lookup.table import Lookup

FloatArray = NDArray[np.float64]
Kept = NDArray[np.bool_]

# Parts of the weight of a bin, and intensities, that are equal but for rounding.
ROUNDING = 1e-12


@dataclass(frozen=True, slots=True)
class RobustSums:
    r"""Sums per bin over the pixels that are kept, each ``(n_bins,)``.

    :math:`\sum c s`, its variance, :math:`\sum c w`, :math:`\sum c^2 w^2`, :math:`\sum c` and
    :math:`\sum c^2`.
    """

    signal: FloatArray
    variance: FloatArray
    weight: FloatArray
    weight2: FloatArray
    count: FloatArray
    count2: FloatArray


@dataclass(frozen=True, eq=False)
class PixelValues:
    """What is known of the pixels, flat arrays ``(n_pixels,)``.

    Parameters
    ----------
    weight
        Of each pixel.
    dark, dark_variance
        Dark signal and its variance; None for none.
    """

    weight: NDArray[np.float32]
    dark: FloatArray | None = None
    dark_variance: FloatArray | None = None


class RobustEngine(Protocol):
    """Sums the pixels of each bin that are kept; made for one look-up.

    A frame is a contiguous array ``(n_pixels,)`` of any numeric type; `variance` is that of its
    pixels, None where they are counts. The error model is one of
    `bluesky_azint.reduction.variance.ERROR_MODELS`.
    """

    @property
    def name(self) -> str:
        """As users choose it: ``"scipy"``, ``"opencl"``."""

    def sigma_clip(
        self,
        frame: Frames,
        variance: Frames | None,
        error_model: str,
        threshold: float,
        max_iterations: int,
    ) -> RobustSums:
        """Sums without the pixels that are too far from the mean of their bin.

        `threshold` is in standard deviations; outliers are sought `max_iterations` times at most.
        """

    def quantile_mean(
        self,
        frame: Frames,
        variance: Frames | None,
        error_model: str | None,
        low: float,
        high: float,
    ) -> RobustSums:
        """Sums over the pixels between two quantiles, from 0 to 1, of their bin."""


class SortedEngine:
    """Robust sums by NumPy; the sorting by bins is done once.

    Parameters
    ----------
    lookup
        Which pixel goes into which bin.
    bad
        Values that mark a pixel as bad.
    values
        What is known of the pixels.
    """

    name = "scipy"

    def __init__(self, lookup: Lookup, bad: BadValues, values: PixelValues) -> None:
        self._bad = bad
        self._values = values
        table = lookup.matrix.tocsr()
        self._starts = table.indptr.astype(np.int64)
        self._pixels = table.indices
        self._share = table.data

    def sigma_clip(
        self,
        frame: Frames,
        variance: Frames | None,
        error_model: str,
        threshold: float,
        max_iterations: int,
    ) -> RobustSums:
        """Sums without outliers, see `RobustEngine`."""
        entries, kept = self._entries(frame, variance)
        clipping = "azimuthal" if error_model == "hybrid" else error_model
        for _ in range(max_iterations):
            sums = entries.sums(kept, clipping)
            mean = _ratio(sums.signal, sums.weight)
            square = _ratio(sums.variance, sums.weight2)
            spread = np.sqrt(np.where(square < 0, np.nan, square))  # that tells nothing
            centre = mean
            if clipping != "azimuthal":
                centre = entries.centre(kept, mean, spread)
            limit = spread * np.maximum(threshold, _chauvenet(sums.count))
            limit += ROUNDING * (limit + np.abs(centre))
            far = np.abs(entries.intensity - entries.each(centre)) > entries.each(limit)
            if not (far & kept).any():
                break
            kept &= ~far
        return entries.sums(kept, error_model)

    def quantile_mean(
        self,
        frame: Frames,
        variance: Frames | None,
        error_model: str | None,
        low: float,
        high: float,
    ) -> RobustSums:
        """Sums between two quantiles, see `RobustEngine`."""
        entries, good = self._entries(frame, variance)
        order = np.lexsort((entries.intensity, entries.bins))
        weight = (entries.share * entries.weight)[order]
        total = entries.each(entries.sum(weight))
        total[total == 0] = 1.0
        # Sums that begin anew in each bin: of the differences from its mean, which stay small.
        place = np.arange(1, order.size + 1) - entries.each(entries.starts[:-1])
        mean = total / entries.each(np.diff(entries.starts))
        excess = np.cumsum(weight - mean)
        excess -= entries.each(np.r_[0.0, excess][entries.starts[:-1]])
        stop = (place * mean + excess) / total
        start = stop - weight / total
        # A quantile between two pixels is their mean; an interval that ends there has neither.
        margin = ROUNDING if low == high else -ROUNDING
        kept = np.zeros(order.size, dtype=bool)
        kept[order] = (stop >= low - margin) & (start <= high + margin)
        return entries.sums(kept & good, error_model)

    def _entries(self, frame: Frames, variance: Frames | None) -> tuple[BinEntries, Kept]:
        """The entries of a frame, and which are good; those that are not have no weight."""
        pixels, values = self._pixels, self._values
        good = ~self._bad(frame)[pixels]
        signal = np.where(good, frame[pixels].astype(np.float64), 0.0)
        spread = signal if variance is None else variance[pixels].astype(np.float64)
        if values.dark_variance is not None:
            spread = spread + values.dark_variance[pixels]
        if values.dark is not None:
            signal = signal - values.dark[pixels]
        weight = values.weight[pixels].astype(np.float64)
        intensity = np.where(good, signal / weight, np.inf)
        return BinEntries(
            self._starts, self._share, np.where(good, weight, 0.0), signal, spread, intensity
        ), good


@dataclass(frozen=True, eq=False)
class BinEntries:
    """The entries of a look-up sorted by bin.

    Parameters
    ----------
    starts
        Where the entries of each bin begin, ``(n_bins + 1,)``.
    share, weight, signal, variance, intensity
        Of each entry: the share of the pixel in the bin, and weight, signal, variance and intensity
        of the pixel.
    """

    starts: NDArray[np.int64]
    share: FloatArray
    weight: FloatArray
    signal: FloatArray
    variance: FloatArray
    intensity: FloatArray

    @property
    def n_bins(self) -> int:
        """Number of bins."""
        return self.starts.size - 1

    @property
    def bins(self) -> NDArray[np.int64]:
        """Bin of each entry."""
        return self.each(np.arange(self.n_bins))

    def each(self, values: NDArray[Any]) -> NDArray[Any]:
        """Values of the bins for each of their entries."""
        return np.repeat(values, np.diff(self.starts))

    def sum(self, values: FloatArray) -> FloatArray:
        """Sum of values in each bin."""
        sums = np.zeros(self.n_bins)
        filled = np.flatnonzero(np.diff(self.starts))
        sums[filled] = np.add.reduceat(values, self.starts[filled]) if filled.size else 0.0
        return sums

    def sums(self, kept: Kept, error_model: str | None) -> RobustSums:
        """The sums over the entries that are kept."""
        share = np.where(kept, self.share, 0.0)
        squares = share**2
        signal, weight = self.sum(share * self.signal), self.sum(share * self.weight)
        variance = self.variance
        if error_model in (None, "azimuthal"):
            # The distance of a pixel from the mean of its bin tells, squared.
            variance = (self.signal - self.weight * self.each(_ratio(signal, weight))) ** 2
        return RobustSums(
            signal,
            self.sum(squares * np.where(kept, variance, 0.0)),
            weight,
            self.sum(squares * self.weight**2),
            self.sum(share),
            self.sum(squares),
        )

    def centre(self, kept: Kept, mean: FloatArray, spread: FloatArray) -> FloatArray:
        """Mean of each bin, or the median where they are more than the spread apart.

        They are not where most entries are less than the spread away from the mean.
        """
        near = np.abs(self.intensity - self.each(mean)) <= self.each(spread)
        number = self.sum(kept.astype(np.float64))
        doubtful = 2 * self.sum((kept & near).astype(np.float64)) <= number
        median = self._medians(kept & self.each(doubtful))
        apart = doubtful & (number > 0) & (np.abs(mean - median) > spread)
        return np.where(apart, median, mean)

    def _medians(self, kept: Kept) -> FloatArray:
        """Median of the entries that are kept in each bin; 0 where there is none."""
        bins, intensity = self.bins[kept], self.intensity[kept]
        intensity = intensity[np.lexsort((intensity, bins))]
        number = np.bincount(bins, minlength=self.n_bins)
        filled = number > 0
        first = (np.cumsum(number) - number)[filled]
        low, high = first + (number[filled] - 1) // 2, first + number[filled] // 2
        medians = np.zeros(self.n_bins)
        medians[filled] = 0.5 * (intensity[low] + intensity[high])
        return medians


def _chauvenet(count: FloatArray) -> FloatArray:
    limit: FloatArray = np.sqrt(2.0 * np.log(np.maximum(count, 3.0) / np.sqrt(2.0 * np.pi)))
    return limit


def _ratio(numerator: FloatArray, denominator: FloatArray) -> FloatArray:
    return np.divide(numerator, denominator, out=np.zeros_like(numerator), where=denominator != 0)
