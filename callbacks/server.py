"""A Tiled server of one's own, for a machine that has none: demonstrations, labs, tests.

It runs in a process beside this one, so that its work takes nothing from a scan. It does not hear
Ctrl-C, with which a scan is paused, and ends when this process does, however that comes about.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING

from bluesky_azint.errors import StoreError

if TYPE_CHECKING:
    from bluesky_tiled_plugins.clients.catalog_of_bluesky_runs import CatalogOfBlueskyRuns
    from tiled.client.container import Container

    from bluesky_azint.store import TiledStore

RUNS_SPEC = "CatalogOfBlueskyRuns"
STOP_SECONDS = 30.0


@dataclass(frozen=True, kw_only=True, eq=False)
class EmbeddedTiled:
    """A Tiled server that runs beside this process.

    Parameters
    ----------
    uri
        Where programs on this machine reach it, with the key: ``tiled.client.from_uri(uri)``.
    client
        A client of it, at the root.
    process
        Its process.
    """

    uri: str
    client: Container
    process: subprocess.Popen[str]

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
    directory: str | PathLike[str] | None = None,
    *,
    readable_storage: Iterable[str | PathLike[str]] = (),
    port: int = 0,
) -> Iterator[EmbeddedTiled]:
    """Run a Tiled server; it ends with the context.

    Parameters
    ----------
    directory
        What it keeps, to be found again by the next one; None is a temporary one.
    readable_storage
        Further folders with files that runs may refer to; `directory` is one.
    port
        Where it listens, on this machine only; 0 is any port that is free.

    Raises
    ------
    StoreError
        If it does not start.
    """
    with ExitStack() as stack:
        if directory is None:
            directory = stack.enter_context(tempfile.TemporaryDirectory(prefix="tiled-"))
        folder = Path(directory).resolve()
        readable = [folder, *(Path(path).resolve() for path in readable_storage)]
        process = stack.enter_context(_process(folder / "tiled", readable, port))
        from tiled.client import from_uri  # takes a second, as the server does to start

        uri = process.stdout.readline().strip() if process.stdout else ""
        if not uri:
            log = folder / "tiled" / "server.log"
            *_, reason = ["", *log.read_text(encoding="utf-8").splitlines()]
            raise StoreError(f"The Tiled server did not start: {reason} There is more in {log}.")
        client = from_uri(uri)
        stack.callback(client.context.close)
        for key in ("raw", "reduced"):
            if key not in client:
                client.create_container(key, specs=[RUNS_SPEC])
        yield EmbeddedTiled(uri=uri, client=client, process=process)


@contextmanager
def _process(folder: Path, readable: list[Path], port: int) -> Iterator[subprocess.Popen[str]]:
    """The process of a server, which writes where it listens to its standard output."""
    folder.mkdir(parents=True, exist_ok=True)
    command = [sys.executable, "-m", __name__, *map(str, (port, folder, *readable))]
    with (
        (folder / "server.log").open("a", encoding="utf-8") as log,
        subprocess.Popen(
            command,
            stdin=subprocess.PIPE,  # it ends when this is closed, as it is when this process ends
            stdout=subprocess.PIPE,
            stderr=log,
            text=True,
            start_new_session=True,  # does not hear Ctrl-C
        ) as process,
    ):
        try:
            yield process
        finally:
            if process.stdin:
                process.stdin.close()
            try:
                process.wait(STOP_SECONDS)
            except subprocess.TimeoutExpired:
                process.kill()


def _serve() -> None:
    """Serve until standard input ends; what `_process` runs."""
    parser = argparse.ArgumentParser()
    parser.add_argument("port", type=int)
    parser.add_argument("directory", type=Path)
    parser.add_argument("readable", nargs="*")
    args = parser.parse_args()
    with _sole_use(args.directory):
        from bluesky_tiled_plugins.exporters import json_seq_exporter
        from tiled.media_type_registration import default_serialization_registry
        from tiled.server import SimpleTiledServer

        # For run.documents().
        default_serialization_registry.register(
            "BlueskyRun", "application/json-seq", json_seq_exporter
        )
        with SimpleTiledServer(
            args.directory, port=args.port, readable_storage=args.readable
        ) as server:
            sys.stdout.write(f"{server.uri}\n")
            sys.stdout.flush()
            sys.stdin.read()


@contextmanager
def _sole_use(folder: Path) -> Iterator[None]:
    """Leave if another server runs there: it would start, and then fail with every table."""
    with (folder / "lock").open("w") as lock:
        if sys.platform != "win32":
            import fcntl

            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError:
                sys.exit(f"Another server runs in {folder}; stop it, or use another folder.")
        yield


if __name__ == "__main__":
    _serve()
