"""A calibration record: the geometry and the mask of one detector, valid from a moment on.

Records are immutable and dated. A wrong one is not mended: a new record is saved that is valid
from the same moment, and being the newer of the two it is the one that is found. What becomes of a
record is written beside it (see `bluesky_azint.store.status`).

As JSON a record refers to its masks, its files and the places of its pixels by their SHA-256; they
are kept beside it by the store, each only once, and are checked against that name when they are
read back.
"""

from __future__ import annotations

import hashlib
import json
import re
import uuid
from collections.abc import Callable, Iterable, Mapping
from dataclasses import asdict, dataclass, field, fields, replace
from datetime import UTC, datetime
from difflib import get_close_matches
from functools import cached_property
from importlib.metadata import version
from typing import TYPE_CHECKING, Any, Self, cast

import numpy as np
from numpy.typing import NDArray

from bluesky_azint.detectors import Detector
from bluesky_azint.errors import StoreError
from bluesky_azint.geometry import Geometry
from bluesky_azint.io.poni import geometry_from_dict, geometry_to_dict
from bluesky_azint.parallax import Sensor
from bluesky_azint.store.contents import (
    Files,
    digest_of,
    no_content,
    pixels_from_bytes,
    pixels_to_bytes,
)
from bluesky_azint.store.moments import in_utc, stamp
from bluesky_azint.store.status import STATUSES, StatusChange

