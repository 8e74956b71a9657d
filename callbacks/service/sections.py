"""The sections of the service's configuration: what can be set, and what it is if nobody does.

Each is a frozen dataclass that reads itself from a `Table`. Where documents come from and go to is
in `bluesky_azint.callbacks.service.ends`.
"""

from __future__ import annotations

import os
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import Any, Self
from urllib.parse import parse_qs, urlsplit

from bluesky_azint.callbacks.companions.config import CompanionsConfig
from bluesky_azint.callbacks.service.tables import Table, nearest
from bluesky_azint.engines import ENGINES
from bluesky_azint.errors import AzintError, ConfigError
from bluesky_azint.geometry import Geometry
from bluesky_azint.reduction.recipe import Recipe

LOGS = ("text", "json")
LEVELS = ("debug", "info", "warning", "error")


@dataclass(frozen=True)
class Address:
    """A host and a port of it.

    Parameters
    ----------
    host
        Name or number.
    port
        0 for one that the system chooses.
    """

    host: str
    port: int

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"

    @classmethod
    def parse(cls, text: str) -> Self | None:
        """An address such as ``"localhost:5578"`` or ``"[::1]:5578"``; None if it is none."""
        try:
            parts = urlsplit(f"//{text}")
            host, port = parts.hostname, parts.port
        except ValueError:
            return None
        if not host or port is None or parts.netloc != text or "@" in text:
            return None
        return cls(host, port)


@dataclass(frozen=True, kw_only=True)
class Process:
    """Section ``[service]``: the process itself.

    Parameters
    ----------
    directory
        Where it keeps its state: journal, patterns, backups.
    http
        Where it tells how it is getting on; None for nowhere.
    log
        How it logs: ``"text"``, or ``"json"``, one object a line.
    level
        The least level of a line in the log.
    quiet_seconds
        How long a run may be silent before the raw catalogue is asked about it.
    patience_seconds
        How long what is missing is looked for after the end of a run.
    max_memory_mb
        How much memory waiting documents may take, in 10⁶ bytes; the others wait on disk.
    """

    directory: Path
    http: Address | None = Address("127.0.0.1", 8090)
    log: str = "text"
    level: str = "info"
    quiet_seconds: float = 30.0
    patience_seconds: float = 600.0
    max_memory_mb: int = 256

    @classmethod
    def read(cls, table: Table) -> Self:
        """Section ``[service]``."""
        http = table.text("http", str(cls.http))
        if http and Address.parse(http) is None:
            table.fault("http", f'"{http}" is no address; write "127.0.0.1:8090", or "" for none.')
        return cls(
            directory=table.folder_to_write("directory"),
            http=Address.parse(http),
            log=table.choice("log", cls.log, LOGS),
            level=table.choice("level", cls.level, LEVELS),
            quiet_seconds=table.number("quiet_seconds", cls.quiet_seconds),
            patience_seconds=table.number("patience_seconds", cls.patience_seconds),
            max_memory_mb=table.whole("max_memory_mb", cls.max_memory_mb, least=1),
        )


@dataclass(frozen=True, kw_only=True)
class Catalogue:
    """Section ``[tiled]``: where raw runs are looked up, and reduced ones are written.

    Parameters
    ----------
    uri
        Address of the server; an empty string where a profile tells it.
    profile
        Name of a Tiled profile; an empty string where there is a `uri`.
    api_key_env
        Name of the variable of the environment that holds the key; an empty string for none.
    raw
        Path of the container with raw runs; an empty string where there is none.
    reduced
        Path of the container for reduced runs.
    flush_seconds
        How long rows are collected before they are written together.
    """

    uri: str = ""
    profile: str = ""
    api_key_env: str = ""
    raw: str = "raw"
    reduced: str = "reduced"
    flush_seconds: float = 0.5

    @property
    def api_key(self) -> str | None:
        """The key itself, from the environment."""
        return os.environ.get(self.api_key_env) if self.api_key_env else None

    @classmethod
    def read(cls, table: Table) -> Self:
        """Section ``[tiled]``."""
        uri, profile = table.text("uri", ""), table.text("profile", "")
        if bool(uri) == bool(profile):
            table.fault("", 'needs either `uri`, as "http://localhost:8000", or `profile`.')
        if uri and not uri.startswith(("http://", "https://")):
            table.fault("uri", f'"{uri}" is no address; write it as "http://localhost:8000".')
        if "api_key" in parse_qs(urlsplit(uri).query):
            table.fault(
                "uri",
                "holds a key, which no file should; put the key into a variable of the "
                "environment, and the name of that into `api_key_env`.",
            )
        reduced = table.text("reduced", cls.reduced)
        if not reduced:
            table.fault("reduced", 'is empty; write the path of a container, "/" for the root.')
        variable = table.text("api_key_env", "")
        if variable and not os.environ.get(variable):
            table.fault(
                "api_key_env",
                f"the environment has no variable {variable}; set it for the service, in the "
                "EnvironmentFile of its unit.",
            )
        return cls(
            uri=uri,
            profile=profile,
            api_key_env=variable,
            raw=table.text("raw", cls.raw),
            reduced=reduced,
            flush_seconds=table.number("flush_seconds", cls.flush_seconds),
        )


