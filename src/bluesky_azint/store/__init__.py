"""The calibration store: which geometry and mask a detector had, and when.

A scan is reduced with the latest accepted record that is valid when it starts::

    store = DirectoryStore("/data/calibrations")
    store.save(CalibrationRecord(detector="eiger", geometry=geometry, valid_from=datetime.now(UTC)))
    ...
    record = store.latest("eiger", at=start_of_the_scan)
"""

from datetime import datetime
from typing import Protocol

from bluesky_azint.store.directory import DirectoryStore
from bluesky_azint.store.record import CalibrationRecord
from bluesky_azint.store.tiled import TiledStore

__all__ = ["CalibrationRecord", "CalibrationStore", "DirectoryStore", "TiledStore"]


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
            If there is none, or it is damaged.
        """

    def latest(self, detector: str, at: datetime) -> CalibrationRecord | None:
        """The record to use for frames of that moment, None if there is none.

        Of the accepted records of the detector that are valid by then, the one valid from the
        latest moment; of several from the same moment, the one created last.

        Raises
        ------
        StoreError
            If it cannot be told, or what it would be is damaged.
        """

    def records(self, detector: str | None = None) -> list[CalibrationRecord]:
        """All records, or all of one detector, of any status, by the moment they are valid from.

        Raises
        ------
        StoreError
            If one of them is damaged.
        """
