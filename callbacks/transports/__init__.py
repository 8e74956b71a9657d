"""Buses that carry documents from one process to another.

Names are loaded when they are first used, since each bus needs a library of its own.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from bluesky_azint.callbacks.transports.packing import pack, unpack
    from bluesky_azint.callbacks.transports.redis import RedisPublisher, RedisSource
    from bluesky_azint.callbacks.transports.source import (
        DispatcherSource,
        Source,
        source_from_entry,
    )
    from bluesky_azint.callbacks.transports.zmq import ZmqSource, zmq_publisher

__all__ = [
    "DispatcherSource",
    "RedisPublisher",
    "RedisSource",
    "Source",
    "ZmqSource",
    "pack",
    "source_from_entry",
    "unpack",
    "zmq_publisher",
]

_HOMES = {
    "DispatcherSource": "source",
    "RedisPublisher": "redis",
    "RedisSource": "redis",
    "Source": "source",
    "ZmqSource": "zmq",
    "pack": "packing",
    "source_from_entry": "source",
    "unpack": "packing",
    "zmq_publisher": "zmq",
}


def __getattr__(name: str) -> object:
    if name in _HOMES:
        return getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted([*globals(), *__all__])
