"""What a record refers to by its SHA-256: files, and the places of pixels.

A store keeps each content once, and checks it against that name when it is read back.
"""

from __future__ import annotations

import hashlib
import zipfile
from collections.abc import Callable, Iterator, Mapping
from dataclasses import fields
from io import BytesIO
from typing import Any, Self

import numpy as np

from bluesky_azint import pixels as kinds
from bluesky_azint.errors import StoreError
from bluesky_azint.pixels import Pixels


class Files(Mapping[str, bytes]):
    """Files by their names; each is read when it is asked for.

    Parameters
    ----------
    digests
        SHA-256 of each, by its name.
    read
        Gives the content of a SHA-256.
    """

    def __init__(self, digests: Mapping[str, str], read: Callable[[str], bytes]) -> None:
        self.digests = dict(digests)
        self._read = read

    @classmethod
    def of(cls, contents: Mapping[str, bytes]) -> Self:
        """Files of these contents."""
        kept = {digest_of(content): bytes(content) for content in contents.values()}
        digests = {name: digest_of(content) for name, content in contents.items()}
        return cls(digests, kept.__getitem__)

    def __getitem__(self, name: str) -> bytes:
        """The content of a file."""
        return self._read(self.digests[name])

    def __iter__(self) -> Iterator[str]:
        return iter(self.digests)

    def __len__(self) -> int:
        return len(self.digests)

    def __repr__(self) -> str:
        return f"Files({self.digests!r})"


def digest_of(content: bytes) -> str:
    """SHA-256 of a content."""
    return hashlib.sha256(content).hexdigest()


def checked_content(content: bytes, digest: str, where: str) -> bytes:
    """The content, read from ``where``, if it still is the one of that SHA-256.

    Raises
    ------
    StoreError
        If it is not.
    """
    if digest_of(content) != digest:
        raise StoreError(
            f"The file at {where} is damaged: its SHA-256 is not the {digest} it was stored "
            "under. Restore it from a backup, or save a new calibration."
        )
    return content


def no_content(digest: str) -> bytes:
    """Refuse to read a content.

    Raises
    ------
    StoreError
        Always.
    """
    raise StoreError(f"The file of the SHA-256 {digest} is not there.")


def pixels_to_bytes(pixels: Pixels) -> bytes:
    """Where pixels lie, as the content of an ``.npz`` file: the name of their class, its fields."""
    values: dict[str, Any] = {
        entry.name: getattr(pixels, entry.name)
        for entry in fields(pixels)  # type: ignore[arg-type]
        if entry.init
    }
    buffer = BytesIO()
    np.savez_compressed(buffer, kind=np.array(type(pixels).__name__), **values)
    return buffer.getvalue()


def pixels_from_bytes(content: bytes) -> Pixels:
    """The pixels that `pixels_to_bytes` gave.

    Raises
    ------
    StoreError
        If the content is of no pixels that are known.
    """
    try:
        with np.load(BytesIO(content), allow_pickle=False) as arrays:
            values = {name: _value(arrays[name]) for name in arrays.files}
        pixels: Pixels = getattr(kinds, str(values.pop("kind")))(**values)
    except (AttributeError, KeyError, TypeError, ValueError, zipfile.BadZipFile) as error:
        raise StoreError(
            f"The places of its pixels cannot be read: {error!r}. If they were stored by a later "
            "version of bluesky-azint, update it."
        ) from error
    return pixels


def _value(array: np.ndarray[Any, Any]) -> object:
    """A number or text that became an array of no dimension, or a shape that became a vector."""
    return tuple(array.tolist()) if array.ndim == 1 else array if array.ndim else array.item()
