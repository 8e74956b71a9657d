"""Chunks: frames of an HDF5 file as they are stored, and their decoding.

Detectors write each frame as a chunk, its bits shuffled and packed by LZ4. HDF5 unpacks one chunk
after the other, behind one lock for all threads. Here chunks are read as they are, to be summed as
they are, or to be unpacked side by side: by the library ``bitshuffle`` where it is installed, else
by HDF5 again.
"""

from __future__ import annotations

import os
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from importlib.util import find_spec
from typing import Any

import h5py
import numpy as np
from numpy.typing import NDArray

from bluesky_azint.packed import PackedFrames

_BITSHUFFLE = 32008
_LZ4 = 2


def packed_frames(dataset: h5py.Dataset, start: int, stop: int) -> PackedFrames | None:
    """Frames of a dataset as they are stored.

    Parameters
    ----------
    dataset
        Of frames, ``(..., rows, columns)``; the leading dimensions (a map, say) are taken as one.
    start, stop
        Numbers of frames, counted from 0.

    Returns
    -------
    None if not every one of them is a chunk that is packed by bitshuffle and LZ4: for HDF5 to read.
    """
    if not _is_packed(dataset):
        return None
    chunks = []
    for place in zip(*np.unravel_index(np.arange(start, stop), dataset.shape[:-2]), strict=True):
        chunk = _packed_chunk(dataset, (*map(int, place), 0, 0))
        if chunk is None:
            return None
        chunks.append(chunk)
    return PackedFrames(
        chunks,
        frame_shape=dataset.shape[-2:],
        dtype=dataset.dtype,
        unpack=unpack,
        source=f"{dataset.file.filename}::{dataset.name}",
        first=start,
    )


def unpack(packed: PackedFrames) -> NDArray[Any]:
    """The frames themselves, ``(n, rows, columns)``.

    Raises
    ------
    ChunkError
        If one is damaged.
    """
    for frame in range(len(packed)):
        packed.check_chain(frame)
    return _by_bitshuffle(packed) if _has_bitshuffle() else _by_hdf5(packed)


def _is_packed(dataset: h5py.Dataset) -> bool:
    """Whether its chunks are frames, packed so that they can be read as they are."""
    whole_frames = (*(1 for _ in dataset.shape[:-2]), *dataset.shape[-2:])
    if dataset.ndim < 3 or dataset.chunks != whole_frames:
        return False
    if dataset.dtype.kind not in "iu" or dataset.dtype != dataset.dtype.newbyteorder("<"):
        return False
    filters = dataset.id.get_create_plist()
    if filters.get_nfilters() != 1:
        return False
    number, _, values, _ = filters.get_filter(0)
    # Two numbers of its version, bytes of an element, elements of a block, and how it packs.
    return bool(number == _BITSHUFFLE and values[4:5] == (_LZ4,))


def _packed_chunk(dataset: h5py.Dataset, place: tuple[int, ...]) -> bytes | None:
    """A chunk; None if it is not there, or was stored without being packed."""
    if dataset.id.get_chunk_info_by_coord(place).byte_offset is None:
        return None
    skipped_filters, chunk = dataset.id.read_direct_chunk(place)
    return None if skipped_filters else bytes(chunk)


@cache
def _has_bitshuffle() -> bool:
    return find_spec("bitshuffle") is not None


def _by_bitshuffle(packed: PackedFrames) -> NDArray[Any]:
    from bitshuffle import decompress_lz4

    frames = np.empty(packed.shape, packed.dtype)

    def decode(frame: int) -> None:
        chunk = np.frombuffer(packed.chunks[frame], np.uint8)[12:]
        try:
            frames[frame] = decompress_lz4(
                chunk, packed.frame_shape, packed.dtype, packed.block_size(frame)
            )
        except Exception as error:
            raise packed.damage(frame, f"it cannot be unpacked ({error})") from error

    with ThreadPoolExecutor(min(len(packed), os.cpu_count() or 1) or 1) as threads:
        list(threads.map(decode, range(len(packed))))
    return frames


def _by_hdf5(packed: PackedFrames) -> NDArray[Any]:
    """Unpack chunks in a file in memory."""
    from hdf5plugin import Bitshuffle

    frames = np.empty(packed.shape, packed.dtype)
    with h5py.File("packed", "w", driver="core", backing_store=False) as file:
        dataset = file.create_dataset(
            "data",
            shape=packed.shape,
            dtype=packed.dtype,
            chunks=(1, *packed.frame_shape),
            **Bitshuffle(cname="lz4"),
        )
        for frame, chunk in enumerate(packed.chunks):
            dataset.id.write_direct_chunk((frame, 0, 0), chunk)
            try:
                dataset.read_direct(frames, np.s_[frame], np.s_[frame])
            except OSError as error:
                raise packed.damage(frame, f"it cannot be unpacked ({error})") from error
    return frames
