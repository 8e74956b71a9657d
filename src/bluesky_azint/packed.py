"""Packed frames: a stack of frames as the detector has written them, bits shuffled and LZ4.

Some engines sum them as they are. Everything else may take them for an array, which they become
when asked for it.

A packed frame begins with the number of its bytes and of those of a block, both big-endian, in
eight and in four bytes. Then come the blocks, each behind its length in four bytes, and last the
pixels that are too few for eight, as they are. See the "bitshuffle" filter of HDF5.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import DTypeLike, NDArray

from bluesky_azint.errors import ChunkError

_HEADER = struct.Struct(">QI")
_LENGTH = struct.Struct(">I")


@dataclass(frozen=True, eq=False)
class PackedFrames:
    """Frames, each of which is packed by itself.

    Parameters
    ----------
    chunks
        The packed frames.
    frame_shape
        Rows and columns of a frame.
    dtype
        Type of the pixels.
    unpack
        Makes an array ``(n, rows, columns)`` of packed frames.
    source, first
        Where they come from, and the number of the first of them there; for errors.
    """

    chunks: Sequence[bytes]
    frame_shape: tuple[int, int]
    dtype: np.dtype[Any]
    unpack: Callable[[PackedFrames], NDArray[Any]]
    source: str = "packed frames"
    first: int = 0

    @property
    def shape(self) -> tuple[int, int, int]:
        """Number of frames, rows and columns."""
        return len(self), *self.frame_shape

    @property
    def ndim(self) -> int:
        """Three: they are a stack."""
        return len(self.shape)

    @property
    def n_pixels(self) -> int:
        """Pixels of a frame."""
        return self.frame_shape[0] * self.frame_shape[1]

    def __len__(self) -> int:
        return len(self.chunks)

    def __getitem__(self, rows: slice) -> PackedFrames:
        """Some of the frames, one after the other."""
        start, _, _ = rows.indices(len(self))
        return replace(self, chunks=self.chunks[rows], first=self.first + start)

    def __array__(self, dtype: DTypeLike | None = None, copy: bool | None = None) -> NDArray[Any]:
        """The frames themselves, ``(n, rows, columns)``."""
        if copy is False:
            raise ValueError("Packed frames have to be unpacked, which makes a copy.")
        return np.asarray(self.unpack(self), dtype=dtype)

    def flat(self) -> NDArray[Any]:
        """The frames themselves, ``(n, n_pixels)``."""
        return np.asarray(self).reshape(len(self), -1)

    def block_size(self, frame: int) -> int:
        """How many pixels a block of a frame has.

        Raises
        ------
        ChunkError
            If the frame does not begin as it should.
        """
        chunk, item = self.chunks[frame], self.dtype.itemsize
        if len(chunk) < _HEADER.size:
            raise self.damage(frame, "it is cut off before its first block")
        size, block = _HEADER.unpack_from(chunk)
        if size != self.n_pixels * item:
            raise self.damage(
                frame,
                f"it says that it unpacks to {size} bytes, a frame has {self.n_pixels * item}",
            )
        if block == 0 or block % (8 * item):
            raise self.damage(frame, f"it says that its blocks have {block} bytes")
        return int(block) // item

    def check_chain(self, frame: int) -> None:
        """See that a frame has all its blocks, which decoders trust it to.

        Raises
        ------
        ChunkError
            If it has not.
        """
        chunk, item = self.chunks[frame], self.dtype.itemsize
        block = self.block_size(frame)
        at = _HEADER.size
        for number in range(-(-(self.n_pixels // 8 * 8) // block)):
            if at + _LENGTH.size > len(chunk):
                raise self.damage(frame, f"it is cut off before block {number}")
            at += _LENGTH.size + _LENGTH.unpack_from(chunk, at)[0]
            if at > len(chunk):
                raise self.damage(frame, f"it is cut off in block {number}")
        if at + self.n_pixels % 8 * item > len(chunk):
            raise self.damage(frame, "it is cut off before its last pixels")

    def damage(self, frame: int, what: str) -> ChunkError:
        """The error that tells what is wrong with a frame."""
        return ChunkError(
            f"Frame {self.first + frame} of {self.source} is damaged: {what}. Copy the file again "
            "from where it was written, or leave that frame out."
        )
