"""The calibration store: which geometry and mask a detector had, and when.

A scan is reduced with the latest accepted record that is valid when it starts::

    store = DirectoryStore("/data/calibrations")
    store.save(CalibrationRecord(detector="eiger", geometry=geometry, valid_from=datetime.now(UTC)))
    ...
    record = store.latest("eiger", at=start_of_the_scan)

A record never changes, its status does: a candidate is accepted or rejected, by whom and why is
kept, and one that another takes the place of is superseded (see `bluesky_azint.store.status`).
"""

from datetime import datetime
from pathlib import Path
from typing import Protocol

from bluesky_azint.errors import StoreError
from bluesky_azint.store.directory import DirectoryStore
from bluesky_azint.store.record import CalibrationRecord
from bluesky_azint.store.status import StatusChange
from bluesky_azint.store.tiled import TiledStore

__all__ = [
    "CalibrationRecord",
    "CalibrationStore",
    "DirectoryStore",
    "StatusChange",
    "TiledStore",
    "open_store",
]


class CalibrationStore(Protocol):
    """Where calibration records are kept.

    A store never changes a record, and never hides one that it cannot read: an older geometry
    in its place would be wrong without anyone knowing.
    """

    def save(self, record: CalibrationRecord) -> None:
        """Keep a record for good.

        Raises
        ------
        StoreError
            If there is one of that uid, or the store cannot be written.
        """

    def get(self, uid: str) -> CalibrationRecord:
        """The record of that uid.

        Raises
        ------
        StoreError
            If there is none, it is damaged, or its status cannot be told.
        """

    def find(self, uid: str) -> CalibrationRecord:
        """The record whose uid is that, or alone begins so.

        Raises
        ------
        StoreError
            If there is none or several, or it is damaged.
        """

    def accept(self, uid: str, *, why: str = "", who: str | None = None) -> CalibrationRecord:
        """Have a record be used from now on; gives it as it then is.

        Any record that is not accepted can be. Another of its detector that is valid from the same
        moment is superseded by it.

        Parameters
        ----------
        uid
            Of the record.
        why
            The reason, for those who look at it later.
        who
            Who accepts it; None is the user of this process.

        Raises
        ------
        StoreError
            If there is none, it is accepted already, or somebody changes it at this moment.
        """

    def reject(self, uid: str, *, why: str, who: str | None = None) -> CalibrationRecord:
        """Have a record not be used any more; gives it as it then is.

        What it superseded is used again.

        Raises
        ------
        StoreError
            If there is none, it is rejected already, no reason is given, or somebody changes it at
            this moment.
        """

    def latest(self, detector: str, at: datetime) -> CalibrationRecord | None:
        """The record to use for frames of that moment, None if there is none.

        Of the accepted records of the detector that are valid by then, the one valid from the
        latest moment; of several from the same moment, the one accepted last, or created so.

        Raises
        ------
        StoreError
            If it cannot be told, or what it would be is damaged.
        """

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
            If one of them is damaged.
        """


def open_store(where: str | Path, *, new: bool = False) -> CalibrationStore:
    """The store in a folder, or at the address of a Tiled server.

    Parameters
    ----------
    where
        A folder; or an address, ``http://...``, of a store or of the container with the key
        ``calibrations`` of one.
    new
        Whether it may be made.

    Raises
    ------
    StoreError
        If there is none.
    """
    if str(where).startswith(("http://", "https://")):
        return TiledStore.at(str(where), new=new)
    if not (new or Path(where).is_dir()):
        raise StoreError(f"There is no calibration store in {where}: it is no folder.")
    return DirectoryStore(where)
