"""Whether a document is one: has what it needs, of the types and the sizes that it should have.

A bus takes documents from whoever can reach it, and a service has to survive them all. What is
checked here need not be feared further on: that a name is missing or a number is a text, and that a
number is so large that the memory for what it counts is not there. `event_model` has schemas for
the same purpose; to check an event with an image by them takes milliseconds.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from bluesky_azint.callbacks.fields import short
from bluesky_azint.errors import DocumentError

# Events of a stream. At a kilohertz they last for an hour, and their patterns fill 200 GB.
MOST_EVENTS = 2**22

# Frames of an event.
MOST_FRAMES = 10**6

_LONGEST_TEXT = 1000
_LARGEST = 2**53


def check_document(name: object, doc: object) -> None:
    """Make sure that a document can be worked with.

    Raises
    ------
    DocumentError
        If it cannot; it says what is wrong.
    """
    check = _CHECKS.get(name) if isinstance(name, str) else None
    if check is None:
        raise DocumentError(f"There are no documents of the kind {short(name)}.")
    if not isinstance(doc, Mapping):
        raise DocumentError(f"A {name} is {short(doc)}, and not a table of names and values.")
    try:
        check(doc)
    except Exception as error:
        # Of what may stand in a document more is conceivable than can be thought of here.
        reason = f"its {error}" if isinstance(error, _Unsound) else f"{type(error).__name__}"
        raise DocumentError(
            f"A {name} cannot be used: {reason}. It was left out; see what has sent it."
        ) from error


class _Unsound(Exception):
    """What is wrong with a document: a name, and a value."""


def _text(doc: Mapping[str, Any], *names: str) -> None:
    for name in names:
        value = doc.get(name)
        if not isinstance(value, str) or len(value) > _LONGEST_TEXT:
            raise _Unsound(f"{name!r} is {short(value)}, and should be a text")


def _table(doc: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    value = doc.get(name)
    if not isinstance(value, Mapping) or not all(isinstance(key, str) for key in value):
        raise _Unsound(f"{name!r} is {short(value)}, and should be a table")
    return value


def _list(doc: Mapping[str, Any], name: str, length: int | None = None) -> Sequence[Any]:
    value = doc.get(name)
    if isinstance(value, np.ndarray):
        value = list(value)
    if not isinstance(value, list | tuple):
        raise _Unsound(f"{name!r} is {short(value)}, and should be a list")
    if length is not None and len(value) != length:
        raise _Unsound(f"{name!r} has {len(value)} values, and should have {length}")
    return value


def _whole(value: object, name: str, least: int, most: int) -> int:
    whole = isinstance(value, int | np.integer) or (isinstance(value, float) and value % 1 == 0)
    if not whole or isinstance(value, bool) or not least <= value <= most:  # type: ignore[operator]
        raise _Unsound(
            f"{name!r} is {short(value)}, and should be a whole number from {least} to {most}"
        )
    return int(value)  # type: ignore[call-overload, no-any-return]


def _time(value: object) -> None:
    if not isinstance(value, int | float | np.number) or not -_LARGEST < value < _LARGEST:
        raise _Unsound(f"'time' is {short(value)}, and should be a number of seconds")


def _check_start(doc: Mapping[str, Any]) -> None:
    _text(doc, "uid")
    _time(doc.get("time"))


def _check_descriptor(doc: Mapping[str, Any]) -> None:
    _text(doc, "uid", "run_start", "name")
    data_keys = _table(doc, "data_keys")
    for name in data_keys:
        key = _table(data_keys, name)
        if key.get("shape") is not None:
            shape = [
                _whole(size or 0, "shape", 0, _LARGEST)
                for size in _list(key, "shape")
                if size is not None
            ]
            _whole(math.prod(size or 1 for size in shape[:-2]), "shape", 1, MOST_FRAMES)
        kind = key.get("dtype_numpy")
        if isinstance(kind, str):
            try:
                np.dtype(kind)
            except Exception as error:
                raise _Unsound(f"'dtype_numpy' is {short(kind)}, which is no type") from error
    for name in ("configuration", "object_keys", "hints"):
        if doc.get(name) is not None:
            _table(doc, name)


def _check_resource(doc: Mapping[str, Any]) -> None:
    _text(doc, "uid")
    if doc.get("run_start") is not None:
        _text(doc, "run_start")


def _check_stream_resource(doc: Mapping[str, Any]) -> None:
    _check_resource(doc)
    _text(doc, "data_key")


def _check_datum(doc: Mapping[str, Any]) -> None:
    _text(doc, "datum_id", "resource")
    _table(doc, "datum_kwargs")


def _check_datum_page(doc: Mapping[str, Any]) -> None:
    _text(doc, "resource")
    ids = _list(doc, "datum_id")
    for value in ids:
        _text({"datum_id": value}, "datum_id")
    columns = _table(doc, "datum_kwargs")
    for name in columns:
        _list(columns, name, len(ids))


def _check_event(doc: Mapping[str, Any]) -> None:
    _text(doc, "descriptor")
    _whole(doc.get("seq_num"), "seq_num", 1, MOST_EVENTS)
    _time(doc.get("time"))
    _table(doc, "data")


def _check_event_page(doc: Mapping[str, Any]) -> None:
    _text(doc, "descriptor")
    seq_nums = _list(doc, "seq_num")
    for value in seq_nums:
        _whole(value, "seq_num", 1, MOST_EVENTS)
    for value in _list(doc, "time", len(seq_nums)):
        _time(value)
    columns = _table(doc, "data")
    for name in columns:
        _list(columns, name, len(seq_nums))


def _check_stream_datum(doc: Mapping[str, Any]) -> None:
    _text(doc, "descriptor", "stream_resource")
    for name, least, most in (("indices", 0, _LARGEST), ("seq_nums", 1, MOST_EVENTS + 1)):
        ends = _table(doc, name)
        start = _whole(ends.get("start"), name, least, most)
        _whole(ends.get("stop"), name, start, most)


def _check_stop(doc: Mapping[str, Any]) -> None:
    _text(doc, "run_start", "exit_status")
    reason = doc.get("reason")
    if reason is not None and not isinstance(reason, str):
        raise _Unsound(f"'reason' is {short(reason)}, and should be a text")
    if "num_events" in doc:
        counts = _table(doc, "num_events")
        for value in counts.values():
            _whole(value, "num_events", 0, MOST_EVENTS)


_CHECKS: dict[str, Callable[[Mapping[str, Any]], None]] = {
    "start": _check_start,
    "descriptor": _check_descriptor,
    "resource": _check_resource,
    "stream_resource": _check_stream_resource,
    "datum": _check_datum,
    "datum_page": _check_datum_page,
    "event": _check_event,
    "event_page": _check_event_page,
    "stream_datum": _check_stream_datum,
    "stop": _check_stop,
}
