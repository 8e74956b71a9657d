"""Pieces of rings: ridges of the frame, followed point by point.

On a ridge the second derivative across is strongly negative and the first one zero. Both come from
a Gaussian mean of the frame; the zero is found to a fraction of a pixel (Steger, IEEE Trans. PAMI
20 (1998) 113). Neighbouring points are chained, and chains that are no arc of a circle are cut in
two until they are.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from bluesky_azint.calibration.rings.circles import Circle
from bluesky_azint.calibration.rings.cleaning import CleanFrame
from bluesky_azint.calibration.rings.strokes import Derivatives, stroke_derivatives

FloatArray = NDArray[np.float64]
Mask = NDArray[np.bool_]

_WIDTH = 2.0  # of the Gaussian, pixels
_SIGNIFICANT = 5.0  # standard deviations of the noise
_WITHIN = 0.6  # a ridge belongs to the pixel that it passes, pixels
_LEAST_POINTS = 8
_ROUND = 1.0  # rms distance of an arc from its circle, pixels of the cleaned frame
_QUARTER_OF_NORMAL = 0.31864  # 25 % of |x| of a standard normal x lie below


@dataclass(frozen=True, eq=False)
class Arcs:
    """Points on pieces of rings, in pixels of the detector.

    Parameters
    ----------
    row, column
        Fractional indices.
    normal
        Direction across the ridge as (row, column), ``(n, 2)``.
    strength
        How strongly the frame curves there, relative to the least that makes a ridge.
    arc
        Number of the arc that each point is on, from 0 on, ascending.
    """

    row: FloatArray
    column: FloatArray
    normal: FloatArray
    strength: FloatArray
    arc: NDArray[np.intp]

    def __len__(self) -> int:
        return int(self.arc[-1]) + 1 if self.arc.size else 0

    def longer(self, least: float) -> Arcs:
        """The arcs of at least so many points."""
        chosen = np.bincount(self.arc)[self.arc] >= least
        _, arc = np.unique(self.arc[chosen], return_inverse=True)
        return Arcs(
            self.row[chosen],
            self.column[chosen],
            self.normal[chosen],
            self.strength[chosen],
            arc.astype(np.intp),
        )


def find_arcs(frame: CleanFrame, stroke: float | None = None) -> Arcs:
    """The pieces of rings of a frame.

    Parameters
    ----------
    frame
        The frame.
    stroke
        To look for rings of single grains along strokes of that length, in pixels (see
        `bluesky_azint.calibration.rings.strokes`); None for continuous ones.
    """
    derivatives = _derivatives(frame) if stroke is None else stroke_derivatives(frame, stroke)
    index, offset, normal, strength = _passed(frame, derivatives)
    ridge = np.zeros(frame.values.shape, dtype=bool)
    ridge[tuple(index.T)] = True
    labels, _ = ndimage.label(ridge, np.ones((3, 3)))
    label = labels[tuple(index.T)]
    points = index + offset
    order = np.argsort(label, kind="stable")
    chains = np.split(order, np.flatnonzero(np.diff(label[order])) + 1)
    pieces = [piece for chain in chains for piece in _round_pieces(points, chain)]
    members = np.concatenate([np.empty(0, np.intp), *pieces])
    return Arcs(
        row=frame.to_detector(points[members, 0]),
        column=frame.to_detector(points[members, 1]),
        normal=normal[members],
        strength=strength[members],
        arc=np.repeat(np.arange(len(pieces)), [len(piece) for piece in pieces]),
    )


def _derivatives(frame: CleanFrame) -> Derivatives:
    """Those in the direction of the strongest curvature."""
    smooth = ndimage.gaussian_filter(frame.values, _WIDTH, truncate=3.0)
    g1, g2 = np.gradient(smooth)
    h11 = ndimage.correlate1d(smooth, [1.0, -2.0, 1.0], axis=0)
    h22 = ndimage.correlate1d(smooth, [1.0, -2.0, 1.0], axis=1)
    h12 = np.gradient(g1, axis=1)
    # The most negative eigenvalue of the second derivatives, and its direction.
    curvature = 0.5 * (h11 + h22) - np.hypot(0.5 * (h11 - h22), h12)
    # Where the frame curves upwards more than downwards, it bends around a bright ring close by.
    curvature[h11 + h22 > 0] = 0.0
    angle = 0.5 * np.arctan2(-2.0 * h12, h22 - h11)
    slope = g1 * np.cos(angle) + g2 * np.sin(angle)
    return Derivatives(curvature, slope, angle, _SIGNIFICANT * _noise(h11[frame.valid]))


def _passed(
    frame: CleanFrame, derivatives: Derivatives
) -> tuple[NDArray[np.intp], FloatArray, FloatArray, FloatArray]:
    """Pixels that a ridge passes ``(n, 2)``, offsets to it, its normals, and its strengths."""
    curvature = derivatives.curvature
    ridge = frame.valid & (curvature < -derivatives.least)
    ridge[[0, -1]] = ridge[:, [0, -1]] = False
    across = derivatives.angle[ridge].astype(np.float64)
    normal = np.stack([np.cos(across), np.sin(across)], axis=-1)
    offset = normal * (-derivatives.slope[ridge] / curvature[ridge])[:, np.newaxis]
    here = (np.abs(offset) <= _WITHIN).all(axis=1)
    strength = (-curvature[ridge] / derivatives.least).astype(np.float64)
    return np.argwhere(ridge)[here], offset[here], normal[here], strength[here]


def _noise(derivative: NDArray[np.float32]) -> float:
    """Standard deviation of the noise in a derivative; the quarter nearest zero knows no rings.

    Not less than white noise of 1 would have, since where no counts are there is no noise to see.
    """
    white = float(np.sqrt(3.0 / (16.0 * np.pi))) / _WIDTH**3
    if not derivative.size:
        return white
    return max(float(np.percentile(np.abs(derivative), 25)) / _QUARTER_OF_NORMAL, white)


def _round_pieces(points: FloatArray, chain: NDArray[np.intp]) -> list[NDArray[np.intp]]:
    """Parts of a chain that are arcs of circles, in the order along them."""
    if len(chain) < _LEAST_POINTS:
        return []
    circle = Circle.through(points[chain])
    chain = chain[circle.order(points[chain])]
    if np.sqrt(np.mean(circle.distance(points[chain]) ** 2)) < _ROUND:
        return [chain]
    middle = len(chain) // 2
    return _round_pieces(points, chain[:middle]) + _round_pieces(points, chain[middle:])
