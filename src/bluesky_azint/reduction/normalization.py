r"""Normalization: the sums per bin that do not depend on what a frame holds.

With the share :math:`c_i` and the weight :math:`w_i` of each pixel they are
:math:`\sum c_i`, :math:`\sum c_i^2`, :math:`\sum c_i w_i`, :math:`\sum c_i^2 w_i^2`,
:math:`\sum c_i\,dark_i` and :math:`\sum c_i^2 \mathrm{var}(dark_i)`: computed once for all usable
pixels. The pixels that are bad in one frame are taken out of them by their own sums.
"""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Any, Self

import numpy as np
from numpy.typing import NDArray

from bluesky_azint.engines import Engine, FrameSums, PixelValues

if TYPE_CHECKING:
    from scipy.sparse import csc_array

FloatArray = NDArray[np.float64]

# A bin that holds less than this of a pixel, or of which less than this part is left, holds nothing
# but rounding errors.
EMPTY = 1e-9

# Pixels of which double precision is kept at once.
BLOCK = 2**16


@dataclass(frozen=True, eq=False)
class Normalization:
    """Sums per bin, each ``(n_bins,)``, of what does not depend on the frame."""

    count: FloatArray
    count2: FloatArray
    weight: FloatArray
    weight2: FloatArray
    dark: FloatArray
    dark_variance: FloatArray

    @classmethod
    def zero(cls, n_bins: int) -> Self:
        """The sums of no pixels."""
        return cls(*np.zeros((len(fields(cls)), n_bins)))

    def __add__(self, other: Self) -> Self:
        return type(self)(
            *(getattr(self, field.name) + getattr(other, field.name) for field in fields(self))
        )

    def without(self, other: Self) -> Self:
        """These sums less those of some pixels; exactly zero where no pixel is left."""
        left = type(self)(
            *(getattr(self, field.name) - getattr(other, field.name) for field in fields(self))
        )
        return left.where(left.count > EMPTY * self.count)

    def where(self, filled: NDArray[np.bool_]) -> Self:
        """These sums in some bins, and zero in all others."""
        return type(self)(
            *(np.where(filled, getattr(self, field.name), 0.0) for field in fields(self))
        )


@dataclass(frozen=True, eq=False)
class PixelWeights(PixelValues):
    """What stands for each pixel in the sums.

    The weight is the product of flat field and corrections, in single precision: what the sums over
    many pixels then miss is far below the precision of each.
    """

    def net(self, frame: NDArray[Any]) -> FloatArray:
        """The signal of a flat frame: what is left when the dark is subtracted."""
        values: FloatArray = frame.astype(np.float64)
        return values if self.dark is None else values - self.dark

    def take(self, pixels: NDArray[np.integer]) -> Self:
        """The values of some pixels."""
        return type(self)(
            self.weight[pixels],
            None if self.dark is None else self.dark[pixels],
            None if self.dark_variance is None else self.dark_variance[pixels],
        )

    def sums(self, shares: csc_array) -> Normalization:
        """The sums over these pixels, of which the columns of a matrix hold the shares."""
        squares = shares.power(2)
        one, zero = np.ones(self.weight.size), np.zeros(shares.shape[0])
        weight = self.weight.astype(np.float64)
        return Normalization(
            count=shares @ one,
            count2=squares @ one,
            weight=shares @ weight,
            weight2=squares @ weight**2,
            dark=zero if self.dark is None else shares @ self.dark,
            dark_variance=zero if self.dark_variance is None else squares @ self.dark_variance,
        )

    def sums_by(self, engine: Engine) -> Normalization:
        """The sums over all pixels, by an engine of which they are the pixels."""
        one = engine.sum_map(np.ones(self.weight.size, dtype=np.uint8))
        weight = engine.sum_map(self.weight)
        zero = np.zeros_like(one.signal)
        variance = None if self.dark_variance is None else engine.sum_map(self.dark_variance)
        sums = Normalization(
            count=one.signal,
            count2=square_of(one),
            weight=weight.signal,
            weight2=_sums_of_squares(self.weight, engine),
            dark=zero if self.dark is None else engine.sum_map(self.dark).signal,
            dark_variance=zero if variance is None else square_of(variance),
        )
        return sums.where(sums.count > EMPTY)


def _sums_of_squares(weights: NDArray[np.float32], engine: Engine) -> FloatArray:
    """The sums of the squared weights, with what single precision leaves out added."""
    squares = weights * weights
    sums = square_of(engine.sum_map(squares))
    for start in range(0, weights.size, BLOCK):
        block = slice(start, start + BLOCK)
        exact = np.multiply(weights[block], weights[block], dtype=np.float64)
        squares[block] = exact - squares[block]
    return sums + square_of(engine.sum_map(squares))


def square_of(sums: FrameSums) -> FloatArray:
    """The sums with the squared shares; a share of one is its own square."""
    return sums.signal if sums.square is None else sums.square
