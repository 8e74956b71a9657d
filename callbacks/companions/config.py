"""What belongs to a frame, and where it is found, as a beamline configures it."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field, fields
from difflib import get_close_matches
from pathlib import Path
from typing import Any, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray

from bluesky_azint.errors import ConfigError

MOVING = ("dist", "poni1", "poni2", "rot1", "rot2", "rot3")
"""Parameters of a geometry that motors may change."""

Floats = NDArray[np.float64]

_KEV = {"eV": 1e-3, "keV": 1.0}


@dataclass(frozen=True, kw_only=True)
class Quantity:
    """A number that a device tells: ``scale * (reading - zero)``.

    Parameters
    ----------
    key
        Name of the reading: a data key, a configuration signal, or a key of the start document.
    scale
        From the unit of the reading to the one that is wanted.
    zero
        What it reads where the number is zero: the dark current of an ion chamber, the place of a
        motor when the detector was calibrated.
    step
        Readings are rounded to multiples of it, so that one that trembles does not make a geometry
        of its own of every frame; 0 rounds nothing.
    """

    key: str
    scale: float = 1.0
    zero: float = 0.0
    step: float = 0.0

    def of(self, readings: Floats) -> Floats:
        """The numbers of readings."""
        if self.step:
            readings = np.round(readings / self.step) * self.step
        return self.scale * (readings - self.zero)


@dataclass(frozen=True, kw_only=True)
class DarkConfig:
    """Which dark frames are subtracted.

    Parameters
    ----------
    stream
        Name of the stream of dark frames.
    runs
        What the start document of a run says that is dark as a whole.
    max_age
        How old a dark of another run may be, in seconds, when a run starts.
    exposure_tolerance
        By what part exposures may differ and count as equal.
    scale
        Whether a dark of another exposure may be scaled to that of the frame: right if there is no
        offset that stays when the exposure goes to zero.
    keep
        How many darks to keep of each detector.
    """

    stream: str = "dark"
    runs: Mapping[str, Any] = field(default_factory=lambda: {"purpose": "dark"})
    max_age: float = 86400.0
    exposure_tolerance: float = 0.01
    scale: bool = False
    keep: int = 20


@dataclass(frozen=True, kw_only=True)
class GoniometerConfig:
    """A goniometer file, and the readings that its positions are.

    Parameters
    ----------
    file
        See `bluesky_azint.io.goniometer`.
    positions
        By the names of positions in the file.
    """

    file: Path
    positions: Mapping[str, Quantity]


@dataclass(frozen=True, kw_only=True, eq=False)
class CompanionsConfig:
    """What belongs to a frame.

    Parameters
    ----------
    monitor
        What patterns are divided by: the product of these. With the exposure among them they are
        per second.
    exposure
        Seconds that a frame was exposed; by it darks are chosen, and scaled.
    energy
        Of the photons, in keV.
    dark
        None subtracts nothing.
    flat
        File or array, by data key; ``""`` stands for all that have none of their own.
    geometry
        What is added to the calibrated geometry, by parameter, in metres and radians. At the
        `zero` of its quantity a parameter is what the calibration says.
    goniometer
        What gives the geometry in place of the calibration.
    """

    monitor: tuple[Quantity, ...] = ()
    exposure: Quantity | None = None
    energy: Quantity | None = None
    dark: DarkConfig | None = None
    flat: Mapping[str, Path | ArrayLike] = field(default_factory=dict)
    geometry: Mapping[str, Quantity] = field(default_factory=dict)
    goniometer: GoniometerConfig | None = None

    def __post_init__(self) -> None:
        if self.geometry and self.goniometer:
            raise ConfigError(
                "Both geometry and goniometer say how the detector moves; leave one of them out."
            )

    @classmethod
    def from_dict(cls, values: Mapping[str, Any], where: str = "companions") -> Self:
        """The configuration in a table of a TOML file.

        Parameters
        ----------
        values
            The table.
        where
            What it is called there; for errors.

        Raises
        ------
        ConfigError
            If a key is not known, or its value not what it must be.
        """
        readers: dict[str, Callable[[Any, str], Any]] = {
            "monitor": _quantities,
            "exposure": _quantity,
            "energy": _energy,
            "dark": _dark,
            "flat": _flat,
            "geometry": _moving,
            "goniometer": _goniometer,
        }
        table = _table(values, where, readers)
        return cls(**{key: readers[key](value, f"{where}.{key}") for key, value in table.items()})

    @property
    def changes_geometry(self) -> bool:
        """Whether frames may have another geometry than the calibrated one.

        Recipes then need a range for each axis, see `conditions.axes_problem`.
        """
        return bool(self.energy or self.geometry or self.goniometer)


def _quantities(value: object, where: str) -> tuple[Quantity, ...]:
    several = value if isinstance(value, list) else [value]
    return tuple(_quantity(one, where) for one in several)


def _quantity(value: object, where: str, **usual: float) -> Quantity:
    """A name, or a table with a name and how to read it."""
    table = _table({"key": value} if isinstance(value, str) else value, where, _names(Quantity))
    name = table.get("key")
    if not (isinstance(name, str) and name):
        raise ConfigError(
            f"{where} does not name what to read: give the name of a data key, or a table with "
            f"it, as {where} = {{key = 'i0'}}."
        )
    numbers = {
        key: _number(value, f"{where}.{key}") for key, value in table.items() if key != "key"
    }
    quantity = Quantity(key=name, **{**usual, **numbers})
    if quantity.scale == 0 or quantity.step < 0:
        raise ConfigError(f"{where}: scale must not be zero, and step not negative.")
    return quantity


def _energy(value: object, where: str) -> Quantity:
    table = dict(_table(value, where, ("key", "unit", "zero", "step")))
    unit = table.pop("unit", None)
    if unit not in _KEV:
        raise ConfigError(
            f"{where}.unit is {unit!r}; say in what the energy is read, as "
            f"{where} = {{key = 'mono_energy', unit = 'keV'}}, or unit = 'eV'."
        )
    return _quantity(table, where, scale=_KEV[unit])


def _dark(value: object, where: str) -> DarkConfig | None:
    if isinstance(value, bool):
        return DarkConfig() if value else None
    table = dict(_table(value, where, _names(DarkConfig)))
    for key in ("max_age", "exposure_tolerance", "keep"):
        if key in table and _number(table[key], f"{where}.{key}") < 0:
            raise ConfigError(f"{where}.{key} is {table[key]}; it must not be negative.")
    expected = {"stream": str, "scale": bool, "runs": Mapping, "keep": int}
    for key, kind in expected.items():
        if key in table and not isinstance(table[key], kind):
            raise ConfigError(
                f"{where}.{key} is {table[key]!r}; it must be a {kind.__name__.lower()}."
            )
    return DarkConfig(**table)


def _flat(value: object, where: str) -> dict[str, Path]:
    table = {"": value} if isinstance(value, str) else value
    if not (isinstance(table, Mapping) and all(isinstance(path, str) for path in table.values())):
        raise ConfigError(
            f"{where} is {value!r}; it must be the path of a file, or a table of paths by data key."
        )
    return {key: Path(path) for key, path in table.items()}


def _moving(value: object, where: str) -> dict[str, Quantity]:
    table = _table(value, where, MOVING)
    return {name: _quantity(one, f"{where}.{name}") for name, one in table.items()}


def _goniometer(value: object, where: str) -> GoniometerConfig:
    table = _table(value, where, _names(GoniometerConfig))
    file, positions = table.get("file"), table.get("positions")
    if not isinstance(file, str) or not isinstance(positions, Mapping):
        raise ConfigError(
            f"{where} needs a file and the positions of its motors, as {where} = "
            "{file = 'arm.json', positions = {pos = 'tth'}}."
        )
    read = {name: _quantity(one, f"{where}.positions.{name}") for name, one in positions.items()}
    return GoniometerConfig(file=Path(file), positions=read)


def _names(kind: type) -> list[str]:
    return [one.name for one in fields(kind)]


def _table(value: object, where: str, known: Collection[str]) -> Mapping[str, Any]:
    """A table, with no other keys than those."""
    if not isinstance(value, Mapping):
        raise ConfigError(
            f"{where} is {value!r}; it must be a table with some of {', '.join(known)}."
        )
    for key in value:
        if key not in known:
            near = get_close_matches(str(key), list(known), n=1)
            hint = f" Is {near[0]!r} meant?" if near else ""
            raise ConfigError(f"There is no key {where}.{key}.{hint} Known are {', '.join(known)}.")
    return value


def _number(value: object, where: str) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not np.isfinite(value):
        raise ConfigError(f"{where} is {value!r}; it must be a finite number.")
    return float(value)
