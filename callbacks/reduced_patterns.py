"""The last patterns, for those who wait for one: a plan that decides by it, or a script.

::

    RunEngine ─> LiveReduction(listeners=[patterns]) ─> patterns.wait(raw_uid, seq_num)

    a service elsewhere ─> 0MQ or Redis ─> patterns.follow(source)
"""

from __future__ import annotations

import logging
import re
import threading
from collections import OrderedDict
from collections.abc import Mapping
from concurrent.futures import Future
from dataclasses import dataclass, field
from typing import Any, Self

from bluesky_azint.callbacks.pattern import Pattern
from bluesky_azint.callbacks.pattern_reader import (
    FrameReduced,
    News,
    PatternReader,
    RunBegun,
    RunEnded,
)
from bluesky_azint.callbacks.transports.source import Source
from bluesky_azint.errors import ReductionFailed, ReductionTimeout

logger = logging.getLogger(__name__)

_RUNS_KEPT = 100
_OVERHEAD = 1000  # bytes that a pattern takes besides its arrays
_NOTHING_KNOWN = (
    "No reduced run of it is known here. See that the reduction is running, that its patterns are "
    "sent here, inside of events, and that this was so before the run began."
)


@dataclass(frozen=True)
class Wanted:
    """The event of a raw run whose pattern somebody waits for.

    Parameters
    ----------
    raw_uid, seq_num
        The raw run, and the number of the event.
    data_key
        Of which images; None for any.
    stream
        In which stream.
    """

    raw_uid: str
    seq_num: int
    data_key: str | None
    stream: str

    def __str__(self) -> str:
        images = "" if self.data_key is None else f" of {self.data_key!r}"
        return f"event {self.seq_num}{images} in the stream {self.stream!r} of run {self.raw_uid}"

    def is_of(self, run: RunBegun) -> bool:
        """Whether a reduced run may have it."""
        return run.raw_uid == self.raw_uid and self.data_key in (None, run.data_key)


class Expected(Future[Pattern]):
    """What has the pattern of an event as soon as it is there."""

    def __init__(self, wanted: Wanted) -> None:
        super().__init__()
        self.wanted = wanted


Answer = tuple[Expected, Pattern | ReductionFailed]


@dataclass(eq=False)
class _Run:
    """What is known of a reduced run."""

    begun: RunBegun
    ended: RunEnded | None = None
    last: dict[str, int] = field(default_factory=dict)  # event by stream

    def stream_of(self, frame: FrameReduced) -> str:
        """The stream, without the number that it gets when the geometry changes on the way."""
        numbered = re.fullmatch(r"(.+)_\d+", frame.stream)
        return numbered[1] if numbered and numbered[1] in self.last else frame.stream


