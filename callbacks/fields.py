"""Values out of documents, which may be anything that whoever wrote them put there."""

from __future__ import annotations

import reprlib
from collections.abc import Mapping
from numbers import Integral
from typing import Any

from bluesky_azint.errors import FrameError

# Beyond it numbers of frames are no longer exact wherever JSON has been; nobody takes so many.
_MOST = 2**53


def text(document: Mapping[str, Any], key: str, default: str | None = None) -> str:
    """A text.

    Raises
    ------
    FrameError
        If there is none, or something else.
    """
    value = document.get(key)
    if value is None and default is not None:
        return default
    if not isinstance(value, str):
        raise FrameError(
            f"A document that announces frames has {short(value)} where its {key!r} should be a text."
        )
    return value


def whole(value: object, what: str, least: int = 0, most: int = _MOST) -> int:
    """A whole number between two others.

    Raises
    ------
    FrameError
        If it is none.
    """
    if isinstance(value, Integral) or (isinstance(value, float) and value.is_integer()):
        number = int(value)
        if least <= number <= most and not isinstance(value, bool):
            return number
    raise FrameError(
        f"{what} is {short(value)}; it should be a whole number from {least} to {most}."
    )


def short(value: object) -> str:
    """A value as it can stand in a message, however long it is.

    >>> short("x" * 1000)
    "'xxxxxxxxxxxx...xxxxxxxxxxxxx'"
    """
    try:
        return _SHORT.repr(value)
    except Exception:  # noqa: BLE001  a number of 5000 digits, say
        return f"something of the type {type(value).__name__}"


_SHORT = reprlib.Repr()
_SHORT.maxlevel = 2
