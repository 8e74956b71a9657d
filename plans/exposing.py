"""Frames of a detector, for a plan that looks at them: the shutter, the exposure, and reading back.

What a plan sees is what the documents announce, so that any detector will do.
"""

from __future__ import annotations

import logging
from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import bluesky.plan_stubs as bps
import bluesky.preprocessors as bpp
import numpy as np
from bluesky.protocols import Movable, Preparable, Readable
from bluesky.utils import MsgGenerator
from numpy.typing import NDArray

from bluesky_azint.calibration.exposure import Exposure, judge_exposure
from bluesky_azint.callbacks import FrameSource
from bluesky_azint.errors import FrameError, RecipeError
from bluesky_azint.plans.background import Progress, in_thread

logger = logging.getLogger(__name__)

DARK = "dark"
_MOST_EXPOSURES = 6


@dataclass(frozen=True, kw_only=True)
class Shutter:
    """What lets the beam in.

    Parameters
    ----------
    device
        None if there is none.
    opened, closed
        What it is set to.
    """

    device: Movable[Any] | None
    opened: str | float
    closed: str | float

    def open(self) -> MsgGenerator[None]:
        """Let the beam in."""
        if self.device is not None:
            yield from bps.mv(self.device, self.opened)

    def close(self) -> MsgGenerator[None]:
        """Let it in no more."""
        if self.device is not None:
            yield from bps.mv(self.device, self.closed)


class FrameCollector:
    """Takes the documents of a run, and reads the frames of its last event.

    Parameters
    ----------
    detector
        Name of the detector.
    image
        Which of its data keys is the image; None is the only one, or the one of its name.
    root_map
        See `FrameSource`.
    """

    def __init__(
        self, detector: str, image: str | None, root_map: Mapping[str, str] | None
    ) -> None:
        self.detector, self.image = detector, image
        self._source = FrameSource(
            root_map=root_map or {}, data_keys=None if image is None else [image]
        )
        self._waiting: list[tuple[str, Any]] = []
        self._streams: dict[str, str] = {}

    def __call__(self, name: str, document: Any) -> None:  # noqa: ANN401  any of ten typed dicts
        """Keep a document for later: files are not read in the thread of the RunEngine."""
        self._waiting.append((name, document))

    def frames(self, stream: str) -> list[NDArray[Any]]:
        """For each new event of a stream, its frames, ``(n, rows, columns)``.

        Raises
        ------
        FrameError
            If they cannot be read, there is none, or it cannot be told which of several images.
        """
        waiting, self._waiting = self._waiting, []
        events: dict[str, dict[int, list[NDArray[Any]]]] = defaultdict(lambda: defaultdict(list))
        for name, document in waiting:
            if name == "descriptor":
                self._streams[document["uid"]] = document["name"]
            for batch in self._source(name, document):
                if self._streams[batch.descriptor] == stream:
                    for number, frame in zip(batch.seq_nums, np.asarray(batch.frames), strict=True):
                        events[batch.data_key][int(number)].append(np.array(frame))
        key = self._key(list(events))
        return [np.stack(frames) for _, frames in sorted(events[key].items())]

    def close(self) -> None:
        """Close the files."""
        self._source.close()

    def _key(self, keys: list[str]) -> str:
        if self.detector in keys:
            return self.detector
        if len(keys) != 1:
            raise FrameError(
                f"The detector {self.detector} shows {len(keys)} images"
                + (f", {', '.join(keys)}; say which one by image=..." if keys else ".")
            )
        return keys[0]


@dataclass(frozen=True, eq=False, kw_only=True)
class Exposed:
    """An image, and how it was taken.

    Parameters
    ----------
    image
        (rows, columns); NaN where there is no pixel, if several frames were put together.
    exposure_time
        In seconds.
    exposure
        How it is exposed.
    attempts
        How many exposures it took; the last one is the image.
    """

    image: NDArray[Any]
    exposure_time: float
    exposure: Exposure
    attempts: int


