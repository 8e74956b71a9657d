"""Room on a disk, made sure of before HDF5 writes.

HDF5 does not bear a disk that is full. What it could not write it may drop without a word, so that a
file lacks rows that were written without an error; and a file that it could not create ends the
process. So it is not given the chance.
"""

from __future__ import annotations

import os
from pathlib import Path
from tempfile import TemporaryFile

from bluesky_azint.errors import FormatError

# For what others write meanwhile, and for what HDF5 keeps of its own.
SPARE_BYTES = 16 * 2**20

_PROBE_BYTES = 2**20


def check_room(path: Path, size: int) -> None:
    """Make sure that a file can grow by so many bytes.

    Raises
    ------
    FormatError
        If the disk has no room for them, and some to spare.
    """
    disk = os.statvfs(path.parent)
    free = disk.f_bavail * disk.f_frsize
    if free < size + SPARE_BYTES:
        raise FormatError(_no_room(path, f"{free / 2**20:.0f} MiB are left"))


def check_new_file(path: Path) -> None:
    """Make sure that a file can be made, by making one beside it; quotas are met only then.

    Raises
    ------
    FormatError
        If the disk has no room for it, or nothing can be written there.
    """
    try:
        check_room(path, _PROBE_BYTES)
        with TemporaryFile(dir=path.parent) as file:
            os.posix_fallocate(file.fileno(), 0, _PROBE_BYTES)
    except OSError as error:
        raise FormatError(_no_room(path, str(error))) from error


def _no_room(path: Path, why: str) -> str:
    return (
        f"{path} cannot be written: there is no room for it ({why}). Make some; what is missing is "
        "then to be reduced again, which a service does by itself."
    )
