"""No file outside of the allowed folders is opened, whatever documents and files say."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
import tifffile

from bluesky_azint.callbacks.assets import Asset
from bluesky_azint.callbacks.reader import FrameReader
from bluesky_azint.callbacks.roots import Roots
from bluesky_azint.errors import FrameError, FramesMissing

DATASET = "/entry/data/data"
SECRET = 4321
OUTSIDE = "outside of the folders that may be read"


@pytest.fixture
def inside(tmp_path: Path) -> Path:
    """The allowed folder; beside it there is one that is not."""
    folder = tmp_path / "data"
    folder.mkdir()
    write(folder / "f.h5", 1)
    tifffile.imwrite(folder / "f.tif", np.full((3, 4), 1, np.uint16))
    return folder


@pytest.fixture
def outside(tmp_path: Path) -> Path:
    folder = tmp_path / "data of others"
    folder.mkdir()
    write(folder / "f.h5", SECRET)
    tifffile.imwrite(folder / "f.tif", np.full((3, 4), SECRET, np.uint16))
    np.full((2, 3, 4), SECRET, np.uint16).tofile(folder / "f.raw")
    return folder


@pytest.fixture
def reader(inside: Path) -> Iterator[FrameReader]:
    reader = FrameReader(max_bytes=2**20, roots=Roots([inside]), max_frame_bytes=2**16)
    yield reader
    reader.close()


@pytest.fixture(autouse=True)
def opened(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The files that h5py was told to open."""
    paths: list[str] = []
    real = h5py.File

    def noting(name: str, *args: Any, **options: Any) -> h5py.File:
        paths.append(os.path.realpath(name))
        return real(name, *args, **options)

    monkeypatch.setattr(h5py, "File", noting)
    return paths


def write(path: Path, value: int, **options: Any) -> None:
    with h5py.File(path, "w") as file:
        file.create_dataset(DATASET, data=np.full((2, 3, 4), value, np.uint16), **options)


def first_pixels(frames: Any) -> list[int]:
    pixels: list[int] = np.asarray(frames)[:, 0, 0].tolist()
    return pixels


def asset(path: Path | str, dataset: str | None = DATASET, **fields: Any) -> Asset:
    return Asset(uid=str(path), path=str(path), dataset=dataset, **fields)


def refused(reader: FrameReader, where: Asset, *, match: str = OUTSIDE) -> str:
    """A reading that is refused at once, for good, and without anything of it being read."""
    begin = time.monotonic()
    with pytest.raises(FramesMissing, match=match) as error:
        reader.read(where, 0, 2, deadline=begin + 5)
    assert time.monotonic() - begin < 2
    return str(error.value)


def test_what_is_inside_is_read(reader: FrameReader, inside: Path) -> None:
    assert first_pixels(reader.read(asset(inside / "f.h5"), 0, 2)) == [1, 1]
    assert first_pixels(reader.read(asset(inside / "f.tif", None), 0, 1)) == [1]
    assert first_pixels(reader.read(asset(f"{inside}//../{inside.name}/./f.h5"), 0, 1)) == [1]
    (inside / "link.h5").symlink_to(inside / "f.h5")
    assert first_pixels(reader.read(asset(inside / "link.h5"), 0, 1)) == [1]


@pytest.mark.parametrize("name", ["f.h5", "f.tif"])
def test_what_is_outside_is_not(
    reader: FrameReader, inside: Path, outside: Path, name: str, opened: list[str]
) -> None:
    (inside / name).unlink()
    (inside / name).symlink_to(outside / name)
    (inside / "folder").symlink_to(outside)
    dataset = DATASET if name == "f.h5" else None
    opened.clear()
    for path in (
        outside / name,
        inside / ".." / outside.name / name,
        inside / name,
        inside / "folder" / name,
        f"{inside} of others/{name}",
        f"//{outside}//{name}",
        os.path.relpath(outside / name),
        f"C:{outside / name}",
    ):
        refused(reader, asset(path, dataset))
    assert opened == []


