"""Whether all that a configuration names can be reached, before a beamline relies on it."""

from __future__ import annotations

import shutil
import socket
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from importlib import import_module
from pathlib import Path
from urllib.parse import urlsplit

from bluesky_azint.callbacks.service.catalogues import connect, container_at
from bluesky_azint.callbacks.service.config import ServiceConfig
from bluesky_azint.callbacks.service.ends import (
    FromPython,
    FromRedis,
    Source,
    ToDatabroker,
)
from bluesky_azint.callbacks.service.sections import Catalogue
from bluesky_azint.callbacks.transports.source import source_from_entry
from bluesky_azint.engines import best_engine
from bluesky_azint.errors import ConfigError, EngineError
from bluesky_azint.store import open_store

_PATIENCE = 3.0  # seconds for a server to answer


@dataclass(frozen=True)
class Finding:
    """What became of an attempt to reach something.

    Parameters
    ----------
    key
        Of the configuration.
    well
        Whether it was reached.
    answer
        What was found, or what is wrong.
    """

    key: str
    well: bool
    answer: str


def look_around(config: ServiceConfig) -> Iterator[Finding]:
    """Reach for all that a configuration names; nothing is written anywhere."""
    for key, attempt in _attempts(config):
        try:
            yield Finding(key, True, attempt())
        except Exception as error:  # noqa: BLE001  whatever it is, the next one is looked at
            yield Finding(key, False, " ".join(str(error).split()) or type(error).__name__)


def _attempts(config: ServiceConfig) -> Iterator[tuple[str, Callable[[], str]]]:
    yield "service.directory", partial(_room, config.service.directory)
    yield "source", partial(_source, config.source)
    if config.tiled is not None:
        yield "tiled", partial(_tiled, config.tiled)
    if config.calibrations.store:
        yield "calibrations.store", partial(_store, config.calibrations.store)
    yield "files.patterns", partial(_room, config.files.patterns)
    yield "engine", partial(_engine, config.engine.name)
    if config.sinks.zmq is not None:
        yield "sinks.zmq", partial(_name_of_host, config.sinks.zmq.address)
    if config.sinks.redis is not None:
        yield "sinks.redis", partial(_redis, config.sinks.redis.url, config.sinks.redis.stream)
    if config.sinks.databroker is not None:
        yield "sinks.databroker", partial(_databroker, config.sinks.databroker)


def _room(folder: Path) -> str:
    there = next(place for place in (folder, *folder.parents) if place.exists())
    state = str(folder) if there == folder else f"{folder} will be made"
    return f"{state}, {shutil.disk_usage(there).free / 1e9:.1f} GB free"


def _source(source: Source) -> str:
    if isinstance(source, FromPython):
        return _from_python(source)
    if isinstance(source, FromRedis):
        return _redis(source.url, source.stream)
    return _name_of_host(source.address)


def _from_python(source: FromPython) -> str:
    made = source_from_entry(source.entry, **source.options)
    made.stop()
    return f"{source.entry} gives {made!r}"


def _name_of_host(address: str) -> str:
    """A proxy gives no answer that could be asked for, so there is its name alone."""
    if address.startswith("ipc://"):
        return f"{address} is on this machine"
    parts = urlsplit(f"//{address.removeprefix('tcp://')}")
    found = socket.getaddrinfo(parts.hostname, parts.port, type=socket.SOCK_STREAM)
    return f"{address} is {found[0][4][0]}; whether a proxy is there, the first document tells"


def _redis(url: str, stream: str) -> str:
    try:
        import redis
    except ImportError as error:
        raise ConfigError(
            "redis is not installed; install it with the extra bluesky-azint[service]."
        ) from error
    limits = {"socket_timeout": _PATIENCE, "socket_connect_timeout": _PATIENCE}
    with redis.Redis.from_url(url, **limits) as server:
        return f"it answers; the stream {stream!r} has {server.xlen(stream)} documents"


def _tiled(catalogue: Catalogue) -> str:
    if catalogue.uri:
        _answers(catalogue.uri)
    root = connect(catalogue)
    paths = [path for path in (catalogue.raw, catalogue.reduced) if path]
    try:
        for path in paths:
            container_at(root, path)
    finally:
        root.context.close()
    return f"{root.uri} has " + " and ".join(map(repr, paths))


def _answers(uri: str) -> None:
    """Raise an error unless something listens: clients try for half a minute."""
    parts = urlsplit(uri)
    port = parts.port or {"http": 80, "https": 443}[parts.scheme]
    try:
        socket.create_connection((parts.hostname or "", port), timeout=_PATIENCE).close()
    except OSError as error:
        raise ConfigError(f"Nothing answers at {parts.hostname}:{port} ({error}).") from error


def _store(where: str) -> str:
    if where.startswith("http"):
        _answers(where)
    records = open_store(where).records(status="accepted")
    return f"{where} has {len(records)} accepted calibrations"


def _engine(name: str) -> str:
    best = best_engine()
    if name == "opencl" and best != name:
        raise EngineError("There is no OpenCL device here; write scipy, or auto.")
    return best if name == "auto" else name


def _databroker(broker: ToDatabroker) -> str:
    if broker.uri:
        _answers(broker.uri)
        return f"{broker.uri} answers"
    try:
        import_module("databroker")
    except ImportError as error:
        raise ConfigError(
            "databroker is not installed; install it with the extra bluesky-azint[databroker]."
        ) from error
    return "databroker is installed"
