"""The simulated detector in the hands of a RunEngine."""

from __future__ import annotations

import logging
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import bluesky.plan_stubs as bps
import bluesky.plans as bp
import bluesky.preprocessors as bpp
import numpy as np
import pytest
from bluesky import FailedStatus, RunEngine
from bluesky.callbacks.best_effort import BestEffortCallback
from bluesky.utils import MsgGenerator, RunEngineInterrupted
from numpy.typing import NDArray
from ophyd_async.core import (
    PathProvider,
    StaticFilenameProvider,
    StaticPathProvider,
    TriggerInfo,
    init_devices,
)
from ophyd_async.sim import SimMotor

from bluesky_azint import Integrator
from bluesky_azint.calibrants import calibrant
from bluesky_azint.devices import GeometryDevice, SimulatedDiffractionDetector
from bluesky_azint.devices.streaming import FrameStream
from bluesky_azint.geometry import Geometry

if TYPE_CHECKING:
    from tests.devices.conftest import Documents


@pytest.fixture
def detector(
    run_engine: RunEngine, path_provider: PathProvider, geometry: Geometry
) -> SimulatedDiffractionDetector:
    """The detector."""
    with init_devices():
        sim = SimulatedDiffractionDetector(path_provider, geometry, exposure_time=0.01)
    return sim


def simulated(detector: SimulatedDiffractionDetector, number: int) -> NDArray[Any]:
    """The first frames of a run, as the source has them."""
    return np.stack([detector.source(n) for n in range(number)])


def fly(detector: SimulatedDiffractionDetector, trigger: TriggerInfo) -> MsgGenerator[None]:
    """A fly scan, as others write it."""

    def inner() -> MsgGenerator[None]:
        yield from bps.prepare(detector, trigger, wait=True)
        yield from bps.declare_stream(detector, name="primary", collect=True)
        yield from bps.kickoff_all(detector, wait=True)
        yield from bps.collect_while_completing([detector], [detector], 0.1, "primary")

    run = bpp.run_wrapper(inner())  # type: ignore[no-untyped-call]
    yield from bpp.stage_wrapper(run, [detector])  # type: ignore[no-untyped-call]


def test_a_step_scan(
    run_engine: RunEngine, documents: Documents, detector: SimulatedDiffractionDetector
) -> None:
    with init_devices():
        motor = SimMotor(instant=True)
    run_engine(bp.scan([detector], motor, 0, 1, 5))
    assert documents.only("stop")["exit_status"] == "success"
    assert documents.only("descriptor")["data_keys"]["sim"]["shape"] == [1, 190, 230]
    assert documents.only("descriptor")["data_keys"]["sim"]["dtype_numpy"] == "<u4"
    assert len(documents["event"]) == 5
    assert [d["indices"] for d in documents["stream_datum"]] == [
        {"start": i, "stop": i + 1} for i in range(5)
    ]
    np.testing.assert_array_equal(documents.frames(), simulated(detector, 5))


def test_every_run_has_a_file_of_its_own(
    run_engine: RunEngine, documents: Documents, detector: SimulatedDiffractionDetector
) -> None:
    run_engine(bp.count([detector], 2))
    first = documents.frames()
    documents.all.clear()
    run_engine(bp.count([detector], 2))
    np.testing.assert_array_equal(documents.frames(), first)  # which begins again with frame 0


def test_a_fly_scan_of_200_frames_at_100_hz(
    run_engine: RunEngine, documents: Documents, detector: SimulatedDiffractionDetector
) -> None:
    start = time.monotonic()
    run_engine(fly(detector, TriggerInfo(number_of_events=200, livetime=0.008, deadtime=0.002)))
    assert 2.0 <= time.monotonic() - start < 4.0
    assert documents["event"] == []
    stops = [d["indices"]["stop"] for d in documents["stream_datum"]]
    starts = [d["indices"]["start"] for d in documents["stream_datum"]]
    assert starts == [0, *stops[:-1]]  # none missing, none twice
    assert stops[-1] == 200
    assert len(stops) > 5  # they are told while the scan runs
    np.testing.assert_array_equal(documents.frames(), simulated(detector, 200))
    assert (
        documents.only("descriptor")["configuration"]["sim"]["data"]["sim-exposure_time"] == 0.008
    )


def test_several_frames_per_event(
    run_engine: RunEngine, documents: Documents, detector: SimulatedDiffractionDetector
) -> None:
    run_engine(fly(detector, TriggerInfo(number_of_events=6, collections_per_event=4)))
    assert documents.only("descriptor")["data_keys"]["sim"]["shape"] == [4, 190, 230]
    assert max(d["indices"]["stop"] for d in documents["stream_datum"]) == 6
    np.testing.assert_array_equal(documents.frames(), simulated(detector, 24))


def test_rings_are_where_the_geometry_says(
    run_engine: RunEngine,
    documents: Documents,
    detector: SimulatedDiffractionDetector,
    geometry: Geometry,
) -> None:
    run_engine(bp.count([detector], 20))
    integrator = Integrator(geometry, npt=1000, unit="2th_deg", polarization_factor=0.99)
    pattern = integrator.integrate(documents.frames()).intensity.mean(axis=0)
    assert geometry.wavelength is not None
    for two_theta in np.rad2deg(calibrant("CeO2").two_theta(geometry.wavelength))[:5]:
        near = abs(integrator.integrate(documents.frames()[0]).radial - two_theta) < 0.1
        radial = integrator.integrate(documents.frames()[0]).radial[near]
        curve = np.polyfit(radial - two_theta, np.log(pattern[near]), 2)
        assert -curve[1] / (2 * curve[0]) == pytest.approx(0.0, abs=0.003)  # degrees: 0.03 pixels


