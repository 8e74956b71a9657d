"""Live reduction in a session: between a RunEngine and Tiled, in threads of its own.

::

    RunEngine ──> TiledSink ──────────────────────────────> raw
         └──────> BackgroundCallback ─> Reducer ─> TiledSink ─> reduced
                                           └─────> listeners

Nothing of it ever blocks the RunEngine, or raises in it.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

from bluesky_azint.callbacks.joining import joined
from bluesky_azint.callbacks.reducer import Reducer
from bluesky_azint.callbacks.tiled_sink import TiledSink
from bluesky_azint.callbacks.worker import BackgroundCallback
from bluesky_azint.geometry import Geometry
from bluesky_azint.reduction.recipe import Recipe
from bluesky_azint.store import CalibrationRecord, CalibrationStore

if TYPE_CHECKING:
    from tiled.client.container import Container

    from bluesky_azint.callbacks.companions.companions import Companions

logger = logging.getLogger(__name__)

# Frames that are reduced together take less from the process, and nobody sees a quarter second.
COLLECT_SECONDS = 0.25


class LiveReduction:
    """Reduces every run of a RunEngine that has images, and puts it into Tiled.

    Subscribe it, ``RE.subscribe(live)``, and use it as a context manager or `close` it in the end.

    Parameters
    ----------
    reduced
        The Tiled container for reduced runs.
    recipe
        What to compute.
    directory
        Where the files with patterns are written, which the Tiled server must be able to read;
        and ``backup``, with the documents of runs that Tiled did not take.
    store
        Where calibrations are kept.
    default
        A geometry or calibration for detectors of which the documents and the store know none.
    raw
        The Tiled container for raw runs; None where something else writes them.
    engine
        Of the `Integrator`.
    listeners
        Take the documents of reduced runs with the patterns inside of events, ``listener(name,
        doc)``: `LivePattern`, `ReducedPatterns`, ... The reduction waits for each of them; give a
        slow one as ``BackgroundCallback(listener, name=...)``.
    recipes
        Several recipes by name, in place of one, see `Reducer`.
    companions
        What else belongs to the frames: darks, monitors, motors ...
    """

    def __init__(
        self,
        reduced: Container,
        *,
        recipe: Recipe | None = None,
        directory: str | PathLike[str],
        store: CalibrationStore | None = None,
        default: Geometry | CalibrationRecord | None = None,
        raw: Container | None = None,
        engine: str = "auto",
        listeners: Sequence[Callable[[str, Any], object]] = (),
        recipes: Mapping[str, Recipe] | None = None,
        companions: Companions | None = None,
    ) -> None:
        backup = Path(directory) / "backup"
        self._raw = None if raw is None else TiledSink(raw, backup_directory=backup)
        self._reduced = TiledSink(reduced, backup_directory=backup)
        self._reducer = Reducer(
            self._reduced,
            recipe=recipe,
            recipes=recipes,
            companions=companions,
            directory=directory,
            store=store,
            default=default,
            engine=engine,
            inline=_told(listeners) if listeners else None,
        )
        self._worker = BackgroundCallback(
            self._reducer, name="azint-reduction", collect_seconds=COLLECT_SECONDS, join=joined
        )

    def __call__(self, name: str, doc: Any) -> None:  # noqa: ANN401  any of ten typed dicts
        """Take a document of a raw run."""
        if self._raw is not None:
            self._raw(name, doc)
        self._worker(name, doc)

    def flush(self, timeout: float | None = None) -> bool:
        """Wait until all frames so far are reduced and in Tiled; False if a time-out comes first.

        Parameters
        ----------
        timeout
            Seconds for each of the threads; None waits for ever.
        """
        stages = (self._worker, self._reduced, self._raw)
        done = [stage.flush(timeout) for stage in stages if stage is not None]
        return all(done)

    def close(self) -> None:
        """Reduce and write what is left, and end the threads."""
        self._worker.close()
        self._reducer.close()
        self._reduced.close()
        if self._raw is not None:
            self._raw.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def _told(listeners: Sequence[Callable[[str, Any], object]]) -> Callable[[str, Any], None]:
    """What tells all listeners, those too that come after one that fails."""

    def tell(name: str, doc: Any) -> None:  # noqa: ANN401  any of ten typed dicts
        for listener in listeners:
            try:
                listener(name, doc)
            except Exception:
                logger.exception("A %s of a reduced run was not taken by %r.", name, listener)

    return tell