class ReducedPatterns:
    """Keeps the last patterns that were reduced, and hands them to whoever waits for one.

    A callable for the documents of reduced runs that have their patterns inside of events,
    ``patterns(name, doc)``: from any thread, returning at once, and never raising. A context
    manager that closes it.

    >>> patterns = ReducedPatterns()
    >>> patterns.wait("5c", 1, timeout=0.01)  # doctest: +ELLIPSIS
    Traceback (most recent call last):
    bluesky_azint.errors.ReductionTimeout: There is no pattern of event 1 in the stream 'primary' of run 5c ...

    Parameters
    ----------
    max_bytes
        How much memory the patterns may take; the oldest ones are forgotten.
    """

    def __init__(self, *, max_bytes: int = 256 * 2**20) -> None:
        self._max_bytes = max_bytes
        self._lock = threading.Lock()
        self._read = PatternReader()
        self._runs: OrderedDict[str, _Run] = OrderedDict()  # by uid
        self._frames: OrderedDict[tuple[str, str, int], FrameReduced] = OrderedDict()
        self._held = 0
        self._waiting: set[Expected] = set()
        self._sources: list[tuple[Source, threading.Thread]] = []

    def __call__(self, name: str, doc: Mapping[str, Any]) -> None:
        """Take a document of a reduced run; others are passed over."""
        try:
            with self._lock:
                concerned = [self._take(news) for news in self._read(name, doc)]
                answers = self._answers(set(concerned))
        except Exception:
            logger.exception("A %s of a reduced run cannot be read.", name)
            return
        _give(answers)

    def expect(
        self,
        raw_uid: str,
        seq_num: int,
        *,
        data_key: str | None = None,
        stream: str = "primary",
    ) -> Expected:
        """What will have the pattern of an event, or has it already.

        Parameters
        ----------
        raw_uid, seq_num
            The raw run, and the number of the event.
        data_key
            Of which images; not needed where the run has one detector.
        stream
            In which stream of the raw run; or of the reduced one, where it has several recipes.

        Returns
        -------
        A future that fails with `ReductionFailed`. Where an event has several frames, it has the
        pattern of the last that has come. Cancel it when it is not wanted any more.
        """
        expected = Expected(Wanted(raw_uid, seq_num, data_key, stream))
        with self._lock:
            self._waiting.add(expected)
            answers = self._answers({raw_uid})
        expected.add_done_callback(self._forget)
        _give(answers)
        return expected

    def wait(
        self,
        raw_uid: str,
        seq_num: int,
        timeout: float = 30.0,
        *,
        data_key: str | None = None,
        stream: str = "primary",
    ) -> Pattern:
        """Wait for the pattern of an event. A plan does so with `wait_for_reduction`.

        Parameters
        ----------
        raw_uid, seq_num, data_key, stream
            Of which, see `expect`.
        timeout
            For how many seconds at the most.

        Raises
        ------
        ReductionFailed
            If the frame could not be reduced, or the reduced run ended without it.
        ReductionTimeout
            If the pattern does not come in time.
        """
        expected = self.expect(raw_uid, seq_num, data_key=data_key, stream=stream)
        try:
            return expected.result(timeout)
        except TimeoutError:
            raise self.late(expected, timeout) from None
        finally:
            expected.cancel()

    def late(self, expected: Expected, seconds: float) -> ReductionTimeout:
        """The error for a pattern that is not there after so many seconds; it tells what is."""
        wanted = expected.wanted
        with self._lock:
            known = [self._known(run, wanted.stream) for run in self._of(wanted)]
        hints = known or [_NOTHING_KNOWN]
        unconnected = [f"The source of the patterns is {state}." for state in self.unconnected]
        return ReductionTimeout(
            " ".join(
                [f"There is no pattern of {wanted} after {seconds:g} s.", *hints, *unconnected]
            )
        )

    def follow(self, source: Source) -> None:
        """Take documents from a source too, in a thread, until it is closed."""
        thread = threading.Thread(
            target=source.run, args=(self,), name="azint-patterns", daemon=True
        )
        self._sources.append((source, thread))
        thread.start()

    @property
    def unconnected(self) -> list[str]:
        """What the sources wait for that are not connected."""
        return [source.state for source, _ in self._sources if source.state != "connected"]

    def close(self) -> None:
        """Follow no more sources. Who waits is told."""
        for source, thread in self._sources:
            source.stop()
            thread.join()
        self._sources.clear()
        with self._lock:
            waiting, self._waiting = self._waiting, set()
        closed = ReductionFailed("Nobody follows the patterns any more.")
        _give([(expected, closed) for expected in waiting])

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _take(self, news: News) -> str:
        """Note what is new; the raw run that it is of."""
        match news:
            case RunBegun():
                self._runs[news.uid] = _Run(news)
                while len(self._runs) > _RUNS_KEPT:
                    self._runs.popitem(last=False)
                return news.raw_uid
            case FrameReduced():
                self._keep(news)
            case RunEnded():
                self._runs[news.run.uid].ended = news
        return news.run.raw_uid

    def _keep(self, frame: FrameReduced) -> None:
        run = self._runs[frame.run.uid]
        stream = run.stream_of(frame)
        run.last[stream] = frame.seq_num
        key = (frame.run.uid, stream, frame.seq_num)
        if key in self._frames:
            self._held -= _memory(self._frames.pop(key))
        self._frames[key] = frame
        self._held += _memory(frame)
        while self._held > self._max_bytes and len(self._frames) > 1:
            _, oldest = self._frames.popitem(last=False)
            self._held -= _memory(oldest)

    def _of(self, wanted: Wanted) -> list[_Run]:
        """The reduced runs that may have what is wanted, the last one first."""
        return [run for run in reversed(self._runs.values()) if wanted.is_of(run.begun)]

    def _answers(self, raw_uids: set[str]) -> list[Answer]:
        """What those who wait for these runs can be told now; they wait no longer."""
        answers = []
        for expected in [one for one in self._waiting if one.wanted.raw_uid in raw_uids]:
            answer = self._answer(expected.wanted)
            if answer is not None:
                self._waiting.remove(expected)
                answers.append((expected, answer))
        return answers

    def _answer(self, wanted: Wanted) -> Pattern | ReductionFailed | None:
        runs = self._of(wanted)
        for run in runs:
            frame = self._frames.get((run.begun.uid, wanted.stream, wanted.seq_num))
            if frame is not None:
                return frame.pattern or ReductionFailed(
                    f"There is no pattern of {wanted}: its frame could not be reduced. The log of "
                    f"the reduction tells why, and the end of the reduced run {run.begun.uid} will."
                )
        if runs and all(run.ended for run in runs):
            return ReductionFailed(
                f"There is no pattern of {wanted}. "
                + " ".join(self._known(run, wanted.stream) for run in runs)
            )
        return None

    def _known(self, run: _Run, stream: str) -> str:
        """What is known of a reduced run, in a sentence or two."""
        begun, ended, last = run.begun, run.ended, run.last.get(stream)
        came = "no pattern" if last is None else f"patterns, of event {last} at last,"
        without = "" if begun.calibrated else " It began without a calibration of the detector."
        end = f" It ended with {ended.exit_status!r}. {ended.reason}".rstrip() if ended else ""
        return f"Its reduced run {begun.uid} has sent {came} of {begun.data_key!r}.{without}{end}"

    def _forget(self, expected: Future[Pattern]) -> None:
        with self._lock:
            self._waiting -= {expected}


def _give(answers: list[Answer]) -> None:
    """Tell those who wait; not under a lock, for they may ask for the next one at once."""
    for expected, answer in answers:
        if not expected.set_running_or_notify_cancel():
            continue
        if isinstance(answer, Pattern):
            expected.set_result(answer)
        else:
            expected.set_exception(answer)


def _memory(frame: FrameReduced) -> int:
    if frame.pattern is None:
        return _OVERHEAD
    sigma = frame.pattern.sigma
    return _OVERHEAD + frame.pattern.intensity.nbytes + (0 if sigma is None else sigma.nbytes)
