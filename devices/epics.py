"""The geometry of a detector in PVs, so that all programs of a beamline have the same."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any

from ophyd_async.core import SignalRW
from ophyd_async.epics.core import epics_signal_rw

from bluesky_azint.devices.geometry import GeometryDevice
from bluesky_azint.devices.geometry_signals import UNITS, pv_suffix, writing_order


class EpicsGeometryDevice(GeometryDevice):
    """The geometry that a detector is used with, in the PVs of an IOC.

    It is used as a `GeometryDevice`, and what others write into the PVs is in the next run. Where
    no IOC of the beamline has them, ``python -m bluesky_azint.devices.geometry_ioc`` serves them.

    Parameters
    ----------
    prefix
        What the names of the PVs begin with, see `bluesky_azint.devices.geometry_signals`;
        ``"ca://XRD:Geometry:"`` where ophyd-async is to choose Channel Access.
    name
        Name of the device.
    """

    def __init__(self, prefix: str, name: str = "") -> None:
        self._prefix = prefix
        super().__init__(name=name)

    def _signal(self, key: str) -> SignalRW[Any]:
        return epics_signal_rw(float if key in UNITS else str, self._prefix + pv_suffix(key))

    async def _write(self, values: Mapping[str, Any]) -> None:
        for step in writing_order(values, self.name):
            await asyncio.gather(*(getattr(self, key).set(value) for key, value in step.items()))
