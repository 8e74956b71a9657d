"""The companions of frames: collected from documents, and handed out with the frames."""

from __future__ import annotations

from collections.abc import Mapping
from os import PathLike
from types import MappingProxyType

from bluesky_azint.callbacks.assets import Document
from bluesky_azint.callbacks.companions.conditions import Conditions
from bluesky_azint.callbacks.companions.config import CompanionsConfig
from bluesky_azint.callbacks.frames import FrameBatch

Named = tuple[str, Document]


class Companions:
    """Collects what belongs to frames, and holds documents back until it is there.

    Every document of raw runs goes through `take` and then `gate`; what the gate gives is to be
    handled in that order, and the frames that are found then go through `conditions`, or through
    `take_darks` if they are `dark`::

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
        What belongs to a frame, and where it is found.
    directory
        Where darks are kept for later runs; None keeps them for their own run only.
    root_map
        Beginnings of paths in the documents, and what they are called on this machine.
    timeout
        How many seconds to wait for numbers that were announced but are not in their file yet.
    """

    def __init__(
        self,
        config: CompanionsConfig,
        *,
        directory: str | PathLike[str] | None = None,
        root_map: Mapping[str, str] = MappingProxyType({}),
        timeout: float = 10.0,
    ) -> None:
        raise NotImplementedError

    def take(self, name: str, doc: Document) -> None:
        """Take a document of a raw run, before `gate`."""
        raise NotImplementedError

    def gate(self, name: str, doc: Document) -> list[Named]:
        """The documents that can be handled now: this one, if nothing of it is still to come, and
        those held back before that lack nothing any more. With a stop document, all of its run.
        """
        raise NotImplementedError

    def is_dark(self, descriptor: str) -> bool:
        """Whether the frames of a descriptor are dark ones; they go to `take_darks`."""
        raise NotImplementedError

    def take_darks(self, batch: FrameBatch) -> None:
        """Take dark frames; the same frame twice counts once."""
        raise NotImplementedError

    def conditions(self, batch: FrameBatch) -> list[tuple[FrameBatch, Conditions]]:
        """The frames of a batch in parts that are reduced alike, and what with.

        Frames that cannot be reduced are in parts of their own, of which `Conditions.problem`
        tells why.
        """
        raise NotImplementedError

    def close(self) -> None:
        """Close all files, and forget all runs."""
        raise NotImplementedError
