"""How much longer a scan of 500 events takes when its frames are reduced.

::

    python -m tests.measures.scan_time [REPETITIONS]

A RunEngine counts with a detector of 15 ms exposure, whose frames of 512 x 512 pixels are in an HDF5
file: with nobody listening; with `LiveReduction` in its own process; and with the documents on a 0MQ
bus to the service in another process. They take turns, and a turn is compared to the one without
reduction beside it.

What a subscriber itself takes from the RunEngine is measured as well: that does not depend on how
busy the machine is otherwise.
"""

from __future__ import annotations

import os
import statistics
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import h5py
import hdf5plugin
import numpy as np
from bluesky import RunEngine
from bluesky.plans import count
from event_model import ComposeStreamResource
from ophyd.status import Status

from bluesky_azint import Detector, Geometry, Recipe
from bluesky_azint.callbacks import LiveReduction
from bluesky_azint.callbacks.transports import zmq_publisher
from tests.measures.beamline import (
    DATASET,
    ServiceProcess,
    TiledServer,
    service_process,
    tiled_client,
    tiled_server,
)
from tests.servers import wait_until, zmq_proxy

EVENTS, EXPOSURE_SECONDS, REPETITIONS = 500, 0.015, 5
SHAPE = (512, 512)
PROMISED = 0.02
DRAIN_SECONDS = 120.0

GEOMETRY = Geometry(
    detector=Detector(1e-4, 1e-4, shape=SHAPE), dist=0.1, poni1=0.025, poni2=0.025,
    wavelength=0.5e-10,
)  # fmt: skip
WAYS = ("nobody listens", "in-process", "service")

Subscriber = Callable[[str, Any], object]


class Camera:
    """A detector that takes nothing from its process but time, as one behind an IOC.

    Parameters
    ----------
    path
        The file with its frames.
    """

    name = "det"
    parent = None

    def __init__(self, path: Path) -> None:
        self._path = path
        frames = np.random.default_rng(1).poisson(3, (EVENTS, *SHAPE)).astype(np.uint16)
        with h5py.File(path, "w") as file:
            file.create_dataset(
                DATASET, data=frames, chunks=(1, *SHAPE), **hdf5plugin.Bitshuffle(cname="lz4")
            )

    def stage(self) -> list[Any]:
        """Begin a scan."""
        self._taken = self._told = 0
        self._resource: Any = None
        return [self]

    def unstage(self) -> list[Any]:
        """End a scan."""
        return [self]

    def trigger(self) -> Status:
        """Take a frame."""
        status = Status()
        self._taken += 1
        threading.Timer(EXPOSURE_SECONDS, status.set_finished).start()
        return status

    def read(self) -> dict[str, Any]:
        """Nothing: frames are streamed."""
        return {}

    def describe(self) -> dict[str, Any]:
        """The frames."""
        key = {"dtype": "array", "dtype_numpy": "<u2", "shape": [1, *SHAPE]}
        return {"det": {**key, "source": "file", "external": "STREAM:"}}

    def read_configuration(self) -> dict[str, Any]:
        """Nothing."""
        return {}

    describe_configuration = read_configuration

    def collect_asset_docs(self, index: int | None = None) -> Iterator[tuple[str, Any]]:
        """Announce what was taken."""
        if self._resource is None:
            self._resource = ComposeStreamResource()(
                mimetype="application/x-hdf5",
                uri=f"file://localhost{self._path}",
                data_key="det",
                parameters={"dataset": DATASET, "chunk_shape": [1, *SHAPE]},
            )
            yield "stream_resource", self._resource.stream_resource_doc
        yield (
            "stream_datum",
            self._resource.compose_stream_datum(indices={"start": self._told, "stop": self._taken}),
        )
        self._told = self._taken


@dataclass(eq=False)
class Timed:
    """Hands documents on, and adds up what that takes.

    Parameters
    ----------
    subscriber
        Takes them; None for nobody.
    """

    subscriber: Subscriber | None
    wall: float = 0.0
    cpu: float = 0.0
    longest: float = 0.0

    def __call__(self, name: str, doc: Any) -> None:
        """Take a document."""
        if self.subscriber is None:
            return
        begin, cpu = time.perf_counter(), time.thread_time()
        self.subscriber(name, doc)
        seconds = time.perf_counter() - begin
        self.wall += seconds
        self.cpu += time.thread_time() - cpu
        self.longest = max(self.longest, seconds)


@dataclass
class Figures:
    """Of the turns of one way: seconds of a scan, and milliseconds of an event."""

    seconds: list[float] = field(default_factory=list)
    wall: list[float] = field(default_factory=list)
    cpu: list[float] = field(default_factory=list)
    longest: list[float] = field(default_factory=list)


