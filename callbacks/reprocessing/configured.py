"""What a command that reduces runs out of Tiled works with, as the configuration of the service says."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from bluesky_azint.callbacks.companions.config import CompanionsConfig
from bluesky_azint.callbacks.service.catalogues import connect, container_at
from bluesky_azint.callbacks.service.config import ServiceConfig
from bluesky_azint.callbacks.service.sections import Catalogue
from bluesky_azint.errors import ConfigError, StoreError
from bluesky_azint.geometry import Geometry
from bluesky_azint.reduction.recipe import Recipe
from bluesky_azint.store import CalibrationStore, open_store

if TYPE_CHECKING:
    from tiled.client.container import Container


@dataclass(frozen=True, kw_only=True, eq=False)
class Beamline:
    """Where runs are, where patterns go, and how frames are reduced.

    Parameters
    ----------
    raw, reduced
        The Tiled containers.
    directory
        Where the files with patterns are written.
    recipes, chosen, engine, data_keys, root_map, roots, store, default
        See `Reducer`.
    companions
        What belongs to a frame, by data key.
    darks
        Where darks are kept for later runs.
    """

    raw: Container
    reduced: Container
    directory: Path
    recipes: Mapping[str, Recipe] = field(default_factory=dict)
    chosen: Mapping[str, Collection[str]] = field(default_factory=dict)
    engine: str = "auto"
    data_keys: Collection[str] | None = None
    root_map: Mapping[str, str] = field(default_factory=dict)
    roots: Collection[Path] | None = None
    store: CalibrationStore | None = None
    default: Geometry | None = None
    companions: Mapping[str, CompanionsConfig] = field(default_factory=dict)
    darks: Path | None = None

    def close(self) -> None:
        """Close the connection to the server with the runs."""
        self.raw.context.close()


def configured(config: ServiceConfig) -> Beamline:
    """What the configuration of a service names.

    Raises
    ------
    ConfigError
        If it names no Tiled containers.
    AzintError
        If something it names cannot be had.
    """
    if config.tiled is None or not config.tiled.raw:
        raise ConfigError(
            f"{config.path} does not say where raw runs are. Write the address of the Tiled server "
            "into the section [tiled], and the paths of its containers as `raw` and `reduced`."
        )
    root = reached(config.tiled)
    detectors = config.detectors
    return Beamline(
        raw=container_at(root, config.tiled.raw),
        reduced=container_at(root, config.tiled.reduced),
        directory=config.files.patterns,
        recipes=config.recipes,
        chosen={key: detector.recipes for key, detector in detectors.items()},
        engine=config.engine.name,
        root_map=config.files.map,
        roots=config.files.roots,
        store=open_store(config.calibrations.store) if config.calibrations.store else None,
        default=(
            Geometry.from_poni(config.calibrations.default) if config.calibrations.default else None
        ),
        companions={key: detector.companions for key, detector in detectors.items()},
        darks=config.service.directory / "darks",
    )


def reached(catalogue: Catalogue) -> Container:
    """The Tiled server.

    Raises
    ------
    StoreError
        If nothing answers there.
    """
    where = catalogue.uri.partition("?")[0] or f"of the profile {catalogue.profile!r}"
    with tiled_errors(where):
        return connect(catalogue)


@contextmanager
def tiled_errors(where: str) -> Iterator[None]:
    """Say that it was the Tiled server that failed.

    Raises
    ------
    StoreError
        If a request fails inside.
    """
    import httpx

    try:
        yield
    except httpx.HTTPStatusError as error:
        raise StoreError(f"The Tiled server {where} refuses: {error}") from error
    except (httpx.HTTPError, ConnectionError) as error:
        raise StoreError(
            f"The Tiled server {where} does not answer: {error}. See whether it runs, and whether "
            "its address is right."
        ) from error
