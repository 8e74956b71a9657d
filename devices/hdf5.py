"""The HDF5 file of a run: one stack of frames that grows, and can be read meanwhile."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import h5py
import numpy as np
from numpy.typing import NDArray

from bluesky_azint.errors import FormatError

DATASET = "/entry/data/data"
MIMETYPE = "application/x-hdf5"


class FrameFile:
    """A file that frames are added to; readers open it with ``swmr=True``.

    Parameters
    ----------
    path
        The file; it must not be there yet, its folder is made.
    shape, dtype
        Of a frame.
    compress
        Whether to compress with bitshuffle and LZ4, as Eiger detectors do.

    Raises
    ------
    FormatError
        If the file is there already, or cannot be made.
    """

    def __init__(
        self, path: Path, shape: tuple[int, int], dtype: np.dtype[Any], *, compress: bool = True
    ) -> None:
        import hdf5plugin

        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            self._file = h5py.File(path, "x", libver="latest")
        except OSError as error:
            raise FormatError(
                f"{path} cannot be made: {error}. Data is never written over; let the path "
                "provider give every run a name of its own."
            ) from error
        for group, kind in (("entry", "NXentry"), ("entry/data", "NXdata")):
            self._file.create_group(group).attrs["NX_class"] = kind
        self._file["entry/data"].attrs["signal"] = "data"
        self._data = self._file.create_dataset(
            DATASET,
            shape=(0, *shape),
            maxshape=(None, *shape),
            chunks=(1, *shape),
            dtype=dtype,
            **(hdf5plugin.Bitshuffle() if compress else {}),
        )
        self._file.swmr_mode = True  # from here on the structure is fixed

    def __len__(self) -> int:
        return int(self._data.shape[0])

    def write(self, frame: NDArray[Any]) -> None:
        """Add a frame, and let readers see it."""
        self._data.resize(len(self) + 1, axis=0)
        self._data[-1] = frame
        self._data.flush()

    def close(self) -> None:
        """Close the file."""
        self._file.close()
