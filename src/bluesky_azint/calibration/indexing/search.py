r"""Where the detector may stand, before any ring has a number.

Along a piece of a ring the scattering angle is constant, whichever ring it is. For a given
distance :math:`D` this alone tells the centre and the tilt: the scatter of :math:`2\theta` along
every arc, its own mean taken out, is minimised. It works for short arcs, for hyperbolae and with
the beam off the detector, and leaves one number open, the distance.

All lengths here are in sizes of the detector.
"""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import numpy as np
from numpy.typing import NDArray

from bluesky_azint.calibration.indexing.evenness import make_even
from bluesky_azint.calibration.indexing.pieces import Pieces
from bluesky_azint.calibration.indexing.starts import (
    centres_of_curvature,
    from_aside,
    starts,
    unevenness,
)

FloatArray = NDArray[np.float64]

NEAREST, FARTHEST = 0.15, 100.0  # distances that are tried
STEP = 1.06  # from one to the next
_STEEPEST = 1.5  # the distance along the beam over that along the normal
_ANCHORS_APART = 12  # steps between the distances where everything is tried, at most
_LEAST_ANCHORS = 5
_KEPT = 4  # of the stands at every anchor
_FITTED = 64  # of what is tried, the best
_THREADS = 2


def distances_between(limits: tuple[float, float] | None, size: float) -> FloatArray:
    """Distances to try, in detector sizes, for limits in metres.

    The limits are those along the normal of the detector; along the beam it is farther.
    """
    low, high = (NEAREST, FARTHEST) if limits is None else (limits[0] / size, limits[1] / size)
    if limits is not None:
        low, high = low / STEP, high * _STEEPEST * STEP
    return np.exp(np.arange(np.log(low), np.log(high), np.log(STEP)))


def stands(
    pieces: Pieces, centres: FloatArray, distances: FloatArray
) -> tuple[FloatArray, FloatArray]:
    """Stands along which arcs keep their angle, at each distance the best few.

    Parameters
    ----------
    pieces
        The arcs.
    centres
        Where the beam may be, ``(m, 2)``.
    distances
        That are tried, rising by `STEP`.

    Returns
    -------
    Parameters ``(k, 5)`` and the scatter along the arcs, in pixels.
    """
    anywhere = starts(centres)
    few = pieces.every(3)
    curvature = centres_of_curvature(pieces)

    # In a short range everything is tried more densely, and followed farther.
    short = len(distances) < _LEAST_ANCHORS * _ANCHORS_APART
    apart = max(1, len(distances) // _LEAST_ANCHORS) if short else _ANCHORS_APART
    reach = _ANCHORS_APART if short else _ANCHORS_APART // 2

    def around(anchor: int) -> list[tuple[FloatArray, FloatArray]]:
        distance = distances[anchor]
        outwards = distances[anchor + 1 : anchor + reach]
        inwards = distances[max(anchor - reach, 0) : anchor][::-1]
        tried = np.insert(anywhere, 2, distance, axis=1)
        tried = tried[np.argsort(unevenness(few, tried))[:_FITTED]]
        aside = from_aside(curvature, distance)
        return [
            *_path(pieces, tried, (outwards, inwards), False),
            *_path(pieces, aside, (outwards, inwards), True),
        ]

    with ThreadPoolExecutor(_THREADS) as pool:
        parts = pool.map(around, range(apart // 2, len(distances), apart))
        found = [one for part in parts for one in part]
    return np.concatenate([one for one, _ in found]), np.concatenate([cost for _, cost in found])


def _path(
    pieces: Pieces, starts: FloatArray, ways: tuple[FloatArray, FloatArray], aside: bool
) -> list[tuple[FloatArray, FloatArray]]:
    """The best few stands of a kind, and what they become on both ways to other distances."""
    if not len(starts):
        return []
    starts, cost = make_even(pieces.every(2), starts, 9, aside)
    best, cost = make_even(pieces, starts[_distinct(starts, cost, _KEPT)], 6, aside)
    found = [(best, cost)]
    for way in ways:
        moved = best
        for distance in way:
            moved = moved.copy()
            moved[:, 2] = distance
            moved, cost = make_even(pieces, moved, 2, aside)
            found.append((moved, cost))
    return found


def _distinct(parameters: FloatArray, cost: FloatArray, number: int) -> NDArray[np.intp]:
    """The best stands that differ from each other."""
    chosen: list[int] = []
    for index in np.argsort(cost):
        apart = np.abs(parameters[index] - parameters[chosen]).max(axis=1) if chosen else [1.0]
        if np.min(apart) > 0.03:
            chosen.append(int(index))
        if len(chosen) == number:
            break
    return np.array(chosen, dtype=np.intp)
