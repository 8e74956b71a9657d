"""The rows of an NXazint1d or 2d file, read back to be written again, with the sums they came from.

A file that nobody finished, since its writer was killed, can be read but not be written to: HDF5 has
it marked as open. Its rows go into a new file, which takes its place; see `AzintWriter`.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import h5py
import numpy as np
from numpy.typing import NDArray

from bluesky_azint.errors import FormatError
from bluesky_azint.geometry import Geometry
from bluesky_azint.io.growing import open_growing
from bluesky_azint.io.poni import poni_lines
from bluesky_azint.reduction.recipe import Recipe
from bluesky_azint.reduction.result import IntegrationResult

_ROWS_AT_ONCE = 256
_INPUT = "entry/reduction/input"
_PROVENANCE = "entry/reduction/provenance"


@dataclass(frozen=True, kw_only=True, eq=False)
class Rows:
    """Some rows of a file, those that hold a pattern.

    Parameters
    ----------
    rows
        Their numbers, (n,).
    result
        The patterns.
    seq_nums, timestamps, places
        Of their frames, (n,), see `AzintWriter.write`.
    """

    rows: NDArray[np.int64]
    result: IntegrationResult
    seq_nums: NDArray[np.int64]
    timestamps: NDArray[np.float64]
    places: NDArray[np.int64]


class AzintFile:
    """Reads a file of patterns, whoever writes it or wrote it; a context manager that closes it.

    Parameters
    ----------
    path
        The file.

    Raises
    ------
    FormatError
        If it cannot be read.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        try:
            self._file = open_growing(path)
        except OSError as error:
            raise FormatError(f"{path} cannot be read: {error}.") from error

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()

    @property
    def provenance(self) -> dict[str, str]:
        """Where the frames come from and what else made the patterns."""
        return {key: value.asstr()[()] for key, value in self._group(_PROVENANCE).items()}

    @property
    def first_time(self) -> float:
        """The time of the first row that has one, in seconds since 1970; 0 if none has."""
        times = self._file["entry/frames/timestamp"][()]
        known = times[np.isfinite(times)]
        return float(known[0]) if known.size else 0.0

    def is_made_with(self, geometry: Geometry, recipe: Recipe) -> bool:
        """Whether the patterns are those of that geometry and recipe."""
        parameters = self._group(_INPUT)
        known = Recipe.from_dict(json.loads(parameters["recipe"].asstr()[()]))
        return known == recipe and parameters["poni"].asstr()[()] == "\n".join(poni_lines(geometry))

    def rows(self, like: IntegrationResult) -> Iterator[Rows]:
        """All rows with a pattern, in blocks.

        Parameters
        ----------
        like
            A result of the same axes and kind.

        Raises
        ------
        FormatError
            If some cannot be read.
        """
        try:
            for start in range(0, len(self._file["entry/frames/place"]), _ROWS_AT_ONCE):
                yield from self._block(slice(start, start + _ROWS_AT_ONCE), like)
        except (OSError, KeyError, ValueError) as error:
            raise FormatError(f"{self.path} cannot be read to its end: {error}.") from error

    def _block(self, some: slice, like: IntegrationResult) -> Iterator[Rows]:
        places = self._file["entry/frames/place"][some]
        kept = np.flatnonzero(places)
        if kept.size == 0:
            return

        def column(name: str) -> NDArray[Any]:
            values: NDArray[Any] = self._file["entry"][name][some][kept]
            return values

        count2 = column("sums/sum_count2")
        yield Rows(
            rows=kept + some.start,
            result=IntegrationResult(
                radial=like.radial,
                azimuthal=like.azimuthal,
                unit=like.unit,
                azimuthal_unit=like.azimuthal_unit,
                error_model=like.error_model,
                engine=like.engine,
                sum_signal=column("sums/sum_signal"),
                sum_variance=None if like.sum_variance is None else column("sums/sum_variance"),
                sum_normalization=column("sums/sum_normalization"),
                sum_normalization2=column("sums/sum_normalization2"),
                sum_count2=None if np.isnan(count2).all() else count2,
                count=column("sums/count"),
            ),
            seq_nums=column("frames/seq_num"),
            timestamps=column("frames/timestamp"),
            places=places[kept],
        )

    def _group(self, name: str) -> h5py.Group:
        try:
            return self._file[name]
        except KeyError as error:
            raise FormatError(f"{self.path} is no file of patterns: {error}.") from error
