"""The newest pattern as EPICS PVs, for those who look with PyDM, Phoebus or ``caget``.

For the images ``det_image`` of a detector, with the prefix ``XRD:``, there are

=========================================  ========================================================
``XRD:det_image:Intensity``, ``:Sigma``    waveforms, a value for each bin
``:Radial``                                waveform, the centres of the bins, in units of its own
``:Total``, ``:Peak``                      sum of the counts, and where the pattern is highest
``:RawUid``, ``:Time``, ``:SeqNum``        of the frame: its run, when it was taken, its number
``:Unit``                                  of the radial axis, as ``q_A^-1``
``:FramesDone``                            patterns of the run so far
``:State``, ``:Message``                   idle, reducing or failed; and why, as characters
=========================================  ========================================================

Where a pattern has two dimensions ``:Cake`` and ``:CakeSigma`` are in place of ``:Intensity`` and
``:Sigma``, row by row, with the number of rows and columns in ``:CakeShape`` and the centres of the
rows in ``:Azimuthal``. Of several recipes the first has these names, and another, ``sectors``, has
``XRD:det_image:sectors:Intensity`` ...

What is of a pattern bears the time of its frame. It is INVALID before the first pattern, where a
pattern is empty, and where a run has failed without any, for then it is of a run before. ``:SeqNum``
is written last: who watches it finds the rest there.

A waveform holds as many values as the pattern has bins (its NORD), and has room for ``npt`` of them
(its NELM). For a pattern of more bins there is a larger waveform from then on; clients connect to
it by themselves.
"""

from __future__ import annotations

import asyncio
import logging
import re
import threading
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from types import TracebackType
from typing import Any, Self

import numpy as np
from caproto import (
    AlarmSeverity,
    AlarmStatus,
    ChannelChar,
    ChannelData,
    ChannelDouble,
    ChannelEnum,
    ChannelInteger,
    ChannelString,
)

from bluesky_azint.callbacks.channel_server import ChannelServer
from bluesky_azint.callbacks.newest import Newest, NewestPatterns, Pattern, Progress

logger = logging.getLogger(__name__)

PERIOD = 0.1  # seconds between patterns that are shown: eyes do not see more of them
_SHARE = 0.1  # of the time, at most, goes into that
_FAREWELL = 5.0  # seconds for what is left to show
_NEVER = 631152000.0  # when the time of EPICS begins
_LONG, _SHORT, _UNITS = 1000, 39, 7  # characters of a message, of a string in CA, and of units
_NO_NAME = re.compile(r"[^A-Za-z0-9_:+\-\[\]<>;]")

_Alarm = tuple[AlarmStatus, AlarmSeverity]
_FINE = (AlarmStatus.NO_ALARM, AlarmSeverity.NO_ALARM)
_FAILED = (AlarmStatus.STATE, AlarmSeverity.MAJOR_ALARM)
_INVALID = (AlarmStatus.UDF, AlarmSeverity.INVALID_ALARM)

# What is not a waveform of numbers.
_KINDS = {
    "CakeShape": partial(ChannelInteger, value=[0, 0]),
    "Total": partial(ChannelDouble, value=0.0, precision=3),
    "Peak": partial(ChannelDouble, value=0.0, precision=5),
    "SeqNum": partial(ChannelInteger, value=0),
    "FramesDone": partial(ChannelInteger, value=0),
    "RawUid": partial(ChannelString, value=""),
    "Time": partial(ChannelString, value=""),
    "Unit": partial(ChannelString, value=""),
    "Message": partial(ChannelChar, value="", max_length=_LONG),
    "State": partial(ChannelEnum, value="idle", enum_strings=("idle", "reducing", "failed")),
}
_OF_CAKES = ("Cake", "CakeSigma", "CakeShape", "Azimuthal")


@dataclass(frozen=True, eq=False)
class _Reading:
    """What a PV shows."""

    value: Any
    time: float
    alarm: _Alarm = _FINE
    units: str | None = None


