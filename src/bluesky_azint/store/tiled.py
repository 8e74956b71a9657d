"""A calibration store on a Tiled server: seen by everyone, searched by the server.

A record is a container with the spec ``AzintCalibration``, its metadata is the record. The masks
stand beside the records, each only once, under their SHA-256::

    calibrations                    spec AzintCalibrationStore
        6f1c...                     spec AzintCalibration
        _masks
            b5d4...                 uint8, 1 = masked

A mask is written before the record that needs it, and a record is made by one request: whoever
reads meanwhile finds all of it or nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from datetime import datetime
from functools import cache
from http import HTTPStatus
from typing import TYPE_CHECKING, Any, Self

import numpy as np

from bluesky_azint.errors import StoreError
from bluesky_azint.store.record import (
    CalibrationRecord,
    Mask,
    checked_mask,
    mask_digest,
    no_such_calibration,
    stamp,
)

if TYPE_CHECKING:
    from tiled.client.array import ArrayClient
    from tiled.client.container import Container

STORE_SPEC = "AzintCalibrationStore"
RECORD_SPEC = "AzintCalibration"
MASKS = "_masks"  # no uid of a record: those begin with a letter or a digit


class TiledStore:
    """A calibration store on a Tiled server.

    Parameters
    ----------
    client
        The container that holds the records, as `open` makes it.
    """

    def __init__(self, client: Container) -> None:
        self.client = client

    def __repr__(self) -> str:
        return f"TiledStore({self.client.uri!r})"

    @classmethod
    def open(cls, client: Container, key: str = "calibrations") -> Self:
        """The store in a container of that key, which is made when it is not there.

        Raises
        ------
        StoreError
            If something else stands there, or the server cannot be asked.
        """
        with _asking(client):
            _create(client, key, STORE_SPEC)
            container = client[key]
            if STORE_SPEC not in [spec.name for spec in container.specs]:
                raise StoreError(
                    f"{container.uri} is no calibration store: it lacks the spec {STORE_SPEC}. "
                    "Open the store under another key."
                )
        return cls(container)

    def save(self, record: CalibrationRecord) -> None:
        """Keep a record for good.

        Raises
        ------
        StoreError
            If there is one of that uid, or the server cannot be asked.
        """
        with _asking(self.client):
            for digest, mask in record.masks.items():
                _create(self.client, MASKS)
                _write_mask(self.client[MASKS], digest, mask)
            if not _create(self.client, record.uid, RECORD_SPEC, record.to_dict()):
                raise StoreError(
                    f"The store {self.client.uri} already holds a calibration {record.uid}, and "
                    "calibrations are never changed; save a new one, without a uid."
                )

    def get(self, uid: str) -> CalibrationRecord:
        """The record of that uid.

        Raises
        ------
        StoreError
            If there is none, it is damaged, or the server cannot be asked.
        """
        from tiled.queries import KeyLookup

        with _asking(self.client):
            found = self._search(KeyLookup(uid)).values().head(1)
            if not found:
                raise no_such_calibration(uid, self._search(), self.client.uri)
            return self._read(found[0])

    def latest(self, detector: str, at: datetime) -> CalibrationRecord | None:
        """The accepted record of the detector valid at that moment; None if there is none.

        Raises
        ------
        StoreError
            If it is damaged, or the server cannot be asked.
        """
        from tiled.queries import Comparison, Key

        with _asking(self.client):
            found = (
                self._search(
                    Key("detector") == detector,
                    Key("status") == "accepted",
                    Comparison("le", "valid_from", stamp(at)),
                )
                .sort(("valid_from", -1), ("created", -1))
                .values()
                .head(1)
            )
            return self._read(found[0]) if found else None

    def records(self, detector: str | None = None) -> list[CalibrationRecord]:
        """All records, or all of one detector, by the moment they are valid from.

        Raises
        ------
        StoreError
            If one of them is damaged, or the server cannot be asked.
        """
        from tiled.queries import Key

        queries = [] if detector is None else [Key("detector") == detector]
        load_mask = cache(self._read_mask)
        with _asking(self.client):
            found = self._search(*queries).sort(("valid_from", 1), ("created", 1))
            return [self._read(node, load_mask) for node in found.values()]

    def _search(self, *queries: object) -> Container:
        from tiled.queries import SpecsQuery

        found = self.client.search(SpecsQuery(include=[RECORD_SPEC]))
        for query in queries:
            found = found.search(query)
        return found

    def _read(
        self, node: Container, load_mask: Callable[[str], Mask] | None = None
    ) -> CalibrationRecord:
        try:
            return CalibrationRecord.from_dict(
                node.item["attributes"]["metadata"], load_mask or self._read_mask
            )
        except StoreError as error:
            raise StoreError(f"The calibration at {node.uri} cannot be read: {error}") from error

    def _read_mask(self, digest: str) -> Mask:
        where = f"{self.client.uri}/{MASKS}/{digest}"
        try:
            array: ArrayClient = self.client[MASKS, digest]
        except KeyError as error:
            raise StoreError(f"its mask is not at {where}.") from error
        return checked_mask(array.read() != 0, digest, where)


def _create(
    parent: Container, key: str, spec: str | None = None, metadata: Mapping[str, Any] | None = None
) -> bool:
    """Make a container; False if something of that key is there already."""
    with _conflict_allowed() as conflict:
        parent.create_container(key, specs=[spec] if spec else [], metadata=metadata)
    return not conflict


def _write_mask(masks: Container, digest: str, mask: Mask) -> None:
    pixels = mask.astype(np.uint8)
    with _conflict_allowed() as conflict:
        masks.write_array(pixels, key=digest)
    if conflict and mask_digest(masks[digest].read() != 0) != digest:
        masks[digest].write(pixels)  # a writer died between making the array and filling it


@contextmanager
def _conflict_allowed() -> Iterator[list[Exception]]:
    """Let something be made that is there already; the list then is not empty."""
    from tiled.client.utils import ClientError

    conflicts: list[Exception] = []
    try:
        yield conflicts
    except ClientError as error:
        if error.response.status_code != HTTPStatus.CONFLICT:
            raise
        conflicts.append(error)


@contextmanager
def _asking(client: Container) -> Iterator[None]:
    """Have what the server refuses, or its silence, be an error of the store."""
    from httpx import HTTPError

    try:
        yield
    except HTTPError as error:
        raise StoreError(
            f"The calibration store {client.uri} does not answer as it should: {error} "
            "Check that the Tiled server runs, and that you may read and write there."
        ) from error
