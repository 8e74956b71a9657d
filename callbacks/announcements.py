"""What Bluesky documents announce: frames inside of events, or rows of files.

Nothing is read here. Events refer to datums, datums to resources, and stream datums to stream
resources. A broker need not keep their order, so frames wait where a document is missing that says
where they are. Descriptors alone have to come before what refers to them.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from itertools import chain, groupby
from typing import TYPE_CHECKING, cast

from event_model import unpack_datum_page

from bluesky_azint.callbacks.assets import (
    Asset,
    Document,
    StreamRows,
    asset_from_document,
    row_of_datum,
)
from bluesky_azint.callbacks.data_keys import frames_per_event, image_keys
from bluesky_azint.errors import FrameError

if TYPE_CHECKING:
    from event_model.documents import DatumPage

logger = logging.getLogger(__name__)


@dataclass(frozen=True, eq=False)
class Stream:
    """What is known of an event descriptor.

    Parameters
    ----------
    run, uid
        The uids of its run and of itself.
    keys
        The data keys of its images.
    times
        Of events, by seq_num, that came before their frames were announced.
    """

    run: str
    uid: str
    keys: Mapping[str, Document]
    times: dict[int, float] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class Announced:
    """Frames of one data key, and of events that follow each other.

    Parameters
    ----------
    stream, data_key
        Whose they are.
    seq_nums, times
        Of the events.
    frames_per_event
        How many frames each event has.
    asset, row
        Where they are, and which event of the asset, counted from 0, is the first of these.
    values
        Without an asset, the frames themselves: what each event holds.
    problem
        Why it cannot be said where they are.
    """

    stream: Stream
    seq_nums: Sequence[int]
    times: Sequence[float]
    data_key: str = ""
    frames_per_event: int = 1
    asset: Asset | None = None
    row: int = 0
    values: tuple[object, ...] = ()
    problem: str = ""


Retry = Callable[[], Iterable[Announced]]


class Announcements:
    """Collects documents, and tells of the frames that they announce.

    Parameters
    ----------
    root_map
        Beginnings of paths in the documents, and what they are called on this machine.
    data_keys
        Which data keys to heed, whatever their shape; None for all images.
    """

    def __init__(self, *, root_map: Mapping[str, str], data_keys: Collection[str] | None) -> None:
        self._root_map = root_map
        self._data_keys = data_keys
        self._runs: set[str] = set()
        self._streams: dict[str, Stream] = {}
        self._resources: dict[str, Document] = {}
        self._datums: dict[str, Document] = {}
        self._rows = StreamRows()
        self._waiting: dict[str, list[tuple[Announced, Retry]]] = {}
        self._unknown: set[str] = set()

    @property
    def resources(self) -> Collection[str]:
        """The uids of the resources and stream resources of all open runs."""
        return self._resources.keys()

    def __call__(self, name: str, doc: Document) -> list[Announced]:
        """Take a document; give the frames that are announced completely with it.

        At the end of a run everything about it is forgotten. Frames of which a document is still
        missing are then given with that as their problem.
        """
        take = getattr(self, f"_take_{name}", None)
        return [] if take is None else list(take(doc))

    def _take_start(self, doc: Document) -> Iterable[Announced]:
        self._runs.add(doc["uid"])
        return ()

    def _take_descriptor(self, doc: Document) -> Iterable[Announced]:
        self._runs.add(doc["run_start"])
        if doc["uid"] in self._streams:
            return ()
        chosen = image_keys(doc) if self._data_keys is None else self._data_keys
        keys = {key: value for key, value in doc["data_keys"].items() if key in chosen}
        self._streams[doc["uid"]] = Stream(run=doc["run_start"], uid=doc["uid"], keys=keys)
        return ()

    def _take_resource(self, doc: Document) -> Iterable[Announced]:
        self._resources[doc["uid"]] = doc
        return self._no_longer_missing(doc["uid"])

    _take_stream_resource = _take_resource

    def _take_datum(self, doc: Document) -> Iterable[Announced]:
        self._datums[doc["datum_id"]] = doc
        return self._no_longer_missing(doc["datum_id"])

    def _take_datum_page(self, doc: Document) -> Iterable[Announced]:
        page = cast("DatumPage", doc)
        return [found for datum in unpack_datum_page(page) for found in self._take_datum(datum)]

    def _take_event(self, doc: Document) -> Iterable[Announced]:
        data = {key: [value] for key, value in doc["data"].items()}
        return self._take_event_page(
            {**doc, "seq_num": [doc["seq_num"]], "time": [doc["time"]], "data": data}
        )

    def _take_event_page(self, doc: Document) -> Iterable[Announced]:
        stream = self._stream(doc["descriptor"])
        for key in stream.keys:
            if key in doc["data"]:
                events = zip(doc["seq_num"], doc["time"], doc["data"][key], strict=True)
                yield from _joined(
                    chain.from_iterable(self._in_event(stream, key, *event) for event in events)
                )
            else:  # its frames are streamed
                stream.times.update(zip(doc["seq_num"], doc["time"], strict=True))

    def _take_stream_datum(self, doc: Document) -> Iterable[Announced]:
        stream = self._stream(doc["descriptor"])
        seq_nums = range(doc["seq_nums"]["start"], doc["seq_nums"]["stop"])
        now = time.time()
        times = [stream.times.get(seq_num, now) for seq_num in seq_nums]
        found = Announced(stream=stream, seq_nums=seq_nums, times=times)
        return self._in_stream(found, doc) if stream.keys else ()

    def _take_stop(self, doc: Document) -> Iterable[Announced]:
        lost = list(self._still_missing(doc["run_start"]))
        self._forget(doc["run_start"])
        return lost

    def _in_event(
        self, stream: Stream, key: str, seq_num: int, when: float, value: object
    ) -> Iterable[Announced]:
        found = Announced(stream=stream, data_key=key, seq_nums=(seq_num,), times=(when,))
        if isinstance(value, str):
            return self._in_datum(found, value)
        count = frames_per_event(stream.keys[key])
        return [replace(found, values=(value,), frames_per_event=count)]

    def _in_datum(self, found: Announced, datum_id: str) -> Iterable[Announced]:
        datum = self._datums.get(datum_id)
        if datum is None:
            return self._wait_for(datum_id, found, partial(self._in_datum, found, datum_id))
        uid = datum["resource"]
        if uid not in self._resources:
            return self._wait_for(uid, found, partial(self._in_datum, found, datum_id))
        return [self._located(found, uid, lambda _: row_of_datum(datum))]

    def _in_stream(self, found: Announced, doc: Document) -> Iterable[Announced]:
        uid = doc["stream_resource"]
        if uid not in self._resources:
            return self._wait_for(uid, found, partial(self._in_stream, found, doc))
        run, key = found.stream.run, self._resources[uid]["data_key"]
        if key not in found.stream.keys:
            return []
        start, stop = doc["indices"]["start"], doc["indices"]["stop"]
        found = replace(found, data_key=key)
        if stop - start != len(found.seq_nums):
            problem = f"There are {stop - start} indices for {len(found.seq_nums)} events."
            return [replace(found, problem=problem)]
        return [
            self._located(
                found,
                uid,
                lambda asset: self._rows.row(
                    start,
                    stop,
                    first_event=found.seq_nums[0] if found.seq_nums else 0,
                    asset=asset,
                    run=run,
                    data_key=key,
                ),
            )
        ]

    def _located(self, found: Announced, uid: str, row: Callable[[Asset], int]) -> Announced:
        count = frames_per_event(found.stream.keys[found.data_key])
        try:
            asset = asset_from_document(
                self._resources[uid], frames_per_event=count, root_map=self._root_map
            )
            count = asset.frames_per_event
            return replace(found, asset=asset, row=row(asset), frames_per_event=count)
        except FrameError as error:
            return replace(found, problem=str(error))

    def _stream(self, uid: str) -> Stream:
        """The stream of a descriptor; one without images where the descriptor was never seen."""
        if (stream := self._streams.get(uid)) is not None:
            return stream
        if uid not in self._unknown:
            self._unknown.add(uid)
            logger.warning(
                "Documents refer to the descriptor %s, which has not been seen: their run began "
                "before. Its frames are left out; reduce the run again when it is complete.",
                uid,
            )
        return Stream(run="", uid=uid, keys={})

    def _wait_for(self, missing: str, found: Announced, retry: Retry) -> Iterable[Announced]:
        self._waiting.setdefault(missing, []).append((found, retry))
        return ()

    def _no_longer_missing(self, uid: str) -> Iterable[Announced]:
        waited = self._waiting.pop(uid, ())
        return [found for _, retry in waited for found in retry()]

    def _still_missing(self, run: str) -> Iterator[Announced]:
        for missing, waiting in self._waiting.items():
            for found, _ in waiting:
                if found.stream.run == run:
                    yield replace(found, problem=f"No document {missing} ever said where they are.")

    def _forget(self, run: str) -> None:
        """Drop what belongs to a run; what does not tell whose it is, with the last open run."""
        self._runs.discard(run)

        def stays(owner: str | None) -> bool:
            return owner != run and bool(self._runs)

        self._streams = {uid: it for uid, it in self._streams.items() if stays(it.run)}
        self._resources = {
            uid: it for uid, it in self._resources.items() if stays(it.get("run_start"))
        }
        self._datums = {
            uid: it for uid, it in self._datums.items() if it["resource"] in self._resources
        }
        self._waiting = {
            uid: left
            for uid, waiting in self._waiting.items()
            if (left := [it for it in waiting if stays(it[0].stream.run)])
        }
        self._rows.forget(run)


def _joined(points: Iterable[Announced]) -> Iterator[Announced]:
    """Announce those together that can be read together."""

    def kind(place: tuple[int, Announced]) -> tuple[object, ...]:
        position, point = place
        if point.asset is None:
            return point.problem, point.frames_per_event
        return point.asset, point.row - position

    for _, group in groupby(enumerate(points), kind):
        run = [point for _, point in group]
        yield replace(
            run[0],
            seq_nums=[point.seq_nums[0] for point in run],
            times=[point.times[0] for point in run],
            values=tuple(value for point in run for value in point.values),
        )
