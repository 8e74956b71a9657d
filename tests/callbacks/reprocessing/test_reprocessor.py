"""Runs that are reduced once more have the patterns of the live ones, to the last bit."""

from __future__ import annotations

import os
import pickle
from collections.abc import Callable, Collection, Mapping
from concurrent.futures import Executor, Future
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
from distributed import LocalCluster
from event_model import pack_event_page

from bluesky_azint import Recipe
from bluesky_azint.callbacks import Reducer
from bluesky_azint.callbacks.companions.companions import Companions
from bluesky_azint.callbacks.companions.config import CompanionsConfig, DarkConfig, Quantity
from bluesky_azint.callbacks.reprocessing.backfill import look
from bluesky_azint.callbacks.reprocessing.pools import dask_pool, local_pool
from bluesky_azint.callbacks.reprocessing.reprocessor import Reprocessor
from bluesky_azint.callbacks.reprocessing.tasks import Job
from bluesky_azint.errors import EngineError
from bluesky_azint.store import CalibrationRecord, DirectoryStore
from tests.callbacks.made_runs import COLUMNS, GEOMETRY, ROWS, MadeRun, made_frames

RECIPES = {
    "pattern": Recipe(npt=50, unit="q_nm^-1", error_model="poisson"),
    "cake": Recipe(npt=20, npt_azim=4, unit="q_nm^-1"),
}
JOB = Job(recipes=RECIPES, engine="scipy", timeout=0)
FRAMES = made_frames(9)

Document = Mapping[str, Any]


class Inline(Executor):
    """Runs tasks when they are submitted."""

    def __init__(self) -> None:
        self.tasks = 0

    def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future[Any]:
        self.tasks += 1
        future: Future[Any] = Future()
        try:
            fn, args = pickle.loads(pickle.dumps((fn, args)))
            future.set_result(pickle.loads(pickle.dumps(fn(*args, **kwargs))))
        except Exception as error:  # noqa: BLE001  as executors do
            future.set_exception(error)
        return future


class Emitted:
    """Takes the documents of reduced runs, and reads their files."""

    def __init__(self) -> None:
        self.documents: list[tuple[str, Document]] = []

    def __call__(self, name: str, doc: Document) -> None:
        self.documents.append((name, doc))

    def of(self, name: str) -> list[Document]:
        return [doc for kind, doc in self.documents if kind == name]

    def columns(self) -> dict[tuple[str, str], Any]:
        """All columns of all files, by name of the stream and place in the file."""
        streams = {doc["uid"]: doc["name"] for doc in self.of("descriptor")}
        names = {
            doc["stream_resource"]: streams[doc["descriptor"]] for doc in self.of("stream_datum")
        }
        found: dict[tuple[str, str], Any] = {}
        for doc in self.of("stream_resource"):
            with h5py.File(doc["uri"].removeprefix("file://localhost")) as file:
                for group in ("data", "sums", "frames"):
                    for name, dataset in file[f"entry/{group}"].items():
                        found[names[doc["uid"]], f"{group}/{name}"] = dataset[()]
        return found


def live(run: MadeRun, folder: Path, **options: Any) -> Emitted:
    """The live reduction of a run."""
    emitted = Emitted()
    usual: dict[str, Any] = {"recipes": RECIPES, "engine": "scipy", "timeout": 0}
    usual |= {"default": GEOMETRY, "directory": folder / "live"}
    with Reducer(emitted, **{**usual, **options}) as reducer:
        for name, doc in run.documents:
            reducer(name, doc)
    return emitted


def reprocessor(
    emit: Emitted, executor: Executor, folder: Path, workers: int = 2, **options: Any
) -> Reprocessor:
    usual: dict[str, Any] = {"job": JOB, "directory": folder / "again", "default": GEOMETRY}
    return Reprocessor(emit, executor, workers=workers, **{**usual, **options})


def again(
    run: MadeRun, folder: Path, executor: Executor, workers: int = 2, **options: Any
) -> Emitted:
    """The reduction of a run by workers."""
    emitted = Emitted()
    with reprocessor(emitted, executor, folder, workers, **options) as work:
        work.reduce(run.documents)
    return emitted


def check_same(one: Emitted, other: Emitted, *, but: Collection[str] = ()) -> None:
    expected, found = one.columns(), other.columns()
    assert found.keys() == expected.keys()
    for (stream, place), values in expected.items():
        if place not in but:
            assert np.array_equal(found[stream, place], values, equal_nan=True), (stream, place)
    assert np.isfinite(expected["primary", "data/I"]).all()
    (stop,) = other.of("stop")
    assert stop["exit_status"] == "success", stop["reason"]


