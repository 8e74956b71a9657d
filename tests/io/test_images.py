"""Frames from files of every kind: the same values, the same type, or a clear refusal."""

from pathlib import Path
from typing import Any

import h5py
import hdf5plugin
import numpy as np
import pytest
from numpy.typing import NDArray

from bluesky_azint.errors import FormatError, RecipeError
from bluesky_azint.io.images import (
    MASK_SUFFIXES,
    open_frames,
    read_image,
    read_mask,
    read_mean,
    write_mask,
)
from bluesky_azint.packed import PackedFrames

fabio = pytest.importorskip("fabio")

RNG = np.random.default_rng(1)
STACK = RNG.integers(0, 60_000, (5, 7, 9)).astype(np.uint16)


def saved(path: Path, **datasets: NDArray[Any]) -> Path:
    with h5py.File(path, "w") as file:
        for name, data in datasets.items():
            file[name.replace("__", "/")] = data
    return path


def write_image(path: Path, data: NDArray[Any]) -> None:
    kind = {".tif": "tif", ".cbf": "cbf", ".edf": "edf", ".npy": "numpy"}[path.suffixes[0]]
    image = fabio.factory(f"{kind}image")
    image.data = data
    image.write(str(path))


def assert_frames(path: Path | str, expected: NDArray[Any]) -> None:
    with open_frames(path) as frames:
        assert len(frames) == len(expected)
        assert frames.shape == expected.shape[1:]
        assert frames.dtype == expected.dtype
        np.testing.assert_array_equal(list(frames), expected)
        np.testing.assert_array_equal(frames[-1], expected[-1])
        for start, stop in [(0, len(expected)), (1, 3), (2, 2), (4, 99)]:
            stack = frames.stack(start, stop)
            assert stack.dtype == expected.dtype
            np.testing.assert_array_equal(stack, expected[start:stop])
            np.testing.assert_array_equal(frames.stored(start, stop), stack, strict=True)
        with pytest.raises(IndexError):
            frames[len(expected)]


@pytest.mark.parametrize(
    ("suffix", "dtype"),
    [
        ("tif", np.uint16),
        ("tif", np.int32),
        ("tif", np.float32),
        ("cbf", np.int32),
        ("edf", np.uint32),
        ("edf.gz", np.uint32),
        ("npy", np.int64),
    ],
)
def test_one_frame(tmp_path: Path, suffix: str, dtype: type) -> None:
    data = STACK[0].astype(dtype)
    path = tmp_path / f"frame.{suffix}"
    write_image(path, data)
    assert_frames(path, data[np.newaxis])
    np.testing.assert_array_equal(read_image(path), data)


def test_several_frames_in_an_edf_file(tmp_path: Path) -> None:
    image = pytest.importorskip("fabio.edfimage").EdfImage(data=STACK[0])
    for frame in STACK[1:]:
        image.append_frame(data=frame)
    image.write(str(tmp_path / "frames.edf"))
    assert_frames(tmp_path / "frames.edf", STACK)
    with pytest.raises(FormatError, match=r"frames.edf holds 5 frames where one image is wanted"):
        read_image(tmp_path / "frames.edf")


def test_several_frames_in_a_tiff_file(tmp_path: Path) -> None:
    from PIL import Image

    pages = [Image.fromarray(frame) for frame in STACK]
    pages[0].save(tmp_path / "frames.tif", save_all=True, append_images=pages[1:])
    assert_frames(tmp_path / "frames.tif", STACK)


def test_named_dataset(tmp_path: Path) -> None:
    path = saved(tmp_path / "a.h5", here__it=STACK, other=STACK[::-1])
    assert_frames(f"{path}::/here/it", STACK)
    assert_frames(f"{path}::other", STACK[::-1])


@pytest.mark.parametrize("place", ["entry/data/data", "entry/instrument/detector/data", "a/b/c"])
def test_dataset_in_a_usual_place_or_the_only_one(tmp_path: Path, place: str) -> None:
    """What is no stack of frames beside it does not confuse."""
    path = saved(tmp_path / "a.h5", **{place: STACK}, motor=np.arange(5.0), mask=STACK[0] > 9)
    assert_frames(path, STACK)


def test_default_of_a_nexus_file(tmp_path: Path) -> None:
    path = saved(tmp_path / "a.nxs", scan__plot__counts=STACK, entry__data__data=STACK[::-1])
    with h5py.File(path, "a") as file:
        file.attrs["default"] = "scan"
        file["scan"].attrs["default"] = "plot"
        file["scan/plot"].attrs["signal"] = np.bytes_("counts")
    assert_frames(path, STACK)


