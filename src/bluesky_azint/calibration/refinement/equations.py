"""Normal equations of many small least squares at once, one for each sector."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from bluesky_azint.calibration.refinement.sampling import THREADS
from bluesky_azint.calibration.surface import FloatArray

LINEAR = 4  # unknowns of a sector: amplitude, shift, and the straight line
_RIDGE = 1e-10  # keeps sectors solvable that have lost a flank; they are not used
_WIDTH_PRIOR, _SHAPE_PRIOR = 0.3, 0.3  # a weak line keeps what it has


@dataclass(frozen=True, eq=False)
class Equations:
    """Matrices ``(sectors, n, n)`` and right-hand sides ``(sectors, n)``.

    The first unknowns are those of the sector, what follows belongs to the whole line: logarithm
    of the width, and share of the Lorentzian.
    """

    matrix: FloatArray
    right: FloatArray

    def solved(self) -> tuple[FloatArray, FloatArray]:
        """The unknowns of the sectors, and their covariances for weights that are right."""
        inverse = _inverse(self.matrix[:, :LINEAR, :LINEAR])
        return np.einsum("sij,sj->si", inverse, self.right[:, :LINEAR]), inverse

    def widths(
        self, amplitude: FloatArray, scatter: FloatArray, line: NDArray[np.intp], count: int
    ) -> tuple[FloatArray, FloatArray]:
        """Changes of the logarithm of the width and of the share of the Lorentzian, per line.

        The unknowns of each sector are projected out, and the sectors of a line put together.

        Parameters
        ----------
        amplitude
            Of the sectors; 0 where it is not to be trusted.
        scatter
            Chi square per degree of freedom.
        line
            Of each sector.
        count
            Of lines.
        """
        first, last = slice(0, LINEAR), slice(LINEAR, None)
        coupling = self.matrix[:, first, last]
        solved = np.einsum("sij,sjk->sik", _inverse(self.matrix[:, first, first]), coupling)
        matrix = self.matrix[:, last, last] - np.einsum("sij,sik->sjk", coupling, solved)
        right = self.right[:, last] - np.einsum("sij,si->sj", solved, self.right[:, first])
        matrix *= (amplitude**2 / scatter)[:, np.newaxis, np.newaxis]
        right *= (amplitude / scatter)[:, np.newaxis]
        total = np.zeros((count, 2, 2))
        wanted = np.zeros((count, 2))
        np.add.at(total, line, matrix)
        np.add.at(wanted, line, right)
        total += np.diag([_WIDTH_PRIOR**-2, _SHAPE_PRIOR**-2])
        change = np.linalg.solve(total, wanted[:, :, np.newaxis])[:, :, 0]
        return np.clip(change[:, 0], -0.3, 0.3), np.clip(change[:, 1], -0.5, 0.5)


def equations(
    columns: list[FloatArray], value: FloatArray, weight: FloatArray, starts: NDArray[np.intp]
) -> Equations:
    """Sum up pixels, those of weight 0 left out.

    Parameters
    ----------
    columns
        What a pixel would count for each unknown being 1.
    value
        What it counted.
    weight
        1 / variance.
    starts
        The first pixel of each sector; pixels are sorted by sector.
    """
    n, size = len(columns), len(starts)
    matrix, right = np.empty((size, n, n)), np.empty((size, n))

    def row(i: int) -> None:
        weighted = weight * columns[i]
        right[:, i] = sums(weighted * value, starts)
        for j in range(i, n):
            matrix[:, i, j] = matrix[:, j, i] = sums(weighted * columns[j], starts)

    with ThreadPoolExecutor(THREADS) as pool:
        list(pool.map(row, range(n)))
    return Equations(matrix, right)


def sums(value: FloatArray, starts: NDArray[np.intp]) -> FloatArray:
    """Sums over the pixels of sectors; pixels are sorted by sector."""
    total: FloatArray = np.add.reduceat(value, starts) if len(starts) else np.empty(0)
    return total


def _inverse(matrix: FloatArray) -> FloatArray:
    size = np.sqrt(np.maximum(np.einsum("sii->si", matrix), 1e-300))
    scale = size[:, :, np.newaxis] * size[:, np.newaxis, :]
    inverse: FloatArray = np.linalg.inv(matrix / scale + _RIDGE * np.eye(matrix.shape[1])) / scale
    return inverse
