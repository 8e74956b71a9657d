"""How patterns leave: as rows of a file that stream documents announce, or inside of events.

A reduced stream has one geometry, mask and radial axis, and a row for each frame. Both ways take
the rows in any order, and a row that comes again replaces what was there.

In a file (`FileOutput`) everything can be replaced, the numbers of a frame included, so that a row
always is of one frame; and a row costs its bytes, where an array inside of an event costs Tiled 2
to 20 ms. Every batch is announced, so that nobody has to ask for it when a scan pauses; but to
tell a server of a column takes it 40 ms. So the columns that one watches are announced with each
batch, the numbers of the frames at the end, and the sums, for merging rows, are in the file alone.

Inside of events (`EventOutput`) is for consumers that cannot follow a file: MongoDB behind
databroker, live plots, a message bus to machines without the file system.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any, Protocol

import numpy as np
from event_model import (
    ComposeDescriptorBundle,
    ComposeRunBundle,
    ComposeStreamResource,
    ComposeStreamResourceBundle,
)
from event_model.documents.event_descriptor import Configuration, DataKey
from numpy.typing import NDArray

from bluesky_azint.callbacks.documents import DEVICE, axes_of, data_key
from bluesky_azint.io.nexus import AzintWriter, Column
from bluesky_azint.io.nexus_rows import Rows
from bluesky_azint.reduction.result import IntegrationResult
from bluesky_azint.units import unit

Emit = Callable[[str, Any], object]
Floats = NDArray[np.float64]

_HDF5 = "application/x-hdf5"
_LIVE = ("intensity", "sigma")
# The columns of the file by their data keys; Tiled keeps the name "seq_num" to itself.
_COLUMNS = {
    "intensity": "intensity",
    "sigma": "sigma",
    "raw_seq_num": "seq_num",
    "timestamp": "timestamp",
}


class Output(Protocol):
    """Takes the patterns of one reduced stream, and tells of them."""

    def write(self, patterns: Rows) -> None:
        """Take a stack of patterns, each for a row, and tell of them before returning."""

    def settle(self) -> None:
        """Have taken again all that was there before, if there was anything."""

    def reserve(self, rows: int) -> None:
        """Have that many rows, with no pattern in those that were never written."""

    def close(self) -> None:
        """Tell of what is left; nothing more will come."""

    def leave(self) -> None:
        """Close what is open, and tell nothing: somebody else goes on."""


@dataclass(frozen=True, kw_only=True, eq=False)
class StreamHead:
    """What the documents of a reduced stream have in common.

    Parameters
    ----------
    run, emit
        The reduced run, and where its documents go.
    name, source, configuration
        Of the descriptor: name of the stream, where its data is from, and the configuration.
    """

    run: ComposeRunBundle
    emit: Emit
    name: str
    source: str
    configuration: dict[str, Configuration]

    def describe(
        self, data_keys: dict[str, DataKey], hinted: Sequence[str] = ()
    ) -> ComposeDescriptorBundle:
        """Emit the descriptor."""
        bundle = self.run.compose_descriptor(
            self.name,
            data_keys,
            configuration=self.configuration,
            object_keys={DEVICE: list(data_keys)},
            hints={DEVICE: {"fields": list(hinted)}},
        )
        self.emit("descriptor", bundle.descriptor_doc)
        return bundle

    @property
    def counters(self) -> dict[str, int]:
        """The seq_num that comes next in each stream of the run, for its stop document."""
        return self.run.compose_stop.event_counters


class FileOutput:
    """Patterns go into an NXazint1d file, and stream documents announce its rows.

    Parameters
    ----------
    head
        What the documents have in common.
    writer
        The file; closed in the end.
    first
        A result, as those that will come.
    """

    def __init__(self, head: StreamHead, writer: AzintWriter, first: IntegrationResult) -> None:
        self._head = head
        self._writer = writer
        self._columns = {
            key: writer.columns[column]
            for key, column in _COLUMNS.items()
            if column in writer.columns
        }
        dims = list(axes_of(first))
        self._descriptor = head.describe(
            {key: _column_key(head.source, c, dims) for key, c in self._columns.items()}
        ).descriptor_doc
        self._empty = empty_result(first, 1)
        self._resources: dict[str, ComposeStreamResourceBundle] = {}
        self._announced = 0
        self._rows = 0

    def write(self, patterns: Rows) -> None:
        """Write patterns, let readers see them, and announce the rows that are new."""
        self._writer.write(
            patterns.rows,
            patterns.result,
            seq_nums=patterns.seq_nums,
            timestamps=patterns.timestamps,
            places=patterns.places,
        )
        self._writer.flush()
        self._rows = max(self._rows, int(patterns.rows.max()) + 1)
        self._announce([key for key in _LIVE if key in self._columns], self._announced)
        self._announced = self._rows

    def reserve(self, rows: int) -> None:
        """Have that many rows: NaN, with count and raw_seq_num 0, in those never written."""
        if rows > self._rows:
            zero, nan = np.zeros(1, dtype=np.int64), np.full(1, np.nan)
            self.write(
                Rows(
                    rows=np.array([rows - 1]),
                    result=self._empty,
                    seq_nums=zero,
                    timestamps=nan,
                    places=zero,
                )
            )

    def settle(self) -> None:
        """Let the file take the place of the one that it renews."""
        self._writer.settle()

    def close(self) -> None:
        """Announce the columns that nobody watched, and close the file."""
        try:
            self._announce([key for key in self._columns if key not in self._resources], 0)
        finally:
            self._writer.close()

    def leave(self) -> None:
        """Close the file, and tell nothing."""
        self._writer.close()

    def _announce(self, keys: list[str], start: int) -> None:
        if start == self._rows:
            return
        for key in keys:
            self._head.emit(
                "stream_datum",
                self._resource(key).compose_stream_datum(
                    indices={"start": start, "stop": self._rows},
                    seq_nums={"start": start + 1, "stop": self._rows + 1},
                    descriptor=self._descriptor,
                    validate=False,
                ),
            )
        self._head.counters[self._head.name] = self._rows + 1

    def _resource(self, key: str) -> ComposeStreamResourceBundle:
        """The stream resource of a column, which is announced when it is first needed."""
        if key not in self._resources:
            column = self._columns[key]
            uri = self._writer.path.absolute().as_uri()
            compose = ComposeStreamResource(self._head.run.start_doc)
            self._resources[key] = compose(
                mimetype=_HDF5,
                uri=uri.replace("file://", "file://localhost", 1),
                data_key=key,
                parameters={
                    "dataset": column.dataset,
                    "chunk_shape": list(column.chunks),
                    "swmr": True,
                },
            )
            self._head.emit("stream_resource", self._resources[key].stream_resource_doc)
        return self._resources[key]


class EventOutput:
    """Patterns go into events, as lists, with numbers that live tables and plots can show.

    A row that comes again is an event with the same seq_num again, as it is in the raw run.

    Parameters
    ----------
    head
        What the documents have in common.
    first
        A result, as those that will come.
    """

    def __init__(self, head: StreamHead, first: IntegrationResult) -> None:
        pattern = data_key(head.source, "<f8", first.grid_shape, dims=list(axes_of(first)))
        keys = {"intensity": pattern}
        if first.sum_variance is not None:
            keys["sigma"] = pattern
        keys["total"] = data_key(head.source, "<f8", units="counts")
        keys["peak"] = data_key(head.source, "<f8", units=unit(first.unit).measure)
        keys["raw_seq_num"] = data_key(head.source, "<i8")
        self._head = head
        self._compose_event = head.describe(keys, hinted=["total", "peak"]).compose_event

    def write(self, patterns: Rows) -> None:
        """Emit an event for each pattern."""
        result = patterns.result
        intensity, sigma = result.intensity, result.sigma
        for i, row in enumerate(patterns.rows.tolist()):
            data: dict[str, object] = {"intensity": intensity[i].tolist()}
            if sigma is not None:
                data["sigma"] = sigma[i].tolist()
            data["total"] = float(result.sum_signal[i].sum())
            data["peak"] = _peak(result.radial, intensity[i])
            data["raw_seq_num"] = int(patterns.seq_nums[i])
            moment = float(patterns.timestamps[i])
            next_one = max(self._head.counters[self._head.name], row + 2)
            event = self._compose_event(
                data=data,
                timestamps=dict.fromkeys(data, moment),
                seq_num=row + 1,
                time=moment,
                validate=False,
            )
            self._head.counters[self._head.name] = next_one
            self._head.emit("event", event)

    def reserve(self, rows: int) -> None:
        """Do nothing: where there is no pattern there is no event."""

    def settle(self) -> None:
        """Nothing was there before."""

    def close(self) -> None:
        """Nothing is left."""

    def leave(self) -> None:
        """Nothing is open."""


class Outputs:
    """Several outputs that take the same patterns; one that fails does not keep any from others.

    Parameters
    ----------
    outputs
        The outputs.
    """

    def __init__(self, outputs: Sequence[Output]) -> None:
        self._outputs = outputs

    def write(self, patterns: Rows) -> None:
        """Take patterns, see `Output`."""
        self._each(lambda output: output.write(patterns))

    def reserve(self, rows: int) -> None:
        """Have that many rows, see `Output`."""
        self._each(lambda output: output.reserve(rows))

    def settle(self) -> None:
        """Have taken again what was there before, see `Output`."""
        self._each(lambda output: output.settle())

    def close(self) -> None:
        """Tell of what is left."""
        self._each(lambda output: output.close())

    def leave(self) -> None:
        """Close what is open."""
        self._each(lambda output: output.leave())

    def _each(self, action: Callable[[Output], None]) -> None:
        problem: Exception | None = None
        for output in self._outputs:
            try:
                action(output)
            except Exception as error:  # noqa: BLE001  told when the others had their turn
                problem = problem or error
        if problem is not None:
            raise problem


def empty_result(like: IntegrationResult, rows: int) -> IntegrationResult:
    """Patterns of NaN, of no pixels, for frames that could not be reduced."""
    nothing = np.full((rows, *like.grid_shape), np.nan)
    return replace(
        like,
        sum_signal=nothing,
        sum_variance=None if like.sum_variance is None else nothing,
        sum_normalization=nothing,
        sum_normalization2=nothing,
        count=np.zeros_like(nothing),
        sum_count2=None,
    )


def _column_key(source: str, column: Column, dims: list[str]) -> DataKey:
    key = data_key(source, column.dtype, column.shape, dims=dims if column.shape else [])
    key["external"] = "STREAM:"
    return key


def _peak(radial: Floats, intensity: Floats) -> float:
    """Where along the radial axis the pattern is highest; NaN where there is no pattern."""
    if np.isnan(intensity).all():
        return float("nan")
    return float(radial[np.nanargmax(intensity) % radial.size])
