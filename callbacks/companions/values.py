"""The numbers of a run: what a device read when a frame was taken, wherever that is written.

A number is looked for by its name, in this order:

1. among the data keys of the frame's own descriptor: in the event of the frame, or in the file
   that the device streams it to;
2. in the baseline stream, of which the first reading counts: that at the end of a run comes after
   its frames;
3. among the configuration signals of the descriptor;
4. in the start document.

Where it is found first it has to be: an event that lacks it does not fall back on the baseline. A
stream of its own, with times of its own, as monitors have, is no place: what was read beside a
frame cannot be told from the time at which documents of it arrived.
"""

from __future__ import annotations

import logging
import math
import zlib
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any

import numpy as np
from event_model import unpack_event_page
from numpy.typing import NDArray

from bluesky_azint.callbacks.assets import Asset, Document, StreamRows, asset_from_document
from bluesky_azint.callbacks.companions.columns import Column
from bluesky_azint.callbacks.companions.numbers import read_numbers
from bluesky_azint.callbacks.roots import Roots
from bluesky_azint.errors import FrameError

logger = logging.getLogger(__name__)

Floats = NDArray[np.float64]

BASELINE = "baseline"
# So many numbers of one event are none beside a frame, but data of their own.
_MOST_PER_EVENT = 4096


@dataclass(frozen=True, kw_only=True)
class Found:
    """Where a number is, and what is known of it.

    Parameters
    ----------
    place
        In words; "" if it is nowhere.
    column
        The numbers by seq_num, where every event has its own; else None.
    constant
        The number, where all events share it; NaN if it is none.
    expected
        Whether the constant is still to come.
    """

    place: str
    column: Column | None = None
    constant: float = math.nan
    expected: bool = False


@dataclass(frozen=True, kw_only=True)
class _Piece:
    """Numbers in a file that were announced, and not read yet."""

    asset: Asset
    row: int
    seq_nums: range


@dataclass(eq=False)
class _Stream:
    """What is known of a descriptor: itself, the numbers of its events, and those to be read."""

    doc: Document
    columns: dict[str, Column] = field(default_factory=dict)
    pieces: dict[str, list[_Piece]] = field(default_factory=dict)


