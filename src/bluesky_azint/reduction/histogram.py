"""The histogram engine: no table is built.

What a table would hold is computed for a block of rows, used for the frame, and forgotten. A frame
takes as long as building the table does, and next to no memory.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from bluesky_azint.engines import FrameSums
from bluesky_azint.grid import blocks, split_block
from bluesky_azint.lookup import as_matrix
from bluesky_azint.reduction.frame import BinSums, Frame, Measured, bin_sums, checked_variance
from bluesky_azint.reduction.normalization import Normalization, PixelWeights
from bluesky_azint.reduction.plan import Plan

if TYPE_CHECKING:
    from scipy.sparse import csc_array

FloatArray = NDArray[np.float64]


class HistogramReducer:
    """Sums frames block by block, see `bluesky_azint.reduction.frame.FrameReducer`."""

    engine = "histogram"
    batch = 1

    def __init__(self, plan: Plan, error_model: str | None) -> None:
        self._plan = plan
        self._error_model = error_model

    def __call__(self, measured: Measured) -> list[BinSums]:
        """Sum frames, see `bluesky_azint.reduction.frame.FrameReducer`."""
        return [self._reduce(*frame) for frame in measured.each()]

    def _reduce(self, frame: Frame, factor: float, variance: Frame | None) -> BinSums:
        plan, model = self._plan, self._error_model
        sums = _Sums.zero(plan.grid.n_bins)
        columns = plan.geometry.shape[1]
        for rows in blocks(plan.geometry):
            usable = ~plan.mask[rows]
            pixels = slice(rows.start * columns, rows.stop * columns)
            usable &= ~plan.bad(frame[pixels]).reshape(usable.shape)
            shares = split_block(plan.geometry, plan.grid, rows, usable)
            chosen = np.flatnonzero(usable) + pixels.start
            matrix = as_matrix(shares, chosen.size, plan.grid.n_bins)
            values = checked_variance(variance)[chosen] if model == "variance" else None
            sums.add(matrix, plan.pixels.take(chosen), frame[chosen], values)
        return bin_sums(plan, sums.of_frame(model), sums.normalization, factor)


class _Sums:
    """The sums of a frame, as they grow block by block."""

    def __init__(self, normalization: Normalization, rows: FloatArray) -> None:
        self.normalization = normalization
        self.raw, self.square, self.squared, self.mixed = rows

    @classmethod
    def zero(cls, n_bins: int) -> _Sums:
        return cls(Normalization.zero(n_bins), np.zeros((4, n_bins)))

    def add(
        self, shares: csc_array, pixels: PixelWeights, frame: Frame, variance: Frame | None
    ) -> None:
        """Add the pixels of a block."""
        squares = shares.power(2)
        values = frame.astype(np.float64)
        net = pixels.net(values)
        self.normalization = self.normalization + pixels.sums(shares)
        self.raw += shares @ values
        self.square += squares @ (values if variance is None else variance)
        self.squared += squares @ net**2
        self.mixed += squares @ (net * pixels.weight)

    def of_frame(self, error_model: str | None) -> FrameSums:
        """The sums that an error model needs; which pixels were bad is in the normalization."""
        bad = np.empty(0, np.int64)
        if error_model == "azimuthal":
            return FrameSums(self.raw, None, bad, self.squared, self.mixed)
        return FrameSums(self.raw, None if error_model is None else self.square, bad)
