"""What a reducer was told to do, the same for all runs."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Collection, Hashable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from bluesky_azint.callbacks.companions.conditions import Conditions
from bluesky_azint.callbacks.resolve import ResolvedCalibration, resolve_calibration
from bluesky_azint.errors import RecipeError
from bluesky_azint.geometry import Geometry
from bluesky_azint.reduction.integrator import Integrator
from bluesky_azint.reduction.recipe import Recipe
from bluesky_azint.store import CalibrationRecord, CalibrationStore

if TYPE_CHECKING:
    from event_model.documents import EventDescriptor, RunStart

    from bluesky_azint.callbacks.companions.companions import Companions

Flavour = Literal["stream", "inline"]

# The tables of a detector of 4 million pixels take a second to build and 100 MB to keep.
_INTEGRATORS_KEPT = 3


@dataclass(frozen=True, kw_only=True, eq=False)
class Settings:
    """What to compute, where calibrations are found, and where patterns go; see `Reducer`."""

    recipes: Mapping[str, Recipe]
    directory: Path | None
    chosen: Mapping[str, Collection[str]] = field(default_factory=dict)
    store: CalibrationStore | None = None
    default: Geometry | CalibrationRecord | None = None
    engine: str = "auto"
    continues: bool = False
    companions: Companions | None = None
    _integrators: OrderedDict[Hashable, Integrator] = field(
        default_factory=OrderedDict, init=False, repr=False
    )

    def __post_init__(self) -> None:
        if not self.recipes:
            raise RecipeError("There is no recipe; give at least one.")
        for name in self.recipes:
            if not name.isidentifier():
                raise RecipeError(
                    f"A recipe is called {name!r}; take letters, digits and underscores, for the "
                    "name becomes a part of those of streams and files."
                )
        for data_key, names in self.chosen.items():
            if unknown := set(names) - set(self.recipes):
                raise RecipeError(
                    f"The images {data_key!r} are to be reduced by {', '.join(sorted(unknown))}; "
                    f"the recipes are {', '.join(self.recipes)}."
                )

    def recipes_of(self, data_key: str) -> dict[str, Recipe]:
        """The recipes for some images, by name, the main one first."""
        names = self.chosen.get(data_key, self.recipes)
        return {name: recipe for name, recipe in self.recipes.items() if name in names}

    def made_with(self, data_key: str) -> str:
        """What the patterns of some images follow from, but for calibrations: equal if it is."""
        made = [f"{name}:{recipe.hash}" for name, recipe in self.recipes_of(data_key).items()]
        companions = self.companions.digest(data_key) if self.companions is not None else ""
        return "/".join([data_key, *made, *([companions] if companions else [])])

    def calibration(
        self, descriptor: EventDescriptor, start: RunStart, data_key: str
    ) -> ResolvedCalibration:
        """The calibration for the images of a descriptor, see `resolve_calibration`."""
        return resolve_calibration(
            descriptor, start, data_key, store=self.store, default=self.default
        )

    def integrator(
        self,
        calibration: ResolvedCalibration,
        recipe: Recipe,
        conditions: Conditions | None = None,
    ) -> Integrator:
        """The integrator for a calibration: the tables are built once, and the last few kept."""
        key = (calibration.key, recipe, None if conditions is None else conditions.key)
        if key not in self._integrators:
            geometry, maps = calibration.geometry, {}
            if conditions is not None:
                geometry, maps = conditions.geometry(geometry), conditions.maps
            self._integrators[key] = Integrator.from_recipe(
                geometry, recipe, mask=calibration.mask, engine=self.engine, **maps
            )
        self._integrators.move_to_end(key)
        while len(self._integrators) > _INTEGRATORS_KEPT * len(self.recipes):
            self._integrators.popitem(last=False)
        return self._integrators[key]
