"""Documents in, documents out: what stands between Bluesky and the reduction.

Names are loaded when they are first used, since some of them need Tiled.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from bluesky_azint.callbacks.frames import (
        FrameBatch,
        FrameSource,
        frames_per_event,
        image_keys,
    )
    from bluesky_azint.callbacks.reducer import Reducer

__all__ = ["FrameBatch", "FrameSource", "Reducer", "frames_per_event", "image_keys"]

_HOMES = {
    "FrameBatch": "bluesky_azint.callbacks.frames",
    "FrameSource": "bluesky_azint.callbacks.frames",
    "Reducer": "bluesky_azint.callbacks.reducer",
    "frames_per_event": "bluesky_azint.callbacks.frames",
    "image_keys": "bluesky_azint.callbacks.frames",
}


def __getattr__(name: str) -> object:
    if name in _HOMES:
        return getattr(import_module(_HOMES[name]), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted([*globals(), *__all__])
