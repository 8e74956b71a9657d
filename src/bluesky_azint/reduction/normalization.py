r"""Normalization: the sums per bin that do not depend on what a frame holds.

With the share :math:`c_i` and the weight :math:`w_i` of each pixel they are
:math:`\sum c_i`, :math:`\sum c_i^2`, :math:`\sum c_i w_i`, :math:`\sum c_i^2 w_i^2`,
:math:`\sum c_i\,dark_i` and :math:`\sum c_i^2 \mathrm{var}(dark_i)`: computed once for all usable
pixels. The pixels that are bad in one frame are taken out of them by their own sums.
"""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Self

import numpy as np
from numpy.typing import NDArray

from bluesky_azint.lookup import Lookup

FloatArray = NDArray[np.float64]

# A bin of which less than this part is left holds nothing but rounding errors.
EMPTY = 1e-9


@dataclass(frozen=True, eq=False)
class Normalization:
    """Sums per bin, each ``(n_bins,)``, of what does not depend on the frame."""

    count: FloatArray
    count2: FloatArray
    weight: FloatArray
    weight2: FloatArray
    dark: FloatArray
    dark_variance: FloatArray

    def without(self, other: Self) -> Self:
        """These sums less those of some pixels; exactly zero where no pixel is left."""
        left = self.count - other.count > EMPTY * self.count
        return type(self)(
            *(
                np.where(left, getattr(self, field.name) - getattr(other, field.name), 0.0)
                for field in fields(self)
            )
        )


@dataclass(frozen=True, eq=False)
class PixelWeights:
    """What stands for each pixel in the sums, flat arrays ``(n_pixels,)``.

    Parameters
    ----------
    weight
        Product of flat field and corrections.
    dark, dark_variance
        Dark signal and its variance; None for none.
    """

    weight: FloatArray
    dark: FloatArray | None = None
    dark_variance: FloatArray | None = None

    def sums(self, lookup: Lookup, pixels: NDArray[np.integer] | None = None) -> Normalization:
        """The sums over all pixels of the look-up, or over some."""
        matrix = lookup.matrix if pixels is None else lookup.select(pixels)
        squares = matrix.power(2)
        chosen = slice(None) if pixels is None else pixels
        weight = self.weight[chosen]
        one = np.ones_like(weight)
        zero = np.zeros(lookup.n_bins)
        return Normalization(
            count=matrix @ one,
            count2=squares @ one,
            weight=matrix @ weight,
            weight2=squares @ weight**2,
            dark=zero if self.dark is None else matrix @ self.dark[chosen],
            dark_variance=(
                zero if self.dark_variance is None else squares @ self.dark_variance[chosen]
            ),
        )