class RunValues:
    """Collects the numbers of one run.

    Parameters
    ----------
    start
        The start document.
    keys
        The names of the numbers that are wanted.
    root_map, roots, timeout
        See `Companions`.
    """

    def __init__(
        self,
        start: Document,
        keys: Collection[str],
        *,
        root_map: Mapping[str, str] = MappingProxyType({}),
        roots: Roots | None = None,
        timeout: float = 10.0,
    ) -> None:
        self.start = start
        self._keys = frozenset(keys)
        self._root_map = root_map
        self._roots = roots or Roots(None)
        self._timeout = timeout
        self._streams: dict[str, _Stream] = {}
        self._resources: dict[str, Document] = {}
        self._waiting: dict[str, list[Document]] = {}  # stream datums, by their resource
        self._rows = StreamRows()
        self._failing: set[str] = set()

    def take(self, name: str, doc: Document) -> None:
        """Take a document of the run."""
        if name == "descriptor":
            self._take_descriptor(doc)
        elif name == "event":
            self._take_event(doc)
        elif name == "event_page":
            for event in unpack_event_page(doc):  # type: ignore[arg-type]  # any mapping
                self._take_event(event)
        elif name == "stream_resource":
            self._resources[doc["uid"]] = doc
            for waited in self._waiting.pop(doc["uid"], ()):
                self._take_stream_datum(waited)
        elif name == "stream_datum":
            self._take_stream_datum(doc)

    def find(self, key: str, descriptor: str) -> Found:
        """Where the number of that name is for the events of a descriptor."""
        stream = self._streams[descriptor]
        if key in stream.doc["data_keys"]:
            if key not in stream.columns:
                return Found(place="")
            external = "external" in stream.doc["data_keys"][key]
            place = "the file of its stream" if external else "the events"
            return Found(place=place, column=stream.columns[key])
        for uid, baseline in self._streams.items():
            if self.is_baseline(uid) and key in baseline.columns:
                column = baseline.columns[key]
                return Found(
                    place="the baseline",
                    constant=float(column.numbers([1])[0, 0]),
                    expected=not column.arrivals([1])[0],
                )
        for device, configuration in (stream.doc.get("configuration") or {}).items():
            data = configuration.get("data") if isinstance(configuration, Mapping) else None
            if isinstance(data, Mapping) and key in data:
                number = _number(data[key])
                return Found(place=f"the configuration of {device!r}", constant=number)
        if key in self.start:
            return Found(place="the start document", constant=_number(self.start[key]))
        return Found(place="")

    def name(self, descriptor: str) -> str:
        """Name of the stream of a descriptor."""
        return str(self._streams[descriptor].doc["name"])

    def data_key(self, resource: str) -> str | None:
        """What a stream resource is of; None if it has not come."""
        found = self._resources.get(resource)
        return None if found is None else str(found["data_key"])

    def is_baseline(self, descriptor: str) -> bool:
        """Whether a descriptor is that of a baseline stream."""
        stream = self._streams.get(descriptor)
        return stream is not None and stream.doc["name"] == BASELINE

    def lacks(self, key: str, descriptor: str, seq_nums: Sequence[int], least: Column) -> bool:
        """Whether a number of some events is still to come.

        Parameters
        ----------
        key, descriptor, seq_nums
            Which number, and of which events.
        least
            How often frames of these events were announced: where a run was rewound, the number
            has to come as often as they did.
        """
        found = self.find(key, descriptor)
        if found.column is not None:
            missing = found.column.arrivals(seq_nums) < least.arrivals(seq_nums)
            return bool(missing.any())
        return found.expected

    def read(
        self, key: str, descriptor: str, seq_nums: NDArray[np.int64], within: NDArray[np.int64]
    ) -> Floats:
        """The numbers of some frames, ``(n,)``; NaN where there is none.

        Parameters
        ----------
        key, descriptor
            Which number.
        seq_nums, within
            ``(n,)``, of the event of each frame, and which frame of that event it is, from 0.

        Raises
        ------
        FrameError
            If a file does not give numbers that were announced.
        """
        found = self.find(key, descriptor)
        if found.column is None:
            return np.full(len(seq_nums), found.constant)
        self._read_files(self._streams[descriptor], key, set(seq_nums.tolist()))
        numbers = found.column.numbers(seq_nums.tolist())
        if numbers.shape[1] == 1:
            return numbers[:, 0]
        inside = (within >= 0) & (within < numbers.shape[1])
        chosen = numbers[np.arange(len(numbers)), np.where(inside, within, 0)]
        return np.where(inside, chosen, np.nan)

    def why_not(self, key: str, descriptor: str) -> str:
        """Why there is no such number for an event, and what to do, as a sentence."""
        stream = self._streams[descriptor]
        found = self.find(key, descriptor)
        if found.place:
            return f"It should be in {found.place}, where it is missing or no number."
        own = [
            other.doc["name"]
            for other in self._streams.values()
            if key in other.doc["data_keys"] and other is not stream
        ]
        if key in stream.doc["data_keys"]:
            return "It is no single number of an event, or in a file that is not streamed."
        if own:
            return (
                f"It is in the stream {own[0]!r}, which has times of its own; read it together "
                f"with the frames, in the stream {stream.doc['name']!r}, or in the baseline."
            )
        return (
            f"No event of the stream {stream.doc['name']!r}, no baseline, configuration or start "
            "document has it; read the device with the frames, or correct its name in the "
            "configuration."
        )

    def _take_descriptor(self, doc: Document) -> None:
        if doc["uid"] in self._streams:
            return
        stream = self._streams[doc["uid"]] = _Stream(doc)
        for key in self._keys & doc["data_keys"].keys():
            data_key = doc["data_keys"][key]
            width = math.prod(size or 1 for size in data_key.get("shape") or ())
            external = str(data_key.get("external", ""))
            readable = not external or external.startswith("STREAM:")
            if doc["name"] == BASELINE:
                readable = not external and width == 1
            if readable and width <= _MOST_PER_EVENT:
                stream.columns[key] = Column(width)

    def _take_event(self, doc: Document) -> None:
        stream = self._streams.get(doc["descriptor"])
        if stream is None:
            return
        seq_nums = events_of("event", doc)
        for key, column in stream.columns.items():
            if key in doc["data"] and seq_nums:
                column.note(seq_nums, mark_of_document("event", doc))
                column.put(seq_nums, _numbers(doc["data"][key], column.width))

    def _take_stream_datum(self, doc: Document) -> None:
        stream = self._streams.get(doc["descriptor"])
        if stream is None or not stream.columns:
            return
        resource = self._resources.get(doc["stream_resource"])
        if resource is None:
            self._waiting.setdefault(doc["stream_resource"], []).append(doc)
            return
        key = resource["data_key"]
        seq_nums = range(int(doc["seq_nums"]["start"]), int(doc["seq_nums"]["stop"]))
        indices = range(int(doc["indices"]["start"]), int(doc["indices"]["stop"]))
        if key not in stream.columns or not seq_nums or len(seq_nums) != len(indices):
            return
        column = stream.columns[key]
        column.note(seq_nums, mark_of_document("stream_datum", doc))
        column.put(seq_nums, np.full((1, column.width), np.nan))
        try:
            asset = asset_from_document(resource, frames_per_event=1, root_map=self._root_map)
            row = self._rows.row(
                indices.start,
                indices.stop,
                first_event=seq_nums.start,
                asset=asset,
                run=self.start["uid"],
                data_key=key,
            )
        except FrameError as error:
            logger.error("The numbers %r cannot be read: %s", key, error)
            return
        piece = _Piece(asset=asset, row=row, seq_nums=seq_nums)
        stream.pieces.setdefault(key, []).append(piece)

    def _read_files(self, stream: _Stream, key: str, seq_nums: set[int]) -> None:
        """Read the pieces that some events are in, each once."""
        for piece in list(stream.pieces.get(key, ())):
            if seq_nums.isdisjoint(piece.seq_nums):
                continue
            column, uid = stream.columns[key], piece.asset.uid
            timeout = 0.0 if uid in self._failing else self._timeout
            self._failing.add(uid)
            numbers = read_numbers(
                piece.asset,
                piece.row,
                piece.row + len(piece.seq_nums),
                per_event=column.width,
                roots=self._roots,
                timeout=timeout,
            )
            self._failing.discard(uid)
            column.put(piece.seq_nums, numbers)
            stream.pieces[key].remove(piece)


