"""Patterns in HDF5 after NXazint1d or NXazint2d of NeXus, readable while they are written.

::

    entry            NXentry: definition, solid_angle_applied, polarization_applied, ...
      data           NXdata: I (rows, npt), I_errors (rows, npt), norm (npt,), radial_axis (npt,)
      sums           the sums each row came from, so that rows can be merged: (rows, npt)
      frames         seq_num, timestamp and place of each row: (rows,)
      instrument     NXinstrument: name, monochromator, source
      reduction      NXprocess: program, version, date, input/{poni, recipe}, provenance

A row belongs to a frame, and a cake is one row: then ``I`` is (rows, npt_azim, npt), ``norm``
(npt_azim, npt), and there is an ``azimuthal_axis``. ``norm`` is the largest ``count`` of all rows,
which is what the detector has where no pixel is bad in a frame. The file is in HDF5's single-writer-multiple-readers mode: it can be
opened with ``h5py.File(path, swmr=True)`` at any time, and stays readable when the writer is
killed. Nothing but rows can be added in that mode, so all the rest is written first.

The datasets are cut into chunks of 16 rows, and of 64 for what is read at one radius over all rows:
Tiled opens the file once for each chunk, and takes 0.2 s for that of 10 000 rows; with chunks of 16,
0.4 s. Appending and flushing 9 columns of 1000 bins costs 0.2 ms a frame in batches of 16 and 2 ms
one by one either way; chunks of one row cost 0.3 and 3 ms.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any, NamedTuple, Self

import h5py
import numpy as np
from numpy.typing import ArrayLike, NDArray

from bluesky_azint.conversions.pose import KEV_ANGSTROM
from bluesky_azint.errors import FormatError
from bluesky_azint.geometry import Geometry
from bluesky_azint.io.poni import poni_lines
from bluesky_azint.io.room import check_new_file, check_room
from bluesky_azint.reduction.recipe import Recipe
from bluesky_azint.reduction.result import IntegrationResult
from bluesky_azint.units import Unit
from bluesky_azint.units import unit as unit_of

_ROWS_PER_CHUNK = 16
_ROWS_PER_CHUNK_OF_PATTERNS = 64
_BYTES_PER_CHUNK = 2**20  # what HDF5 caches of a dataset; a larger chunk holds one row
_REFERENCE = "J. Kieffer, D. Karkoulis, J. Phys. Conf. Ser. 425 (2013) 202012 (the geometry)"
_ATTRIBUTES = {
    "intensity": {"long_name": "intensity", "units": "arbitrary units"},
    "sigma": {"long_name": "estimated intensity error", "units": "arbitrary units"},
    "norm": {
        "long_name": "effective number of pixels contributing to the corresponding bin",
        "units": "arbitrary units",
    },
    "place": {"long_name": "where the frame is from, as a number; 0 without a pattern"},
    "timestamp": {"long_name": "seconds since 1970-01-01T00:00:00Z", "units": "s"},
}
_SUMS = ("sum_signal", "sum_variance", "sum_normalization", "sum_normalization2", "sum_count2")


class Column(NamedTuple):
    """One quantity of all rows: its dataset, and of one row the type and the shape."""

    dataset: str
    dtype: str
    shape: tuple[int, ...]
    chunks: tuple[int, ...]


class AzintWriter:
    """Writes patterns into a new file, row by row, while others read.

    A context manager that closes the file.

    Parameters
    ----------
    path
        The file.
    radial, unit
        Centres of the radial bins, (npt,), and their unit.
    geometry, recipe
        What the patterns are made with.
    errors
        Whether there are error bars.
    sums
        Whether to keep the sums and the places of the frames, without which rows cannot be merged
        and a file cannot be continued.
    provenance
        Where the frames come from and what else made the patterns, as text. ``instrument``,
        ``source`` and ``source_type`` are the beamline, the facility and its kind.
    force
        Whether to replace a file that is there.
    renew
        Whether to replace a file that is there with `settle`, and leave it as it is until then.
    azimuthal
        Centres of the azimuthal bins in degrees, (npt_azim,), for cakes; None for patterns in one
        dimension.

    Attributes
    ----------
    columns
        The `Column` of each name: ``intensity``, ``sigma``, ``count``, ``sum_signal``,
        ``sum_variance``, ``sum_normalization``, ``sum_normalization2``, ``sum_count2``,
        ``seq_num``, ``timestamp``, ``place``.

    Raises
    ------
    FormatError
        If the file is there already, or cannot be written.
    """

    def __init__(
        self,
        path: Path,
        *,
        radial: NDArray[np.float64],
        unit: Unit,
        geometry: Geometry,
        recipe: Recipe,
        errors: bool,
        sums: bool = True,
        provenance: Mapping[str, str] | None = None,
        force: bool = False,
        renew: bool = False,
        azimuthal: NDArray[np.float64] | None = None,
    ) -> None:
        self.path = path
        self._beside = path.with_name(f"{path.name}.new") if renew else None
        shape = radial.shape if azimuthal is None else (azimuthal.size, radial.size)
        self.columns = _columns(shape, errors=errors, sums=sums)
        self._failed = False
        check_new_file(path)
        try:
            # The version of 2016 is the first with this mode, and what older programs can read.
            mode = "w" if force or renew else "x"
            self._file = h5py.File(self._beside or path, mode, libver=("v110", "v110"))
        except FileExistsError:
            raise FormatError(f"{path} is there already; use force to replace it.") from None
        except OSError as error:
            raise FormatError(f"{path} cannot be written: {error}.") from error
        try:
            _write_metadata(self._file, geometry, recipe, provenance or {})
            _write_axes(self._file["entry"], radial, unit, azimuthal)
            self._norm = np.zeros(shape)
            self._file["entry/data/norm"] = self._norm
            self._file["entry/data/norm"].attrs.update(_ATTRIBUTES["norm"])
            self._datasets = {
                name: _create_dataset(self._file, name, column)
                for name, column in self.columns.items()
            }
            self._file.swmr_mode = True
        except BaseException:
            self._file.close()
            (self._beside or path).unlink(missing_ok=True)
            raise

    def write(
        self,
        rows: ArrayLike,
        result: IntegrationResult,
        *,
        seq_nums: ArrayLike,
        timestamps: ArrayLike,
        places: ArrayLike = 0,
    ) -> None:
        """Write patterns into rows; what stood there is replaced.

        Rows before the last one that nothing was written to hold NaN, with count and seq_num 0.
        Readers see what is written after the next `flush`.

        Parameters
        ----------
        rows
            The row of each pattern; of several patterns for one row the last one counts.
        result
            A pattern, or a stack of as many as there are rows.
        seq_nums, timestamps
            Sequence number, and time in seconds since 1970, of the frame of each row.
        places
            A number that says where the frame of each row is from; 0 where it gave no pattern. It
            is written when all the rest of the row is safe.

        Raises
        ------
        FormatError
            If the result does not fit the file, there is no room for it, or a row before it could
            not be written. HDF5 raises OSError and RuntimeError where it cannot write.
        """
        rows = np.atleast_1d(np.asarray(rows, dtype=np.int64))
        values = {
            "intensity": result.intensity,
            "sigma": result.sigma,
            "count": result.count,
            **{name: getattr(result, name) for name in _SUMS},
            "seq_num": np.asarray(seq_nums),
            "timestamp": np.asarray(timestamps),
            "place": np.broadcast_to(places, rows.shape),
        }
        if result.sum_count2 is None:
            values["sum_count2"] = np.full_like(result.count, np.nan)
        if rows.size == 0:
            return
        if rows.min() < 0:
            raise FormatError(f"Row {rows.min()} of {self.path} cannot be; rows start at 0.")
        blocks = {name: self._block(name, values[name], rows.size) for name in self.columns}
        # Sorted, each row once, at the place where it comes last.
        unique, from_the_end = np.unique(rows[::-1], return_index=True)
        order = rows.size - 1 - from_the_end
        starts = np.flatnonzero(np.diff(unique, prepend=-2) != 1)
        check_room(self.path, 2 * sum(it.nbytes for it in blocks.values()) + self._chunk_bytes)
        with self._trusting():
            self._write(blocks, order, unique, starts)

    def _write(
        self,
        blocks: dict[str, NDArray[Any]],
        order: NDArray[np.intp],
        unique: NDArray[np.int64],
        starts: NDArray[np.intp],
    ) -> None:
        for name, dataset in self._datasets.items():
            if name == "place":
                self._file.flush()
            if len(dataset) <= unique[-1]:
                dataset.resize(unique[-1] + 1, axis=0)
            for run in np.split(np.arange(unique.size), starts[1:]):
                dataset[unique[run[0]] : unique[run[-1]] + 1] = blocks[name][order[run]]
        norm = np.maximum(self._norm, blocks["count"].max(axis=0))
        if (norm > self._norm).any():
            self._norm = norm
            self._file["entry/data/norm"][...] = norm

    def flush(self) -> None:
        """Let readers see all rows written so far."""
        with self._trusting():
            self._file.flush()

    @contextmanager
    def _trusting(self) -> Iterator[None]:
        """Trust HDF5 as long as it has not failed: after that it may drop rows without a word."""
        if self._failed:
            raise FormatError(
                f"{self.path} could not be written before, and takes no more rows. Those that it "
                "lacks are to be reduced again, which a service does by itself."
            )
        self._failed = True
        yield
        self._failed = False

    @property
    def _chunk_bytes(self) -> int:
        """The bytes of a chunk of each column, and of the next one."""
        return 2 * sum(
            math.prod(column.chunks) * np.dtype(column.dtype).itemsize
            for column in self.columns.values()
        )

    def settle(self) -> None:
        """Take the place of the file that this one renews."""
        if self._beside is not None:
            self.flush()
            self._beside.replace(self.path)
            self._beside = None

    def close(self) -> None:
        """Note the end and close the file; does nothing the second time."""
        if self._file:
            try:
                if not self._failed:
                    self._file["entry/end_time"][()] = _now()
            finally:
                self._file.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _block(self, name: str, values: NDArray[Any] | None, rows: int) -> NDArray[Any]:
        shape = (rows, *self.columns[name].shape)
        if values is None or values.size != np.prod(shape):
            found = "none" if values is None else f"one of shape {values.shape}"
            raise FormatError(
                f"{self.path} takes {name} of shape {shape} for {rows} rows and got {found}."
            )
        return values.reshape(shape)


def write_nexus(
    result: IntegrationResult,
    path: Path,
    *,
    geometry: Geometry,
    recipe: Recipe,
    provenance: Mapping[str, str] | None = None,
    force: bool = False,
) -> None:
    """Write a pattern or a stack of them in one go, see `AzintWriter`.

    Raises
    ------
    FormatError
        If the file is there already, or cannot be written.
    """
    stacked = result.intensity.ndim > (1 if result.azimuthal is None else 2)
    rows = np.arange(len(result.intensity) if stacked else 1)
    with AzintWriter(
        path,
        radial=result.radial,
        unit=unit_of(result.unit),
        geometry=geometry,
        recipe=recipe,
        errors=result.sigma is not None,
        provenance=provenance,
        force=force,
        azimuthal=result.azimuthal,
    ) as writer:
        writer.write(rows, result, seq_nums=rows + 1, timestamps=np.full(rows.size, np.nan))


def _columns(shape: tuple[int, ...], *, errors: bool, sums: bool) -> dict[str, Column]:
    fitting = max(_BYTES_PER_CHUNK // (8 * math.prod(shape)), 1)

    def pattern(dataset: str, rows: int = _ROWS_PER_CHUNK) -> Column:
        return Column(dataset, "<f8", shape, (min(rows, fitting), *shape))

    def scalar(dataset: str, dtype: str) -> Column:
        return Column(dataset, dtype, (), (_ROWS_PER_CHUNK * 16,))

    columns = {"intensity": pattern("/entry/data/I", _ROWS_PER_CHUNK_OF_PATTERNS)}
    if errors:
        columns["sigma"] = pattern("/entry/data/I_errors", _ROWS_PER_CHUNK_OF_PATTERNS)
    columns["count"] = pattern("/entry/sums/count")
    for name in _SUMS if sums else ():
        if errors or name != "sum_variance":
            columns[name] = pattern(f"/entry/sums/{name}")
    columns["seq_num"] = scalar("/entry/frames/seq_num", "<i8")
    columns["timestamp"] = scalar("/entry/frames/timestamp", "<f8")
    if sums:
        columns["place"] = scalar("/entry/frames/place", "<i8")
    return columns


def _create_dataset(file: h5py.File, name: str, column: Column) -> h5py.Dataset:
    dataset = file.create_dataset(
        column.dataset,
        shape=(0, *column.shape),
        maxshape=(None, *column.shape),
        chunks=column.chunks,
        dtype=column.dtype,
        fillvalue=0 if name in ("count", "seq_num", "place") else np.nan,
    )
    dataset.attrs.update(_ATTRIBUTES.get(name, {}))
    return dataset


def _write_metadata(
    file: h5py.File, geometry: Geometry, recipe: Recipe, provenance: Mapping[str, str]
) -> None:
    file.attrs["default"] = "entry"
    entry = _group(file, "entry", "NXentry")
    entry.attrs["default"] = "data"
    entry["solid_angle_applied"] = recipe.correct_solid_angle
    entry["polarization_applied"] = recipe.polarization_factor is not None
    entry["normalization_applied"] = True
    entry["start_time"] = _now()
    # Of fixed length, so that it can be filled in at the end.
    entry.create_dataset("end_time", dtype="S40", shape=())
    _group(entry, "data", "NXdata")
    _group(entry, "sums", "NXcollection")
    _group(entry, "frames", "NXcollection")
    _write_instrument(entry, geometry.wavelength, provenance)
    _write_reduction(entry, geometry, recipe, provenance)


def _write_axes(
    entry: h5py.Group,
    radial: NDArray[np.float64],
    unit: Unit,
    azimuthal: NDArray[np.float64] | None,
) -> None:
    data = entry["data"]
    axes = [".", "radial_axis"] if azimuthal is None else [".", "azimuthal_axis", "radial_axis"]
    entry["definition"] = "NXazint1d" if azimuthal is None else "NXazint2d"
    interpretation = "spectrum" if azimuthal is None else "image"
    data.attrs.update({"signal": "I", "axes": axes, "interpretation": interpretation})
    data["radial_axis"] = radial
    data["radial_axis"].attrs.update({"long_name": unit.long_name, "units": unit.measure})
    if azimuthal is not None:
        data["azimuthal_axis"] = azimuthal
        data["azimuthal_axis"].attrs.update(
            {"long_name": "azimuthal bin center", "units": "degree"}
        )


def _write_instrument(
    entry: h5py.Group, wavelength: float | None, provenance: Mapping[str, str]
) -> None:
    instrument = _group(entry, "instrument", "NXinstrument")
    instrument["name"] = provenance.get("instrument", "unknown")
    source = _group(instrument, "source", "NXsource")
    source["name"] = provenance.get("source", "unknown")
    source["type"] = provenance.get("source_type", "unknown")
    source["probe"] = "x-ray"
    monochromator = _group(instrument, "monochromator", "NXmonochromator")
    angstrom = np.nan if wavelength is None else wavelength * 1e10
    monochromator["wavelength"] = angstrom
    monochromator["wavelength"].attrs["units"] = "angstrom"
    monochromator["energy"] = KEV_ANGSTROM / angstrom
    monochromator["energy"].attrs["units"] = "keV"


def _write_reduction(
    entry: h5py.Group, geometry: Geometry, recipe: Recipe, provenance: Mapping[str, str]
) -> None:
    reduction = _group(entry, "reduction", "NXprocess")
    reduction["program"] = "bluesky-azint"
    reduction["version"] = version("bluesky-azint")
    reduction["date"] = _now()
    reduction["reference"] = _REFERENCE
    parameters = _group(reduction, "input", "NXparameters")
    parameters["poni"] = "\n".join(poni_lines(geometry))
    parameters["recipe"] = json.dumps(recipe.to_dict())
    parameters["recipe_hash"] = recipe.hash
    # Under the names of the program azint, which GSAS-II looks for.
    parameters["unit"] = {"2th_deg": "2th", "q_A^-1": "q"}.get(recipe.unit, recipe.unit)
    factor = recipe.polarization_factor
    parameters["polarization_factor"] = np.nan if factor is None else factor
    notes = _group(reduction, "provenance", "NXcollection")
    for key, value in provenance.items():
        notes[key] = value


def _group(parent: h5py.Group, name: str, nx_class: str) -> h5py.Group:
    group = parent.create_group(name)
    group.attrs["NX_class"] = nx_class
    return group


def _now() -> str:
    return datetime.now().astimezone().isoformat()
