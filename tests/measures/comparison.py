"""What came of a scan, beside what comes of it when nothing happens."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import h5py
import numpy as np
from numpy.typing import NDArray

from bluesky_azint.callbacks import Reducer
from tests.measures.beamline import GEOMETRY, RECIPE, ServiceProcess, TiledServer, tiled_client
from tests.measures.fly_scan import FlyScan


def undisturbed(scan: FlyScan, folder: Path, engine: str = "scipy") -> dict[str, NDArray[Any]]:
    """The columns that a Reducer makes of a scan when nothing happens."""
    with Reducer(
        lambda name, doc: None, recipe=RECIPE, default=GEOMETRY, engine=engine, directory=folder
    ) as reducer:
        for name, doc in scan.documents:
            reducer(name, doc)
    (path,) = folder.glob(f"*{scan.seed:05d}_*.nxs")
    return columns(path)


def columns(path: Path) -> dict[str, NDArray[Any]]:
    """All columns of a file of patterns, but for the times: in a fly scan, those of arrival."""
    with h5py.File(path, "r", swmr=True) as file:
        return {
            f"{group}/{name}": values[()]
            for group in ("data", "sums", "frames")
            for name, values in file[f"entry/{group}"].items()
            if name != "timestamp"
        }


def rows_in(service: ServiceProcess, scan: FlyScan) -> int:
    """How many frames of a scan have a row by now."""
    paths = list(service.patterns.glob(f"{scan.seed:05d}_*.nxs"))
    if len(paths) != 1:
        return 0
    try:
        with h5py.File(paths[0], "r", swmr=True) as file:
            return int(np.count_nonzero(file["entry/frames/place"][()]))
    except (OSError, KeyError, RuntimeError):
        return 0


def differences(
    service: ServiceProcess, scan: FlyScan, tiled: TiledServer | None, expected: dict[str, Any]
) -> list[str]:
    """What is not as it is in the undisturbed run, in words; nothing if all is well."""
    events = len(expected["frames/seq_num"])
    wrong = []
    paths = sorted(path.name for path in service.patterns.glob(f"{scan.seed:05d}_*"))
    if len(paths) != 1 or not paths[0].endswith(".nxs"):
        return [f"files {paths}"]
    found = columns(service.patterns / paths[0])
    numbers = found["frames/seq_num"]
    if not np.array_equal(numbers, np.arange(1, events + 1)):
        wrong.append(f"{len(numbers)} rows, {len(set(numbers) - {0})} seq_nums, not {events}")
    for name, values in expected.items():
        if name not in found or not np.array_equal(
            found[name], values, equal_nan=values.dtype.kind == "f"
        ):
            wrong.append(f"{name} differs")
    if tiled is not None:
        wrong += differences_in_tiled(scan, tiled, expected)
    left = [
        str(path.relative_to(service.folder))
        for pattern in ("state/backup/*", "state/waiting/*", "state/patterns/*.new")
        for path in service.folder.glob(pattern)
    ]
    return wrong + ([f"left over: {left}"] if left else [])


def differences_in_tiled(scan: FlyScan, tiled: TiledServer, expected: dict[str, Any]) -> list[str]:
    """The same for the run that Tiled has."""
    from bluesky_azint.callbacks import reduced_runs

    with tiled_client(tiled) as client:
        runs = reduced_runs(client["reduced"], scan.uid)
        if len(runs) != 1:
            return [f"{len(runs)} reduced runs in Tiled"]
        stop = runs[0].metadata.get("stop") or {}
        wrong = []
        if stop.get("exit_status") != scan.exit_status:
            wrong.append(f"in Tiled the run ends with {stop}")
        stream = runs[0]["primary"]
        for key, name in (
            ("intensity", "data/I"), ("sigma", "data/I_errors"),
            ("raw_seq_num", "frames/seq_num"),
        ):  # fmt: skip
            if key not in stream:
                wrong.append(f"Tiled has no {key}")
            elif not np.array_equal(stream[key].read(), expected[name], equal_nan=True):
                wrong.append(f"{key} differs in Tiled, shape {stream[key].shape}")
        return wrong


def ended(service: ServiceProcess, scan: FlyScan, tiled: TiledServer | None) -> bool:
    """Whether the service is done with a scan."""
    health = service.health()
    if health is None or health["runs_open"] or health["documents_pending"]:
        return False
    if tiled is None:
        announced = [doc["indices"] for name, doc in scan.documents if name == "stream_datum"]
        frames: int = sum(indices["stop"] - indices["start"] for indices in announced)
        return rows_in(service, scan) == frames
    from bluesky_azint.callbacks import reduced_runs

    with tiled_client(tiled) as client:
        runs = reduced_runs(client["reduced"], scan.uid)
        return any(bool(run.metadata.get("stop")) for run in runs)