def test_patterns_are_not_taken_for_frames(tmp_path: Path) -> None:
    path = saved(tmp_path / "a.nxs", scan__I=STACK[0], entry__data__data=STACK)
    with h5py.File(path, "a") as file:
        file.attrs["default"] = "scan"
        file["scan"].attrs.update({"signal": "I", "interpretation": "spectrum"})
    assert_frames(path, STACK)


def test_master_file_with_links(tmp_path: Path) -> None:
    saved(tmp_path / "a_000001.h5", entry__data__data=STACK[:2])
    saved(tmp_path / "a_000002.h5", entry__data__data=STACK[2:])
    with h5py.File(tmp_path / "a_master.h5", "w") as file:
        for number in (1, 2):
            file[f"/entry/data/data_{number:06d}"] = h5py.ExternalLink(
                f"a_{number:06d}.h5", "/entry/data/data"
            )
        file["/entry/instrument/detector/detectorSpecific/flatfield"] = np.ones((7, 9), "f4")
    assert_frames(tmp_path / "a_master.h5", STACK)

    (tmp_path / "a_000002.h5").unlink()
    with pytest.raises(FormatError, match=r"no dataset .*data_000002 in .*linked to a_000002.h5"):
        open_frames(tmp_path / "a_master.h5")


@pytest.mark.parametrize("shape", [(5, 1, 7, 9), (1, 5, 7, 9)])
def test_map_of_frames(tmp_path: Path, shape: tuple[int, ...]) -> None:
    assert_frames(saved(tmp_path / "a.h5", data=STACK.reshape(shape)), STACK)


def test_single_image_in_hdf5(tmp_path: Path) -> None:
    assert_frames(saved(tmp_path / "a.h5", data=STACK[0]), STACK[:1])


@pytest.mark.parametrize("frames", [1, 2])
def test_compressed_frames(tmp_path: Path, frames: int) -> None:
    with h5py.File(tmp_path / "a.h5", "w") as file:
        options = hdf5plugin.Bitshuffle(cname="lz4")
        file.create_dataset("data", data=STACK, chunks=(frames, 7, 9), **options)
    assert_frames(tmp_path / "a.h5", STACK)
    with open_frames(tmp_path / "a.h5") as found:
        assert isinstance(found.stored(1, 3), PackedFrames if frames == 1 else np.ndarray)


def test_compressed_frames_in_several_datasets(tmp_path: Path) -> None:
    with h5py.File(tmp_path / "a.h5", "w") as file:
        for number, rows in enumerate([slice(2), slice(2, 5)]):
            file.create_dataset(
                f"entry/data/data_{number:06d}",
                data=STACK[rows],
                chunks=(1, 7, 9),
                **hdf5plugin.Bitshuffle(cname="lz4"),
            )
    assert_frames(tmp_path / "a.h5", STACK)
    with open_frames(tmp_path / "a.h5") as found:
        second = found.stored(3, 5)
        assert isinstance(second, PackedFrames)
        assert (second.source, second.first) == (f"{tmp_path}/a.h5::/entry/data/data_000001", 1)


def test_mean_of_several_frames(tmp_path: Path) -> None:
    mean, count = read_mean(saved(tmp_path / "a.h5", data=STACK))
    assert count == 5
    np.testing.assert_allclose(mean, STACK.mean(axis=0), rtol=1e-15)
    with pytest.raises(FormatError, match="holds no frame"):
        read_mean(saved(tmp_path / "b.h5", data=STACK[:0]))


def test_real_frames(shared_data: Path) -> None:
    ceria = shared_data / "hexrd_ceo2_pilatus2m"
    image = read_image(ceria / "ceria_50x30_740mm_000005_Pilatus2M.hdf5")
    assert (image.shape, image.dtype.name) == ((1679, 1475), "int32")
    mask = read_mask(ceria / "mask.npz")
    assert (mask.shape, mask.sum()) == ((1679, 1475), 203286)
    pilatus = read_image(shared_data / "dioptas_ceo2_pilatus1m" / "CeO2_Pilatus1M.tif")
    assert (pilatus.dtype.name, pilatus.min()) == ("int32", -2)


