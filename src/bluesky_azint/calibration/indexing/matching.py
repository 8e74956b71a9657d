r"""Which distance is right: the rings found against those that a calibrant has.

For every line :math:`k` of the calibrant that the detector covers, two explanations of what is seen
compete: the line is there, and a peak lies near it; or peaks lie where they like. With
:math:`p_k` the probability that a line so bright would be seen, :math:`\rho` the density of peaks and
:math:`\delta` the distance of the nearest one, the log-likelihood ratio is

.. math::
    s_k = \ln\left(1 - p_k + p_k \frac{N(\delta;\,\sigma)}{\rho}\right)

The score is their sum, less a little for every peak that belongs to no line. How bright a line must
be to be seen is not known: the threshold that gives the best score is taken.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

FloatArray = NDArray[np.float64]

SEEN = 0.97  # probability of seeing a line far above the threshold
_THRESHOLDS = 10.0 ** np.linspace(-3.5, 0.0, 8)  # relative to the brightest line covered
_FOREIGN = 1.2  # cost of a peak of average weight that belongs to no line
_LEAST_ARC = 40.0  # pixels of a ring that must lie on the detector for it to be expected
_HIDDEN_BY_BRIGHTER = 8.0  # pixels: so near to a brighter line one is not expected by itself


@dataclass(frozen=True, eq=False)
class Reference:
    """The rings of a calibrant, rising.

    Parameters
    ----------
    two_theta
        In radians.
    brightness
        Expected, of a pixel on the ring, in any unit.
    others
        Angles of rings that are known to come from something else.
    """

    two_theta: FloatArray
    brightness: FloatArray
    others: FloatArray = field(default_factory=lambda: np.empty(0))

    def between(self, low: float, high: float) -> Reference:
        """The lines between two angles."""
        chosen = (self.two_theta >= low) & (self.two_theta <= high)
        return Reference(self.two_theta[chosen], self.brightness[chosen], self.others)

    def nearest(self, two_theta: FloatArray) -> NDArray[np.intp]:
        """The numbers of the lines that are nearest to angles."""
        lines = self.two_theta
        after = np.clip(np.searchsorted(lines, two_theta), 0, len(lines) - 1)
        before = np.maximum(after - 1, 0)
        return np.where(two_theta - lines[before] < lines[after] - two_theta, before, after)

    def hidden(self, per_pixel: float) -> NDArray[np.bool_]:
        """Which lines are so near to a brighter one that they need not show by themselves."""
        apart = np.abs(self.two_theta[:, np.newaxis] - self.two_theta) / per_pixel
        brighter = self.brightness > self.brightness[:, np.newaxis]
        return np.asarray(((apart < _HIDDEN_BY_BRIGHTER) & brighter).any(axis=1))


@dataclass(frozen=True, eq=False)
class Peaks:
    """Rings that were found in a frame, as several stands see them.

    Parameters
    ----------
    two_theta
        In radians, ``(stands, peaks)``.
    per_pixel
        Radians per pixel there, ``(peaks,)``.
    weight
        How much was found of each: the length of its arcs, of mean 1.
    """

    two_theta: FloatArray
    per_pixel: FloatArray
    weight: FloatArray

    def strongest(self, number: int) -> Peaks:
        """So many of the peaks, those of the largest weight."""
        if len(self.weight) <= number:
            return self
        chosen = np.sort(np.argsort(-self.weight, kind="stable")[:number])
        return Peaks(self.two_theta[:, chosen], self.per_pixel[chosen], self.weight[chosen])


@dataclass(frozen=True, eq=False)
class Explanation:
    """How lines and peaks go together, for several stands.

    Parameters
    ----------
    score
        The log-likelihood ratio, ``(stands,)``.
    line
        Number of the line of each peak, -1 for none, ``(stands, peaks)``.
    expected
        Which lines should be seen, ``(stands, lines)``.
    foreign
        Which peaks nobody knows, ``(stands, peaks)``.
    """

    score: FloatArray
    line: NDArray[np.intp]
    expected: NDArray[np.bool_]
    foreign: NDArray[np.bool_]


def explain(
    reference: Reference, peaks: Peaks, arc_length: FloatArray, sigma: float
) -> Explanation:
    """The best explanation of peaks by lines, for several stands.

    Parameters
    ----------
    reference, peaks
        What is expected, and what is seen.
    arc_length
        Pixels of each line that lie on the detector, ``(stands, lines)``.
    sigma
        How well a peak's place is known, in pixels.
    """
    covered = arc_length > _LEAST_ARC
    line, near = _pairs(reference, peaks, 3.0 * sigma)
    hit = np.exp(-0.5 * (near / sigma) ** 2) / (np.sqrt(2 * np.pi) * sigma) / _density(peaks)
    brightness = np.where(covered, reference.brightness, 0.0)
    brightest = np.maximum(brightness.max(axis=1, initial=0.0), 1e-300)
    hidden = reference.hidden(float(np.median(peaks.per_pixel)))
    ignored = ~covered | (hidden & ~np.isfinite(near))
    total = np.full(len(covered), -np.inf)
    expected = np.zeros(covered.shape, dtype=bool)
    for relative in _THRESHOLDS:
        threshold = relative * brightest[:, np.newaxis]
        seen = SEEN / (1.0 + (threshold / np.maximum(reference.brightness, 1e-300)) ** 2)
        terms = np.log1p(seen * (hit - 1.0))
        terms[ignored] = 0.0
        sums = terms.sum(axis=1)
        better = sums > total
        total = np.where(better, sums, total)
        expected[better] = (~ignored & (seen > 0.5))[better]
    foreign = (line < 0) & ~_known(reference, peaks, 3.0 * sigma)
    cost = np.where(foreign, np.minimum(peaks.weight, 2.0), 0.0).sum(axis=1)
    return Explanation(score=total - _FOREIGN * cost, line=line, expected=expected, foreign=foreign)


def _known(reference: Reference, peaks: Peaks, most: float) -> NDArray[np.bool_]:
    """Peaks of other known rings, and those beyond the last line of the calibrant."""
    beyond = peaks.two_theta > reference.two_theta[-1] + most * peaks.per_pixel
    if not reference.others.size:
        return np.asarray(beyond)
    apart = np.abs(peaks.two_theta[..., np.newaxis] - reference.others).min(axis=2)
    return np.asarray(beyond | (apart < most * peaks.per_pixel))


def _pairs(reference: Reference, peaks: Peaks, most: float) -> tuple[NDArray[np.intp], FloatArray]:
    """The line of each peak, and the distance of each line from its peak, in pixels.

    A line has one peak, the nearest of those that have no nearer line; inf where it has none.
    """
    lines, two_theta = reference.two_theta, peaks.two_theta
    nearest = reference.nearest(two_theta)
    apart = np.abs(two_theta - lines[nearest]) / peaks.per_pixel
    apart[apart > most] = np.inf
    # Numbered through all stands, every line keeps the nearest of its peaks.
    place = nearest + len(lines) * np.arange(len(two_theta))[:, np.newaxis]
    near = np.full(len(two_theta) * len(lines), np.inf)
    np.minimum.at(near, place, apart)
    is_it = np.isfinite(apart) & (apart == near[place])
    return np.where(is_it, nearest, -1), near.reshape(-1, len(lines))


def _density(peaks: Peaks) -> float:
    """Peaks per pixel, where there are any."""
    two_theta = np.sort(peaks.two_theta[len(peaks.two_theta) // 2])
    extent = float((two_theta[-1] - two_theta[0]) / np.median(peaks.per_pixel))
    number = len(two_theta)
    return (number + 1) / max(extent * (1.0 + 2.0 / max(number - 1, 1)), 100.0)
