"""Frames and masks from files.

HDF5 and NeXus files, with any compression that hdf5plugin knows, are read directly; a dataset is
named as ``file.h5::/entry/data/data``, and found where it is not named. All other formats (TIFF,
CBF, EDF, MarCCD, mar345 ...) are read by fabio. The values and their type stay as they are.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from os import PathLike, fspath
from pathlib import Path
from typing import Any, Self

import h5py
import numpy as np
from numpy.typing import NDArray

from bluesky_azint.errors import AzintError, FormatError, RecipeError
from bluesky_azint.io.chunks import packed_frames
from bluesky_azint.packed import PackedFrames

# Where detectors put their frames; Dectris numbers the files that its master file links to.
_USUAL_PLACES = ("/entry/data/data", "/entry/instrument/detector/data")
_NUMBERED = "data_"

_LONGEST_CBF_HEADER = 2**20

MASK_SUFFIXES = (".npz", ".npy", ".edf", ".tif", ".tiff", ".h5", ".hdf5", ".nxs")


class Frames:
    """The frames of a file, each read when it is asked for.

    ``len`` tells how many there are, ``frames[i]`` is one and ``for frame in frames`` gives all.
    As a context manager it closes the file.

    Parameters
    ----------
    source
        Where they come from.
    count, shape, dtype
        How many there are, and the shape and the type of each.
    read
        ``read(start, stop)`` gives an array (stop - start, rows, columns).
    close
        Closes the file.
    read_packed
        ``read_packed(start, stop)`` gives frames as they are stored; None where they are not
        packed. None if they never are.
    """

    def __init__(
        self,
        *,
        source: str,
        count: int,
        shape: tuple[int, int],
        dtype: np.dtype[Any],
        read: Callable[[int, int], NDArray[Any]],
        close: Callable[[], None],
        read_packed: Callable[[int, int], PackedFrames | None] | None = None,
    ) -> None:
        self.source = source
        self.shape = shape
        self.dtype = dtype
        self.close = close
        self._count = count
        self._read = read
        self._read_packed = read_packed

    def __len__(self) -> int:
        return self._count

    def __getitem__(self, index: int) -> NDArray[Any]:
        """One frame, counted from the end where the index is negative."""
        row = range(len(self))[index]
        frame: NDArray[Any] = self.stack(row, row + 1)[0]
        return frame

    def __iter__(self) -> Iterator[NDArray[Any]]:
        return (self[row] for row in range(len(self)))

    def stack(self, start: int, stop: int) -> NDArray[Any]:
        """Frames ``start`` to before ``stop`` as one array, (n, rows, columns).

        Raises
        ------
        FormatError
            If the file is damaged there.
        """
        rows = range(len(self))[start:stop]
        with _reading(self.source):
            return self._read(rows.start, max(rows.start, rows.stop))

    def stored(self, start: int, stop: int) -> NDArray[Any] | PackedFrames:
        """Frames ``start`` to before ``stop``, packed if the file holds them so.

        Raises
        ------
        FormatError
            If the file is damaged there.
        """
        if self._read_packed is not None:
            rows = range(len(self))[start:stop]
            with _reading(self.source):
                packed = self._read_packed(rows.start, max(rows.start, rows.stop))
            if packed is not None:
                return packed
        return self.stack(start, stop)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def open_frames(path: str | PathLike[str]) -> Frames:
    """Open the frames of a file.

    Raises
    ------
    FormatError
        If there is no such file, it is damaged, or it does not tell which of its datasets are the
        frames.
    """
    name, _, dataset = fspath(path).partition("::")
    if not Path(name).is_file():
        raise FormatError(f"There is no file {name}.")
    with _reading(name):
        if dataset or h5py.is_hdf5(name):
            return _hdf5_frames(name, dataset)
        return _fabio_frames(name)


def read_image(path: str | PathLike[str]) -> NDArray[Any]:
    """The frame of a file that holds one.

    Raises
    ------
    FormatError
        As `open_frames`, and if the file holds several frames.
    """
    with open_frames(path) as frames:
        if len(frames) != 1:
            raise FormatError(
                f"{frames.source} holds {len(frames)} frames where one image is wanted; average "
                "them, or pick one, and save it to a file of its own."
            )
        return frames[0]


def read_mean(path: str | PathLike[str]) -> tuple[NDArray[np.float64], int]:
    """The mean of the frames of a file (dark or flat ones, say), and how many they are.

    Raises
    ------
    FormatError
        As `open_frames`, and if the file holds no frame.
    """
    with open_frames(path) as frames:
        if not len(frames):
            raise FormatError(f"{frames.source} holds no frame.")
        total = np.zeros(frames.shape)
        for frame in frames:
            total += frame
        return total / len(frames), len(frames)


def read_mask(path: str | PathLike[str]) -> NDArray[np.bool_]:
    """A mask from an image, a NumPy or an HDF5 file: what is not zero is masked.

    Raises
    ------
    FormatError
        As `read_image`, and if a ``.npz`` file does not tell which of its arrays is the mask.
    """
    if Path(path).suffix != ".npz":
        return np.asarray(read_image(path) != 0)
    if not Path(path).is_file():
        raise FormatError(f"There is no file {path}.")
    with _reading(fspath(path)), Path(path).open("rb") as file, np.load(file) as arrays:
        name = arrays.files[0] if len(arrays.files) == 1 else "mask"
        if name not in arrays:
            raise FormatError(
                f"{path} holds the arrays {', '.join(arrays.files)}; the one that is the mask must "
                "be called 'mask', or be the only one."
            )
        return np.asarray(arrays[name] != 0)


def write_mask(path: str | PathLike[str], mask: NDArray[np.bool_]) -> None:
    """Write a mask as an image of zeros and ones, over what stands there.

    The suffix tells the format: ``.npz``, ``.npy``, ``.edf``, ``.tif``, ``.tiff``, ``.h5``,
    ``.hdf5`` or ``.nxs``.

    Raises
    ------
    RecipeError
        If the suffix tells none of these.
    """
    path = Path(path)
    values = np.asarray(mask, np.uint8)
    match path.suffix.lower():
        case ".npz":
            np.savez_compressed(path, mask=values)
        case ".npy":
            np.save(path, values)
        case ".edf":
            from fabio.edfimage import EdfImage

            EdfImage(data=values).write(fspath(path))
        case ".tif" | ".tiff":
            from fabio.tifimage import TifImage

            TifImage(data=values).write(fspath(path))
        case ".h5" | ".hdf5" | ".nxs":
            with h5py.File(path, "w") as file:
                data = file.create_dataset("entry/data/data", data=values, compression="gzip")
                for group, kind in (("entry", "NXentry"), ("entry/data", "NXdata")):
                    file[group].attrs["NX_class"] = kind
                data.parent.attrs["signal"] = "data"
                file["entry"].attrs["default"] = "data"
                file.attrs["default"] = "entry"
        case suffix:
            raise RecipeError(
                f"A mask cannot be written as {suffix or path.name!r}; "
                f"the suffixes {', '.join(MASK_SUFFIXES)} are known."
            )


@contextmanager
def _reading(source: str) -> Iterator[None]:
    """Say which file could not be read, whatever the library that reads it raises."""
    try:
        yield
    except AzintError:
        raise
    except Exception as error:
        reason = str(error) or type(error).__name__
        raise FormatError(f"{source} cannot be read as an image: {reason}.") from error


def _fabio_frames(name: str) -> Frames:
    import fabio

    _check_cbf(name)
    image = fabio.open(name)
    if image.data is None or image.data.ndim != 2 or image.incomplete_file:
        image.close()
        raise FormatError(f"{name} is damaged or cut off, or its frames are not two-dimensional.")

    def read(start: int, stop: int) -> NDArray[Any]:
        frames = np.empty((stop - start, *image.data.shape), image.data.dtype)
        for row in range(start, stop):
            np.copyto(frames[row - start], image.get_frame(row).data, casting="equiv")
        return frames

    return Frames(
        source=name,
        count=image.nframes,
        shape=image.data.shape,
        dtype=image.data.dtype,
        read=read,
        close=image.close,
    )


def _check_cbf(name: str) -> None:
    """Make sure that a CBF file is whole: in one without its data fabio searches for ever."""
    with Path(name).open("rb") as file:
        start = file.read(_LONGEST_CBF_HEADER)
    if not start.startswith(b"###CBF"):
        return
    marker = start.find(b"\x0c\x1a\x04\xd5")
    size = re.search(rb"X-Binary-Size:\s*(\d+)", start[: max(marker, 0)])
    if marker < 0 or (size and Path(name).stat().st_size < marker + 4 + int(size[1][:18])):
        raise FormatError(f"{name} is cut off.")


def _hdf5_frames(name: str, dataset: str) -> Frames:
    import hdf5plugin  # noqa: F401  registers its filters

    file = h5py.File(name, "r")
    try:
        parts = [_dataset(file, dataset)] if dataset else _find(file)
        if any(part.shape[-2:] != parts[0].shape[-2:] for part in parts):
            raise FormatError(f"The frames of {name} differ in shape from one dataset to the next.")
    except BaseException:
        file.close()
        raise
    counts = [int(np.prod(part.shape[:-2])) for part in parts]
    starts = np.cumsum([0, *counts])

    def read(start: int, stop: int) -> NDArray[Any]:
        frames = np.empty((stop - start, *parts[0].shape[-2:]), parts[0].dtype)
        for part, first, count in zip(parts, starts, counts, strict=False):
            low, high = max(start, first), min(stop, first + count)
            if low < high:
                frames[low - start : high - start] = _rows(part, low - first, high - first)
        return frames

    def read_packed(start: int, stop: int) -> PackedFrames | None:
        part = int(np.searchsorted(starts, start, side="right")) - 1
        if start == stop or stop > starts[part + 1]:
            return None
        return packed_frames(parts[part], start - int(starts[part]), stop - int(starts[part]))

    return Frames(
        source=f"{name}::{parts[0].name}",
        count=sum(counts),
        shape=parts[0].shape[-2:],
        dtype=parts[0].dtype,
        read=read,
        close=file.close,
        read_packed=read_packed,
    )


def _rows(part: h5py.Dataset, start: int, stop: int) -> NDArray[Any]:
    """Frames of a dataset, its leading dimensions (a map, say) taken as one."""
    if part.ndim == 3:
        return np.asarray(part[start:stop])
    places = (np.unravel_index(row, part.shape[:-2]) for row in range(start, stop))
    return np.stack([part[place] for place in places])


def _dataset(file: h5py.File, path: str) -> h5py.Dataset:
    found = file.get(path)
    if found is None:
        link = file.get(path, getlink=True)
        where = f", which is linked to {link.filename}" if hasattr(link, "filename") else ""
        raise FormatError(f"There is no dataset {path} in {file.filename}{where}.")
    if not _is_image(found):
        raise FormatError(f"{path} in {file.filename} is no dataset of two-dimensional frames.")
    return found


def _find(file: h5py.File) -> list[h5py.Dataset]:
    """The dataset of the frames; several where they are numbered."""
    for place in (_default(file), *_USUAL_PLACES):
        if place is not None and _is_image(file.get(place)):
            return [file[place]]
    data = file.get("/entry/data", {})
    if numbered := sorted(key for key in data if key.startswith(_NUMBERED)):
        return [_dataset(file, f"/entry/data/{key}") for key in numbered]
    return [_only_one(file)]


def _default(file: h5py.File) -> str | None:
    """Where the NeXus attributes ``default`` and ``signal`` lead to, unless it is a spectrum."""
    group = file
    for _ in ("entry", "subentry", "data"):
        name = _attribute(group, "default")
        target = group.get(name) if name else None
        if not isinstance(target, h5py.Group):
            break
        group = target
    if _attribute(group, "interpretation") == "spectrum":
        return None
    return f"{group.name}/{_attribute(group, 'signal')}"


def _attribute(group: h5py.Group, name: str) -> str:
    value = group.attrs.get(name, "")
    return value.decode() if isinstance(value, bytes) else str(value)


def _only_one(file: h5py.File) -> h5py.Dataset:
    images: list[h5py.Dataset] = []
    file.visititems(lambda _, item: images.append(item) if _is_image(item) else None)
    stacks = [image for image in images if image.ndim > 2]
    candidates = stacks or images
    if len(candidates) != 1:
        names = ", ".join(f"{image.name} {image.shape}" for image in candidates)
        raise FormatError(
            f"{file.filename} does not tell where its frames are: "
            + (f"it has {names}. Name one as {file.filename}::{candidates[0].name}."
               if names else "it has no dataset of two or more dimensions.")
        )  # fmt: skip
    return candidates[0]


def _is_image(item: object) -> bool:
    return isinstance(item, h5py.Dataset) and item.ndim >= 2 and item.dtype.kind in "biuf"
