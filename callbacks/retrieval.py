"""Reduced runs out of Tiled.

Where this package is installed, every Tiled client gives reduced runs as an `AzintRun`::

    run = client["reduced"].values().last()
    run.pattern(-1).intensity
    run.patterns["intensity"].sel(q=2.5, method="nearest").plot()
    run.intensity_at(2.5)  # the same, without reading all the rest
    run.raw(client["raw"])["primary"]

A run with several recipes has streams for each: ``run.to_xarray("primary_cake")``. All of it works while the run is being written: one sees what has come so far.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from bluesky_tiled_plugins.clients.bluesky_event_stream import BlueskyEventStreamV3
from bluesky_tiled_plugins.clients.bluesky_run import BlueskyRunV3
from numpy.typing import NDArray

from bluesky_azint.callbacks.documents import DEVICE, axis_name
from bluesky_azint.callbacks.pattern import Pattern
from bluesky_azint.errors import GeometryError
from bluesky_azint.geometry import Geometry
from bluesky_azint.io.poni import geometry_from_dict
from bluesky_azint.reduction.recipe import Recipe
from bluesky_azint.units import unit

if TYPE_CHECKING:
    import xarray
    from tiled.client.array import ArrayClient
    from tiled.client.container import Container

Floats = NDArray[np.float64]


class AzintRun(BlueskyRunV3):  # type: ignore[misc]  # bluesky-tiled-plugins has no types
    """A reduced run in Tiled."""

    @property
    def raw_uid(self) -> str:
        """The uid of the raw run."""
        return str(self.start["raw_uid"])

    @property
    def recipe(self) -> Recipe:
        """What was computed; of several recipes, the main one."""
        return Recipe.from_dict(self.start["recipe"])

    @property
    def recipes(self) -> dict[str, Recipe]:
        """All that was computed, by name, the main recipe first."""
        known = self.start.get("recipes") or {"pattern": self.start["recipe"]}
        return {name: Recipe.from_dict(recipe) for name, recipe in known.items()}

    def raw(self, catalog: Container) -> BlueskyRunV3:
        """The raw run.

        Parameters
        ----------
        catalog
            The container for raw runs.

        Raises
        ------
        KeyError
            If it is not there.
        """
        from tiled.queries import Key

        for run in catalog.search(Key("start.uid") == self.raw_uid).values():
            return run
        raise KeyError(f"{catalog.uri} has no run {self.raw_uid}; is it the one for raw runs?")

    @property
    def geometry(self) -> Geometry:
        """The geometry that the run began with.

        If it changed on the way, the patterns go on in another stream, and the attributes of
        ``to_xarray(stream)`` tell the geometry of each.

        Raises
        ------
        GeometryError
            If there was none.
        """
        if "geometry" not in self.start:
            reason = (self.metadata.get("stop") or {}).get("reason") or "It is not known why."
            raise GeometryError(f"Run {self.start['uid']} had no geometry. {reason}")
        return geometry_from_dict(self.start["geometry"])

    @property
    def radial(self) -> Floats:
        """Centres of the radial bins of the first stream, (npt,), in the unit of the recipe."""
        return self._radial(self._stream(None))

    @property
    def patterns(self) -> xarray.Dataset:
        """All patterns of the first stream, see `to_xarray`."""
        return self.to_xarray()

    def pattern(self, number: int, stream: str | None = None) -> Pattern:
        """The pattern of one frame.

        Parameters
        ----------
        number
            Of the frame, from 0; negative from the end.
        stream
            Of which stream; ``"primary"``, or the first if there is none of that name.

        Raises
        ------
        IndexError
            If there is no such pattern, or not yet.
        """
        node = self._stream(stream)
        columns = self._columns(node, ("intensity", "sigma"))
        length = min(len(column) for column in columns.values())
        if not -length <= number < length:
            raise IndexError(
                f"The stream {node.item['id']!r} of run {self.start['uid']} has {length} patterns; "
                f"there is no number {number}."
            )
        rows = {key: np.asarray(column[number % length]) for key, column in columns.items()}
        return Pattern(
            radial=self._radial(node),
            unit=self._recipe_of(node).unit,
            intensity=rows["intensity"],
            sigma=rows.get("sigma"),
            azimuthal=self._azimuthal(node),
        )

    def intensity_at(self, radius: float, stream: str | None = None) -> Floats:
        """The intensity of all frames in the bin that is nearest to a radius.

        Parameters
        ----------
        radius
            In the unit of the recipe.
        stream
            Of which stream; ``"primary"``, or the first if there is none of that name.

        Returns
        -------
        Array (rows,), or (rows, npt_azim) of a cake.
        """
        node = self._stream(stream)
        nearest = int(np.abs(self._radial(node) - radius).argmin())
        column = self._columns(node, ("intensity",))["intensity"]
        return np.asarray(column[..., nearest], dtype=np.float64)

    def to_xarray(
        self, stream: str | None = None, variables: Sequence[str] = ("intensity", "sigma")
    ) -> xarray.Dataset:
        """The patterns of a stream, with radial axis, times and numbers of the raw events.

        The times and numbers are there when the run has stopped.

        Parameters
        ----------
        stream
            Which; ``"primary"``, or the first if there is none of that name.
        variables
            Which columns.
        """
        import xarray

        node = self._stream(stream)
        columns = self._columns(node, (*variables, "timestamp", "time", "raw_seq_num"))
        # While the run is written some columns are a block ahead of others.
        length = min(len(column) for column in columns.values())
        values = {key: np.asarray(column[:length]) for key, column in columns.items()}
        configuration, axes = _configuration(node), _axes(self._recipe_of(node))
        coordinates: dict[str, Any] = {
            axis: (axis, np.asarray(configuration[axis]), {"units": unit(name).measure})
            for axis, name in axes.items()
        }
        times = values.get("timestamp", values.get("time"))
        if times is not None:
            coordinates["time"] = _as_datetimes(times)
        if "raw_seq_num" in values:
            coordinates["raw_seq_num"] = ("time", values["raw_seq_num"])
        return xarray.Dataset(
            {name: (("time", *axes), values[name]) for name in variables if name in values},
            coords=coordinates,
            attrs={
                "uid": self.start["uid"],
                "raw_uid": self.raw_uid,
                **{key: value for key, value in configuration.items() if key not in axes},
            },
        )

    def path(self, stream: str | None = None) -> Path:
        """The NXazint1d file of a stream, which also holds the sums, with which rows can be merged.

        Parameters
        ----------
        stream
            Which; ``"primary"``, or the first if there is none of that name.

        Raises
        ------
        KeyError
            If the patterns are not in a file, but inside of events.
        """
        from tiled.utils import path_from_uri

        column = self._columns(self._stream(stream), ("intensity",))["intensity"]
        (source,) = column.include_data_sources().data_sources()
        if source.mimetype != "application/x-hdf5":
            raise KeyError(f"The patterns of run {self.start['uid']} are not in a file.")
        return Path(path_from_uri(source.assets[0].data_uri))

    def documents(self, fill: bool = False) -> Iterator[tuple[str, dict[str, Any]]]:
        """The documents of the run, as `BlueskyRunV3.documents` gives them.

        The server takes the radial axes, which stand beside the patterns, for columns with as many
        events as there are bins; they are left out here.
        """
        axes = {axis for recipe in self.recipes.values() for axis in _axes(recipe)}
        for name, doc in super().documents(fill=fill):
            if name == "event":
                for axis in axes:
                    doc["data"].pop(axis, None)
                    doc["timestamps"].pop(axis, None)
            if name != "event" or doc["data"]:
                yield name, doc

    def _stream(self, name: str | None) -> BlueskyEventStreamV3:
        """The stream of that name, as it is now: what the run itself knows may be out of date."""
        streams = self.base
        try:
            return streams[name or "primary"]
        except KeyError:
            names = list(streams)
            if name is None and names:
                return streams[names[0]]
            raise KeyError(
                f"Run {self.start['uid']} has no stream {name or 'primary'!r} yet; its streams "
                f"are {names}."
            ) from None

    def _columns(
        self, stream: BlueskyEventStreamV3, names: Sequence[str]
    ) -> dict[str, ArrayClient]:
        """Those columns that the stream has so far; at least the first."""
        from tiled.client.utils import client_for_item

        contents = stream.get_contents()  # one request, where stream[name] makes three
        table = contents.get("internal", {}).get("attributes", {}).get("structure", {})
        columns = {}
        for name in names:
            if name in contents:
                columns[name] = client_for_item(
                    self.context, self.structure_clients, contents[name]
                )
            elif name in table.get("columns", ()):
                columns[name] = stream[name]
        if names[0] not in columns:
            raise KeyError(
                f"The stream {stream.item['id']!r} of run {self.start['uid']} has no column "
                f"{names[0]!r} yet; it has {sorted(contents)}."
            )
        return columns

    def _recipe_of(self, stream: BlueskyEventStreamV3) -> Recipe:
        """The recipe of a stream, which its configuration names."""
        return self.recipes.get(_configuration(stream).get("recipe", ""), self.recipe)

    def _azimuthal(self, stream: BlueskyEventStreamV3) -> Floats | None:
        recipe = self._recipe_of(stream)
        if recipe.npt_azim is None:
            return None
        return np.asarray(
            _configuration(stream)[axis_name(recipe.azimuthal_unit)], dtype=np.float64
        )

    def _radial(self, stream: BlueskyEventStreamV3) -> Floats:
        return np.asarray(
            _configuration(stream)[axis_name(self._recipe_of(stream).unit)], dtype=np.float64
        )


def reduced_runs(catalog: Container, raw_uid: str) -> list[AzintRun]:
    """The reduced runs of a raw run, the oldest first.

    Parameters
    ----------
    catalog
        The container for reduced runs.
    raw_uid
        The uid of the raw run.
    """
    from tiled.queries import Key

    found = catalog.search(Key("start.raw_uid") == raw_uid).values()
    return sorted(found, key=lambda run: float(run.start["time"]))


def _axes(recipe: Recipe) -> dict[str, str]:
    """Name and unit of each axis of the patterns, the outer one first."""
    names = [recipe.unit] if recipe.npt_azim is None else [recipe.azimuthal_unit, recipe.unit]
    return {axis_name(name): name for name in names}


def _configuration(stream: BlueskyEventStreamV3) -> dict[str, Any]:
    return dict(stream.metadata["configuration"][DEVICE]["data"])


def _as_datetimes(seconds: Floats) -> NDArray[np.datetime64]:
    """Times in seconds since 1970, NaN where there is none, as NumPy has them."""
    known = np.isfinite(seconds)
    nanoseconds = np.round(np.where(known, seconds, 0.0) * 1e9).astype(np.int64)
    times = nanoseconds.astype("datetime64[ns]")
    times[~known] = np.datetime64("NaT")
    return times
