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
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

import h5py
import numpy as np
from numpy.typing import NDArray

from bluesky_azint.callbacks.assets import USUAL_DATASET, Asset
from bluesky_azint.callbacks.datasets import FrameDataset
from bluesky_azint.callbacks.roots import Roots
from bluesky_azint.errors import FormatError, FrameError, FramesMissing
from bluesky_azint.io.images import open_frames
from bluesky_azint.packed import PackedFrames

POLL_SECONDS = 0.02

# 16000 x 16000 pixels of 4 bytes: no detector has more, but a damaged file may say so.
MAX_FRAME_BYTES = 2**30


class _OneFrame(Exception):
    """A frame cannot be read, of a file of which others may be."""


class FrameReader:
    """Reads frames of assets.

    Parameters
    ----------
    max_bytes
        How much to read at once, at the most; at least one frame.
    roots
        Where files may be; everywhere, if that is not said.
    max_frame_bytes
        How large a frame may be: a larger one is refused before there is memory for it.
    """

    def __init__(
        self,
        *,
        max_bytes: int,
        roots: Roots | None = None,
        max_frame_bytes: int = MAX_FRAME_BYTES,
    ) -> None:
        self.max_bytes = max_bytes
        self.max_frame_bytes = max_frame_bytes
        self.roots = roots or Roots(None)
        self._open: dict[str, FrameDataset] = {}

    def read(
        self, asset: Asset, start: int, stop: int, *, deadline: float = 0.0
    ) -> NDArray[Any] | PackedFrames:
        """Frames of an asset from `start` on, as many before `stop` as can be read at once.

        Parameters
        ----------
        asset
            Where they are.
        start, stop
            Numbers of frames, counted from 0 through the whole asset.
        deadline
            Until when, on ``time.monotonic()``, to wait for the first, if it is not there yet.

        Returns
        -------
        Array (n, rows, columns), n >= 1, of the type that the file has; or the same as it is packed
        there. Each begins as it should then; whether it is damaged, who unpacks it sees.

        Raises
        ------
        FramesMissing
            If not even the first of them can be read.
        """
        if not 0 <= start < stop:
            raise FramesMissing(f"{asset.path} has no frames {start} to {stop}.", until=stop)
        while True:
            try:
                return self._read(asset, start, stop)
            except FrameError as error:  # which it stays
                self._forget(asset.uid)
                until = asset.end_of_file(start)
                raise FramesMissing(str(error), until=until) from error
            # Whatever a library raises on a file that is half written, it may be whole soon.
            except Exception as error:
                self._forget(asset.uid)
                if time.monotonic() >= deadline:
                    one = isinstance(error, _OneFrame)
                    until = start + 1 if one else asset.end_of_file(start)
                    raise FramesMissing(_explanation(asset, start, error), until=until) from error
            time.sleep(POLL_SECONDS)

    def close(self, *, except_for: Collection[str] = ()) -> None:
        """Close all files, except for those of some assets."""
        for uid in self._open.keys() - set(except_for):
            self._forget(uid)

    def _forget(self, uid: str) -> None:
        if uid in self._open:
            self._open.pop(uid).close()

    def _read(self, asset: Asset, start: int, stop: int) -> NDArray[Any] | PackedFrames:
        if asset.template is None:
            return self._from_file(asset, asset.path, start, stop)
        parts: list[NDArray[Any]] = []
        while start < stop and sum(part.nbytes for part in parts) < self.max_bytes:
            before = start - start % asset.frames_per_file
            end = min(stop, before + asset.frames_per_file) - before
            try:
                frames = self._from_file(asset, asset.file_of(start), start - before, end)
                part = np.asarray(frames)
            except Exception:
                if parts:
                    break  # those first; whoever needs the others asks again
                raise
            if parts and (part.shape[1:], part.dtype) != (parts[0].shape[1:], parts[0].dtype):
                break
            parts.append(part)
            start += len(part)
        return parts[0] if len(parts) == 1 else np.concatenate(parts)

    def _from_file(
        self, asset: Asset, path: str, start: int, stop: int
    ) -> NDArray[Any] | PackedFrames:
        self.roots.check(path)
        if asset.dataset is None and not h5py.is_hdf5(path):
            return self._from_image(path, start, stop)
        with self._dataset(asset, path) as dataset:
            return self._from_dataset(dataset, start, stop)

    def _from_image(self, path: str, start: int, stop: int) -> NDArray[Any]:
        if "::" in path:
            raise FrameError(f"{path} cannot be opened: no name of a file with frames has '::'.")
        with open_frames(path) as frames:
            if len(frames) <= start:
                raise FormatError(f"{frames.source} holds no more than {len(frames)} frames.")
            fitting = max(1, self.max_bytes // (math.prod(frames.shape) * frames.dtype.itemsize))
            stop = min(stop, len(frames), start + fitting)
            return _first_readable(frames.stack, start, stop)

    def _from_dataset(
        self, dataset: FrameDataset, start: int, stop: int
    ) -> NDArray[Any] | PackedFrames:
        if len(dataset) <= start:
            raise FormatError(f"It holds {len(dataset)} frames, {stop} were announced.")
        fitting = max(1, self.max_bytes // dataset.frame_bytes)
        stop = min(stop, len(dataset), start + fitting)
        return _first_readable(dataset.frames, start, stop)

    @contextmanager
    def _dataset(self, asset: Asset, path: str) -> Iterator[FrameDataset]:
        if asset.uid in self._open:
            dataset = self._open[asset.uid]
            dataset.refresh()
            yield dataset
            return
        dataset = FrameDataset(
            path,
            asset.dataset or USUAL_DATASET,
            roots=self.roots,
            max_frame_bytes=self.max_frame_bytes,
        )
        if dataset.live:
            dataset = dataset.shared()
        keep = False
        try:
            yield dataset
            # Nothing that another one writes would be seen in one that is not live.
            keep = dataset.live and asset.template is None
        finally:
            if keep:
                self._open[asset.uid] = dataset
            else:
                dataset.close()


Frames = TypeVar("Frames")


def _first_readable(read: Callable[[int, int], Frames], start: int, stop: int) -> Frames:
    """As many frames from the first on as can be read.

    Raises
    ------
    _OneFrame
        If it is the first that cannot.
    """
    while True:
        try:
            return read(start, stop)
        except FrameError:
            raise
        except Exception as error:
            if stop - start == 1:
                raise _OneFrame(str(error) or type(error).__name__) from error
        stop = (start + stop) // 2


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
