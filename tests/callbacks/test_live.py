"""From a scan to patterns in Tiled, while it runs; and a scan that nothing of it can harm."""

from __future__ import annotations

import itertools
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Self

import bluesky.plan_stubs as bps
import bluesky.plans as bp
import numpy as np
import pytest
from bluesky.utils import MsgGenerator
from ophyd.sim import SynAxis, SynSignal
from ophyd_async.core import StaticPathProvider, UUIDFilenameProvider, init_devices
from tiled.client import from_context, from_uri

from bluesky_azint import Detector, Geometry, Integrator, Recipe
from bluesky_azint.callbacks import (
    EmbeddedTiled,
    LiveReduction,
    ReducedPatterns,
    embedded_tiled,
    reduced_runs,
    restore_run,
)
from bluesky_azint.devices import (
    ClassicSimulatedDetector,
    GeometryDevice,
    SimulatedDiffractionDetector,
)
from bluesky_azint.plans import fly_frames
from bluesky_azint.store import CalibrationRecord, CalibrationStore, DirectoryStore

GEOMETRY = Geometry(
    detector=Detector(2e-3, 2e-3, shape=(120, 100)),
    dist=0.2, poni1=0.11, poni2=0.09, rot1=0.1, wavelength=0.5e-10,
)  # fmt: skip
RECIPE = Recipe(npt=300, error_model="poisson")
MASK = np.zeros((120, 100), dtype=bool)
MASK[50:55] = True
RECORD = CalibrationRecord(
    detector="det", geometry=GEOMETRY, mask=MASK, valid_from=datetime(2020, 1, 1, tzinfo=UTC)
)

MakeDetector = Callable[..., Any]


@pytest.fixture
def store(tmp_path: Path) -> DirectoryStore:
    """With the calibration of the detector."""
    store = DirectoryStore(tmp_path / "calibrations")
    store.save(RECORD)
    return store


@pytest.fixture
def make_detector(run_engine: Any, tmp_path: Path) -> MakeDetector:
    """The simulated detector ``det``; its frames are the same whenever a run begins."""

    def make(exposure_time: float = 0.01, **options: Any) -> SimulatedDiffractionDetector:
        provider = StaticPathProvider(UUIDFilenameProvider(), tmp_path)
        with init_devices():
            detector = SimulatedDiffractionDetector(
                provider, GEOMETRY, name="det", exposure_time=exposure_time, **options
            )
        return detector

    return make


def expected(detector: Any, number: int) -> Any:
    frames = np.stack([detector.source(i) for i in range(number)])
    return Integrator.from_recipe(GEOMETRY, RECIPE, mask=MASK).integrate(frames).intensity


@contextmanager
def reduction(
    run_engine: Any, tiled: EmbeddedTiled, folder: Path, store: CalibrationStore, **options: Any
) -> Iterator[LiveReduction]:
    options = {"recipe": RECIPE, "raw": tiled.raw, **options}
    with LiveReduction(tiled.reduced, directory=folder / "reduced", store=store, **options) as live:
        token = run_engine.subscribe(live)
        yield live
        run_engine.unsubscribe(token)


def same(found: Any, expected: Any) -> None:
    """Equal but for rounding: how frames come together decides in which order they are summed."""
    np.testing.assert_allclose(np.asarray(found), expected, rtol=1e-9)


def scan(detector: Any, points: int) -> MsgGenerator[Any]:
    return bp.scan([detector], SynAxis(name="motor"), 0, 1, points)


def pausing_scan(detector: Any, points: int) -> MsgGenerator[Any]:
    """A scan with a long pause after every fourth frame, in which no document comes."""
    numbers = itertools.count(1)

    def step(detectors: Any, step: Any, pos_cache: Any) -> MsgGenerator[None]:
        yield from bps.one_nd_step(detectors, step, pos_cache)
        if next(numbers) % 4 == 0:
            yield from bps.sleep(2.5)

    plan: Any = bp.scan
    steps: MsgGenerator[Any] = plan([detector], SynAxis(name="motor"), 0, 1, points, per_step=step)
    return steps


class Watcher:
    """Looks for the patterns of a run, all the time, as a user elsewhere would."""

    def __init__(self, uri: str) -> None:
        self.uri = uri
        self.raw_uid = ""
        self.measured: list[float] = []
        self.seen: list[float] = []
        self.stopped = float("inf")
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._watch)

    def __call__(self, name: str, doc: Any) -> None:
        if name == "start":
            self.raw_uid = doc["uid"]
        elif name == "event":
            self.measured.append(time.monotonic())
        elif name == "stop":
            self.stopped = time.monotonic()

    def _watch(self) -> None:
        with from_uri(self.uri).context as context:
            intensity = None
            while not self._ended.wait(0.1):
                try:
                    if intensity is None:
                        (run,) = reduced_runs(from_context(context)["reduced"], self.raw_uid)
                        intensity = run.base["primary"].base["intensity"]
                    number = len(intensity.refresh())
                except (KeyError, ValueError):
                    continue  # it is not there yet
                self.seen += [time.monotonic()] * (number - len(self.seen))

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        self._thread.join()


