"""Where the frames of a simulated detector come from: computed, or read from files."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property, lru_cache
from os import PathLike, fspath
from typing import Any, Protocol

import numpy as np
from numpy.typing import DTypeLike, NDArray

from bluesky_azint.errors import FrameError
from bluesky_azint.io.images import open_frames


class FrameSource(Protocol):
    """Something that knows what a detector shows."""

    @property
    def shape(self) -> tuple[int, int]:
        """Rows and columns of a frame."""

    @property
    def dtype(self) -> np.dtype[Any]:
        """Type of a pixel."""

    def __call__(self, number: int) -> NDArray[Any]:
        """Frame of that number, counted from 0; always the same for the same number."""


class PoissonFrames:
    """Frames of a detector that counts, around what is expected.

    Drawing a frame takes 70 ms per million pixels. So a pool of frames is drawn once, and each row
    of a frame is taken from a member of the pool by chance: 1 ms, and still every pixel is Poisson
    distributed and independent of its neighbours. Means over very many frames tend to the mean of
    the pool, though; ``pool=0`` draws every frame anew.

    Parameters
    ----------
    expected
        Counts expected in every pixel.
    gaps
        Boolean, True = no pixel: marked as detectors do, with the largest value of an unsigned
        type, with -1 of a signed one. None for no gaps.
    dtype
        Integer type of the frames.
    seed
        The same seed gives the same frames.
    pool
        How many frames to draw once and for all.
    """

    def __init__(
        self,
        expected: NDArray[np.floating[Any]],
        *,
        gaps: NDArray[np.bool_] | None = None,
        dtype: DTypeLike = np.uint32,
        seed: int = 0,
        pool: int = 8,
    ) -> None:
        self.expected = expected
        self.gaps = gaps
        self.dtype: np.dtype[Any] = np.dtype(dtype)
        self.seed = seed
        self.pool = pool
        if self.dtype.kind not in "iu":
            raise FrameError(
                f"A detector cannot count in {self.dtype}; give an integer type, such as uint32."
            )

    @property
    def shape(self) -> tuple[int, int]:
        """Rows and columns of a frame."""
        rows, columns = self.expected.shape
        return rows, columns

    def __call__(self, number: int) -> NDArray[Any]:
        """Frame of that number."""
        chance = np.random.default_rng([self.seed, 1, number])
        if not self.pool:
            return self._draw(chance)
        members = chance.integers(self.pool, size=self.shape[0])
        return self._pool[members, np.arange(self.shape[0])]

    @cached_property
    def _pool(self) -> NDArray[Any]:
        chance = np.random.default_rng([self.seed, 0])
        return np.stack([self._draw(chance) for _ in range(self.pool)])

    def _draw(self, chance: np.random.Generator) -> NDArray[Any]:
        largest = np.iinfo(self.dtype).max
        frame = np.minimum(chance.poisson(self.expected), largest).astype(self.dtype)
        if self.gaps is not None:
            frame[self.gaps] = largest if self.dtype.kind == "u" else -1
        return frame


class FileFrames:
    """Frames of files, one after the other, and again from the first.

    Parameters
    ----------
    files
        TIFF, CBF, EDF, HDF5 ... as `open_frames` reads them, all of one shape and type.

    Raises
    ------
    FormatError
        If one of the files cannot be read.
    FrameError
        If there are none, or they differ.
    """

    def __init__(self, files: Sequence[str | PathLike[str]]) -> None:
        self.files = [fspath(file) for file in files]
        self._places: list[tuple[str, int]] = []
        found = []
        for file in self.files:
            with open_frames(file) as frames:
                found.append((frames.shape, frames.dtype))
                self._places += [(file, row) for row in range(len(frames))]
        if not self._places:
            raise FrameError(f"There is no frame to show in the files {self.files}.")
        for file, kind in zip(self.files, found, strict=True):
            if kind != found[0]:
                raise FrameError(
                    f"The frames of {file} are {kind[0]} {kind[1]}, those of {self.files[0]} "
                    f"{found[0][0]} {found[0][1]}; one detector can show only one kind."
                )
        self.shape, self.dtype = found[0]
        self._read = lru_cache(maxsize=16)(_read_frame)

    def __len__(self) -> int:
        return len(self._places)

    def __call__(self, number: int) -> NDArray[Any]:
        """Frame of that number, which begins again after the last."""
        return self._read(*self._places[number % len(self)])


def _read_frame(file: str, row: int) -> NDArray[Any]:
    with open_frames(file) as frames:
        return frames[row]
