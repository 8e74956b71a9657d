"""Circles through points, which may be lines."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self

import numpy as np
from numpy.typing import NDArray

FloatArray = NDArray[np.float64]

_STRAIGHT = 1e-3  # curvature, over the extent of the points, of what counts as a line


@dataclass(frozen=True, eq=False)
class Circle:
    r"""The circle :math:`a (u^2 + v^2) + b u + c v + d = 0` in scaled coordinates.

    Parameters
    ----------
    coefficients
        a, b, c and d.
    mean, size
        ``(u, v) = (point - mean) / size``.
    """

    coefficients: FloatArray
    mean: FloatArray
    size: float

    @classmethod
    def through(cls, points: FloatArray) -> Self:
        """The circle that fits points ``(n, 2)`` best, in the sense of Pratt.

        V. Pratt, Computer Graphics 21 (1987) 145: the algebraic distance, over its gradient.
        """
        mean = points.mean(axis=0)
        size = max(float(np.abs(points - mean).max()), 1e-12)
        design = _design((points - mean) / size)
        constraint = np.diag([0.0, 1.0, 1.0, 0.0])
        constraint[0, 3] = constraint[3, 0] = -2.0
        moments = design.T @ design / len(points)
        values, vectors = np.linalg.eig(np.linalg.solve(constraint, moments))
        smallest = np.argmin(np.where(values.real > -1e-12, values.real, np.inf))
        return cls(vectors[:, smallest].real, mean, size)

    @property
    def centre(self) -> FloatArray:
        """The centre; of a line, one far away on its side."""
        a, b, c, _ = self.coefficients
        least = _STRAIGHT * self._gradient
        away = np.copysign(max(abs(a), least), a)
        centre: FloatArray = self.mean - self.size * np.array([b, c]) / (2 * away)
        return centre

    @property
    def _gradient(self) -> float:
        a, b, c, d = self.coefficients
        return float(np.sqrt(max(b * b + c * c - 4 * a * d, 1e-12)))

    def distance(self, points: FloatArray) -> FloatArray:
        """How far points lie from the circle, positive on one side of it."""
        value = _design((points - self.mean) / self.size) @ self.coefficients
        root = np.sqrt(np.maximum(self._gradient**2 + 4 * self.coefficients[0] * value, 0.0))
        distance: FloatArray = 2 * value / (self._gradient + root) * self.size
        return distance

    def order(self, points: FloatArray) -> NDArray[np.intp]:
        """The points in the order along the circle, begun after the widest gap."""
        y, x = (points - self.centre).T
        angle = np.arctan2(y, x)
        order = np.argsort(angle)
        gaps = np.diff(angle[order], append=angle[order[0]] + 2 * np.pi)
        return np.roll(order, -int(np.argmax(gaps)) - 1)


def _design(points: FloatArray) -> FloatArray:
    u, v = points.T
    return np.stack([u * u + v * v, u, v, np.ones_like(u)], axis=-1)
