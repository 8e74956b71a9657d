r"""Where the detector may stand, before any ring has a number.

Along a piece of a ring the scattering angle is constant, whichever ring it is. For a given
distance :math:`D` this alone tells the centre and the tilt: the scatter of :math:`2\theta` along
every arc, its own mean taken out, is minimised. It works for short arcs, for hyperbolae and with
the beam off the detector, and leaves one number open, the distance.

All lengths here are in sizes of the detector.
"""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from bluesky_azint.calibration.cone import two_theta, two_theta_and_jacobian
from bluesky_azint.calibration.rings.circles import Circle
from bluesky_azint.calibration.rings.ridges import Arcs
from bluesky_azint.calibration.surface import Surface

FloatArray = NDArray[np.float64]

NEAREST, FARTHEST = 0.15, 100.0  # distances that are tried
STEP = 1.06  # from one to the next
_STEEPEST = 1.5  # the distance along the beam over that along the normal
_ANCHORS_APART = 12  # steps between the distances where everything is tried
_KEPT = 4  # of the stands at every anchor
_LEAST_POINTS = 4  # of an arc
_FREE = np.array([0, 1, 3, 4])  # centre and tilt
_TILT, _FOOT = 0.5, 0.5  # slope, and detector sizes, that are nothing special
_WEAK = 1e-3  # square pixels that a preference is worth
_MIDDLE = 0.5
_ASIDE = 0.8  # detector sizes from the middle of the detector to that of the rings
_THREADS = 2
_CIRCLES = 10
_BEYOND = 1.6  # detector sizes beyond the edges, where a centre may be
_CELLS = 48  # of the vote for a centre, per detector size
_TILTS = (0.25, 0.6, 1.0)  # slopes
_GRID = 0.2  # detector sizes
_FITTED = 64  # of what is tried, the best
_LONGEST_STEP = np.array([0.5, 0.5, 0.3, 0.3])  # detector sizes, and slopes
_LIMITS = np.array([-80.0, -80.0, -2.5, -2.5]), np.array([80.0, 80.0, 2.5, 2.5])
_RESIDUALS = (8.0, 4.0, 2.0)  # pixels: what counts as far off, as the fit goes on


@dataclass(frozen=True, eq=False)
class Pieces:
    """Points on arcs, as the search sees them.

    Parameters
    ----------
    places
        In detector sizes, ``(3, n)``.
    arc
        Number of the arc that each point is on, from 0 on, ascending.
    pixel
        Size of a pixel in detector sizes.
    extent
        Length of each arc, in points that were found.
    """

    places: FloatArray
    arc: NDArray[np.intp]
    pixel: float
    extent: FloatArray

    def every(self, step: int) -> Pieces:
        """Fewer points of each arc."""
        return replace(self, places=self.places[:, ::step], arc=self.arc[::step])

    @property
    def lengths(self) -> NDArray[np.intp]:
        """Number of points on each arc."""
        return np.bincount(self.arc)


