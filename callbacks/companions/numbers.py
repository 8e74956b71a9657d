"""Numbers out of files: so many for each event, that a device streams beside the frames.

A file is opened for every reading. That costs a millisecond for as many events as were announced
together, and a reader that keeps nothing open has nothing that grows old.
"""

from __future__ import annotations

import math
import time

import h5py
import numpy as np
from numpy.typing import NDArray

from bluesky_azint.callbacks.assets import Asset
from bluesky_azint.callbacks.roots import Roots
from bluesky_azint.errors import FormatError, FrameError

POLL_SECONDS = 0.02

# As the frames are read: beside a writer that follows the rules, or one that does not.
_WAYS_TO_OPEN: tuple[dict[str, bool], ...] = ({"swmr": True}, {}, {"locking": False})


def read_numbers(
    asset: Asset, start: int, stop: int, *, per_event: int, roots: Roots, timeout: float = 0.0
) -> NDArray[np.float64]:
    """The numbers of some events out of an HDF5 file, which may be growing.

    Parameters
    ----------
    asset
        Where they are.
    start, stop
        Which events of the asset, counted from 0.
    per_event
        How many numbers an event has.
    roots
        Where files may be.
    timeout
        How many seconds to wait for what is not there yet.

    Returns
    -------
    Array ``(stop - start, per_event)``.

    Raises
    ------
    FrameError
        If they cannot be read.
    """
    deadline = time.monotonic() + timeout
    while True:
        try:
            return _read(asset, start, stop, per_event, roots)
        # Whatever a library raises on a file that is half written, it may be whole soon.
        except Exception as error:
            if isinstance(error, FrameError) or time.monotonic() >= deadline:
                reason = str(error).rstrip(".") or type(error).__name__
                raise FrameError(
                    f"{asset.name_of(start)} does not give the numbers of its events {start} to "
                    f"{stop - 1}: {reason}. Check that its file system can be seen from this "
                    "machine, and that its writer flushes what it announces."
                ) from error
        time.sleep(POLL_SECONDS)


def _read(asset: Asset, start: int, stop: int, per_event: int, roots: Roots) -> NDArray[np.float64]:
    if asset.dataset is None or asset.template is not None:
        raise FrameError("Numbers are read from single HDF5 files alone.")
    roots.check(asset.path)
    with _open(asset.path) as file:
        dataset = _dataset(file, asset.dataset, roots)
        if dataset.shape is None or dataset.ndim == 0 or dataset.dtype.kind not in "biuf":
            raise FormatError(f"It is no column of numbers, but {dataset.shape} {dataset.dtype}.")
        # Several numbers of an event lie in one row, or in as many rows.
        in_row = math.prod(dataset.shape[1:])
        rows = max(per_event // in_row, 1)
        if rows * in_row != per_event:
            raise FormatError(f"It holds {in_row} numbers in a row; an event has {per_event}.")
        if len(dataset) < stop * rows:
            raise FormatError(f"It holds {len(dataset)} rows, {stop * rows} were announced.")
        numbers = dataset[start * rows : stop * rows].astype(np.float64)
    return np.asarray(numbers.reshape(stop - start, per_event))


def _dataset(file: h5py.File, name: str, roots: Roots) -> h5py.Dataset:
    """The data set of that name; where files are limited, one that is in this file itself."""
    parts = [part for part in name.split("/") if part]
    if roots.limited:
        for depth in range(1, len(parts) + 1):
            if isinstance(
                file.get("/".join(parts[:depth]), getlink=True), h5py.ExternalLink | h5py.SoftLink
            ):
                raise FrameError(f"{name} leads elsewhere, and is not followed.")
    dataset = file[name]
    if not isinstance(dataset, h5py.Dataset):
        raise FrameError(f"{name} is no data set.")
    if roots.limited and (dataset.is_virtual or dataset.external):
        raise FrameError(f"{name} has its numbers in other files, which are not read.")
    return dataset


def _open(path: str) -> h5py.File:
    problem: OSError | None = None
    for way in _WAYS_TO_OPEN:
        try:
            return h5py.File(path, "r", **way)
        except FileNotFoundError:
            raise
        except OSError as error:
            problem = problem or error
    raise problem or FileNotFoundError(path)
