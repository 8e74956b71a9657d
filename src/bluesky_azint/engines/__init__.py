"""Engines: the transports of the integration. All do the same, on different hardware."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from typing import TYPE_CHECKING

from bluesky_azint.engines.protocol import BadValues, Engine, FrameSums, Spread, Wanted
from bluesky_azint.engines.robust import PixelValues, RobustEngine, RobustSums, SortedEngine
from bluesky_azint.errors import EngineError
from bluesky_azint.lookup.builder import Builder
from bluesky_azint.lookup.cache import CachedBuilder

if TYPE_CHECKING:
    from bluesky_azint.lookup.table import Lookup

__all__ = [
    "ENGINES",
    "BadValues",
    "Engine",
    "FrameSums",
    "PixelValues",
    "RobustEngine",
    "RobustSums",
    "Spread",
    "Wanted",
    "best_engine",
    "create_builder",
    "create_engine",
    "create_robust_engine",
]

ENGINES = ("auto", "opencl", "scipy")

logger = logging.getLogger(__name__)


def create_engine(name: str, lookup: Lookup, bad: BadValues, wanted: Wanted) -> Engine:
    """The engine of that name for a look-up.

    Parameters
    ----------
    name
        ``"opencl"``, ``"scipy"``, or ``"auto"`` for the first of these that works here.
    lookup
        Which pixel goes into which bin.
    bad
        Values that mark a pixel as bad.
    wanted
        What is wanted beside the signal.

    Raises
    ------
    EngineError
        If there is no such engine, or not on this machine.
    """
    if _known(name) == "scipy":
        from bluesky_azint.engines.scipy import ScipyEngine

        return ScipyEngine(lookup, bad, wanted)
    with _opencl():
        from bluesky_azint.engines.opencl.engine import OpenCLEngine

        return OpenCLEngine(lookup, bad, wanted)


def create_robust_engine(
    name: str, lookup: Lookup, bad: BadValues, values: PixelValues
) -> RobustEngine:
    """The engine of that name for robust sums.

    Parameters
    ----------
    name, lookup, bad
        See `create_engine`.
    values
        What is known of the pixels.

    Raises
    ------
    EngineError
        If there is no such engine, or not on this machine.
    """
    if _known(name) == "scipy":
        return SortedEngine(lookup, bad, values)
    with _opencl():
        from bluesky_azint.engines.opencl.clip import Clip

        return Clip(lookup, bad, values)


@cache
def create_builder(name: str) -> Builder:
    """What computes look-ups and weights of pixels for the engine of that name.

    Raises
    ------
    EngineError
        If there is no such engine, or not on this machine.
    """
    if _known(name) == "scipy":
        return CachedBuilder(Builder())
    with _opencl():
        from bluesky_azint.engines.opencl.build import DeviceBuilder

        return CachedBuilder(DeviceBuilder())


def best_engine() -> str:
    """The fastest engine that works here."""
    try:
        from bluesky_azint.engines.opencl import device

        device.default_device()
    except (ImportError, EngineError) as error:
        logger.info("No OpenCL here, the SciPy engine is used: %s", error)
        return "scipy"
    return "opencl"


def _known(name: str) -> str:
    """The name of an engine that there is."""
    if name not in ENGINES:
        raise EngineError(
            f"There is no engine {name!r}; choose one of {', '.join(map(repr, ENGINES))}."
        )
    return best_engine() if name == "auto" else name


@contextmanager
def _opencl() -> Iterator[None]:
    """Tell what to do where OpenCL does not work."""
    try:
        yield
    except (ImportError, EngineError) as error:
        raise EngineError(
            f"The engine 'opencl' cannot be used here: {error} Install the extra "
            "bluesky-azint[pocl] for a device on any CPU, or choose engine='scipy'."
        ) from error
