"""The rings get their numbers: whole arcs go to the nearest lines, ever more strictly."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from bluesky_azint.calibration.cone import Cone, two_theta_and_jacobian
from bluesky_azint.calibration.indexing.matching import Explanation, Peaks, Reference, explain
from bluesky_azint.calibration.indexing.peaks import UNEVEN, find_peaks, mean_angles
from bluesky_azint.calibration.indexing.pieces import Pieces
from bluesky_azint.calibration.indexing.terrain import Terrain

FloatArray = NDArray[np.float64]

_WITHIN = (6.0, 4.0, 3.0, 2.0, 1.5, 1.2, 1.2)  # pixels: how near to its line an arc must be
_SAME = 1.5  # pixels between rings of two candidates that are one
_TILT_PRIOR = 0.5  # slope
_AS_COMPLETE = 0.5  # times as much of its ring as of the calibrant's is found
_SHORTEST = 40.0  # pixels
_BEAM = 0.7  # of the angle of the first ring
_FINE = 0.6  # pixels: how well places of arcs are known


@dataclass(frozen=True, eq=False)
class Candidate:
    """A stand with numbers to its rings.

    Parameters
    ----------
    parameters
        As in `bluesky_azint.calibration.cone`, in the lengths of the pieces.
    explanation, peaks
        How lines and peaks go together.
    arc_length
        Pixels of each peak's ring that lie on the detector.
    """

    parameters: FloatArray
    explanation: Explanation
    peaks: Peaks
    arc_length: FloatArray

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

    @property
    def foreign_rings(self) -> int:
        """How many rings that nobody knows are about as complete as those of the calibrant."""
        complete = self.peaks.weight / np.maximum(self.arc_length, _SHORTEST)
        known = self.explanation.line[0] >= 0
        if not known.any():
            return 0
        least = _AS_COMPLETE * float(np.median(complete[known]))
        # Around the beam there are stops and glow.
        two_theta = self.peaks.two_theta[0]
        outside = two_theta > _BEAM * two_theta[known].min()
        return int(np.count_nonzero(self.explanation.foreign[0] & outside & (complete > least)))

    def cone(self, size: float) -> Cone:
        """The stand in metres; ``size`` is what the lengths of the pieces count in."""
        return Cone(*map(float, self.parameters * [size, size, size, 1.0, 1.0]))


def settle(
    pieces: Pieces, parameters: FloatArray, reference: Reference, terrain: Terrain
) -> Candidate | None:
    """Fit a stand to whole arcs on their nearest lines; None if fewer than two lines hold it."""
    for within in _WITHIN:
        line = _nearest_lines(pieces, parameters, reference, within)
        if len(np.unique(line[line >= 0])) < 2:
            return None
        parameters = _fit(pieces, parameters, reference, line, within)
        if not np.isfinite(parameters).all():
            return None
    stands = parameters[np.newaxis]
    peaks = find_peaks(pieces, parameters, stands)
    lengths = terrain.arc_lengths(stands, reference.two_theta)
    arc_length = terrain.arc_lengths(stands, peaks.two_theta[0])[0]
    return Candidate(parameters, explain(reference, peaks, lengths, _FINE), peaks, arc_length)


def distinct(candidates: list[Candidate], terrain: Terrain) -> list[Candidate]:
    """The candidates without doubles, the best first."""
    kept: list[Candidate] = []
    for candidate in sorted(candidates, key=lambda one: -one.score):
        if all(terrain.apart(candidate.parameters, one.parameters) > _SAME for one in kept):
            kept.append(candidate)
    return kept


def _nearest_lines(
    pieces: Pieces, parameters: FloatArray, reference: Reference, within: float
) -> NDArray[np.intp]:
    """The line of each arc, -1 where none is near or the arc is uneven."""
    angle, per_pixel, scatter = mean_angles(pieces, parameters)
    line = reference.nearest(angle)
    distance = np.abs(angle - reference.two_theta[line]) / per_pixel
    return np.where((distance < within) & (scatter < max(within, UNEVEN)), line, -1)


def _fit(
    pieces: Pieces,
    parameters: FloatArray,
    reference: Reference,
    line: NDArray[np.intp],
    within: float,
) -> FloatArray:
    """Move a stand so that arcs lie on their lines; NaN if it cannot be."""
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
        if not np.isfinite(normal).all():
            return np.full(5, np.nan)  # the beam runs through a point of an arc
        step = np.linalg.lstsq(normal, gradient, rcond=1e-14)[0]
        longest = [0.3, 0.3, 0.1, 0.2, 0.2] * np.maximum(np.abs(parameters), 1.0)
        longest[2] = 0.1
        step /= max(1.0, float(np.abs(step / longest).max()))
        parameters = parameters - step * [1, 1, parameters[2], 1, 1]
    return parameters
