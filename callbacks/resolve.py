"""Which geometry and mask the frames of a descriptor are reduced with.

What the documents say comes before what is stored, and that before what was configured:

1. a geometry among the configuration signals of the descriptor (``geometry-dist``,
   ``geometry-poni1`` ...), with the mask of the calibration that its ``calibration_uid`` names;
2. the calibration that a ``calibration_uid`` names, in the configuration of the descriptor or in
   the start document;
3. the calibration in the store that is accepted and valid for the detector when the run starts;
4. the default that the reducer was given.

If none of these gives a geometry the frames are not reduced. Nothing wrong is passed over on the
way: a half set of signals, or a calibration that cannot be read, never yields to the next place.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from bluesky_azint.detectors import Detector, detector
from bluesky_azint.errors import GeometryError, StoreError
from bluesky_azint.geometry import Geometry
from bluesky_azint.store import CalibrationRecord, CalibrationStore
from bluesky_azint.store.record import mask_digest

if TYPE_CHECKING:
    from event_model.documents import EventDescriptor, RunStart

Mask = NDArray[np.bool_]

_PLACE = ("dist", "poni1", "poni2")
_NUMBERS = (*_PLACE, "rot1", "rot2", "rot3")
_SIGNAL = re.compile(
    rf"(?:(?P<prefix>.*)[-_.])?(?P<name>{'|'.join(_NUMBERS)}|wavelength|detector|calibration_uid)"
)


@dataclass(frozen=True, kw_only=True, eq=False)
class ResolvedCalibration:
    """The geometry and mask for the frames of one descriptor, and where they are from.

    Parameters
    ----------
    detector
        Name of the detector device.
    geometry
        The geometry.
    mask
        Boolean, True = masked, added to the detector's own mask; None for no more than that.
    calibration_uid
        The stored calibration that is behind it, if there is one.
    origin
        How it was found, in words.
    """

    detector: str
    geometry: Geometry
    origin: str
    mask: Mask | None = None
    calibration_uid: str | None = None

    @cached_property
    def mask_sha256(self) -> str | None:
        """SHA-256 of all that is masked, the detector's own and the added; None if nothing is."""
        masks = [m for m in (self.geometry.detector.mask, self.mask) if m is not None]
        return mask_digest(np.logical_or.reduce(masks)) if masks else None

    @property
    def key(self) -> tuple[Geometry, str | None]:
        """Equal where frames are reduced alike."""
        return self.geometry, self.mask_sha256


def resolve_calibration(
    descriptor: EventDescriptor,
    start: RunStart,
    data_key: str,
    *,
    store: CalibrationStore | None = None,
    default: Geometry | CalibrationRecord | None = None,
) -> ResolvedCalibration:
    """Find the geometry and mask for the images of a descriptor.

    Parameters
    ----------
    descriptor, start
        Documents of the raw run.
    data_key
        The images in question.
    store
        Where calibrations are kept.
    default
        For a detector of which nothing is known.

    Raises
    ------
    StoreError
        If there is none, or the one that is named cannot be had.
    GeometryError
        If the signals give half a geometry, or several.
    """
    device = detector_name(descriptor, data_key)
    signals = _geometry_signals(descriptor, device)
    if signals is not None and signals.has_geometry:
        return signals.resolve(device, store)
    for uid, where in _named_calibrations(signals, start, device):
        record = _record(store, uid, where)
        if where == _IN_START and record.detector != device:
            raise StoreError(
                f"The start document names the calibration {uid}, which is for the detector "
                f"{record.detector!r}, not for {device!r}. Where a run has several detectors, "
                'give calibration_uid={"detector": "uid", ...}.'
            )
        return _from_record(record, device, f"calibration_uid in {where}")
    moment = datetime.fromtimestamp(start["time"], UTC)
    stored = store.latest(device, moment) if store is not None else None
    if stored is not None:
        return _from_record(stored, device, f"the latest in {store} at {moment.isoformat()}")
    if isinstance(default, CalibrationRecord):
        return _from_record(default, device, "the default of the reducer")
    if default is not None:
        return ResolvedCalibration(
            detector=device, geometry=default, origin="the default of the reducer"
        )
    raise StoreError(_refusal(device, data_key, moment, store))


def detector_name(descriptor: EventDescriptor, data_key: str) -> str:
    """Name of the device that a data key is from; the data key itself if nothing tells."""
    for device, keys in descriptor.get("object_keys", {}).items():
        if data_key in keys:
            return str(device)
    return data_key


_IN_START = "the start document"


