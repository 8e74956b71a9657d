"""Documents that came one after the other, as fewer that say the same.

A detector at 50 frames a second announces each by itself. Read, reduced and written together they
take a fraction of the time, and it is the time of the process that measures.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

Document = Mapping[str, Any]
Documents = list[tuple[str, Document]]


def joined(documents: Iterable[tuple[str, Document]]) -> Documents:
    """The documents of a run with the stream datums that follow each other made one.

    Events that came between these come before them then, which tell the times of their frames.
    Anything else keeps its place, and so does a datum that begins elsewhere, as after a rewind.

    Parameters
    ----------
    documents
        Of one run, in the order in which they came.
    """
    done: Documents = []
    events: Documents = []
    datums: dict[tuple[str, str], Document] = {}

    def give() -> None:
        done.extend(events)
        done.extend(("stream_datum", datum) for datum in datums.values())
        events.clear()
        datums.clear()

    for name, doc in documents:
        if name == "event":
            events.append((name, doc))
        elif name == "stream_datum":
            place = doc["stream_resource"], doc["descriptor"]
            before = datums.get(place)
            if before is not None and not _follows(before, doc):
                give()
                before = None
            datums[place] = doc if before is None else _both(before, doc)
        else:
            give()
            done.append((name, doc))
    give()
    return done


def _follows(before: Document, after: Document) -> bool:
    return all(before[key]["stop"] == after[key]["start"] for key in ("indices", "seq_nums"))


def _both(before: Document, after: Document) -> Document:
    spans = {
        key: {"start": before[key]["start"], "stop": after[key]["stop"]}
        for key in ("indices", "seq_nums")
    }
    return {**before, **spans}
