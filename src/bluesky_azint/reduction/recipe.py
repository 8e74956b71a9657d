"""A recipe: what to compute from a frame, apart from geometry and calibration frames."""

from __future__ import annotations

import hashlib
import json
import numbers
from dataclasses import asdict, dataclass, fields
from typing import Any, Self

from bluesky_azint.errors import RecipeError
from bluesky_azint.reduction.variance import ERROR_MODELS
from bluesky_azint.splitting import SPLITTINGS
from bluesky_azint.units import unit

Range = tuple[float, float]

_NUMBERS = (
    *("polarization_factor", "polarization_offset", "sensor_transmission"),
    *("dummy", "delta_dummy"),
)


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """What to compute from a frame: frozen, serialisable, hashed.

    Parameters
    ----------
    npt
        Number of radial bins.
    unit
        Radial unit, as pyFAI names it: ``"q_A^-1"``, ``"2th_deg"`` ...
    radial_range
        Lower and upper end, in that unit; None takes what the detector covers.
    npt_azim
        Number of azimuthal bins, for a pattern in two dimensions; None for one.
    azimuth_range
        Lower and upper end in the azimuthal unit; of an angle the range runs upwards from the
        first and wraps.
    splitting
        How a pixel is shared among bins: ``"no"``, ``"bbox"``, ``"pseudo"`` or ``"full"``.
    polarization_factor
        From -1 (vertical) to 1 (horizontal); None does not correct.
    polarization_offset
        Angle of the axis of polarization from the fast axis, in radians.
    correct_solid_angle
        Whether to divide by the solid angle of the pixel, relative to that at the PONI.
    pixel_areas
        Whether the area of a pixel, relative to the usual one, belongs to its solid angle.
    sensor_transmission
        Part of the intensity that passes through a phosphor at normal incidence, from 0 to 1; None
        does not correct for what is absorbed more at oblique incidence.
    azimuthal_unit
        What is along the second axis, ``"chi_deg"`` or any other unit.
    error_model
        ``"poisson"``, ``"variance"``, ``"azimuthal"`` or ``"hybrid"``, see
        `bluesky_azint.reduction.variance`; None for no error bars.
    dummy, delta_dummy
        A pixel within ``delta_dummy`` of ``dummy`` is bad in that frame; None takes the
        detector's own.
    """

    npt: int = 1000
    npt_azim: int | None = None
    unit: str = "q_A^-1"
    radial_range: Range | None = None
    azimuth_range: Range | None = None
    splitting: str = "bbox"
    polarization_factor: float | None = None
    polarization_offset: float = 0.0
    correct_solid_angle: bool = True
    pixel_areas: bool = False
    sensor_transmission: float | None = None
    azimuthal_unit: str = "chi_deg"
    error_model: str | None = None
    dummy: float | None = None
    delta_dummy: float | None = None

    def __post_init__(self) -> None:
        object.__setattr__(self, "npt", _whole_number("npt", self.npt))
        if self.npt_azim is not None:
            object.__setattr__(self, "npt_azim", _whole_number("npt_azim", self.npt_azim))
        for name in ("unit", "azimuthal_unit"):
            object.__setattr__(self, name, unit(getattr(self, name)).name)
        for name in ("radial_range", "azimuth_range"):
            value = getattr(self, name)
            if value is not None:
                object.__setattr__(self, name, _range(name, value))
        if self.radial_range is not None and self.radial_range[0] >= self.radial_range[1]:
            raise RecipeError(
                f"radial_range is {self.radial_range}; its first value must be the smaller one."
            )
        _one_of("splitting", self.splitting, SPLITTINGS)
        if self.error_model is not None:
            _one_of("error_model", self.error_model, ERROR_MODELS)
        for name in _NUMBERS:
            if getattr(self, name) is not None:
                object.__setattr__(self, name, _number(name, getattr(self, name)))
        if self.polarization_factor is not None and not -1 <= self.polarization_factor <= 1:
            raise RecipeError(
                f"polarization_factor is {self.polarization_factor}; it must lie between -1 "
                "(vertical) and 1 (horizontal), or be None for no correction."
            )
        for name in ("correct_solid_angle", "pixel_areas"):
            if not isinstance(getattr(self, name), bool):
                raise RecipeError(f"{name} is {getattr(self, name)!r}; it must be True or False.")
        if self.sensor_transmission is not None and not 0 <= self.sensor_transmission < 1:
            raise RecipeError(
                f"sensor_transmission is {self.sensor_transmission}; it must be at least 0 and "
                "less than 1, or None for no correction."
            )
        if self.delta_dummy is not None and self.dummy is None:
            raise RecipeError(
                f"delta_dummy is {self.delta_dummy} but dummy is None; give both, or neither."
            )
        if self.delta_dummy is not None and self.delta_dummy < 0:
            raise RecipeError(f"delta_dummy is {self.delta_dummy}; it must not be negative.")

    @property
    def hash(self) -> str:
        """SHA-256 of the recipe: equal for equal recipes, on any machine."""
        return hashlib.sha256(json.dumps(self.to_dict(), sort_keys=True).encode()).hexdigest()

    def to_dict(self) -> dict[str, Any]:
        """The recipe as plain values that JSON and TOML can hold."""
        return {
            key: list(value) if isinstance(value, tuple) else value
            for key, value in asdict(self).items()
        }

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> Self:
        """The recipe that `to_dict` gave.

        Raises
        ------
        RecipeError
            If a key is not known or a value not allowed.
        """
        known = [field.name for field in fields(cls)]
        for key in values:
            if key not in known:
                raise RecipeError(
                    f"A recipe has no entry {key!r}; its entries are {', '.join(known)}."
                )
        return cls(**values)


def _whole_number(name: str, value: object) -> int:
    if not isinstance(value, numbers.Integral) or value < 1:
        raise RecipeError(f"{name} is {value!r}; it must be a whole number of at least 1.")
    return int(value)


def _number(name: str, value: object) -> float:
    if not isinstance(value, numbers.Real) or not abs(float(value)) < float("inf"):
        raise RecipeError(f"{name} is {value!r}; it must be a finite number.")
    return float(value)


def _range(name: str, value: object) -> Range:
    try:
        lower, upper = (float(end) for end in value)  # type: ignore[attr-defined]
    except (TypeError, ValueError):
        lower = upper = float("nan")
    if not (abs(lower) < float("inf") and abs(upper) < float("inf")):
        raise RecipeError(f"{name} is {value!r}; it must be two finite numbers, or None.")
    return lower, upper


def _one_of(name: str, value: object, allowed: tuple[str, ...]) -> None:
    if value not in allowed:
        choices = ", ".join(map(repr, allowed))
        raise RecipeError(f"{name} is {value!r}; it must be one of {choices}.")
