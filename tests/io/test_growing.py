"""Files that grow are read; files that are cut off are refused, and never waited for."""

from __future__ import annotations

from pathlib import Path

import h5py
import numpy as np
import pytest

from bluesky_azint.errors import FormatError
from bluesky_azint.io.growing import open_growing


def write(path: Path) -> None:
    with h5py.File(path, "w", libver=("v110", "v110")) as file:
        data = file.create_dataset(
            "a", (0, 30, 40), maxshape=(None, 30, 40), chunks=(1, 30, 40), dtype="u2"
        )
        file.swmr_mode = True
        for row in range(40):
            data.resize(row + 1, axis=0)
            data[row] = row
            file.flush()
            with open_growing(path) as reading:
                assert reading["a"].shape == (row + 1, 30, 40)
                assert reading["a"][row, 0, 0] == row


@pytest.mark.parametrize("size", [100, 500, 3000, 50000, -1])
def test_a_file_that_is_cut_off_is_refused(tmp_path: Path, size: int) -> None:
    path = tmp_path / "a.h5"
    write(path)
    path.write_bytes(path.read_bytes()[:size])
    with pytest.raises(FormatError, match=r"is cut off: it has \d+ of \d+ bytes"):
        open_growing(path)


def test_other_files_are_refused_by_hdf5(tmp_path: Path) -> None:
    for content in (b"", b"no", bytes(np.arange(200, dtype=np.uint8))):
        path = tmp_path / "b.h5"
        path.write_bytes(content)
        with pytest.raises(OSError, match=r"signature|file"):
            open_growing(path)
