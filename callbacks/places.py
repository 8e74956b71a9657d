"""Where a frame is, as a number: the same frame always has the same one.

Documents can come twice, by another bus or after a restart, and under other uids. What a frame is
known by is therefore where it lies: the file, the data set and the row; or, for one that lies in an
event, what it holds.
"""

from __future__ import annotations

from collections.abc import Sequence
from hashlib import blake2b

import numpy as np
from numpy.typing import NDArray

from bluesky_azint.callbacks.assets import Asset
from bluesky_azint.callbacks.coverage import NOWHERE

Integers = NDArray[np.int64]

_WORD = 2**64


def places_in_asset(asset: Asset, start: int, stop: int) -> Integers:
    """The places of the frames of an asset, from `start` to before `stop`."""
    if asset.template is None:
        first = _digest(asset.name_of(start))
        numbers = [(first + row) % _WORD for row in range(start, stop)]
    else:
        per_file = asset.frames_per_file
        numbers = [
            (_digest(asset.name_of(row)) + row % per_file) % _WORD for row in range(start, stop)
        ]
    return _somewhere(np.array(numbers, dtype=np.uint64).view(np.int64))


def places_of_values(values: Sequence[object], frames_per_event: int) -> Integers:
    """The places of frames that are inside of events, by what the events hold."""
    places = np.array([_digest_of(value) for value in values], dtype=np.uint64).view(np.int64)
    return _somewhere(np.repeat(places, frames_per_event))


def _digest_of(value: object) -> int:
    try:
        content = np.ascontiguousarray(value, dtype=np.float64).tobytes()
    except (TypeError, ValueError, OverflowError):
        return 1  # it is no frame, which its reader will tell
    return int.from_bytes(blake2b(content, digest_size=8).digest(), "little")


def _somewhere(places: Integers) -> Integers:
    return np.where(places == NOWHERE, 1, places)


def _digest(name: str) -> int:
    return int.from_bytes(
        blake2b(name.encode(errors="backslashreplace"), digest_size=8).digest(), "little"
    )