def events_of(name: str, doc: Document) -> Sequence[int]:
    """Which events a document is of, or tells of; it is sound, see `callbacks.soundness`."""
    if name == "stream_datum":
        return range(int(doc["seq_nums"]["start"]), int(doc["seq_nums"]["stop"]))
    seq_nums = doc["seq_num"] if name == "event_page" else [doc["seq_num"]]
    return [int(seq_num) for seq_num in seq_nums]


def mark_of_document(name: str, doc: Document) -> int:
    """What tells a document from others of the same events; the same one again has the same."""
    if name == "stream_datum":
        return _mark(f"{doc['stream_resource']}/{doc['indices']['start']}")
    return _mark(repr(doc.get("uid") or doc["time"]))


def _mark(name: str) -> int:
    """A number that stands for a name, never 0."""
    return zlib.crc32(name.encode()) + 1


def _number(value: object) -> float:
    """A single number; NaN for anything else."""
    return float(_numbers(value, 1)[0, 0])


def _numbers(value: Any, width: int) -> Floats:  # noqa: ANN401  documents hold anything
    """The numbers of an event, ``(1, width)``; NaN if they are not as announced."""
    try:
        numbers = np.asarray(value)
        if numbers.dtype.kind in "biuf" and numbers.size == width:
            return numbers.astype(np.float64).reshape(1, width)
    except (TypeError, ValueError):
        pass
    return np.full((1, width), np.nan)
