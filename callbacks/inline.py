"""Frames that stand inside of events, as arrays or, from JSON, as nested lists."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bluesky_azint.callbacks.data_keys import frames_per_event
from bluesky_azint.errors import FrameError


def frames_of_values(
    values: Sequence[object],
    data_key: Mapping[str, Any],
    start: int,
    stop: int,
    *,
    max_bytes: int,
) -> NDArray[Any]:
    """Frames of several events as one array.

    Parameters
    ----------
    values
        What each event holds: ``(rows, columns)`` or ``(frames_per_event, rows, columns)``.
    data_key
        Describes them; the type of nested lists is taken from it.
    start, stop
        Which frames, counted from 0 through all events.
    max_bytes
        How much to give at once, at the most; at least one event.

    Returns
    -------
    Array (n, rows, columns), n >= 1; that of a single event is not copied.

    Raises
    ------
    FrameError
        If the values are no frames, not as many as described, or differ in shape or type.
    """
    count = frames_per_event(data_key)
    first = start // count
    frames = _frames(values[first], data_key)
    last = min(-(-stop // count), first + max(1, max_bytes // max(frames.nbytes, 1)))
    parts = [frames, *(_frames(value, data_key) for value in values[first + 1 : last])]
    if any(part.shape != frames.shape or part.dtype != frames.dtype for part in parts):
        raise FrameError("The frames differ in shape or type from one event to the next.")
    stack = np.concatenate(parts) if len(parts) > 1 else frames
    return stack[start - first * count : stop - first * count]


def _frames(value: object, data_key: Mapping[str, Any]) -> NDArray[Any]:
    try:
        dtype = None if isinstance(value, np.ndarray) else data_key.get("dtype_numpy")
        array = np.asarray(value, dtype=dtype)
    except (TypeError, ValueError, OverflowError) as error:
        raise FrameError(f"The event holds no array of numbers: {error}.") from error
    if array.ndim < 2 or array.dtype.kind not in "biuf" or array.size == 0:
        raise FrameError(
            f"The event holds an array {array.shape} of {array.dtype}, which is no image."
        )
    frames = array.reshape(-1, *array.shape[-2:])
    if len(frames) != frames_per_event(data_key):
        raise FrameError(
            f"The event holds {len(frames)} frames, but its data key describes "
            f"{frames_per_event(data_key)}; correct the shape that the device describes."
        )
    return frames
