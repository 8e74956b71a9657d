"""Raw runs out of Tiled: which there are, and their documents, for reducing them once more.

Tiled keeps what documents said, not the documents. From its nodes they are made again so that they
lead to the same frames, by the same paths and rows, as those that a live reducer saw: the events
of all streams in the order of their times, each group of them followed by the announcement of its
rows. What the writer of bluesky-tiled-plugins, and its exporter of documents, do not tell is found
out as far as it can be:

* which file a row is in, where a detector went over to another file, by looking into the files;
* which rows of a file that two streams share belong to which, by the order of events;
* which descriptor a frame belongs to, where a configuration changed on the way, by their times;
* the files of a series that Tiled did not note, by the names of those that it did.

Frames inside of events come in the type that Tiled stored, float64 unless their data key has a
``dtype_numpy``. A run that the server has as documents, in MongoDB, comes as it is.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from itertools import groupby
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from bluesky_azint.callbacks.data_keys import image_keys
from bluesky_azint.callbacks.raw_rows import RowFinder
from bluesky_azint.callbacks.raw_streams import RawStream, plain, read_stream, with_shared_files
from bluesky_azint.errors import RecipeError, StoreError

if TYPE_CHECKING:
    from bluesky_tiled_plugins.clients.bluesky_run import BlueskyRun
    from tiled.client.container import Container

Documents = Iterator[tuple[str, dict[str, Any]]]

_NO_MAP: Mapping[str, str] = MappingProxyType({})
_DURATION = re.compile(r"(\d+(?:\.\d+)?)\s*(s|min|h|d|w)")
_SECONDS = {"s": 1, "min": 60, "h": 3600, "d": 86400, "w": 604800}
_UID = re.compile(r"[\w-]+")


def find_runs(
    catalog: Container,
    *,
    uids: Collection[str] = (),
    since: str | datetime | None = None,
    until: str | datetime | None = None,
) -> Iterator[BlueskyRun]:
    """Raw runs in Tiled, the oldest first.

    Parameters
    ----------
    catalog
        The container for raw runs.
    uids
        Uids of runs, or how they begin; these are given whatever is in them.
    since, until
        Where no uids are given: runs with images that began from one time until another, in ISO
        8601, or so long ago: ``"90min"``, ``"12h"``, ``"2d"``. None is no limit.

    Raises
    ------
    RecipeError
        If a uid or a time is none.
    StoreError
        If no run, or more than one, has a uid that begins so.
    """
    from tiled.queries import Comparison

    for uid in uids:
        yield _run(catalog, uid)
    if uids:
        return
    for operator, limit in (("ge", since), ("le", until)):
        if limit is not None:
            catalog = catalog.search(Comparison(operator, "start.time", seconds_of(limit)))
    for run in catalog.sort(("start.time", 1)).values():
        if any(image_keys(run[name].metadata) for name in run):
            yield run


def seconds_of(moment: str | datetime) -> float:
    """A time in seconds since 1970: given as such, in ISO 8601, or as how long ago.

    Raises
    ------
    RecipeError
        If it is none of these.

    >>> seconds_of("1970-01-02T00:00:00Z")
    86400.0
    """
    if isinstance(moment, datetime):
        return moment.timestamp()
    if match := _DURATION.fullmatch(moment.strip()):
        return (
            datetime.now(UTC) - timedelta(seconds=float(match[1]) * _SECONDS[match[2]])
        ).timestamp()
    try:
        return datetime.fromisoformat(moment).timestamp()
    except (ValueError, OverflowError):
        raise RecipeError(
            f"{moment!r} is no time; write it as 2026-03-01, as 2026-03-01T12:00, or as how long "
            "ago it was: 90min, 12h, 2d."
        ) from None


def raw_run_ended(catalog: Container, uid: str) -> bool:
    """Whether a run is in Tiled with its stop document; False if it is not there at all.

    Parameters
    ----------
    catalog
        The container for raw runs.
    uid
        The whole uid of the run.
    """
    from tiled.queries import Key

    return any("stop" in run.metadata for run in catalog.search(Key("start.uid") == uid).values())


def raw_documents(run: BlueskyRun, *, root_map: Mapping[str, str] = _NO_MAP) -> Documents:
    """The documents of a raw run.

    A run that is still under way, or whose process died, has no stop document. Frames inside of
    events stay in Tiled until ``numpy.asarray`` is asked for them, as a `Reducer` does for those
    that it needs.

    Parameters
    ----------
    run
        The run, as a client of Tiled gives it.
    root_map
        Beginnings of paths of raw files, and what they are called on this machine; it is needed
        where a detector went over from one file to another.
    """
    from bluesky_tiled_plugins.clients.bluesky_run import BlueskyRunV2Mongo

    if isinstance(run, BlueskyRunV2Mongo):
        yield from ((name, dict(doc)) for name, doc in run.documents())
        return
    metadata = plain(run.metadata)
    yield "start", metadata["start"]
    finder = RowFinder(metadata["start"]["uid"], root_map=root_map)
    yield from _in_order(with_shared_files([read_stream(run[name]) for name in run]), finder)
    if metadata.get("stop"):
        yield "stop", metadata["stop"]


@dataclass(frozen=True, order=True)
class _Mark:
    """When a stream got a descriptor (rank 0) or an event (rank 1), and the number of that."""

    time: float
    rank: int
    stream: int
    number: int


def _in_order(streams: list[RawStream], finder: RowFinder) -> Documents:
    """Descriptors, events and announcements of several streams, in the order of their times."""
    marks = [
        _Mark(time, rank, place, number)
        for place, stream in enumerate(streams)
        for rank, times in enumerate((stream.descriptor_times, stream.event_times))
        for number, time in enumerate(times)
    ]
    for (rank, place), group in groupby(sorted(marks), key=lambda mark: (mark.rank, mark.stream)):
        stream, numbers = streams[place], [mark.number for mark in group]
        if rank == 0:
            for number in numbers:
                yield "descriptor", stream.descriptors[number]
            if not stream.event_times:
                yield from finder.announce(stream, stream.rows_without_events)
            continue
        for _, same in groupby(numbers, key=stream.descriptor_of):
            events = list(same)
            yield from (("event", doc) for doc in stream.events(events[0], events[-1] + 1))
            yield from finder.announce(stream, range(events[0], events[-1] + 1))
    for stream in streams:
        if stream.event_times:
            yield from finder.announce(stream, stream.rows_without_events)


def _run(catalog: Container, uid: str) -> BlueskyRun:
    from tiled.queries import Like

    if not _UID.fullmatch(uid):
        raise RecipeError(f"{uid!r} is no uid of a run; a uid has letters, digits and dashes.")
    found = catalog.search(Like("start.uid", f"{uid}%")).values().head(2)
    if len(found) != 1:
        how_many = "No run" if not found else "More than one run"
        raise StoreError(
            f"{how_many} in {catalog.uri} has a uid that begins with {uid!r}; give more of it, or "
            "see whether it is another catalogue."
        )
    return found[0]