def test_the_geometry_is_in_the_descriptor(
    run_engine: RunEngine, documents: Documents, path_provider: PathProvider, geometry: Geometry
) -> None:
    with init_devices():
        where = GeometryDevice()
        detector = SimulatedDiffractionDetector(path_provider, geometry, geometry_device=where)
    run_engine(bps.mv(where, geometry))
    run_engine(fly(detector, TriggerInfo(number_of_events=2, livetime=0.01)))
    data = documents.only("descriptor")["configuration"]["detector"]["data"]
    assert data["where-dist"] == 0.1
    assert data["where-rot3"] == 0.7


def test_the_best_effort_callback_has_nothing_to_say(
    run_engine: RunEngine,
    detector: SimulatedDiffractionDetector,
    capsys: pytest.CaptureFixture[str],
) -> None:
    callback = BestEffortCallback()  # type: ignore[no-untyped-call]
    callback.disable_plots()  # type: ignore[no-untyped-call]
    run_engine(bp.count([detector], 2), callback)  # warnings are errors
    assert "New stream: 'primary'" in capsys.readouterr().out


def test_a_run_that_is_aborted_is_closed(
    run_engine: RunEngine, documents: Documents, detector: SimulatedDiffractionDetector
) -> None:
    threading.Timer(0.5, run_engine.abort).start()
    with pytest.raises(RunEngineInterrupted):
        run_engine(fly(detector, TriggerInfo(number_of_events=0, livetime=0.01)))
    assert documents.only("stop")["exit_status"] == "abort"
    written = documents.frames()  # closed, nobody writes to it any more
    assert 5 < len(written) < 60
    documents.all.clear()
    run_engine(bp.count([detector], 2))
    assert documents.only("stop")["exit_status"] == "success"


def test_a_pause_loses_nothing(
    run_engine: RunEngine, documents: Documents, detector: SimulatedDiffractionDetector
) -> None:
    def plan() -> MsgGenerator[None]:
        yield from bps.trigger_and_read([detector])
        yield from bps.checkpoint()
        yield from bps.trigger_and_read([detector])
        if run_engine.state == "running" and not paused:
            paused.append(True)
            yield from bps.pause()
        yield from bps.trigger_and_read([detector])

    paused: list[bool] = []
    run = bpp.stage_wrapper(bpp.run_wrapper(plan()), [detector])  # type: ignore[no-untyped-call]
    with pytest.raises(RunEngineInterrupted):
        run_engine(run)
    assert run_engine.state == "paused"
    run_engine.resume()  # type: ignore[no-untyped-call]
    assert documents.only("stop")["exit_status"] == "success"
    assert [event["seq_num"] for event in documents["event"]] == [1, 2, 2, 3]


def test_a_detector_that_cannot_keep_up_says_so(
    run_engine: RunEngine,
    detector: SimulatedDiffractionDetector,
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    draw = detector.source._draw

    def slowly(chance: np.random.Generator) -> NDArray[Any]:
        time.sleep(0.05)
        return draw(chance)

    detector.source.pool = 0
    monkeypatch.setattr(detector.source, "_draw", slowly)
    run_engine(fly(detector, TriggerInfo(number_of_events=20, livetime=0.005)))
    (record,) = caplog.records
    assert record.levelno == logging.WARNING
    assert "s late: frames take longer to make and write than the 0.005 s between" in record.message


def test_a_disk_that_is_full_fails_the_run_and_is_told(
    run_engine: RunEngine,
    documents: Documents,
    detector: SimulatedDiffractionDetector,
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def fail(*_: object) -> None:
        raise OSError("No space left on device")

    monkeypatch.setattr("bluesky_azint.devices.hdf5.FrameFile.write", fail)
    with pytest.raises(FailedStatus):
        run_engine(
            fly(detector, TriggerInfo(number_of_events=2, livetime=0.01, exposure_timeout=0.2))
        )
    assert documents.only("stop")["exit_status"] == "fail"
    assert "Frame 1 of" in caplog.text
    assert "No space left on device" in caplog.text


def test_a_name_that_is_taken_fails_the_run(
    run_engine: RunEngine, tmp_path: Path, straight: Geometry
) -> None:
    with init_devices():
        detector = SimulatedDiffractionDetector(
            StaticPathProvider(StaticFilenameProvider("same"), tmp_path),
            straight,
            exposure_time=0.01,
        )
    run_engine(bp.count([detector]))
    with pytest.raises(FailedStatus) as failure:
        run_engine(bp.count([detector]))
    assert "Data is never written over" in str(failure.value.__cause__)


def test_frames_before_a_file_are_refused(geometry: Geometry) -> None:
    stream = FrameStream(None, 0.1, compress=True)  # type: ignore[arg-type]
    with pytest.raises(RuntimeError, match="prepare the detector"):
        stream.start()
