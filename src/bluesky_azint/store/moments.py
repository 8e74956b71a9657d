"""Moments: always with a time zone, kept in UTC, written so that they sort as text."""

from __future__ import annotations

from datetime import UTC, datetime

from bluesky_azint.errors import StoreError


def stamp(moment: datetime) -> str:
    """A moment in UTC to the microsecond, as text of one length that sorts as the moments do.

    >>> stamp(datetime(2026, 3, 1, 12, tzinfo=UTC))
    '2026-03-01T12:00:00.000000+00:00'
    """
    return in_utc("The moment", moment).isoformat(timespec="microseconds")


def in_utc(name: str, moment: datetime) -> datetime:
    """The moment in UTC.

    Raises
    ------
    StoreError
        If it has no time zone.
    """
    if not isinstance(moment, datetime) or moment.tzinfo is None:
        raise StoreError(
            f"{name} is {moment!r}, which has no time zone; give one, as in datetime.now(UTC)."
        )
    return moment.astimezone(UTC)
