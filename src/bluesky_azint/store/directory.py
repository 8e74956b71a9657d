"""A calibration store in a folder, for one machine or a shared file system.

A folder per detector holds a ``.json`` file per record, named after the moment it is valid from
and its uid, a ``.poni`` file beside it for other programs, the changes of statuses, the masks, and
reports and other contents::

    calibrations/
        eiger/
            2026-03-01T12-00-00.000000Z_6f1c....json
            2026-03-01T12-00-00.000000Z_6f1c....poni
            changes/
                6f1c....0001.json
            files/
                0a9e...
            masks/
                b5d4....npz

Files are written under another name and appear under theirs when they are complete, the record
after what it refers to: a process that dies leaves no half record, and two do not disturb each
other. No file of a record or of a change replaces another.
"""

from __future__ import annotations

import json
import os
import re
import uuid
import zipfile
import zlib
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from datetime import datetime
from functools import partial
from itertools import groupby
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import quote

import numpy as np

from bluesky_azint.errors import GeometryError, StoreError
from bluesky_azint.io.poni import write_poni
from bluesky_azint.store.contents import checked_content
from bluesky_azint.store.moments import stamp
from bluesky_azint.store.record import (
    CalibrationRecord,
    Mask,
    checked_mask,
    no_such_calibration,
    whole_uid,
)
from bluesky_azint.store.status import StatusChange, changed_meanwhile, current, next_change

_FILE_NAME = re.compile(r"(\d{4}-\d\d-\d\dT\d\d-\d\d-\d\d\.\d{6}Z)_(.+)\.json")
_CHANGE_NAME = re.compile(r"([^.]+)\.(\d{4})\.json")


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
        for digest, content in record.contents.items():
            files = target.parent / "files"
            files.mkdir(exist_ok=True)
            with _temporary(files) as temporary:
                temporary.write_bytes(content)
                _flush(temporary)
                temporary.replace(files / digest)
        if not _write_new(target, record.to_dict()):
            raise self._already_there(record)
        with _temporary(target.parent) as poni, suppress(GeometryError):  # PONI cannot hold all
            write_poni(record.geometry, poni, [f"{record.summary}, saved as {record.status}"])
            poni.replace(target.with_suffix(".poni"))

    def accept(self, uid: str, *, why: str = "", who: str | None = None) -> CalibrationRecord:
        """Have a record be used from now on; gives it as it then is.

        Raises
        ------
        StoreError
            If there is none, it is accepted already, or somebody changes it at this moment.
        """
        return self._change(uid, "accepted", why, who)

    def reject(self, uid: str, *, why: str, who: str | None = None) -> CalibrationRecord:
        """Have a record not be used any more; gives it as it then is.

        Raises
        ------
        StoreError
            If there is none, it is rejected already, no reason is given, or somebody changes it at
            this moment.
        """
        return self._change(uid, "rejected", why, who)

    def get(self, uid: str) -> CalibrationRecord:
        """The record of that uid.

        Raises
        ------
        StoreError
            If there is none, it is damaged, or its status cannot be told.
        """
        return next(record for record in self._group(uid) if record.uid == uid)

    def find(self, uid: str) -> CalibrationRecord:
        """The record whose uid is that, or alone begins so.

        Raises
        ------
        StoreError
            If there is none or several, or it is damaged.
        """
        known = [path.stem.partition("_")[2] for path in self.path.glob("*/*.json")]
        return self.get(whole_uid(uid, known, str(self.path)))

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
            for record in self._read_all(group):
                if record.status == "accepted":
                    return record
        return None

    def records(
        self,
        detector: str | None = None,
        *,
        since: datetime | None = None,
        until: datetime | None = None,
        status: str | None = None,
    ) -> list[CalibrationRecord]:
        """All records, or some, by the moment they are valid from.

        Parameters
        ----------
        detector
            Of this detector alone.
        since, until
            Valid from these moments, or one between them.
        status
            Which now have this status.

        Raises
        ------
        StoreError
            If one of them is damaged.
        """
        first, last = since and _file_stamp(since), until and _file_stamp(until)
        entries = (
            entry
            for entry in self._entries(detector)
            if (first or entry.valid_from) <= entry.valid_from <= (last or entry.valid_from)
        )
        return [record for record in self._read_all(entries) if status in (None, record.status)]

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

    def _group(self, uid: str) -> list[CalibrationRecord]:
        """All records of the detector and the moment of that one."""
        paths = self._find(uid)
        if not paths:
            known = (path.stem.partition("_")[2] for path in self.path.glob("*/*.json"))
            raise no_such_calibration(uid, known, str(self.path))
        moment = paths[0].name.partition("_")[0]
        others = sorted(paths[0].parent.glob(f"{moment}_*.json"))
        return self._read_all(_Entry(moment, path.stem.partition("_")[2], path) for path in others)

    def _change(self, uid: str, status: str, why: str, who: str | None) -> CalibrationRecord:
        change = next_change(uid, self._group(uid), status, why, who)
        folder = self._find(uid)[0].parent / "changes"
        folder.mkdir(exist_ok=True)
        if not _write_new(folder / f"{uid}.{change.number:04d}.json", change.to_dict()):
            raise changed_meanwhile(uid)
        return self.get(uid)

    def _read_all(self, entries: Iterable[_Entry]) -> list[CalibrationRecord]:
        """The records with the status that they have now."""
        entries = list(entries)
        uids = {entry.uid for entry in entries}
        changes: dict[str, list[StatusChange]] = {}
        for folder in {entry.path.parent / "changes" for entry in entries}:
            for path in folder.glob("*.json"):
                name = _CHANGE_NAME.fullmatch(path.name)
                if name is None:
                    raise StoreError(
                        f"{path} is not named like a change of a status. If it is one, give it its "
                        "name back, UID.NUMBER.json; else move it elsewhere."
                    )
                if name[1] in uids:
                    changes.setdefault(name[1], []).append(_read_change(path))
        return current([self._read(entry.path) for entry in entries], changes)

    def _read(self, path: Path) -> CalibrationRecord:
        try:
            values = json.loads(path.read_text(encoding="utf-8"))
            record = CalibrationRecord.from_dict(
                values, partial(_read_mask, path), partial(_read_content, path)
            )
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


def _read_content(record_path: Path, digest: str) -> bytes:
    path = record_path.parent / "files" / digest
    try:
        content = path.read_bytes()
    except OSError as error:
        raise StoreError(f"The file in {path} cannot be read: {error}.") from error
    return checked_content(content, digest, str(path))


def _read_change(path: Path) -> StatusChange:
    try:
        change = StatusChange.from_dict(json.loads(path.read_text(encoding="utf-8")))
    except (OSError, ValueError) as error:
        raise StoreError(
            f"The change of a status in {path} cannot be read: {error} Restore it from a backup."
        ) from error
    if path.name != f"{change.uid}.{change.number:04d}.json":
        raise StoreError(
            f"{path} holds change {change.number} of calibration {change.uid}, and is not named so."
        )
    return change


def _write_new(path: Path, values: Mapping[str, Any]) -> bool:
    """Write JSON to a file that is not there yet; False if it is."""
    with _temporary(path.parent) as text:
        text.write_text(json.dumps(values, indent=2), encoding="utf-8")
        _flush(text)
        try:
            path.hardlink_to(text)  # unlike a rename, refuses to replace
        except FileExistsError:
            return False
    return True


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
