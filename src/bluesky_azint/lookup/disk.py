"""Disk: look-ups in files, for the next process that needs the same.

One ``.npz`` file each, without pickle, under the hash of what it was computed from (`identity`). It
appears at once or not at all, so that several processes may share a folder. A file that is damaged,
or is none of these, is removed, and whatever goes wrong is told in the log alone: what is not there
is computed.
"""

from __future__ import annotations

import logging
import os
import tempfile
import time
import zipfile
import zlib
from contextlib import suppress
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bluesky_azint.lookup.table import Entries, Lookup

logger = logging.getLogger(__name__)

# The variable that moves the files, or with OFF does without.
VARIABLE, OFF = "AZINT_CACHE", "off"

SUFFIX, UNFINISHED = ".npz", ".part"

# A file that was begun so long ago, in seconds, is one that nobody will finish.
GIVEN_UP = 3600.0

# A RuntimeError is of members that seem to be encrypted, or packed in an unknown way.
_BROKEN = (OSError, EOFError, ValueError, KeyError, RuntimeError, zipfile.BadZipFile, zlib.error)


@dataclass(frozen=True)
class Disk:
    """A folder of look-ups.

    Parameters
    ----------
    folder
        Where they are; it is made when it is needed.
    limit
        In bytes; the ones that were not used for the longest time are removed.
    """

    folder: Path
    limit: int

    def read(self, key: str, n_pixels: int, n_bins: int) -> Lookup | None:
        """The look-up of that hash; None if there is none, of so many pixels and bins."""
        path = self.folder / f"{key}{SUFFIX}"
        try:
            with path.open("rb") as file:
                lookup = _load(file, key, n_pixels, n_bins)
        except FileNotFoundError:
            return None
        except _BROKEN as error:
            logger.warning("The stored look-up %s is of no use and is removed: %s", path, error)
            with suppress(OSError):
                path.unlink()
            return None
        with suppress(OSError):  # others' folders can be read, too
            os.utime(path)
        return lookup

    def write(self, key: str, lookup: Lookup) -> None:
        """Store a look-up, and remove others if there are too many."""
        if lookup.nbytes > self.limit:
            return
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            handle, name = tempfile.mkstemp(UNFINISHED, dir=self.folder)
            try:
                with os.fdopen(handle, "wb") as file:
                    np.savez(file, **_arrays(key, lookup))  # type: ignore[arg-type]
                Path(name).replace(self.folder / f"{key}{SUFFIX}")
            except BaseException:
                Path(name).unlink(missing_ok=True)
                raise
            self._make_room()
        except OSError as error:
            logger.warning("A look-up cannot be stored in %s: %s", self.folder, error)

    def _make_room(self) -> None:
        """Remove what is too much, and what was never finished."""
        found = []
        for path in self.folder.iterdir():
            with suppress(FileNotFoundError):
                status = path.stat()
                if path.suffix == SUFFIX:
                    found.append((status.st_mtime, status.st_size, path))
                elif path.suffix == UNFINISHED and time.time() - status.st_mtime > GIVEN_UP:
                    path.unlink(missing_ok=True)
        total = sum(size for _, size, _ in found)
        for _, size, path in sorted(found):
            if total <= self.limit:
                break
            path.unlink(missing_ok=True)
            total -= size


def user_disk(limit: int) -> Disk | None:
    """The folder of the user, or the one that the variable AZINT_CACHE names; None for "off"."""
    wanted = os.environ.get(VARIABLE, "")
    if wanted.lower() == OFF:
        return None
    if wanted:
        return Disk(Path(wanted), limit)
    from platformdirs import user_cache_path

    return Disk(user_cache_path("bluesky-azint") / "lookups", limit)


def _arrays(key: str, lookup: Lookup) -> dict[str, NDArray[Any]]:
    arrays = {
        "key": np.array(key),
        "n_bins": np.array(lookup.n_bins),
        "offsets": np.array(lookup.offsets),
        "columns": np.array(lookup.columns),
        "first": lookup.first,
        "shares": lookup.shares,
        "spans": lookup.spans,
    }
    if lookup.rest is not None:
        arrays |= {f"rest_{f.name}": getattr(lookup.rest, f.name) for f in fields(Entries)}
    present = {name: array for name, array in arrays.items() if array is not None}
    # Checksums are of what is there: a damaged table of contents may hide some.
    return present | {"names": np.array([*present])}


def _load(file: Any, key: str, n_pixels: int, n_bins: int) -> Lookup:  # noqa: ANN401 - a file
    """Read a look-up; NumPy compares the checksum of every array.

    Raises
    ------
    ValueError
        If it is another one, or cannot be.
    """
    with np.load(file, allow_pickle=False) as stored:
        arrays = dict(stored)
    if set(arrays.pop("names").tolist()) != set(arrays):
        raise ValueError("parts of it are missing.")
    rest = None
    if "rest_pixels" in arrays:
        rest = Entries(*(arrays[f"rest_{field.name}"] for field in fields(Entries)))
    lookup = Lookup(
        int(arrays["n_bins"]),
        arrays["first"],
        arrays.get("shares"),
        tuple(arrays["offsets"].tolist()),
        arrays.get("spans"),
        rest,
        int(arrays["columns"]),
    )
    if str(arrays["key"]) != key or (lookup.n_pixels, lookup.n_bins) != (n_pixels, n_bins):
        raise ValueError("it is that of something else.")
    if not possible(lookup):
        raise ValueError("its numbers are impossible.")
    return lookup


def possible(lookup: Lookup) -> bool:
    """Whether every pixel touches bins that there are: others would be looked for in memory."""
    n_bins, n_pixels, rest = lookup.n_bins, lookup.n_pixels, lookup.rest
    last = lookup.first
    if lookup.spans is not None:
        last = lookup.first + lookup.spans.astype(np.uint32)
    good = lookup.first.ndim == 1 and last.max(initial=0) <= n_bins
    if lookup.shares is not None:
        columns = 2 if lookup.spans is not None else len(lookup.offsets) - 1
        good &= lookup.shares.shape == (n_pixels, columns) or (
            lookup.shares.shape == (n_pixels, 2) and lookup.cells
        )
    if rest is not None:
        good &= rest.indptr.shape == (rest.pixels.size + 1,) and rest.indptr[0] == 0
        good &= rest.indptr[-1] == rest.bins.size == rest.weights.size
        good &= bool((np.diff(rest.indptr) >= 0).all() and (np.diff(rest.pixels) > 0).all())
        good &= _within(rest.bins, n_bins) and _within(rest.pixels, n_pixels)
    return bool(good)


def _within(numbers: NDArray[np.int32], end: int) -> bool:
    return bool(numbers.min(initial=0) >= 0 and numbers.max(initial=0) < end)
