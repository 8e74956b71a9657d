"""The patterns in the documents of reduced runs, where they stand inside of events.

What else there is on a bus, raw runs for instance, is passed over in silence.
"""

from __future__ import annotations

import logging
from collections import OrderedDict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, TypeVar

import numpy as np
from event_model import unpack_event_page

from bluesky_azint.callbacks.documents import DEVICE, STAGE
from bluesky_azint.callbacks.pattern import Floats, Pattern

logger = logging.getLogger(__name__)

# Runs and streams whose end never comes are forgotten when so many others have begun.
_RUNS_KEPT = 100
_STREAMS_KEPT = 1000

Value = TypeVar("Value")


@dataclass(frozen=True, kw_only=True)
class RunBegun:
    """A reduced run begins, or goes on after its end.

    Parameters
    ----------
    uid
        Its own.
    raw_uid, data_key
        Of which run, and of which of its images, it has the patterns.
    scan_id
        Of the raw run; None if it has none.
    calibrated
        Whether there was a geometry when it began.
    """

    uid: str
    raw_uid: str
    data_key: str
    scan_id: int | None
    calibrated: bool


@dataclass(frozen=True, kw_only=True, eq=False)
class FrameReduced:
    """A frame has a pattern.

    Parameters
    ----------
    run, stream
        The reduced run, and the name of its stream.
    row
        Which pattern of that stream, from 1; one that comes again takes the place of the first.
    seq_num, time
        Number and time of the event in the raw run.
    pattern
        The pattern; None where the frame could not be reduced.
    """

    run: RunBegun
    stream: str
    row: int
    seq_num: int
    time: float
    pattern: Pattern | None


@dataclass(frozen=True, kw_only=True)
class RunEnded:
    """A reduced run ends.

    Parameters
    ----------
    run
        Which.
    exit_status, reason
        As in its stop document.
    """

    run: RunBegun
    exit_status: str
    reason: str


News = RunBegun | FrameReduced | RunEnded


@dataclass(frozen=True, eq=False)
class _Stream:
    """What the events of a stream have in common."""

    run: RunBegun
    name: str
    radial: Floats
    azimuthal: Floats | None
    unit: str


class PatternReader:
    """Reads the documents of reduced runs in the inline flavour.

    >>> read = PatternReader()
    >>> list(read("start", {"uid": "5c", "time": 0.0}))  # not a reduced run
    []
    """

    def __init__(self) -> None:
        self._runs: OrderedDict[str, RunBegun] = OrderedDict()
        self._streams: OrderedDict[str, _Stream] = OrderedDict()  # by descriptor

    def __call__(self, name: str, doc: Mapping[str, Any]) -> Iterator[News]:
        """What a document says."""
        if name == "start":
            yield from self._begin(doc)
        elif name == "descriptor":
            self._describe(doc)
        elif name == "event":
            yield from self._read(doc)
        elif name == "event_page":
            for event in unpack_event_page(doc):  # type: ignore[arg-type]  # a mapping does
                yield from self._read(event)
        elif name == "stop":
            yield from self._end(doc)

    def _begin(self, doc: Mapping[str, Any]) -> Iterator[News]:
        if doc.get("analysis_stage") != STAGE or "raw_uid" not in doc:
            return
        run = RunBegun(
            uid=doc["uid"],
            raw_uid=doc["raw_uid"],
            data_key=doc["raw_data_key"],
            scan_id=doc.get("scan_id"),
            calibrated="geometry" in doc,
        )
        _keep(self._runs, run.uid, run, _RUNS_KEPT)
        yield run

    def _describe(self, doc: Mapping[str, Any]) -> None:
        run, key = self._runs.get(doc["run_start"]), doc["data_keys"].get("intensity")
        if run is None or key is None:
            return
        if "external" in key:
            logger.warning(
                "The patterns of the reduced run %s are in a file, and cannot be read here. Ask the "
                "reducer for those inside of events: its flavour 'inline'.", run.uid,
            )  # fmt: skip
            return
        values = doc["configuration"][DEVICE]["data"]
        *outer, radial = (np.asarray(values[axis], dtype=np.float64) for axis in key["dims"])
        stream = _Stream(run, doc["name"], radial, outer[0] if outer else None, values["unit"])
        _keep(self._streams, doc["uid"], stream, _STREAMS_KEPT)

    def _read(self, doc: Mapping[str, Any]) -> Iterator[News]:
        stream = self._streams.get(doc["descriptor"])
        if stream is None:
            return
        data = doc["data"]
        intensity, sigma = _array(data["intensity"]), data.get("sigma")
        pattern = Pattern(
            radial=stream.radial,
            azimuthal=stream.azimuthal,
            unit=stream.unit,
            intensity=intensity,
            sigma=None if sigma is None else _array(sigma),
        )
        yield FrameReduced(
            run=stream.run,
            stream=stream.name,
            row=int(doc["seq_num"]),
            seq_num=int(data["raw_seq_num"]),
            time=float(doc["time"]),
            # An empty bin may be NaN, but no frame that was reduced has nothing else.
            pattern=None if np.isnan(intensity).all() else pattern,
        )

    def _end(self, doc: Mapping[str, Any]) -> Iterator[News]:
        run = self._runs.pop(doc["run_start"], None)
        if run is None:
            return
        for uid in [uid for uid, stream in self._streams.items() if stream.run.uid == run.uid]:
            del self._streams[uid]
        yield RunEnded(run=run, exit_status=doc["exit_status"], reason=doc.get("reason") or "")


def _array(values: object) -> Floats:
    """What an event holds: a list, out of JSON with None for NaN, or an array."""
    return np.asarray(values, dtype=np.float64)


def _keep(store: OrderedDict[str, Value], key: str, value: Value, most: int) -> None:
    """Put a value last, and forget the first ones beyond the most that are kept."""
    store[key] = value
    store.move_to_end(key)
    while len(store) > most:
        store.popitem(last=False)