def test_the_refusal_tells_the_cure(reader: FrameReader, inside: Path, outside: Path) -> None:
    (inside / "l.h5").symlink_to(outside / "f.h5")
    message = refused(reader, asset(inside / "l.h5"))
    assert f"{inside / 'l.h5'}, which is {outside / 'f.h5'}, is outside" in message
    assert f"may be read ({inside})" in message
    assert "add its folder to 'roots' in [files] of the configuration" in message


def test_roots_may_be_links(tmp_path: Path, inside: Path, outside: Path) -> None:
    """As the folder of a visit is, which is another one next week."""
    visit = tmp_path / "current"
    visit.symlink_to(inside)
    roots = Roots([visit])
    roots.check(str(visit / "f.h5"))
    roots.check(str(inside / "f.h5"))
    visit.unlink()
    visit.symlink_to(outside)
    roots.check(str(outside / "f.h5"))
    with pytest.raises(FrameError, match=OUTSIDE):
        roots.check(str(inside / "f.h5"))


def test_no_roots(inside: Path) -> None:
    Roots(None).check(str(inside / "f.h5"))
    Roots(["/"]).check(str(inside / "f.h5"))
    with pytest.raises(FrameError, match=r"may be read \(none\)"):
        Roots([]).check(str(inside / "f.h5"))
    with pytest.raises(FileNotFoundError):
        Roots([inside]).check(str(inside / "later.h5"))


def pipe(path: Path) -> None:
    os.mkfifo(path)


@pytest.mark.parametrize("make", [pipe, Path.mkdir])
@pytest.mark.parametrize("name", ["x.h5", "x.tif"])
def test_pipes_and_folders(
    reader: FrameReader, inside: Path, make: Callable[[Path], None], name: str
) -> None:
    """Nobody ever writes to the pipe: to open it would never return."""
    make(inside / name)
    dataset = DATASET if name == "x.h5" else None
    refused(reader, asset(inside / name, dataset), match="a folder, a device or a pipe")
    anywhere = FrameReader(max_bytes=1)
    refused(anywhere, asset(inside / name, dataset), match="a folder, a device or a pipe")
    refused(anywhere, asset("/dev/zero", dataset), match="a folder, a device or a pipe")


@pytest.mark.parametrize("path", ["/data/\0.h5", "/\ud800", "x" * 5000, "/" + "x/" * 3000, ""])
def test_what_is_no_path(reader: FrameReader, path: str) -> None:
    assert len(refused(reader, asset(path), match="cannot be opened|outside")) < 2000


def test_the_name_of_a_dataset_in_a_path(reader: FrameReader, inside: Path, outside: Path) -> None:
    (inside / "x.tif").symlink_to(outside / "f.h5")
    (inside / "x.tif::").mkdir()
    tifffile.imwrite(inside / "x.tif::" / "f.tif", np.ones((3, 4)))
    refused(reader, asset(inside / "x.tif::" / "f.tif", None), match="'::'")


def links(inside: Path, outside: Path) -> dict[str, Any]:
    relative = os.path.relpath(outside / "f.h5", inside)
    (inside / "l.h5").symlink_to(outside / "f.h5")
    return {
        "absolute": h5py.ExternalLink(outside / "f.h5", DATASET),
        "relative": h5py.ExternalLink(relative, DATASET),
        "symlink": h5py.ExternalLink("l.h5", DATASET),
        "group": h5py.ExternalLink(relative, "/entry"),
        "soft": h5py.SoftLink("/absolute"),
        "relative_soft": h5py.SoftLink("./relative"),
    }


