r"""What sectors side by side tell: what they differ by is noise, what they have in common is not.

Their errors, from the pixels, can be wrong by a factor that is the same all along a ring: grains
scatter pixels, but not the place of the ring. The median of

.. math:: \frac{(r_i - r_{i+1})^2}{\sigma_i^2 + \sigma_{i+1}^2}

tells that factor. The product of the residuals of both is, in the mean, the square of the error
that they have in common,

.. math:: s^2 = \frac{\sum r_i r_{i+1} / \sigma_i \sigma_{i+1}}{\sum 1 / \sigma_i \sigma_{i+1}}

which only a distortion of the detector gives to all rings. The correlation coefficient has the
standard error :math:`1 / \sqrt n` where there is nothing but noise. Errors of whole rings do not
come into it, as lattices have those, too; nor does the one ring that speaks most for it, which may
lie over something else.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from bluesky_azint.calibration.refinement.observations import Observations
from bluesky_azint.calibration.surface import FloatArray

_NEAR = 0.15  # of the size of the detector, a length over which distortions hardly change
_MEDIAN_SQUARE = 0.4549  # of a normal distribution
_AS_SURE_AS = 20  # pairs: how much the errors of the pixels are trusted


def errors_by_scatter(seen: Observations, size: float) -> FloatArray:
    """Standard errors of shifts, right by what sectors side by side differ by, in radians.

    Parameters
    ----------
    seen
        The sectors.
    size
        Of the detector, in metres.
    """
    one, other = _side_by_side(seen, np.ones(len(seen), dtype=bool), size)
    shift, sigma = seen.shift / seen.scale, seen.sigma / seen.scale
    square = (shift[one] - shift[other]) ** 2 / (sigma[one] ** 2 + sigma[other] ** 2)
    factor = np.ones(len(seen))
    for line in np.unique(seen.line[one]):
        pairs = square[seen.line[one] == line]
        found = len(pairs) * float(np.median(pairs)) / _MEDIAN_SQUARE
        factor[seen.line == line] = (found + _AS_SURE_AS) / (len(pairs) + _AS_SURE_AS)
    errors: FloatArray = seen.sigma * np.sqrt(factor)
    return errors


def error_in_common(
    seen: Observations, residual: FloatArray, information: FloatArray, size: float
) -> tuple[float, float]:
    """The error that sectors side by side have in common, on all rings but one.

    Parameters
    ----------
    seen
        The sectors.
    residual
        In pixels.
    information
        Weights of the sectors, in 1 / pixels squared; 0 of those that do not count.
    size
        Of the detector, in metres.

    Returns
    -------
    error
        In pixels; 0 where they have none.
    significance
        In standard errors.
    """
    one, other = _side_by_side(seen, information > 0, size)
    if len(one) == 0:
        return 0.0, 0.0
    total = np.maximum(np.bincount(seen.line, information), 1e-300)
    residual = residual - (np.bincount(seen.line, information * residual) / total)[seen.line]
    weight = np.sqrt(information[one] * information[other])
    terms = (
        weight * residual[one] * residual[other],
        weight * (residual[one] ** 2 + residual[other] ** 2) / 2,
        weight,
        np.ones(len(one)),
    )
    of_rings = np.stack([np.bincount(seen.line[one], term) for term in terms])
    # Without the ring that speaks most for it.
    product, square, total, count = of_rings.sum(axis=1, keepdims=True) - of_rings
    correlation = product / np.where(square > 0, square, np.inf)
    significance = correlation * np.sqrt(np.maximum(count, 0.0))
    least = int(significance.argmin())
    common = np.sqrt(max(product[least], 0.0) / max(total[least], 1e-300))
    return float(common), float(significance[least])


def _side_by_side(
    seen: Observations, used: NDArray[np.bool_], size: float
) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """Pairs of sectors that follow each other on a ring, and are not far apart."""
    order = np.lexsort((seen.chi, seen.line))
    order = order[used[order]]
    one, other = order[:-1], order[1:]
    apart = np.linalg.norm(seen.places[:, one] - seen.places[:, other], axis=0)
    near = (seen.line[one] == seen.line[other]) & (apart < _NEAR * size)
    return one[near], other[near]
