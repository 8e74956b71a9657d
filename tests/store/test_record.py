"""A record alone: what it refuses, and that it survives being written down."""

import hashlib
import json
from collections.abc import Callable
from dataclasses import FrozenInstanceError
from datetime import UTC, datetime
from typing import Any

import numpy as np
import pytest

from bluesky_azint.errors import StoreError
from bluesky_azint.store import CalibrationRecord
from bluesky_azint.store.moments import stamp
from bluesky_azint.store.record import mask_digest
from tests.calibration.made import calibration

Make = Callable[..., CalibrationRecord]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"detector": ""}, "name of the device"),
        ({"uid": "../x"}, "letters, digits, - and _"),
        ({"uid": "_masks"}, "begins with a letter or a digit"),
        ({"status": "good"}, "'candidate', 'accepted', 'rejected', 'superseded'"),
        ({"valid_from": datetime(2026, 3, 1)}, "valid_from is .* no time zone"),
        ({"created": datetime(2026, 3, 1)}, "created is .* no time zone"),
        ({"valid_from": "2026-03-01"}, "no time zone"),
        ({"mask": np.zeros((3, 4), bool)}, r"\(3, 4\), its detector 'built here' \(31, 47\)"),
        ({"metadata": {"residual": float("nan")}}, "for NaN give None"),
        ({"metadata": {"image": np.zeros(3)}}, "Give plain numbers"),
    ],
)
def test_what_a_record_refuses(make_record: Make, changes: dict[str, Any], message: str) -> None:
    with pytest.raises(StoreError, match=message):
        make_record(**changes)


def test_a_record_is_new_accepted_and_of_now_unless_told(make_record: Make) -> None:
    before = datetime.now(UTC)
    one, other = make_record(), make_record()
    assert one.uid != other.uid
    assert one != other
    assert before <= one.created <= other.created <= datetime.now(UTC)
    assert one.status == "accepted"


def test_nothing_changes_a_record(make_record: Make) -> None:
    mask, metadata = np.zeros((31, 47), bool), {"rings": [1]}
    record = make_record(mask=mask, metadata=metadata)
    mask[:] = True
    metadata["rings"].append(2)
    assert record.mask is not None
    assert not record.mask.any()
    assert record.metadata == {"rings": [1]}
    with pytest.raises(ValueError, match="read-only"):
        record.mask[0, 0] = True
    with pytest.raises(FrozenInstanceError):
        record.status = "rejected"  # type: ignore[misc]
    record.to_dict()["metadata"]["rings"].append(3)
    assert record.metadata == {"rings": [1]}


def test_a_record_survives_json(make_record: Make) -> None:
    record = make_record()
    assert len(record.masks) == 2
    text = json.dumps(record.to_dict(), allow_nan=False)
    assert CalibrationRecord.from_dict(json.loads(text), record.masks.__getitem__) == record


def test_a_record_of_an_older_version_is_read(make_record: Make) -> None:
    record = make_record()
    values = record.to_dict()
    del values["files"]
    for name in ("pixels", "sensor", "described_in"):
        del values["detector_definition"][name]
    assert CalibrationRecord.from_dict(values, record.masks.__getitem__) == record


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"version": 2}, "version 2 cannot be read"),
        ({"geometry": {}}, "no calibration record"),
        ({"geometry": None}, "no calibration record"),
        ({"valid_from": "yesterday"}, "no calibration record"),
        ({"detector_definition": {"pixel1": 0, "pixel2": 1, "mask": None}}, "pixels of 0 x 1"),
        ({"detector_definition": {"curved": True, "mask": None}}, "curved"),
    ],
)
def test_values_that_are_no_record(make_record: Make, change: dict[str, Any], message: str) -> None:
    record = make_record()
    with pytest.raises(StoreError, match=message):
        CalibrationRecord.from_dict({**record.to_dict(), **change}, record.masks.__getitem__)


def test_the_digest_tells_masks_apart() -> None:
    mask = np.eye(4, 6) > 0
    masks = [
        mask,
        ~mask,
        mask.T,
        mask.reshape(6, 4),
        np.zeros((4, 6), bool),
        np.zeros((6, 4), bool),
    ]
    assert len({mask_digest(m) for m in masks}) == len(masks)
    assert mask_digest(mask) == mask_digest(np.asfortranarray(mask))
    assert (
        mask_digest(mask) == hashlib.sha256(b"4 6 " + bytes(np.eye(4, 6, dtype="u1"))).hexdigest()
    )


def test_stamps_sort_as_moments_do() -> None:
    moments = [
        datetime(1, 1, 1, tzinfo=UTC),
        datetime(2026, 3, 1, 8, tzinfo=UTC),
        datetime(2026, 3, 1, 8, 0, 0, 1, tzinfo=UTC),
        datetime(9999, 12, 31, tzinfo=UTC),
    ]
    assert sorted(map(stamp, moments)) == [stamp(moment) for moment in moments]
    assert len({len(stamp(moment)) for moment in moments}) == 1


def test_a_record_of_a_calibration() -> None:
    record = CalibrationRecord.from_calibration(
        found := calibration(),
        detector="eiger",
        raw_uid="5e1f",
        files={"report.html": b"<html>"},
        metadata={"who": "ada"},
    )
    assert record.status == "accepted"
    assert record.valid_from <= datetime.now(UTC)
    assert record.geometry == found.geometry
    assert record.mask is not None
    np.testing.assert_array_equal(record.mask, found.mask)
    assert record.files["report.html"] == b"<html>"
    metadata = record.metadata
    assert metadata["verdict"] == "accepted"
    assert metadata["figures"]["residual_px"] == 0.12
    assert (metadata["raw_uid"], metadata["who"]) == ("5e1f", "ada")
    assert metadata["software"].startswith("bluesky-azint ")


def test_what_must_be_looked_at_is_a_candidate() -> None:
    found = calibration("review")
    record = CalibrationRecord.from_calibration(found, detector="eiger")
    assert record.status == "candidate"
    assert record.metadata["reasons"] == ["Half of the rings are missing."]
    confirmed = CalibrationRecord.from_calibration(found, detector="eiger", status="accepted")
    assert confirmed.status == "accepted"


def test_a_refused_calibration_is_not_stored() -> None:
    with pytest.raises(StoreError, match=r"eiger was refused.* Half of the rings are missing\."):
        CalibrationRecord.from_calibration(calibration("refused"), detector="eiger")