def test_links_in_files(
    reader: FrameReader, inside: Path, outside: Path, opened: list[str]
) -> None:
    there = links(inside, outside)
    with h5py.File(inside / "m.h5", "w") as file:
        for name, link in there.items():
            file[name] = link
        file["good"] = h5py.ExternalLink("f.h5", DATASET)
        file["to/good"] = h5py.SoftLink("/good")
        file["entry/data"] = h5py.ExternalLink("f.h5", "/entry/data")
        file["round"] = h5py.SoftLink("/round")
    opened.clear()
    for name in there:
        refused(reader, asset(inside / "m.h5", f"{name}/data/data" if name == "group" else name))
    refused(reader, asset(inside / "m.h5", "round"), match="from link to link without end")
    for name in ("good", "/to//./good", "/entry/data/data"):
        assert first_pixels(reader.read(asset(inside / "m.h5", name), 0, 2)) == [1, 1]
        reader.close()
    assert set(opened) == {str(inside / "m.h5"), str(inside / "f.h5")}


def virtual(path: Path, source: str, name: str = DATASET) -> None:
    layout = h5py.VirtualLayout((2, 3, 4), np.uint16)
    layout[:] = h5py.VirtualSource(source, name, (2, 3, 4))
    with h5py.File(path, "w") as file:
        file.create_virtual_dataset(DATASET, layout)


def growing(path: Path, source: str) -> None:
    """Of such a one HDF5 opens the sources to tell its shape."""
    layout = h5py.VirtualLayout((2, 3, 4), np.uint16, maxshape=(None, 3, 4))
    there = h5py.VirtualSource(source, DATASET, (2, 3, 4), maxshape=(None, 3, 4))
    layout[: h5py.h5s.UNLIMITED] = there[: h5py.h5s.UNLIMITED]
    with h5py.File(path, "w", libver="latest") as file:
        file.create_virtual_dataset(DATASET, layout)


@pytest.mark.parametrize("make", [virtual, growing])
def test_sources_of_virtual_datasets(
    reader: FrameReader, inside: Path, outside: Path, make: Callable[[Path, str], None]
) -> None:
    os.mkfifo(outside / "pipe")
    (inside / "l.h5").symlink_to(outside / "pipe")
    for source in (str(outside / "pipe"), f"../{outside.name}/pipe", "l.h5"):
        make(inside / "v.h5", source)
        refused(reader, asset(inside / "v.h5"))
    write(inside / "s.h5", 7, chunks=(1, 3, 4), maxshape=(None, 3, 4))
    make(inside / "v.h5", "s.h5")
    assert first_pixels(reader.read(asset(inside / "v.h5"), 0, 2)) == [7, 7]


def test_virtual_datasets_of_others(reader: FrameReader, inside: Path, outside: Path) -> None:
    """What is inside leads outside by what is inside it."""
    virtual(inside / "w.h5", str(outside / "f.h5"))
    virtual(inside / "v.h5", "w.h5")
    refused(reader, asset(inside / "v.h5"))
    with h5py.File(inside / "m.h5", "w") as file:
        file[DATASET] = h5py.ExternalLink(outside / "f.h5", DATASET)
    virtual(inside / "x.h5", "m.h5")
    refused(reader, asset(inside / "x.h5"))
    virtual(inside / "itself.h5", ".")
    refused(reader, asset(inside / "itself.h5"), match="without end")


def test_virtual_datasets_of_numbered_files(reader: FrameReader, inside: Path) -> None:
    """HDF5 goes on from number to number, and no folder is told to it."""
    layout = h5py.VirtualLayout((1, 3, 4), np.uint16, maxshape=(None, 3, 4))
    layout[0 : h5py.h5s.UNLIMITED : 1] = h5py.VirtualSource("f%b.h5", DATASET, (1, 3, 4))
    with h5py.File(inside / "v.h5", "w", libver="latest") as file:
        file.create_virtual_dataset(DATASET, layout)
    refused(reader, asset(inside / "v.h5"), match="from all files f%b.h5; which these are")
    for number in range(2):
        with h5py.File(inside / f"f{number}.h5", "w") as file:
            file[DATASET] = np.full((1, 3, 4), number, np.uint16)
    trusting = FrameReader(max_bytes=2**20)
    assert first_pixels(trusting.read(asset(inside / "v.h5"), 0, 2)) == [0, 1]
    trusting.close()