if TYPE_CHECKING:
    from bluesky_azint.calibration.result import Calibration

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
        are used for reduction. Of a record from a store, the one that it has now.
    valid_from
        From when on the geometry holds, with a time zone; kept in UTC.
    uid
        Letters, digits, ``-`` and ``_``; a new one unless given.
    created
        When the record was made, with a time zone; now unless given.
    metadata
        Anything JSON can hold. What `from_calibration` writes: ``verdict``, ``reasons`` and
        ``notes`` in sentences, ``figures`` as `bluesky_azint.calibration.figures` explains them,
        ``raw_uid`` of the run that the image is from, and ``software`` with its version.
    files
        Contents by name: the report, pictures.
    history
        The changes of its status, from the first to the last; a store gives them.

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
    files: Mapping[str, bytes] = field(default_factory=dict, repr=False)
    history: tuple[StatusChange, ...] = ()

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
        if not isinstance(self.files, Files):
            object.__setattr__(self, "files", Files.of(self.files))

    @classmethod
    def from_calibration(
        cls,
        calibration: Calibration,
        *,
        detector: str,
        valid_from: datetime | None = None,
        status: str | None = None,
        raw_uid: str | None = None,
        files: Mapping[str, bytes] | None = None,
        metadata: Mapping[str, Any] | None = None,
    ) -> Self:
        """The record of a calibration.

        Parameters
        ----------
        calibration
            What was found.
        detector
            Name of the detector device as it stands in the documents.
        valid_from
            From when on it holds; None is now.
        status
            None is ``"accepted"`` if the calibration is, and else ``"candidate"``: somebody must
            look at it first.
        raw_uid
            The run that the image is from.
        files
            Contents by name: the report, pictures.
        metadata
            What else is to be kept.

        Raises
        ------
        StoreError
            If the calibration was refused: it has no geometry that may be used.
        """
        from bluesky_azint.calibration.figures import figures  # SciPy takes half a second to load

        if calibration.geometry is None:
            raise StoreError(
                f"The calibration of {detector} was refused, so there is no geometry to store: "
                f"{' '.join(calibration.reasons)}"
            )
        return cls(
            detector=detector,
            geometry=calibration.geometry,
            mask=calibration.mask,
            valid_from=valid_from or datetime.now(UTC),
            status=status or ("accepted" if calibration.accepted else "candidate"),
            files=files or {},
            metadata={
                **(metadata or {}),
                "verdict": calibration.verdict,
                "reasons": list(calibration.reasons),
                "notes": list(calibration.notes),
                "figures": figures(calibration),
                "raw_uid": raw_uid,
                "software": f"bluesky-azint {version('bluesky-azint')}",
            },
        )

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

    @property
    def summary(self) -> str:
        """What it is, in a line."""
        moment = self.valid_from.isoformat(sep=" ", timespec="seconds")
        return f"Calibration {self.uid} of {self.detector}, valid from {moment}"

    @property
    def contents(self) -> dict[str, bytes]:
        """What else it refers to, files and the places of pixels, by SHA-256; read when called."""
        contents = [*self.files.values(), *self._pixels]
        return {digest_of(content): content for content in contents}

    @cached_property
    def _pixels(self) -> tuple[bytes, ...]:
        """Where the pixels lie, if they are no regular grid."""
        pixels = self.geometry.detector.pixels
        return () if pixels is None else (pixels_to_bytes(pixels),)

    def to_dict(self) -> dict[str, Any]:
        """The record as JSON values; arrays and files by SHA-256, dates so that they sort as text.

        Its history is no part of it.
        """
        detector = self.geometry.detector
        definition = {f.name: _plain(getattr(detector, f.name)) for f in fields(detector)}
        definition["pixels"] = next(map(digest_of, self._pixels), None)
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
            "files": dict(cast(Files, self.files).digests),
        }

    @classmethod
    def from_dict(
        cls,
        values: Mapping[str, Any],
        load_mask: Callable[[str], Mask],
        load_content: Callable[[str], bytes] = no_content,
    ) -> Self:
        """The record that `to_dict` gave.

        Parameters
        ----------
        values
            As `to_dict` gave them.
        load_mask
            Gives the mask of a SHA-256, as `masks` holds it.
        load_content
            Gives what else has a SHA-256, as `contents` holds it; for a file only when it is read.

        Raises
        ------
        StoreError
            If the values are no record, or one of a later version of this package.
        """
        found = values.get("version") if isinstance(values, Mapping) else None
        if found != VERSION:
            raise StoreError(
                f"A calibration record of version {found!r} cannot be read: this is version "
                f"{VERSION}. Update bluesky-azint, or check that these are calibration records."
            )
        try:
            return cls(
                detector=values["detector"],
                geometry=_geometry(values, load_mask, load_content),
                mask=_loaded(values["mask"], load_mask),
                status=values["status"],
                valid_from=datetime.fromisoformat(values["valid_from"]),
                uid=values["uid"],
                created=datetime.fromisoformat(values["created"]),
                metadata=values["metadata"],
                files=Files(values.get("files", {}), load_content),
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


def _plain(value: object) -> object:
    """A detector's property as JSON has it: a mask by its digest, a shape as a list."""
    if isinstance(value, np.ndarray):
        return mask_digest(value)
    if isinstance(value, Sensor):
        return asdict(value)
    return list(value) if isinstance(value, tuple) else value


def _geometry(
    values: Mapping[str, Any],
    load_mask: Callable[[str], Mask],
    load_content: Callable[[str], bytes],
) -> Geometry:
    """The geometry of a record, with the detector as it was: catalogue and files may change."""
    definition = dict(values["detector_definition"])
    definition["mask"] = _loaded(definition["mask"], load_mask)
    if digest := definition.get("pixels"):
        definition["pixels"] = pixels_from_bytes(load_content(digest))
    if sensor := definition.get("sensor"):
        definition["sensor"] = Sensor(**sensor)
    definition["described_in"] = tuple(map(tuple, definition.get("described_in", ())))
    stands = {**values["geometry"], "detector": "Detector", "parallax": False}
    stands["detector_config"] = {"pixel1": 1.0, "pixel2": 1.0}
    parallax = bool(values["geometry"].get("parallax", False))
    return replace(geometry_from_dict(stands), detector=Detector(**definition), parallax=parallax)


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


def whole_uid(beginning: str, known: Iterable[str], where: str) -> str:
    """The one uid in a store that begins so.

    Raises
    ------
    StoreError
        If there is none, or several and none is just that.
    """
    uids = sorted(known)
    found = [uid for uid in uids if beginning and uid.startswith(beginning)]
    if beginning in found:
        return beginning
    if not found:
        raise no_such_calibration(beginning, uids, where)
    if len(found) > 1:
        raise StoreError(
            f"Several calibrations in {where} begin with {beginning!r}: {', '.join(found[:5])}. "
            "Give more of the uid."
        )
    return found[0]
