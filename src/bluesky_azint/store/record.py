"""A calibration record: the geometry and the mask of one detector, valid from a moment on.

Records are immutable and dated. A wrong one is not mended: a new record is saved that is valid
from the same moment, and being the newer of the two it is the one that is found.

As JSON a record refers to its masks by their SHA-256; the arrays are kept beside it by the store,
each only once, and are checked against that name when they are read back.
"""

from __future__ import annotations

import hashlib
import json
import re
import uuid
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, fields, replace
from datetime import UTC, datetime
from difflib import get_close_matches
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from bluesky_azint.detectors import Detector
from bluesky_azint.errors import StoreError
from bluesky_azint.geometry import Geometry
from bluesky_azint.io.poni import geometry_from_dict, geometry_to_dict

STATUSES = ("candidate", "accepted", "rejected", "superseded")
VERSION = 1

Mask = NDArray[np.bool_]


@dataclass(frozen=True, kw_only=True, eq=False)
class CalibrationRecord:
    """The geometry and the mask of one detector, valid from a moment on.

    Parameters
    ----------
    detector
        Name of the detector device as it stands in the documents (``"eiger"``), not its model.
    geometry
        The geometry.
    mask
        Boolean, of detector shape, True = masked: added to the detector's own mask.
    status
        ``"candidate"``, ``"accepted"``, ``"rejected"`` or ``"superseded"``; only accepted records
        are used for reduction.
    valid_from
        From when on the geometry holds, with a time zone; kept in UTC.
    uid
        Letters, digits, ``-`` and ``_``; a new one unless given.
    created
        When the record was made, with a time zone; now unless given.
    metadata
        Anything JSON can hold: the calibrant, the residuals, the raw run, software versions.

    Raises
    ------
    StoreError
        If one of these is not what it should be.
    """

    detector: str
    geometry: Geometry
    valid_from: datetime
    mask: Mask | None = None
    status: str = "accepted"
    uid: str = field(default_factory=lambda: str(uuid.uuid4()))
    created: datetime = field(default_factory=lambda: datetime.now(UTC))
    metadata: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if not (isinstance(self.detector, str) and self.detector):
            raise StoreError(
                f"A calibration is for the detector {self.detector!r}; it must be the name of the "
                "device as it stands in the documents."
            )
        if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9_-]*", self.uid):
            raise StoreError(
                f"The uid of a calibration is {self.uid!r}; it may hold letters, digits, - and _, "
                "and begins with a letter or a digit. Leave it out to get a new one."
            )
        if self.status not in STATUSES:
            raise StoreError(
                f"The status of calibration {self.uid} is {self.status!r}; it must be one of "
                f"{', '.join(map(repr, STATUSES))}."
            )
        object.__setattr__(self, "valid_from", in_utc("valid_from", self.valid_from))
        object.__setattr__(self, "created", in_utc("created", self.created))
        object.__setattr__(self, "metadata", self._plain_metadata())
        if self.mask is not None:
            object.__setattr__(self, "mask", self._fitting_mask(self.mask))

    def _plain_metadata(self) -> dict[str, Any]:
        try:
            plain: dict[str, Any] = json.loads(json.dumps(dict(self.metadata), allow_nan=False))
        except (TypeError, ValueError) as error:
            raise StoreError(
                f"The metadata of calibration {self.uid} cannot be written as JSON: {error}. "
                "Give plain numbers, strings, lists and dictionaries; for NaN give None."
            ) from error
        return plain

    def _fitting_mask(self, mask: Mask) -> Mask:
        mask = np.array(mask, dtype=bool)
        shape = self.geometry.detector.shape
        if mask.ndim != 2 or (shape is not None and mask.shape != shape):
            raise StoreError(
                f"The mask of calibration {self.uid} has the shape {mask.shape}, its detector "
                f"{self.geometry.detector.name!r} {shape}; they must be equal."
            )
        mask.flags.writeable = False
        return mask

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, CalibrationRecord):
            return NotImplemented
        return self.to_dict() == other.to_dict()

    def __hash__(self) -> int:
        return hash(self.uid)

    @property
    def masks(self) -> dict[str, Mask]:
        """The masks the record refers to, the detector's own and the added one, by SHA-256."""
        masks = (self.geometry.detector.mask, self.mask)
        return {mask_digest(mask): mask for mask in masks if mask is not None}

    def to_dict(self) -> dict[str, Any]:
        """The record as JSON values; masks by their SHA-256, dates so that they sort as text."""
        detector = self.geometry.detector
        definition = {f.name: _plain(getattr(detector, f.name)) for f in fields(detector)}
        return {
            "version": VERSION,
            "uid": self.uid,
            "detector": self.detector,
            "status": self.status,
            "valid_from": stamp(self.valid_from),
            "created": stamp(self.created),
            "geometry": geometry_to_dict(self.geometry),
            "detector_definition": definition,
            "mask": _plain(self.mask),
            "metadata": json.loads(json.dumps(self.metadata)),
        }

    @classmethod
    def from_dict(cls, values: Mapping[str, Any], load_mask: Callable[[str], Mask]) -> Self:
        """The record that `to_dict` gave.

        Parameters
        ----------
        values
            As `to_dict` gave them.
        load_mask
            Gives the mask of a SHA-256, as `masks` holds it.

        Raises
        ------
        StoreError
            If the values are no record, or one of a later version of this package.
        """
        version = values.get("version") if isinstance(values, Mapping) else None
        if version != VERSION:
            raise StoreError(
                f"A calibration record of version {version!r} cannot be read: this is version "
                f"{VERSION}. Update bluesky-azint, or check that these are calibration records."
            )
        try:
            definition = {
                **values["detector_definition"],
                "mask": _loaded(values["detector_definition"]["mask"], load_mask),
            }
            # The definition holds the detector as it was; the catalogue may have changed since.
            poni = {**values["geometry"], "detector": "Detector"}
            geometry = replace(geometry_from_dict(poni), detector=Detector(**definition))
            return cls(
                detector=values["detector"],
                geometry=geometry,
                mask=_loaded(values["mask"], load_mask),
                status=values["status"],
                valid_from=datetime.fromisoformat(values["valid_from"]),
                uid=values["uid"],
                created=datetime.fromisoformat(values["created"]),
                metadata=values["metadata"],
            )
        except StoreError:
            raise
        except (KeyError, TypeError, AttributeError, ValueError) as error:
            raise StoreError(f"These values are no calibration record: {error!r}.") from error