@dataclass(frozen=True, eq=False, kw_only=True)
class Camera:
    """A detector that exposes until rings are seen well.

    Parameters
    ----------
    detector
        The device; a StandardDetector of ophyd-async, or one whose exposure can be set.
    shutter
        What lets the beam in.
    collector
        Where its frames are read.
    mask
        Its gaps.
    exposure_time, max_exposure
        In seconds: to begin with, and the longest.
    saturation
        See `judge_exposure`.
    darks
        Number of frames without beam.
    along
        What else is read with each frame.
    """

    detector: Readable[Any]
    shutter: Shutter
    collector: FrameCollector
    mask: NDArray[np.bool_] | None
    exposure_time: float
    max_exposure: float
    saturation: float | None = None
    darks: int = 0
    along: tuple[Readable[Any], ...] = ()

    def __post_init__(self) -> None:
        if not 0 < self.exposure_time <= self.max_exposure:
            raise RecipeError(
                f"An exposure of {self.exposure_time:g} s, and of {self.max_exposure:g} s at most, "
                "cannot be taken; the first must be positive, and not above the other."
            )
        if self.darks < 0 or not (self.saturation is None or self.saturation > 0):
            raise RecipeError(
                f"{self.darks} dark frames, and pixels that saturate at {self.saturation} counts, "
                "cannot be; give no negative number of frames, and positive counts."
            )
        if self.darks and self.shutter.device is None:
            raise RecipeError(
                f"{self.darks} frames without beam are wanted; give the shutter that keeps it off."
            )

    def exposed(
        self, exposure_time: float | None = None, stream: str = "primary"
    ) -> MsgGenerator[Exposed]:
        """Open the shutter, expose until the rings are good enough, and close it in any case.

        Parameters
        ----------
        exposure_time
            Seconds to begin with, if others than usual.
        stream
            Where the frames go.

        Returns
        -------
        The last image, with the structure of the dark frames taken out.
        """
        bright = self._bright(exposure_time or self.exposure_time, stream)
        taken: Exposed = yield from bpp.finalize_wrapper(bright, self.shutter.close)  # type: ignore[no-untyped-call]
        if not self.darks:
            return taken
        for _ in range(self.darks):
            yield from bps.trigger_and_read([self.detector], name=DARK)
        dark = yield from in_thread(self._dark)
        return replace(taken, image=without_dark(taken.image, dark))

    def staged(self, plan: MsgGenerator[Any]) -> MsgGenerator[Any]:
        """The plan with the detector staged, and the documents collected."""
        staged = bpp.stage_wrapper(plan, [self.detector])  # type: ignore[no-untyped-call]
        found: Any = yield from bpp.finalize_wrapper(staged, self._closed)  # type: ignore[no-untyped-call]
        return found

    def _closed(self) -> MsgGenerator[None]:
        self.collector.close()
        yield from bps.null()

    def _bright(self, time: float, stream: str) -> MsgGenerator[Exposed]:
        yield from self.shutter.open()
        for attempt in range(1, _MOST_EXPOSURES + 1):
            yield from set_exposure(self.detector, time)
            yield from bps.trigger_and_read([self.detector, *self.along], name=stream)

            def look(progress: Progress) -> tuple[NDArray[Any], Exposure]:
                frames = self.collector.frames(stream)[-1]
                return combined(frames), judged(frames, self.mask, self.saturation)

            image, exposure = yield from in_thread(look)
            logger.info(
                "Exposed %s for %.4g s: %.3g photons in rings, %.1f %% of their pixels saturated.",
                self.detector.name, time, exposure.photons, 100 * exposure.saturated,
            )  # fmt: skip
            wanted = exposure.next_time(time, self.max_exposure)
            if wanted is None or attempt == _MOST_EXPOSURES:
                break
            time = wanted
        return Exposed(image=image, exposure_time=time, exposure=exposure, attempts=attempt)

    def _dark(self, progress: Progress) -> NDArray[np.float64]:
        frames = [combined(one) for one in self.collector.frames(DARK)]
        mean: NDArray[np.float64] = np.mean([_with_nan(frame) for frame in frames], axis=0)
        return mean


def set_exposure(detector: Readable[Any], seconds: float) -> MsgGenerator[None]:
    """Tell a detector how long to expose.

    Raises
    ------
    RecipeError
        If it is none of ophyd-async, and has neither ``exposure_time`` nor ``cam.acquire_time``.
    """
    if isinstance(detector, Preparable):
        from ophyd_async.core import TriggerInfo

        yield from bps.prepare(detector, TriggerInfo(livetime=seconds), wait=True)
        return
    for name in ("exposure_time", "cam.acquire_time"):
        signal: Any = detector
        for part in name.split("."):
            signal = getattr(signal, part, None)
        if isinstance(signal, Movable):
            yield from bps.mv(signal, seconds)
            return
    raise RecipeError(
        f"The exposure of {detector.name} cannot be set: it has neither prepare(), nor a signal "
        "exposure_time or cam.acquire_time. Give it one of them."
    )


def judged(
    frames: NDArray[Any], mask: NDArray[np.bool_] | None, saturation: float | None
) -> Exposure:
    """How the frames of an event are exposed: what saturates is one frame, what counts is their sum.

    Parameters
    ----------
    frames
        In the type of the detector, (n, rows, columns).
    mask, saturation
        See `judge_exposure`.
    """
    # A sum has no type that tells what its pixels can count at most.
    brightest = judge_exposure(np.max(frames, axis=0), mask, saturation)
    if len(frames) == 1:
        return brightest
    return replace(brightest, photons=judge_exposure(combined(frames), mask).photons)


def combined(frames: NDArray[Any]) -> NDArray[Any]:
    """The sum of the frames of an event; one frame as it is, else NaN where one has no pixel."""
    if len(frames) == 1:
        return np.asarray(frames[0])
    summed: NDArray[Any] = np.sum([_with_nan(frame) for frame in frames], axis=0)
    return summed


def without_dark(image: NDArray[Any], dark: NDArray[np.float64]) -> NDArray[np.float64]:
    """An image without the structure of the dark; its level stays: noise must not go below 0."""
    level = float(np.nanquantile(dark, 0.95)) if np.isfinite(dark).any() else 0.0
    return _with_nan(image) - dark + max(level, 0.0)


def _with_nan(frame: NDArray[Any]) -> NDArray[np.float64]:
    """NaN where a frame marks that there is no pixel, or that it is saturated."""
    values = np.asarray(frame, dtype=np.float64)
    if frame.dtype.kind in "iu":
        top = np.iinfo(frame.dtype).max
        values = np.where((frame < 0) | (frame == top), np.nan, values)
    return values
