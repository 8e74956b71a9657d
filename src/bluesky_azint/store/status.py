"""What becomes of a calibration: accepted, rejected, superseded, and who said so, when and why.

A record never changes. A change of its status stands beside it, never to be changed either, with a
number: 1, 2, 3 ... Of two that would have the same number the second is refused, so that nobody
overrules what he has not seen.

Of several accepted records of one detector that are valid from the same moment, the one accepted
last is used, and the others are superseded: that follows from the others, and is not written down.
If the one is rejected, the next is what it was before. Records of earlier moments stay accepted,
for they hold for the scans of their time.
"""

from __future__ import annotations

import getpass
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, Self

from bluesky_azint.errors import StoreError
from bluesky_azint.store.moments import stamp

if TYPE_CHECKING:
    from bluesky_azint.store.record import CalibrationRecord

STATUSES = ("candidate", "accepted", "rejected", "superseded")
_TICK = timedelta(microseconds=1)


@dataclass(frozen=True, kw_only=True)
class StatusChange:
    """A change of the status of a record.

    Parameters
    ----------
    uid, detector
        Of the record.
    number
        Counted from 1.
    status
        What it became.
    at
        When, in UTC.
    who
        Who said so.
    why
        The reason that was given.
    """

    uid: str
    detector: str
    number: int
    status: str
    at: datetime
    who: str
    why: str = ""

    def to_dict(self) -> dict[str, Any]:
        """The change as JSON values."""
        return {**asdict(self), "at": stamp(self.at)}

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Self:
        """The change that `to_dict` gave.

        Raises
        ------
        StoreError
            If the values are no change of a status.
        """
        try:
            change = cls(**{**values, "at": datetime.fromisoformat(values["at"])})
            stamp(change.at)
        except (KeyError, TypeError, ValueError) as error:
            raise StoreError(f"These values are no change of a status: {error!r}.") from error
        if change.status not in STATUSES:
            raise StoreError(f"These values are no change of a status: {change.status!r} is none.")
        return change


def current(
    records: Iterable[CalibrationRecord], changes: Mapping[str, Sequence[StatusChange]]
) -> list[CalibrationRecord]:
    """Records with the status that they have now, by the moment they are valid from.

    Parameters
    ----------
    records
        As they were saved; of any detector and moment that occurs, all.
    changes
        The changes of their status, by uid.

    Raises
    ------
    StoreError
        If a change is missing.
    """
    changed = [_changed(record, changes.get(record.uid, ())) for record in records]
    changed.sort(key=_rank)
    used: dict[tuple[str, datetime], str] = {
        (record.detector, record.valid_from): record.uid
        for record in changed
        if record.status == "accepted"  # the last one wins
    }
    settled = [
        replace(record, status="superseded")
        if record.status == "accepted" and used[record.detector, record.valid_from] != record.uid
        else record
        for record in changed
    ]
    return sorted(settled, key=lambda record: (record.valid_from, record.created))


def next_change(
    uid: str, group: Iterable[CalibrationRecord], status: str, why: str, who: str | None
) -> StatusChange:
    """The change that gives a record another status.

    Parameters
    ----------
    uid
        Of the record.
    group
        All records of its detector that are valid from its moment, as they are now.
    status
        ``"accepted"`` or ``"rejected"``.
    why
        The reason; a rejection needs one.
    who
        Who says so; None is the user of this process.

    Raises
    ------
    StoreError
        If the record has that status, or there is no reason for a rejection.
    """
    (record,) = (member for member in group if member.uid == uid)
    if record.status == status:
        raise StoreError(f"The calibration {uid} is {status} already.")
    if status == "rejected" and not why.strip():
        raise StoreError(f"Tell why the calibration {uid} is rejected: others will ask.")
    # Later than all that went before, whatever the clocks of other machines show.
    at = max(datetime.now(UTC), *(decided(member) + _TICK for member in group))
    return StatusChange(
        uid=uid,
        detector=record.detector,
        number=len(record.history) + 1,
        status=status,
        at=at,
        who=who or _user(),
        why=why.strip(),
    )


def decided(record: CalibrationRecord) -> datetime:
    """When the record got the status that it has, or was made with."""
    return record.history[-1].at if record.history else record.created


def changed_meanwhile(uid: str) -> StoreError:
    """The error for a change that somebody else was faster with."""
    return StoreError(
        f"Somebody has just changed the status of calibration {uid}; look at it again."
    )


def _changed(record: CalibrationRecord, changes: Sequence[StatusChange]) -> CalibrationRecord:
    if not changes:
        return record
    history = tuple(sorted(changes, key=lambda change: change.number))
    numbers = [change.number for change in history]
    if numbers != list(range(1, len(numbers) + 1)):
        raise StoreError(
            f"The changes of the status of calibration {record.uid} have the numbers "
            f"{', '.join(map(str, numbers))}: one is missing, and what the calibration is "
            "cannot be told. Restore it from a backup."
        )
    return replace(record, status=history[-1].status, history=history)


def _rank(record: CalibrationRecord) -> tuple[datetime, str]:
    return decided(record), record.uid


def _user() -> str:
    try:
        return getpass.getuser()
    except (KeyError, OSError):  # a container may run as a user without a name
        return "unknown"