def mask_digest(mask: Mask) -> str:
    """SHA-256 of a mask: of its shape, as ``"rows columns "``, and its pixels as bytes 0 and 1."""
    digest = hashlib.sha256("".join(f"{length} " for length in mask.shape).encode())
    digest.update(np.ascontiguousarray(mask, dtype=bool).tobytes())
    return digest.hexdigest()


def checked_mask(mask: Mask, digest: str, where: str) -> Mask:
    """The mask, read from ``where``, if it still is the one of that SHA-256.

    Raises
    ------
    StoreError
        If it is not.
    """
    if mask_digest(mask) != digest:
        raise StoreError(
            f"The mask at {where} is damaged: its SHA-256 is not the {digest} it was stored "
            "under. Restore it from a backup, or save a new calibration."
        )
    return mask


def stamp(moment: datetime) -> str:
    """A moment in UTC to the microsecond, as text of one length that sorts as the moments do.

    >>> stamp(datetime(2026, 3, 1, 12, tzinfo=UTC))
    '2026-03-01T12:00:00.000000+00:00'
    """
    return in_utc("The moment", moment).isoformat(timespec="microseconds")


def in_utc(name: str, moment: datetime) -> datetime:
    """The moment in UTC.

    Raises
    ------
    StoreError
        If it has no time zone.
    """
    if not isinstance(moment, datetime) or moment.tzinfo is None:
        raise StoreError(
            f"{name} is {moment!r}, which has no time zone; give one, as in datetime.now(UTC)."
        )
    return moment.astimezone(UTC)


def _plain(value: object) -> object:
    """A detector's property as JSON has it: a mask by its digest, a shape as a list."""
    if isinstance(value, np.ndarray):
        return mask_digest(value)
    return list(value) if isinstance(value, tuple) else value


def _loaded(digest: str | None, load_mask: Callable[[str], Mask]) -> Mask | None:
    return None if digest is None else load_mask(digest)


def no_such_calibration(uid: str, known: Iterable[str], where: str) -> StoreError:
    """The error for a uid that is not in a store, naming what was perhaps meant."""
    uids = sorted(known)
    near = [other for other in uids if uid and other.startswith(uid)]
    near += [other for other in get_close_matches(uid, uids) if other not in near]
    hint = f"near it are {', '.join(near[:5])}" if near else f"there are {len(uids)} others"
    return StoreError(
        f"The store {where} holds no calibration {uid!r}; {hint}. records() lists them all."
    )
