"""Numbers out of HDF5 files, and which files are not read."""

from __future__ import annotations

import threading
from pathlib import Path

import h5py
import numpy as np
import pytest

from bluesky_azint.callbacks.assets import Asset
from bluesky_azint.callbacks.companions.numbers import read_numbers
from bluesky_azint.callbacks.roots import Roots
from bluesky_azint.errors import FrameError

EVERYWHERE = Roots(None)


def asset(path: Path, dataset: str = "i0") -> Asset:
    return Asset(uid="r", path=str(path), dataset=dataset)


@pytest.mark.parametrize(
    ("shape", "per_event"), [((6,), 1), ((6, 1), 1), ((6,), 2), ((3, 2), 2), ((3, 1, 2), 2)]
)
def test_rows_are_of_events_however_the_data_set_is_shaped(
    tmp_path: Path, shape: tuple[int, ...], per_event: int
) -> None:
    numbers = np.arange(6, dtype=np.int16).reshape(shape)
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file["i0"] = numbers
    read = read_numbers(asset(tmp_path / "a.h5"), 1, 3, per_event=per_event, roots=EVERYWHERE)
    expected = np.arange(6.0).reshape(-1, per_event)[1:3]
    np.testing.assert_array_equal(read, expected)


def test_a_file_that_comes_late_is_waited_for(tmp_path: Path) -> None:
    path = tmp_path / "late.h5"

    def write() -> None:
        with h5py.File(tmp_path / "partial", "w") as file:
            file["i0"] = [1.0, 2.0]
        (tmp_path / "partial").rename(path)

    writer = threading.Timer(0.1, write)
    writer.start()
    try:
        read = read_numbers(asset(path), 0, 2, per_event=1, roots=EVERYWHERE, timeout=10.0)
    finally:
        writer.join()
    assert read.tolist() == [[1.0], [2.0]]


def test_numbers_are_read_beside_their_writer(tmp_path: Path) -> None:
    with h5py.File(tmp_path / "a.h5", "w", libver="latest") as file:
        dataset = file.create_dataset("i0", (0,), "f8", maxshape=(None,), chunks=(8,))
        file.swmr_mode = True
        for length in (2, 5):
            dataset.resize((length,))
            dataset[:] = np.arange(length)
            file.flush()
            read = read_numbers(asset(tmp_path / "a.h5"), 0, length, per_event=1, roots=EVERYWHERE)
            assert read[:, 0].tolist() == list(range(length))


def test_nothing_outside_of_the_roots_is_read(tmp_path: Path) -> None:
    inside, outside = tmp_path / "inside", tmp_path / "outside"
    inside.mkdir()
    outside.mkdir()
    roots = Roots([inside])
    with h5py.File(outside / "secret.h5", "w") as file:
        file["i0"] = [1.0, 2.0]
    virtual = h5py.VirtualLayout((2,), "f8")
    virtual[:] = h5py.VirtualSource(str(outside / "secret.h5"), "i0", (2,))
    with h5py.File(inside / "a.h5", "w") as file:
        file["own"] = [3.0, 4.0]
        file["link"] = h5py.ExternalLink(str(outside / "secret.h5"), "i0")
        file["group"] = h5py.ExternalLink(str(outside / "secret.h5"), "/")
        file["soft"] = h5py.SoftLink("/group/i0")
        file.create_virtual_dataset("virtual", virtual)
    (inside / "linked.h5").symlink_to(outside / "secret.h5")
    read = read_numbers(asset(inside / "a.h5", "own"), 0, 2, per_event=1, roots=roots)
    assert read[:, 0].tolist() == [3.0, 4.0]
    for forbidden in (
        asset(outside / "secret.h5"),
        asset(inside / "linked.h5"),
        *(asset(inside / "a.h5", name) for name in ("link", "group/i0", "soft", "virtual")),
    ):
        with pytest.raises(FrameError, match="does not give the numbers of its events 0 to 1"):
            read_numbers(forbidden, 0, 2, per_event=1, roots=roots, timeout=60.0)
