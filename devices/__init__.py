"""Devices: simulated and replaying detectors, and the geometry as a device.

Names are loaded when they are first used: ophyd and ophyd-async each take a second.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from bluesky_azint.devices.classic import ClassicSimulatedDetector
    from bluesky_azint.devices.epics import EpicsGeometryDevice
    from bluesky_azint.devices.epics_classic import ClassicGeometryDevice
    from bluesky_azint.devices.geometry import GeometryDevice
    from bluesky_azint.devices.replay import FrameReplayDetector
    from bluesky_azint.devices.simulated import SimulatedDiffractionDetector

__all__ = [
    "ClassicGeometryDevice",
    "ClassicSimulatedDetector",
    "EpicsGeometryDevice",
    "FrameReplayDetector",
    "GeometryDevice",
    "SimulatedDiffractionDetector",
]

_HOMES = {
    "ClassicGeometryDevice": "bluesky_azint.devices.epics_classic",
    "ClassicSimulatedDetector": "bluesky_azint.devices.classic",
    "EpicsGeometryDevice": "bluesky_azint.devices.epics",
    "FrameReplayDetector": "bluesky_azint.devices.replay",
    "GeometryDevice": "bluesky_azint.devices.geometry",
    "SimulatedDiffractionDetector": "bluesky_azint.devices.simulated",
}


def __getattr__(name: str) -> object:
    if name in _HOMES:
        return getattr(import_module(_HOMES[name]), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted([*globals(), *__all__])
