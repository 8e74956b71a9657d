"""Whether the memory of the service stays the same over 50 000 frames, of ten detectors at once.

::

    python -m tests.measures.memory [FRAMES]

Ten runs at a time, of 500 frames each, from ten RunEngines; and in turn one run with ten detectors.
"""

from __future__ import annotations

import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from itertools import zip_longest
from pathlib import Path
from typing import Any

import h5py
import numpy as np
from event_model import ComposeStreamResource, compose_run

from bluesky_azint.callbacks.transports import zmq_publisher
from tests.measures.beamline import (
    DATASET,
    SHAPE,
    ServiceProcess,
    images,
    service_process,
    tiled_server,
)
from tests.servers import wait_until, zmq_proxy

FRAMES, DETECTORS, EVENTS, STEP = 50_000, 10, 500, 10
WARM = 0.2  # of the frames: caches fill, and the allocator learns what is needed
PROMISED = 0.05
ROUND_SECONDS = 120.0

Document = tuple[str, dict[str, Any]]


def write_files(folder: Path) -> list[Path]:
    """A file of frames for each detector, which all its runs refer to."""
    paths = [folder / f"det{number}.h5" for number in range(DETECTORS)]
    for seed, path in enumerate(paths):
        with h5py.File(path, "w") as file:
            file.create_dataset(DATASET, data=images(0, EVENTS, seed), chunks=(1, *SHAPE))
    return paths


def documents(paths: list[Path], number: int) -> Iterator[Document]:
    """A run of the detectors with these files."""
    run = compose_run(metadata={"scan_id": number, "plan_name": "fly"})
    yield "start", dict(run.start_doc)
    image = {"source": "sim", "dtype": "array", "dtype_numpy": "<u2", "external": "STREAM:"}
    keys: dict[str, Any] = {path.stem: {**image, "shape": [1, *SHAPE]} for path in paths}
    descriptor: Any = run.compose_descriptor(
        "primary", keys, object_keys={key: [key] for key in keys}
    )
    yield "descriptor", dict(descriptor.descriptor_doc)
    composers = []
    for path in paths:
        resource, compose_datum = ComposeStreamResource(run.start_doc)(
            mimetype="application/x-hdf5",
            uri=f"file://localhost{path}",
            data_key=path.stem,
            parameters={"dataset": DATASET, "chunk_shape": [1, *SHAPE]},
        )
        composers.append(compose_datum)
        yield "stream_resource", dict(resource)
    for start in range(0, EVENTS, STEP):
        for compose_datum in composers:
            datum = compose_datum(
                indices={"start": start, "stop": start + STEP},
                seq_nums={"start": start + 1, "stop": start + STEP + 1},
                descriptor=descriptor.descriptor_doc,
                validate=False,
            )
            yield "stream_datum", dict(datum)
    run.compose_stop.event_counters["primary"] = EVENTS + 1
    yield "stop", dict(run.compose_stop())


def interleaved(runs: list[Iterator[Document]]) -> Iterator[Document]:
    """The documents of several runs that are measured at once."""
    for together in zip_longest(*runs):
        yield from (document for document in together if document is not None)


def measure(folder: Path, frames: int) -> list[dict[str, float]]:
    """What the service tells of itself after each round of 5000 frames."""
    paths = write_files(folder)
    figures = []
    with (
        zmq_proxy() as proxy,
        tiled_server(folder / "tiled", folder) as tiled,
        zmq_publisher(proxy.inside) as publish,
        service_process(
            folder, {"kind": "zmq", "address": proxy.outside}, tiled=tiled, raw=False
        ) as service,
    ):
        service.start()
        service.wait()
        begin = time.monotonic()
        for number in range(frames // (DETECTORS * EVENTS)):
            if number % 2:
                stream = documents(paths, number)
            else:
                stream = interleaved([documents([path], number) for path in paths])
            play(stream, publish, service)
            health = settled(service, (number + 1) * DETECTORS * EVENTS)
            figures.append(
                {
                    "seconds": time.monotonic() - begin,
                    "frames": health["frames_out"],
                    "memory": health["memory_bytes"] / 1e6,
                    "journal": _size(folder, "state/journal*") / 1e6,
                    "log": _size(folder, "service.log") / 1e6,
                    "files": len(list(Path(f"/proc/{_pid(service)}/fd").iterdir())),
                }
            )
            print_row(figures[-1])
    return figures


def play(
    stream: Iterator[Document], publish: Callable[[str, Any], object], service: ServiceProcess
) -> None:
    """Publish documents as fast as the service takes them, as detectors might."""
    for count, (name, doc) in enumerate(stream):
        publish(name, doc)
        if count % 50 == 49:
            wait_until(lambda: _pending(service) < 100, ROUND_SECONDS)


def settled(service: ServiceProcess, frames: int) -> dict[str, Any]:
    """What it tells when all frames so far are reduced, and all runs are ended."""

    def done() -> bool:
        health = service.health()
        return health is not None and health["frames_out"] >= frames and not health["runs_open"]

    wait_until(done, ROUND_SECONDS)
    time.sleep(1.0)  # what waits for Tiled is written twice a second
    return service.health() or {}


def print_row(figures: dict[str, float]) -> None:
    """Print one round."""
    print(
        f"{figures['seconds']:6.0f} s {figures['frames']:7.0f} frames "
        f"{figures['memory']:7.1f} MB in memory {figures['journal']:6.1f} MB of journal "
        f"{figures['log']:5.2f} MB of log {figures['files']:4.0f} files open",
        flush=True,
    )


def growth(figures: list[dict[str, float]]) -> float:
    """By which part of it the memory grew after the first rounds: last third over first third."""
    memory = [it["memory"] for it in figures[int(len(figures) * WARM) :]]
    third = max(len(memory) // 3, 1)
    return float(np.median(memory[-third:]) / np.median(memory[:third]) - 1.0)


def main() -> int:
    """Print the figures; 1 if the memory grows more than promised."""
    frames = int(sys.argv[1]) if len(sys.argv) > 1 else FRAMES
    with tempfile.TemporaryDirectory() as directory:
        figures = measure(Path(directory), frames)
    grown = growth(figures)
    print(f"After the first {WARM:.0%} of the frames the memory grew by {grown:+.1%}.")
    return 1 if grown > PROMISED else 0


def _pid(service: ServiceProcess) -> int:
    return service.process.pid if service.process is not None else 0


def _pending(service: ServiceProcess) -> int:
    return int((service.health() or {}).get("documents_pending", 0))


def _size(folder: Path, pattern: str) -> int:
    return sum(path.stat().st_size for path in folder.glob(pattern))


if __name__ == "__main__":
    sys.exit(main())
