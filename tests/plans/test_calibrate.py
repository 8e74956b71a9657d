"""Calibrating a detector in a RunEngine."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from bluesky import RunEngine
from bluesky.utils import FailedStatus, RunEngineInterrupted
from ophyd_async.core import StaticPathProvider, UUIDFilenameProvider, init_devices

from bluesky_azint.devices import (
    ClassicSimulatedDetector,
    FrameReplayDetector,
    GeometryDevice,
    SimulatedDiffractionDetector,
)
from bluesky_azint.errors import (
    CalibrationRefused,
    FormatError,
    FrameError,
    GeometryError,
    RecipeError,
)
from bluesky_azint.plans import CalibrationOutcome, calibrate_detector
from bluesky_azint.store import DirectoryStore
from tests.plans.conftest import (
    DETECTOR,
    WAVELENGTH,
    Documents,
    Oracle,
    Station,
    still,
)


@pytest.fixture
def station(make_station: Callable[..., Station], oracle: Oracle) -> Station:
    """A detector that does not move."""
    station = make_station()
    oracle.station = station
    return station


@pytest.fixture
def store(tmp_path: Path) -> DirectoryStore:
    """An empty store."""
    return DirectoryStore(tmp_path / "store")


@pytest.fixture
def plain_report(monkeypatch: pytest.MonkeyPatch) -> None:
    """A report without pictures: they take seconds to draw."""
    monkeypatch.setattr("bluesky_azint.report.report_images", lambda *_: {})


def calibrated(run_engine: RunEngine, station: Station, **options: Any) -> CalibrationOutcome:
    """What comes out."""
    plan = calibrate_detector(
        station.det, wavelength=WAVELENGTH, shutter=station.shutter, **options
    )
    outcome: CalibrationOutcome = run_engine(plan).plan_result  # type: ignore[union-attr]
    return outcome


def test_an_accepted_calibration_is_used_from_then_on(
    run_engine: RunEngine,
    station: Station,
    store: DirectoryStore,
    documents: Documents,
    tmp_path: Path,
) -> None:
    with init_devices():
        geometry = GeometryDevice("geometry")
    before = datetime.now(UTC)
    outcome = calibrated(
        run_engine, station, store=store, geometry_device=geometry,
        report_directory=str(tmp_path / "reports"), md={"sample": "standard"},
    )  # fmt: skip
    assert (outcome.verdict, outcome.status, outcome.reasons) == ("accepted", "accepted", ())
    record = store.latest("det", datetime.now(UTC))
    assert record is not None
    assert record.uid == outcome.record_uid
    assert before < record.valid_from < datetime.now(UTC)
    assert record.geometry.dist == pytest.approx(0.1, rel=2e-4)
    assert record.metadata["raw_uid"] == outcome.run_uid
    assert record.metadata["figures"]["parameters"]["dist"]["sigma"] < 2e-5
    report = Path(outcome.report)
    assert report.parent == tmp_path / "reports"
    assert record.files["report.html"] == report.read_bytes()
    assert record.files["frame.png"].startswith(b"\x89PNG")
    (start,), (stop,) = documents["start"], documents["stop"]
    assert (start["plan_name"], start["sample"]) == ("calibrate_detector", "standard")
    assert start["uid"] == outcome.run_uid
    assert stop["exit_status"] == "success"
    (event,) = documents.events("calibration")
    assert event["calibration-verdict"] == event["calibration-status"] == "accepted"
    assert event["calibration-record_uid"] == record.uid
    assert event["calibration-dist"] == record.geometry.dist
    assert 0 < event["calibration-dist_sigma"] < 2e-5
    assert event["calibration-residual_px"] < 0.2
    assert run_engine(_read(geometry)).plan_result == {  # type: ignore[union-attr]
        "dist": record.geometry.dist, "uid": record.uid,
    }  # fmt: skip
    assert station.shutter.moves == ["open", "closed"]


def _read(geometry: GeometryDevice) -> Any:
    import bluesky.plan_stubs as bps

    dist = yield from bps.rd(geometry.dist)
    uid = yield from bps.rd(geometry.calibration_uid)
    return {"dist": dist, "uid": uid}


def test_nothing_needs_to_be_known(
    run_engine: RunEngine, make_station: Callable[..., Station]
) -> None:
    """Without an oracle."""
    outcome = calibrated(run_engine, make_station(), exposure_time=10.0)
    assert outcome.verdict == "accepted", outcome.reasons
    found = outcome.calibration.geometry
    assert found is not None
    off = (found.two_theta() - still(0.0).two_theta()) * 0.1 / 172e-6
    assert np.sqrt(np.mean(off**2)) < 0.05  # pixels


def test_it_is_exposed_until_the_rings_are_good(
    run_engine: RunEngine, station: Station, oracle: Oracle, documents: Documents
) -> None:
    station.beamline.rate = 30.0
    calibrated(run_engine, station, exposure_time=0.1, max_exposure=20.0)
    times = [seconds for seconds, _ in station.beamline.taken[1:]]
    assert times[0] == 0.1
    assert times == sorted(times)
    assert 1.0 <= times[-1] <= 20.0
    (event,) = documents.events("calibration")
    assert event["calibration-frame"] == len(times) >= 2
    assert event["calibration-exposure_time"] == times[-1]
    assert event["calibration-photons"] > 1e5
    assert oracle.calls[0]["image"].dtype == np.uint16
    assert len(documents.events("primary")) == len(times)


def test_a_bright_one_is_exposed_for_less(run_engine: RunEngine, station: Station) -> None:
    station.beamline.rate = 1e6
    calibrated(run_engine, station, exposure_time=1.0)
    times = [seconds for seconds, _ in station.beamline.taken[1:]]
    assert times[0] == 1.0
    assert times[-1] < 0.2


def test_it_is_exposed_no_longer_than_allowed(run_engine: RunEngine, station: Station) -> None:
    station.beamline.rate = 3.0
    calibrated(run_engine, station, exposure_time=0.5, max_exposure=2.0)
    assert max(seconds for seconds, _ in station.beamline.taken[1:]) == 2.0


def test_darks_are_taken_with_closed_shutter_and_subtracted(
    run_engine: RunEngine, station: Station, oracle: Oracle, documents: Documents
) -> None:
    station.beamline.rate = 1000.0
    outcome = calibrated(run_engine, station, darks=3)
    assert [closed for _, closed in station.beamline.taken[1:]] == [False, True, True, True]
    assert len(documents.events("dark")) == 3
    image = oracle.calls[0]["image"]
    calibrated(run_engine, station)
    structure = (oracle.calls[1]["image"] - image).mean(axis=1)
    assert structure[:60].mean() - structure[60:].mean() == pytest.approx(20.0, abs=1.0)
    assert (image >= 0).mean() > 0.9999  # no noise is cut off
    assert outcome.calibration.geometry is not None
    assert outcome.calibration.geometry.dist == pytest.approx(0.1, rel=2e-4)


@pytest.mark.usefixtures("plain_report")
def test_what_somebody_must_look_at_is_a_candidate(
    run_engine: RunEngine, station: Station, oracle: Oracle, store: DirectoryStore
) -> None:
    oracle.verdict, oracle.reasons = "review", ("A ring does not belong.",)
    with init_devices():
        geometry = GeometryDevice("geometry")
    outcome = calibrated(run_engine, station, store=store, geometry_device=geometry)
    assert (outcome.verdict, outcome.status) == ("review", "candidate")
    assert store.get(outcome.record_uid).status == "candidate"
    assert store.latest("det", datetime.now(UTC)) is None
    assert run_engine(_read(geometry)).plan_result["uid"] == ""  # type: ignore[union-attr]


@pytest.mark.usefixtures("plain_report")
@pytest.mark.parametrize("yes", [True, False])
def test_somebody_may_say_yes_at_once(
    run_engine: RunEngine, station: Station, oracle: Oracle, store: DirectoryStore, yes: bool
) -> None:
    oracle.verdict = "review"
    asked: list[str] = []

    def confirm(calibration: Any) -> bool:
        asked.append(calibration.verdict)
        return yes

    outcome = calibrated(run_engine, station, store=store, confirm=confirm)
    assert asked == ["review"]
    record = store.get(outcome.record_uid)
    assert record.status == outcome.status == ("accepted" if yes else "candidate")
    assert [one.why for one in record.history] == ["confirmed in the plan"] * yes
    with init_devices():
        geometry = GeometryDevice("geometry")
    outcome = calibrated(
        run_engine, station, store=store, confirm=confirm, geometry_device=geometry
    )
    uid = run_engine(_read(geometry)).plan_result["uid"]  # type: ignore[union-attr]
    assert uid == (outcome.record_uid if yes else "")


@pytest.mark.usefixtures("plain_report")
def test_who_is_asked_can_look_at_the_report_first(
    run_engine: RunEngine, station: Station, oracle: Oracle, store: DirectoryStore, tmp_path: Path
) -> None:
    oracle.verdict, oracle.reasons = "review", ("A ring does not belong.",)
    prompts: list[str] = []

    async def answer(msg: Any) -> str:
        prompts.append(msg.kwargs["prompt"])
        (report,) = (tmp_path / "reports").iterdir()
        assert f"The report is {report}." in prompts[-1]
        (record,) = store.records()
        assert record.status == "candidate"
        store.accept(record.uid, why="by somebody else")
        return "Yes"

    run_engine.register_command("input", answer)  # type: ignore[no-untyped-call]
    outcome = calibrated(
        run_engine, station, confirm=True, store=store, report_directory=str(tmp_path / "reports")
    )
    assert outcome.status == "accepted"
    assert [one.why for one in store.get(outcome.record_uid).history] == ["by somebody else"]
    assert prompts[0].startswith("A ring does not belong.\nThe report is ")
    assert prompts[0].endswith("\nUse this calibration from now on? [y/N] ")


@pytest.mark.usefixtures("plain_report")
def test_the_report_is_stored_though_the_folder_cannot_be_written(
    run_engine: RunEngine,
    station: Station,
    store: DirectoryStore,
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
) -> None:
    (tmp_path / "reports").write_text("no folder")
    outcome = calibrated(
        run_engine, station, store=store, report_directory=str(tmp_path / "reports")
    )
    assert (outcome.status, outcome.report) == ("accepted", "")
    assert store.get(outcome.record_uid).files["report.html"].startswith(b"<!")
    assert "The report cannot be written to" in caplog.text


@pytest.mark.parametrize("error", [RecipeError("No matplotlib."), KeyError("font")])
def test_a_calibration_is_kept_though_nothing_can_be_drawn(
    run_engine: RunEngine,
    station: Station,
    store: DirectoryStore,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    error: Exception,
) -> None:
    def broken(*_: object) -> None:
        raise error

    monkeypatch.setattr("bluesky_azint.report.report_images", broken)
    outcome = calibrated(run_engine, station, store=store)
    assert outcome.status == "accepted"
    assert dict(store.get(outcome.record_uid).files) == {}
    assert f"There is no report of the calibration: {error}" in caplog.text


def test_a_refusal_is_a_clean_end_with_a_run_that_says_why(
    run_engine: RunEngine,
    station: Station,
    oracle: Oracle,
    store: DirectoryStore,
    documents: Documents,
    tmp_path: Path,
) -> None:
    oracle.verdict = "refused"
    outcome = calibrated(run_engine, station, store=store, report_directory=str(tmp_path / "r"))
    assert (outcome.verdict, outcome.status, outcome.record_uid) == ("refused", "", "")
    assert outcome.reasons == ("There are too few rings.",)
    assert store.records() == []
    (stop,) = documents["stop"]
    assert (stop["exit_status"], stop["reason"]) == ("fail", "There are too few rings.")
    (event,) = documents.events("calibration")
    assert event["calibration-reasons"] == "There are too few rings."
    assert outcome.calibration.candidate is not None
    assert np.isnan(event["calibration-dist"])  # nobody must take it up
    assert np.isnan(event["calibration-poni1_sigma"])
    assert Path(outcome.report).exists()


def test_a_refusal_can_stop_a_queue(
    run_engine: RunEngine, station: Station, oracle: Oracle, documents: Documents
) -> None:
    oracle.verdict = "refused"
    with pytest.raises(CalibrationRefused, match=r"calibrate_detector: refused\. There"):
        calibrated(run_engine, station, on_refusal="raise")
    assert [stop["exit_status"] for stop in documents["stop"]] == ["fail"]
    assert len(documents.events("calibration")) == 1


def test_the_shutter_is_closed_when_the_detector_fails(
    run_engine: RunEngine, station: Station, documents: Documents, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def broken() -> None:
        raise OSError("no power")

    monkeypatch.setattr(station.det._acquire_logic, "start_acquiring", broken)
    with pytest.raises((OSError, FailedStatus)):
        calibrated(run_engine, station)
    assert station.shutter.moves == ["open", "closed"]
    assert [stop["exit_status"] for stop in documents["stop"]] == ["fail"]


def test_a_failing_calibration_ends_the_run(
    run_engine: RunEngine, station: Station, documents: Documents, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("bluesky_azint.calibrate", lambda *_, **__: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        calibrated(run_engine, station)
    assert documents["stop"][0]["exit_status"] == "fail"
    assert "zero" in documents["stop"][0]["reason"]


def test_other_callbacks_go_on_and_it_can_be_paused(
    run_engine: RunEngine, station: Station, oracle: Oracle
) -> None:
    oracle.seconds = 0.8
    threading.Timer(0.6, run_engine.request_pause).start()
    with pytest.raises(RunEngineInterrupted):
        calibrated(run_engine, station)
    assert run_engine.state == "paused"
    outcome = run_engine.resume().plan_result  # type: ignore[no-untyped-call]
    assert outcome.verdict == "accepted"
    assert len(oracle.calls) == 1  # not done again


def test_an_abandoned_calibration_ends(
    run_engine: RunEngine, station: Station, oracle: Oracle, documents: Documents
) -> None:
    oracle.seconds = 60.0
    threading.Timer(0.6, run_engine.request_pause).start()
    with pytest.raises(RunEngineInterrupted):
        calibrated(run_engine, station)
    run_engine.abort("enough")  # type: ignore[no-untyped-call]
    assert documents["stop"][0]["exit_status"] == "abort"
    deadline = time.monotonic() + 3.0
    while any("azint-plan" in thread.name for thread in threading.enumerate()):
        assert time.monotonic() < deadline
        time.sleep(0.01)


def test_detectors_of_all_kinds(run_engine: RunEngine, oracle: Oracle, tmp_path: Path) -> None:
    (tmp_path / "frames").mkdir()
    paths = StaticPathProvider(UUIDFilenameProvider(), tmp_path / "frames")
    options: dict[str, Any] = {"counts": 2000.0, "pool": 1}
    with init_devices():
        sim = SimulatedDiffractionDetector(paths, still(0.0), **options)
    classic = ClassicSimulatedDetector(
        tmp_path, still(0.0), name="classic", num_images=2, **options
    )
    oracle.truth = still(0.0)
    for detector in (sim, classic):
        plan = calibrate_detector(detector, energy_kev=30.99605, exposure_time=0.02)
        outcome = run_engine(plan).plan_result  # type: ignore[union-attr]
        assert outcome.calibration.geometry.dist == pytest.approx(0.1, rel=2e-4)
        assert oracle.calls[-1]["detector"] is still(0.0).detector is DETECTOR
    assert oracle.calls[-1]["image"].mean() == pytest.approx(
        2 * oracle.calls[0]["image"].mean(), rel=0.02
    )
    np.save(tmp_path / "frame.npy", oracle.calls[0]["image"])
    with init_devices():
        replay = FrameReplayDetector(paths, [tmp_path / "frame.npy"], model=DETECTOR)
    plan = calibrate_detector(replay, wavelength=WAVELENGTH, exposure_time=0.02)
    outcome = run_engine(plan).plan_result  # type: ignore[union-attr]
    np.testing.assert_array_equal(oracle.calls[-1]["image"], oracle.calls[0]["image"])


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({}, "wavelength, in metres, or energy_kev"),
        ({"wavelength": 1e-10, "energy_kev": 12.4}, "give one of them"),
        ({"energy_kev": 0.0}, "must be positive"),
        ({"energy_kev": -3.0}, "must be positive"),
        ({"energy_kev": 30996.0}, "which no diffraction has"),
        ({"energy_kev": 0.5}, "has no ring at a wavelength"),
        ({"energy_kev": 12.4, "calibrant": "CeO3"}, "no calibrant 'CeO3'"),
        ({"energy_kev": 12.4, "distance": -1.0}, "give a positive distance"),
        ({"energy_kev": 12.4, "on_refusal": "rasie"}, "is none of 'return', 'raise'"),
        ({"energy_kev": 12.4, "darks": 2}, "give the shutter"),
        ({"energy_kev": 12.4, "exposure_time": 5.0, "max_exposure": 1.0}, "5 s, and of 1 s"),
        ({"energy_kev": 12.4, "exposure_time": 0.0}, "must be positive"),
    ],
)
def test_what_makes_no_sense_is_told_before_anything_moves(
    run_engine: RunEngine,
    station: Station,
    documents: Documents,
    options: dict[str, Any],
    message: str,
) -> None:
    with pytest.raises(RecipeError, match=message):
        run_engine(calibrate_detector(station.det, **options))
    assert documents.all == []


@pytest.mark.usefixtures("plain_report")
def test_the_model_must_be_known(
    run_engine: RunEngine, station: Station, store: DirectoryStore, oracle: Oracle
) -> None:
    del station.det.model
    taken = list(station.beamline.taken)
    with pytest.raises(RecipeError, match=r"det\.model"):
        run_engine(calibrate_detector(station.det, wavelength=WAVELENGTH))
    with pytest.raises(GeometryError, match="Pilatsu"):
        run_engine(calibrate_detector(station.det, wavelength=WAVELENGTH, model="Pilatsu1M"))
    assert station.beamline.taken == taken
    station.det.model = DETECTOR
    calibrated(run_engine, station, store=store)
    del station.det.model
    calibrated(run_engine, station, store=str(store.path))
    assert oracle.calls[-1]["detector"].shape == DETECTOR.shape  # as it was the last time


def test_an_image_that_is_not_there_is_told(run_engine: RunEngine, station: Station) -> None:
    with pytest.raises(FrameError, match="shows 0 images"):
        calibrated(run_engine, station, image="other")


def test_a_mask_and_a_former_geometry_can_be_told_by_their_files(
    run_engine: RunEngine, station: Station, oracle: Oracle, tmp_path: Path
) -> None:
    mask = np.zeros(DETECTOR.shape or (), bool)
    mask[:50] = True
    np.save(tmp_path / "mask.npy", mask)
    still(0.0).to_poni(tmp_path / "before.poni")
    calibrated(
        run_engine, station,
        mask=str(tmp_path / "mask.npy"), geometry=str(tmp_path / "before.poni"),
    )  # fmt: skip
    np.testing.assert_array_equal(oracle.calls[0]["mask"], mask)
    assert oracle.calls[0]["geometry"].dist == still(0.0).dist
    np.save(tmp_path / "other.npy", mask[1:])
    with pytest.raises(RecipeError, match=r"has the shape \(239, 260\)"):
        calibrated(run_engine, station, mask=str(tmp_path / "other.npy"))
    with pytest.raises(FormatError, match="no file"):
        calibrated(run_engine, station, mask=str(tmp_path / "none.npy"))
    with pytest.raises(FormatError):
        calibrated(run_engine, station, geometry=str(tmp_path / "none.poni"))
    assert len(oracle.calls) == 1
    assert station.shutter.moves == ["open", "closed"]
