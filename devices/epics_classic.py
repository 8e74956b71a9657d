"""The geometry of a detector in PVs, for detectors of ophyd's first generation."""

from __future__ import annotations

from ophyd import Component, Device, DeviceStatus, EpicsSignal, Kind

from bluesky_azint.devices.geometry_signals import pv_suffix, signal_values, writing_order
from bluesky_azint.geometry import Geometry
from bluesky_azint.store.record import CalibrationRecord

_PUT_SECONDS = 10.0


def _number(key: str) -> Component:
    return Component(EpicsSignal, pv_suffix(key), put_complete=True, kind=Kind.config)


def _text(key: str) -> Component:
    return Component(EpicsSignal, pv_suffix(key), string=True, put_complete=True, kind=Kind.config)


class ClassicGeometryDevice(Device):  # type: ignore[misc]
    """The geometry that a detector is used with, in the PVs of an IOC.

    As a component of a detector it is in the descriptors of its runs::

        class Camera(Device):
            geometry = Component(ClassicGeometryDevice, "Geometry:", kind="config")

    and is set as a whole, to a calibration or a bare geometry: ``bps.mv(camera.geometry, record)``.
    The names of its PVs are in `bluesky_azint.devices.geometry_signals`.
    """

    dist = _number("dist")
    poni1 = _number("poni1")
    poni2 = _number("poni2")
    rot1 = _number("rot1")
    rot2 = _number("rot2")
    rot3 = _number("rot3")
    wavelength = _number("wavelength")
    detector = _text("detector")
    calibration_uid = _text("calibration_uid")

    def set(self, value: CalibrationRecord | Geometry) -> DeviceStatus:
        """Take over a calibration, or a geometry that is from none.

        Raises
        ------
        GeometryError
            If it is neither, or a text of it is too long for a PV.
        """
        steps = writing_order(signal_values(value, self.name), self.name)
        status = DeviceStatus(self)

        def write() -> None:
            try:
                for step in steps:
                    written = [getattr(self, key).set(step[key]) for key in step]
                    for one in written:
                        one.wait(_PUT_SECONDS)
            except Exception as error:  # noqa: BLE001  whatever it is, the plan must know
                status.set_exception(error)
            else:
                status.set_finished()

        # A thread of the control layer: pyepics knows PVs in no other.
        self.dist.cl.thread_class(target=write, name=f"{self.name}-set", daemon=True).start()
        return status