def inline_run() -> MadeRun:
    run = MadeRun()
    bundle = run.describe(external=None, shape=(ROWS, COLUMNS))
    for number, frame in enumerate(FRAMES):
        run.event(bundle, number + 1, det=frame)
    run.stop()
    return run


def file_run(path: Path, frames: int = 6) -> MadeRun:
    """Two frames per event, from a file."""
    run = MadeRun()
    bundle = run.describe(shape=(2, ROWS, COLUMNS))
    run.rows(bundle, run.file(path, FRAMES[:frames]), range(1, 4))
    run.stop()
    return run


def test_frames_inside_of_events(tmp_path: Path) -> None:
    run, executor = inline_run(), Inline()
    check_same(live(run, tmp_path), again(run, tmp_path, executor))
    assert executor.tasks == 5  # of two frames, the last of one


def test_what_belongs_to_frames(tmp_path: Path) -> None:
    run = MadeRun()
    number: Any = {"source": "made", "dtype": "number", "shape": []}
    dark = run.describe("dark", external=None, shape=(ROWS, COLUMNS))
    for seq_num in (1, 2):
        run.event(dark, seq_num, det=FRAMES[seq_num] // 10)
    bundle = run.describe(external=None, shape=(ROWS, COLUMNS), keys={"i0": number})
    for seq_num, frame in enumerate(FRAMES, start=1):
        run.event(bundle, seq_num, det=frame, i0=seq_num / 7)
    run.event(dark, 3, det=FRAMES[0] // 10)
    run.stop()
    config = CompanionsConfig(monitor=(Quantity(key="i0"),), dark=DarkConfig())
    expected = live(run, tmp_path, companions=Companions(config))
    plain = live(run, tmp_path / "plain").columns()
    changed = expected.columns()["primary", "data/I"] / plain["primary", "data/I"]
    assert changed[6:].max() < 0.95
    assert changed[:6].min() > 1.05
    job = replace(JOB, companions={"": config}, darks=tmp_path / "darks")
    found = again(run, tmp_path, Inline(), job=job)
    check_same(expected, found)
    told = [
        emitted.of("descriptor")[0]["configuration"]["azint"]["data"]
        for emitted in (expected, found)
    ]
    assert told[0].get("conditions") == told[1].get("conditions")
    assert "i0" in told[1]["conditions"]
    options = {"recipes": RECIPES, "directory": tmp_path / "seen", "companions": Companions(config)}
    assert look(run.documents, default=GEOMETRY, **options)["det"].frames == 9


def test_pages_of_events(tmp_path: Path) -> None:
    run = inline_run()
    events: Any = [doc for name, doc in run.documents if name == "event"]
    page: Any = pack_event_page(*events)
    expected = live(run, tmp_path)
    run.documents[2:-1] = [("event_page", page)]
    check_same(expected, again(run, tmp_path, Inline()))


def test_a_rewound_run_whose_calibration_changes(tmp_path: Path) -> None:
    store = DirectoryStore(tmp_path / "store")
    records = [
        CalibrationRecord(
            detector="camera",
            geometry=replace(GEOMETRY, dist=dist),
            valid_from=datetime(2020, 1, 1, tzinfo=UTC),
            status="candidate",
        )
        for dist in (0.1, 0.2)
    ]
    for record in records:
        store.save(record)
    run = MadeRun()
    resource = None
    for record, seq_nums in zip(records, (range(1, 4), range(3, 5)), strict=True):
        bundle = run.describe(calibration_uid=record.uid)
        resource = resource or run.file(tmp_path / "a.h5", FRAMES)
        run.rows(bundle, resource, seq_nums)
    run.stop()
    expected = live(run, tmp_path, store=store)
    assert "primary_2" in {stream for stream, _ in expected.columns()}
    # Of stream documents, the live reduction takes the time at which they come.
    found = again(run, tmp_path, Inline(), store=store)
    check_same(expected, found, but=["frames/timestamp"])
    # In their place, a geometry that is known better now.
    found = again(run, tmp_path / "better", Inline(), store=store, given=GEOMETRY)
    assert {stream for stream, _ in found.columns()} == {"primary", "primary_cake"}
    (start,) = found.of("start")
    assert start["calibration_origin"] == "given for this reduction"
    assert start["parent_uids"] == [run.uid]


def test_what_cannot_be_read_is_told(tmp_path: Path) -> None:
    run = file_run(tmp_path / "short.h5", frames=5)
    emitted, executor = Emitted(), Inline()
    with reprocessor(emitted, executor, tmp_path) as work:
        work.reduce(run.documents)
    (stop,) = emitted.of("stop")
    assert stop["exit_status"] == "fail"
    assert "without a pattern: 1 of 3 (3)" in stop["reason"]
    assert "short.h5::/entry/data/data does not give frame 5" in stop["reason"]
    patterns = emitted.columns()["primary", "data/I"]
    assert np.isfinite(patterns).all(axis=1).tolist() == [True] * 5 + [False]
    (done,) = work.done
    assert (done.raw_uid, done.frames, done.reduced) == (run.uid, 6, 5)
    assert done.exit_status == "fail"


def test_without_a_calibration_nothing_is_given_out(tmp_path: Path) -> None:
    executor = Inline()
    emitted = again(inline_run(), tmp_path, executor, default=None)
    (stop,) = emitted.of("stop")
    assert "There is no calibration of the detector 'camera'" in stop["reason"]
    assert executor.tasks == 0


def test_a_run_without_an_end_fails(tmp_path: Path) -> None:
    run = inline_run()
    del run.documents[-1]
    emitted = again(run, tmp_path, Inline())
    (stop,) = emitted.of("stop")
    assert stop["exit_status"] == "fail"
    assert np.isfinite(emitted.columns()["primary", "data/I"]).all()


def test_no_more_tasks_are_under_way_than_keep_the_workers_busy(tmp_path: Path) -> None:
    counts: list[int] = []

    class Waiting(Inline):
        def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future[Any]:
            counts.append(work._under_way())
            return super().submit(fn, *args, **kwargs)

    with reprocessor(Emitted(), Waiting(), tmp_path, workers=1) as work:
        for _ in range(3):
            work.reduce(inline_run().documents)
    assert len(counts) == 9
    assert max(counts) == 1


def test_an_interruption_leaves_no_run_that_looks_whole(tmp_path: Path) -> None:
    class Interrupted(Inline):
        def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future[Any]:
            if self.tasks == 3:
                raise KeyboardInterrupt
            self.tasks += 1
            waiting.append(Future())
            return waiting[-1]

    emitted = Emitted()
    waiting: list[Future[Any]] = []
    with pytest.raises(KeyboardInterrupt), reprocessor(emitted, Interrupted(), tmp_path) as work:
        work.reduce(inline_run().documents)
    (stop,) = emitted.of("stop")
    assert stop["exit_status"] == "fail"
    assert "interrupted" in stop["reason"]
    assert all(future.cancelled() for future in waiting)


class Deadly:
    """Ends the process that gets it."""

    def __reduce__(self) -> tuple[Callable[[int], Any], tuple[int]]:
        return os._exit, (1,)


def test_processes_on_this_machine(tmp_path: Path) -> None:
    run = inline_run()
    emitted = Emitted()
    with local_pool(1) as (pool, workers):
        check_same(live(run, tmp_path), again(run, tmp_path, pool, workers))
        run.documents[-1][1]["deadly"] = Deadly()
        with (
            pytest.raises(EngineError, match="ended unexpectedly"),
            reprocessor(emitted, pool, tmp_path / "dying") as work,
        ):
            work.reduce(run.documents)
    (stop,) = emitted.of("stop")
    assert stop["exit_status"] == "fail"
    assert "ended unexpectedly" in stop["reason"]


def test_a_dask_cluster(tmp_path: Path) -> None:
    run = file_run(tmp_path / "a.h5")
    start: Any = LocalCluster  # without types
    with (
        start(n_workers=2, threads_per_worker=1, dashboard_address=":0") as cluster,
        dask_pool(cluster.scheduler_address) as (pool, workers),
    ):
        assert workers == 2
        found = again(run, tmp_path, pool, workers)
    check_same(live(run, tmp_path), found, but=["frames/timestamp"])


def test_a_scheduler_that_is_not_there(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("bluesky_azint.callbacks.reprocessing.pools.CONNECT_SECONDS", 0.2)
    with (
        pytest.raises(EngineError, match="No dask scheduler answers"),
        dask_pool("tcp://127.0.0.1:9"),
    ):
        pass
