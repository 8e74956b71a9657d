"""Detectors that go over to other files, write together, late, or not what they should."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import fabio
import h5py
import numpy as np
import pytest
import tifffile
from event_model import compose_run
from numpy.typing import NDArray

from bluesky_azint.callbacks.frames import FrameBatch, FrameSource
from bluesky_azint.errors import FrameError

ROWS, COLUMNS = 6, 8
FRAMES = np.random.default_rng(8).integers(0, 2**10, (12, ROWS, COLUMNS)).astype(np.int32)
HDF5 = {"mimetype": "application/x-hdf5", "parameters": {"dataset": "/data"}}
CBF = {"mimetype": "image/cbf", "parameters": {"template": "_%05d.cbf"}}
TIFF = {"mimetype": "image/tiff", "parameters": {"template": "_{:05d}.tif"}}


class Run:
    """Documents of a run with several detectors, given to a source one by one."""

    def __init__(self, source: FrameSource, *keys: str) -> None:
        self.source = source
        self.run = compose_run()
        key: Any = {
            "source": "x",
            "dtype": "array",
            "shape": [ROWS, COLUMNS],
            "external": "STREAM:",
        }
        bundle = self.run.compose_descriptor(
            "primary", dict.fromkeys(keys, key), object_keys={name: [name] for name in keys}
        )
        self.descriptor = bundle.descriptor_doc
        self.documents: list[tuple[str, Any]] = []
        self.batches: list[FrameBatch] = []
        self.errors: list[str] = []
        self.give("start", self.run.start_doc)
        self.give("descriptor", self.descriptor)

    def give(self, name: str, doc: Any) -> None:
        self.documents.append((name, doc))
        try:
            self.batches.extend(self.source(name, doc))
        except FrameError as error:
            self.errors.append(str(error))

    def resource(self, key: str, path: Path, kind: dict[str, Any]) -> Callable[[int, int], None]:
        """Announce a file; what is returned announces frames of it."""
        uid = f"{self.run.start_doc['uid']}/{path.name}"
        uri = f"file://localhost{path}"
        doc = {"uid": uid, "run_start": self.run.start_doc["uid"], "data_key": key, "uri": uri}
        self.give("stream_resource", doc | kind)

        def announce(start: int, stop: int) -> None:
            datum = {
                "uid": f"{uid}/{start}", "stream_resource": uid, "descriptor": self.descriptor["uid"],
                "indices": {"start": start, "stop": stop},
                "seq_nums": {"start": start + 1, "stop": stop + 1},
            }  # fmt: skip
            self.give("stream_datum", datum)

        return announce

    def frames(self, key: str) -> dict[int, NDArray[Any]]:
        """What came of a detector, by the numbers of the frames."""
        return {
            int(index): frame
            for batch in self.batches
            if batch.data_key == key
            for index, frame in zip(batch.indices, np.asarray(batch.frames), strict=True)
        }


@pytest.fixture
def source(tmp_path: Path) -> Iterator[FrameSource]:
    source = FrameSource(timeout=0.0, roots=[tmp_path])
    yield source
    source.close()


def write(path: Path, frames: NDArray[Any]) -> None:
    with h5py.File(path, "w", libver="latest") as file:
        file.create_dataset("data", data=frames, chunks=(1, ROWS, COLUMNS), compression="gzip")


def same(found: dict[int, NDArray[Any]], numbers: list[int]) -> None:
    assert list(found) == numbers
    np.testing.assert_array_equal(np.stack(list(found.values())), FRAMES[numbers])


def test_three_detectors_that_write_together(tmp_path: Path, source: FrameSource) -> None:
    """One goes over to another file after four frames; the others write a file for each."""
    run = Run(source, "rolling", "cbf", "tiff")
    cbf = run.resource("cbf", tmp_path / "c", CBF)
    tiff = run.resource("tiff", tmp_path / "t", TIFF)
    for first in range(0, 12, 2):
        if first % 4 == 0:
            write(tmp_path / f"{first}.h5", FRAMES[first : first + 4])
            rolling = run.resource("rolling", tmp_path / f"{first}.h5", HDF5)
        for number in (first, first + 1):
            fabio.cbfimage.CbfImage(FRAMES[number]).write(str(tmp_path / f"c_{number:05d}.cbf"))
            tifffile.imwrite(tmp_path / f"t_{number:05d}.tif", FRAMES[number])
        for announce in (tiff, rolling, cbf):
            announce(first, first + 2)
    assert run.errors == []
    for key in ("rolling", "cbf", "tiff"):
        same(run.frames(key), list(range(12)))


def test_files_that_are_half_written(tmp_path: Path, source: FrameSource) -> None:
    """What can be read of a series is; the others are read when they are announced again."""
    run = Run(source, "tiff", "cbf")
    whole: dict[Path, bytes] = {}
    for number in range(4):
        tifffile.imwrite(tmp_path / f"t_{number:05d}.tif", FRAMES[number])
        fabio.cbfimage.CbfImage(FRAMES[number]).write(str(tmp_path / f"c_{number:05d}.cbf"))
    for name in ("t_00001.tif", "c_00002.cbf"):
        whole[tmp_path / name] = (tmp_path / name).read_bytes()
        (tmp_path / name).write_bytes(whole[tmp_path / name][: len(whole[tmp_path / name]) // 2])
    run.resource("tiff", tmp_path / "t", TIFF)(0, 4)
    run.resource("cbf", tmp_path / "c", CBF)(0, 4)
    same(run.frames("tiff"), [0, 2, 3])
    same(run.frames("cbf"), [0, 1, 3])
    assert [error.count("1 cannot be read") for error in run.errors] == [1, 1]
    for path, content in whole.items():
        path.write_bytes(content)
    run.batches.clear()
    for name, doc in run.documents[2:]:
        run.give(name, doc)
    same(run.frames("tiff"), [0, 1, 2, 3])
    same(run.frames("cbf"), [0, 1, 2, 3])


def test_a_file_of_another_shape_in_a_series(tmp_path: Path, source: FrameSource) -> None:
    """It comes alone, so that who reduces the frames can refuse it, and only it."""
    for number in range(5):
        frame = FRAMES[number, :, : COLUMNS - (number == 2)]
        tifffile.imwrite(
            tmp_path / f"t_{number:05d}.tif", frame.astype("u2" if number > 3 else "i4")
        )
    run = Run(source, "tiff")
    run.resource("tiff", tmp_path / "t", TIFF)(0, 5)
    assert [batch.indices.tolist() for batch in run.batches] == [[0, 1], [2], [3], [4]]
    assert [batch.frames.shape[1:] for batch in run.batches][1] == (ROWS, COLUMNS - 1)
    assert [str(batch.frames.dtype) for batch in run.batches] == [
        "int32",
        "int32",
        "int32",
        "uint16",
    ]


def test_a_file_that_appears_late(tmp_path: Path, source: FrameSource) -> None:
    """Its frames are read when they are announced again, as at the end of a run."""
    run = Run(source, "late")
    announce = run.resource("late", tmp_path / "f.h5", HDF5)
    announce(0, 3)
    announce(3, 6)
    assert run.batches == []
    assert all("3 cannot be read" in error and "There is no file" in error for error in run.errors)
    write(tmp_path / "f.h5", FRAMES)
    announce(0, 3)
    announce(3, 6)
    same(run.frames("late"), list(range(6)))


def test_a_long_run_whose_file_is_gone(tmp_path: Path, source: FrameSource) -> None:
    """It is looked for once and not for each frame; that of a short file just as well."""
    run = Run(source, "long", "short")
    begin = time.process_time()
    run.resource("long", tmp_path / "f.h5", HDF5)(0, 400_000)
    write(tmp_path / "g.h5", FRAMES)
    run.resource("short", tmp_path / "g.h5", HDF5)(0, 400_000)
    assert time.process_time() - begin < 5
    assert "400000 cannot be read, the first is number 0" in run.errors[0]
    assert "399988 cannot be read, the first is number 12" in run.errors[1]
    same(run.frames("short"), list(range(12)))


def test_more_frames_than_there_can_be(tmp_path: Path, source: FrameSource) -> None:
    write(tmp_path / "f.h5", FRAMES)
    run = Run(source, "x")
    for announce in (
        run.resource("x", tmp_path / "f.h5", HDF5),
        run.resource("x", tmp_path / "./f.h5", HDF5 | {"parameters": {"multiplier": 10**6}}),
    ):
        announce(0, 2**22 + 1)
        announce(2**30, 2**30 + 1)
    assert run.batches == []
    assert all("no detector takes so many" in error for error in run.errors)
    assert len(run.errors) == 4
