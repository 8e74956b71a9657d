"""What every calibration store promises, whatever keeps the records."""

from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta, timezone

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from bluesky_azint.detectors import Detector
from bluesky_azint.errors import StoreError
from bluesky_azint.store import CalibrationRecord, CalibrationStore
from bluesky_azint.store.status import STATUSES

Make = Callable[..., CalibrationRecord]


def hours(number: float) -> datetime:
    """A moment, so many hours into a day."""
    return datetime(2026, 3, 1, tzinfo=UTC) + timedelta(hours=number)


def test_a_record_comes_back_as_it_was_saved(store: CalibrationStore, make_record: Make) -> None:
    record = make_record(valid_from=hours(1) + timedelta(microseconds=1))
    store.save(record)
    (listed,) = store.records()
    for found in (store.get(record.uid), store.latest("eiger", hours(2)), listed):
        assert found is not None
        assert found == record
        assert found.geometry == record.geometry  # every float, and the detector with its mask
        assert found.geometry.detector.mask is not None
        assert found.mask is not None
        assert found.mask.dtype == bool
        np.testing.assert_array_equal(found.mask, record.mask)
        assert (found.valid_from, found.created) == (record.valid_from, record.created)
        assert found.metadata == record.metadata


@pytest.mark.parametrize(
    "detector",
    [
        Detector(pixel1=1e-4, pixel2=1e-4, shape=(3, 4)),
        Detector(pixel1=1e-4, pixel2=1e-4),
        Detector(pixel1=172e-6, pixel2=172e-6, shape=(1043, 981), name="Pilatus1M"),
        Detector(pixel1=172e-6, pixel2=172e-6, mask=np.eye(1043, 981) > 0, name="Pilatus1M"),
    ],
    ids=["custom", "without a shape", "model without its gaps", "model with another mask"],
)
def test_the_detector_is_the_one_that_was_saved(
    store: CalibrationStore, make_record: Make, detector: Detector
) -> None:
    geometry = replace(make_record().geometry, detector=detector)
    store.save(record := make_record(geometry=geometry, mask=None))
    assert store.get(record.uid).geometry.detector == detector


def test_masks_are_added_not_merged(store: CalibrationStore, make_record: Make) -> None:
    store.save(record := make_record())
    found = store.get(record.uid)
    assert not np.array_equal(found.mask, found.geometry.detector.mask)  # type: ignore[arg-type]


def test_an_empty_store_has_nothing(store: CalibrationStore) -> None:
    assert store.latest("eiger", hours(0)) is None
    assert store.records() == []
    assert store.records("eiger") == []


def test_a_record_is_never_changed(store: CalibrationStore, make_record: Make) -> None:
    store.save(record := make_record(uid="once"))
    for other in (
        record,
        make_record(uid="once", status="rejected"),
        make_record(uid="once", valid_from=hours(99)),
        make_record(uid="once", detector="pilatus"),
    ):
        with pytest.raises(StoreError, match="already holds a calibration once"):
            store.save(other)
    assert store.records() == [record]


def test_a_record_that_is_not_there(store: CalibrationStore, make_record: Make) -> None:
    store.save(make_record(uid="6f1c2a-long"))
    with pytest.raises(StoreError, match=r"no calibration '6f1c'; near it are 6f1c2a-long\."):
        store.get("6f1c")
    with pytest.raises(StoreError, match=r"no calibration '_masks'; there are 1 others"):
        store.get("_masks")


def test_the_latest_is_the_newest_accepted_one(store: CalibrationStore, make_record: Make) -> None:
    for hour, status in [
        (2, "accepted"),
        (1, "accepted"),
        (3, "candidate"),
        (4, "rejected"),
        (5, "superseded"),
        (7, "accepted"),
    ]:
        store.save(make_record(uid=f"at-{hour}", valid_from=hours(hour), status=status))
    store.save(make_record(uid="other", valid_from=hours(6), detector="eiger2"))

    def uid(at: float) -> str | None:
        record = store.latest("eiger", hours(at))
        return record.uid if record else None

    assert uid(0.9999999) is None
    assert uid(1) == "at-1"  # valid from that very moment
    assert [uid(at) for at in (1.5, 2, 6.5, 7, 1e4)] == ["at-1", "at-2", "at-2", "at-7", "at-7"]
    assert store.latest("EIGER", hours(6)) is None


def test_a_correction_is_a_newer_record_for_the_same_moment(
    store: CalibrationStore, make_record: Make
) -> None:
    for uid, created in [("wrong", 10), ("right", 12), ("first", 9)]:
        store.save(make_record(uid=uid, valid_from=hours(1), created=hours(created)))
    found = store.latest("eiger", hours(2))
    assert found is not None
    assert found.uid == "right"


def test_moments_of_other_time_zones(store: CalibrationStore, make_record: Make) -> None:
    east = timezone(timedelta(hours=9))
    store.save(make_record(uid="utc", valid_from=hours(3)))
    store.save(make_record(uid="east", valid_from=hours(4).astimezone(east)))
    found = store.latest("eiger", hours(3.5).astimezone(east))
    assert found is not None
    assert found.uid == "utc"
    assert [record.uid for record in store.records()] == ["utc", "east"]


def test_a_moment_without_a_time_zone_is_refused(store: CalibrationStore) -> None:
    with pytest.raises(StoreError, match="no time zone"):
        store.latest("eiger", datetime(2026, 3, 1))


def test_records_are_listed_by_detector_and_moment(
    store: CalibrationStore, make_record: Make
) -> None:
    for uid, detector, hour in [("c", "a", 3), ("a", "a", 1), ("x", "b", 2)]:
        store.save(make_record(uid=uid, detector=detector, valid_from=hours(hour)))
    assert [record.uid for record in store.records()] == ["a", "x", "c"]
    assert [record.uid for record in store.records("a")] == ["a", "c"]


def test_any_name_of_a_detector(store: CalibrationStore, make_record: Make) -> None:
    names = ["eiger", "../../etc", "a/b", "*", "..", ".", "~", "masks", "d t", "ünï%2E"]
    records = [make_record(detector=name, mask=None) for name in names]
    for record in records:
        store.save(record)
    for record in records:
        assert store.latest(record.detector, hours(24)) == record
        assert store.records(record.detector) == [record]


Case = tuple[str, str, int, int]
CASES = st.lists(
    st.tuples(st.sampled_from("ab"), st.sampled_from(STATUSES), st.integers(0, 4), st.integers()),
    max_size=4,
    unique_by=lambda case: case[3],
)


@settings(
    max_examples=12, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(cases=CASES, at=st.integers(-1, 5))
def test_latest_is_what_its_definition_says(
    new_store: Callable[[], CalibrationStore], make_record: Make, cases: list[Case], at: int
) -> None:
    store = new_store()
    records = [
        make_record(
            detector=detector,
            status=status,
            valid_from=hours(valid_from),
            created=hours(created % 100_000),
            mask=None,
        )
        for detector, status, valid_from, created in cases
    ]
    for record in records:
        store.save(record)
    wanted = [
        record
        for record in records
        if record.detector == "a" and record.status == "accepted" and record.valid_from <= hours(at)
    ]
    found = store.latest("a", hours(at))
    if not wanted:
        assert found is None
    else:
        assert found is not None
        assert (found.valid_from, found.created) == max((r.valid_from, r.created) for r in wanted)
