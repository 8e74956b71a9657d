"""Frames drawn by chance, and frames of files."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import fabio
import h5py
import numpy as np
import pytest
from fabio.edfimage import EdfImage
from fabio.tifimage import TifImage
from numpy.typing import NDArray

from bluesky_azint.devices.frames import FileFrames, PoissonFrames
from bluesky_azint.errors import FormatError, FrameError

EXPECTED = np.tile(np.array([0.1, 1.0, 10.0, 1000.0], np.float32), (100, 25))
GAPS = np.zeros(EXPECTED.shape, bool)
GAPS[40:45] = True


@pytest.mark.parametrize("pool", [0, 200])
def test_counts_are_poisson_distributed(pool: int) -> None:
    source = PoissonFrames(EXPECTED, pool=pool)
    frames = np.stack([source(number) for number in range(200)]).astype(float)
    for column, expected in enumerate(EXPECTED[0, :4]):
        pixels = frames[:, :, column::4]
        error = float(np.sqrt(expected / pixels.size))
        assert pixels.mean() == pytest.approx(expected, abs=6 * error)
        assert pixels.var() == pytest.approx(expected, rel=0.02)
        neighbours = np.corrcoef(pixels[:, :-1].ravel(), pixels[:, 1:].ravel())[0, 1]
        assert abs(neighbours) < 6 / np.sqrt(pixels.size)


def test_a_frame_is_known_by_its_number_and_seed() -> None:
    one, same, other = (PoissonFrames(EXPECTED, seed=seed) for seed in (1, 1, 2))
    frames = [one(number) for number in range(20)]
    np.testing.assert_array_equal(frames[7], same(7))
    assert not np.array_equal(frames[7], other(7))
    assert len({frame.tobytes() for frame in frames}) == 20


@pytest.mark.parametrize(
    ("dtype", "mark"), [("uint32", 2**32 - 1), ("uint16", 2**16 - 1), ("int32", -1)]
)
def test_gaps_are_marked_as_detectors_do(dtype: str, mark: int) -> None:
    frame = PoissonFrames(EXPECTED, gaps=GAPS, dtype=dtype)(0)
    assert frame.dtype == dtype
    assert (frame[GAPS] == mark).all()
    assert (frame[~GAPS] < 2000).all()


def test_counts_saturate() -> None:
    frame = PoissonFrames(EXPECTED, dtype="uint8")(0)
    assert frame.dtype == np.uint8
    assert (frame[:, 3::4] == 255).all()


def test_counts_are_whole_numbers() -> None:
    with pytest.raises(FrameError, match="cannot count in float32; give an integer type"):
        PoissonFrames(EXPECTED, dtype="float32")


def test_a_million_pixels_take_a_few_milliseconds() -> None:
    source = PoissonFrames(np.full((1000, 1000), 10.0, np.float32))
    source(0)  # draws the pool
    start = time.process_time()
    for number in range(20):
        source(number)
    assert (time.process_time() - start) / 20 < 0.01


def write(path: Path, frames: NDArray[Any]) -> str:
    """Write frames in the format that the name asks for."""
    if path.suffix == ".tif":
        TifImage(data=frames[0]).write(str(path))
    elif path.suffix == ".edf":
        image = EdfImage(data=frames[0])
        for frame in frames[1:]:
            image.append_frame(data=frame)
        image.write(str(path))
    else:
        with h5py.File(path, "w") as file:
            file["/entry/data/data"] = frames
    return str(path)


def test_frames_of_files_come_one_after_the_other(
    tmp_path: Path, numbered: NDArray[np.int32]
) -> None:
    files = [
        write(tmp_path / "a.tif", numbered[:1]),
        write(tmp_path / "b.h5", numbered[1:]),
        write(tmp_path / "c.edf", numbered[::-1]),
    ]
    source = FileFrames(files)
    order = [0, 1, 2, 2, 1, 0]
    assert len(source) == len(order)
    assert source.shape == (20, 30)
    assert source.dtype == np.int32
    for number in range(14):  # and again from the first
        np.testing.assert_array_equal(source(number), numbered[order[number % 6]])


@pytest.mark.parametrize(
    "other", [np.zeros((1, 20, 30), np.uint16), np.zeros((1, 30, 20), np.int32)]
)
def test_frames_of_different_kinds_are_refused(
    tmp_path: Path, numbered: NDArray[np.int32], other: NDArray[Any]
) -> None:
    files = [write(tmp_path / "a.h5", numbered), write(tmp_path / "b.h5", other)]
    with pytest.raises(
        FrameError, match=rf"{files[1]} are .* those of {files[0]} \(20, 30\) int32"
    ):
        FileFrames(files)


def test_no_frame_at_all(tmp_path: Path) -> None:
    with pytest.raises(FrameError, match="no frame to show"):
        FileFrames([])
    with pytest.raises(FormatError, match="no file"):
        FileFrames([tmp_path / "missing.tif"])


def test_a_real_frame_is_what_fabio_reads(shared_data: Path) -> None:
    (path,) = (shared_data / "dioptas_ceo2_pilatus1m").glob("*.tif*")
    with fabio.open(str(path)) as image:
        wanted = image.data.copy()
    source = FileFrames([path])
    assert source.dtype == wanted.dtype
    np.testing.assert_array_equal(source(5), wanted)