def sample(arcs: Arcs, surface: Surface, arcs_used: int, points_used: int) -> Pieces:
    """About so many points of the longest arcs, of each as many as its length deserves."""
    lengths = np.bincount(arcs.arc)
    first = np.concatenate([[0], np.cumsum(lengths)])
    longest = np.sort(np.argsort(-lengths, kind="stable")[:arcs_used])
    share = points_used / max(lengths[longest].sum(), 1)
    points = np.clip(lengths[longest] * share, _LEAST_POINTS, lengths[longest]).astype(np.intp)
    chosen = np.concatenate(
        [
            np.linspace(first[k], first[k + 1] - 1, number).round().astype(np.intp)
            for k, number in zip(longest, points, strict=True)
        ]
    )
    return Pieces(
        places=surface.at(arcs.row[chosen], arcs.column[chosen]) / surface.size,
        arc=np.repeat(np.arange(len(longest)), points),
        pixel=surface.pixel / surface.size,
        extent=lengths[longest].astype(np.float64),
    )


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
    starts = _starts(centres)
    few = pieces.every(3)
    curvature = _centres_of_curvature(pieces)

    def around(first: int) -> list[tuple[FloatArray, FloatArray]]:
        group = distances[first : first + _ANCHORS_APART]
        middle = group[len(group) // 2]
        tried = np.insert(starts, 2, middle, axis=1)
        tried = tried[np.argsort(_unevenness(few, tried))[:_FITTED]]
        aside = _from_aside(curvature, middle)
        return _path(pieces, tried, group, False) + _path(pieces, aside, group, True)

    with ThreadPoolExecutor(_THREADS) as pool:
        parts = pool.map(around, range(0, len(distances), _ANCHORS_APART))
        found = [one for part in parts for one in part]
    return np.concatenate([one for one, _ in found]), np.concatenate([cost for _, cost in found])


def _path(
    pieces: Pieces, starts: FloatArray, distances: FloatArray, aside: bool
) -> list[tuple[FloatArray, FloatArray]]:
    """The best few stands of a kind, followed from the middle one of the distances to the others."""
    if not len(starts):
        return []
    middle = len(distances) // 2
    starts, cost = _fit(pieces.every(2), starts, 9, aside)
    best, cost = _fit(pieces, starts[_distinct(starts, cost, _KEPT)], 6, aside)
    found = [(best, cost)]
    for side in (distances[middle + 1 :], distances[:middle][::-1]):
        moved = best
        for distance in side:
            moved = moved.copy()
            moved[:, 2] = distance
            moved, cost = _fit(pieces, moved, 2, aside)
            found.append((moved, cost))
    return found


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


def _starts(centres: FloatArray) -> FloatArray:
    """Centres and tilts to try: those given, and all that can be, coarsely, ``(m, 4)``."""
    grid = np.arange(-_BEYOND, 1.0 + _BEYOND + 1e-9, _GRID) + 0.5 * _GRID
    anywhere = np.stack(np.meshgrid(grid, grid), axis=-1).reshape(-1, 2)
    angles = np.arange(8) * (np.pi / 4)
    around = np.stack([np.cos(angles), np.sin(angles)], axis=-1)
    tilts = np.concatenate([np.zeros((1, 2)), *(slope * around for slope in _TILTS)])
    places = np.concatenate([centres, anywhere])
    return np.hstack([np.repeat(places, len(tilts), axis=0), np.tile(tilts, (len(places), 1))])


def _centres_of_curvature(pieces: Pieces) -> FloatArray:
    """Those of the longest arcs, ``(m, 2)``."""
    longest = np.argsort(-pieces.extent, kind="stable")[:_CIRCLES]
    return np.array(
        [Circle.through(pieces.places[:2, pieces.arc == arc].T).centre for arc in longest]
    )


def _from_aside(curvature: FloatArray, distance: float) -> FloatArray:
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


def _unevenness(pieces: Pieces, parameters: FloatArray) -> FloatArray:
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


def _fit(
    pieces: Pieces, parameters: FloatArray, iterations: int, aside: bool
) -> tuple[FloatArray, FloatArray]:
    """Centres and tilts that make angles along arcs even, and the scatter left, in pixels.

    What the arcs cannot tell is decided by a weak preference: for no tilt, or, of detectors that
    look at the sample from ``aside``, for a normal through their middle.
    """
    for iteration in range(iterations):
        far = _RESIDUALS[iteration * len(_RESIDUALS) // iterations]
        residual, jacobian = _deviations(pieces, parameters)
        weight = 1.0 / (1.0 + (residual / far) ** 2)
        weighted = jacobian * weight[..., np.newaxis]
        weighted = weighted.transpose(0, 2, 1)
        normal = weighted @ jacobian
        gradient = (weighted @ residual[..., np.newaxis])[..., 0]
        liked, liked_slopes = _preference(parameters, aside)
        weak = _WEAK * residual.shape[1]
        normal += weak * np.einsum("ski,skj->sij", liked_slopes, liked_slopes)
        gradient += weak * np.einsum("ski,sk->si", liked_slopes, liked)
        diagonal = np.einsum("sii->si", normal)
        # Seen from aside, centre and tilt nearly hide each other: only far off steps are held back.
        hold = 1e-3 if iteration < iterations / 3 else 1e-6
        normal[:, range(4), range(4)] += hold * diagonal + 1e-12
        step = np.linalg.solve(normal, gradient[..., np.newaxis])[..., 0]
        # Far from the solution a step is too long; what is farther away than this is nowhere.
        longest = _LONGEST_STEP * np.maximum(np.abs(parameters[:, _FREE]), 1.0)
        length = np.abs(step / longest).max(axis=1, keepdims=True)
        parameters = parameters.copy()
        parameters[:, _FREE] -= step / np.maximum(length, 1.0)
        parameters[:, _FREE] = np.clip(parameters[:, _FREE], *_LIMITS)
    return parameters, _scatter(pieces, parameters)


def _preference(parameters: FloatArray, aside: bool) -> tuple[FloatArray, FloatArray]:
    """What is preferred to be zero, ``(m, 2)``, and its derivatives by centre and tilt."""
    slopes = np.zeros((len(parameters), 2, 4))
    tilt = parameters[:, 3:]
    if not aside:
        slopes[:, [0, 1], [2, 3]] = 1.0 / _TILT
        return tilt / _TILT, slopes
    length = np.sqrt(1.0 + (tilt**2).sum(axis=1))
    foot = parameters[:, :2] - (parameters[:, 2] / length)[:, np.newaxis] * tilt
    slopes[:, [0, 1], [0, 1]] = 1.0 / _FOOT
    outer = tilt[:, :, np.newaxis] * tilt[:, np.newaxis] / (length**3)[:, np.newaxis, np.newaxis]
    bent = np.eye(2) / length[:, np.newaxis, np.newaxis] - outer
    slopes[:, :, 2:] = -parameters[:, 2, np.newaxis, np.newaxis] * bent / _FOOT
    return (foot - _MIDDLE) / _FOOT, slopes


def _deviations(pieces: Pieces, parameters: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Angles less the mean of their arc, in pixels, and their derivatives."""
    angle, jacobian = two_theta_and_jacobian(parameters, pieces.places)
    per_pixel = np.linalg.norm(jacobian[..., :2], axis=-1) * pieces.pixel + 1e-9
    first = np.concatenate([[0], np.cumsum(pieces.lengths)[:-1]])

    def deviation(values: FloatArray, axis: int) -> FloatArray:
        shape = [1] * values.ndim
        shape[axis] = -1
        mean = np.add.reduceat(values, first, axis=axis) / pieces.lengths.reshape(shape)
        return values - np.take(mean, pieces.arc, axis=axis)

    residual = deviation(angle, 1) / per_pixel
    slopes = deviation(jacobian[..., _FREE], 1) / per_pixel[..., np.newaxis]
    return residual, slopes


def _scatter(pieces: Pieces, parameters: FloatArray) -> FloatArray:
    """Root mean square of the deviations, in pixels; what is far off counts as 3 pixels."""
    residual, _ = _deviations(pieces, parameters)
    scatter: FloatArray = np.sqrt(np.mean(np.minimum(residual**2, 9.0), axis=1))
    return scatter


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
