"""Numbers by seq_num, kept as densely as they can be: a week of frames must not fill the memory."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Integers = NDArray[np.int64]


class Column:
    """What came for each seq_num: how often, and which numbers came last.

    Parameters
    ----------
    width
        How many numbers there are for each.
    """

    def __init__(self, width: int = 1) -> None:
        # Zeros take no memory before something is written: no page is touched without need.
        self._numbers = np.zeros((64, width))
        self._arrivals = np.zeros(64, dtype=np.uint16)
        self._last = np.zeros(64, dtype=np.int64)

    @property
    def width(self) -> int:
        """How many numbers there are for each seq_num."""
        return self._numbers.shape[1]

    def note(self, seq_nums: Sequence[int], mark: int) -> list[int]:
        """Count an arrival for some seq_nums; but not that of the same mark once more.

        Returns
        -------
        The seq_nums that it is new for.
        """
        rows = self._rows(seq_nums)
        new = rows[self._last[rows] != mark]
        self._last[new] = mark
        self._arrivals[new] += 1
        return [int(seq_num) for seq_num in new]

    def put(self, seq_nums: Sequence[int], numbers: Floats) -> None:
        """Keep numbers ``(n, width)`` in place of those that were there."""
        self._numbers[self._rows(seq_nums)] = numbers

    def arrivals(self, seq_nums: Sequence[int]) -> Integers:
        """How often something came for each."""
        rows, known = self._known(seq_nums)
        return np.where(known, self._arrivals[rows], 0).astype(np.int64)

    def numbers(self, seq_nums: Sequence[int]) -> Floats:
        """The last numbers of each, ``(n, width)``; NaN where none came."""
        rows, known = self._known(seq_nums)
        known &= self._arrivals[rows] > 0
        return np.where(known[:, np.newaxis], self._numbers[rows], np.nan)

    def _known(self, seq_nums: Sequence[int]) -> tuple[Integers, NDArray[np.bool_]]:
        wanted = np.asarray(seq_nums, dtype=np.int64)
        known = (wanted >= 0) & (wanted < self._last.size)
        return np.where(known, wanted, 0), known

    def _rows(self, seq_nums: Sequence[int]) -> Integers:
        rows = np.asarray(seq_nums, dtype=np.int64)
        size = int(rows.max(initial=0)) + 1
        if size > self._last.size:
            for name in ("_numbers", "_arrivals", "_last"):
                short = getattr(self, name)
                longer = np.zeros((max(size, 2 * len(short)), *short.shape[1:]), short.dtype)
                longer[: len(short)] = short
                setattr(self, name, longer)
        return rows
