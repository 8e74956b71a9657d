r"""Arithmetic with results: subtract a background, merge acquisitions, rebin, project.

All of it is done with the sums that a result carries, so that errors come out right.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from operator import itemgetter

import numpy as np
from numpy.typing import NDArray

from bluesky_azint.errors import RecipeError
from bluesky_azint.reduction.result import IntegrationResult

FloatArray = NDArray[np.float64]


def merge(results: Sequence[IntegrationResult]) -> IntegrationResult:
    r"""One result of several acquisitions on one grid, as if all their frames were one.

    Where the spread of the pixels is the error, that between the acquisitions belongs to it:
    :math:`\sum_k \Omega_{2,k} (I_k - I)^2` is added to the variance.

    Raises
    ------
    RecipeError
        If there is none, or their grids differ, or they have not all the same error model.
    """
    if not results:
        raise RecipeError("There is nothing to merge; give at least one result.")
    first = results[0]
    for other in results[1:]:
        _check_grids(first, other)
        if other.error_model != first.error_model:
            raise RecipeError(
                f"The errors are of the models {first.error_model} and {other.error_model}, which "
                "have no sum; integrate all with one error model."
            )
    variances = [result.sum_variance for result in results if result.sum_variance is not None]
    squares = [result.sum_count2 for result in results if result.sum_count2 is not None]
    merged = replace(
        first,
        sum_signal=_total([result.sum_signal for result in results]),
        sum_variance=_total(variances) if variances else None,
        sum_normalization=_total([result.sum_normalization for result in results]),
        sum_normalization2=_total([result.sum_normalization2 for result in results]),
        count=_total([result.count for result in results]),
        sum_count2=_total(squares) if len(squares) == len(results) else None,
    )
    if merged.error_model != "azimuthal" or merged.sum_variance is None:
        return merged
    between = [
        result.sum_normalization2 * (result.intensity - merged.intensity) ** 2 for result in results
    ]
    return replace(merged, sum_variance=merged.sum_variance + _total(between))


def merge_stack(result: IntegrationResult) -> IntegrationResult:
    """One pattern of a stack of them, as if all its frames were one.

    Raises
    ------
    RecipeError
        If it is no stack.
    """
    if result.count.ndim != _dimensions(result) + 1:
        raise RecipeError("This result is of one frame; only a stack of frames can be merged.")
    return merge([result.map_sums(itemgetter(row)) for row in range(len(result.count))])


def subtract(
    sample: IntegrationResult, background: IntegrationResult, scale: float = 1.0
) -> IntegrationResult:
    r"""The sample less a background, with the errors of both.

    .. math::
        I = I_s - k I_b, \qquad
        \sigma^2 = \sigma_s^2 + k^2 \sigma_b^2

    The sums are those of the sample, with signal and variance changed accordingly:
    :math:`S = S_s - k S_b \Omega_s / \Omega_b` and
    :math:`V = V_s + k^2 V_b \Omega_s^2 / \Omega_b^2`. A bin that the background does not have is
    empty.

    Parameters
    ----------
    sample, background
        On one grid; the background may be of one frame where the sample is a stack.
    scale
        What the background is multiplied by, :math:`k`.

    Raises
    ------
    RecipeError
        If their grids differ, or one has errors and the other not.
    """
    _check_grids(sample, background)
    known = background.sum_normalization != 0
    part = scale * np.divide(
        sample.sum_normalization,
        background.sum_normalization,
        out=np.zeros_like(sample.sum_normalization),
        where=known,
    )
    variance = None
    if sample.variance is not None and background.variance is not None:
        variance = np.where(known, sample.variance + part**2 * background.variance, 0.0)
    return replace(
        sample,
        sum_signal=np.where(known, sample.sum_signal - part * background.sum_signal, 0.0),
        sum_variance=variance,
        sum_normalization=np.where(known, sample.sum_normalization, 0.0),
        sum_normalization2=np.where(known, sample.sum_normalization2, 0.0),
        count=np.where(known, sample.count, 0.0),
        sum_count2=None,  # the floor of the variance is in it already
    )


def rebin(result: IntegrationResult, factor: int) -> IntegrationResult:
    """Radial bins taken together, `factor` at a time; bins left over at the end are dropped.

    Raises
    ------
    RecipeError
        If the factor is no whole number of at least 1, or there are fewer bins than that.
    """
    npt = result.radial.size
    if factor != int(factor) or not 1 <= factor <= npt:
        raise RecipeError(
            f"{npt} bins cannot be taken {factor} at a time; give a whole number from 1 to {npt}."
        )
    factor = int(factor)
    kept = npt - npt % factor

    def together(values: FloatArray) -> FloatArray:
        summed: FloatArray = values[..., :kept].reshape(*values.shape[:-1], -1, factor).sum(-1)
        return summed

    radial = result.radial[:kept].reshape(-1, factor).mean(axis=1)
    return replace(result.map_sums(together), radial=radial)


def project(result: IntegrationResult, axis: str) -> IntegrationResult:
    """A pattern in two dimensions summed along one.

    Parameters
    ----------
    result
        With an azimuthal axis.
    axis
        ``"radial"`` gives I(q), ``"azimuthal"`` gives I(chi): of shape ``(npt_azim,)``, along
        ``azimuthal``, with the mean of the radial axis as the only radial value.

    Raises
    ------
    RecipeError
        If the result has one dimension only, or there is no such axis.
    """
    if result.azimuthal is None:
        raise RecipeError("This result has no azimuthal axis; integrate with npt_azim.")
    if axis == "radial":
        return replace(
            result.map_sums(lambda values: values.sum(axis=-2)),
            azimuthal=None,
            azimuthal_unit=None,
        )
    if axis == "azimuthal":
        radial = np.array([result.radial.mean()])
        return replace(result.map_sums(lambda values: values.sum(axis=-1)), radial=radial)
    raise RecipeError(f"There is no axis {axis!r}; it is 'radial' or 'azimuthal'.")


def _total(values: Sequence[FloatArray]) -> FloatArray:
    total: FloatArray = np.sum(values, axis=0)
    return total


def _dimensions(result: IntegrationResult) -> int:
    return 1 if result.azimuthal is None else 2


def _check_grids(one: IntegrationResult, other: IntegrationResult) -> None:
    units = ((one.unit, other.unit), (one.azimuthal_unit, other.azimuthal_unit))
    for left_unit, right_unit in units:
        if left_unit != right_unit:
            raise RecipeError(
                f"The results are in {left_unit} and in {right_unit}; integrate alike."
            )
    axes = ((one.radial, other.radial), (one.azimuthal, other.azimuthal))
    for name, (left, right) in zip(("radial", "azimuthal"), axes, strict=True):
        same = left is right or (
            left is not None
            and right is not None
            and left.shape == right.shape
            and np.allclose(left, right, rtol=1e-12, atol=0)
        )
        if not same:
            raise RecipeError(
                f"The results have different {name} axes; integrate both with the same ranges and "
                "numbers of bins."
            )
    if (one.sum_variance is None) != (other.sum_variance is None):
        raise RecipeError(
            "One result has errors and the other has not; integrate both with an error model."
        )
