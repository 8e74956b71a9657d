"""Documents in, documents out: what stands between Bluesky and the reduction.

Names are loaded when they are first used, since some of them need Tiled.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from bluesky_azint.callbacks.databroker_sink import DatabrokerSink
    from bluesky_azint.callbacks.frames import FrameBatch, FrameSource, frames_per_event, image_keys
    from bluesky_azint.callbacks.live import LiveReduction
    from bluesky_azint.callbacks.live_pattern import LivePattern
    from bluesky_azint.callbacks.pattern_pvs import PatternPVs
    from bluesky_azint.callbacks.reduced_patterns import ReducedPatterns
    from bluesky_azint.callbacks.reducer import Reducer
    from bluesky_azint.callbacks.retrieval import AzintRun, reduced_runs
    from bluesky_azint.callbacks.server import EmbeddedTiled, embedded_tiled
    from bluesky_azint.callbacks.tiled_sink import TiledSink, restore_run
    from bluesky_azint.callbacks.worker import BackgroundCallback

__all__ = [
    "AzintRun",
    "BackgroundCallback",
    "DatabrokerSink",
    "EmbeddedTiled",
    "FrameBatch",
    "FrameSource",
    "LivePattern",
    "LiveReduction",
    "PatternPVs",
    "ReducedPatterns",
    "Reducer",
    "TiledSink",
    "embedded_tiled",
    "frames_per_event",
    "image_keys",
    "reduced_runs",
    "restore_run",
]

_HOMES = {
    "AzintRun": "bluesky_azint.callbacks.retrieval",
    "BackgroundCallback": "bluesky_azint.callbacks.worker",
    "DatabrokerSink": "bluesky_azint.callbacks.databroker_sink",
    "EmbeddedTiled": "bluesky_azint.callbacks.server",
    "FrameBatch": "bluesky_azint.callbacks.frames",
    "FrameSource": "bluesky_azint.callbacks.frames",
    "LivePattern": "bluesky_azint.callbacks.live_pattern",
    "LiveReduction": "bluesky_azint.callbacks.live",
    "PatternPVs": "bluesky_azint.callbacks.pattern_pvs",
    "ReducedPatterns": "bluesky_azint.callbacks.reduced_patterns",
    "Reducer": "bluesky_azint.callbacks.reducer",
    "TiledSink": "bluesky_azint.callbacks.tiled_sink",
    "embedded_tiled": "bluesky_azint.callbacks.server",
    "frames_per_event": "bluesky_azint.callbacks.frames",
    "image_keys": "bluesky_azint.callbacks.frames",
    "reduced_runs": "bluesky_azint.callbacks.retrieval",
    "restore_run": "bluesky_azint.callbacks.tiled_sink",
}


def __getattr__(name: str) -> object:
    if name in _HOMES:
        return getattr(import_module(_HOMES[name]), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted([*globals(), *__all__])
