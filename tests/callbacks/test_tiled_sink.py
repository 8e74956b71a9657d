"""Runs are in Tiled while they are measured, at little cost, and never at that of a scan."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from uuid import uuid4

import bluesky.plans as bp
import h5py
import httpx
import numpy as np
import pytest
from event_model import compose_run
from numpy.typing import NDArray
from ophyd.sim import SynAxis, SynGauss, SynSignal
from tiled.client import from_uri
from tiled.queries import Key

from bluesky_azint.callbacks import EmbeddedTiled, TiledSink, restore_run
from bluesky_azint.callbacks.backup import read_documents
from bluesky_azint.errors import StoreError

NPT = 20
AXIS = np.linspace(0.5, 5.0, NPT)


class Patterns:
    """A run with patterns in a file and numbers in events, document by document."""

    def __init__(self, sink: Callable[[str, Any], object], path: Path) -> None:
        self.sink = sink
        self.file = h5py.File(path, "w", libver="latest")
        self.file.create_dataset(
            "I", shape=(0, NPT), maxshape=(None, NPT), chunks=(4, NPT), dtype="f4"
        )
        self.file.swmr_mode = True
        self.run = compose_run()
        self.uid = self.run.start_doc["uid"]
        pattern: Any = {"source": "x", "dtype": "array", "shape": [NPT], "dtype_numpy": "<f4"}
        pattern |= {"dims": ["q"], "external": "STREAM:"}
        axis: Any = {"source": "x", "dtype": "array", "shape": [NPT], "dtype_numpy": "<f8"}
        self.descriptor = self.run.compose_descriptor(
            "primary",
            {"I": pattern, "total": {"source": "x", "dtype": "number", "shape": []}},
            configuration={
                "azint": {"data": {"q": AXIS.tolist()}, "timestamps": {}, "data_keys": {"q": axis}}
            },
        )
        make_resource: Any = self.run.compose_stream_resource
        self.resource = make_resource(
            mimetype="application/x-hdf5",
            uri=f"file://localhost{path}",
            data_key="I",
            parameters={"dataset": "I", "chunk_shape": [4, NPT], "swmr": True},
        )
        sink("start", self.run.start_doc)
        sink("descriptor", self.descriptor.descriptor_doc)
        sink("stream_resource", self.resource.stream_resource_doc)

    def row(self) -> None:
        """Another pattern."""
        number = len(self.file["I"])
        self.file["I"].resize(number + 1, axis=0)
        self.file["I"][number] = number
        self.file.flush()
        datum = self.resource.compose_stream_datum(
            {"start": number, "stop": number + 1},
            {"start": number + 1, "stop": number + 2},
            self.descriptor.descriptor_doc,
        )
        self.sink("stream_datum", datum)
        event = self.descriptor.compose_event(
            data={"total": float(number)}, timestamps={"total": 1.0}, validate=False
        )
        self.sink("event", event)

    def stop(self) -> None:
        self.sink("stop", self.run.compose_stop())
        self.file.close()

    @property
    def expected(self) -> NDArray[Any]:
        return np.repeat(np.arange(len(self.file["I"]), dtype="f4"), NPT).reshape(-1, NPT)


class Line:
    """Between a client and its server: counts requests, and can be cut."""

    def __init__(self, client: Any) -> None:
        self.requests: list[tuple[str, str]] = []
        self.cut = False
        client.context.http_client.event_hooks = {"request": [self.request]}

    def request(self, request: httpx.Request) -> None:
        if self.cut:
            raise httpx.ConnectError("The line is cut.", request=request)
        self.requests.append((request.method, request.url.path))


@pytest.fixture
def runs(tiled: EmbeddedTiled) -> Iterator[Any]:
    """The container for reduced runs, by a client of its own."""
    client = from_uri(tiled.uri)
    with client.context:
        yield client["reduced"]


@pytest.fixture
def line(runs: Any, monkeypatch: pytest.MonkeyPatch) -> Line:
    monkeypatch.setattr("tiled.client.utils.TILED_RETRY_ATTEMPTS", 2)
    return Line(runs)


@pytest.fixture
def sink(runs: Any, tmp_path: Path) -> Iterator[TiledSink]:
    with TiledSink(runs, backup_directory=tmp_path / "backup") as sink:
        yield sink


def wait_for_rows(tiled: EmbeddedTiled, uid: str, rows: int) -> float:
    """How many seconds it takes until there are as many."""
    start = time.monotonic()
    while rows_of(tiled, uid) != rows:
        assert time.monotonic() - start < 10
        time.sleep(0.05)
    return time.monotonic() - start


def stored(tiled: EmbeddedTiled, uid: str) -> Any:
    """The run as it is on the server, None if it is not there."""
    found = tiled.reduced.search(Key("start.uid") == uid)
    return found.values().first() if len(found) else None


def rows_of(tiled: EmbeddedTiled, uid: str) -> int:
    try:
        return int(stored(tiled, uid)["primary"]["I"].shape[0])
    except (KeyError, TypeError):
        return 0


def test_rows_are_in_tiled_soon_even_if_nothing_follows(
    sink: TiledSink, tiled: EmbeddedTiled, tmp_path: Path
) -> None:
    run = Patterns(sink, tmp_path / "patterns.h5")
    run.row()
    wait_for_rows(tiled, run.uid, 1)  # for which the nodes are made
    lags = []
    for rows in (2, 3):
        run.row()
        lags.append(wait_for_rows(tiled, run.uid, rows))
        stream = tiled.reduced[run.uid]["primary"]
        assert np.array_equal(stream["I"].read(), run.expected)
        assert stream["total"].read().tolist() == list(range(rows))
    assert min(lags) < 2.0  # one of them may meet with other work on the machine
    run.stop()


def test_the_axis_is_a_coordinate(sink: TiledSink, tiled: EmbeddedTiled, tmp_path: Path) -> None:
    run = Patterns(sink, tmp_path / "patterns.h5")
    for _ in range(3):
        run.row()
    run.stop()
    assert sink.flush(30)
    data = tiled.reduced[run.uid]["primary"].read()
    assert np.array_equal(data.coords["q"], AXIS)
    assert data["I"].dims == ("time", "q")
    assert data["I"].sel(q=AXIS[7]).values.tolist() == [0.0, 1.0, 2.0]
    assert data["total"].values.tolist() == [0.0, 1.0, 2.0]
    assert tiled.reduced[run.uid].metadata["stop"]["exit_status"] == "success"


def test_many_rows_cost_few_requests(
    sink: TiledSink, line: Line, tiled: EmbeddedTiled, tmp_path: Path
) -> None:
    run = Patterns(sink, tmp_path / "patterns.h5")
    run.row()
    assert sink.flush(30)
    line.requests.clear()
    start = time.monotonic()
    for _ in range(200):
        run.row()
    assert sink.flush(30)
    blocks = 1 + (time.monotonic() - start) / 0.5
    assert rows_of(tiled, run.uid) == 201
    # For each block the table is appended to, and the array told of its new length.
    assert len(line.requests) <= 2 * blocks + 1
    run.stop()


def test_documents_are_taken_at_once_while_the_server_is_slow(
    sink: TiledSink, runs: Any, tmp_path: Path
) -> None:
    def slow(request: httpx.Request) -> None:
        time.sleep(0.5)

    runs.context.http_client.event_hooks = {"request": [slow]}
    start = time.monotonic()
    run = Patterns(sink, tmp_path / "patterns.h5")
    for _ in range(10):
        run.row()
    run.stop()
    assert time.monotonic() - start < 0.5
    assert not sink.flush(0.1)
    assert sink.flush(30)


def test_raw_runs_of_a_run_engine(run_engine: Any, tiled: EmbeddedTiled, tmp_path: Path) -> None:
    motor = SynAxis(name="motor")
    detector = SynGauss("det", motor, "motor", center=0, Imax=1, sigma=1)
    image = SynSignal(name="image", func=lambda: np.full((5, 7), motor.position))
    image.trigger()
    with TiledSink(tiled.raw, backup_directory=tmp_path / "backup") as sink:
        run_engine.subscribe(sink)
        (uid,) = run_engine(bp.scan([detector, image], motor, -1, 1, 5)).run_start_uids
    data = tiled.raw[uid]["primary"].read()
    assert data["motor"].values.tolist() == [-1.0, -0.5, 0.0, 0.5, 1.0]
    assert data["image"].shape == (5, 5, 7)
    assert data["image"].values[:, 0, 0].tolist() == data["motor"].values.tolist()
    assert tiled.raw[uid].metadata["stop"]["num_events"] == {"primary": 5}
    assert not (tmp_path / "backup").exists()


@pytest.mark.parametrize("cut_after", [0, 1, 3])
def test_a_server_that_is_lost_costs_no_document(
    sink: TiledSink,
    line: Line,
    runs: Any,
    tiled: EmbeddedTiled,
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
    cut_after: int,
) -> None:
    documents: list[tuple[str, Any]] = []

    def subscriber(name: str, doc: Any) -> None:
        documents.append((name, doc))
        sink(name, doc)

    line.cut = cut_after == 0
    run = Patterns(subscriber, tmp_path / "patterns.h5")
    for number in range(6):
        if number == cut_after:
            assert sink.flush(30)
            line.cut = True
        run.row()
    expected = run.expected
    run.stop()
    assert sink.flush(30)
    path = tmp_path / "backup" / f"{run.uid}.jsonl"
    kept = list(read_documents(path))
    kinds = ["event" if name == "event_page" else name for name, _ in kept]
    assert kinds == [name for name, _ in documents]
    (told,) = (r.getMessage() for r in caplog.records if r.name.startswith("bluesky_azint"))
    assert run.uid in told
    assert str(path) in told

    line.cut = False
    following = Patterns(sink, tmp_path / "following.h5")  # the next run is tried again
    following.row()
    following.stop()
    assert sink.flush(30)
    assert rows_of(tiled, following.uid) == 1

    assert cut_after == 0 or "stop" not in stored(tiled, run.uid).metadata
    restore_run(path, runs)
    data = tiled.reduced[run.uid]["primary"].read()
    assert np.array_equal(data["I"], expected)
    assert data["total"].values.tolist() == list(range(6))
    assert tiled.reduced[run.uid].metadata["stop"]["exit_status"] == "success"
    with pytest.raises(StoreError, match="already"):
        restore_run(path, runs)


def test_frames_inside_of_events_are_in_the_backup(
    sink: TiledSink, line: Line, tmp_path: Path
) -> None:
    line.cut = True
    run = compose_run()
    image: Any = {"source": "x", "dtype": "array", "shape": [2, 3]}
    bundle = run.compose_descriptor("primary", {"image": image})
    frame = np.arange(6, dtype=np.uint16).reshape(2, 3)
    event = bundle.compose_event(data={"image": frame}, timestamps={"image": 0.0}, validate=False)
    for name, doc in (
        ("start", run.start_doc), ("descriptor", bundle.descriptor_doc), ("event", event),
        ("stop", run.compose_stop()),
    ):  # fmt: skip
        sink(name, doc)
    assert sink.flush(30)
    kept = dict(read_documents(tmp_path / "backup" / f"{run.start_doc['uid']}.jsonl"))
    assert kept["event_page"]["data"]["image"] == [frame.tolist()]


@pytest.mark.parametrize("lost", [True, False])
def test_documents_for_a_backup_take_little_memory(
    runs: Any, line: Line, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, lost: bool
) -> None:
    monkeypatch.setattr("bluesky_azint.callbacks.tiled_sink._KEPT_BYTES", 1000)
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "temporary"))
    (tmp_path / "temporary").mkdir()
    monkeypatch.chdir(tmp_path)
    with TiledSink(runs, backup_directory="backup") as sink:
        monkeypatch.chdir("temporary")  # the backup stays where it was meant to be
        run = Patterns(sink, tmp_path / "patterns.h5")
        for _ in range(5):
            run.row()
        assert sink.flush(30)
        assert len(list((tmp_path / "temporary").rglob("*.pickle"))) >= 5
        line.cut = lost
        run.stop()
    assert not list((tmp_path / "temporary").iterdir())
    backups = list((tmp_path / "backup").glob("*"))
    assert [path.stem for path in backups] == [run.uid] * lost
    for path in backups:
        kinds = [name for name, _ in read_documents(path)]
        assert kinds == [
            *("start", "descriptor", "stream_resource"),
            *("stream_datum", "event_page") * 5,
            "stop",
        ]


def test_a_backup_that_cannot_be_written_is_told(
    runs: Any, line: Line, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "file").touch()
    with TiledSink(runs, backup_directory=tmp_path / "file") as sink:
        line.cut = True
        run = Patterns(sink, tmp_path / "patterns.h5")
        run.stop()
    assert f"Lost of run {run.uid}" in caplog.text


def test_documents_of_an_unknown_run_are_told_and_left(
    sink: TiledSink, tiled: EmbeddedTiled, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    unknown = Patterns(lambda *_: None, tmp_path / "unknown.h5")
    unknown.sink = sink
    unknown.row()
    run = Patterns(sink, tmp_path / "patterns.h5")
    run.row()
    run.stop()
    assert sink.flush(30)
    assert rows_of(tiled, run.uid) == 1
    assert "stream_datum" in caplog.text
    unknown.file.close()


def test_closing_writes_what_is_left(tiled: EmbeddedTiled, tmp_path: Path) -> None:
    import threading

    before = set(threading.enumerate())
    sink = TiledSink(tiled.reduced, backup_directory=tmp_path / "backup", flush_seconds=60)
    run = Patterns(sink, tmp_path / "patterns.h5")
    run.row()
    sink.close()
    assert rows_of(tiled, run.uid) == 1
    left = {thread.name for thread in set(threading.enumerate()) - before}
    assert not {name for name in left if name.startswith("azint-tiled-")} - {"azint-tiled_0"}
    run.file.close()


def test_a_run_takes_the_place_of_one_of_the_same_uid(tiled: EmbeddedTiled, tmp_path: Path) -> None:
    uid = str(uuid4())
    for length in (2, 3):
        with TiledSink(tiled.reduced, backup_directory=tmp_path, replaces=True) as sink:
            run = compose_run(uid=uid)
            sink("start", run.start_doc)
            bundle = run.compose_descriptor(
                "primary", {"x": {"source": "t", "dtype": "number", "shape": []}}
            )
            sink("descriptor", bundle.descriptor_doc)
            for number in range(length):
                sink("event", bundle.compose_event(data={"x": number}, timestamps={"x": 0.0}))
            if length == 3:
                sink("stop", run.compose_stop())
    assert not list(tmp_path.iterdir())
    assert tiled.reduced[uid]["primary"]["x"].read().tolist() == [0, 1, 2]


def test_a_server_that_is_not_there_yet_is_asked_for_the_next_run(
    tiled: EmbeddedTiled, tmp_path: Path
) -> None:
    there: list[bool] = []

    def connect() -> Any:
        if not there:
            raise ConnectionError("There is no server yet.")
        return tiled.reduced.include_data_sources()

    with TiledSink(connect, backup_directory=tmp_path) as sink:
        uids = []
        for _ in range(2):
            run = compose_run()
            uids.append(run.start_doc["uid"])
            sink("start", run.start_doc)
            sink("stop", run.compose_stop())
            sink.flush()
            there.append(True)
    assert [path.stem for path in tmp_path.iterdir()] == uids[:1]
    assert tiled.reduced[uids[1]].metadata["stop"]
    restore_run(tmp_path / f"{uids[0]}.jsonl", tiled.reduced)
    with pytest.raises(StoreError, match="already"):
        restore_run(tmp_path / f"{uids[0]}.jsonl", tiled.reduced)
    restore_run(tmp_path / f"{uids[0]}.jsonl", tiled.reduced, replace=True)
    assert tiled.reduced[uids[0]].metadata["stop"]