@pytest.mark.parametrize("name", ["mask.npy", "mask.npz", "mask.edf", "mask.tif", "mask.h5"])
def test_mask(tmp_path: Path, name: str) -> None:
    mask = STACK[0] > 30_000
    path = tmp_path / name
    if name.endswith("npy"):
        np.save(path, mask)
    elif name.endswith("npz"):
        np.savez(path, mask=mask.astype(float) * 0.5, radius=np.zeros((7, 9)))
    elif name.endswith("h5"):
        saved(path, mask=mask)
    else:
        write_image(path, mask.astype(np.int8))
    found = read_mask(path)
    assert found.dtype == bool
    np.testing.assert_array_equal(found, mask)


@pytest.mark.parametrize("suffix", MASK_SUFFIXES)
def test_mask_there_and_back(tmp_path: Path, suffix: str) -> None:
    mask = STACK[0] > 30_000
    path = tmp_path / f"mask{suffix}"
    for written in (mask, ~mask):  # the second time over what stands there
        write_mask(path, written)
        np.testing.assert_array_equal(read_mask(path), written)


def test_mask_of_another_format_is_refused(tmp_path: Path) -> None:
    with pytest.raises(RecipeError, match=r"cannot be written as '\.jpg'; the suffixes \.npz"):
        write_mask(tmp_path / "mask.jpg", STACK[0] > 0)


def test_mask_among_several_arrays_is_refused(tmp_path: Path) -> None:
    np.savez(tmp_path / "a.npz", good=STACK[0], bad=STACK[0])
    with pytest.raises(FormatError, match="holds the arrays good, bad; the one that is the mask"):
        read_mask(tmp_path / "a.npz")


def test_candidates_are_named(tmp_path: Path) -> None:
    path = saved(tmp_path / "a.h5", one=STACK, two=STACK)
    with pytest.raises(
        FormatError, match=r"has /one \(5, 7, 9\), /two .* Name one as .*a.h5::/one"
    ):
        open_frames(path)
    with pytest.raises(FormatError, match="no dataset of two or more dimensions"):
        open_frames(saved(tmp_path / "b.h5", motor=np.arange(5.0)))


def test_what_is_not_there_or_no_image(tmp_path: Path) -> None:
    path = saved(tmp_path / "a.h5", motor=np.arange(5.0))
    with pytest.raises(FormatError, match=r"There is no dataset /data in .*a.h5"):
        open_frames(f"{path}::/data")
    with pytest.raises(FormatError, match="no dataset of two-dimensional frames"):
        open_frames(f"{path}::/motor")
    for reader in (open_frames, read_image, read_mean, read_mask):
        for name in ("nowhere.tif", "nowhere.npz", "nowhere.h5::/data"):
            with pytest.raises(FormatError, match=r"There is no file .*nowhere"):
                reader(tmp_path / name)


@pytest.mark.parametrize("name", ["a.tif", "a.cbf", "a.edf", "a.txt", "a.npy", "a.h5"])
@pytest.mark.parametrize("content", [b"", b"this is no image at all" * 100])
def test_garbage(tmp_path: Path, name: str, content: bytes) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(FormatError, match=f"{name} (cannot be read|is damaged)"):
        open_frames(tmp_path / name)
    with pytest.raises(FormatError, match=f"{name} (cannot be read|is damaged)"):
        open_frames(f"{tmp_path / name}::/data")


@pytest.mark.parametrize("suffix", ["tif", "cbf", "edf", "npy", "npz", "h5"])
@pytest.mark.parametrize("part", [0.2, 0.6, 0.95])
def test_truncated_file(tmp_path: Path, suffix: str, part: float) -> None:
    whole, cut = tmp_path / f"whole.{suffix}", tmp_path / f"cut.{suffix}"
    data = RNG.integers(0, 60_000, (100, 100)).astype(np.int32)
    if suffix == "npy":
        np.save(whole, data)
    elif suffix == "npz":
        np.savez(whole, data)
    elif suffix == "h5":
        saved(whole, data=data)
    else:
        write_image(whole, data)
    content = whole.read_bytes()
    cut.write_bytes(content[: int(len(content) * part)])
    with pytest.raises(FormatError, match=f"cut.{suffix}"):
        read_mask(cut)


def test_frames_of_different_shapes_are_refused(tmp_path: Path) -> None:
    path = saved(tmp_path / "a.h5", entry__data__data_1=STACK, entry__data__data_2=STACK[:, 1:])
    with pytest.raises(FormatError, match="differ in shape"):
        open_frames(path)
