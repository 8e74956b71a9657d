"""Back-projection: the image that a pattern would make."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from bluesky_azint.binning import Axis
from bluesky_azint.reduction.plan import Plan

FloatArray = NDArray[np.float64]


def back_project(plan: Plan, intensity: FloatArray, factor: float = 1.0) -> FloatArray:
    r"""The signal of every pixel, as a pattern predicts it.

    .. math:: s_i = w_i\, I(q_i, \chi_i)

    with :math:`I` interpolated between the centres of the bins, and held constant beyond the first
    and the last one.

    Parameters
    ----------
    plan
        Geometry, grid and weights.
    intensity
        Of the shape of the grid.
    factor
        What the weights are multiplied by.

    Returns
    -------
    Of detector shape; without the dark.
    """
    from scipy.ndimage import map_coordinates

    grid, geometry = plan.grid, plan.geometry
    place = geometry.centres()
    radial = _place(grid.radial, grid.radial_unit(place, geometry.wavelength))
    if grid.two_dimensional:
        azimuthal = _place(grid.azimuthal, grid.azimuthal_unit(place, geometry.wavelength))
        if grid.azimuthal.everything:
            # The last bin is the neighbour of the first.
            intensity = np.pad(intensity, ((1, 1), (0, 0)), mode="wrap")
            azimuthal = azimuthal + 1.0
        image = map_coordinates(intensity, [azimuthal, radial], order=1, mode="nearest")
    else:
        image = np.interp(radial, np.arange(grid.radial.npt), intensity)
    predicted: FloatArray = image * plan.pixels.weight.reshape(geometry.shape) * factor
    return predicted


def _place(axis: Axis, values: FloatArray) -> FloatArray:
    """Places between the centres of the bins, counted from the first one."""
    return axis.position(values) - 0.5
