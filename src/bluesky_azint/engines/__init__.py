"""Engines: the transports of the integration. All do the same, on different hardware."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from bluesky_azint.engines.protocol import BadValues, Engine, FrameSums, Spread, Wanted
from bluesky_azint.errors import EngineError

if TYPE_CHECKING:
    from bluesky_azint.lookup.table import Lookup

__all__ = [
    "ENGINES",
    "BadValues",
    "Engine",
    "FrameSums",
    "Spread",
    "Wanted",
    "best_engine",
    "create_engine",
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
    if name not in ENGINES:
        raise EngineError(
            f"There is no engine {name!r}; choose one of {', '.join(map(repr, ENGINES))}."
        )
    if name == "auto":
        name = best_engine()
    if name == "scipy":
        from bluesky_azint.engines.scipy import ScipyEngine

        return ScipyEngine(lookup, bad, wanted)
    try:
        from bluesky_azint.engines.opencl.engine import OpenCLEngine

        return OpenCLEngine(lookup, bad, wanted)
    except (ImportError, EngineError) as error:
        raise EngineError(
            f"The engine 'opencl' cannot be used here: {error} Install the extra "
            "bluesky-azint[pocl] for a device on any CPU, or choose engine='scipy'."
        ) from error


def best_engine() -> str:
    """The fastest engine that works here."""
    try:
        from bluesky_azint.engines.opencl import device

        device.default_device()
    except (ImportError, EngineError) as error:
        logger.info("No OpenCL here, the SciPy engine is used: %s", error)
        return "scipy"
    return "opencl"
