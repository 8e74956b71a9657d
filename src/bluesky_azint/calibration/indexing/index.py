"""Which of the ways a detector may stand explains the rings.

Each stand that keeps arcs even is stretched a little in distance and scored against the lines of
the calibrant. The best are fitted and scored again; two that put the rings in the same places are one.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from bluesky_azint.calibration.cone import two_theta
from bluesky_azint.calibration.indexing.candidates import Candidate, distinct, settle
from bluesky_azint.calibration.indexing.matching import Reference, explain
from bluesky_azint.calibration.indexing.peaks import find_peaks
from bluesky_azint.calibration.indexing.pieces import Pieces
from bluesky_azint.calibration.indexing.terrain import Terrain

FloatArray = NDArray[np.float64]

_STRETCH = 0.031  # half of a step of the search
_ASIDE, _FAR = 0.15, 2.5  # slope, detector sizes
_TRIED = 24  # candidates
_NO_RINGS = 2.3  # pixels: scatter along arcs that are none, of which 3 is the most there can be
_MARGIN = 0.03  # radians beyond the peaks, where lines may be missing
_MOST_PEAKS = 40  # that are told apart in the search
_ROUGH = 1.6  # pixels: how well places of arcs are known before they are fitted


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
    best = np.argsort(-np.concatenate(scores), kind="stable")[: 40 * _TRIED]
    chosen = _different(np.concatenate(starts)[best], terrain, _TRIED)
    candidates = [settle(pieces, stand, reference, terrain) for stand in chosen]
    return distinct([one for one in candidates if one is not None], terrain)


def _even(stands: FloatArray, scatter: FloatArray, terrain: Terrain) -> FloatArray:
    """The stands that keep arcs even, each but once; none if arcs are even for no stand."""
    if scatter.min(initial=np.inf) > _NO_RINGS:
        return stands[:0]
    order = np.argsort(scatter, kind="stable")
    order = order[scatter[order] < 1.5 * scatter.min() + 0.3]
    return _different(stands[order], terrain, len(order))


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


def _different(stands: FloatArray, terrain: Terrain, most: int) -> FloatArray:
    """The first stands that put rings in different places, so many at the most."""
    angles = two_theta(stands, terrain.few)
    chosen: list[int] = []
    for number, stand in enumerate(stands):
        apart = np.abs(angles[chosen] - angles[number]).mean(axis=1) / terrain.slope(stand)
        if (apart > _ROUGH).all():
            chosen.append(number)
        if len(chosen) == most:
            break
    different: FloatArray = stands[chosen]
    return different
