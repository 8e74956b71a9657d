"""The Reducer: documents of raw runs in, documents of reduced runs out."""

from __future__ import annotations

import logging
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from os import PathLike
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Self

import numpy as np
from event_model import DocumentRouter
from numpy.typing import NDArray

from bluesky_azint.callbacks.documents import STAGE
from bluesky_azint.callbacks.fields import short
from bluesky_azint.callbacks.frames import FrameBatch, FrameNumbers, FrameSource, image_keys
from bluesky_azint.callbacks.outputs import Emit
from bluesky_azint.callbacks.reduced_run import ReducedRun
from bluesky_azint.callbacks.settings import Flavour, Settings
from bluesky_azint.callbacks.soundness import check_document
from bluesky_azint.errors import DocumentError, RecipeError
from bluesky_azint.geometry import Geometry
from bluesky_azint.reduction.recipe import Recipe
from bluesky_azint.store import CalibrationRecord, CalibrationStore

if TYPE_CHECKING:
    from event_model.documents import (
        Datum,
        DatumPage,
        Event,
        EventDescriptor,
        EventPage,
        Resource,
        RunStart,
        RunStop,
        StreamDatum,
        StreamResource,
    )

    from bluesky_azint.callbacks.companions.companions import Companions

logger = logging.getLogger(__name__)

# Images in these streams are not of the sample.
_NOT_REDUCED = frozenset({"baseline", "dark", "flat"})
_NO_MAP: Mapping[str, str] = MappingProxyType({})


@dataclass
class Counts:
    """Numbers of frames.

    Parameters
    ----------
    found
        Announced, and lacking a pattern then.
    reduced
        Having their patterns since.
    refused
        Read, and not to be reduced.
    """

    found: int = 0
    reduced: int = 0
    refused: int = 0


@dataclass(eq=False)
class _RawRun:
    """A raw run that is under way, with its reduced runs by data key, and names of its streams."""

    start: RunStart
    reduced: dict[str, ReducedRun] = field(default_factory=dict)
    streams: set[str] = field(default_factory=set)


