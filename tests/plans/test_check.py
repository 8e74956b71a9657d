"""Checks of a detector that stands where it was, and of one that has moved."""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
from bluesky import RunEngine

from bluesky_azint.calibrants import calibrant
from bluesky_azint.calibration.result import Calibration
from bluesky_azint.errors import CalibrationRefused, RecipeError, StoreError
from bluesky_azint.plans import CheckOutcome, check_calibration
from bluesky_azint.store import CalibrationRecord, DirectoryStore
from tests.plans.conftest import WAVELENGTH, Documents, Station, still

REFUSED = Calibration(
    verdict="refused",
    reasons=("There are no rings.",),
    geometry=None,
    calibrant=calibrant("CeO2"),
    wavelength=WAVELENGTH,
    mask=np.zeros((240, 260), bool),
)


@pytest.fixture
def store(tmp_path: Path) -> DirectoryStore:
    """What the detector was calibrated to."""
    store = DirectoryStore(tmp_path / "store")
    store.save(CalibrationRecord(detector="det", geometry=still(0.0), valid_from=datetime.now(UTC)))
    return store


def checked(run_engine: RunEngine, station: Station, **options: Any) -> CheckOutcome:
    """What comes out."""
    plan = check_calibration(station.det, shutter=station.shutter, **options)
    outcome: CheckOutcome = run_engine(plan).plan_result  # type: ignore[union-attr]
    return outcome


def test_a_detector_that_stands_where_it_was_is_good(
    run_engine: RunEngine,
    make_station: Callable[..., Station],
    store: DirectoryStore,
    documents: Documents,
) -> None:
    outcome = checked(run_engine, make_station(), store=store)
    assert outcome.verdict == "good", outcome.reasons
    assert outcome.shift_px < 0.05
    assert outcome.record_uid == store.records()[0].uid
    (event,) = documents.events("check")
    assert event["check-shift_px"] == outcome.shift_px
    assert event["check-record_uid"] == outcome.record_uid
    assert documents["stop"][0]["exit_status"] == "success"
    assert len(store.records()) == 1


def test_one_that_has_moved_has_drifted_by_so_much(
    run_engine: RunEngine,
    make_station: Callable[..., Station],
    store: DirectoryStore,
    documents: Documents,
) -> None:
    moved = replace(still(0.0), poni1=still(0.0).poni1 + 1.5 * 172e-6)
    station = make_station(lambda position: moved)
    outcome = checked(run_engine, station, store=store)
    assert outcome.verdict == "drifted"
    # Rings move by the cosine of the azimuth: on the average 1.5 / sqrt(2).
    assert outcome.shift_px == pytest.approx(1.5 / np.sqrt(2), rel=0.25)
    assert outcome.shift_ppm > 1000
    (event,) = documents.events("check")
    assert abs(event["check-centre_shift1_px"]) == pytest.approx(1.5, abs=0.1)
    assert abs(event["check-centre_shift2_px"]) < 0.1
    assert [record.status for record in store.records()] == ["accepted"]
    with pytest.raises(CalibrationRefused, match="check_calibration: drifted"):
        checked(run_engine, station, store=store, on_drift="raise")


def test_nothing_to_see_is_refused(
    run_engine: RunEngine,
    make_station: Callable[..., Station],
    store: DirectoryStore,
    documents: Documents,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    station = make_station()
    station.beamline.rate = 1e-6
    # A calibration from nothing is tried, too; it takes its time.
    module = ModuleType("calibrate")
    module.calibrate = lambda *_, **__: REFUSED  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "bluesky_azint.calibration.calibrate", module)
    outcome = checked(run_engine, station, store=store, max_exposure=1.0)
    assert outcome.verdict == "refused"
    assert documents["stop"][0]["exit_status"] == "fail"
    assert documents["stop"][0]["reason"] == " ".join(outcome.reasons)


def test_a_geometry_from_a_file_can_be_checked(
    run_engine: RunEngine, make_station: Callable[..., Station], tmp_path: Path
) -> None:
    still(0.0).to_poni(tmp_path / "before.poni")
    outcome = checked(run_engine, make_station(), poni=str(tmp_path / "before.poni"))
    assert (outcome.verdict, outcome.record_uid) == ("good", "")


def test_there_must_be_something_to_check(
    run_engine: RunEngine, make_station: Callable[..., Station], tmp_path: Path
) -> None:
    station = make_station()
    with pytest.raises(StoreError, match="no accepted calibration of det"):
        checked(run_engine, station, store=DirectoryStore(tmp_path / "empty"))
    assert station.shutter.moves == []


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"calibrant": "CeO3"}, "no calibrant 'CeO3'"),
        ({"on_drift": "rasie"}, "is none of 'return', 'raise'"),
        ({"tolerance_px": 0.0}, "must be positive"),
    ],
)
def test_what_makes_no_sense_is_told_before_anything_moves(
    run_engine: RunEngine,
    make_station: Callable[..., Station],
    store: DirectoryStore,
    options: dict[str, Any],
    message: str,
) -> None:
    station = make_station()
    with pytest.raises(RecipeError, match=message):
        checked(run_engine, station, store=store, **options)
    assert station.shutter.moves == []
