"""A calibration store on a Tiled server: seen by everyone, searched by the server.

A record is a container with the spec ``AzintCalibration``, its metadata is the record as it was
saved. A change of its status is one with the spec ``AzintStatusChange``. Masks, and reports and
other contents, stand beside the records, each only once, under their SHA-256::

    calibrations                    spec AzintCalibrationStore
        6f1c...                     spec AzintCalibration
        _changes
            6f1c....0001            spec AzintStatusChange
        _files
            0a9e...                 uint8, the bytes of a file
        _masks
            b5d4...                 uint8, 1 = masked

What a record refers to is written before it, and a record and a change are each made by one
request, which does not replace anything: whoever reads meanwhile finds all of it or nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from datetime import datetime
from functools import cache
from http import HTTPStatus
from itertools import groupby
from typing import TYPE_CHECKING, Any, Self

import numpy as np
from numpy.typing import NDArray

from bluesky_azint.errors import StoreError
from bluesky_azint.store.contents import checked_content, digest_of
from bluesky_azint.store.moments import stamp
from bluesky_azint.store.record import (
    CalibrationRecord,
    Mask,
    checked_mask,
    mask_digest,
    no_such_calibration,
    whole_uid,
)
from bluesky_azint.store.status import StatusChange, changed_meanwhile, current, next_change

if TYPE_CHECKING:
    from tiled.client.array import ArrayClient
    from tiled.client.container import Container

KEY = "calibrations"
STORE_SPEC = "AzintCalibrationStore"
RECORD_SPEC = "AzintCalibration"
CHANGE_SPEC = "AzintStatusChange"
# No uids of records: those begin with a letter or a digit.
CHANGES = "_changes"
FILES = "_files"
MASKS = "_masks"
_UIDS_ASKED_FOR = 50  # more would make too long an address; all changes are read then


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
    def open(cls, client: Container, key: str = KEY) -> Self:
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

    @classmethod
    def at(cls, uri: str, *, new: bool = False) -> Self:
        """The store at an address, or under the key ``calibrations`` of what is there.

        Parameters
        ----------
        uri
            Of a Tiled server or a container, ``http://...``; may hold the ``api_key``.
        new
            Whether it is made when it is not there.

        Raises
        ------
        StoreError
            If there is none, or the server cannot be asked.
        """
        with ExitStack() as stack:
            client = _connect(uri, stack)
            if STORE_SPEC in [spec.name for spec in client.specs]:
                store = cls(client)
            elif new or KEY in client:
                store = cls.open(client)
            else:
                raise StoreError(f"There is no calibration store at {uri}.")
            stack.pop_all()
        return store

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
                _write_array(self.client[MASKS], digest, mask.astype(np.uint8), _digest_of_mask)
            for digest, content in record.contents.items():
                _create(self.client, FILES)
                values = np.frombuffer(content, np.uint8)
                _write_array(self.client[FILES], digest, values, _digest_of_file)
            if not _create(self.client, record.uid, RECORD_SPEC, record.to_dict()):
                raise StoreError(
                    f"The store {self.client.uri} already holds a calibration {record.uid}, and "
                    "calibrations are never changed; save a new one, without a uid."
                )

    def accept(self, uid: str, *, why: str = "", who: str | None = None) -> CalibrationRecord:
        """Have a record be used from now on; gives it as it then is.

        Raises
        ------
        StoreError
            If there is none, it is accepted already, somebody changes it at this moment, or the
            server cannot be asked.
        """
        return self._change(uid, "accepted", why, who)

    def reject(self, uid: str, *, why: str, who: str | None = None) -> CalibrationRecord:
        """Have a record not be used any more; gives it as it then is.

        Raises
        ------
        StoreError
            If there is none, it is rejected already, no reason is given, somebody changes it at
            this moment, or the server cannot be asked.
        """
        return self._change(uid, "rejected", why, who)

    def get(self, uid: str) -> CalibrationRecord:
        """The record of that uid.

        Raises
        ------
        StoreError
            If there is none, it is damaged, its status cannot be told, or the server cannot be
            asked.
        """
        with _asking(self.client):
            return next(record for record in self._group(uid) if record.uid == uid)

    def find(self, uid: str) -> CalibrationRecord:
        """The record whose uid is that, or alone begins so.

        Raises
        ------
        StoreError
            If there is none or several, it is damaged, or the server cannot be asked.
        """
        with _asking(self.client):
            return self.get(whole_uid(uid, self._search(), self.client.uri))

    def latest(self, detector: str, at: datetime) -> CalibrationRecord | None:
        """The accepted record of the detector valid at that moment; None if there is none.

        Raises
        ------
        StoreError
            If it is damaged, or the server cannot be asked.
        """
        from tiled.queries import Comparison, Key

        with _asking(self.client):
            found = self._search(
                Key("detector") == detector, Comparison("le", "valid_from", stamp(at))
            )
            nodes = found.sort(("valid_from", -1)).values()
            for _, group in groupby(nodes, key=lambda node: node.metadata["valid_from"]):
                for record in self._read_all(list(group)):
                    if record.status == "accepted":
                        return record
            return None

    def records(
        self,
        detector: str | None = None,
        *,
        since: datetime | None = None,
        until: datetime | None = None,
        status: str | None = None,
    ) -> list[CalibrationRecord]:
        """All records, or some, by the moment they are valid from.

        Parameters
        ----------
        detector
            Of this detector alone.
        since, until
            Valid from these moments, or one between them.
        status
            Which now have this status.

        Raises
        ------
        StoreError
            If one of them is damaged, or the server cannot be asked.
        """
        from tiled.queries import Comparison, Key

        queries = [] if detector is None else [Key("detector") == detector]
        if since is not None:
            queries.append(Comparison("ge", "valid_from", stamp(since)))
        if until is not None:
            queries.append(Comparison("le", "valid_from", stamp(until)))
        with _asking(self.client):
            found = self._read_all(list(self._search(*queries).values()))
        return [record for record in found if status in (None, record.status)]

    def _group(self, uid: str) -> list[CalibrationRecord]:
        """All records of the detector and the moment of that one."""
        from tiled.queries import Key, KeyLookup

        found = self._search(KeyLookup(uid)).values().head(1)
        if not found:
            raise no_such_calibration(uid, self._search(), self.client.uri)
        same = (Key(key) == found[0].metadata[key] for key in ("detector", "valid_from"))
        return self._read_all(list(self._search(*same).values()))

    def _change(self, uid: str, status: str, why: str, who: str | None) -> CalibrationRecord:
        with _asking(self.client):
            change = next_change(uid, self._group(uid), status, why, who)
            _create(self.client, CHANGES)
            key = f"{uid}.{change.number:04d}"
            if not _create(self.client[CHANGES], key, CHANGE_SPEC, change.to_dict()):
                raise changed_meanwhile(uid)
            return self.get(uid)

    def _read_all(self, nodes: Sequence[Container]) -> list[CalibrationRecord]:
        """The records with the status that they have now."""
        load_mask = cache(self._read_mask)
        records = [self._read(node, load_mask) for node in nodes]
        changes: dict[str, list[StatusChange]] = {}
        for change in self._changes([record.uid for record in records]):
            changes.setdefault(change.uid, []).append(change)
        return current(records, changes)

    def _changes(self, uids: Sequence[str]) -> Iterator[StatusChange]:
        """All changes of the status of these records."""
        from tiled.queries import In

        try:
            found = self.client[CHANGES]
        except KeyError:
            return
        if len(uids) <= _UIDS_ASKED_FOR:
            found = found.search(In("uid", list(uids)))
        for node in found.values():
            try:
                yield StatusChange.from_dict(node.item["attributes"]["metadata"])
            except StoreError as error:
                raise StoreError(f"The node {node.uri} cannot be read: {error}") from error

    def _search(self, *queries: object) -> Container:
        from tiled.queries import SpecsQuery

        found = self.client.search(SpecsQuery(include=[RECORD_SPEC]))
        for query in queries:
            found = found.search(query)
        return found

    def _read(self, node: Container, load_mask: Callable[[str], Mask]) -> CalibrationRecord:
        try:
            return CalibrationRecord.from_dict(
                node.item["attributes"]["metadata"], load_mask, self._read_content
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

    def _read_content(self, digest: str) -> bytes:
        where = f"{self.client.uri}/{FILES}/{digest}"
        with _asking(self.client):
            try:
                array: ArrayClient = self.client[FILES, digest]
            except KeyError as error:
                raise StoreError(f"The file is not at {where}.") from error
            return checked_content(array.read().tobytes(), digest, where)


def _connect(uri: str, stack: ExitStack) -> Container:
    """What is at an address; the connection is closed with the stack."""
    from httpx import HTTPError
    from tiled.client.constructors import from_context
    from tiled.client.context import Context

    try:
        context, path = Context.from_any_uri(uri)
        stack.callback(context.close)
        return from_context(context, node_path_parts=path)
    except (HTTPError, KeyError, RuntimeError) as error:  # the last where a key is lacking
        raise StoreError(
            f"Nothing at {uri} can be opened with Tiled: {error} Check the address, and set "
            "TILED_API_KEY in the environment if the server wants one."
        ) from error


def _create(
    parent: Container, key: str, spec: str | None = None, metadata: Mapping[str, Any] | None = None
) -> bool:
    """Make a container; False if something of that key is there already."""
    with _conflict_allowed() as conflict:
        parent.create_container(key, specs=[spec] if spec else [], metadata=metadata)
    return not conflict


def _write_array(
    parent: Container,
    digest: str,
    values: NDArray[np.uint8],
    its_digest: Callable[[NDArray[np.uint8]], str],
) -> None:
    with _conflict_allowed() as conflict:
        parent.write_array(values, key=digest)
    if conflict and its_digest(parent[digest].read()) != digest:
        parent[digest].write(values)  # a writer died between making the array and filling it


def _digest_of_mask(values: NDArray[np.uint8]) -> str:
    return mask_digest(values != 0)


def _digest_of_file(values: NDArray[np.uint8]) -> str:
    return digest_of(values.tobytes())


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
