"""The geometry of a detector as a device, so that documents say what it was."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from ophyd_async.core import (
    AsyncStatus,
    SignalR,
    StandardReadable,
    StandardReadableFormat,
    soft_signal_r_and_setter,
)

from bluesky_azint.errors import GeometryError
from bluesky_azint.geometry import Geometry
from bluesky_azint.store.record import CalibrationRecord

UNITS = {
    "dist": "m",
    "poni1": "m",
    "poni2": "m",
    "rot1": "rad",
    "rot2": "rad",
    "rot3": "rad",
    "wavelength": "m",
}
NAMES = ("detector", "calibration_uid")


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
            for key, units in UNITS.items():
                number, self._setters[key] = soft_signal_r_and_setter(float, np.nan, units=units)
                setattr(self, key, number)
            for key in NAMES:
                text, self._setters[key] = soft_signal_r_and_setter(str)
                setattr(self, key, text)
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
        uid = value.uid if isinstance(value, CalibrationRecord) else ""
        geometry = value.geometry if isinstance(value, CalibrationRecord) else value
        if not isinstance(geometry, Geometry):
            raise GeometryError(
                f"{self.name} is set to {value!r}; it must be a CalibrationRecord or a Geometry."
            )
        for key in UNITS:
            number = getattr(geometry, key)
            self._setters[key](np.nan if number is None else number)
        self._setters["detector"](geometry.detector.name)
        self._setters["calibration_uid"](uid)
