"""The rings get their numbers: stands that are tried, scored, and fitted to whole arcs.

Each stand that keeps arcs even is stretched a little in distance and scored against the lines of
the calibrant. The best are fitted, whole arcs to the nearest reference, ever more strictly, and scored
again; two that put the rings in the same places are one.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self

import numpy as np
from numpy.typing import NDArray

from bluesky_azint.calibration.cone import Cone, two_theta, two_theta_and_jacobian
from bluesky_azint.calibration.indexing.matching import Explanation, Peaks, Reference, explain
from bluesky_azint.calibration.indexing.search import Pieces
from bluesky_azint.calibration.surface import Surface

FloatArray = NDArray[np.float64]

_STRETCH = 0.031  # half of a step of the search
_ASIDE, _FAR = 0.15, 2.5  # slope, detector sizes
_ROUGH, _FINE = 1.6, 0.6  # how well places of arcs are known before and after the fit, pixels
_TRIED = 24  # candidates
_NO_RINGS = 2.3  # pixels: scatter along arcs that are none, of which 3 is the most there can be
_MARGIN = 0.03  # radians beyond the peaks, where lines may be missing
_MOST_PEAKS = 40  # that are told apart in the search
_PLACES = 7000  # that stand for the detector
_WITHIN = (6.0, 4.0, 3.0, 2.0, 1.5, 1.2, 1.2)  # pixels: how near to its line an arc must be
_ONE_PEAK = 1.5  # pixels between arcs of one ring
_UNEVEN = 2.0  # pixels: scatter of what is no arc of this stand
_SAME = 1.5  # pixels between rings of two candidates that are one
_TILT_PRIOR = 0.5  # slope


@dataclass(frozen=True, eq=False)
class Candidate:
    """A stand with numbers to its rings.

    Parameters
    ----------
    parameters
        As in `bluesky_azint.calibration.cone`, in the lengths of the pieces.
    explanation, peaks
        How lines and peaks go together.
    """

    parameters: FloatArray
    explanation: Explanation
    peaks: Peaks

    @property
    def score(self) -> float:
        """The log-likelihood ratio."""
        return float(self.explanation.score[0])

    @property
    def matched(self) -> int:
        """How many of the lines that should be seen are."""
        found = self.explanation.line[0]
        expected = np.flatnonzero(self.explanation.expected[0])
        return int(np.isin(expected, found).sum())

    @property
    def expected(self) -> int:
        """How many lines should be seen."""
        return int(self.explanation.expected[0].sum())

    @property
    def unexplained(self) -> float:
        """Share of the weight of all peaks that nobody knows."""
        weight = self.peaks.weight
        return float(weight[self.explanation.foreign[0]].sum() / max(weight.sum(), 1e-12))

    def cone(self, size: float) -> Cone:
        """The stand in metres; ``size`` is what the lengths of the pieces count in."""
        return Cone(*map(float, self.parameters * [size, size, size, 1.0, 1.0]))


class Terrain:
    """What of the detector can be covered by rings.

    Parameters
    ----------
    places
        Of pixels all over the detector that can be used, ``(3, n)``.
    pixels_each
        How many pixels each of them stands for.
    pixel
        Size of a pixel, in the unit of the places.
    """

    def __init__(self, places: FloatArray, pixels_each: float, pixel: float) -> None:
        self.places = places
        self.pixels_each = pixels_each
        self.pixel = pixel
        self.few = places[:, :: max(1, places.shape[1] // 100)]

    @classmethod
    def of(cls, surface: Surface, good: NDArray[np.bool_]) -> Self:
        """What can be used of a detector, every few pixels, in detector sizes."""
        step = max(1, int(np.sqrt(good.size / _PLACES)))
        rows, columns = np.nonzero(good[step // 2 :: step, step // 2 :: step])
        places = surface.at(rows * step + step // 2, columns * step + step // 2) / surface.size
        return cls(places, float(step**2), surface.pixel / surface.size)

    def slope(self, parameters: FloatArray) -> float:
        """Radians per pixel, in the middle of what there is."""
        _, jacobian = two_theta_and_jacobian(parameters, self.few)
        return float(np.median(np.linalg.norm(jacobian[:, :2], axis=1))) * self.pixel

    def arc_lengths(self, stands: FloatArray, two_theta_of: FloatArray) -> FloatArray:
        """Pixels of rings on the detector, ``(stands, rings)``, for stands that are much alike."""
        middle = stands[len(stands) // 2]
        angle = two_theta(middle, self.places)
        number, edges = np.histogram(angle, bins=128)
        length = number * self.pixels_each / (edges[1] - edges[0]) * self.slope(middle)
        # From one to the other angles shift and stretch, well enough for this.
        ends = self.places[:, [int(np.argmin(angle)), int(np.argmax(angle))]]
        low, high = two_theta(stands, ends).T[..., np.newaxis]
        share = (two_theta_of - low) / np.maximum(high - low, 1e-12)
        bins = (np.arange(128) + 0.5) / 128
        return np.asarray(np.interp(share, bins, length, left=0.0, right=0.0))

    def apart(self, one: FloatArray, other: FloatArray) -> float:
        """Root mean square difference of where two stands put rings, in pixels."""
        angle, jacobian = two_theta_and_jacobian(one, self.places)
        per_pixel = np.linalg.norm(jacobian[:, :2], axis=1) * self.pixel
        difference = (two_theta(other, self.places) - angle) / per_pixel
        return float(np.sqrt(np.mean(difference**2)))


def index(
    stands: FloatArray,
    scatter: FloatArray,
    coarse: Pieces,
    pieces: Pieces,
    reference: Reference,
    terrain: Terrain,
) -> list[Candidate]:
    """The stands that explain the arcs best, the best first.

    Parameters
    ----------
    stands, scatter
        As `bluesky_azint.calibration.indexing.search.stands` gives them.
    coarse, pieces
        The longest arcs, and all of them.
    reference
        Of the calibrant.
    terrain
        The detector.
    """
    starts, scores = [np.empty((0, 5))], [np.empty(0)]
    for stand in _even(stands, scatter, terrain):
        tried = _stretched(stand, terrain)
        peaks = find_peaks(coarse, stand, tried).strongest(_MOST_PEAKS)
        if peaks.per_pixel.size < 2:
            continue
        lines = reference.between(peaks.two_theta.min() - _MARGIN, peaks.two_theta.max() + _MARGIN)
        if not lines.two_theta.size:
            continue
        lengths = terrain.arc_lengths(tried, lines.two_theta)
        starts.append(tried)
        scores.append(explain(lines, peaks, lengths, _ROUGH).score)
    chosen = _best(np.concatenate(starts), np.concatenate(scores), terrain)
    candidates = [settle(pieces, stand, reference, terrain) for stand in chosen]
    return distinct([one for one in candidates if one is not None], terrain)


def distinct(candidates: list[Candidate], terrain: Terrain) -> list[Candidate]:
    """The candidates without doubles, the best first."""
    kept: list[Candidate] = []
    for candidate in sorted(candidates, key=lambda one: -one.score):
        if all(terrain.apart(candidate.parameters, one.parameters) > _SAME for one in kept):
            kept.append(candidate)
    return kept


def settle(
    pieces: Pieces, parameters: FloatArray, reference: Reference, terrain: Terrain
) -> Candidate | None:
    """Fit a stand to whole arcs on their nearest lines; None if fewer than three lines hold it."""
    for within in _WITHIN:
        line = _nearest_lines(pieces, parameters, reference, within)
        if len(np.unique(line[line >= 0])) < 2:
            return None
        parameters = _fit(pieces, parameters, reference, line, within)
    stands = parameters[np.newaxis]
    peaks = find_peaks(pieces, parameters, stands)
    lengths = terrain.arc_lengths(stands, reference.two_theta)
    return Candidate(parameters, explain(reference, peaks, lengths, _FINE), peaks)


def find_peaks(pieces: Pieces, parameters: FloatArray, stands: FloatArray) -> Peaks:
    """The rings that arcs are pieces of for one stand, and where others much like it see them."""
    angle, per_pixel, scatter = _mean_angles(pieces, parameters)
    arcs = np.flatnonzero(scatter < _UNEVEN)
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


def _stretched(stand: FloatArray, terrain: Terrain) -> FloatArray:
    """A stand at distances a little smaller and larger, so that no ring jumps over a line.

    Of a far detector that looks at the sample from aside, the foot of its normal stays where it is.
    """
    farthest = np.linalg.norm(terrain.few[:2].T - stand[:2], axis=1).max()
    step = min(_ROUGH * terrain.pixel / farthest, _STRETCH / 5)
    stretch = np.exp(np.arange(-_STRETCH, _STRETCH + step, step))
    tried = np.repeat(stand[np.newaxis], len(stretch), axis=0)
    tried[:, 2] *= stretch
    slope = float(np.hypot(*stand[3:]))
    if slope > _ASIDE and stand[2] > _FAR:
        sine = np.minimum(np.sin(np.arctan(slope)) / stretch, 0.98)
        tried[:, 3:] *= (sine / np.sqrt(1 - sine**2) / slope)[:, np.newaxis]
    return tried


def _even(stands: FloatArray, scatter: FloatArray, terrain: Terrain) -> FloatArray:
    """The stands that keep arcs even, each but once; none if arcs are even for no stand."""
    if scatter.min(initial=np.inf) > _NO_RINGS:
        return stands[:0]
    order = np.argsort(scatter, kind="stable")
    order = order[scatter[order] < 1.5 * scatter.min() + 0.3]
    angles = two_theta(stands[order], terrain.few)
    chosen: list[int] = []
    for number, index_ in enumerate(order):
        apart = np.abs(angles[chosen] - angles[number]).mean(axis=1) / terrain.slope(stands[index_])
        if (apart > _ROUGH).all():
            chosen.append(number)
    even: FloatArray = stands[order[chosen]]
    return even


def _best(starts: FloatArray, scores: FloatArray, terrain: Terrain) -> list[FloatArray]:
    """The starts of the best scores that put rings in different places."""
    starts = starts[np.argsort(-scores, kind="stable")[: 40 * _TRIED]]
    angles = two_theta(starts, terrain.few)
    chosen: list[int] = []
    for number in range(len(starts)):
        apart = np.abs(angles[chosen] - angles[number]).mean(axis=1) / terrain.slope(starts[number])
        if (apart > _ROUGH).all():
            chosen.append(number)
        if len(chosen) == _TRIED:
            break
    return list(starts[chosen])


def _mean_angles(
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


def _nearest_lines(
    pieces: Pieces, parameters: FloatArray, reference: Reference, within: float
) -> NDArray[np.intp]:
    """The line of each arc, -1 where none is near or the arc is uneven."""
    angle, per_pixel, scatter = _mean_angles(pieces, parameters)
    after = np.clip(np.searchsorted(reference.two_theta, angle), 1, len(reference.two_theta) - 1)
    nearer = angle - reference.two_theta[after - 1] < reference.two_theta[after] - angle
    line = np.where(nearer, after - 1, after)
    distance = np.abs(angle - reference.two_theta[line]) / per_pixel
    return np.where((distance < within) & (scatter < max(within, _UNEVEN)), line, -1)


def _fit(
    pieces: Pieces,
    parameters: FloatArray,
    reference: Reference,
    line: NDArray[np.intp],
    within: float,
) -> FloatArray:
    """Move a stand so that arcs lie on their reference."""
    of_point = line[pieces.arc]
    on_line = of_point >= 0
    places, target = pieces.places[:, on_line], reference.two_theta[of_point[on_line]]
    tilt = parameters[3:]
    for _ in range(2):
        angle, jacobian = two_theta_and_jacobian(parameters, places)
        per_pixel = np.linalg.norm(jacobian[:, :2], axis=1) * pieces.pixel + 1e-12
        residual = (angle - target) / per_pixel
        slopes = jacobian / per_pixel[:, np.newaxis]
        slopes[:, 2] *= parameters[2]  # the logarithm of the distance
        weight = 1.0 / (1.0 + (residual / (0.5 * within)) ** 2)
        normal = slopes.T @ (slopes * weight[:, np.newaxis])
        gradient = slopes.T @ (residual * weight)
        prior = 1e-3 * len(target) / _TILT_PRIOR**2
        normal[[3, 4], [3, 4]] += prior
        gradient[3:] += prior * (parameters[3:] - tilt)
        normal[range(5), range(5)] *= 1 + 1e-6
        step = np.linalg.lstsq(normal, gradient, rcond=1e-14)[0]
        longest = [0.3, 0.3, 0.1, 0.2, 0.2] * np.maximum(np.abs(parameters), 1.0)
        longest[2] = 0.1
        step /= max(1.0, float(np.abs(step / longest).max()))
        parameters = parameters - step * [1, 1, parameters[2], 1, 1]
    return parameters
