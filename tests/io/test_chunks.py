"""Frames as they are stored: read, recognised, unpacked, and refused where they are damaged."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import hdf5plugin
import numpy as np
import pytest
from numpy.typing import NDArray

from bluesky_azint.errors import ChunkError
from bluesky_azint.io import chunks
from bluesky_azint.io.chunks import packed_frames
from bluesky_azint.packed import PackedFrames

RNG = np.random.default_rng(1)

Unpack = Callable[[PackedFrames], NDArray[Any]]


def stack(shape: tuple[int, ...] = (3, 13, 11), dtype: str = "u4") -> NDArray[Any]:
    frames = RNG.poisson(3, shape).astype(dtype)
    frames[..., 5, :] = np.iinfo(dtype).max
    return frames


def dataset(path: Path, frames: NDArray[Any], **options: Any) -> h5py.Dataset:
    usual = {
        "chunks": (1,) * (frames.ndim - 2) + frames.shape[-2:],
        **hdf5plugin.Bitshuffle(cname="lz4"),
    }
    if "compression" in options:
        usual.pop("compression_opts")
    return h5py.File(path, "w").create_dataset("entry/data/data", data=frames, **usual | options)


def packed(path: Path, frames: NDArray[Any], **options: Any) -> PackedFrames:
    found = packed_frames(dataset(path, frames, **options), 0, len(frames))
    assert found is not None
    return found


def damaged(frames: PackedFrames, number: int, chunk: bytes) -> PackedFrames:
    some = list(frames.chunks)
    some[number] = chunk
    return PackedFrames(some, frames.frame_shape, frames.dtype, frames.unpack, "file.h5::/data", 7)


@pytest.fixture(params=["bitshuffle", "hdf5"])
def unpack(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Unpack:
    if request.param == "bitshuffle":
        pytest.importorskip("bitshuffle")
    monkeypatch.setattr(chunks, "_has_bitshuffle", lambda: request.param == "bitshuffle")
    return chunks.unpack


@pytest.mark.parametrize("dtype", ["u1", "u2", "u4", "u8", "i1", "i2", "i4", "i8"])
@pytest.mark.parametrize("shape", [(3, 13, 11), (2, 16, 16), (1, 1, 3), (2, 60, 101)])
@pytest.mark.parametrize("elements", [0, 8, 64])
def test_frames_come_back(
    tmp_path: Path, unpack: Unpack, dtype: str, shape: tuple[int, ...], elements: int
) -> None:
    frames = RNG.integers(0, 90, shape).astype(dtype)
    frames[:, 0] = np.iinfo(dtype).max
    options = hdf5plugin.Bitshuffle(nelems=elements, cname="lz4")
    found = packed(tmp_path / "a.h5", frames, **options)
    assert (found.shape, found.dtype, found.ndim) == (frames.shape, frames.dtype, 3)
    np.testing.assert_array_equal(unpack(found), frames, strict=True)
    np.testing.assert_array_equal(found, frames, strict=True)


def test_some_of_the_frames(tmp_path: Path) -> None:
    frames = stack((5, 13, 11))
    found = packed_frames(dataset(tmp_path / "a.h5", frames), 1, 5)
    assert found is not None
    some = found[1:3]
    np.testing.assert_array_equal(some, frames[2:4])
    assert some.first == 2
    assert np.asarray(some, dtype=float).dtype == np.float64
    with pytest.raises(ValueError, match="makes a copy"):
        np.asarray(some, copy=False)


def test_a_map_is_one_stack(tmp_path: Path) -> None:
    frames = stack((3, 4, 13, 11))
    found = packed_frames(dataset(tmp_path / "a.h5", frames), 3, 9)
    np.testing.assert_array_equal(found, frames.reshape(12, 13, 11)[3:9])


@pytest.mark.parametrize(
    "options",
    [
        {"chunks": None, "compression": None},
        {"compression": "gzip"},
        {"compression": None},
        {"chunks": (2, 13, 11)},
        {"chunks": (1, 5, 11)},
        {"shuffle": True},
        dict(hdf5plugin.Bitshuffle(cname="none")),
        dict(hdf5plugin.Bitshuffle(cname="zstd")),
    ],
)
def test_others_are_left_to_hdf5(tmp_path: Path, options: dict[str, Any]) -> None:
    assert packed_frames(dataset(tmp_path / "a.h5", stack(), **options), 0, 3) is None


@pytest.mark.parametrize("dtype", [">u4", "f4"])
def test_other_types_are_left_to_hdf5(tmp_path: Path, dtype: str) -> None:
    frames = np.ones((3, 13, 11), dtype)
    assert packed_frames(dataset(tmp_path / "a.h5", frames), 0, 3) is None


def test_one_frame_is_no_stack(tmp_path: Path) -> None:
    assert packed_frames(dataset(tmp_path / "a.h5", stack()[0]), 0, 1) is None


def test_a_chunk_that_was_not_packed(tmp_path: Path) -> None:
    frames = stack()
    data = dataset(tmp_path / "a.h5", frames)
    data.id.write_direct_chunk((1, 0, 0), frames[1].tobytes(), filter_mask=1)
    assert packed_frames(data, 0, 3) is None
    np.testing.assert_array_equal(packed_frames(data, 2, 3), frames[2:])
    np.testing.assert_array_equal(data, frames)


def test_a_chunk_that_is_not_there(tmp_path: Path) -> None:
    data = dataset(tmp_path / "a.h5", stack(), maxshape=(None, 13, 11))
    data.resize(5, axis=0)
    assert packed_frames(data, 2, 4) is None
    assert packed_frames(data, 0, 3) is not None


def test_every_truncation_is_found(tmp_path: Path, unpack: Unpack) -> None:
    found = packed(tmp_path / "a.h5", stack(), **hdf5plugin.Bitshuffle(nelems=64, cname="lz4"))
    chunk = found.chunks[1]
    for length in range(len(chunk)):
        with pytest.raises(ChunkError, match=r"Frame 8 of file.h5::/data is damaged: it is cut"):
            unpack(damaged(found, 1, chunk[:length]))


def test_every_damage_is_survived(tmp_path: Path, unpack: Unpack) -> None:
    found = packed(tmp_path / "a.h5", stack(), **hdf5plugin.Bitshuffle(nelems=64, cname="lz4"))
    chunk = found.chunks[0]
    refused = 0
    for place in range(len(chunk)):
        broken = bytearray(chunk)
        broken[place] ^= 0xFF
        try:
            assert unpack(damaged(found[:1], 0, bytes(broken))).shape == (1, 13, 11)
        except ChunkError:
            refused += 1
    assert refused > 12


@pytest.mark.parametrize(
    ("header", "problem"),
    [
        ("0000000000000000 00000100", "unpacks to 0 bytes, a frame has 572"),
        ("000000000000023C 00000000", "blocks have 0 bytes"),
        ("000000000000023C 00000104", "blocks have 260 bytes"),
    ],
)
def test_a_header_that_cannot_be(tmp_path: Path, unpack: Unpack, header: str, problem: str) -> None:
    found = packed(tmp_path / "a.h5", stack())
    broken = damaged(found, 0, bytes.fromhex(header) + found.chunks[0][12:])
    with pytest.raises(ChunkError, match=problem):
        unpack(broken)


def test_frames_that_are_added_meanwhile(tmp_path: Path) -> None:
    frames = stack((4, 13, 11))
    path = tmp_path / "a.h5"
    with h5py.File(path, "w", libver="latest") as file:
        options = hdf5plugin.Bitshuffle(cname="lz4")
        written = file.create_dataset(
            "data", (2, 13, 11), "u4", maxshape=(None, 13, 11), chunks=(1, 13, 11), **options
        )
        written[:2] = frames[:2]
        file.swmr_mode = True
        with h5py.File(path, "r", swmr=True) as other:
            seen = other["data"]
            np.testing.assert_array_equal(packed_frames(seen, 0, 2), frames[:2])
            written.resize(4, axis=0)
            written[2:] = frames[2:]
            written.flush()
            seen.refresh()
            np.testing.assert_array_equal(packed_frames(seen, 0, 4), frames)
