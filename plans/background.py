"""Work that takes long, done in a thread while the RunEngine goes on."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

import bluesky.plan_stubs as bps
from bluesky.utils import MsgGenerator

logger = logging.getLogger(__name__)

Result = TypeVar("Result")
Progress = Callable[[str, float], None]

POLL_SECONDS = 0.1


class Abandoned(Exception):
    """The plan that wanted the result has ended."""


def in_thread(work: Callable[[Progress], Result]) -> MsgGenerator[Result]:
    """Do something in a thread, and wait for it.

    The RunEngine can be paused meanwhile; the work goes on, and is not done again afterwards. If
    the plan is aborted, the work ends at its next call of `progress`.

    Parameters
    ----------
    work
        Called with a function that takes what is being done, and the share that is done; what
        is new goes to the log.

    Returns
    -------
    What the work returns.
    """
    abandoned = threading.Event()
    told: set[str] = set()

    def progress(what: str, done: float) -> None:
        if abandoned.is_set():
            raise Abandoned(what)
        if what not in told:
            told.add(what)
            logger.info("%3.0f %%  %s", 100 * done, what)

    executor = ThreadPoolExecutor(1, thread_name_prefix="azint-plan")
    future = executor.submit(work, progress)
    executor.shutdown(wait=False)
    try:
        while not future.done():
            # What went before a checkpoint is not done again after a pause.
            yield from bps.checkpoint()
            yield from bps.sleep(POLL_SECONDS)
        return future.result()
    finally:
        abandoned.set()
