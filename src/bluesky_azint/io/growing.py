"""HDF5 files that another process may still be writing."""

from __future__ import annotations

import struct
from pathlib import Path

import h5py

from bluesky_azint.errors import FormatError

_SIGNATURE = b"\x89HDF\r\n\x1a\n"
_HEAD = 64
# Where the superblock of the versions that know this mode has the end of the file.
_FIRST_VERSION = 3
_END = slice(28, 36)


def open_growing(path: str | Path) -> h5py.File:
    """Open a file for reading beside its writer (SWMR).

    A file that is cut off is refused first. HDF5 would take what lies beyond its end for something
    that is just being written: it waits for metadata for ever, and reads data as zeros.

    Raises
    ------
    FormatError
        If the file is cut off.
    OSError
        If it cannot be opened so.
    """
    with Path(path).open("rb") as file:
        head = file.read(_HEAD)
        size = file.seek(0, 2)
    if len(head) == _HEAD and head.startswith(_SIGNATURE) and head[8] >= _FIRST_VERSION:
        (end,) = struct.unpack("<Q", head[_END])
        if size < end:
            raise FormatError(f"{path} is cut off: it has {size} of {end} bytes.")
    return h5py.File(path, "r", swmr=True)