def watched_scan(run_engine: Any, live: LiveReduction, uri: str, detector: Any) -> Watcher:
    with Watcher(uri) as watcher:
        token = run_engine.subscribe(watcher)
        run_engine(pausing_scan(detector, 9))
        run_engine.unsubscribe(token)
        assert live.flush(60)
        time.sleep(0.5)  # for a last look
    return watcher


def test_patterns_are_in_tiled_while_the_scan_runs(
    run_engine: Any,
    make_detector: MakeDetector,
    tiled: EmbeddedTiled,
    store: DirectoryStore,
    tmp_path: Path,
) -> None:
    detector = make_detector(exposure_time=0.2)
    lags = []
    with reduction(run_engine, tiled, tmp_path, store) as live:
        run_engine(scan(detector, 2))  # the first run loads libraries, here and in the server
        assert live.flush(60)
        for _ in range(4):  # a machine that runs tests is busy with others at times
            watcher = watched_scan(run_engine, live, tiled.uri, detector)
            lags.append(max(np.subtract(watcher.seen, watcher.measured)))
            if lags[-1] < 2.0:
                break
    assert len(watcher.seen) == len(watcher.measured) == 9
    assert min(lags) < 2.0
    assert watcher.seen[7] < watcher.stopped
    (run,) = reduced_runs(tiled.reduced, watcher.raw_uid)
    same(run.patterns["intensity"], expected(detector, 9))
    assert run.start["calibration_uid"] == RECORD.uid


def inline_detector(source: Callable[[int], Any]) -> SynSignal:
    """The frames of a source inside of events."""
    numbers = itertools.count(-1)  # the signal takes one at once, which describes the others
    return SynSignal(name="det", func=lambda: source(max(next(numbers), 0)))


def test_listeners_have_the_patterns_inside_of_events(
    run_engine: Any,
    make_detector: MakeDetector,
    tiled: EmbeddedTiled,
    store: DirectoryStore,
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
) -> None:
    def broken(name: str, doc: Any) -> None:
        raise RuntimeError("A bug in a listener.")

    detector, patterns = make_detector(), ReducedPatterns()
    listeners = [broken, patterns]
    with reduction(run_engine, tiled, tmp_path, store, listeners=listeners) as live:
        (uid,) = run_engine(scan(detector, 3)).run_start_uids
        reference = expected(detector, 3)
        for number in (1, 2, 3):
            same(patterns.wait(uid, number).intensity, reference[number - 1])
        assert live.flush(60)
    assert "A bug in a listener." in caplog.text
    (run,) = reduced_runs(tiled.reduced, uid)
    same(run.patterns["intensity"], reference)


def test_all_transports_give_the_same_patterns(
    run_engine: Any,
    make_detector: MakeDetector,
    tiled: EmbeddedTiled,
    store: DirectoryStore,
    tmp_path: Path,
) -> None:
    streaming = make_detector()
    classic = {
        kind: ClassicSimulatedDetector(
            tmp_path / kind, GEOMETRY, name="det", exposure_time=0.01, file_format=kind
        )
        for kind in ("hdf5", "tiff")
    }
    detectors = [streaming, *classic.values(), inline_detector(streaming.source)]
    with reduction(run_engine, tiled, tmp_path, store) as live:
        uids = [run_engine(bp.count([detector], 5)).run_start_uids[0] for detector in detectors]
        assert live.flush(60)
    reference = expected(streaming, 5)
    for uid in uids:
        (run,) = reduced_runs(tiled.reduced, uid)
        same(run.patterns["intensity"], reference)
        assert run.metadata["stop"]["exit_status"] == "success"


def test_a_fast_fly_scan_arrives_complete(
    run_engine: Any,
    make_detector: MakeDetector,
    tiled: EmbeddedTiled,
    store: DirectoryStore,
    tmp_path: Path,
) -> None:
    detector = make_detector()
    with reduction(run_engine, tiled, tmp_path, store) as live:
        (uid,) = run_engine(fly_frames([detector], 200, 100.0)).run_start_uids
        assert live.flush(60)
    (run,) = reduced_runs(tiled.reduced, uid)
    assert run.metadata["stop"]["exit_status"] == "success"
    same(run.patterns["intensity"], expected(detector, 200))
    assert run.patterns.coords["raw_seq_num"].values.tolist() == list(range(1, 201))


