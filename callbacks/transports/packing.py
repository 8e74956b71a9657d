"""Documents as bytes: MessagePack, with NumPy's arrays and scalars as extensions of it.

What comes over a bus comes from anyone who can reach it. Unlike a pickle, these bytes can only ever
become numbers, text, bytes, lists and dictionaries of them, and arrays; and never more memory than
some ten times their own length.

========================= ============================================================
in the document           in the message, and from it
========================= ============================================================
array (b i u f c U S)     extension 1: dtype, shape, elements in C order; an array again
NumPy scalar, ``complex`` extension 2: the same without dimensions; a NumPy scalar again
tuple                     a list
``float64``               a float, which it is
========================= ============================================================
"""

from __future__ import annotations

import math
import re
import reprlib
from collections.abc import Mapping
from typing import Any

import msgpack
import numpy as np
from event_model import DocumentNames

from bluesky_azint.errors import FormatError

Document = Mapping[str, Any]

MAX_BYTES = 500 * 2**20  # Redis takes no more than 512 MiB in one piece
_ARRAY, _SCALAR = 1, 2
# The dtypes that are taken. All others that NumPy reads out of a text stay unread.
_DTYPE = re.compile(r"[<>|=](b1|[iufcSU][1-9][0-9]{0,7})")
_PICKLES = tuple(bytes([0x80, protocol]) for protocol in (2, 3, 4, 5))


def pack(doc: Document) -> bytes:
    """Write a document as bytes.

    It fits bluesky's ``Publisher(serializer=pack)``.

    >>> unpack(pack({"seq_num": 1, "data": {"x": np.float32(0.5)}}))
    {'seq_num': 1, 'data': {'x': np.float32(0.5)}}

    Parameters
    ----------
    doc
        The document.

    Raises
    ------
    FormatError
        If there is something in it that is neither a number, text, bytes, an array of these, nor a
        list or a dictionary; or if it is larger than `MAX_BYTES`.
    """
    try:
        message: bytes = msgpack.packb(doc, default=_extension)
    except FormatError:
        raise
    except (TypeError, ValueError, OverflowError, RecursionError, MemoryError) as error:
        raise FormatError(f"A document cannot be written as a message: {error}.") from error
    if len(message) > MAX_BYTES:
        raise FormatError(
            f"A document makes a message of {len(message)} bytes, where {MAX_BYTES} are the most. "
            "Let the detector write its frames to a file, so that documents only tell where."
        )
    return message


def unpack(message: bytes) -> dict[str, Any]:
    """Read a document from bytes that `pack` wrote.

    It fits bluesky's ``RemoteDispatcher(deserializer=unpack)``.

    Parameters
    ----------
    message
        The bytes, from whomever.

    Raises
    ------
    FormatError
        If they are anything else than a document.
    """
    if message.startswith(_PICKLES) and message.endswith(b"."):
        raise FormatError(
            "A message is pickled, and is not read, since that could run any program. Publish "
            "with bluesky_azint.callbacks.transports.zmq_publisher(address), or with "
            "bluesky's Publisher(address, serializer=pack)."
        )
    if len(message) > MAX_BYTES:
        raise FormatError(f"A message has {len(message)} bytes, where {MAX_BYTES} are the most.")
    try:
        doc = msgpack.unpackb(message, ext_hook=_extended, strict_map_key=False, timestamp=1)
    except FormatError:
        raise
    except (TypeError, ValueError, RecursionError, MemoryError) as error:
        what = str(error) or type(error).__name__
        raise FormatError(f"A message is no MessagePack, or is cut off: {what}.") from error
    if not isinstance(doc, dict) or not all(isinstance(key, str) for key in doc):
        raise FormatError(f"A message holds {_shown(doc)} in place of a document.")
    return doc


def unpack_named(name: bytes, message: bytes) -> tuple[str, dict[str, Any]]:
    """Read a document and its name.

    Parameters
    ----------
    name
        One of event-model's: ``b"start"``, ``b"event"``, ...
    message
        The bytes of the document.

    Raises
    ------
    FormatError
        If there is no such name, or if the bytes are no document.
    """
    text = name.decode(errors="replace")
    if text not in DocumentNames.__members__:
        raise FormatError(f"A message is called {_shown(text)}, as no document is.")
    return text, unpack(message)


def _extension(value: object) -> object:
    """What MessagePack does not know, in terms of what it knows."""
    if isinstance(value, complex):
        value = np.complex128(value)
    if isinstance(value, np.ndarray | np.generic) and _DTYPE.fullmatch(value.dtype.str):
        code = _ARRAY if isinstance(value, np.ndarray) else _SCALAR
        parts = (value.dtype.str, value.shape, value.tobytes())
        return msgpack.ExtType(code, msgpack.packb(parts))
    if isinstance(value, Mapping):
        return dict(value)
    of = f" of {value.dtype}" if isinstance(value, np.ndarray) else ""
    raise FormatError(
        f"A document holds {_shown(value)}, a value of the type {type(value).__name__}{of}, which "
        "no message can carry. Put a number, text, or a list or an array of these in its place."
    )


def _extended(code: int, payload: bytes) -> object:
    """The array or scalar in an extension."""
    if code not in (_ARRAY, _SCALAR):
        raise FormatError(f"A message holds an extension {code}, which is not known here.")
    match msgpack.unpackb(payload):
        case [str(dtype), [*shape], bytes(data)] if _DTYPE.fullmatch(dtype) and _is_shape(shape):
            pass
        case _:
            raise FormatError("A message holds an array without its dtype, shape or elements.")
    if len(data) != math.prod(shape) * np.dtype(dtype).itemsize:
        raise FormatError(
            f"A message holds {len(data)} bytes for an array of {dtype} with shape {shape}."
        )
    # A copy of the bytes, for an array that may be written to.
    array = np.ndarray(shape, dtype, bytearray(data))
    return array if code == _ARRAY else array[()]


def _is_shape(shape: list[object]) -> bool:
    return all(type(length) is int for length in shape)  # that they are positive, NumPy checks


def _shown(value: object) -> str:
    """A value in an error message: short, whatever it is."""
    try:
        return reprlib.repr(value)
    except Exception:  # noqa: BLE001  someone else's __repr__
        return "..."
