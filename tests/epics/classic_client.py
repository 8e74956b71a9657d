"""A session with ophyd and a RunEngine, at the IOC of `detector_ioc`: reduces, and shows as PVs.

    python -m tests.epics.classic_client PREFIX PORT RESULTS

The results are a file of arrays, for a test: what came out of the reducer, and what clients of the
PVs see, which are served at that port. In a process of its own, as a client of Channel Access has
threads that do not end.
"""

from __future__ import annotations

import json
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import bluesky.plan_stubs as bps
import bluesky.plans as bp
import numpy as np
import ophyd
from bluesky import RunEngine
from caproto.sync.client import read

ophyd.set_cl("caproto")

from ophyd import Component, Device, EpicsSignal, EpicsSignalRO
from ophyd.areadetector.base import NDDerivedSignal

from bluesky_azint.callbacks import Reducer
from bluesky_azint.callbacks.pattern_pvs import PatternPVs
from bluesky_azint.devices import ClassicGeometryDevice
from bluesky_azint.reduction.recipe import Recipe
from tests.epics.frames import GEOMETRY, SHAPE


class Camera(Device):  # type: ignore[misc]
    """The detector of the IOC, as a beamline would write it down."""

    acquire = Component(EpicsSignal, "Acquire", trigger_value=1, kind="omitted")
    flat = Component(EpicsSignalRO, "Image", kind="omitted")
    image = Component(NDDerivedSignal, derived_from="flat", shape=SHAPE)
    number = Component(EpicsSignalRO, "Number")
    energy = Component(EpicsSignalRO, "Energy", kind="config")
    geometry = Component(ClassicGeometryDevice, "Geometry:", kind="config")


class Collected:
    """Documents."""

    def __init__(self) -> None:
        self.all: list[tuple[str, dict[str, Any]]] = []

    def __call__(self, name: str, doc: dict[str, Any]) -> None:
        self.all.append((name, doc))

    def of(self, name: str) -> list[dict[str, Any]]:
        return [doc for kind, doc in self.all if kind == name]


def main(prefix: str, port: int, results: Path) -> None:
    """Scan, and write down what came of it."""
    camera = Camera(prefix, name="camera")
    motor = EpicsSignal(f"{prefix}Motor", name="motor", put_complete=True)
    for device in (camera, motor):
        device.wait_for_connection(timeout=60)
    raw, reduced = Collected(), Collected()
    with PatternPVs("PAT:", npt=300, port=port) as pvs:

        def emit(name: str, doc: dict[str, Any]) -> None:
            reduced(name, doc)
            pvs(name, doc)

        recipe = Recipe(npt=200, unit="q_A^-1", error_model="poisson")
        reducer = Reducer(emit, recipe=recipe, flavour="inline", engine="scipy")
        engine = RunEngine({})
        engine.subscribe(raw)  # type: ignore[no-untyped-call]
        engine.subscribe(reducer)  # type: ignore[no-untyped-call]
        engine(bps.mv(camera.geometry, GEOMETRY))
        engine(bp.list_scan([camera], motor, [0.0, 0.5, 2.0]))  # type: ignore[arg-type]
        engine(bps.mv(camera.geometry, replace(GEOMETRY, dist=0.08)))
        engine(bp.list_scan([camera], motor, [1.0]))  # type: ignore[arg-type]
        if not pvs.flush(60):
            raise RuntimeError("The PVs do not show the patterns.")
        by_caproto = {
            name: read(f"PAT:camera_image:{name}", repeater=False, timeout=30).data
            for name in ("Intensity", "Sigma", "Radial")
        }
        seen = EpicsSignalRO("PAT:camera_image:Intensity", name="seen")
        seen.wait_for_connection(timeout=60)
        by_ophyd = np.asarray(seen.get(timeout=60))
    events = reduced.of("event")
    np.savez(
        results,
        intensity=[event["data"]["intensity"] for event in events],
        motor=[event["data"]["motor"] for event in raw.of("event")],
        by_ophyd=by_ophyd,
        **{f"by_caproto_{name}": values for name, values in by_caproto.items()},
    )
    results.with_suffix(".json").write_text(
        json.dumps(
            {
                "configurations": [
                    d["configuration"]["camera"]["data"] for d in raw.of("descriptor")
                ],
                "stops": [doc["exit_status"] for doc in reduced.of("stop")],
                "raw_uids": [doc["uid"] for doc in raw.of("start")],
            }
        )
    )


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]), Path(sys.argv[3]))
