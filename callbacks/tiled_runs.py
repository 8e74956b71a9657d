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
    from event_model.documents import EventDescriptor, RunStop
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

    def flush(self) -> None:
        """Write all rows that have come."""
        for name, rows in self._internal_data_cache.items():
            if rows:
                self._write_internal_data(rows, desc_node=self._desc_nodes[name])
                rows.clear()
        while self._external_data_cache:
            _, announced = self._external_data_cache.popitem()
            self._write_external_data(announced)

    def stop(self, doc: RunStop) -> None:
        """Take the stop document, after the last rows."""
        self.flush()
        super().stop(doc)

    def descriptor(self, doc: EventDescriptor) -> None:
        """Take a descriptor; the axes that its data keys name become arrays, as coordinates.

        An axis is a dimension of a data key that has the name of a configuration signal which is
        an array, so that ``run["primary"].read()["intensity"].sel(q=2.5)`` works.
        """
        known = doc["name"] in self._desc_nodes
        super().descriptor(doc)
        if not known:
            for name, axis in axes_of(doc).items():
                self._desc_nodes[doc["uid"]].write_array(
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
