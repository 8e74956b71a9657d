"""The geometry of a detector as a device, so that documents say what it was."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from ophyd_async.core import (
    AsyncStatus,
    SignalR,
    StandardReadable,
    StandardReadableFormat,
    soft_signal_r_and_setter,
)

from bluesky_azint.devices.geometry_signals import NAMES, UNITS, signal_values
from bluesky_azint.geometry import Geometry
from bluesky_azint.store.record import CalibrationRecord


class GeometryDevice(StandardReadable):
    """The geometry that a detector is used with.

    It is set as a whole, to a calibration or a bare geometry, so that the numbers always belong
    together and ``calibration_uid`` tells the truth about them. Before that they are NaN and "".

    A detector that has the signals among its own configuration carries them in the descriptor of
    every run: as ``geometry-dist`` ... ``geometry-calibration_uid``, if the device is called
    ``geometry``. Any ophyd-async detector can have them::

        detector.add_config_signals(*geometry.config_signals())
        RE(bps.mv(geometry, store.latest("eiger", datetime.now(UTC))))

    Parameters
    ----------
    name
        Name of the device.

    Attributes
    ----------
    dist, poni1, poni2, rot1, rot2, rot3, wavelength
        Signals, in metres and radians; see `Geometry`.
    detector
        Signal: name of the model of the detector.
    calibration_uid
        Signal: the calibration that the geometry is from, "" if from none.
    """

    dist: SignalR[float]
    poni1: SignalR[float]
    poni2: SignalR[float]
    rot1: SignalR[float]
    rot2: SignalR[float]
    rot3: SignalR[float]
    wavelength: SignalR[float]
    detector: SignalR[str]
    calibration_uid: SignalR[str]

    def __init__(self, name: str = "") -> None:
        self._setters: dict[str, Callable[[Any], None]] = {}
        with self.add_children_as_readables(StandardReadableFormat.CONFIG_SIGNAL):
            for key in (*UNITS, *NAMES):
                setattr(self, key, self._signal(key))
        super().__init__(name=name)

    def config_signals(self) -> list[SignalR[Any]]:
        """The signals, for ``add_config_signals`` of a detector."""
        return [getattr(self, key) for key in (*UNITS, *NAMES)]

    @AsyncStatus.wrap
    async def set(self, value: CalibrationRecord | Geometry) -> None:
        """Take over a calibration, or a geometry that is from none.

        Raises
        ------
        GeometryError
            If it is neither.
        """
        await self._write(signal_values(value, self.name))

    def _signal(self, key: str) -> SignalR[Any]:
        """Make a signal that is not set yet."""
        signal: SignalR[Any]
        if key in UNITS:
            signal, self._setters[key] = soft_signal_r_and_setter(float, np.nan, units=UNITS[key])
        else:
            signal, self._setters[key] = soft_signal_r_and_setter(str)
        return signal

    async def _write(self, values: Mapping[str, Any]) -> None:
        """Set all signals."""
        for key, value in values.items():
            self._setters[key](value)
