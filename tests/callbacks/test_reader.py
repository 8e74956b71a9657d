"""Reading files that are late, growing, damaged or of any type, without inventing a frame."""

from __future__ import annotations

import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import h5py
import hdf5plugin
import numpy as np
import pytest
import tifffile
from numpy.typing import NDArray

from bluesky_azint.callbacks.assets import Asset
from bluesky_azint.callbacks.reader import FrameReader
from bluesky_azint.errors import FrameError, FramesMissing
from bluesky_azint.packed import PackedFrames

DATASET = "/entry/data/data"
WRITER = """
import sys
import h5py

path, swmr = sys.argv[1:]
with h5py.File(path, "w", libver="latest" if swmr == "True" else "earliest") as file:
    dataset = file.create_dataset(
        "/entry/data/data", shape=(0, 3, 4), maxshape=(None, 3, 4), chunks=(1, 3, 4), dtype="u2"
    )
    file.flush()
    if swmr == "True":
        file.swmr_mode = True
    print("ready", flush=True)
    for line in sys.stdin:
        command, number = line.split()
        if command == "resize":
            dataset.resize(int(number), axis=0)
        else:
            dataset[int(number)] = int(number) + 1
        file.flush()
        print("done", flush=True)
"""

Send = Callable[[str], None]


def values(frames: NDArray[Any] | PackedFrames) -> list[int]:
    """The first pixel of each frame."""
    pixels: list[int] = np.asarray(frames)[:, 0, 0].tolist()
    return pixels


@pytest.fixture
def reader() -> Iterator[FrameReader]:
    reader = FrameReader(max_bytes=2**20)
    yield reader
    reader.close()


@pytest.fixture
def writers() -> Iterator[list[subprocess.Popen[str]]]:
    processes: list[subprocess.Popen[str]] = []
    yield processes
    for process in processes:
        process.kill()
        process.communicate()


