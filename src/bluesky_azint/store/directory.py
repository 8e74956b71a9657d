"""A calibration store in a folder, for one machine or a shared file system.

A folder per detector holds a ``.json`` file per record, named after the moment it is valid from
and its uid, a ``.poni`` file beside it for other programs, and the masks::

    calibrations/
        eiger/
            2026-03-01T12-00-00.000000Z_6f1c....json
            2026-03-01T12-00-00.000000Z_6f1c....poni
            masks/
                b5d4....npz

Files are written under another name and appear under theirs when they are complete, the record
after its masks: a process that dies leaves no half record, and two do not disturb each other.
"""

from __future__ import annotations

import json
import os
import re
import uuid
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from itertools import groupby
from pathlib import Path
from typing import NamedTuple
from urllib.parse import quote

import numpy as np

from bluesky_azint.errors import StoreError
from bluesky_azint.store.record import (
    CalibrationRecord,
    Mask,
    checked_mask,
    no_such_calibration,
    stamp,
)

_FILE_NAME = re.compile(r"(\d{4}-\d\d-\d\dT\d\d-\d\d-\d\d\.\d{6}Z)_(.+)\.json")


class _Entry(NamedTuple):
    """A record as its file name tells it; entries sort by the moment."""

    valid_from: str
    uid: str
    path: Path


class DirectoryStore:
    """A calibration store in a folder.

    Parameters
    ----------
    path
        The folder; made when the first record is saved.
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self.path = Path(path).absolute()  # a session may change folders

    def __repr__(self) -> str:
        return f"DirectoryStore({str(self.path)!r})"

    def save(self, record: CalibrationRecord) -> None:
        """Keep a record for good.

        Raises
        ------
        StoreError
            If there is one of that uid.
        """
        if self._find(record.uid):
            raise self._already_there(record)
        target = self.path / _relative_path(record)
        masks = target.parent / "masks"
        masks.mkdir(parents=True, exist_ok=True)
        for digest, mask in record.masks.items():
            with _temporary(masks) as temporary:
                with temporary.open("wb") as file:
                    np.savez_compressed(file, mask=mask)
                _flush(temporary)
                temporary.replace(masks / f"{digest}.npz")
        with _temporary(target.parent) as text, _temporary(target.parent) as poni:
            record.geometry.to_poni(poni)
            text.write_text(json.dumps(record.to_dict(), indent=2), encoding="utf-8")
            _flush(text)
            try:
                target.hardlink_to(text)  # unlike a rename, refuses to replace
            except FileExistsError:
                raise self._already_there(record) from None
            poni.replace(target.with_suffix(".poni"))

    def get(self, uid: str) -> CalibrationRecord:
        """The record of that uid.

        Raises
        ------
        StoreError
            If there is none, or it is damaged.
        """
        paths = self._find(uid)
        if not paths:
            known = (path.stem.partition("_")[2] for path in self.path.glob("*/*.json"))
            raise no_such_calibration(uid, known, str(self.path))
        return self._read(paths[0])

    def latest(self, detector: str, at: datetime) -> CalibrationRecord | None:
        """The accepted record of the detector valid at that moment; None if there is none.

        Raises
        ------
        StoreError
            If a record that may be the one is damaged.
        """
        by_then = _file_stamp(at)
        entries = [entry for entry in self._entries(detector) if entry.valid_from <= by_then]
        for _, group in groupby(reversed(entries), key=lambda entry: entry.valid_from):
            records = [self._read(entry.path) for entry in group]
            accepted = [record for record in records if record.status == "accepted"]
            if accepted:
                return max(accepted, key=lambda record: record.created)
        return None

    def records(self, detector: str | None = None) -> list[CalibrationRecord]:
        """All records, or all of one detector, by the moment they are valid from.

        Raises
        ------
        StoreError
            If one of them is damaged.
        """
        records = [self._read(entry.path) for entry in self._entries(detector)]
        return sorted(records, key=lambda record: (record.valid_from, record.created))

    def _find(self, uid: str) -> list[Path]:
        return [path for path in self.path.glob("*/*.json") if path.stem.partition("_")[2] == uid]

    def _entries(self, detector: str | None) -> list[_Entry]:
        folder = "*" if detector is None else _folder_name(detector)
        entries = []
        for path in self.path.glob(f"{folder}/*.json"):
            name = _FILE_NAME.fullmatch(path.name)
            if name is None:
                raise StoreError(
                    f"{path} is not named like a calibration record. If it is one, give it its "
                    "name back, YYYY-MM-DDThh-mm-ss.ffffffZ_UID.json; else move it elsewhere."
                )
            entries.append(_Entry(name[1], name[2], path))
        return sorted(entries)

    def _read(self, path: Path) -> CalibrationRecord:
        try:
            values = json.loads(path.read_text(encoding="utf-8"))
            record = CalibrationRecord.from_dict(values, lambda digest: _read_mask(path, digest))
        except (OSError, ValueError) as error:
            raise StoreError(
                f"The calibration in {path} cannot be read: {error} Restore it from a backup, "
                "or move the file out of the store to do without it."
            ) from error
        if path != self.path / _relative_path(record):
            raise StoreError(
                f"{path} holds the calibration that belongs in {_relative_path(record)}; "
                "move it there, or out of the store."
            )
        return record

    def _already_there(self, record: CalibrationRecord) -> StoreError:
        return StoreError(
            f"The store {self.path} already holds a calibration {record.uid}, and calibrations "
            "are never changed; save a new one, without a uid."
        )


def _relative_path(record: CalibrationRecord) -> Path:
    return (
        Path(_folder_name(record.detector)) / f"{_file_stamp(record.valid_from)}_{record.uid}.json"
    )


def _folder_name(detector: str) -> str:
    """The name of a detector with everything quoted that means something in a path."""
    return quote(detector, safe="").replace(".", "%2E").replace("~", "%7E")


def _file_stamp(moment: datetime) -> str:
    """A moment as text that sorts as the moments do, and has no colons."""
    return stamp(moment).removesuffix("+00:00").replace(":", "-") + "Z"


def _read_mask(record_path: Path, digest: str) -> Mask:
    path = record_path.parent / "masks" / f"{digest}.npz"
    try:
        with path.open("rb") as file, np.load(file, allow_pickle=False) as arrays:
            mask: Mask = arrays["mask"]
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile, zlib.error) as error:
        raise StoreError(f"its mask in {path} cannot be read: {error}.") from error
    return checked_mask(mask, digest, str(path))


@contextmanager
def _temporary(folder: Path) -> Iterator[Path]:
    """A path in that folder under which a file can be prepared; gone afterwards."""
    path = folder / f".{uuid.uuid4().hex}.tmp"
    try:
        yield path
    finally:
        path.unlink(missing_ok=True)


def _flush(path: Path) -> None:
    """Have the content on the disk before the name."""
    with path.open("r+b") as file:
        os.fsync(file.fileno())
