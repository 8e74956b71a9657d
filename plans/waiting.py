"""Waiting for patterns, to decide by them while the scan goes on."""

# Annotations stay objects: the queue server does not understand them as text.

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING
from urllib.parse import urldefrag

import bluesky.plan_stubs as bps
from bluesky.utils import MsgGenerator

from bluesky_azint.callbacks.pattern import Pattern
from bluesky_azint.callbacks.reduced_patterns import ReducedPatterns
from bluesky_azint.callbacks.transports import Source
from bluesky_azint.errors import ReductionTimeout

if TYPE_CHECKING:
    PatternsLike = ReducedPatterns | str
else:
    PatternsLike = str

POLL_SECONDS = 0.05


def wait_for_reduction(
    patterns: ReducedPatterns,
    raw_uid: str,
    seq_num: int,
    *,
    data_key: str | None = None,
    stream: str = "primary",
    timeout: float = 30.0,
) -> MsgGenerator[Pattern]:
    """Wait until a frame is reduced: ``pattern = yield from wait_for_reduction(...)``.

    The RunEngine goes on meanwhile, and can be paused and stopped. After a pause it goes on with
    waiting; the frame is not taken again.

    Parameters
    ----------
    patterns
        Where the patterns come to.
    raw_uid
        Of the run that is under way: what ``open_run`` returns.
    seq_num
        The number of the event in it, from 1.
    data_key
        Of which images; not needed where the run has one detector.
    stream
        In which stream; with several recipes, of the reduced run.
    timeout
        For how many seconds at the most. A pause begins them anew.

    Returns
    -------
    The pattern.

    Raises
    ------
    ReductionFailed
        If the frame could not be reduced, or the reduced run ended without it.
    ReductionTimeout
        If the pattern does not come in time.
    """
    expected = patterns.expect(raw_uid, seq_num, data_key=data_key, stream=stream)

    async def there() -> None:
        loop, arrived = asyncio.get_running_loop(), asyncio.Event()
        expected.add_done_callback(lambda _: loop.call_soon_threadsafe(arrived.set))
        with suppress(TimeoutError):
            await asyncio.wait_for(arrived.wait(), timeout)

    try:
        # What went before a checkpoint is not done again after a pause.
        yield from bps.checkpoint()
        yield from bps.wait_for([there])
        if not expected.done():
            raise patterns.late(expected, timeout)
        return expected.result()
    finally:
        expected.cancel()


@contextmanager
def opened_patterns(where: PatternsLike) -> Iterator[ReducedPatterns]:
    """The patterns themselves, or those that come from an address until the end of the context.

    Parameters
    ----------
    where
        ``"tcp://host:port"`` of a 0MQ proxy, or ``"redis://host:port/0#stream"``.

    Raises
    ------
    RecipeError
        If the address cannot be used.
    """
    if not isinstance(where, str):
        yield where
        return
    source = _source(where)
    with ReducedPatterns() as patterns:
        patterns.follow(source)
        yield patterns


def connected(patterns: ReducedPatterns, timeout: float) -> MsgGenerator[None]:
    """Wait until patterns can come.

    Raises
    ------
    ReductionTimeout
        If they cannot within so many seconds.
    """
    for _ in range(round(timeout / POLL_SECONDS)):
        if not patterns.unconnected:
            return
        yield from bps.sleep(POLL_SECONDS)
    raise ReductionTimeout(
        f"No patterns can come: for {timeout:g} s the plan has been {patterns.unconnected[0]}. See "
        "that it is running, and that the address is right."
    )


def _source(address: str) -> Source:
    """A source of the documents that are sent from now on."""
    if not address.startswith(("redis://", "rediss://", "unix://")):
        from bluesky_azint.callbacks.transports import ZmqSource

        return ZmqSource(address)
    from bluesky_azint.callbacks.transports.redis import END, RedisSource

    url, stream = urldefrag(address)
    return RedisSource(url, stream or "azint", position=END)
