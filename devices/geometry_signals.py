"""What the signals of a geometry are called and hold, for devices of every kind.

In EPICS they are the PVs ``<prefix>Dist``, ``Poni1``, ``Poni2``, ``Rot1``, ``Rot2``, ``Rot3``,
``Wavelength``, ``Detector`` and ``CalibrationUid``: numbers in metres and radians, and two strings.
"""

from __future__ import annotations

from collections.abc import Mapping
from math import nan
from typing import Any

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
_LONGEST = 39  # bytes of a string in EPICS


def signal_values(value: CalibrationRecord | Geometry, name: str) -> dict[str, Any]:
    """What the signals are when a device is set to a calibration or geometry; NaN for no number.

    Parameters
    ----------
    value
        A calibration, or a geometry that is from none.
    name
        Of the device, for messages.

    Raises
    ------
    GeometryError
        If it is neither.
    """
    uid = value.uid if isinstance(value, CalibrationRecord) else ""
    geometry = value.geometry if isinstance(value, CalibrationRecord) else value
    if not isinstance(geometry, Geometry):
        raise GeometryError(
            f"{name} is set to {value!r}; it must be a CalibrationRecord or a Geometry."
        )
    numbers = {key: getattr(geometry, key) for key in UNITS}
    return {
        **{key: nan if number is None else number for key, number in numbers.items()},
        "detector": geometry.detector.name,
        "calibration_uid": uid,
    }


def pv_suffix(key: str) -> str:
    """The end of the name of a PV.

    >>> pv_suffix("poni1"), pv_suffix("calibration_uid")
    ('Poni1', 'CalibrationUid')
    """
    return key.title().replace("_", "")


def writing_order(values: Mapping[str, Any], name: str) -> list[dict[str, Any]]:
    """In which steps the PVs are written, so that nobody ever finds one half of two geometries.

    PVs change one by one, and who writes them may end in between. So the distance and the uid are
    taken back first: that is a geometry which is not set. The distance is given last.

    Parameters
    ----------
    values
        Of all signals, see `signal_values`.
    name
        Of the device, for messages.

    Raises
    ------
    GeometryError
        If a text is too long for a PV.
    """
    for key in NAMES:
        if len(values[key].encode()) > _LONGEST:
            raise GeometryError(
                f"{name} cannot be set: {key} is {values[key]!r}, and a string in EPICS has at most "
                f"{_LONGEST} bytes. Give it a shorter name."
            )
    rest = {key: value for key, value in values.items() if key != "dist"}
    return [{"dist": nan, "calibration_uid": ""}, rest, {"dist": values["dist"]}]
