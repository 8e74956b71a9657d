"""Where darks are kept for later runs: a directory with a file for each, and no more than so many."""

from __future__ import annotations

import json
import logging
import os
import re
import time
import zipfile
from collections import OrderedDict
from dataclasses import asdict
from hashlib import blake2b
from pathlib import Path
from uuid import uuid4

import numpy as np

from bluesky_azint.callbacks.companions.darks import Dark, DarkLabel
from bluesky_azint.errors import FormatError

logger = logging.getLogger(__name__)

_IN_MEMORY = 3
_PARTIAL = ".partial"
_ABANDONED_SECONDS = 3600.0
_DAMAGED = (OSError, ValueError, KeyError, TypeError, EOFError, zipfile.BadZipFile)


class DarkShelf:
    """Keeps darks.

    Parameters
    ----------
    directory
        Where; made when it is needed. None keeps the last few in memory alone.
    keep
        How many files of the same images stay; the youngest do.
    """

    def __init__(self, directory: Path | None, *, keep: int) -> None:
        self._directory = directory
        self._keep = keep
        self._labels: dict[str, DarkLabel | None] = {}  # by name of the file; None is damaged
        self._memory: OrderedDict[DarkLabel, Dark] = OrderedDict()

    def labels(self, data_key: str, shape: tuple[int, int]) -> list[DarkLabel]:
        """What there is of some images, the oldest first."""
        known = {*self._memory, *self._on_disk()}
        fitting = [one for one in known if one.data_key == data_key and one.shape == shape]
        return sorted(fitting, key=lambda label: (label.time, label.raw_uid, label.number))

    def put(self, dark: Dark) -> None:
        """Keep a dark; one that cannot be written, because a disk is full, stays in memory."""
        self._remember(dark)
        if self._directory is None:
            return
        path = self._directory / _file_name(dark.label)
        try:
            self._directory.mkdir(parents=True, exist_ok=True)
            _write(dark, path)
            self._labels[path.name] = dark.label
            self._prune(dark.label)
        except OSError as error:
            logger.error(
                "The dark frame of %r of run %s cannot be kept in %s, and will be lost when this "
                "process ends: %s. Make room there, and see that it may be written.",
                *(dark.label.data_key, dark.label.raw_uid, self._directory, error),
            )

    def get(self, label: DarkLabel) -> Dark:
        """The dark of that label.

        Raises
        ------
        FormatError
            If its file is gone, or damaged.
        """
        if label not in self._memory:
            path = (self._directory or Path()) / _file_name(label)
            try:
                with path.open("rb") as raw, np.load(raw, allow_pickle=False) as file:
                    dark = Dark(label=label, mean=file["mean"], variance=file["variance"])
            except _DAMAGED as error:
                raise FormatError(
                    f"The dark frame {path} cannot be read: {error}. Remove it, and take darks "
                    "again."
                ) from error
            self._remember(dark)
        self._memory.move_to_end(label)
        return self._memory[label]

    def _remember(self, dark: Dark) -> None:
        for label in list(self._memory):  # the same one, of fewer frames
            if _file_name(label) == _file_name(dark.label):
                del self._memory[label]
        self._memory[dark.label] = dark
        self._memory.move_to_end(dark.label)
        while len(self._memory) > _IN_MEMORY:
            self._memory.popitem(last=False)

    def _on_disk(self) -> list[DarkLabel]:
        if self._directory is None or not self._directory.is_dir():
            return []
        names = {path.name for path in self._directory.glob("*.npz")}
        for name in names - self._labels.keys():
            self._labels[name] = _read_label(self._directory / name)
        found = (self._labels[name] for name in names)
        return [label for label in found if label is not None]

    def _prune(self, newest: DarkLabel) -> None:
        labels = [one for one in self._on_disk() if one.data_key == newest.data_key]
        oldest_first = sorted(labels, key=lambda label: (label.time, label.number))
        directory = self._directory or Path()
        for label in oldest_first[: max(len(labels) - self._keep, 0)]:
            (directory / _file_name(label)).unlink(missing_ok=True)
        for path in directory.glob(f"*{_PARTIAL}"):  # of processes that were killed
            if time.time() - path.stat().st_mtime > _ABANDONED_SECONDS:
                path.unlink(missing_ok=True)


def _write(dark: Dark, path: Path) -> None:
    """Write the file as a whole, or not at all."""
    partial = path.with_suffix(f".{uuid4().hex}{_PARTIAL}")  # another process may write it, too
    try:
        with partial.open("wb") as file:
            label = np.array(json.dumps(asdict(dark.label)))
            np.savez(file, label=label, mean=dark.mean, variance=dark.variance)
            file.flush()
            os.fsync(file.fileno())
        partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)


def _read_label(path: Path) -> DarkLabel | None:
    try:
        with path.open("rb") as raw, np.load(raw, allow_pickle=False) as file:
            values = json.loads(str(file["label"]))
        return DarkLabel(**{**values, "shape": tuple(values["shape"])})
    except _DAMAGED as error:
        logger.warning("%s is no dark frame that can be used, and is left alone: %s", path, error)
        return None


def _file_name(label: DarkLabel) -> str:
    """The same for the same dark, and harmless whatever the documents say."""
    known_by = f"{label.data_key}/{label.raw_uid}/{label.number}"
    digest = blake2b(known_by.encode(), digest_size=8).hexdigest()
    return f"{re.sub(r'[^A-Za-z0-9_-]', '-', label.data_key)[:60]}-{digest}.npz"