@pytest.fixture
def start_writer(writers: list[subprocess.Popen[str]]) -> Callable[..., Send]:
    """``send = start_writer(path, swmr=)`` makes another process write a file, on command."""

    def start(path: Path, *, swmr: bool) -> Send:
        process = subprocess.Popen(
            [sys.executable, "-c", WRITER, str(path), str(swmr)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        writers.append(process)
        assert process.stdin is not None
        assert process.stdout is not None
        stdin, stdout = process.stdin, process.stdout
        assert stdout.readline() == "ready\n"

        def send(command: str) -> None:
            stdin.write(f"{command}\n")
            stdin.flush()
            assert stdout.readline() == "done\n"

        return send

    return start


def asset(path: Path, **fields: Any) -> Asset:
    return Asset(**{"uid": "a", "path": str(path), "dataset": DATASET} | fields)


def write(path: Path, frames: NDArray[Any], **options: Any) -> None:
    with h5py.File(path, "w") as file:
        file.create_dataset(DATASET, data=frames, **options)


def random_frames(count: int, dtype: str = "u2", shape: tuple[int, ...] = (6, 8)) -> NDArray[Any]:
    random = np.random.default_rng(4)
    return random.integers(0, 200, (count, *shape)).astype(dtype)


@pytest.mark.parametrize("dtype", ["u1", "<u2", ">u2", "<u4", ">i4", "<f4", "<f8"])
@pytest.mark.parametrize(
    "options",
    [{}, {"chunks": (1, 6, 8)}, {"chunks": (4, 3, 8), "compression": "gzip"},
     {"chunks": (1, 6, 8), **hdf5plugin.Bitshuffle(cname="lz4")}],
    ids=["contiguous", "chunked", "gzip", "bitshuffle"],
)  # fmt: skip
def test_frames_are_bit_identical(
    tmp_path: Path, reader: FrameReader, dtype: str, options: dict[str, Any]
) -> None:
    frames = random_frames(10, dtype)
    write(tmp_path / "f.h5", frames, **options)
    read = reader.read(asset(tmp_path / "f.h5"), 3, 8)
    assert read.dtype == frames.dtype
    np.testing.assert_array_equal(read, frames[3:8])


def test_a_file_is_followed_while_another_process_writes_it(
    tmp_path: Path, reader: FrameReader, start_writer: Callable[..., Send]
) -> None:
    """Frames that have room but are not written yet are zeros for HDF5, and never for us."""
    send, where = start_writer(tmp_path / "f.h5", swmr=True), asset(tmp_path / "f.h5")
    send("resize 3")
    with pytest.raises(FrameError, match="room for frame 0, but it has not been written"):
        reader.read(where, 0, 1)
    send("write 0")
    send("write 1")
    assert values(reader.read(where, 0, 2)) == [1, 2]
    assert values(reader.read(where, 1, 3)) == [2]
    with pytest.raises(FrameError, match="room for frame 2"):
        reader.read(where, 2, 3)
    send("write 2")
    assert values(reader.read(where, 0, 3)) == [1, 2, 3]
    assert values(reader.read(where, 2, 4)) == [3]
    with pytest.raises(FrameError, match="holds 3 frames, 4 were announced"):
        reader.read(where, 3, 4)
    send("resize 4")
    send("write 3")
    assert values(reader.read(where, 2, 4)) == [3, 4]


def test_an_open_file_shows_what_was_written_since(
    tmp_path: Path, reader: FrameReader, start_writer: Callable[..., Send]
) -> None:
    """HDF5 remembers which chunks there were when it looked at a dataset first."""
    send, where = start_writer(tmp_path / "f.h5", swmr=True), asset(tmp_path / "f.h5")
    send("resize 2")
    send("write 0")
    assert values(reader.read(where, 0, 1)) == [1]
    send("write 1")
    assert values(reader.read(where, 1, 2)) == [2]


def test_a_writer_without_swmr(
    tmp_path: Path, reader: FrameReader, start_writer: Callable[..., Send]
) -> None:
    """It locks its file; each reading opens that anew."""
    send, where = start_writer(tmp_path / "f.h5", swmr=False), asset(tmp_path / "f.h5")
    send("resize 1")
    send("write 0")
    assert values(reader.read(where, 0, 1)) == [1]
    send("resize 2")
    with pytest.raises(FrameError, match="room for frame 1"):
        reader.read(where, 1, 2)
    send("write 1")
    assert values(reader.read(where, 0, 2)) == [1, 2]


def test_a_writer_that_was_killed(
    tmp_path: Path,
    reader: FrameReader,
    start_writer: Callable[..., Send],
    writers: list[subprocess.Popen[str]],
) -> None:
    send, where = start_writer(tmp_path / "f.h5", swmr=True), asset(tmp_path / "f.h5")
    send("resize 2")
    send("write 0")
    writers[0].kill()
    writers[0].wait()
    assert values(reader.read(where, 0, 1)) == [1]
    with pytest.raises(FrameError, match="has not been written"):
        reader.read(where, 1, 2)


def later(action: Callable[[], None]) -> threading.Timer:
    timer = threading.Timer(0.2, action)
    timer.start()
    return timer


@pytest.mark.parametrize("name", ["f.h5", "f.tiff"])
def test_a_file_that_appears_late(tmp_path: Path, reader: FrameReader, name: str) -> None:
    frames, path = random_frames(2), tmp_path / name
    where = asset(path, dataset=DATASET if name == "f.h5" else None)
    with pytest.raises(FrameError, match=r"There is no file .*root_map"):
        reader.read(where, 0, 2)

    def appear() -> None:
        if name == "f.h5":
            write(path.with_suffix(".tmp"), frames)
        else:
            tifffile.imwrite(path.with_suffix(".tmp"), frames, photometric="minisblack")
        path.with_suffix(".tmp").rename(path)

    timer = later(appear)
    np.testing.assert_array_equal(reader.read(where, 0, 2, deadline=time.monotonic() + 20), frames)
    timer.join()


def test_frames_that_are_written_late(
    tmp_path: Path, reader: FrameReader, start_writer: Callable[..., Send]
) -> None:
    send, where = start_writer(tmp_path / "f.h5", swmr=True), asset(tmp_path / "f.h5")

    def grow() -> None:
        for command in ("resize 1", "write 0", "resize 2", "write 1"):
            send(command)

    timer = later(grow)
    for frame in range(2):
        read = reader.read(where, frame, frame + 1, deadline=time.monotonic() + 20)
        assert values(read) == [frame + 1]
    timer.join()


def test_waiting_ends(tmp_path: Path, reader: FrameReader) -> None:
    begin = time.monotonic()
    with pytest.raises(FrameError):
        reader.read(asset(tmp_path / "f.h5"), 0, 1, deadline=begin + 0.2)
    assert 0.2 <= time.monotonic() - begin < 5


def test_a_truncated_file(tmp_path: Path, reader: FrameReader) -> None:
    path = tmp_path / "f.h5"
    write(path, random_frames(10), chunks=(1, 6, 8))
    path.write_bytes(path.read_bytes()[:-200])
    with pytest.raises(FrameError, match=r"f.h5::/entry/data/data does not give frame 0: .*trunc"):
        reader.read(asset(path), 0, 10)


def test_a_damaged_frame(tmp_path: Path, reader: FrameReader) -> None:
    path = tmp_path / "f.h5"
    frames = random_frames(3, "u4", (64, 64))
    write(path, frames, chunks=(1, 64, 64), compression="gzip")
    with h5py.File(path) as file:
        chunk = file[DATASET].id.get_chunk_info_by_coord((1, 0, 0))
    with path.open("r+b") as raw:
        raw.seek(chunk.byte_offset + 100)
        raw.write(bytes(100))
    with pytest.raises(FrameError, match=r"does not give frame 1: .*else it is damaged"):
        reader.read(asset(path), 1, 2)
    np.testing.assert_array_equal(reader.read(asset(path), 2, 3), frames[2:])


def test_packed_frames_stay_packed(tmp_path: Path, reader: FrameReader) -> None:
    path = tmp_path / "f.h5"
    frames = random_frames(5, "u4")
    write(path, frames, chunks=(1, 6, 8), **hdf5plugin.Bitshuffle(cname="lz4"))
    packed = reader.read(asset(path), 1, 4)
    assert isinstance(packed, PackedFrames)
    np.testing.assert_array_equal(packed, frames[1:4], strict=True)
    reader.close()
    with h5py.File(path, "r+") as file:
        file[DATASET].id.write_direct_chunk((2, 0, 0), bytes(60))
    np.testing.assert_array_equal(reader.read(asset(path), 1, 4), frames[1:2])
    with pytest.raises(FrameError, match=r"does not give frame 2: .*Frame 2 of .* is damaged"):
        reader.read(asset(path), 2, 4)


def test_the_file_is_opened_once(
    tmp_path: Path, reader: FrameReader, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(tmp_path / "f.h5", random_frames(5))
    opened: list[str] = []
    real = h5py.File

    def counted(path: str, *args: Any, **options: Any) -> h5py.File:
        opened.append(path)
        return real(path, *args, **options)

    monkeypatch.setattr(h5py, "File", counted)
    for frame in range(5):
        reader.read(asset(tmp_path / "f.h5"), frame, frame + 1)
    assert len(opened) == 1
    reader.close(except_for=["a"])
    assert h5py.h5f.get_obj_count(h5py.h5f.OBJ_ALL, h5py.h5f.OBJ_FILE) == 1
    reader.close(except_for=["b"])
    assert h5py.h5f.get_obj_count(h5py.h5f.OBJ_ALL, h5py.h5f.OBJ_FILE) == 0


@pytest.mark.parametrize("libver", ["earliest", "latest"])
def test_a_dataset_that_is_announced_twice(
    tmp_path: Path, reader: FrameReader, libver: str
) -> None:
    """HDF5 loses its chunks where it is open twice, and crashes."""
    frames = random_frames(8)
    with h5py.File(tmp_path / "f.h5", "w", libver=libver) as file:
        file.create_dataset(DATASET, data=frames, chunks=(1, 6, 8), compression="gzip")
        file["again"] = h5py.SoftLink(DATASET)
    other = FrameReader(max_bytes=2**20)
    where = [asset(tmp_path / "f.h5", uid=uid) for uid in "ab"]
    where.append(asset(tmp_path / "f.h5", uid="c", dataset="again"))
    for frame in range(8):
        for one in where:
            read = (other if frame % 3 else reader).read(one, frame, frame + 1)
            np.testing.assert_array_equal(read, frames[frame : frame + 1])
        if frame == 5:
            reader.close(except_for="b")
    other.close()
    np.testing.assert_array_equal(reader.read(where[1], 0, 8), frames)
    reader.close()
    assert h5py.h5f.get_obj_count(h5py.h5f.OBJ_ALL, h5py.h5f.OBJ_FILE) == 0


def test_no_more_than_fits(tmp_path: Path) -> None:
    frames = random_frames(10)
    write(tmp_path / "f.h5", frames)
    reader = FrameReader(max_bytes=4 * frames[0].nbytes)
    assert len(reader.read(asset(tmp_path / "f.h5"), 3, 10)) == 4
    assert len(reader.read(asset(tmp_path / "f.h5"), 8, 10)) == 2
    reader.close()
    small = FrameReader(max_bytes=1)
    np.testing.assert_array_equal(small.read(asset(tmp_path / "f.h5"), 3, 10), frames[3:4])
    small.close()


def test_events_as_a_dimension_of_the_dataset(tmp_path: Path, reader: FrameReader) -> None:
    frames = random_frames(12)
    write(tmp_path / "f.h5", frames.reshape(2, 2, 3, 6, 8), chunks=(1, 2, 3, 6, 8))
    for start, stop, end in [(0, 12, 12), (0, 3, 3), (6, 11, 6 + 3), (5, 8, 6), (7, 8, 8)]:
        read = reader.read(asset(tmp_path / "f.h5"), start, stop)
        np.testing.assert_array_equal(read, frames[start:end])


def test_a_single_image(tmp_path: Path, reader: FrameReader) -> None:
    frames = random_frames(1)
    write(tmp_path / "f.h5", frames[0])
    np.testing.assert_array_equal(reader.read(asset(tmp_path / "f.h5"), 0, 1), frames)


def test_a_dataset_of_spectra(tmp_path: Path, reader: FrameReader) -> None:
    write(tmp_path / "f.h5", np.zeros(10))
    with pytest.raises(FrameError, match="no stack of images"):
        reader.read(asset(tmp_path / "f.h5"), 0, 1)
    with pytest.raises(FrameError, match="/no/such"):
        reader.read(asset(tmp_path / "f.h5", dataset="/no/such"), 0, 1)


def test_a_virtual_dataset(tmp_path: Path, reader: FrameReader) -> None:
    """As the file writers of fast detectors make them."""
    frames = random_frames(6)
    layout = h5py.VirtualLayout((6, 6, 8), "u2")
    for number in range(2):
        write(tmp_path / f"data_{number}.h5", frames[3 * number : 3 * number + 3])
        layout[3 * number : 3 * number + 3] = h5py.VirtualSource(
            f"data_{number}.h5", DATASET, (3, 6, 8)
        )
    with h5py.File(tmp_path / "f.h5", "w") as file:
        file.create_virtual_dataset(DATASET, layout)
    np.testing.assert_array_equal(reader.read(asset(tmp_path / "f.h5"), 1, 5), frames[1:5])


@pytest.mark.parametrize("grows", [False, True])
def test_a_virtual_dataset_of_what_is_not_there(
    tmp_path: Path, reader: FrameReader, grows: bool
) -> None:
    """Of files taken in turn one is missing, another one lags behind; HDF5 gives zeros for both."""
    layout = h5py.VirtualLayout((6, 3, 4), "u2", maxshape=(None if grows else 6, 3, 4))
    for number in range(3):
        shape = (None if grows else 2, 3, 4)
        there = h5py.VirtualSource(f"{number}.h5", DATASET, (2, 3, 4), maxshape=shape)
        if grows:
            end = h5py.h5s.UNLIMITED
            layout[number:end:3] = there[:end]
        else:
            layout[number::3] = there
    with h5py.File(tmp_path / "v.h5", "w", libver="latest") as file:
        file.create_virtual_dataset(DATASET, layout)

    where = asset(tmp_path / "v.h5")
    for number in (0, 1):
        with h5py.File(tmp_path / f"{number}.h5", "w") as file:
            dataset = file.create_dataset(DATASET, (2, 3, 4), "u2", chunks=(1, 3, 4))
            dataset[0] = number + 1
            if number == 0:
                dataset[1] = 4
    assert values(reader.read(where, 0, 6)) == [1, 2]
    assert values(reader.read(where, 3, 6) if not grows else np.full((1, 1, 1), 4)) == [4]
    for start in (2, 4, 5):
        with pytest.raises(FrameError, match=r"has not been written|holds|2\.h5"):
            reader.read(where, start, 6)
    with h5py.File(tmp_path / "1.h5", "r+") as file:
        file[DATASET][1] = 5
    write(tmp_path / "2.h5", np.full((2, 3, 4), [[[3]], [[6]]], "u2"))
    assert values(reader.read(where, 0, 6)) == [1, 2, 3, 4, 5, 6]


def test_files_of_a_series_are_read_together(tmp_path: Path) -> None:
    frames = random_frames(7)
    for number, frame in enumerate(frames):
        tifffile.imwrite(tmp_path / f"x_{number:03d}.tif", frame)
    where = asset(tmp_path / "x", dataset=None, template="_{:03d}.tif")
    reader = FrameReader(max_bytes=3 * frames[0].nbytes)
    np.testing.assert_array_equal(reader.read(where, 2, 7), frames[2:5])
    (tmp_path / "x_003.tif").unlink()
    np.testing.assert_array_equal(reader.read(where, 2, 7), frames[2:3])  # those that there are
    with pytest.raises(FrameError, match=r"no file .*x_003.tif"):
        reader.read(where, 3, 7)


@pytest.mark.parametrize("suffix", ["tif", "h5", "npy"])
def test_several_frames_per_file(tmp_path: Path, reader: FrameReader, suffix: str) -> None:
    frames = random_frames(12)
    for number, part in enumerate(frames.reshape(4, 3, 6, 8)):
        path = tmp_path / f"x_{number}.{suffix}"
        if suffix == "h5":
            write(path, part)
        elif suffix == "npy":
            np.save(path, part)
        else:
            tifffile.imwrite(path, part, photometric="minisblack")
    where = asset(
        tmp_path / "x",
        dataset=DATASET if suffix == "h5" else None,
        template=f"_%d.{suffix}",
        frames_per_file=3,
    )
    np.testing.assert_array_equal(reader.read(where, 1, 11), frames[1:11])


def test_a_file_of_a_series_with_too_few_frames(tmp_path: Path, reader: FrameReader) -> None:
    tifffile.imwrite(tmp_path / "x_0.tif", random_frames(1)[0])
    where = asset(tmp_path / "x", dataset=None, template="_%d.tif", frames_per_file=2)
    assert len(reader.read(where, 0, 2)) == 1
    with pytest.raises(FramesMissing, match="holds no more than 1 frames") as error:
        reader.read(where, 1, 5)
    assert error.value.until == 2


def test_one_file_of_many_images(tmp_path: Path, reader: FrameReader) -> None:
    frames = random_frames(5)
    tifffile.imwrite(tmp_path / "x.tif", frames, photometric="minisblack")
    read = reader.read(asset(tmp_path / "x.tif", dataset=None), 1, 4)
    np.testing.assert_array_equal(read, frames[1:4])