def test_the_geometry_in_the_documents_is_taken(
    run_engine: Any,
    make_detector: MakeDetector,
    tiled: EmbeddedTiled,
    store: DirectoryStore,
    tmp_path: Path,
) -> None:
    moved = replace(RECORD, uid="moved", geometry=replace(GEOMETRY, dist=0.3))
    store.save(replace(moved, valid_from=datetime(2999, 1, 1, tzinfo=UTC)))  # not the latest
    with init_devices():
        geometry = GeometryDevice(name="geometry")
    detector = make_detector(geometry_device=geometry)

    def plan() -> MsgGenerator[Any]:
        yield from bps.mv(geometry, moved)
        yield from bp.count([detector], 2)

    with reduction(run_engine, tiled, tmp_path, store) as live:
        (uid,) = run_engine(plan()).run_start_uids
        assert live.flush(30)
    (run,) = reduced_runs(tiled.reduced, uid)
    assert run.geometry.dist == 0.3
    assert run.start["calibration_uid"] == "moved"


def check_raw(tiled: EmbeddedTiled, result: Any, points: int) -> str:
    """The raw run is whole; its uid."""
    assert result.exit_status == "success"
    (uid,) = result.run_start_uids
    stop = tiled.raw[uid].metadata["stop"]
    assert (stop["exit_status"], stop["num_events"]) == ("success", {"primary": points})
    assert len(tiled.raw[uid]["primary"]["motor"].read()) == points
    return str(uid)


def broken_integration(monkeypatch: pytest.MonkeyPatch) -> None:
    def integrate(*_: object, **__: object) -> None:
        raise RuntimeError("A bug in the integration.")

    monkeypatch.setattr(Integrator, "integrate", integrate)


def broken_reducer(monkeypatch: pytest.MonkeyPatch) -> None:
    def call(*_: object) -> None:
        raise RuntimeError("A bug in the reducer.")

    monkeypatch.setattr("bluesky_azint.callbacks.reducer.Reducer.__call__", call)


@pytest.mark.parametrize(
    ("options", "breakage", "told"),
    [
        ({}, broken_integration, "A bug in the integration."),
        ({}, broken_reducer, "A bug in the reducer."),
        ({"default": replace(GEOMETRY, wavelength=None)}, None, "q_A^-1 needs a wavelength"),
        ({"default": GEOMETRY, "engine": "abacus"}, None, "There is no engine 'abacus'"),
        ({"default": None}, None, "There is no calibration of the detector 'det'"),
    ],
    ids=["integration", "reducer", "recipe", "engine", "empty store"],
)
def test_a_reduction_that_fails_does_not_touch_the_scan(
    run_engine: Any,
    make_detector: MakeDetector,
    tiled: EmbeddedTiled,
    store: DirectoryStore,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    options: dict[str, Any],
    breakage: Callable[[pytest.MonkeyPatch], None] | None,
    told: str,
) -> None:
    detector = make_detector()
    if breakage is not None:
        breakage(monkeypatch)
    if options:
        store = DirectoryStore(tmp_path / "empty")
    with reduction(run_engine, tiled, tmp_path, store, **options) as live:
        result = run_engine(scan(detector, 4))
        assert live.flush(30)
    uid = check_raw(tiled, result, 4)
    assert told in caplog.text
    if breakage is not broken_reducer:
        (run,) = reduced_runs(tiled.reduced, uid)
        stop = run.metadata["stop"]
        assert stop["exit_status"] == "fail"
        assert "4 of 4 (1-4)" in stop["reason"]
        assert told in stop["reason"]


def test_a_tiled_server_that_dies_costs_nothing(
    run_engine: Any,
    make_detector: MakeDetector,
    store: DirectoryStore,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    monkeypatch.setattr("tiled.client.utils.TILED_RETRY_ATTEMPTS", 3)
    detector = make_detector()
    durations = []

    def timed_scan() -> Any:
        start = time.monotonic()
        result = run_engine(scan(detector, 8))
        durations.append(time.monotonic() - start)
        return result

    with (
        embedded_tiled(tmp_path / "tiled", readable_storage=[tmp_path]) as tiled,
        reduction(run_engine, tiled, tmp_path, store) as live,
    ):
        timed_scan()
        assert live.flush(60)

        def die(name: str, doc: Any) -> None:
            if name == "event" and doc["seq_num"] == 4:
                tiled.process.kill()

        token = run_engine.subscribe(die)
        result = timed_scan()
        run_engine.unsubscribe(token)
        assert live.flush(60)
    assert result.exit_status == "success"
    assert durations[1] < durations[0] + 2.0
    (uid,) = result.run_start_uids
    assert f"{uid}.jsonl" in caplog.text
    backups = list((tmp_path / "reduced" / "backup").iterdir())
    assert len(backups) == 2

    with embedded_tiled(tmp_path / "tiled", readable_storage=[tmp_path]) as tiled:
        for path in backups:
            restore_run(path, tiled.raw if path.stem == uid else tiled.reduced)
        check_raw(tiled, result, 8)
        (run,) = reduced_runs(tiled.reduced, uid)
        same(run.patterns["intensity"], expected(detector, 8))
