"""Writes one run into Tiled, in blocks of what has come in some time.

This is the writer of bluesky-tiled-plugins, which has two paces: each document at once, or many
rows at once with nothing to be seen before. A request to the server takes 10 to 100 ms whatever it
carries, so that the first cannot keep up with a fast scan, and the second is not live. Here rows
are collected without bound, and `RunWriter.flush` writes them when somebody who has a clock says so.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from bluesky_tiled_plugins.writing.tiled_writer import _RunWriter

if TYPE_CHECKING:
    from event_model.documents import EventDescriptor, RunStop, StreamDatum
    from tiled.client.container import Container

_UNBOUNDED = 2**62


class RunWriter(_RunWriter):  # type: ignore[misc]  # bluesky-tiled-plugins has no types
    """Writes the documents of one run into Tiled.

    Parameters
    ----------
    client
        The container for runs, as ``container.include_data_sources()`` gives it.
    """

    def __init__(self, client: Container) -> None:
        super().__init__(client, batch_size=_UNBOUNDED)
        self._axes_to_write: list[EventDescriptor] = []

    def flush(self) -> None:
        """Write all rows that have come, and then, once, what they are plotted against."""
        self._write_rows()
        if self._sres_nodes or self._internal_tables:
            while self._axes_to_write:
                self._write_axes(self._axes_to_write.pop())

    def stream_datum(self, doc: StreamDatum) -> None:
        """Take the announcement of rows; the very first do not wait, for they take longest."""
        super().stream_datum(doc)
        if not self._sres_nodes:
            self._write_rows()

    def stop(self, doc: RunStop) -> None:
        """Take the stop document, after the last rows."""
        self.flush()
        super().stop(doc)

    def descriptor(self, doc: EventDescriptor) -> None:
        """Take a descriptor; the axes that its data keys name become arrays, as coordinates.

        An axis is a dimension of a data key that has the name of a configuration signal which is
        an array, so that ``run["primary"].read()["intensity"].sel(q=2.5)`` works.
        """
        if doc["name"] not in self._desc_nodes:
            self._axes_to_write.append(doc)
        super().descriptor(doc)

    def _write_rows(self) -> None:
        for name, rows in self._internal_data_cache.items():
            if rows:
                self._write_internal_data(rows, desc_node=self._desc_nodes[name])
                rows.clear()
        for uid in list(self._external_data_cache):
            self._write_external_data(self._external_data_cache.pop(uid))

    def _write_axes(self, descriptor: EventDescriptor) -> None:
        for name, axis in axes_of(descriptor).items():
            self._desc_nodes[descriptor["uid"]].write_array(
                axis, key=name, dims=(name,), access_tags=self.access_tags
            )


def axes_of(descriptor: EventDescriptor) -> dict[str, Any]:
    """The axes that the data keys of a descriptor name, from its configuration."""
    named = {dim for key in descriptor["data_keys"].values() for dim in key.get("dims") or ()}
    return {
        name: np.asarray(device["data"][name])
        for device in descriptor.get("configuration", {}).values()
        for name in named & device.get("data", {}).keys()
        if np.ndim(device["data"][name]) == 1
    }
