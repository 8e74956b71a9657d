"""Datasets of frames in HDF5 files, wherever the files say that these are.

A dataset may be linked from another file, as those of Dectris are; be put together from the
datasets of others, as fast detectors do that write with several processes; or have its values in
files that are not HDF5. HDF5 follows all that by itself, to any place of the machine. So the ways
are gone here step by step, each file is opened only where it may be, and what HDF5 would open by
itself is looked at before.

HDF5 gives zeros for frames that were not written, and for files that are not there. Both can be
asked for, and no frame is given that was never taken.

A dataset that is open twice in a process must not be refreshed: HDF5 then loses its chunks, or
crashes. So there is one for all who follow it.
"""

from __future__ import annotations

import math
import os
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from threading import Lock
from typing import Any

import h5py
import numpy as np
from numpy.typing import NDArray

from bluesky_azint.callbacks.roots import Roots
from bluesky_azint.errors import FormatError, FrameError
from bluesky_azint.io.chunks import packed_frames
from bluesky_azint.io.growing import open_growing
from bluesky_azint.packed import PackedFrames

# A writer that does not know SWMR locks its file; what it has flushed can be read nevertheless.
_OTHER_WAYS_TO_OPEN: tuple[dict[str, bool], ...] = ({}, {"locking": False})

# From link to link; one from a virtual dataset to its sources counts for several.
_MOST_STEPS = 16
_STEPS_TO_SOURCE = 8


