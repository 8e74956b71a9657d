"""One frame: from its pixels to the sums of its bins."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Protocol, TypeVar

import numpy as np
from numpy.typing import NDArray

from bluesky_azint.engines import Engine, create_engine
from bluesky_azint.errors import FrameError
from bluesky_azint.lookup import build_lookup
from bluesky_azint.reduction.normalization import Normalization
from bluesky_azint.reduction.plan import Plan
from bluesky_azint.reduction.variance import azimuthal_variance, summed_variance

T = TypeVar("T")
FloatArray = NDArray[np.float64]
Frame = NDArray[Any]


@dataclass(frozen=True, slots=True)
class BinSums:
    """Sums of one frame, each ``(n_bins,)``; see `bluesky_azint.reduction.result`."""

    signal: FloatArray
    variance: FloatArray | None
    normalization: FloatArray
    normalization2: FloatArray
    count: FloatArray
    count2: FloatArray


class FrameReducer(Protocol):
    """Sums frames into bins."""

    @property
    def engine(self) -> str:
        """Name of what does it."""

    def __call__(self, frame: Frame, factor: float, variance: Frame | None) -> BinSums:
        """Sum a flat frame, its weights multiplied by a factor; with the variance of its pixels."""


class TableReducer:
    """Sums frames with a look-up table, without the pixels that are bad in a frame.

    Parameters
    ----------
    plan
        What is known before the first frame.
    engine
        Name of the engine.
    error_model
        One of `bluesky_azint.reduction.variance.ERROR_MODELS`; None for no errors.
    """

    def __init__(self, plan: Plan, engine: str, error_model: str | None) -> None:
        self.plan = plan
        self.lookup = build_lookup(plan.geometry, plan.grid, plan.mask)
        self._normalization = plan.pixels.sums(self.lookup)
        self._engine: Engine = create_engine(
            engine,
            self.lookup,
            plan.bad,
            square=error_model is not None,
            exact=error_model == "azimuthal",
        )
        self._error_model = error_model
        # Most frames have the bad pixels of the frame before them.
        self._last = (np.empty(0, dtype=np.int64), self._normalization)

    @property
    def engine(self) -> str:
        """Name of the engine."""
        return self._engine.name

    def __call__(self, frame: Frame, factor: float, variance: Frame | None) -> BinSums:
        """Sum a flat frame, see `FrameReducer`."""
        sums = self._engine.sum_frame(frame)
        normalization = self._without(sums.bad)
        filled = normalization.count > 0
        signal = np.where(filled, sums.signal - normalization.dark, 0.0)
        found = None
        if self._error_model == "variance":
            found = summed_variance(
                self._squares(checked_variance(variance), sums.bad), normalization
            )
        elif self._error_model == "azimuthal":
            net = self.plan.pixels.net(frame)
            found = azimuthal_variance(
                signal,
                self._squares(net**2, sums.bad),
                self._squares(net * self.plan.pixels.weight, sums.bad),
                normalization,
            )
        elif sums.square is not None:
            found = summed_variance(sums.square, normalization)
        return BinSums(
            signal=signal,
            variance=found,
            normalization=normalization.weight * factor,
            normalization2=normalization.weight2 * factor**2,
            count=normalization.count,
            count2=normalization.count2,
        )

    def _squares(self, values: Frame, bad: NDArray[np.int64]) -> FloatArray:
        r"""The sums :math:`\sum c_i^2 v_i` over the good pixels of a frame."""
        values = np.array(values, dtype=np.float64)
        values[bad] = np.nan
        sums = self._engine.sum_frame(values)
        return sums.signal if sums.square is None else sums.square

    def _without(self, bad: NDArray[np.int64]) -> Normalization:
        known, normalization = self._last
        if not np.array_equal(bad, known):
            normalization = self._normalization.without(self.plan.pixels.sums(self.lookup, bad))
            self._last = bad, normalization
        return normalization


def checked_variance(variance: T | None) -> T:
    """The variance of the pixels of a frame.

    Raises
    ------
    FrameError
        If it is not given.
    """
    if variance is None:
        raise FrameError(
            "The error model is 'variance' and there is none; integrate(frames, variance=...) takes "
            "the variance of each pixel, of the shape of the frames."
        )
    return variance
