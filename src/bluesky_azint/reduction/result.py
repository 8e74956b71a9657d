r"""The result of an integration, with the sums it came from.

Per bin, over the pixels :math:`i` with their share :math:`c_i` and weight :math:`w_i` (flat field,
solid angle, polarization, incident flux):

.. math::
    S = \sum c_i (raw_i - dark_i), \quad \Omega = \sum c_i w_i, \quad
    \Omega_2 = \sum c_i^2 w_i^2, \quad V = \sum c_i^2 \sigma_i^2

.. math::
    I = S / \Omega, \qquad \sigma = \sqrt V / \Omega, \qquad std = \sqrt{V / \Omega_2}
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Self

import numpy as np
from numpy.typing import NDArray

from bluesky_azint.reduction.variance import COUNTING, variance_of_one_count

FloatArray = NDArray[np.float64]


@dataclass(frozen=True, kw_only=True, eq=False)
class IntegrationResult:
    r"""A pattern, or a stack of them.

    One frame gives arrays of shape ``(npt,)`` or ``(npt_azim, npt)``, a stack of ``n`` frames one
    more dimension in front.

    Parameters
    ----------
    radial
        Centres of the radial bins, ``(npt,)``, in `unit`.
    azimuthal, azimuthal_unit
        Centres of the azimuthal bins, ``(npt_azim,)``, and the name of their unit, degrees as a
        rule; None for a 1D pattern.
    sum_signal, sum_variance, sum_normalization, sum_normalization2
        The sums :math:`S`, :math:`V`, :math:`\Omega` and :math:`\Omega_2` of each bin.
        ``sum_variance`` is None without an error model.
    sum_count2
        The sum of the squared shares, :math:`\sum c_i^2`; None where it is not known.
    error_model
        Where the variance is from, see `bluesky_azint.reduction.variance`.
    count
        Number of pixels in each bin, fractions included.
    unit
        Name of the radial unit.
    engine
        Name of the engine that did it.
    """

    radial: FloatArray
    sum_signal: FloatArray
    sum_normalization: FloatArray
    sum_normalization2: FloatArray
    count: FloatArray
    unit: str
    engine: str
    sum_variance: FloatArray | None = None
    sum_count2: FloatArray | None = None
    error_model: str | None = None
    azimuthal: FloatArray | None = None
    azimuthal_unit: str | None = None

    @property
    def grid_shape(self) -> tuple[int, ...]:
        """Shape of one pattern, ``(npt,)`` or ``(npt_azim, npt)``."""
        radial = self.radial.shape
        return radial if self.azimuthal is None else (self.azimuthal.size, *radial)

    def map_sums(self, function: Callable[[FloatArray], FloatArray]) -> Self:
        """The same with each of the sums, and the count, changed by a function."""
        return replace(
            self,
            sum_signal=function(self.sum_signal),
            sum_variance=None if self.sum_variance is None else function(self.sum_variance),
            sum_normalization=function(self.sum_normalization),
            sum_normalization2=function(self.sum_normalization2),
            count=function(self.count),
            sum_count2=None if self.sum_count2 is None else function(self.sum_count2),
        )

    @property
    def variance(self) -> FloatArray | None:
        """Variance of `sum_signal`: of counts not less than that of one count in the bin."""
        if self.sum_variance is None or self.sum_count2 is None:
            return self.sum_variance
        if self.error_model not in COUNTING:
            return self.sum_variance
        return np.maximum(self.sum_variance, variance_of_one_count(self.count, self.sum_count2))

    @property
    def intensity(self) -> FloatArray:
        r""":math:`I = S / \Omega`; 0 in a bin that holds no pixel, as in pyFAI."""
        return _ratio(self.sum_signal, self.sum_normalization)

    @property
    def sigma(self) -> FloatArray | None:
        r"""Standard error of the intensity, :math:`\sqrt V / \Omega`; None without error model."""
        if self.variance is None:
            return None
        return _ratio(np.sqrt(self.variance), self.sum_normalization)

    @property
    def std(self) -> FloatArray | None:
        r"""Standard deviation of a pixel, :math:`\sqrt{V / \Omega_2}`; None without error model."""
        if self.variance is None:
            return None
        return np.sqrt(_ratio(self.variance, self.sum_normalization2))


def _ratio(numerator: FloatArray, denominator: FloatArray) -> FloatArray:
    return np.divide(numerator, denominator, out=np.zeros_like(numerator), where=denominator != 0)
