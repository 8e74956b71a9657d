"""What the service is made of, as its configuration says."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from typing import Any

from bluesky_azint.callbacks.companions.companions import Companions
from bluesky_azint.callbacks.service.config import ServiceConfig
from bluesky_azint.callbacks.service.ends import FromPython, FromRedis, FromZmq
from bluesky_azint.callbacks.service.journal import Journal
from bluesky_azint.callbacks.service.notes import Notes
from bluesky_azint.callbacks.transports.source import Source, source_from_entry
from bluesky_azint.errors import AzintError, StoreError
from bluesky_azint.geometry import Geometry
from bluesky_azint.store import CalibrationStore, open_store

logger = logging.getLogger(__name__)

Listener = Callable[[str, Any], object]

# Frames that are late are read when the run has ended: nobody else's are to wait for them.
READ_SECONDS = 2.0
_POSITION = "redis-position"


def make_source(config: ServiceConfig, journal: Journal) -> Source:
    """Where documents come from; of a Redis stream, from where the journal has them."""
    match config.source:
        case FromZmq(address=address, prefix=prefix) as zmq:
            from bluesky_azint.callbacks.transports.zmq import ZmqSource

            return ZmqSource(address, prefix.encode(), curve=curve_of(zmq))
        case FromRedis(url=url, stream=stream):
            from bluesky_azint.callbacks.transports.redis import RedisSource

            name = f"{_POSITION}:{stream}"
            return RedisSource(
                url,
                stream,
                position=journal.fact(name) or "0-0",
                moved=lambda position: _note_position(journal, name, position),
            )
        case FromPython(entry=entry, options=options):
            return source_from_entry(entry, **options)


def _note_position(journal: Journal, name: str, position: str) -> None:
    """Note how far a stream was read, unless the journal lacks something that came before.

    When the service is started again, it is read once more from there.
    """
    if journal.lacking:
        return
    try:
        journal.set_fact(name, position)
    except StoreError as error:
        logger.warning("%s", error)


def curve_of(end: Any) -> Any:  # noqa: ANN401  bluesky's ClientCurve, which needs pyzmq
    """The CURVE keys of an end of the 0MQ bus; None without."""
    if end.curve_secret is None:
        return None
    from bluesky.callbacks.zmq import ClientCurve

    return ClientCurve(secret_path=end.curve_secret, server_public_key=end.curve_server)


def reducer_options(config: ServiceConfig) -> dict[str, Any]:
    """The options of the `Reducer`, but for the sinks."""
    calibrations = config.calibrations
    companions = {key: detector.companions for key, detector in config.detectors.items()}
    return {
        "recipes": config.recipes,
        "chosen": {key: detector.recipes for key, detector in config.detectors.items()},
        "directory": config.files.patterns,
        "store": LateStore(calibrations.store) if calibrations.store else None,
        "default": Geometry.from_poni(calibrations.default) if calibrations.default else None,
        "engine": config.engine.name,
        "root_map": config.files.map,
        "roots": config.files.roots,
        "timeout": READ_SECONDS,
        "continues": True,
        "companions": Companions(
            companions,
            directory=config.service.directory / "darks",
            root_map=config.files.map,
            roots=config.files.roots,
            timeout=READ_SECONDS,
        ),
    }


class LateStore:
    """A calibration store that is opened when it is first asked: its server may start later.

    Parameters
    ----------
    where
        See `open_store`.
    """

    def __init__(self, where: str) -> None:
        self._where = where
        self._store: CalibrationStore | None = None

    def __getattr__(self, name: str) -> Any:  # noqa: ANN401  any of its methods
        if self._store is None:
            self._store = open_store(self._where)
        return getattr(self._store, name)

    def __repr__(self) -> str:
        return f"the store {self._where}"


def make_listeners(config: ServiceConfig) -> dict[str, Listener]:
    """What takes reduced runs with the patterns inside of events, by the names of their keys."""
    sinks = config.sinks
    listeners: dict[str, Listener] = {}
    if sinks.zmq is not None:
        from bluesky_azint.callbacks.transports.zmq import zmq_publisher

        listeners["zmq"] = zmq_publisher(
            sinks.zmq.address, prefix=sinks.zmq.prefix.encode(), curve=curve_of(sinks.zmq)
        )
    if sinks.redis is not None:
        from bluesky_azint.callbacks.transports.redis import RedisPublisher

        listeners["redis"] = RedisPublisher(sinks.redis.url, sinks.redis.stream)
    if sinks.databroker is not None:
        from bluesky_azint.callbacks.databroker_sink import DatabrokerSink

        where = sinks.databroker.name or sinks.databroker.uri
        backup = config.service.directory / "backup"
        try:
            listeners["databroker"] = DatabrokerSink(where, backup_directory=backup)
        except AzintError as error:
            # The others must not wait for it.
            logger.error("sinks.databroker is left out until the next start. %s", error)
    if sinks.pvs is not None:
        from bluesky_azint.callbacks.pattern_pvs import PatternPVs

        listeners["pvs"] = PatternPVs(
            sinks.pvs.prefix,
            npt=max(recipe.npt for recipe in config.recipes.values()),
            host=sinks.pvs.host,
            port=sinks.pvs.port or None,
            data_keys=tuple(config.detectors),
        )
    return listeners


def tell_all(listeners: Mapping[str, Listener], notes: Notes) -> Listener:
    """What tells all listeners, those too that come after one that fails."""

    def tell(name: str, doc: Any) -> None:  # noqa: ANN401  any of ten typed dicts
        for key, listener in listeners.items():
            with notes.of_errors(f"sinks.{key} does not take documents."):
                listener(name, doc)

    return tell


def close_all(things: Mapping[str, object]) -> None:
    """Close what can be closed; what fails is logged."""
    for name, thing in things.items():
        close = getattr(thing, "close", None)
        if close is not None:
            try:
                close()
            except Exception:
                logger.exception("%s could not be closed.", name)
