"""Frames from the files that documents announce, also while the files are being written.

HDF5 files are opened for reading beside a writer (SWMR), stay open as long as their run, and are
refreshed before each reading. That is needed for more than new lengths: HDF5 remembers which
chunks were not there yet, and would give zeros for frames that have been written meanwhile. For
the same reason it is asked whether each frame that is read has been written at all.

A file that is late, or that is still too short, is tried again until a deadline.
"""

from __future__ import annotations

import math
import time
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import h5py
import numpy as np
from numpy.typing import NDArray

from bluesky_azint.callbacks.assets import Asset
from bluesky_azint.errors import FormatError, FrameError
from bluesky_azint.io.chunks import packed_frames
from bluesky_azint.io.images import open_frames
from bluesky_azint.packed import PackedFrames

POLL_SECONDS = 0.02

# A writer that does not know SWMR locks its file; what it has flushed can be read nevertheless.
_WAYS_TO_OPEN: tuple[dict[str, bool], ...] = ({"swmr": True}, {}, {"locking": False})


class FrameReader:
    """Reads frames of assets.

    Parameters
    ----------
    max_bytes
        How much to read at once, at the most; at least one frame.
    """

    def __init__(self, *, max_bytes: int) -> None:
        self.max_bytes = max_bytes
        self._open: dict[str, tuple[h5py.File, h5py.Dataset]] = {}

    def read(
        self, asset: Asset, start: int, stop: int, *, deadline: float = 0.0
    ) -> NDArray[Any] | PackedFrames:
        """Frames of an asset from `start` on, as many before `stop` as may be read at once.

        Parameters
        ----------
        asset
            Where they are.
        start, stop
            Numbers of frames, counted from 0 through the whole asset.
        deadline
            Until when, on ``time.monotonic()``, to wait for frames that are not there yet.

        Returns
        -------
        Array (n, rows, columns), n >= 1, of the type that the file has; or the same as it is packed
        there. Each begins as it should then; whether it is damaged, who unpacks it sees.

        Raises
        ------
        FrameError
            If not even the first of them can be read.
        """
        while True:
            try:
                if asset.dataset is None or asset.template is not None:
                    return self._from_images(asset, start, stop)
                return self._from_dataset(asset, start, stop)
            # Whatever a library raises on a file that is half written, it may be whole soon.
            except Exception as error:
                self._forget(asset.uid)
                if time.monotonic() >= deadline:
                    raise FrameError(_explanation(asset, start, error)) from error
            time.sleep(POLL_SECONDS)

    def close(self, *, except_for: Collection[str] = ()) -> None:
        """Close all files, except for those of some assets."""
        for uid in self._open.keys() - set(except_for):
            self._forget(uid)

    def _forget(self, uid: str) -> None:
        if uid in self._open:
            file, _ = self._open.pop(uid)
            file.close()

    def _from_images(self, asset: Asset, start: int, stop: int) -> NDArray[Any]:
        parts: list[NDArray[Any]] = []
        while start < stop and sum(part.nbytes for part in parts) < self.max_bytes:
            try:
                parts.append(self._from_image(asset, start, stop))
            except Exception:
                if parts:
                    break  # those first; whoever needs the others asks again
                raise
            start += len(parts[-1])
        return parts[0] if len(parts) == 1 else np.concatenate(parts)

    def _from_image(self, asset: Asset, start: int, stop: int) -> NDArray[Any]:
        with open_frames(asset.name_of(start)) as frames:
            before = 0
            if asset.template is not None:
                before = start - start % asset.frames_per_file
                stop = min(stop, before + asset.frames_per_file)
            if len(frames) < stop - before:
                raise FormatError(f"{frames.source} holds no more than {len(frames)} frames.")
            fitting = max(1, self.max_bytes // (math.prod(frames.shape) * frames.dtype.itemsize))
            return frames.stack(start - before, min(stop, start + fitting) - before)

    def _from_dataset(self, asset: Asset, start: int, stop: int) -> NDArray[Any] | PackedFrames:
        with self._dataset(asset) as dataset:
            if dataset.ndim < 2 or dataset.dtype.kind not in "biuf":
                raise FormatError(f"It is no stack of images, but {dataset.shape} {dataset.dtype}.")
            *outer, rows, columns = dataset.shape
            if math.prod(outer) < stop:
                raise FormatError(f"It holds {math.prod(outer)} frames, {stop} were announced.")
            if not outer:
                return np.asarray(dataset[()])[np.newaxis]
            fitting = max(1, self.max_bytes // (rows * columns * dataset.dtype.itemsize))
            stop = min(stop, start + fitting)
            inner = math.prod(outer[1:])
            low, high = start // inner, -(-stop // inner)
            _check_written(dataset, low, high)
            packed = packed_frames(dataset, start, stop)
            if packed is not None:
                for frame in range(len(packed)):
                    packed.block_size(frame)
                return packed
            frames = np.asarray(dataset[low:high]).reshape(-1, rows, columns)
            return frames[start - low * inner : stop - low * inner]

    @contextmanager
    def _dataset(self, asset: Asset) -> Iterator[h5py.Dataset]:
        if asset.uid in self._open:
            _, dataset = self._open[asset.uid]
            dataset.refresh()
            yield dataset
            return
        file, live = _open(asset.path)
        try:
            dataset = file[asset.dataset]
            yield dataset
        except BaseException:
            file.close()
            raise
        if live:
            self._open[asset.uid] = file, dataset
        else:  # nothing that another one writes would be seen in it
            file.close()


def _open(path: str) -> tuple[h5py.File, bool]:
    """Open a file in the best of all ways; True if it can be followed while it is written."""
    import hdf5plugin  # noqa: F401  registers its filters

    problem: OSError | None = None
    for way in _WAYS_TO_OPEN:
        try:
            return h5py.File(path, "r", **way), "swmr" in way
        except FileNotFoundError:
            raise
        except OSError as error:
            problem = problem or error
    raise problem or FileNotFoundError(path)


def _check_written(dataset: h5py.Dataset, low: int, high: int) -> None:
    """Make sure of the first chunk of each frame; HDF5 itself gives zeros where there is none."""
    if dataset.chunks is None:
        return
    step, *others = dataset.chunks
    for row in range(low - low % step, high, step):
        chunk = dataset.id.get_chunk_info_by_coord((row, *(0 for _ in others)))
        if chunk.byte_offset is None:
            raise FormatError(f"There is room for frame {row}, but it has not been written.")


def _explanation(asset: Asset, start: int, error: Exception) -> str:
    if not Path(asset.file_of(start)).exists():
        return (
            f"There is no file {asset.file_of(start)}. Check that its file system can be seen from "
            "this machine; root_map says where, if it has another name here."
        )
    reason = str(error).rstrip(".") or type(error).__name__
    return (
        f"{asset.name_of(start)} does not give frame {start}: {reason}. If the file is still being "
        "written, allow a longer timeout, or reduce the run again later; else it is damaged."
    )