@dataclass(frozen=True, kw_only=True)
class Calibrations:
    """Section ``[calibrations]``: what frames are integrated with.

    Parameters
    ----------
    store
        Folder, or address of a Tiled server; an empty string for none.
    default
        A .poni file for detectors of which nothing else is known; None for none.
    """

    store: str = ""
    default: Path | None = None

    @classmethod
    def read(cls, table: Table) -> Self:
        """Section ``[calibrations]``."""
        store = table.text("store", "")
        if store and not store.startswith(("http://", "https://")):
            store = str(folder := table.path("store"))
            if folder and not folder.is_dir():
                table.fault("store", f"{folder} is no folder; make it, or name the one there is.")
        default = table.file_to_read("default")
        if default is not None and default.is_file():
            try:
                Geometry.from_poni(default)
            except (AzintError, OSError) as error:
                table.fault("default", f"is no geometry. {error}")
        return cls(store=store, default=default)


@dataclass(frozen=True, kw_only=True)
class Files:
    """Section ``[files]``: what may be read, and where patterns go.

    Parameters
    ----------
    roots
        Folders that may be read, and nothing outside of them; None for no limit.
    map
        Beginnings of paths in documents, and what they are called on this machine.
    patterns
        Where the files with patterns go, which the Tiled server must be able to read.
    """

    roots: tuple[Path, ...] | None = None
    map: Mapping[str, str] = field(default_factory=dict)
    patterns: Path

    @classmethod
    def read(cls, table: Table, *, directory: Path, roots_needed: bool) -> Self:
        """Section ``[files]``; the roots must be given where documents come from a network."""
        roots = table.folders_to_read("roots") if "roots" in table else None
        if roots_needed and roots is None:
            table.fault(
                "roots",
                "is missing; documents that come over a network may name any file. Write the "
                'folders that hold raw frames, as in roots = ["/data"].',
            )
        inner = table.table("map")
        paths = {start: inner.path(start) for start in inner.names()}
        for start, path in paths.items():
            if path is None:
                inner.fault(start, "is empty; write what the folder is called on this machine.")
            elif roots is not None and not any(_overlap(path, root) for root in roots):
                inner.fault(start, f"{path} lies outside of files.roots; add it there.")
        return cls(
            roots=roots,
            map={start: str(path) for start, path in paths.items()},
            patterns=(
                table.folder_to_write("patterns") if "patterns" in table else directory / "patterns"
            ),
        )


@dataclass(frozen=True, kw_only=True)
class Computing:
    """Section ``[engine]``: what integrates.

    Parameters
    ----------
    name
        See `bluesky_azint.engines.create_engine`. It uses the cores that the process may use,
        which systemd tells it: ``CPUAffinity=``.
    """

    name: str = "auto"

    @classmethod
    def read(cls, table: Table) -> Self:
        """Section ``[engine]``."""
        return cls(name=table.choice("name", cls.name, ENGINES))


@dataclass(frozen=True, kw_only=True)
class Detector:
    """Section ``[detectors.DATA_KEY]``: what is done with the frames of one data key.

    Parameters
    ----------
    recipes
        Names of those it is reduced with, in their order; none at all leaves it alone.
    companions
        Where what belongs to a frame is found.
    """

    recipes: tuple[str, ...]
    companions: CompanionsConfig = field(default_factory=CompanionsConfig)

    @classmethod
    def read(cls, table: Table, recipes: Collection[str]) -> Self:
        """A section ``[detectors.DATA_KEY]``, given the names of all recipes."""
        chosen = table.texts("recipes", recipes)
        for name in chosen:
            if name not in recipes:
                known = ", ".join(recipes)
                table.fault(
                    "recipes",
                    f'there is no recipe "{name}"{nearest(name, recipes)} There are: {known}.',
                )
        return cls(recipes=chosen, companions=_companions(table))


def read_recipe(name: str, table: Table) -> Recipe:
    """A section ``[recipes.NAME]``; each entry that is wrong is a fault of its own."""
    if not name.isidentifier():
        table.fault(
            "",
            "is no name that streams and files can have; take letters, digits and underscores.",
        )
    values = table.rest([entry.name for entry in fields(Recipe)])
    while True:
        try:
            return Recipe.from_dict(values)
        except (ValueError, TypeError) as error:
            key = _culprit(values, str(error))
            table.fault(key, str(error))
            values = {name: value for name, value in values.items() if key and name != key}


def _culprit(values: Mapping[str, Any], message: str) -> str:
    """The entry of a recipe without which the error is gone; an empty string if none alone is."""
    for key in values:
        try:
            Recipe.from_dict({name: value for name, value in values.items() if name != key})
        except (ValueError, TypeError) as error:
            if str(error) == message:
                continue
        return key
    return ""


def _companions(table: Table) -> CompanionsConfig:
    """What belongs to the frames of a detector; each entry that is wrong is a fault of its own."""
    values = table.rest()
    for key, value in list(values.items()):
        try:
            CompanionsConfig.from_dict({key: value}, table.name)
        except ConfigError as error:
            table.fault("", str(error))
            del values[key]
    try:
        found = CompanionsConfig.from_dict(values, table.name)
    except ConfigError as error:
        table.fault("", str(error))
        return CompanionsConfig()
    flat = {
        key: table.existing_file("flat", path) if isinstance(path, Path) else path
        for key, path in found.flat.items()
    }
    arm = found.goniometer
    if arm is not None:
        arm = replace(arm, file=table.existing_file("goniometer", arm.file))
    return replace(found, flat=flat, goniometer=arm)


def _overlap(one: Path, other: Path) -> bool:
    return one.is_relative_to(other) or other.is_relative_to(one)
