r"""Error models: the variance of the sum of the pixels of a bin.

``poisson``
    The counts estimate their own variance, :math:`V = \sum c_i^2 (raw_i + \mathrm{var}(dark_i))`.
    Those of a bin do so well, those of a pixel do not; so it is the bin that has a floor, what one
    count, anywhere in it, would have given: :math:`\sum c_i^2 / \sum c_i`.
``variance``
    Each frame comes with the variance of its pixels, :math:`V = \sum c_i^2 \sigma_i^2`.
``azimuthal``
    What spreads the pixels of a bin is noise,
    :math:`V = \sum c_i^2 w_i^2 (s_i / w_i - \langle I \rangle)^2`, in two passes.
``hybrid``
    Azimuthal while outliers are sought, Poisson for what is then reported.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from bluesky_azint.reduction.normalization import Normalization

FloatArray = NDArray[np.float64]

ERROR_MODELS = ("poisson", "variance", "azimuthal", "hybrid")
COUNTING = ("poisson", "hybrid")  # of which the variance of a bin has a floor


def variance_of_one_count(count: FloatArray, count2: FloatArray) -> FloatArray:
    r"""Variance of the signal of a bin in which there is one count: :math:`\sum c^2 / \sum c`."""
    return np.divide(count2, count, out=np.zeros_like(count), where=count > 0)


def summed_variance(square: FloatArray, normalization: Normalization) -> FloatArray:
    r"""Variance of the sums where that of each pixel is known, or is its counts.

    Parameters
    ----------
    square
        :math:`\sum c_i^2 \sigma_i^2` of each bin, or :math:`\sum c_i^2\, raw_i`.
    normalization
        The sums of the pixels that are in it; of the dark, its own variance.
    """
    return np.where(normalization.count > 0, square + normalization.dark_variance, 0.0)


def azimuthal_variance(
    signal: FloatArray, squared: FloatArray, mixed: FloatArray, normalization: Normalization
) -> FloatArray:
    r"""Variance of the sums by the spread of the pixels around the mean of their bin.

    .. math::
        \sum c_i^2 (s_i - w_i \langle I \rangle)^2 = \sum c_i^2 s_i^2
        - 2 \langle I \rangle \sum c_i^2 s_i w_i + \langle I \rangle^2 \sum c_i^2 w_i^2

    Parameters
    ----------
    signal
        :math:`\sum c_i s_i` of each bin, the dark subtracted.
    squared, mixed
        :math:`\sum c_i^2 s_i^2` and :math:`\sum c_i^2 s_i w_i` of each bin.
    normalization
        The sums of the pixels that are in it.
    """
    filled = normalization.weight != 0
    mean = np.divide(signal, normalization.weight, out=np.zeros_like(signal), where=filled)
    variance = squared - 2.0 * mean * mixed + mean**2 * normalization.weight2
    return np.where(normalization.count > 0, np.maximum(variance, 0.0), 0.0)
