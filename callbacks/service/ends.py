"""Where the documents of raw runs come from, and where those of reduced runs go besides Tiled."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self
from urllib.parse import urlsplit

from bluesky_azint.callbacks.service.sections import Address
from bluesky_azint.callbacks.service.tables import Table

_ENTRY = re.compile(r"[A-Za-z_][\w.]*:[A-Za-z_]\w*")
_REDIS = "redis://localhost:6379/0"


@dataclass(frozen=True, kw_only=True)
class FromZmq:
    """Section ``[source]`` of kind ``"zmq"``: bluesky's proxy.

    Parameters
    ----------
    address
        Where the proxy gives documents out: ``"host:port"``, or with ``tcp://`` or ``ipc://``.
    prefix
        That of the publisher; an empty string takes documents of all.
    curve_secret, curve_server
        Files with the secret key of this client and the public one of the proxy; None for neither.
    """

    address: str = "localhost:5578"
    prefix: str = ""
    curve_secret: Path | None = None
    curve_server: Path | None = None

    @classmethod
    def read(cls, table: Table) -> Self:
        """The section."""
        return cls(**_zmq(table, cls.address))


@dataclass(frozen=True, kw_only=True)
class FromRedis:
    """Section ``[source]`` of kind ``"redis"``: a stream of a Redis server.

    Parameters
    ----------
    url
        Of the server and its database.
    stream
        Key of the stream.
    """

    url: str = _REDIS
    stream: str = "bluesky"

    @classmethod
    def read(cls, table: Table) -> Self:
        """The section."""
        return cls(url=_redis_url(table, cls.url), stream=table.text("stream", cls.stream))


@dataclass(frozen=True, kw_only=True)
class FromPython:
    """Section ``[source]`` of kind ``"python"``: whatever a function returns.

    Parameters
    ----------
    entry
        ``"module:factory"``.
    options
        What the factory is called with.
    """

    entry: str
    options: Mapping[str, Any] = field(default_factory=dict)

    @classmethod
    def read(cls, table: Table) -> Self:
        """The section."""
        entry = table.text("entry")
        if entry and not _ENTRY.fullmatch(entry):
            table.fault("entry", f'"{entry}" names no function; write it as "module:factory".')
        return cls(entry=entry, options=table.table("options").rest())


Source = FromZmq | FromRedis | FromPython
_SOURCES: Mapping[str, type[FromZmq | FromRedis | FromPython]] = {
    "zmq": FromZmq,
    "redis": FromRedis,
    "python": FromPython,
}


def read_source(table: Table) -> Source:
    """Section ``[source]``."""
    kind = table.choice("kind", "zmq", _SOURCES)
    if table.text("kind", kind) != kind:
        table.rest()  # of what kind these entries are, nobody knows
        return FromZmq()
    return _SOURCES[kind].read(table)


@dataclass(frozen=True, kw_only=True)
class ToZmq:
    """Entry ``zmq`` of section ``[sinks]``: bluesky's proxy.

    Parameters
    ----------
    address
        Where the proxy takes documents in.
    prefix
        By which subscribers tell these documents from others.
    curve_secret, curve_server
        Files with the secret key of this client and the public one of the proxy; None for neither.
    """

    address: str = "localhost:5577"
    prefix: str = ""
    curve_secret: Path | None = None
    curve_server: Path | None = None

    @classmethod
    def read(cls, table: Table) -> Self:
        """The entry."""
        return cls(**_zmq(table, cls.address))


@dataclass(frozen=True, kw_only=True)
class ToRedis:
    """Entry ``redis`` of section ``[sinks]``: a stream of a Redis server.

    Parameters
    ----------
    url
        Of the server and its database.
    stream
        Key of the stream.
    """

    url: str = _REDIS
    stream: str = "azint"

    @classmethod
    def read(cls, table: Table) -> Self:
        """The entry."""
        return cls(url=_redis_url(table, cls.url), stream=table.text("stream", cls.stream))


@dataclass(frozen=True, kw_only=True)
class ToDatabroker:
    """Entry ``databroker`` of section ``[sinks]``; one of both tells which.

    Parameters
    ----------
    name
        Of a broker, as databroker knows it; an empty string where there is a `uri`.
    uri
        Address of a Tiled server on MongoDB; an empty string where there is a `name`.
    """

    name: str = ""
    uri: str = ""

    @classmethod
    def read(cls, table: Table) -> Self:
        """The entry."""
        found = cls(name=table.text("name", ""), uri=table.text("uri", ""))
        if bool(found.name) == bool(found.uri):
            table.fault("", 'needs either `name`, of a broker, or `uri`, as "http://host:8000".')
        return found


@dataclass(frozen=True, kw_only=True)
class ToPvs:
    """Entry ``pvs`` of section ``[sinks]``: EPICS process variables.

    Parameters
    ----------
    prefix
        What their names begin with.
    host, port
        Where they are served: on this machine alone, or on all its networks, ``"0.0.0.0"``; 0 is
        the usual port of Channel Access.
    """

    prefix: str
    host: str = "127.0.0.1"
    port: int = 0

    @classmethod
    def read(cls, table: Table) -> Self:
        """The entry."""
        return cls(
            prefix=table.text("prefix"),
            host=table.text("host", cls.host),
            port=table.whole("port", cls.port, least=0),
        )


@dataclass(frozen=True, kw_only=True)
class Sinks:
    """Section ``[sinks]``: who else is given the reduced runs; None for each that is not."""

    zmq: ToZmq | None = None
    redis: ToRedis | None = None
    databroker: ToDatabroker | None = None
    pvs: ToPvs | None = None

    @classmethod
    def read(cls, table: Table) -> Self:
        """The section."""
        return cls(
            zmq=ToZmq.read(table.table("zmq")) if "zmq" in table else None,
            redis=ToRedis.read(table.table("redis")) if "redis" in table else None,
            databroker=(
                ToDatabroker.read(table.table("databroker")) if "databroker" in table else None
            ),
            pvs=ToPvs.read(table.table("pvs")) if "pvs" in table else None,
        )


def _zmq(table: Table, usual: str) -> dict[str, Any]:
    """What source and sink on a 0MQ proxy have in common."""
    address, prefix = table.text("address", usual), table.text("prefix", "")
    if not address.startswith("ipc://") and not Address.parse(address.removeprefix("tcp://")):
        table.fault("address", f'"{address}" is no address; write HOST:PORT, as in "{usual}".')
    if " " in prefix:
        table.fault("prefix", f'"{prefix}" has a space in it, which no prefix may have.')
    secret, server = (table.file_to_read(f"curve_{name}") for name in ("secret", "server"))
    if (secret is None) != (server is None):
        missing = "curve_secret" if secret is None else "curve_server"
        table.fault(missing, "is missing; give both keys, or neither.")
    keys = {"curve_secret": secret, "curve_server": server}
    return {"address": address, "prefix": prefix, **keys}


def _redis_url(table: Table, default: str) -> str:
    url = table.text("url", default)
    try:
        parts = urlsplit(url)
        good = parts.scheme in ("redis", "rediss", "unix") and (parts.port or 1) > 0
    except ValueError:
        good = False
    if not good:
        table.fault("url", f'"{url}" is no address of Redis; write it as "{default}".')
    return url
