"""The file of a run, written and read at the same time."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import h5py
import numpy as np
import pytest
from numpy.typing import NDArray

from bluesky_azint.devices.hdf5 import DATASET, FrameFile
from bluesky_azint.errors import FormatError
from bluesky_azint.io.images import open_frames

READ = """
import sys, h5py, hdf5plugin, numpy
with h5py.File(sys.argv[1], "r", swmr=True) as file:
    numpy.save(sys.argv[2], file["/entry/data/data"][:])
"""


@pytest.mark.parametrize("compress", [True, False])
def test_another_process_reads_while_the_file_grows(
    tmp_path: Path, numbered: NDArray[np.int32], compress: bool
) -> None:
    path, seen = tmp_path / "made" / "on the way" / "run.h5", tmp_path / "seen.npy"
    file = FrameFile(path, (20, 30), np.dtype("int32"), compress=compress)
    for number, frame in enumerate(numbered, start=1):
        file.write(frame)
        assert len(file) == number
        if number == 2:
            subprocess.run([sys.executable, "-c", READ, path, seen], check=True)
            np.testing.assert_array_equal(np.load(seen), numbered[:2])
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