class Reducer(DocumentRouter):
    """Reduces the frames of raw runs, and emits the patterns as runs of their own.

    A callable for documents, ``reducer(name, doc)``. For each data key with images there is one
    reduced run, which begins and ends with the raw one. Runs may be nested and interleaved, and
    what goes wrong in one does not touch another: it is logged and told by the stop document.

    Parameters
    ----------
    emit
        Where the documents of reduced runs go, as ``emit(name, doc)``.
    recipe
        What to compute; or give `recipes`.
    directory
        Where the files with patterns are written; None is enough for the inline flavour.
    store
        Where calibrations are kept.
    default
        A geometry or calibration for detectors of which the documents and the store know none.
    engine
        Of the `Integrator`.
    data_keys
        Which images to reduce; None for all.
    root_map
        Beginnings of paths in raw documents, and what they are called on this machine.
    flavour
        ``"stream"``: patterns go into files that stream documents announce. ``"inline"``: they go
        into events, for consumers that cannot read files.
    inline
        Where the documents of the same runs go, too, with the patterns inside of events.
    recipes
        Several recipes by name. The patterns of the first are in streams of the names of the raw
        ones, ``primary``, those of the others in ``primary_NAME``.
    chosen
        The names of the recipes for some data keys; by default, all.
    companions
        What else belongs to the frames: darks, monitors, motors ...; None for nothing.
    roots
        Folders out of which files may be read; None for all.
    timeout
        How many seconds to wait for frames that were announced but are not in their file yet.
    continues
        Whether to go on with reduced runs that were begun before, by this process or another one:
        a reduced run then has the same uid each time, it is emitted from its start, and frames of
        which its file has a pattern are not read again.

    Attributes
    ----------
    counts
        How many frames were found, reduced and refused so far.

    Raises
    ------
    RecipeError
        If the flavour is not known, or needs a directory and there is none; or if there is no
        recipe, or both one and several.
    """

    run_type: type[ReducedRun] = ReducedRun

    def __init__(
        self,
        emit: Emit,
        *,
        recipe: Recipe | None = None,
        directory: str | PathLike[str] | None = None,
        store: CalibrationStore | None = None,
        default: Geometry | CalibrationRecord | None = None,
        engine: str = "auto",
        data_keys: Collection[str] | None = None,
        root_map: Mapping[str, str] = _NO_MAP,
        flavour: Flavour = "stream",
        inline: Emit | None = None,
        recipes: Mapping[str, Recipe] | None = None,
        chosen: Mapping[str, Collection[str]] = MappingProxyType({}),
        companions: Companions | None = None,
        roots: Collection[str | PathLike[str]] | None = None,
        timeout: float = 10.0,
        continues: bool = False,
    ) -> None:
        super().__init__()
        if (recipe is None) == (recipes is None):
            raise RecipeError("Give either a recipe, or several by name.")
        if flavour not in ("stream", "inline"):
            raise RecipeError(f"There is no flavour {flavour!r}; it is 'stream' or 'inline'.")
        if flavour == "stream" and directory is None:
            raise RecipeError(
                "The patterns are to be written into files and there is no directory for them; "
                "give one, or flavour='inline'."
            )
        self._settings = Settings(
            recipes={"pattern": recipe} if recipe is not None else dict(recipes or {}),
            chosen=chosen,
            # Absolute: a session may change folders.
            directory=None if directory is None else Path(directory).absolute(),
            store=store,
            default=default,
            engine=engine,
            continues=continues,
            companions=companions,
        )
        self._emits: dict[Flavour, Emit] = {flavour: _safely(emit)}
        if inline is not None:
            self._emits["inline"] = _safely(inline)
        self._data_keys = data_keys
        self._companions = companions
        self._source = FrameSource(
            root_map=root_map,
            data_keys=data_keys,
            timeout=timeout,
            roots=roots,
            known=lambda numbers: ~self._needs(numbers),
        )
        self.counts = Counts()
        self._runs: dict[str, _RawRun] = {}
        self._run_of: dict[str, str] = {}  # by descriptor, resource and stream resource
        self._skipped: set[str] = set()  # descriptors

    def __call__(
        self, name: str, doc: Mapping[str, Any], validate: bool = False
    ) -> tuple[str, dict[str, Any]]:
        """Take a document; it is returned as it is, validated or not. Nothing is ever raised."""
        try:
            check_document(name, doc)
            super().__call__(name, doc, validate)  # type: ignore[arg-type]  # typed dicts too
        except DocumentError as error:
            logger.error("%s", error)
        except Exception:
            logger.exception("A %s was not taken.", short(name))
        return name, doc  # type: ignore[return-value]

    def start(self, doc: RunStart) -> None:
        """Take the start of a raw run."""
        if doc["uid"] not in self._runs:
            self._runs[doc["uid"]] = _RawRun(doc)
            self._take_frames("start", doc)

    def descriptor(self, doc: EventDescriptor) -> None:
        """Take a descriptor; with the first that has images, a reduced run begins."""
        raw = self._runs.get(doc["run_start"])
        if raw is None:
            logger.warning(
                "A descriptor of run %s came without its start document; its frames are not "
                "reduced. Subscribe the reducer before the run begins.",
                doc["run_start"],
            )
            self._skipped.add(doc["uid"])
            return
        self._skipped.discard(doc["uid"])
        raw.streams.add(doc["name"])
        self._run_of[doc["uid"]] = doc["run_start"]
        for key in self._images(raw.start, doc):
            if key not in raw.reduced:
                raw.reduced[key] = self.run_type(
                    raw.start, key, settings=self._settings, emits=self._emits
                )
            raw.reduced[key].describe(doc)
        self._take_frames("descriptor", doc)

    def resource(self, doc: Resource) -> None:
        """Take a resource."""
        self._run_of[doc["uid"]] = doc.get("run_start", "")
        self._take_frames("resource", doc)

    def stream_resource(self, doc: StreamResource) -> None:
        """Take a stream resource."""
        self._run_of[doc["uid"]] = doc.get("run_start", "")
        self._take_frames("stream_resource", doc)

    def datum(self, doc: Datum) -> Datum:
        """Take a datum."""
        self._take_frames("datum", doc)
        return doc

    def datum_page(self, doc: DatumPage) -> None:
        """Take a page of datums."""
        self._take_frames("datum_page", doc)

    def event(self, doc: Event) -> Event:
        """Take an event."""
        self._take_frames("event", doc)
        return doc

    def event_page(self, doc: EventPage) -> EventPage:
        """Take a page of events."""
        self._take_frames("event_page", doc)
        return doc

    def stream_datum(self, doc: StreamDatum) -> None:
        """Take a stream datum."""
        self._take_frames("stream_datum", doc)

    def stop(self, doc: RunStop) -> None:
        """Take the stop of a raw run; its reduced runs end with it."""
        self._take_frames("stop", doc)
        self._end(doc["run_start"], doc)

    def missing(self, stop: Mapping[str, Any]) -> dict[str, dict[str, list[int]]]:
        """Which events of a raw run that is under way here lack a pattern, and may yet have one.

        Parameters
        ----------
        stop
            The stop document of the run, which tells how many there are.

        Returns
        -------
        The seq_nums by data key and stream, where there are any.
        """
        raw = self._runs.get(stop["run_start"])
        found = {
            key: {
                name: seq_nums
                for name, seq_nums in reduced.missing(stop.get("num_events") or {}).items()
                if seq_nums
            }
            for key, reduced in (raw.reduced if raw else {}).items()
        }
        return {key: streams for key, streams in found.items() if streams}

    def unseen(self, stop: Mapping[str, Any]) -> list[str]:
        """The streams of a raw run, by its stop document, of which no descriptor came."""
        raw = self._runs.get(stop["run_start"])
        counts = stop.get("num_events") or {}
        return sorted(name for name in counts if raw is None or name not in raw.streams)

    def has(self, uid: str) -> bool:
        """Whether a raw run is under way here."""
        return uid in self._runs

    def has_failed(self, uid: str) -> bool:
        """Whether patterns of a raw run cannot be written any more; `forget` it, and begin again."""
        raw = self._runs.get(uid)
        return raw is not None and any(reduced.failed for reduced in raw.reduced.values())

    def forget(self, uid: str) -> None:
        """Close the files of a raw run, and leave it to whoever goes on with it, see `continues`."""
        raw = self._runs.pop(uid, None)
        for reduced in raw.reduced.values() if raw else ():
            reduced.leave()
        self._run_of = {link: run for link, run in self._run_of.items() if run != uid}
        for _ in self._source("stop", {"run_start": uid}):
            pass
        if self._companions is not None:
            self._companions.abandon(uid)

    def leave(self) -> None:
        """Close all files, and leave the runs that are under way to another one, see `continues`."""
        for uid in list(self._runs):
            self.forget(uid)
        self._source.close()
        if self._companions is not None:
            self._companions.close()

    def abandon(self, uid: str) -> None:
        """End a raw run of which no more will come, though its stop document never came."""
        for name, doc in [] if self._companions is None else self._companions.abandon(uid):
            with self._noted(doc):
                for batch in self._source(name, doc):
                    self._reduce(batch)
        self._end(uid, None)

    def close(self) -> None:
        """End the runs that are still under way: they fail, for no more frames will come."""
        for uid in list(self._runs):
            self.abandon(uid)
        self._source.close()
        if self._companions is not None:
            self._companions.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _images(self, start: RunStart, descriptor: EventDescriptor) -> list[str]:
        """The data keys with images of the sample, which somebody wants reduced."""
        start_doc: Mapping[str, Any] = {**start}
        if descriptor["name"] in _NOT_REDUCED or start_doc.get("analysis_stage") == STAGE:
            return []
        if self._companions is not None and self._companions.is_dark_stream(start, descriptor):
            return []
        keys = image_keys(descriptor)
        if self._data_keys is not None:
            keys = [key for key in descriptor["data_keys"] if key in self._data_keys]
        return [key for key in keys if self._settings.recipes_of(key)]

    def _take_frames(self, name: str, doc: Mapping[str, Any]) -> None:
        """Reduce the frames that a document announces, and those that it completes."""
        if doc.get("descriptor") in self._skipped:
            return
        documents = [(name, doc)]
        if self._companions is not None:
            with self._noted(doc):
                self._companions.take(name, doc)
                documents = self._companions.gate(name, doc)
        for kind, ready in documents:
            with self._noted(ready):
                for batch in self._source(kind, ready):
                    self._reduce(batch)

    def _reduce(self, batch: FrameBatch) -> None:
        companions = self._companions
        if companions is not None and companions.is_dark(batch.descriptor):
            companions.take_darks(batch)
            return
        reduced = self._reduced(batch)
        if reduced is None:
            return
        parts = [(batch, None)] if companions is None else companions.conditions(batch)
        for part, conditions in parts:
            before = reduced.refused
            self.counts.reduced += reduced.reduce(part, conditions)
            # Some are tried again and again.
            self.counts.refused += max(reduced.refused - before, 0)

    def _needs(self, numbers: FrameNumbers) -> NDArray[np.bool_]:
        """Which of some frames are to be read."""
        if self._companions is not None and self._companions.is_dark(numbers.descriptor):
            return np.ones(numbers.indices.shape, dtype=np.bool_)
        reduced = self._reduced(numbers)
        if reduced is None:
            return np.zeros(numbers.indices.shape, dtype=np.bool_)
        needed = reduced.needs(numbers)
        self.counts.found += int(np.count_nonzero(needed))
        return needed

    def _reduced(self, numbers: FrameNumbers) -> ReducedRun | None:
        """The reduced run that some frames belong to; None for those that nobody wants."""
        raw = self._runs.get(self._run_of.get(numbers.descriptor, ""))
        reduced = None if raw is None else raw.reduced.get(numbers.data_key)
        return reduced if reduced is not None and reduced.has(numbers.descriptor) else None

    @contextmanager
    def _noted(self, doc: Mapping[str, Any]) -> Iterator[None]:
        """Tell the runs that a document concerns of what goes wrong with it."""
        try:
            yield
        except Exception as error:  # noqa: BLE001  no error of one run may stop another
            for reduced in self._concerned_by(doc):
                reduced.troubles.note(error)

    def _concerned_by(self, doc: Mapping[str, Any]) -> Collection[ReducedRun]:
        """The reduced runs of the raw run that a document is of; all, if it does not tell."""
        links = (doc.get(key) for key in ("descriptor", "resource", "stream_resource"))
        uids = [doc.get("run_start"), *(self._run_of.get(link) for link in links if link)]
        raw = [self._runs[uid] for uid in uids if uid in self._runs] or list(self._runs.values())
        return [reduced for run in raw for reduced in run.reduced.values()]

    def _end(self, uid: str, raw_stop: RunStop | None) -> None:
        raw = self._runs.pop(uid, None)
        for key, reduced in raw.reduced.items() if raw else ():
            try:
                reduced.stop(raw_stop)
            except Exception:
                logger.exception("The patterns of %r of run %s could not be closed.", key, uid)
        self._run_of = {link: run for link, run in self._run_of.items() if run in self._runs}


def _safely(consumer: Emit) -> Emit:
    """A consumer that never raises: one that fails must not cost the patterns."""

    def emit(name: str, doc: object) -> None:
        try:
            consumer(name, doc)
        except Exception:
            logger.exception("A %s of a reduced run was not taken by %r.", name, consumer)

    return emit
