r"""Stands along which arcs keep their angle.

Along a piece of a ring the scattering angle is constant, whichever ring it is. For a given
distance this alone tells the centre and the tilt: the scatter of :math:`2\theta` along every arc, its
own mean taken out, is minimised.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from bluesky_azint.calibration.cone import two_theta_and_jacobian
from bluesky_azint.calibration.indexing.pieces import Pieces

FloatArray = NDArray[np.float64]

_FREE = np.array([0, 1, 3, 4])  # centre and tilt
_TILT, _FOOT = 0.5, 0.5  # slope, and detector sizes, that are nothing special
_WEAK = 1e-3  # square pixels that a preference is worth
_MIDDLE = 0.5
_LONGEST_STEP = np.array([0.5, 0.5, 0.3, 0.3])  # detector sizes, and slopes
_LIMITS = np.array([-80.0, -80.0, -2.5, -2.5]), np.array([80.0, 80.0, 2.5, 2.5])
_RESIDUALS = (8.0, 4.0, 2.0)  # pixels: what counts as far off, as the fit goes on


def make_even(
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
    return parameters, scatter_along(pieces, parameters)


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


def scatter_along(pieces: Pieces, parameters: FloatArray) -> FloatArray:
    """Root mean square of the deviations, in pixels; what is far off counts as 3 pixels."""
    residual, _ = _deviations(pieces, parameters)
    scatter: FloatArray = np.sqrt(np.mean(np.minimum(residual**2, 9.0), axis=1))
    return scatter
