"""What a reducer was told to do, the same for all runs."""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from bluesky_azint.callbacks.resolve import ResolvedCalibration, resolve_calibration
from bluesky_azint.geometry import Geometry
from bluesky_azint.reduction.integrator import Integrator
from bluesky_azint.reduction.recipe import Recipe
from bluesky_azint.store import CalibrationRecord, CalibrationStore

if TYPE_CHECKING:
    from event_model.documents import EventDescriptor, RunStart

Flavour = Literal["stream", "inline"]

# The tables of a detector of 4 million pixels take a second to build and 100 MB to keep.
_INTEGRATORS_KEPT = 3


@dataclass(frozen=True, kw_only=True, eq=False)
class Settings:
    """What to compute, where calibrations are found, and where patterns go; see `Reducer`."""

    recipe: Recipe
    directory: Path | None
    store: CalibrationStore | None = None
    default: Geometry | CalibrationRecord | None = None
    engine: str = "auto"
    flavour: Flavour = "stream"
    _integrators: OrderedDict[tuple[Geometry, str | None], Integrator] = field(
        default_factory=OrderedDict, init=False, repr=False
    )

    def calibration(
        self, descriptor: EventDescriptor, start: RunStart, data_key: str
    ) -> ResolvedCalibration:
        """The calibration for the images of a descriptor, see `resolve_calibration`."""
        return resolve_calibration(
            descriptor, start, data_key, store=self.store, default=self.default
        )

    def integrator(self, calibration: ResolvedCalibration) -> Integrator:
        """The integrator for a calibration: the tables are built once, and the last few kept."""
        key = calibration.key
        if key not in self._integrators:
            self._integrators[key] = Integrator.from_recipe(
                calibration.geometry, self.recipe, mask=calibration.mask, engine=self.engine
            )
        self._integrators.move_to_end(key)
        while len(self._integrators) > _INTEGRATORS_KEPT:
            self._integrators.popitem(last=False)
        return self._integrators[key]