class PatternPVs:
    """Shows the newest pattern of each detector as PVs; takes the documents of reduced runs.

    They are those of the inline flavour. A document is only noted, whatever the clients do, and
    none makes it raise. Patterns that come faster than ten in a second are not all shown, but the
    last one always is. What is not allowed in the name of a PV is ``_`` there.

    Parameters
    ----------
    prefix
        What the names of the PVs begin with.
    npt
        Room of the waveforms, in bins.
    host, port
        Where clients ask for the PVs, see `ChannelServer.at`. Those on other machines find none
        unless the host is ``"0.0.0.0"``, or the address of this one.
    data_keys
        Images that have PVs before their first run, so that screens are connected by then.

    Raises
    ------
    AddressError
        If nothing can be served there.
    """

    def __init__(
        self,
        prefix: str,
        *,
        npt: int = 1000,
        host: str = "127.0.0.1",
        port: int | None = None,
        data_keys: Sequence[str] = (),
    ) -> None:
        self.prefix = _NO_NAME.sub("_", prefix)
        self.npt = npt
        self._newest = NewestPatterns()
        self._newest.update({key: Newest() for key in data_keys})
        self._waiting = set(data_keys)  # where something is not shown yet
        self._busy = self._closed = self._ended = False
        self._changed = threading.Condition()
        self._channels: dict[str, ChannelData] = {}
        self._wake = asyncio.Event()
        self._server = ChannelServer.at(host, port)
        self._server.submit(self._show_for_ever())
        self._look()

    def __repr__(self) -> str:
        return f"PatternPVs({self.prefix!r}, host={self._server.host!r}, port={self._server.port})"

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def __call__(self, name: str, doc: Mapping[str, Any]) -> None:
        """Take note of a document."""
        try:
            with self._changed:
                self._waiting.update(self._newest.take(name, doc))
            self._look()
        except Exception:
            logger.exception(
                "The PVs %s... do not show what a document %r says.", self.prefix, name
            )

    def flush(self, timeout: float | None = None) -> bool:
        """Wait until the PVs show what the documents so far say.

        Parameters
        ----------
        timeout
            For how many seconds at the most; None for as long as it takes.

        Returns
        -------
        Whether they do.
        """
        with self._changed:
            self._changed.wait_for(
                lambda: self._ended or not (self._waiting or self._busy), timeout
            )
            return not (self._waiting or self._busy)

    def close(self) -> None:
        """Show what is left, and then no PVs any more."""
        self.flush(_FAREWELL)
        with self._changed:
            if self._closed:
                return
            self._closed = True
        self._look()
        with self._changed:
            self._changed.wait_for(lambda: self._ended, _FAREWELL)
        self._server.release()

    def _look(self) -> None:
        """Have the server look at what waits."""
        with suppress(RuntimeError):  # it has ended
            self._server.loop.call_soon_threadsafe(self._wake.set)

    async def _show_for_ever(self) -> None:
        try:
            while not self._closed:
                await self._wake.wait()
                self._wake.clear()
                with self._changed:
                    newest = {place: self._newest[place] for place in self._waiting}
                    self._waiting.clear()
                    self._busy = True
                began = time.thread_time()
                for place, shown in newest.items():
                    await self._show(place, shown)
                spent = time.thread_time() - began
                with self._changed:
                    self._busy = False
                    self._changed.notify_all()
                await asyncio.sleep(max(PERIOD, spent / _SHARE))
        finally:
            self._server.remove(list(self._channels))
            with self._changed:
                self._ended = True
                self._changed.notify_all()

    async def _show(self, place: str, newest: Newest) -> None:
        """Write the PVs of a place, one after the other."""
        name = self.prefix + _NO_NAME.sub("_", place)
        try:
            readings = _of_progress(newest.progress) | _of_pattern(newest.pattern)
            for suffix, reading in readings.items():
                pv = f"{name}:{suffix}"
                if suffix in _OF_CAKES and pv not in self._channels and not len(reading.value):
                    continue
                await self._write(pv, suffix, reading)
        except Exception:
            logger.exception("The PVs %s:... do not show what is newest.", name)

    async def _write(self, pv: str, suffix: str, reading: _Reading) -> None:
        size = np.size(reading.value)
        channel = self._channels.get(pv)
        if channel is None or (suffix not in _KINDS and size > channel.max_length):
            waveform = partial(
                ChannelDouble, value=np.zeros(0), max_length=max(size, self.npt), precision=5
            )
            make = _KINDS.get(suffix, waveform)
            # A client that is slow gets the newest value, and the one before.
            channel = self._channels[pv] = make(max_subscription_backlog=2)
            self._server.put(pv, channel)
        status, severity = reading.alarm
        units = {} if reading.units is None else {"units": reading.units}
        await channel.write(
            reading.value,
            timestamp=max(reading.time, _NEVER),
            status=status,
            severity=severity,
            **units,
        )


def _of_pattern(pattern: Pattern) -> dict[str, _Reading]:
    """What shows a pattern, by suffix: first the arrays, and its number at the end."""
    axes = pattern.axes
    flat, cake = (pattern, Pattern()) if len(axes.shape) == 1 else (Pattern(), pattern)
    arrays = {
        "Radial": axes.centres[-1],
        "Sigma": flat.sigma,
        "Intensity": flat.intensity,
        "Azimuthal": axes.centres[0] if cake is pattern else (),
        "CakeShape": axes.shape if cake is pattern else (),
        "CakeSigma": cake.sigma,
        "Cake": cake.intensity,
    }
    taken = datetime.fromtimestamp(pattern.time, UTC).isoformat() if pattern.time else ""
    scalars = {
        "Total": pattern.total,
        "Peak": pattern.peak,
        "Unit": _text(axes.unit, _SHORT),
        "RawUid": _text(pattern.raw_uid, _SHORT),
        "Time": _text(taken, _SHORT),
        "SeqNum": pattern.seq_num,
    }
    units = dict.fromkeys(("Radial", "Peak"), _text(axes.units.replace("angstrom", "A"), _UNITS))
    readings = {}
    for suffix, values in arrays.items():
        array = np.asarray(values, dtype=np.int64 if suffix == "CakeShape" else np.float64).ravel()
        alarm = _FINE if pattern.valid and array.size else _INVALID
        readings[suffix] = _Reading(array, pattern.time, alarm, units.get(suffix))
    for suffix, value in scalars.items():
        alarm = _FINE if pattern.valid else _INVALID
        readings[suffix] = _Reading(value, pattern.time, alarm, units.get(suffix))
    return readings


def _of_progress(progress: Progress) -> dict[str, _Reading]:
    """What shows how a run goes on, by suffix."""
    alarm = _FAILED if progress.state == "failed" else _FINE
    values = {
        "FramesDone": progress.frames_done,
        "Message": _text(progress.message, _LONG),
        "State": progress.state,
    }
    return {suffix: _Reading(value, progress.time, alarm) for suffix, value in values.items()}


def _text(text: str, longest: int) -> str:
    """Text as clients take it: ASCII, and not too long."""
    return text.encode("ascii", "replace")[:longest].decode()