class FrameDataset:
    """A dataset of images, and the files that were opened for it.

    Parameters
    ----------
    path, name
        The file, and the place in it.
    roots
        Where files may be.
    max_frame_bytes
        How large a frame may be.
    steps
        How many links and virtual datasets led here already.

    Attributes
    ----------
    dataset
        The dataset, ``(..., rows, columns)``.
    live
        Whether it can be followed while it is written.

    Raises
    ------
    FrameError
        If it leads outside of the roots, or is no dataset of images, or has too large ones. Other
        errors, of any kind, may mean that it is not written yet.
    """

    def __init__(
        self, path: str, name: str, *, roots: Roots, max_frame_bytes: int, steps: int = 0
    ) -> None:
        self.live = True
        self._users = 0
        self._roots = roots
        self._max_frame_bytes = max_frame_bytes
        self._steps = steps
        self._files: list[h5py.File] = []
        self._parts: dict[tuple[str, str], FrameDataset] = {}
        try:
            self.dataset: h5py.Dataset = self._find(self._open(path), name)
            self._sources = self._virtual_sources()
            # HDF5 does not survive it when what it has open by itself is refreshed as well.
            self.live = self.live and not self._sources
            self._check_raw_files()
            self._check_images()
        except BaseException:
            self.close()
            raise

    def __len__(self) -> int:
        return math.prod(self.dataset.shape[:-2])

    @property
    def frame_bytes(self) -> int:
        """How many bytes a frame has, unpacked."""
        return int(math.prod(self.dataset.shape[-2:]) * self.dataset.dtype.itemsize)

    def shared(self) -> FrameDataset:
        """The same dataset as it is open already, and is to be used instead; else this one."""
        with _LOCK:
            info = h5py.h5o.get_info(self.dataset.id)
            same = _SHARED.setdefault((info.fileno, info.addr), self)
            same._users += 1
        if same is not self:
            self.close()
            same.refresh()
        return same

    def close(self) -> None:
        """Close the files, unless somebody else uses them."""
        with _LOCK:
            self._users -= 1
            if self._users > 0:
                return
            for key in [key for key, value in _SHARED.items() if value is self]:
                del _SHARED[key]
        self._close_parts()
        for file in self._files:
            file.close()

    def refresh(self) -> None:
        """See what has been written since."""
        self.dataset.refresh()

    def frames(self, start: int, stop: int) -> NDArray[Any] | PackedFrames:
        """Frames from `start` on, as many before `stop` as were written and can be had at once.

        Returns
        -------
        Array (n, rows, columns), n >= 1; or the same as it is packed in the file.

        Raises
        ------
        FormatError
            If not even the first has been written. HDF5 raises what it likes for damaged ones.
        """
        try:
            stop = self._end_of_written(start, stop)
        finally:
            self._close_parts()
        if self.dataset.ndim == 2:
            return np.asarray(self.dataset[()])[np.newaxis]
        packed = packed_frames(self.dataset, start, stop)
        if packed is None:
            return self._unpacked(start, stop)
        for frame in range(len(packed)):
            packed.block_size(frame)
        return packed

    def _unpacked(self, start: int, stop: int) -> NDArray[Any]:
        """Of a dataset with more dimensions, what is whole in the first, or within the last."""
        _, *inner, rows, columns = self.dataset.shape
        together = math.prod(inner)
        if start % together == 0 and stop - start >= together:
            frames = self.dataset[start // together : stop // together]
            return np.asarray(frames).reshape(-1, rows, columns)
        *place, first = self._place(start)
        return np.asarray(self.dataset[(*place, slice(first, first + stop - start))])

    def _place(self, frame: int) -> tuple[int, ...]:
        outer = self.dataset.shape[:-2]
        return tuple(int(i) for i in np.unravel_index(frame, outer)) if outer else ()

    def _end_of_written(self, start: int, stop: int) -> int:
        """The first frame that has not been written, of those from `start` to before `stop`."""
        self._check_written(self._place(start))
        for frame in range(start + 1, stop):
            try:
                self._check_written(self._place(frame))
            except (FormatError, OSError):
                return frame
        return stop

    def _check_written(self, place: tuple[int, ...]) -> None:
        """Make sure that every chunk of a frame, or of more, is in the file."""
        dataset = self.dataset
        if self._sources:
            self._check_sources(place)
        elif dataset.chunks is not None:
            corner = [
                range(index - index % step, index + 1, step)
                for index, step in zip(place, dataset.chunks, strict=False)
            ]
            beyond = len(corner)
            rest = [
                range(0, size, step)
                for size, step in zip(dataset.shape[beyond:], dataset.chunks[beyond:], strict=True)
            ]
            for coordinates in product(*corner, *rest):
                if dataset.id.get_chunk_info_by_coord(coordinates).byte_offset is None:
                    raise _not_written(dataset, place)
        elif _is_contiguous(dataset) and dataset.id.get_offset() is None:
            raise _not_written(dataset, place)

    def _check_sources(self, place: tuple[int, ...]) -> None:
        """Make sure that there is, and has been written, what a virtual frame is made of."""
        for source in self._sources:
            row = source.row_of(place[0]) if place else None
            if place and row is None:
                continue
            part = self._part(source)
            if row is None or row < 0 or part.dataset.ndim < 3:
                part._check_written(())
            elif row < len(part.dataset):
                part._check_written((row, *place[1 : part.dataset.ndim - 2]))
            else:
                raise _not_written(self.dataset, place)

    def _part(self, source: _Source) -> FrameDataset:
        """A source, opened."""
        key = source.file, source.dataset
        if key not in self._parts:
            self._parts[key] = FrameDataset(
                self._beside(self.dataset.file, source.file),
                source.dataset,
                roots=self._roots,
                max_frame_bytes=self._max_frame_bytes,
                steps=self._steps + _STEPS_TO_SOURCE,
            )
        return self._parts[key]

    def _close_parts(self) -> None:
        for part in self._parts.values():
            part.close()
        self._parts.clear()

    def _open(self, path: str) -> h5py.File:
        """Open a file in the best of all ways."""
        import hdf5plugin  # noqa: F401  registers its filters

        self._roots.check(path)
        try:
            file = open_growing(path)
        except OSError as error:
            file = self._open_otherwise(path, error)
        self._files.append(file)
        return file

    def _open_otherwise(self, path: str, problem: OSError) -> h5py.File:
        for way in _OTHER_WAYS_TO_OPEN:
            with suppress(OSError):
                file = h5py.File(path, "r", **way)
                self.live = False
                return file
        raise problem

    def _find(self, file: h5py.File, name: str) -> h5py.Dataset:
        """Go to a dataset; HDF5 itself never gets to follow a link."""
        found: Any = file["/"]
        names = name.split("/")
        while names:
            step = names.pop(0)
            if step in ("", "."):
                continue
            if not isinstance(found, h5py.Group):
                raise FrameError(
                    f"{found.name} in {file.filename} is no group; {name} is not in it."
                )
            link = found.get(step, getlink=True)
            if link is None:
                raise FormatError(f"There is no {name} in {file.filename}.")
            if isinstance(link, h5py.HardLink):
                found = found[step]
                continue
            self._steps += 1
            if self._steps > _MOST_STEPS:
                raise FrameError(f"{name} in {file.filename} leads from link to link without end.")
            if isinstance(link, h5py.ExternalLink):
                file = self._open(self._beside(file, link.filename))
                found = file["/"]
            elif link.path.startswith("/"):
                found = file["/"]
            names = [*link.path.split("/"), *names]
        if not isinstance(found, h5py.Dataset):
            raise FrameError(f"{name} in {file.filename} is a group and no dataset of images.")
        return found

    def _beside(self, file: h5py.File, name: str) -> str:
        """The path of a file that another one refers to; of the first that there is."""
        places = list(_places(file, name))
        return next((place for place in places if Path(place).exists()), places[0])

    def _virtual_sources(self) -> list[_Source]:
        creation = self.dataset.id.get_create_plist()
        if creation.get_layout() != h5py.h5d.VIRTUAL:
            return []
        if self._steps > _MOST_STEPS:
            raise FrameError(f"{self._name} is put together from others without end.")
        sources = []
        for number in range(creation.get_virtual_count()):
            file = creation.get_virtual_filename(number)
            numbered = "%" in file.replace("%%", "")
            if numbered and self._roots.limited:
                raise FrameError(
                    f"{self._name} is put together from all files {file}; which these are cannot be "
                    "limited to the folders that may be read. Announce the files themselves."
                )
            if not numbered:
                sources.append(_source(creation, number))
        for source in sources:
            self._check_places(source.file)
        return sources

    def _check_raw_files(self) -> None:
        creation = self.dataset.id.get_create_plist()
        for number in range(creation.get_external_count()):
            self._check_places(os.fsdecode(creation.get_external(number)[0]))

    def _check_places(self, name: str) -> None:
        """Make sure that a file may be opened wherever HDF5 may find it."""
        for place in _places(self.dataset.file, name):
            if os.path.lexists(place):
                self._roots.check(place)

    def _check_images(self) -> None:
        dataset = self.dataset
        if dataset.shape is None or dataset.ndim < 2 or dataset.dtype.kind not in "biuf":
            raise FrameError(
                f"{self._name} is no stack of images, but {dataset.shape} {dataset.dtype}."
            )
        chunk = dataset.chunks or (0,)
        for what, shape in (("frames", dataset.shape[-2:]), ("chunks", chunk)):
            size = math.prod(shape) * dataset.dtype.itemsize
            if size > self._max_frame_bytes:
                raise FrameError(
                    f"{self._name} has {what} of {size} bytes; at most {self._max_frame_bytes} are "
                    "read. Such a file is damaged, or is not of a detector."
                )
        if not math.prod(dataset.shape[-2:]):
            raise FrameError(f"{self._name} has frames of no pixels, {dataset.shape}.")

    @property
    def _name(self) -> str:
        return f"{self.dataset.file.filename}::{self.dataset.name}"


_LOCK = Lock()
_SHARED: dict[tuple[int, int], FrameDataset] = {}  # by file and address


@dataclass(frozen=True)
class _Rows:
    """Some of the rows of a dataset: `count` blocks of `block` rows, `stride` apart."""

    start: int
    stride: int
    count: int
    block: int

    def number_of(self, row: int) -> int | None:
        """Which of these a row is, counted from 0."""
        block, place = divmod(row - self.start, self.stride)
        inside = 0 <= block < self.count and place < self.block
        return block * self.block + place if inside else None

    def __getitem__(self, number: int) -> int:
        block, place = divmod(number, self.block)
        return self.start + block * self.stride + place


@dataclass(frozen=True)
class _Source:
    """What some rows of a virtual dataset are taken from; None where that is not told by rows."""

    file: str
    dataset: str
    here: _Rows | None
    there: _Rows | None

    def row_of(self, row: int) -> int | None:
        """The row for one of the virtual dataset; None if it has nothing of it, -1 if unknown."""
        if self.here is None:
            return -1
        number = self.here.number_of(row)
        return number if number is None else -1 if self.there is None else self.there[number]


def _source(creation: h5py.h5p.PropDCID, number: int) -> _Source:
    return _Source(
        file=creation.get_virtual_filename(number).replace("%%", "%"),
        dataset=creation.get_virtual_dsetname(number).replace("%%", "%"),
        here=_rows(creation.get_virtual_vspace(number)),
        there=_rows(creation.get_virtual_srcspace(number)),
    )


def _rows(space: h5py.h5s.SpaceID) -> _Rows | None:
    if space.get_select_type() == h5py.h5s.SEL_ALL:  # however many there are
        return _Rows(start=0, stride=1, count=2**62, block=1)
    hyperslab = space.get_select_type() == h5py.h5s.SEL_HYPERSLABS
    if not (hyperslab and space.is_regular_hyperslab()):
        return None
    start, stride, count, block = (int(values[0]) for values in space.get_regular_hyperslab())
    # One block can be longer than its stride, and without an end.
    return _Rows(start=start, stride=max(stride, block), count=count, block=block)


def _places(file: h5py.File, name: str) -> Iterator[str]:
    """Where HDF5 looks for a file that another one refers to."""
    if name == ".":
        yield file.filename
        return
    path = Path(file.filename)
    for folder in (path.parent, Path(os.path.realpath(path)).parent, Path()):
        yield str(folder / name)
        yield str(folder / Path(name).name)


def _is_contiguous(dataset: h5py.Dataset) -> bool:
    creation = dataset.id.get_create_plist()
    no_other_files = creation.get_external_count() == 0
    return bool(creation.get_layout() == h5py.h5d.CONTIGUOUS and no_other_files)


def _not_written(dataset: h5py.Dataset, place: tuple[int, ...]) -> FormatError:
    frame = int(np.ravel_multi_index(place, dataset.shape[: len(place)])) if place else 0
    return FormatError(f"There is room for frame {frame}, but it has not been written.")
