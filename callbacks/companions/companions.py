"""The companions of frames: collected from documents, and handed out with the frames."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from os import PathLike
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bluesky_azint.callbacks.assets import Document
from bluesky_azint.callbacks.companions.conditions import Conditions, Flat, Stand
from bluesky_azint.callbacks.companions.config import CompanionsConfig
from bluesky_azint.callbacks.companions.darks import Dark
from bluesky_azint.callbacks.companions.gate import Gate, Named
from bluesky_azint.callbacks.companions.kit import Kit
from bluesky_azint.callbacks.companions.readings import Need, Readings, read_beside
from bluesky_azint.callbacks.companions.run_darks import RunDarks
from bluesky_azint.callbacks.companions.shelf import DarkShelf
from bluesky_azint.callbacks.companions.values import (
    BASELINE,
    RunValues,
    events_of,
    mark_of_document,
)
from bluesky_azint.callbacks.data_keys import frames_per_event, image_keys
from bluesky_azint.callbacks.frames import FrameBatch
from bluesky_azint.callbacks.roots import Roots
from bluesky_azint.errors import AzintError, FrameError

logger = logging.getLogger(__name__)

Floats = NDArray[np.float64]


@dataclass(frozen=True, kw_only=True, eq=False)
class _Run:
    """A run that is under way."""

    start: Document
    values: RunValues
    gate: Gate
    descriptors: dict[str, Document] = field(default_factory=dict)
    darks: dict[str, RunDarks] = field(default_factory=dict)  # by data key


class Companions:
    """Collects what belongs to frames, and holds documents back until it is there.

    Every document of raw runs that is sound goes through `take` and then `gate`; what the gate gives is to be
    handled in that order, and the frames that are found then go through `conditions`, or through
    `take_darks` if they are dark::

        companions.take(name, doc)
        for name, doc in companions.gate(name, doc):
            for batch in source(name, doc):
                if companions.is_dark(batch.descriptor):
                    companions.take_darks(batch)
                    continue
                for part, conditions in companions.conditions(batch):
                    ...

    Parameters
    ----------
    config
        What belongs to a frame, and where it is found: one for all images, or by data key.
    directory
        Where darks are kept for later runs; None keeps the last few in memory.
    root_map
        Beginnings of paths in the documents, and what they are called on this machine.
    roots
        The folders that files may be in; None for all.
    timeout
        How many seconds to wait for numbers that were announced but are not in their file yet.

    Raises
    ------
    AzintError
        If a flat or a goniometer cannot be read, or does not fit the configuration.
    """

    def __init__(
        self,
        config: CompanionsConfig | Mapping[str, CompanionsConfig],
        *,
        directory: str | PathLike[str] | None = None,
        root_map: Mapping[str, str] = MappingProxyType({}),
        roots: Iterable[str | PathLike[str]] | None = None,
        timeout: float = 10.0,
    ) -> None:
        configs = {"": config} if isinstance(config, CompanionsConfig) else dict(config)
        self._kits = {key: Kit.of(one) for key, one in configs.items()}
        self._kits.setdefault("", Kit.of(CompanionsConfig()))
        keep = max((kit.dark.keep for kit in self._kits.values() if kit.dark), default=1)
        self._shelf = DarkShelf(None if directory is None else Path(directory), keep=keep)
        self._root_map = root_map
        self._roots = Roots(roots)
        self._timeout = timeout
        self._runs: dict[str, _Run] = {}
        self._run_of: dict[str, str] = {}  # by descriptor
        self._ended: set[str] = set()

    @property
    def held(self) -> int:
        """How many documents are held back."""
        return sum(len(run.gate) for run in self._runs.values())

    def digest(self, data_key: str) -> str:
        """Equal where the frames of some images are given the same; "" where they are given nothing."""
        return self._kit(data_key).digest

    def take(self, name: str, doc: Document) -> None:
        """Take a document of a raw run, before `gate`; one that is damaged is logged."""
        for uid in self._ended:
            self._forget(uid)
        self._ended.clear()
        try:
            self._take(name, doc)
        except Exception:
            logger.exception("A %s could not be taken for what it tells of frames.", name)

    def gate(self, name: str, doc: Document) -> list[Named]:
        """The documents that can be handled now.

        This one, if nothing that its frames need is still to come, and those held back before that
        lack nothing any more. With a stop document come all of its run.
        """
        run = self._run(doc)
        if run is None:
            return [(name, doc)]
        try:
            return run.gate(name, doc)
        except Exception:
            logger.exception("A %s could not be held back.", name)
            return [(name, doc)]

    def abandon(self, uid: str) -> list[Named]:
        """End a run whose stop document will never come.

        Returns
        -------
        Its documents that were held back.
        """
        run = self._runs.get(uid)
        if run is None:
            return []
        self._ended.add(uid)
        return run.gate.open()

    def is_dark(self, descriptor: str) -> bool:
        """Whether the frames of a descriptor are dark ones; they go to `take_darks`."""
        run = self._of(descriptor)
        if run is None:
            return False
        return self.is_dark_stream(run.start, run.descriptors[descriptor])

    def is_dark_stream(self, start: Document, descriptor: Document) -> bool:
        """Whether the frames of a descriptor are dark ones, before it has been taken."""
        keys, name = descriptor["data_keys"], descriptor["name"]
        return any(self._kit(key).is_dark(start, name) for key in keys)

    def take_darks(self, batch: FrameBatch) -> None:
        """Take dark frames; the same frame twice counts once.

        Raises
        ------
        FrameError
            If the exposure of some is not known, though it is asked for.
        """
        run, kit = self._of(batch.descriptor), self._kit(batch.data_key)
        if run is None or kit.dark is None:
            return
        problems = []
        for part, readings in _parts(run, kit.needs_of_darks, batch, np.zeros(len(batch.indices))):
            if readings.problem:
                problems.append(readings.problem)
            else:
                run.darks[batch.data_key].take(part, readings.one("exposure"))
        if problems:
            raise FrameError(" ".join(problems))

    def conditions(self, batch: FrameBatch) -> list[tuple[FrameBatch, Conditions]]:
        """The frames of a batch in parts that are reduced alike, and what with.

        Frames that cannot be reduced are in parts of their own, of which `Conditions.problem`
        tells why.
        """
        kit, run = self._kit(batch.data_key), self._of(batch.descriptor)
        if run is None:
            problem = f"The descriptor {batch.descriptor} of these frames was never seen."
            return [(batch, _refused(batch, problem))]
        darks = run.darks.get(batch.data_key)
        before = np.zeros(len(batch.indices))
        if darks is not None:
            before = darks.before(batch.descriptor, batch.seq_nums)
        return [
            (part, _conditions(darks, int(before[readings.frames][0]), kit, part, readings))
            for part, readings in _parts(run, kit.needs, batch, before)
        ]

    def close(self) -> None:
        """Forget all runs; their darks are kept."""
        for uid in list(self._runs):
            self._forget(uid)

    def _take(self, name: str, doc: Document) -> None:
        if name == "start":
            self._begin(doc)
            return
        run = self._run(doc)
        if run is None:
            if name == "stream_resource":  # of any of them
                for one in self._runs.values():
                    one.values.take(name, doc)
            return
        if name == "descriptor":
            self._run_of[doc["uid"]] = run.start["uid"]
            run.descriptors[doc["uid"]] = doc
            for key in doc["data_keys"]:
                self._prepare_darks(run, key)
        run.values.take(name, doc)
        if name in ("event", "event_page", "stream_datum"):
            self._announce(run, name, doc)
        if name == "stop":
            self._ended.add(run.start["uid"])
            if not len(run.gate):
                _end_darks(run)

    def _announce(self, run: _Run, name: str, doc: Document) -> None:
        """Note which darks come before the frames that a document tells of."""
        descriptor = run.descriptors[doc["descriptor"]]
        if not run.darks or descriptor["name"] == BASELINE:
            return
        if self.is_dark_stream(run.start, descriptor):
            return
        for key in descriptor["data_keys"]:
            if key in run.darks and _tells_of(run, key, name, doc):
                seq_nums, mark = events_of(name, doc), mark_of_document(name, doc)
                run.darks[key].announce(descriptor["uid"], seq_nums, mark)

    def _begin(self, start: Document) -> None:
        if start["uid"] in self._runs:
            return
        keys = {need.quantity.key for kit in self._kits.values() for need in kit.needs}
        values = RunValues(
            start, keys, root_map=self._root_map, roots=self._roots, timeout=self._timeout
        )
        descriptors: dict[str, Document] = {}

        def needed(descriptor: str) -> dict[str, list[str]]:
            return self._needed(start, descriptors.get(descriptor))

        self._runs[start["uid"]] = _Run(
            start=start, values=values, gate=Gate(values, needed), descriptors=descriptors
        )

    def _needed(self, start: Document, descriptor: Document | None) -> dict[str, list[str]]:
        """By the images of a descriptor, the names of the numbers that they need."""
        if descriptor is None or descriptor["name"] == BASELINE:
            return {}
        needed = {}
        for image in image_keys(descriptor):
            kit = self._kit(image)
            dark = kit.is_dark(start, descriptor["name"])
            needs = kit.needs_of_darks if dark else kit.needs
            needed[image] = [need.quantity.key for need in needs]
        return {image: keys for image, keys in needed.items() if keys}

    def _prepare_darks(self, run: _Run, data_key: str) -> None:
        config = self._kit(data_key).dark
        if config is not None and data_key not in run.darks:
            run.darks[data_key] = RunDarks(
                data_key=data_key,
                raw_uid=run.start["uid"],
                time=float(run.start["time"]),
                config=config,
                shelf=self._shelf,
            )

    def _kit(self, data_key: str) -> Kit:
        return self._kits.get(data_key, self._kits[""])

    def _run(self, doc: Document) -> _Run | None:
        """The run that a document is of, if it tells."""
        if doc.get("run_start"):
            return self._runs.get(doc["run_start"])
        return self._of(doc.get("descriptor"))

    def _of(self, descriptor: str | None) -> _Run | None:
        """The run of a descriptor that has been taken."""
        if descriptor is None or descriptor not in self._run_of:
            return None
        return self._runs.get(self._run_of[descriptor])

    def _forget(self, uid: str) -> None:
        run = self._runs.pop(uid, None)
        if run is not None:
            _end_darks(run)
            self._run_of = {key: of for key, of in self._run_of.items() if of != uid}


def _parts(
    run: _Run, needs: Sequence[Need], batch: FrameBatch, apart: Floats
) -> list[tuple[FrameBatch, Readings]]:
    """The frames of a batch in parts for which the same was read."""
    per_event = frames_per_event(run.descriptors[batch.descriptor]["data_keys"][batch.data_key])
    within = batch.indices - (batch.seq_nums - 1) * per_event
    found = read_beside(needs, run.values, batch.descriptor, batch.seq_nums, within, apart)
    return [(_part(batch, readings.frames), readings) for readings in found]


def _conditions(
    darks: RunDarks | None, before: int, kit: Kit, batch: FrameBatch, readings: Readings
) -> Conditions:
    """What the frames of a batch for which the same was read are reduced with."""
    if readings.problem:
        return _refused(batch, readings.problem)
    dark = None
    if darks is not None:
        _, rows, columns = batch.frames.shape
        try:
            dark = darks.dark((rows, columns), readings.one("exposure"), before)
        except AzintError as error:
            return _refused(batch, str(error))
    normalization = np.ones(len(batch.seq_nums))
    for monitor in readings.of("monitor"):
        normalization = normalization * monitor
    flat, stand = kit.flat(batch.data_key), kit.stand(readings)
    return Conditions(
        normalization=normalization,
        dark=dark,
        flat=flat,
        stand=stand,
        provenance=_provenance(readings, dark, flat, stand),
    )


def _provenance(
    readings: Readings, dark: Dark | None, flat: Flat | None, stand: Stand
) -> dict[str, Any]:
    told: dict[str, Any] = {"readings": readings.sources}
    if dark is not None:
        told["dark"] = {**asdict(dark.label), "shape": list(dark.label.shape), "scale": dark.scale}
    if flat is not None:
        told["flat"] = {"source": flat.source, "sha256": flat.sha256}
    if stand.wavelength is not None:
        told["wavelength"] = stand.wavelength
    if stand.added or stand.positions:
        told["geometry"] = dict(stand.added or stand.positions)
    return told


def _tells_of(run: _Run, data_key: str, name: str, doc: Document) -> bool:
    """Whether a document tells of frames of a data key; of an unknown resource, it may."""
    if name != "stream_datum":
        return data_key in doc["data"]
    return run.values.data_key(doc["stream_resource"]) in (None, data_key)


def _refused(batch: FrameBatch, problem: str) -> Conditions:
    return Conditions(normalization=np.full(len(batch.seq_nums), np.nan), problem=problem)


def _end_darks(run: _Run) -> None:
    for darks in run.darks.values():
        darks.end()


def _part(batch: FrameBatch, some: slice) -> FrameBatch:
    return replace(
        batch,
        frames=batch.frames[some],
        indices=batch.indices[some],
        seq_nums=batch.seq_nums[some],
        timestamps=batch.timestamps[some],
        places=batch.places[some],
    )
