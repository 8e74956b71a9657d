"""How the frames of a descriptor become patterns, by one recipe."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from bluesky_azint.callbacks.companions.conditions import Conditions, axes_problem
from bluesky_azint.callbacks.frames import FrameBatch
from bluesky_azint.callbacks.resolve import ResolvedCalibration
from bluesky_azint.callbacks.settings import Settings
from bluesky_azint.errors import FrameError, GeometryError
from bluesky_azint.geometry import Geometry
from bluesky_azint.reduction.integrator import Integrator
from bluesky_azint.reduction.recipe import Recipe
from bluesky_azint.reduction.result import IntegrationResult


@dataclass(frozen=True, kw_only=True, eq=False)
class Reduction:
    """How frames are reduced.

    Parameters
    ----------
    calibration, recipe, integrator
        The calibration and the recipe, and what is built from them.
    settings
        Make other integrators, for frames under other conditions.
    """

    calibration: ResolvedCalibration
    recipe: Recipe
    integrator: Integrator
    settings: Settings

    @classmethod
    def of(cls, calibration: ResolvedCalibration, recipe: Recipe, settings: Settings) -> Reduction:
        """What reduces frames by a recipe."""
        return cls(
            calibration=calibration,
            recipe=recipe,
            integrator=settings.integrator(calibration, recipe),
            settings=settings,
        )

    @property
    def geometry(self) -> Geometry:
        """The calibrated geometry, with the shape of the detector if the frames gave that."""
        return self.integrator.geometry

    def is_like(self, other: Reduction) -> bool:
        """Whether the same patterns come out."""
        return self.calibration.key == other.calibration.key and self.recipe == other.recipe

    def integrate(self, batch: FrameBatch, conditions: Conditions | None) -> IntegrationResult:
        """The patterns of some frames under the same conditions.

        Each frame is summed by itself: its pattern is the same to the last bit when it is reduced
        again, whatever frames it is read with then.

        Raises
        ------
        AzintError
            If there are none, and why.
        """
        if conditions is None:
            return self.integrator.integrate(batch.frames, alone=True)
        problem = conditions.problem or axes_problem(conditions.stand, self.recipe)
        if problem:
            raise FrameError(problem)
        integrator = self.settings.integrator(self.calibration, self.recipe, conditions)
        return integrator.integrate(batch.frames, conditions.normalization, alone=True)

    def nothing(self, frames: int) -> IntegrationResult | None:
        """Patterns for frames that could not be reduced; None if not even the bins are known."""
        try:
            radial, azimuthal = self.integrator.radial, self.integrator.azimuthal
        except GeometryError:
            return None
        shape = radial.shape if azimuthal is None else (azimuthal.size, radial.size)
        nothing = np.full((frames, *shape), np.nan)
        recipe = self.recipe
        return IntegrationResult(
            radial=radial,
            azimuthal=azimuthal,
            azimuthal_unit=None if azimuthal is None else recipe.azimuthal_unit,
            error_model=recipe.error_model,
            sum_signal=nothing,
            sum_variance=None if recipe.error_model is None else nothing,
            sum_normalization=nothing,
            sum_normalization2=nothing,
            count=np.zeros_like(nothing),
            unit=recipe.unit,
            engine="none",
        )
