"""One frame: from its pixels to the sums of its bins."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Protocol, TypeVar

import numpy as np
from numpy.typing import NDArray

from bluesky_azint.engines import Engine, FrameSums, RobustSums, Spread, Wanted, create_engine
from bluesky_azint.errors import FrameError
from bluesky_azint.packed import PackedFrames
from bluesky_azint.reduction.normalization import Normalization, square_of
from bluesky_azint.reduction.plan import Plan
from bluesky_azint.reduction.variance import COUNTING, azimuthal_variance, summed_variance

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


@dataclass(frozen=True, eq=False)
class Measured:
    """Some frames, flat, of a type that engines know.

    Parameters
    ----------
    frames
        ``(n, n_pixels)``, or packed.
    factors
        What the weights of each are multiplied by, ``(n,)``.
    variances
        Variance of each pixel of each frame; None where it is not given.
    """

    frames: Frame | PackedFrames
    factors: FloatArray
    variances: Frame | None = None

    def each(self) -> Iterator[tuple[Frame, float, Frame | None]]:
        """Frame after frame, with its factor and the variance of its pixels."""
        frames = self.frames.flat() if isinstance(self.frames, PackedFrames) else self.frames
        for frame, known in zip(frames, self.known(), strict=True):
            yield frame, *known

    def known(self) -> Iterator[tuple[float, Frame | None]]:
        """Of each frame its factor, and the variance of its pixels."""
        variances = [None] * len(self.frames) if self.variances is None else self.variances
        yield from zip(self.factors.tolist(), variances, strict=True)


class FrameReducer(Protocol):
    """Sums frames into bins."""

    @property
    def engine(self) -> str:
        """Name of what does it."""

    @property
    def batch(self) -> int:
        """How many frames it is best given at once."""

    def __call__(self, measured: Measured) -> list[BinSums]:
        """Sum some frames, their weights multiplied by their factors."""


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
        self.lookup = plan.lookup
        spread = None
        if error_model == "azimuthal":
            spread = Spread(plan.pixels.weight, plan.pixels.dark)
        wanted = Wanted(square=error_model in COUNTING, spread=spread)
        self._engine: Engine = create_engine(engine, self.lookup, plan.bad, wanted)
        self._normalization = plan.pixels.sums_by(self._engine)
        self._error_model = error_model
        # Most frames have the bad pixels of the frame before them.
        self._last = (np.empty(0, dtype=np.int64), self._normalization)

    @property
    def engine(self) -> str:
        """Name of the engine."""
        return self._engine.name

    @property
    def batch(self) -> int:
        """How many frames are best given at once."""
        return self._engine.batch

    def __call__(self, measured: Measured) -> list[BinSums]:
        """Sum frames, see `FrameReducer`."""
        sums = self._engine.sum_frames(measured.frames)
        return [
            self._reduce(found, factor, variance)
            for found, (factor, variance) in zip(sums, measured.known(), strict=True)
        ]

    def _reduce(self, sums: FrameSums, factor: float, variance: Frame | None) -> BinSums:
        if self._error_model == "variance":
            sums = sums._replace(square=self._squares(checked_variance(variance), sums.bad))
        return bin_sums(self.plan, sums, self._without(sums.bad), factor)

    def _squares(self, values: Frame, bad: NDArray[np.int64]) -> FloatArray:
        r"""The sums :math:`\sum c_i^2 v_i` over the good pixels of a frame."""
        values = np.array(values, dtype=np.float64)
        values[bad] = 0.0
        return square_of(self._engine.sum_map(values))

    def _without(self, bad: NDArray[np.int64]) -> Normalization:
        known, normalization = self._last
        if not np.array_equal(bad, known):
            shares = self.lookup.matrix_of(bad)
            normalization = self._normalization.without(self.plan.pixels.take(bad).sums(shares))
            self._last = bad, normalization
        return normalization


def bin_sums(plan: Plan, sums: FrameSums, normalization: Normalization, factor: float) -> BinSums:
    """The sums of a frame of which the weights are multiplied by a factor.

    Parameters
    ----------
    plan
        What is known before the first frame.
    sums
        Over the good pixels; `square` is that of the variances of the pixels, or of their counts.
        They are changed: cakes have so many bins that another array is what takes time.
    normalization
        Of the same pixels.
    factor
        What the weights are multiplied by.
    """
    signal = sums.signal if plan.pixels.dark is None else sums.signal - normalization.dark
    signal *= normalization.count > 0
    variance = None
    if sums.squared is not None and sums.mixed is not None:
        variance = azimuthal_variance(signal, sums.squared, sums.mixed, normalization)
    elif sums.square is not None:
        variance = summed_variance(sums.square, normalization)
    return BinSums(
        signal=signal,
        variance=variance,
        normalization=normalization.weight * factor if factor != 1 else normalization.weight,
        normalization2=normalization.weight2 * factor**2 if factor != 1 else normalization.weight2,
        count=normalization.count,
        count2=normalization.count2,
    )


def robust_bin_sums(sums: RobustSums, factor: float, error_model: str | None) -> BinSums:
    """The sums of a frame of which the weights are multiplied by a factor."""
    return BinSums(
        signal=sums.signal,
        variance=None if error_model is None else sums.variance,
        normalization=sums.weight * factor,
        normalization2=sums.weight2 * factor**2,
        count=sums.count,
        count2=sums.count2,
    )


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
