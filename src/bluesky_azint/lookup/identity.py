"""Identity: a hash that equal look-ups have in common, and no others.

It is of all that a look-up is computed from: the place of the pixels, the bins, the mask, and the
version of the table itself. Names and files that a detector is known by are no part of it.
"""

from __future__ import annotations

import hashlib
from dataclasses import fields, is_dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bluesky_azint.detectors import Detector
from bluesky_azint.geometry import Geometry
from bluesky_azint.grid import Grid

Mask = NDArray[np.bool_]

# To be counted up whenever the same geometry and grid give another table, or files are other ones.
VERSION = 2

# What a detector is called, and what it says of frames; its mask is a part of that of the look-up.
_NO_MATTER = ("name", "mask", "dummy", "delta_dummy", "described_in")
_PACKAGE = __name__.partition(".")[0]


class _UnknownError(Exception):
    """There is something that two processes may understand differently."""


def identity(geometry: Geometry, grid: Grid, mask: Mask | None) -> str | None:
    """The hash of a look-up, 64 hexadecimal digits.

    None where there is none: units of one's own are Python functions, which may do anything.

    Parameters
    ----------
    geometry, grid, mask
        See `bluesky_azint.lookup.build_lookup`.
    """
    found = hashlib.sha256()
    packed = None if mask is None else np.packbits(mask)
    try:
        _add(found, [VERSION, geometry, grid, packed])
    except _UnknownError:
        return None
    return found.hexdigest()


def _add(found: Any, value: Any) -> None:  # noqa: ANN401 - hashes have no public type
    """Add a value, and where it ends, to a hash."""
    if isinstance(value, np.ndarray):
        found.update(f"{value.dtype.str}{value.shape}".encode())
        found.update(np.ascontiguousarray(value).data)
    elif isinstance(value, (list, tuple)):
        found.update(f"{len(value)}(".encode())
        for part in value:
            _add(found, part)
    elif is_dataclass(value) and not isinstance(value, type):
        found.update(_name(type(value)))
        dropped = _NO_MATTER if isinstance(value, Detector) else ()
        _add(found, [getattr(value, f.name) for f in fields(value) if f.name not in dropped])
    elif callable(value):
        found.update(_name(value))
    elif isinstance(value, float):
        found.update(f"{float(value).hex()};".encode())
    elif value is None or isinstance(value, (int, str)):
        found.update(f"{type(value).__name__}:{value!r};".encode())
    else:
        raise _UnknownError


def _name(known: Any) -> bytes:  # noqa: ANN401 - functions and classes
    """The name of a function or a class of this package."""
    module, name = getattr(known, "__module__", ""), getattr(known, "__qualname__", "<")
    if module.partition(".")[0] != _PACKAGE or "<" in name:
        raise _UnknownError
    return f"{module}.{name}:".encode()
