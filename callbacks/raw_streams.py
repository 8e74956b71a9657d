"""What Tiled holds of one event stream of a raw run: descriptors, events, and what lies in files."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import accumulate
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from bluesky_tiled_plugins.clients.bluesky_event_stream import BlueskyEventStreamV3
    from tiled.client.array import ArrayClient

Document = dict[str, Any]

_TABLE = "internal"
_BLOCK_BYTES = 64 * 2**20  # of frames inside of events that are read at once


@dataclass(frozen=True, kw_only=True)
class RawFiles:
    """The files with the rows of one data key.

    Parameters
    ----------
    data_key, mimetype
        Whose they are, and of which kind.
    uris
        Where they are, each once, in order.
    rows
        How many there are, one for each event, in all files.
    frames_per_row
        How many frames each row has.
    files_per_row
        In a series of image files: over how many of them a row goes. None where a file has as many
        rows as were written until there was another one.
    dataset
        Place of the rows in HDF5 files; None in others.
    """

    data_key: str
    mimetype: str
    uris: tuple[str, ...]
    rows: int
    frames_per_row: int
    files_per_row: int | None
    dataset: str | None


@dataclass(frozen=True, kw_only=True, eq=False)
class RawStream:
    """What Tiled holds of one event stream.

    Parameters
    ----------
    name
        Of the stream.
    descriptors
        The first one, and another for each change of the configuration.
    table
        A row for each event, with ``seq_num``, ``time``, values, and their times as ``ts_...``.
    arrays
        Values of events that are arrays, by data key, a row for each event.
    files
        What lies in files.
    """

    name: str
    descriptors: Sequence[Document]
    table: Mapping[str, list[Any]]
    arrays: Mapping[str, ArrayClient]
    files: Sequence[RawFiles]

    @cached_property
    def event_times(self) -> list[float]:
        """When the events were, never going back, in seconds since 1970."""
        return list(accumulate(map(float, self.table["time"]), max))

    @cached_property
    def descriptor_times(self) -> list[float]:
        """When the descriptors were; the first one not after the first event."""
        first, *others = (float(doc["time"]) for doc in self.descriptors)
        return [min([first, *self.event_times[:1]]), *others]

    @property
    def rows_without_events(self) -> range:
        """The rows in files that came after the last event; all, in a stream without events."""
        rows = max((files.rows for files in self.files), default=0)
        return range(len(self.event_times), max(rows, len(self.event_times)))

    @property
    def external(self) -> set[str]:
        """The data keys of what lies in files."""
        return {
            key for key, value in self.descriptors[0]["data_keys"].items() if "external" in value
        }

    @property
    def missing(self) -> set[str]:
        """The data keys of what lies in files of which Tiled does not know."""
        return self.external - {files.data_key for files in self.files}

    def descriptor_of(self, row: int) -> int:
        """Number of the descriptor that the event or row of that number belongs to."""
        if row >= len(self.event_times):
            return len(self.descriptors) - 1
        moment = self.event_times[row]
        return sum(time <= moment for time in self.descriptor_times) - 1

    @cached_property
    def seq_nums(self) -> list[int]:
        """The sequence number of each event and of each row that has none."""
        known = [int(number) for number in self.table["seq_num"]]
        last = known[-1] if known else 0
        return known + [last + 1 + i for i in range(len(self.rows_without_events))]

    def events(self, start: int, stop: int) -> Iterator[Document]:
        """The events of some numbers; arrays in them are read when somebody looks at them."""
        blocks = {key: _Blocks(array) for key, array in self.arrays.items()}
        for row in range(start, stop):
            # While a run is written some arrays are behind the table.
            there = {key: StoredArray(b, row) for key, b in blocks.items() if row < len(b)}
            yield self._event(row, there)

    def _event(self, row: int, arrays: Document) -> Document:
        descriptor = self.descriptors[self.descriptor_of(row)]
        inside = [key for key in descriptor["data_keys"] if key in self.table]
        data = {key: _builtin(self.table[key][row]) for key in inside} | arrays
        time = self.table["time"][row]
        times = {key: self.table[f"ts_{key}"] for key in data if f"ts_{key}" in self.table}
        return {
            "uid": f"{descriptor['uid']}-{row}",
            "descriptor": descriptor["uid"],
            "seq_num": self.seq_nums[row],
            "time": time,
            "data": data,
            "timestamps": {key: times[key][row] if key in times else time for key in data},
            "filled": {},
        }


class StoredArray:
    """An array in an event, which is in Tiled until somebody makes an array of it."""

    def __init__(self, blocks: _Blocks, row: int) -> None:
        self._blocks = blocks
        self._row = row

    def __array__(
        self, dtype: np.dtype[Any] | None = None, copy: bool | None = None
    ) -> NDArray[Any]:
        """The array."""
        return np.array(self._blocks.row(self._row), dtype=dtype, copy=copy)


class _Blocks:
    """The rows of an array in Tiled, of which those around the last one that was read are kept."""

    def __init__(self, array: ArrayClient) -> None:
        self._array = array
        row_bytes = math.prod(array.shape[1:]) * array.dtype.itemsize
        self._rows = max(1, _BLOCK_BYTES // max(row_bytes, 1))
        self._first, self._block = 0, np.empty((0, *array.shape[1:]), array.dtype)

    def __len__(self) -> int:
        return int(self._array.shape[0])

    def row(self, row: int) -> NDArray[Any]:
        if not 0 <= row - self._first < len(self._block):
            self._first = row
            self._block = np.asarray(self._array[row : row + self._rows])
        values: NDArray[Any] = self._block[row - self._first]
        return values


def read_stream(client: BlueskyEventStreamV3) -> RawStream:
    """Ask Tiled for a stream of a run."""
    from tiled.client.utils import client_for_item

    contents = client.include_data_sources().get_contents(include_metadata=True)
    nodes = {
        key: client_for_item(client.context, client.structure_clients, item)
        for key, item in contents.items()
        if key.startswith(_TABLE) or item["attributes"]["structure_family"] == "array"
    }
    descriptors = _descriptors(client)
    data_keys = descriptors[0]["data_keys"]
    outside = {key for key in nodes if "external" in data_keys.get(key, {})}
    return RawStream(
        name=client.item["id"],
        descriptors=descriptors,
        table=_table([node for key, node in nodes.items() if key.startswith(_TABLE)]),
        arrays={key: nodes[key] for key in nodes.keys() & data_keys.keys() - outside},
        files=[
            files
            for key in sorted(outside)
            if (files := _files(key, data_keys[key], plain(contents[key]["attributes"])))
        ],
    )


def with_shared_files(streams: Sequence[RawStream]) -> list[RawStream]:
    """The same, where streams that share files know of them.

    Tiled has the rows of a file that several streams refer to in the first of these alone. There
    are as many of each as it has events.
    """
    known = {files.data_key: files for stream in reversed(streams) for files in stream.files}
    of_others = {
        key for stream in streams if stream.event_times for key in stream.missing
    } & known.keys()

    def own(stream: RawStream) -> RawStream:
        if not stream.event_times:
            return stream
        shared = [known[key] for key in sorted(of_others & stream.external)]
        rest = [files for files in stream.files if files.data_key not in of_others]
        rows = len(stream.event_times)
        return replace(stream, files=[*rest, *(replace(files, rows=rows) for files in shared)])

    return [own(stream) for stream in streams]


def plain(value: Any) -> Any:  # noqa: ANN401  whatever JSON holds
    """The same without the read-only views that Tiled gives."""
    if isinstance(value, Mapping):
        return {key: plain(item) for key, item in value.items()}
    if isinstance(value, Sequence) and not isinstance(value, str | bytes):
        return [plain(item) for item in value]
    return value


def _descriptors(client: BlueskyEventStreamV3) -> list[Document]:
    from bluesky_tiled_plugins.exporters import build_descriptor_docs

    run = client.parent
    while "start" not in run.metadata:  # older runs have a node between
        run = run.parent
    return list(
        build_descriptor_docs(
            plain(client.metadata), client.item["id"], run_start_uid=run.metadata["start"]["uid"]
        )
    )


def _table(nodes: Sequence[Any]) -> dict[str, list[Any]]:
    """The events, which lie in several tables where they have very many columns."""
    columns = {
        str(name): column.tolist() for node in nodes for name, column in node.read().items()
    } or {"seq_num": [], "time": []}
    # The writer sends rows again when it does not know whether they came.
    numbers = zip(columns["seq_num"], columns["time"], strict=True)
    rows = {key: row for row, key in reversed([*enumerate(numbers)])}.values()
    return {name: [column[row] for row in sorted(rows)] for name, column in columns.items()}


def _files(data_key: str, described: Document, attributes: Document) -> RawFiles | None:
    (source,) = attributes["data_sources"]
    shape = source["structure"]["shape"]
    row_shape = _row_shape(described["shape"], attributes["metadata"].get("frame_per_point"))
    stacked = len(shape) > len(row_shape)  # else rows are appended along their first dimension
    rows = shape[0] if stacked else shape[0] // max(row_shape[0], 1)
    assets = sorted(source["assets"], key=lambda asset: asset["num"] or 0)
    uris = tuple(dict.fromkeys(asset["data_uri"] for asset in assets))
    if not rows or not uris:
        return None
    dataset = source["parameters"].get("dataset")
    files_per_row = None
    if dataset is None or len(uris) >= max(rows, 2):
        noted = (source.get("properties") or {}).get("chunks")  # one for each file
        files_per_row = max((len(noted[0]) if noted else len(uris)) // rows, 1)
    return RawFiles(
        data_key=data_key,
        mimetype=source["mimetype"],
        uris=uris,
        rows=rows,
        frames_per_row=math.prod(row_shape[:-2]),
        files_per_row=files_per_row,
        dataset=dataset,
    )


def _row_shape(described: Sequence[int], frame_per_point: int | None) -> Sequence[int]:
    """The shape of the rows of a data key, as the writer takes it from descriptor and resource."""
    if frame_per_point and described and described[0] != frame_per_point:
        return [frame_per_point, *(described[1:] if described[0] == 1 else described)]
    return described


def _builtin(value: object) -> object:
    """A cell of a table as it stood in its event."""
    if isinstance(value, np.ndarray | np.generic):
        value = value.tolist()
    return [_builtin(item) for item in value] if isinstance(value, list) else value
