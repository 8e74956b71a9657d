"""Masks of detectors: gaps between modules, borders of chips, what lies outside a circle.

True is masked, as everywhere.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np
from numpy.typing import NDArray

Mask = NDArray[np.bool_]


def module_mask(
    shape: tuple[int, int], *, module: tuple[int, int], gap: tuple[int, int], seam: int = 0
) -> Mask:
    """The gaps between modules, and the ``seam`` columns in the middle of each module."""
    row = np.arange(shape[0]) % (module[0] + gap[0])
    column = np.arange(shape[1]) % (module[1] + gap[1])
    start = module[1] // 2 - seam // 2
    masked = (column >= module[1]) | ((column >= start) & (column < start + seam))
    gaps: Mask = row >= module[0]
    return gaps[:, np.newaxis] | masked


def round_mask(shape: tuple[int, int]) -> Mask:
    """All pixels whose centre lies outside the circle that fits the rows."""
    centre = shape[0] // 2, shape[1] // 2
    y = np.arange(shape[0])[:, np.newaxis] + 0.5 - centre[0]
    x = np.arange(shape[1]) + 0.5 - centre[1]
    outside: Mask = y**2 + x**2 > centre[0] ** 2
    return outside


def border_mask(shape: tuple[int, int], *, module: tuple[int, int]) -> Mask:
    """The first and the last row and column of each module."""
    row, column = np.arange(shape[0]) % module[0], np.arange(shape[1]) % module[1]
    rows: Mask = (row == 0) | (row == module[0] - 1)
    columns: Mask = (column == 0) | (column == module[1] - 1)
    return rows[:, np.newaxis] | columns


def lines_mask(
    shape: tuple[int, int],
    *,
    module: tuple[int, int],
    rows: Sequence[int],
    columns: Sequence[int],
) -> Mask:
    """Some rows and columns of each module."""
    row, column = np.arange(shape[0]) % module[0], np.arange(shape[1]) % module[1]
    masked_rows: Mask = np.isin(row, rows)
    masked_columns: Mask = np.isin(column, columns)
    return masked_rows[:, np.newaxis] | masked_columns


def tile_mask(
    shape: tuple[int, int], *, tile: tuple[int, int], places: Iterable[Sequence[int]]
) -> Mask:
    """All but the tiles, whose first rows and columns are given."""
    mask = np.ones(shape, dtype=bool)
    for row, column in places:
        mask[row : row + tile[0], column : column + tile[1]] = False
    return mask


def binned_mask(mask: Mask, factors: tuple[int, int]) -> Mask:
    """Of blocks of pixels, those that hold a masked one; what is left over is cut off."""
    n1, n2 = mask.shape[0] // factors[0], mask.shape[1] // factors[1]
    used = mask[: n1 * factors[0], : n2 * factors[1]]
    blocks = used.reshape(n1, factors[0], n2, factors[1])
    return np.asarray(blocks.any(axis=(1, 3)))
