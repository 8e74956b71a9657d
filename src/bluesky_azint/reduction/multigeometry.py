r"""Several geometries, one pattern: frames of a moving detector, or of several at once.

Each frame is integrated on a common grid, and the sums of all are added before the division. The
weights at different distances are only comparable on an absolute scale: with the correction for
the solid angle, the weights of a frame are multiplied by that of a pixel at the PONI,

.. math:: \Omega_0 = s_1 s_2 / L^2,

so that the intensity is the signal per steradian.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import ArrayLike

from bluesky_azint.binning import EPSILON, Axis
from bluesky_azint.engines import create_builder
from bluesky_azint.errors import FrameError, RecipeError
from bluesky_azint.geometry import Geometry
from bluesky_azint.grid import make_grid
from bluesky_azint.reduction.arithmetic import merge
from bluesky_azint.reduction.integrator import Integrator
from bluesky_azint.reduction.plan import PixelMaps
from bluesky_azint.reduction.recipe import Range, Recipe
from bluesky_azint.reduction.result import IntegrationResult
from bluesky_azint.units import unit


@dataclass(frozen=True, kw_only=True, eq=False)
class Exposure:
    """A frame, and where the detector stood.

    Parameters
    ----------
    geometry
        For example that of a `Goniometer` at the positions of the motors.
    frame
        ``(rows, columns)``.
    normalization_factor
        What the intensity is divided by (monitor, exposure time ...).
    maps
        Mask, dark and flat.
    variance
        Variance of the pixels, for the error model of that name.
    """

    geometry: Geometry
    frame: ArrayLike
    normalization_factor: float = 1.0
    maps: PixelMaps = field(default_factory=PixelMaps)
    variance: ArrayLike | None = None


def integrate_together(
    exposures: Iterable[Exposure], recipe: Recipe, engine: str = "auto"
) -> IntegrationResult:
    """Reduce frames of different geometries to one pattern.

    Parameters
    ----------
    exposures
        The frames. They are taken one by one and may come from a generator; no more than one is
        held then, unless the recipe leaves a range open (see `with_common_ranges`).
    recipe
        What to compute. A range that it leaves open is what the geometries cover together.
    engine
        As for an `Integrator`.

    Raises
    ------
    RecipeError
        If there is no exposure, or something is asked for that cannot be computed.
    FrameError
        If a frame does not fit its detector.
    """
    if _leaves_open(recipe):
        exposures = list(exposures)
        geometries = [exposure.geometry for exposure in exposures]
        recipe = with_common_ranges(geometries, recipe, engine)
    total: IntegrationResult | None = None
    for exposure in exposures:
        result = integrate_absolute(exposure, recipe, engine)
        total = result if total is None else merge([total, result])
    if total is None:
        raise RecipeError("There is nothing to integrate; give at least one exposure.")
    return total


def integrate_absolute(
    exposure: Exposure, recipe: Recipe, engine: str = "auto"
) -> IntegrationResult:
    """Reduce one frame, on the absolute scale on which others can be merged with it.

    Raises
    ------
    FrameError
        If it is no single frame, or does not fit its detector.
    """
    if np.ndim(exposure.frame) != 2:
        raise FrameError(
            f"The frame of an exposure has the shape {np.shape(exposure.frame)}; it must be one "
            "frame, (rows, columns): give each frame of a stack an exposure of its own."
        )
    integrator = Integrator.from_recipe(
        exposure.geometry, recipe, **vars(exposure.maps), engine=engine
    )
    factor = exposure.normalization_factor
    if recipe.correct_solid_angle:
        factor *= usual_solid_angle(exposure.geometry)
    return integrator.integrate(exposure.frame, factor, variance=exposure.variance)


def usual_solid_angle(geometry: Geometry) -> float:
    """Solid angle of a pixel of the usual size at the PONI, in steradian."""
    detector = geometry.detector
    return detector.pixel1 * detector.pixel2 / geometry.dist**2


def with_common_ranges(
    geometries: Sequence[Geometry], recipe: Recipe, engine: str = "auto"
) -> Recipe:
    """The recipe with the ranges that it leaves open set to what all geometries cover together.

    Parameters
    ----------
    geometries, recipe
        Of which the ranges are sought.
    engine
        The one that integrates, for engines may round angles differently.

    Raises
    ------
    RecipeError
        If there is no geometry.
    """
    if not geometries:
        raise RecipeError("There is no geometry to find a range for; give at least one.")
    radial = unit(recipe.unit)
    builder = create_builder("scipy" if engine == "histogram" else engine)
    grids = [
        make_grid(
            geometry,
            radial,
            recipe.splitting,
            recipe.npt,
            recipe.radial_range,
            npt_azim=recipe.npt_azim,
            azimuth_range=recipe.azimuth_range,
            azimuthal_unit=unit(recipe.azimuthal_unit),
            find_extent=builder.extent,
        )
        for geometry in geometries
    ]
    if recipe.radial_range is None:
        recipe = replace(recipe, radial_range=_united([grid.radial for grid in grids]))
    if recipe.azimuth_range is None and recipe.npt_azim is not None:
        recipe = replace(recipe, azimuth_range=_united([grid.azimuthal for grid in grids]))
    return recipe


def _leaves_open(recipe: Recipe) -> bool:
    azimuth_is_open = recipe.npt_azim is not None and recipe.azimuth_range is None
    return recipe.radial_range is None or azimuth_is_open


def _united(axes: Sequence[Axis]) -> Range:
    """The range that holds those of all axes, without what `Axis.from_range` adds to it."""
    upper = max(axis.upper for axis in axes)
    inclusive = upper / EPSILON if upper > 0 else upper * EPSILON
    return min(axis.lower for axis in axes), inclusive
