"""Documents that were lost on the way, where those that came leave no doubt about them.

Rows of a file that nobody announced lie between others that were announced, or before the first, or
after the last one up to the number of events that the stop document tells. Where the indices and
the seq_nums of the neighbours go in step, they are known.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from itertools import pairwise
from typing import Any

Document = Mapping[str, Any]
Documents = Iterable[tuple[str, Document]]


def rows_were_lost(documents: Documents) -> bool:
    """Whether rows of a file lie between those that were announced, though no event is missing.

    They are of events that were repeated: then an older frame stands in for the right one.
    """
    datums: dict[str, list[Document]] = {}
    for name, doc in documents:
        if name == "stream_datum":
            datums.setdefault(doc["stream_resource"], []).append(doc)
    return any(
        after["indices"]["start"] > before["indices"]["stop"] and _offset(before) > _offset(after)
        for some in datums.values()
        for before, after in pairwise(sorted(some, key=lambda doc: int(doc["indices"]["start"])))
    )


def lost_announcements(documents: Documents) -> list[Document]:
    """The stream datums that are missing between those of a run.

    Parameters
    ----------
    documents
        All that came of the run.

    Returns
    -------
    Stream datums that announce the rows in between.
    """
    known: dict[tuple[str, str], dict[int, Document]] = {}
    streams: dict[str, str] = {}
    keys: dict[str, str] = {}
    counts: Mapping[str, int] = {}
    for name, doc in documents:
        if name == "descriptor":
            streams[doc["uid"]] = doc["name"]
        elif name == "stream_resource":
            keys[doc["uid"]] = doc["data_key"]
        elif name == "stream_datum":
            place = doc["stream_resource"], doc["descriptor"]
            known.setdefault(place, {})[doc["indices"]["start"]] = doc
        elif name == "stop":
            counts = doc.get("num_events") or {}
    alone = _alone(known, streams, keys)
    return [
        gap
        for place, datums in known.items()
        for gap in _gaps(
            [datums[start] for start in sorted(datums)],
            counts.get(streams.get(place[1], "")) if place in alone else None,
        )
    ]


def _alone(
    known: Iterable[tuple[str, str]], streams: Mapping[str, str], keys: Mapping[str, str]
) -> set[tuple[str, str]]:
    """The resources that have all the frames of their data key and stream."""
    by_stream: dict[tuple[str | None, str | None], list[tuple[str, str]]] = {}
    for resource, descriptor in known:
        group = keys.get(resource), streams.get(descriptor)
        by_stream.setdefault(group, []).append((resource, descriptor))
    return {places[0] for places in by_stream.values() if len(places) == 1}


def _gaps(datums: list[Document], events: int | None) -> Iterable[Document]:
    first, last = datums[0], datums[-1]
    if events is not None and _offset(first) == 1:
        yield from _between(first, 0, first["indices"]["start"])
    for before, after in pairwise(datums):
        if _offset(before) == _offset(after):
            yield from _between(before, before["indices"]["stop"], after["indices"]["start"])
    if events is not None and _offset(last) == 1:
        yield from _between(last, last["indices"]["stop"], events)


def _offset(datum: Document) -> int:
    return int(datum["seq_nums"]["start"] - datum["indices"]["start"])


def _between(like: Document, start: int, stop: int) -> Iterable[Document]:
    if start < stop:
        offset = _offset(like)
        yield {
            **like,
            "uid": f"{like['stream_resource']}/{start}-{stop}",
            "indices": {"start": start, "stop": stop},
            "seq_nums": {"start": start + offset, "stop": stop + offset},
        }
