"""The newest pattern of each detector, as the documents of reduced runs tell it.

It is for whoever shows patterns: of what comes too fast for that, nothing but the last is kept, and
nothing is copied or converted before somebody looks. The documents are those of the inline flavour.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from math import isnan, nan
from typing import Any, Literal

from event_model import unpack_event_page

from bluesky_azint.callbacks.documents import DEVICE

logger = logging.getLogger(__name__)

State = Literal["idle", "reducing", "failed"]
Doc = Mapping[str, Any]
Numbers = Sequence[float]

_IN_FILES = (
    "The patterns of %r of the run %s are in files, so that they are not shown: whoever shows them "
    "needs the inline documents of the reducer."
)


@dataclass(frozen=True, kw_only=True, eq=False)
class Axes:
    """What the patterns of a descriptor have in common.

    Parameters
    ----------
    shape
        Of a pattern: its radial bins, after the azimuthal ones if it has those.
    centres
        Of the bins, for each dimension.
    unit, units
        Of the radial axis: its name, as ``q_A^-1``, and what its numbers are measured in.
    """

    shape: tuple[int, ...] = (0,)
    centres: tuple[Numbers, ...] = ((),)
    unit: str = ""
    units: str = ""


@dataclass(frozen=True, kw_only=True, eq=False)
class Pattern:
    """A pattern; ``valid`` is whether it is one, and of the run that is shown."""

    axes: Axes = field(default_factory=Axes)
    intensity: Numbers = ()
    sigma: Numbers = ()
    raw_uid: str = ""
    seq_num: int = 0
    time: float = 0.0
    total: float = nan
    peak: float = nan
    valid: bool = False


@dataclass(frozen=True, kw_only=True)
class Progress:
    """How the run of a pattern goes on, and since when that is so."""

    run: str = ""
    frames_done: int = 0
    state: State = "idle"
    message: str = ""
    time: float = 0.0


@dataclass(frozen=True, eq=False)
class Newest:
    """The newest pattern of a detector, and how its run goes on."""

    pattern: Pattern = field(default_factory=Pattern)
    progress: Progress = field(default_factory=Progress)


@dataclass(frozen=True, eq=False)
class _Run:
    raw_uid: str
    data_key: str
    recipes: tuple[str, ...]
    places: set[str]


class NewestPatterns(dict[str, Newest]):
    """The newest patterns, by the data key of their images.

    Those of a recipe that is not the first of its run are at ``"<data key>:<recipe>"``.
    """

    def __init__(self) -> None:
        super().__init__()
        self._runs: dict[str, _Run] = {}
        self._streams: dict[str, tuple[str, str, Axes]] = {}  # run, place; by descriptor

    def take(self, name: str, doc: Doc) -> Iterable[str]:
        """Take a document, and tell where something has changed with it."""
        if name == "start" and "raw_data_key" in doc:
            return self._start(doc)
        if name == "descriptor" and doc["run_start"] in self._runs:
            return self._descriptor(doc)
        if name == "event" and doc["descriptor"] in self._streams:
            return self._event(doc)
        if name == "event_page" and doc["descriptor"] in self._streams:
            return {place for event in unpack_event_page(doc) for place in self._event(event)}  # type: ignore[arg-type]
        if name == "stop" and doc["run_start"] in self._runs:
            return self._stop(doc)
        return ()

    def _start(self, doc: Doc) -> Iterator[str]:
        key = str(doc["raw_data_key"])
        run = _Run(str(doc.get("raw_uid", "")), key, tuple(doc.get("recipes", ())), set())
        self._runs[doc["uid"]] = run
        for recipe in ("", *run.recipes[1:]):
            yield self._begin(doc, run, f"{key}:{recipe}" if recipe else key)

    def _begin(self, start: Doc, run: _Run, place: str) -> str:
        run.places.add(place)
        progress = Progress(run=start["uid"], state="reducing", time=start["time"])
        self[place] = replace(self.get(place, Newest()), progress=progress)
        return place

    def _descriptor(self, doc: Doc) -> Iterable[str]:
        run = self._runs[doc["run_start"]]
        key = doc["data_keys"].get("intensity", {"external": True})
        if "external" in key:
            logger.warning(_IN_FILES, run.data_key, run.raw_uid)
            return ()
        stream = str(doc["name"])
        recipe = next((r for r in run.recipes[1:] if stream.endswith(f"_{r}")), "")
        place = f"{run.data_key}:{recipe}" if recipe else run.data_key
        configuration = doc["configuration"][DEVICE]
        values, dims = configuration["data"], key["dims"]
        axes = Axes(
            shape=tuple(key["shape"]),
            centres=tuple(values[dim] for dim in dims),
            unit=values["unit"],
            units=configuration["data_keys"][dims[-1]]["units"] or "",
        )
        self._streams[doc["uid"]] = (doc["run_start"], place, axes)
        return ()

    def _event(self, doc: Doc) -> Iterable[str]:
        run, place, axes = self._streams[doc["descriptor"]]
        progress = self[place].progress
        if progress.run != run:
            return ()  # it comes late: another run of these images has begun since
        data = doc["data"]
        pattern = Pattern(
            axes=axes,
            intensity=data["intensity"],
            sigma=data.get("sigma", ()),
            raw_uid=self._runs[run].raw_uid,
            seq_num=int(data["raw_seq_num"]),
            time=float(doc["time"]),
            total=float(data["total"]),
            peak=float(data["peak"]),
            valid=not isnan(data["peak"]),
        )
        progress = replace(progress, frames_done=progress.frames_done + 1)
        self[place] = Newest(pattern, progress)
        return (place,)

    def _stop(self, doc: Doc) -> Iterator[str]:
        uid = doc["run_start"]
        failed = doc["exit_status"] == "fail"
        for place in self._runs.pop(uid).places:
            newest = self[place]
            if newest.progress.run != uid:
                continue  # another run of these images has begun since
            progress = replace(
                newest.progress,
                state="failed" if failed else "idle",
                message=doc.get("reason") or "",
                time=doc["time"],
            )
            pattern = newest.pattern
            if failed and not progress.frames_done:
                pattern = replace(pattern, valid=False)
            self[place] = Newest(pattern, progress)
            yield place
        self._streams = {d: stream for d, stream in self._streams.items() if stream[0] != uid}
