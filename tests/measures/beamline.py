"""A beamline on loopback, to be killed: a Tiled server, the service, and frames of a detector."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.error import URLError
from urllib.request import urlopen

import numpy as np
from numpy.typing import NDArray

from bluesky_azint import Detector, Geometry, Recipe
from tests.servers import Server, free_ports, wait_until

Document = Mapping[str, Any]
Publish = Callable[[str, Any], object]

SHAPE = (100, 120)
DATASET = "/entry/data/data"
GEOMETRY = Geometry(
    detector=Detector(1e-4, 1e-4, shape=SHAPE), dist=0.1, poni1=0.005, poni2=0.006,
    wavelength=1e-10,
)  # fmt: skip
RECIPE = Recipe(npt=100, unit="q_nm^-1", error_model="poisson")
KEY = "secret"
STARTING_SECONDS = 120.0

_TILED = """
import sys
from tiled.server import SimpleTiledServer

folder, port, key, *readable = sys.argv[1:]
with SimpleTiledServer(folder, port=int(port), api_key=key, readable_storage=readable):
    sys.stdin.read()
"""


class TiledServer(Server):
    """A Tiled server that keeps its key and its port.

    Parameters
    ----------
    folder
        What it keeps.
    readable
        A folder with files that runs refer to.
    """

    def __init__(self, folder: Path, readable: Path) -> None:
        (port,) = free_ports(1)
        self.uri = f"http://127.0.0.1:{port}"
        self.log = folder.with_suffix(".log")
        super().__init__(
            [sys.executable, "-c", _TILED, str(folder), str(port), KEY, str(readable)], port
        )

    def start(self) -> None:
        """Start it, and wait until it answers."""
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                self.command, stdin=subprocess.PIPE, stdout=log, stderr=log
            )
        wait_until(self._answers, STARTING_SECONDS)

    def kill(self) -> None:
        """Kill it, as with ``kill -9``."""
        super().kill()
        if self.process is not None and self.process.stdin is not None:
            self.process.stdin.close()

    def _answers(self) -> bool:
        if not self.listens():
            return False
        try:
            with urlopen(f"{self.uri}/healthz", timeout=1.0):
                return True
        except (OSError, URLError):
            return False


@contextmanager
def tiled_server(folder: Path, readable: Path) -> Iterator[TiledServer]:
    """A Tiled server that has the containers ``raw`` and ``reduced``."""
    server = TiledServer(folder, readable)
    try:
        server.start()
        with tiled_client(server) as client:
            for name in ("raw", "reduced"):
                client.create_container(name, specs=["CatalogOfBlueskyRuns"])
        yield server
    finally:
        server.kill()


@contextmanager
def tiled_client(server: TiledServer) -> Iterator[Any]:
    """A client of its root."""
    from tiled.client import from_uri

    client = from_uri(server.uri, api_key=KEY)
    try:
        yield client
    finally:
        client.context.close()


class ServiceProcess:
    """``bluesky-azint serve`` in a process of its own.

    Parameters
    ----------
    folder
        Where its configuration and its state are.
    source
        Its section ``[source]``, as lines of TOML.
    tiled
        Its Tiled server, if it has one.
    raw
        Whether raw runs are looked up there.
    engine
        What integrates.
    """

    def __init__(
        self,
        folder: Path,
        source: Mapping[str, str],
        *,
        tiled: TiledServer | None = None,
        raw: bool = True,
        engine: str = "scipy",
        patience: float = 120.0,
    ) -> None:
        (port,) = free_ports(1)
        self.url = f"http://127.0.0.1:{port}/health"
        self.folder = folder
        self.patterns = folder / "state" / "patterns"
        self.log = folder / "service.log"
        self.process: subprocess.Popen[bytes] | None = None
        self.prefix: list[str] = []  # such as "prlimit" and its options
        GEOMETRY.to_poni(folder / "default.poni")
        sections: dict[str, Mapping[str, Any]] = {
            "service": {
                "directory": "state",
                "http": f"127.0.0.1:{port}",
                "quiet_seconds": 2,
                "patience_seconds": patience,
            },
            "source": source,
            "files": {"roots": [str(folder)]},
            "calibrations": {"default": "default.poni"},
            "engine": {"name": engine},
            "recipes.pattern": {"npt": 100, "unit": "q_nm^-1", "error_model": "poisson"},
        }
        if tiled is not None:
            sections["tiled"] = {
                "uri": tiled.uri,
                "api_key_env": "AZINT_TILED_KEY",
                "raw": "raw" if raw else "",
            }
        lines = [
            line
            for name, entries in sections.items()
            for line in (f"[{name}]", *(f"{key} = {json.dumps(it)}" for key, it in entries.items()))
        ]
        self.config = folder / "azint.toml"
        self.config.write_text("\n".join(lines))

    def start(self) -> None:
        """Start it, and do not wait."""
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                [*self.prefix, sys.executable, "-m", "bluesky_azint", "serve", "-c", self.config],
                stdout=log,
                stderr=log,
                env={**os.environ, "AZINT_TILED_KEY": KEY},
            )

    def wait(self) -> None:
        """Wait until documents come to it."""
        wait_until(lambda: (self.health() or {}).get("state") == "running", STARTING_SECONDS)

    def end(self, number: int = signal.SIGKILL) -> int:
        """End it, and give its exit code."""
        if self.process is None:
            return 0
        self.process.send_signal(number)
        return self.process.wait(STARTING_SECONDS)

    def health(self) -> dict[str, Any] | None:
        """What it tells of itself; None while it does not."""
        assert self.process is not None
        assert self.process.poll() is None, f"The service has ended, see {self.log}."
        try:
            with urlopen(self.url, timeout=5.0) as answer:
                health: dict[str, Any] = json.load(answer)
        except URLError as error:
            if not hasattr(error, "read"):
                return None
            health = json.loads(error.read())
        except OSError:
            return None
        return health


@contextmanager
def service_process(*args: Any, **options: Any) -> Iterator[ServiceProcess]:
    """A service that is not started yet, and is killed in the end."""
    service = ServiceProcess(*args, **options)
    try:
        yield service
    finally:
        service.end()


def images(start: int, stop: int, seed: int) -> NDArray[np.uint16]:
    """Some frames of a scan, no two of which are the same."""
    frames = np.random.default_rng([seed, start]).poisson(5, (stop - start, *SHAPE))
    frames[:, 50, 60] += np.arange(start, stop)
    return frames.astype(np.uint16)
