"""The file of a run, written and read at the same time."""

from __future__ import annotations

from pathlib import Path

import h5py
import numpy as np
import pytest
from numpy.typing import NDArray

from bluesky_azint.devices.hdf5 import DATASET, FrameFile
from bluesky_azint.errors import FormatError
from bluesky_azint.io.images import open_frames


@pytest.mark.parametrize("compress", [True, False])
def test_frames_can_be_read_while_the_file_grows(
    tmp_path: Path, numbered: NDArray[np.int32], compress: bool
) -> None:
    path = tmp_path / "made" / "on the way" / "run.h5"
    file = FrameFile(path, (20, 30), np.dtype("int32"), compress=compress)
    with h5py.File(path, "r", swmr=True) as reader:
        for number, frame in enumerate(numbered, start=1):
            file.write(frame)
            reader[DATASET].refresh()
            assert len(file) == number
            np.testing.assert_array_equal(reader[DATASET][:], numbered[:number])
    file.close()
    with open_frames(path) as frames:  # found without its place being named
        np.testing.assert_array_equal(frames.stack(0, 3), numbered)


def test_the_file_is_compressed_frame_by_frame(tmp_path: Path) -> None:
    for compress in (True, False):
        file = FrameFile(tmp_path / f"{compress}.h5", (100, 100), np.dtype("u4"), compress=compress)
        file.write(np.random.default_rng(0).poisson(3, (100, 100)))
        file.close()
        with h5py.File(tmp_path / f"{compress}.h5", "r") as reader:
            assert reader[DATASET].chunks == (1, 100, 100)
    sizes = [(tmp_path / f"{compress}.h5").stat().st_size for compress in (True, False)]
    assert sizes[0] < 0.5 * sizes[1]


def test_data_is_never_written_over(tmp_path: Path) -> None:
    path = tmp_path / "run.h5"
    path.write_bytes(b"data")
    with pytest.raises(FormatError, match=r"run\.h5 cannot be made: .* never written over"):
        FrameFile(path, (2, 3), np.dtype("u4"))
    assert path.read_bytes() == b"data"
