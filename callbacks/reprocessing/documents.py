"""The documents of a run, as many tasks need them: each with the frames that it reduces, no others."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, cast

import numpy as np
from event_model import unpack_event_page

from bluesky_azint.callbacks.data_keys import frames_per_event, image_keys
from bluesky_azint.callbacks.raw_streams import StoredArray
from bluesky_azint.callbacks.reprocessing.tasks import Documents, Span

if TYPE_CHECKING:
    from event_model.documents import EventPage

Document = Mapping[str, Any]

_FOR_ALL = frozenset({"dark", "flat"})  # streams whose frames belong to those of others


class RunDocuments:
    """Keeps the documents of one run. Frames inside of events stay where they are."""

    def __init__(self) -> None:
        self._documents: list[tuple[str, Document]] = []
        self._descriptors: dict[str, Document] = {}

    def take(self, documents: Iterable[tuple[str, Document]]) -> Iterator[tuple[str, Document]]:
        """Keep documents, and hand them on; pages come as events."""
        for name, doc in documents:
            if name == "descriptor":
                self._descriptors[doc["uid"]] = doc
            for one in self._single(name, doc):
                self._documents.append(one)
                yield one

    def for_task(self, spans: Sequence[Span]) -> Documents:
        """All documents, with those frames inside of events that a task needs."""
        return [
            (name, self._with_frames(doc, spans) if name == "event" else doc)
            for name, doc in self._documents
        ]

    def _single(self, name: str, doc: Document) -> Iterator[tuple[str, Document]]:
        if name != "event_page":
            yield name, doc
            return
        for event in unpack_event_page(cast("EventPage", doc)):
            yield "event", cast("Document", event)

    def _with_frames(self, event: Document, spans: Sequence[Span]) -> Document:
        descriptor = self._descriptors.get(event["descriptor"])
        images = [] if descriptor is None else image_keys(descriptor)
        unwanted = {
            key
            for key in images
            if key in event["data"]
            and not isinstance(event["data"][key], str)
            and not self._is_wanted(event, key, spans)
        }
        data = {
            key: np.asarray(value) if isinstance(value, StoredArray) else value
            for key, value in event["data"].items()
            if key not in unwanted
        }
        return {**event, "data": data}

    def _is_wanted(self, event: Document, key: str, spans: Sequence[Span]) -> bool:
        descriptor = self._descriptors[event["descriptor"]]
        count = frames_per_event(descriptor["data_keys"][key])
        first = (event["seq_num"] - 1) * count
        return descriptor["name"] in _FOR_ALL or any(
            (span.descriptor, span.data_key) == (event["descriptor"], key)
            and first < span.stop
            and span.start < first + count
            for span in spans
        )
