"""A Tiled server within this process, for one machine that has none: tests, demonstrations, labs."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from bluesky_tiled_plugins.clients.catalog_of_bluesky_runs import CatalogOfBlueskyRuns
    from tiled.client.container import Container
    from tiled.server import SimpleTiledServer

    from bluesky_azint.store import TiledStore

RUNS_SPEC = "CatalogOfBlueskyRuns"


@dataclass(frozen=True, kw_only=True, eq=False)
class EmbeddedTiled:
    """A Tiled server in this process.

    Parameters
    ----------
    server
        The server.
    client
        A client of it, at the root.
    """

    server: SimpleTiledServer
    client: Container

    @property
    def uri(self) -> str:
        """Where other programs reach it, with the key: ``tiled.client.from_uri(uri)``."""
        return str(self.server.uri)

    @property
    def raw(self) -> CatalogOfBlueskyRuns:
        """The container for raw runs."""
        return self.client["raw"]

    @property
    def reduced(self) -> CatalogOfBlueskyRuns:
        """The container for reduced runs."""
        return self.client["reduced"]

    @property
    def calibrations(self) -> TiledStore:
        """The calibration store."""
        from bluesky_azint.store import TiledStore

        return TiledStore.open(self.client)


@contextmanager
def embedded_tiled(
    directory: str | os.PathLike[str] | None = None,
    *,
    readable_storage: Iterable[str | os.PathLike[str]] = (),
    port: int = 0,
) -> Iterator[EmbeddedTiled]:
    """Run a Tiled server in this process; it ends with the context, with all its threads.

    Parameters
    ----------
    directory
        What it keeps, to be found again by the next one; None is a temporary one.
    readable_storage
        Further folders with files that runs may refer to; `directory` is one.
    port
        Where it listens, on this machine only; 0 is any port that is free.
    """
    import dask
    from tiled.client import from_uri
    from tiled.server import SimpleTiledServer

    with ExitStack() as stack:
        if directory is None:
            directory = stack.enter_context(tempfile.TemporaryDirectory(prefix="tiled-"))
        folder = Path(directory).resolve()
        folder.mkdir(parents=True, exist_ok=True)
        # Dask would make a pool for each thread of the server, which stay until the interpreter
        # ends.
        pool = stack.enter_context(ThreadPoolExecutor(os.cpu_count(), "azint-tiled"))
        stack.enter_context(dask.config.set(pool=pool))
        _register_exporter()
        readable = [folder, *(Path(path).resolve() for path in readable_storage)]
        server = stack.enter_context(
            SimpleTiledServer(folder / "tiled", port=port, readable_storage=readable)
        )
        client = from_uri(server.uri)
        stack.callback(client.context.close)
        for key in ("raw", "reduced"):
            if key not in client:
                client.create_container(key, specs=[RUNS_SPEC])
        yield EmbeddedTiled(server=server, client=client)


def _register_exporter() -> None:
    """Have the server give runs as documents, for ``run.documents()``."""
    from bluesky_tiled_plugins.exporters import json_seq_exporter
    from tiled.media_type_registration import default_serialization_registry

    default_serialization_registry.register("BlueskyRun", "application/json-seq", json_seq_exporter)