def measure(folder: Path, repetitions: int) -> dict[str, Figures]:
    """The figures of each way."""
    figures = {way: Figures() for way in WAYS}
    with (
        run_engine() as engine,
        tiled_server(folder / "tiled", folder) as tiled,
        tiled_client(tiled) as client,
        zmq_proxy() as proxy,
        zmq_publisher(proxy.inside) as publish,
        LiveReduction(
            client["reduced"],
            recipe=Recipe(npt=1000, error_model="poisson"),
            directory=folder / "live",
            default=GEOMETRY,
        ) as live,
        service_process(
            folder, {"kind": "zmq", "address": proxy.outside}, tiled=tiled, raw=False, engine="auto"
        ) as service,
    ):
        GEOMETRY.to_poni(folder / "default.poni")
        service.start()
        service.wait()
        for server in (service, tiled):
            step_back(server)
        detector = Camera(folder / "raw.h5")
        subscribers: dict[str, Subscriber | None] = dict(
            zip(WAYS, (None, live, publish), strict=True)
        )
        for turn in range(-1, repetitions):  # the first compiles and imports, and does not count
            for way in rotated(WAYS, turn):
                timed = Timed(subscribers[way])
                seconds = scan(engine, detector, timed, EVENTS if turn >= 0 else 20)
                drain(live, service)
                if turn >= 0:
                    note(figures[way], seconds, timed)
        frames = (service.health() or {})["frames_out"]
        assert frames == repetitions * EVENTS + 20, f"The service has reduced {frames} frames."
    return figures


@contextmanager
def run_engine() -> Iterator[RunEngine]:
    """A RunEngine that ends."""
    engine = RunEngine()
    try:
        yield engine
    finally:
        engine.loop.call_soon_threadsafe(engine.loop.stop)


def step_back(server: ServiceProcess | TiledServer) -> None:
    """Let others go first, as `Nice` in a systemd unit does: here all share a few cores."""
    if server.process is not None:
        for thread in Path(f"/proc/{server.process.pid}/task").iterdir():
            os.setpriority(os.PRIO_PROCESS, int(thread.name), 10)


def rotated(ways: tuple[str, ...], turn: int) -> list[str]:
    """Each begins as often as the others."""
    first = turn % len(ways)
    return [*ways[first:], *ways[:first]]


def scan(engine: RunEngine, detector: Any, subscriber: Subscriber, events: int) -> float:
    """The seconds that a scan takes."""
    token = engine.subscribe(subscriber)  # type: ignore[no-untyped-call]
    begin = time.perf_counter()
    engine(count([detector], num=events))
    seconds = time.perf_counter() - begin
    engine.unsubscribe(token)  # type: ignore[no-untyped-call]
    return seconds


def drain(live: LiveReduction, service: ServiceProcess) -> None:
    """Wait until nothing of a scan is left to be done, which would slow down the next one."""
    assert live.flush(DRAIN_SECONDS)

    def done() -> bool:
        health = service.health() or {"runs_open": 1}
        return not health["runs_open"] and not health["documents_pending"]

    wait_until(done, DRAIN_SECONDS)
    time.sleep(1.0)


def note(figures: Figures, seconds: float, timed: Timed) -> None:
    """Keep what a turn gave."""
    figures.seconds.append(seconds)
    figures.wall.append(1e3 * timed.wall / EVENTS)
    figures.cpu.append(1e3 * timed.cpu / EVENTS)
    figures.longest.append(1e3 * timed.longest)


def main() -> int:
    """Print the figures; 1 if a scan takes longer than promised."""
    repetitions = int(sys.argv[1]) if len(sys.argv) > 1 else REPETITIONS
    with tempfile.TemporaryDirectory() as directory:
        figures = measure(Path(directory), repetitions)
    off = figures[WAYS[0]].seconds
    print(f"{EVENTS} events, {repetitions} times; of an event, what the subscriber takes")
    print(f"{'':15s} {'median':>8s} {'from':>7s} {'to':>7s} {'longer by':>10s}", end=" ")
    print(f"{'ms of an event':>15s} {'ms of CPU':>10s} {'longest ms':>11s}")
    slower = []
    for way in WAYS:
        it = figures[way]
        ratios = [mine / other - 1 for mine, other in zip(it.seconds, off, strict=True)]
        slower.append(statistics.median(ratios))
        print(
            f"{way:15s} {statistics.median(it.seconds):6.2f} s {min(it.seconds):5.2f} s "
            f"{max(it.seconds):5.2f} s {slower[-1]:+10.1%} {statistics.median(it.wall):15.3f} "
            f"{statistics.median(it.cpu):10.3f} {max(it.longest):11.1f}"
        )
    return 1 if max(slower) > PROMISED else 0


if __name__ == "__main__":
    sys.exit(main())