@dataclass(frozen=True, kw_only=True)
class _Signals:
    """The configuration signals of one geometry, those that are set; ``label`` tells which."""

    label: str
    values: Mapping[str, Any]

    @property
    def has_geometry(self) -> bool:
        return "dist" in self.values

    @property
    def calibration_uid(self) -> str | None:
        return self.values.get("calibration_uid")

    def resolve(self, device: str, store: CalibrationStore | None) -> ResolvedCalibration:
        """The geometry that the signals give, with the mask of the calibration they name."""
        missing = [name for name in _PLACE if name not in self.values]
        if missing:
            raise GeometryError(
                f"The geometry signals {self.label} of the detector {device!r} give no "
                f"{' and no '.join(missing)}. Set them, or set dist to NaN so that the "
                "calibration store is asked."
            )
        record = None
        if self.calibration_uid is not None:
            record = _record(store, self.calibration_uid, f"the signals {self.label}")
        numbers: dict[str, Any] = {name: float(self.values.get(name, 0.0)) for name in _NUMBERS}
        known = self._detector(device, record)
        parallax = False
        if record is not None and known is record.geometry.detector:
            parallax = record.geometry.parallax
        return ResolvedCalibration(
            detector=device,
            geometry=Geometry(
                **numbers,
                wavelength=self.values.get("wavelength"),
                detector=known,
                parallax=parallax,
            ),
            mask=None if record is None else record.mask,
            calibration_uid=self.calibration_uid,
            origin=f"the configuration signals {self.label}",
        )

    def _detector(self, device: str, record: CalibrationRecord | None) -> Detector:
        """The detector of the calibration if it is the one named, else that of the catalogue."""
        name = self.values.get("detector")
        if record is not None and name in (None, record.geometry.detector.name):
            return record.geometry.detector
        if name is None:
            raise GeometryError(
                f"The geometry signals {self.label} of the detector {device!r} do not say which "
                "model it is. Set the signal detector to its name in the catalogue, or "
                "calibration_uid to a stored calibration."
            )
        return detector(str(name))


def _geometry_signals(descriptor: EventDescriptor, device: str) -> _Signals | None:
    """The geometry signals that belong to a detector.

    Its own come first; then those of devices that are no detectors themselves, for the geometry
    of another detector is not its own.
    """
    configuration = descriptor.get("configuration", {})
    others = set(configuration) - {device} - _image_devices(descriptor)
    for objects in ([device], sorted(others)):
        groups = [
            group
            for name in objects
            if name in configuration
            for group in _groups(configuration[name].get("data", {}))
        ]
        if len(groups) > 1:
            raise GeometryError(
                f"The detector {device!r} has {len(groups)} geometries among its configuration "
                f"signals: {', '.join(group.label for group in groups)}. Leave one, or set the "
                "dist of the others to NaN."
            )
        if groups:
            return groups[0]
    return None


def _groups(data: Mapping[str, Any]) -> Iterable[_Signals]:
    """The geometries among the configuration signals of one device, as far as they are set."""
    found: dict[str, dict[str, Any]] = {}
    for key, value in data.items():
        if match := _SIGNAL.fullmatch(key):
            found.setdefault(match["prefix"] or "", {})[match["name"]] = value
    for prefix, values in found.items():
        if not ({*_PLACE} <= values.keys() or "calibration_uid" in values):
            continue  # many devices have a wavelength
        given = {name: value for name, value in values.items() if _is_set(value)}
        if {"dist", "calibration_uid"} & given.keys():
            yield _Signals(label=f"{prefix}-*" if prefix else "dist, poni1 ...", values=given)


def _is_set(value: object) -> bool:
    """Whether a signal holds a value: NaN and "" are those of one that was never set."""
    if value is None or value == "":
        return False
    return not (isinstance(value, float | np.floating) and np.isnan(value))


def _image_devices(descriptor: EventDescriptor) -> set[str]:
    """The devices of a descriptor that give images."""
    return {
        detector_name(descriptor, key)
        for key, data_key in descriptor["data_keys"].items()
        if len(data_key["shape"]) >= 2
    }


def _named_calibrations(
    signals: _Signals | None, start: RunStart, device: str
) -> Iterable[tuple[str, str]]:
    """The uids of calibrations that the documents name, each with where."""
    if signals is not None and signals.calibration_uid is not None:
        yield signals.calibration_uid, f"the signals {signals.label}"
    named = start.get("calibration_uid")
    if isinstance(named, Mapping):
        if named.get(device):
            yield str(named[device]), f"{_IN_START} for {device!r}"
    elif named:
        yield str(named), _IN_START


def _record(store: CalibrationStore | None, uid: str, where: str) -> CalibrationRecord:
    """The calibration of that uid, which the documents name."""
    if store is None:
        raise StoreError(
            f"The calibration {uid} that {where} names cannot be looked up: the reducer has no "
            "calibration store. Give it one with store=..."
        )
    record = store.get(uid)
    if record.status == "rejected":
        raise StoreError(
            f"The calibration {uid} that {where} names was rejected. Name another one, or none "
            f"so that the latest accepted one of {record.detector!r} is taken."
        )
    return record


def _from_record(record: CalibrationRecord, device: str, origin: str) -> ResolvedCalibration:
    return ResolvedCalibration(
        detector=device,
        geometry=record.geometry,
        mask=record.mask,
        calibration_uid=record.uid,
        origin=origin,
    )


def _refusal(device: str, data_key: str, moment: datetime, store: CalibrationStore | None) -> str:
    looked = "there is no calibration store" if store is None else f"{store} has no accepted one"
    return (
        f"There is no calibration of the detector {device!r} (images {data_key!r}) for "
        f"{moment.isoformat(timespec='milliseconds')}: neither the configuration of the descriptor nor "
        f"the start document gives one, {looked} that is valid then, and the reducer has no "
        "default. Calibrate the detector, or save a known geometry in the store, with valid_from "
        "before the run."
    )
