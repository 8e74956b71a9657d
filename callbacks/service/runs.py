"""Which run a document is of, and how many frames it announces."""

from __future__ import annotations

import threading
from collections.abc import Iterable, Mapping
from typing import Any

from bluesky_azint.callbacks.data_keys import frames_per_event, image_keys
from bluesky_azint.callbacks.frames import MOST_AT_ONCE

Document = Mapping[str, Any]


class RunIndex:
    """Remembers the documents that others refer to."""

    def __init__(self) -> None:
        self._lock = threading.Lock()  # one thread takes documents while another forgets runs
        self._run_of: dict[str, str] = {}  # by descriptor, resource and stream resource
        self._frames: dict[str, int] = {}  # of an event, by descriptor, where it has images
        self._keys: dict[str, str] = {}  # by stream resource
        self._images: dict[str, frozenset[str]] = {}  # by descriptor

    def run_of(self, name: str, doc: Document) -> str:
        """The uid of the run; an empty string if the document it refers to never came."""
        match name:
            case "start":
                return str(doc["uid"])
            case "descriptor" | "resource" | "stream_resource" | "stop":
                return str(doc.get("run_start") or "")
            case "datum" | "datum_page":
                return self._run_of.get(doc["resource"], "")
            case _:
                return self._run_of.get(doc["descriptor"], "")

    def take(self, name: str, doc: Document, run: str) -> None:
        """Take a document of a run."""
        if name in ("descriptor", "resource", "stream_resource"):
            with self._lock:
                self._run_of[doc["uid"]] = run
        if name == "descriptor":
            images = image_keys(doc)
            self._images[doc["uid"]] = frozenset(images)
            self._frames[doc["uid"]] = sum(
                frames_per_event(doc["data_keys"][key])
                for key in images
                if not str(doc["data_keys"][key].get("external", "")).startswith("STREAM")
            )
        elif name == "stream_resource":
            self._keys[doc["uid"]] = doc["data_key"]

    def frames_in(self, name: str, doc: Document) -> int:
        """How many frames a document announces."""
        if name == "event":
            return self._frames.get(doc["descriptor"], 0)
        if name == "event_page":
            return self._frames.get(doc["descriptor"], 0) * len(doc["seq_num"])
        if name == "stream_datum":
            images = self._images.get(doc["descriptor"], frozenset())
            if self._keys.get(doc["stream_resource"]) in images:
                return min(int(doc["indices"]["stop"] - doc["indices"]["start"]), MOST_AT_ONCE)
        return 0

    def forget(self, runs: Iterable[str]) -> None:
        """Drop what belongs to some runs."""
        gone = set(runs)
        with self._lock:
            links = {link for link, run in self._run_of.items() if run in gone}
            for table in (self._run_of, self._frames, self._keys, self._images):
                for link in links:
                    table.pop(link, None)
