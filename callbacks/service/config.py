"""The configuration of the service: one TOML file, checked whole before anything starts.

Paths are relative to the file, what is not set has a default that works, and secrets are not in it:
it names the variable of the environment that holds one. `example_config` gives a file to begin with.
"""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.resources import files
from os import PathLike
from pathlib import Path
from typing import Any

from bluesky_azint.callbacks.companions.conditions import Stand, axes_problem
from bluesky_azint.callbacks.service.ends import FromPython, FromRedis, Sinks, Source, read_source
from bluesky_azint.callbacks.service.sections import (
    Calibrations,
    Catalogue,
    Computing,
    Detector,
    Files,
    Process,
    read_recipe,
)
from bluesky_azint.callbacks.service.tables import Fault, Table
from bluesky_azint.errors import ConfigError
from bluesky_azint.reduction.recipe import Recipe


@dataclass(frozen=True, kw_only=True)
class ServiceConfig:
    """What a configuration file says.

    Parameters
    ----------
    path
        The file.
    service, source, tiled, calibrations, files, engine, recipes, detectors, sinks
        Its sections. Without ``[tiled]``, that is None; without recipes, there is one, ``pattern``.
    """

    path: Path
    service: Process
    source: Source
    tiled: Catalogue | None
    calibrations: Calibrations
    files: Files
    engine: Computing
    recipes: Mapping[str, Recipe]
    detectors: Mapping[str, Detector]
    sinks: Sinks

    def detector(self, data_key: str) -> Detector:
        """What is done with the frames of a data key: all recipes, unless it has a section."""
        return self.detectors.get(data_key, Detector(recipes=tuple(self.recipes)))


def read_config(path: str | PathLike[str]) -> ServiceConfig:
    """Read and check a configuration file.

    Raises
    ------
    ConfigError
        If there is no such file, it is no TOML, or anything in it is wrong; it tells all faults.
    """
    path = Path(path).absolute()
    faults: list[Fault] = []
    table = Table(_entries(path), folder=path.parent, faults=faults)
    config = _read(path, table)
    table.done()
    if faults:
        count = f"{len(faults)} faults" if len(faults) > 1 else "a fault"
        raise ConfigError("\n  ".join([f"{path} has {count}:", *map(str, faults)]))
    return config


def example_config() -> str:
    """A configuration with comments, to begin with: it works as it is in an empty folder."""
    example = files("bluesky_azint.callbacks.service").joinpath("example.toml")
    return example.read_text(encoding="utf-8")


def _entries(path: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise ConfigError(
            f"{path} cannot be read: {error.strerror}. Name the configuration with -c, or begin "
            f"with the example: bluesky-azint serve --example > {path.name}"
        ) from error
    except UnicodeDecodeError as error:
        raise ConfigError(f"{path} is no text in UTF-8; save it as such.") from error
    except (tomllib.TOMLDecodeError, RecursionError) as error:
        raise ConfigError(
            f"{path} is no TOML: {error}. Strings are in quotes, and tables in [brackets]."
        ) from error


def _read(path: Path, table: Table) -> ServiceConfig:
    service = Process.read(table.table("service"))
    source = read_source(table.table("source"))
    named = table.table("recipes").tables()
    recipes = {name: read_recipe(name, entry) for name, entry in named.items()}
    recipes = recipes or {"pattern": Recipe()}
    sections = table.table("detectors").tables()
    detectors = {key: Detector.read(entry, list(recipes)) for key, entry in sections.items()}
    for key, detector in detectors.items():
        _check_axes(sections[key], detector, recipes)
    sinks = Sinks.read(table.table("sinks"))
    if (
        isinstance(source, FromRedis)
        and sinks.redis is not None
        and ((source.url, source.stream) == (sinks.redis.url, sinks.redis.stream))
    ):
        table.fault(
            "sinks", "redis is the stream that documents come from; write another `stream` there."
        )
    return ServiceConfig(
        path=path,
        service=service,
        source=source,
        tiled=Catalogue.read(table.table("tiled")) if "tiled" in table else None,
        calibrations=Calibrations.read(table.table("calibrations")),
        files=Files.read(
            table.table("files"),
            directory=service.directory,
            roots_needed=not isinstance(source, FromPython),
        ),
        engine=Computing.read(table.table("engine")),
        recipes=recipes,
        detectors=detectors,
        sinks=sinks,
    )


def _check_axes(table: Table, detector: Detector, recipes: Mapping[str, Recipe]) -> None:
    """Where energy or motors may change the geometry, all patterns need the same axes."""
    if not detector.companions.changes_geometry:
        return
    for name in detector.recipes:
        if name in recipes and (problem := axes_problem(Stand(moves=True), recipes[name])):
            table.fault("recipes", f"{problem} The recipe is {name!r}.")
