"""Where to begin: centres and tilts that a detector may have at some distance."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from bluesky_azint.calibration.cone import two_theta
from bluesky_azint.calibration.indexing.pieces import Pieces
from bluesky_azint.calibration.rings.circles import Circle
from bluesky_azint.calibration.rings.ridges import Arcs
from bluesky_azint.calibration.surface import Surface

FloatArray = NDArray[np.float64]

_MIDDLE = 0.5
_ASIDE = 0.8  # detector sizes from the middle of the detector to that of the rings
_CIRCLES = 10
_BEYOND = 1.6  # detector sizes beyond the edges, where a centre may be
_CELLS = 48  # of the vote for a centre, per detector size
_TILTS = (0.25, 0.6, 1.0)  # slopes
_GRID = 0.2  # detector sizes


def likely_centres(arcs: Arcs, surface: Surface, number: int = 6) -> FloatArray:
    """Where the normals of the arcs meet, in detector sizes, ``(number, 2)``."""
    points = (surface.at(arcs.row, arcs.column) / surface.size)[:2].T
    keep = np.random.default_rng(0).permutation(len(points))[:3000]
    points, normals = points[keep], arcs.normal[keep] / surface.pixel_steps
    normals /= np.linalg.norm(normals, axis=1, keepdims=True)
    along = np.arange(-3.0, 3.0, 0.7 / _CELLS)
    lines = points[:, np.newaxis] + along[:, np.newaxis] * normals[:, np.newaxis]
    cells = int((1 + 2 * _BEYOND) * _CELLS)
    cell = np.floor((lines + _BEYOND) * _CELLS).astype(np.intp)
    inside = ((cell >= 0) & (cell < cells)).all(axis=-1)
    flat = cell[inside][:, 0] * cells + cell[inside][:, 1]
    votes = np.bincount(flat, minlength=cells * cells).reshape(cells, cells).astype(np.float64)
    centres = []
    for _ in range(number):
        peak = np.array(np.unravel_index(np.argmax(votes), votes.shape))
        centres.append((peak + 0.5) / _CELLS - _BEYOND)
        low = np.maximum(peak - _CELLS // 8, 0)
        votes[low[0] : peak[0] + _CELLS // 8 + 1, low[1] : peak[1] + _CELLS // 8 + 1] = 0
    return np.array(centres)


def starts(centres: FloatArray) -> FloatArray:
    """Centres and tilts to try: those given, and all that can be, coarsely, ``(m, 4)``."""
    grid = np.arange(-_BEYOND, 1.0 + _BEYOND + 1e-9, _GRID) + 0.5 * _GRID
    anywhere = np.stack(np.meshgrid(grid, grid), axis=-1).reshape(-1, 2)
    angles = np.arange(8) * (np.pi / 4)
    around = np.stack([np.cos(angles), np.sin(angles)], axis=-1)
    tilts = np.concatenate([np.zeros((1, 2)), *(slope * around for slope in _TILTS)])
    places = np.concatenate([centres, anywhere])
    return np.hstack([np.repeat(places, len(tilts), axis=0), np.tile(tilts, (len(places), 1))])


def unevenness(pieces: Pieces, parameters: FloatArray) -> FloatArray:
    """How far angles along arcs are from even, on a scale that tells bad from worse."""
    number = np.maximum(pieces.lengths, 1)
    first = np.concatenate([[0], np.cumsum(pieces.lengths)[:-1]])
    unevenness = np.empty(len(parameters))
    for start in range(0, len(parameters), 256):  # that fit into the cache
        block = slice(start, start + 256)
        angle = two_theta(parameters[block], pieces.places)
        mean = np.add.reduceat(angle, first, axis=1) / number
        # Per pixel, a cone opens by the distance over the square of that to the sample.
        apart = np.linalg.norm(
            pieces.places.mean(axis=1)[:2] - parameters[block, :2], axis=1, keepdims=True
        )
        distance = parameters[block, 2:3]
        per_pixel = pieces.pixel * distance / (distance**2 + apart**2)
        residual = (angle - mean[:, pieces.arc]) / per_pixel
        unevenness[block] = np.log1p((residual / 4.0) ** 2).mean(axis=1)
    return unevenness


def centres_of_curvature(pieces: Pieces) -> FloatArray:
    """Those of the longest arcs, ``(m, 2)``."""
    longest = np.argsort(-pieces.extent, kind="stable")[:_CIRCLES]
    return np.array(
        [Circle.through(pieces.places[:2, pieces.arc == arc].T).centre for arc in longest]
    )


def from_aside(curvature: FloatArray, distance: float) -> FloatArray:
    """Stands with the normal of the detector's middle through the sample, ``(m, 5)``.

    Seen so, the middle of a ring's curvature is where the beam is. Of rings that are curved around
    the detector itself there are none.
    """
    arms = curvature - _MIDDLE
    arms = (arms[:, np.newaxis] * np.array([0.85, 1.0, 1.15])[:, np.newaxis]).reshape(-1, 2)
    apart = np.linalg.norm(arms, axis=1)
    arms = arms[(apart > _ASIDE) & (apart < 0.95 * distance)]
    normal = np.sqrt(distance**2 - (arms**2).sum(axis=1, keepdims=True))
    return np.hstack([arms + _MIDDLE, np.full((len(arms), 1), distance), arms / normal])
