"""Fly scans: many frames without a step between them."""

# Annotations stay objects: the queue server does not understand them as text.

from collections.abc import Sequence
from typing import Any, cast

import bluesky.plan_stubs as bps
import bluesky.preprocessors as bpp
from bluesky.protocols import Flyable
from bluesky.utils import MsgGenerator
from ophyd_async.core import StandardDetector, TriggerInfo

from bluesky_azint.errors import RecipeError


def fly_frames(
    detectors: Sequence[Flyable],
    num: int,
    rate: float = 10.0,
    *,
    deadtime: float = 1e-3,
    flush_period: float = 0.5,
    md: dict[str, Any] | None = None,
) -> MsgGenerator[str]:
    """Take frames at a steady rate, timed by the detectors themselves.

    Parameters
    ----------
    detectors
        ophyd-async detectors.
    num
        Number of frames.
    rate
        Frames per second.
    deadtime
        Seconds between the end of an exposure and the beginning of the next one.
    flush_period
        Seconds between two announcements of frames that have been written.
    md
        Metadata of the run.

    Returns
    -------
    The uid of the run.

    Raises
    ------
    RecipeError
        If there is nothing to take, or no time to expose.
    """
    trigger = _trigger(num, rate, deadtime)
    flyers = cast(Sequence[StandardDetector], detectors)
    metadata = {
        "plan_name": "fly_frames",
        "detectors": [detector.name for detector in flyers],
        "num_points": num,
        "plan_args": {
            "detectors": [repr(detector) for detector in flyers],
            "num": num,
            "rate": rate,
            "deadtime": deadtime,
        },
        "hints": {"dimensions": [(("time",), "primary")]},
        **(md or {}),
    }

    def fly() -> MsgGenerator[None]:
        for detector in flyers:
            yield from bps.prepare(detector, trigger, group="prepare")
        yield from bps.wait("prepare")
        yield from bps.declare_stream(*flyers, name="primary", collect=True)
        yield from bps.kickoff_all(*flyers, wait=True)
        yield from bps.collect_while_completing(
            flyers, flyers, flush_period=flush_period, stream_name="primary"
        )

    run = bpp.run_wrapper(fly(), md=metadata)  # type: ignore[no-untyped-call]
    uid: str = yield from bpp.stage_wrapper(run, flyers)  # type: ignore[no-untyped-call]
    return uid


def _trigger(num: int, rate: float, deadtime: float) -> TriggerInfo:
    if num < 1 or not rate > 0:
        raise RecipeError(
            f"{num} frames at {rate:g} per second cannot be taken; both numbers must be positive."
        )
    livetime = 1 / rate - deadtime
    if livetime <= 0:
        raise RecipeError(
            f"{rate:g} frames per second with {deadtime:g} s between them leave no time to "
            f"expose; ask for less than {1 / deadtime:g} per second, or for a shorter deadtime."
        )
    return TriggerInfo(number_of_events=num, livetime=livetime, deadtime=deadtime)