def test_values_in_other_files(reader: FrameReader, inside: Path, outside: Path) -> None:
    def raw(path: Path) -> None:
        with h5py.File(inside / "r.h5", "w") as file:
            file.create_dataset(DATASET, (2, 3, 4), np.uint16, external=[(path, 0, 48)])

    for path in (outside / "f.raw", Path(os.path.relpath(outside / "f.raw"))):
        raw(path)
        refused(reader, asset(inside / "r.h5"))
    np.full((2, 3, 4), 5, np.uint16).tofile(inside / "f.raw")
    raw(inside / "f.raw")
    assert first_pixels(reader.read(asset(inside / "r.h5"), 0, 2)) == [5, 5]


def test_series(reader: FrameReader, inside: Path, outside: Path) -> None:
    for number in range(2):
        tifffile.imwrite(inside / f"x_{number}.tif", np.full((3, 4), number, np.uint16))
    (inside / "x_2.tif").symlink_to(outside / "f.tif")
    where = asset(inside / "x", None, template="_%d.tif")
    assert first_pixels(reader.read(where, 0, 3)) == [0, 1]
    with pytest.raises(FramesMissing, match=OUTSIDE) as error:
        reader.read(where, 2, 5)
    assert error.value.until == 3
    refused(reader, asset(inside / "x", None, template=f"/../../{outside.name}/%d.tif"))


@pytest.mark.parametrize(
    ("shape", "chunks", "match"),
    [
        ((1, 10**6, 10**6), (1, 16, 16), "frames of 2000000000000 bytes; at most 65536"),
        ((10**6, 16, 16), (2**20, 16, 16), "chunks of 536870912 bytes"),
        ((2, 0, 4), None, "frames of no pixels"),
    ],
)
def test_datasets_that_are_too_large(
    reader: FrameReader, inside: Path, shape: tuple[int, ...], chunks: Any, match: str
) -> None:
    with h5py.File(inside / "x.h5", "w") as file:
        limit = (None, *shape[1:])
        file.create_dataset(DATASET, shape, np.uint16, chunks=chunks, maxshape=chunks and limit)
    refused(reader, asset(inside / "x.h5"), match=match)


def test_datasets_of_other_things(reader: FrameReader, inside: Path) -> None:
    with h5py.File(inside / "x.h5", "w") as file:
        file["compound"] = np.zeros((2, 3, 4), [("a", "f4"), ("b", "i2")])
        file["complex"] = np.zeros((2, 3, 4), complex)
        file["text"] = np.array([[["a"]]], dtype="S4")
        file.create_dataset("objects", (2, 3, 4), h5py.string_dtype())
        file.create_dataset("ragged", (2, 3, 4), h5py.vlen_dtype(np.uint8))
        file["empty"] = h5py.Empty("f4")
        file["scalar"] = 1.0
        file["group/x"] = 1.0
        file.attrs["a"] = np.zeros((2, 3, 4))
        names = set(file)
    for name in names - {"group"}:
        refused(reader, asset(inside / "x.h5", name), match="is no stack of images, but ")
    refused(reader, asset(inside / "x.h5", "/group"), match="is a group and no dataset")
    refused(reader, asset(inside / "x.h5", "/compound/x"), match="compound .* is no group")
    with pytest.raises(FramesMissing, match="There is no a in"):
        reader.read(asset(inside / "x.h5", "a"), 0, 1)


@pytest.mark.parametrize(("start", "stop"), [(-1, 1), (2, 2), (3, 1)])
def test_frames_that_cannot_be(reader: FrameReader, inside: Path, start: int, stop: int) -> None:
    with pytest.raises(FramesMissing, match=f"has no frames {start} to {stop}"):
        reader.read(asset(inside / "f.h5"), start, stop)
