"""A session with ophyd-async and a RunEngine, at the IOC of `geometry_softioc`.

    python -m tests.epics.async_client PREFIX PORT RESULTS

It sets the geometry, takes frames, and looks at a pattern through PVs that it serves at the port.
The results are a file of JSON. In a process of its own, as libca has threads that do not end.
"""

from __future__ import annotations

import json
import os
import sys
from datetime import UTC, datetime
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import bluesky.plan_stubs as bps
import bluesky.plans as bp
import numpy as np
from bluesky import RunEngine
from bluesky.utils import MsgGenerator
from ophyd_async.core import Array1D, StaticPathProvider, UUIDFilenameProvider, init_devices
from ophyd_async.epics.core import epics_signal_r
from ophyd_async.sim import SimBlobDetector

from bluesky_azint.callbacks.pattern_pvs import PatternPVs
from bluesky_azint.devices import EpicsGeometryDevice
from bluesky_azint.store import CalibrationRecord
from tests.epics.documents import reduced_run
from tests.epics.frames import GEOMETRY


def main(prefix: str, port: int, results: Path) -> None:
    """Write down what the documents and the PVs say."""
    engine = RunEngine({})
    descriptors: list[dict[str, Any]] = []
    engine.subscribe(lambda _, doc: descriptors.append(doc), "descriptor")  # type: ignore[no-untyped-call]
    record = CalibrationRecord(
        detector="blob", geometry=GEOMETRY, valid_from=datetime.now(UTC), uid="0f3a-uid"
    )
    with TemporaryDirectory() as folder, PatternPVs("PAT:", port=port) as pvs:
        for name, doc in reduced_run("blob", patterns=3, npt=50):
            pvs(name, doc)
        pvs.flush(60)
        with init_devices(timeout=60):
            geometry = EpicsGeometryDevice(f"ca://{prefix}Geometry:")
            blob = SimBlobDetector(StaticPathProvider(UUIDFilenameProvider(), Path(folder)))
            intensity = epics_signal_r(Array1D[np.float64], "ca://PAT:blob:Intensity")
            state = epics_signal_r(str, "ca://PAT:blob:State")
        blob.add_config_signals(*geometry.config_signals())
        engine(bp.count([blob]))
        engine(bps.mv(geometry, record))
        engine(bp.count([blob]))
        seen: dict[str, Any] = {}

        def look() -> MsgGenerator[None]:
            seen["intensity"] = (yield from bps.rd(intensity)).tolist()
            seen["state"] = yield from bps.rd(state)

        engine(look())
    results.write_text(
        json.dumps(
            {
                "configurations": [d["configuration"]["blob"]["data"] for d in descriptors],
                "units": {
                    key: value.get("units")
                    for key, value in descriptors[-1]["configuration"]["blob"]["data_keys"].items()
                },
                **seen,
            }
        )
    )


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]), Path(sys.argv[3]))
    sys.stdout.flush()
    os._exit(0)  # threads of libca and the RunEngine are left
