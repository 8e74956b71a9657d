"""Reduced runs into databroker, on a MongoDB that is in memory."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from event_model import compose_run

from bluesky_azint import Detector, Geometry, Integrator, Recipe
from bluesky_azint.callbacks import Reducer
from bluesky_azint.callbacks.databroker_sink import DatabrokerSink, restore_documents
from bluesky_azint.errors import StoreError
from tests.callbacks.inline_runs import RADIAL, InlineRun


@pytest.fixture(scope="module")
def broker() -> Iterator[Any]:
    """A databroker; it takes seconds to import."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from databroker.v1 import Broker

        broker = Broker.named("temp")
    yield broker
    broker.v2.context.close()


@pytest.fixture
def sink(broker: Any, tmp_path: Path) -> Iterator[DatabrokerSink]:
    with DatabrokerSink(broker, backup_directory=tmp_path) as sink:
        yield sink


def test_a_reduced_run_comes_back(broker: Any, sink: DatabrokerSink) -> None:
    recipe = Recipe(npt=50, error_model="poisson")
    geometry = Geometry(
        detector=Detector(1e-4, 1e-4, shape=(30, 40)), dist=0.1, poni1=1e-3, poni2=2e-3,
        wavelength=1e-10,
    )  # fmt: skip
    frames = np.random.default_rng(3).poisson(100, (4, 30, 40)).astype(np.uint16)
    raw = compose_run(metadata={"scan_id": 7})
    image: Any = {"source": "test", "dtype": "array", "shape": [30, 40]}
    descriptor = raw.compose_descriptor("primary", {"det": image}, object_keys={"det": ["det"]})
    with Reducer(
        sink, recipe=recipe, default=geometry, engine="scipy", flavour="inline"
    ) as reducer:
        reducer("start", {**raw.start_doc})
        reducer("descriptor", {**descriptor.descriptor_doc})
        for number, frame in enumerate(frames):
            event = descriptor.compose_event(
                data={"det": frame}, timestamps={"det": 0.0}, time=1000.0 + number, validate=False
            )
            reducer("event", {**event})
        reducer("stop", {**raw.compose_stop()})
    assert sink.flush(20)

    expected = Integrator.from_recipe(geometry, recipe, engine="scipy").integrate(frames)
    (run,) = broker(raw_uid=raw.start_doc["uid"])
    assert run.start["recipe"] == recipe.to_dict()
    assert run.stop["exit_status"] == "success"
    table = run.table()
    assert table["total"].tolist() == pytest.approx(expected.sum_signal.sum(axis=1))
    assert table["raw_seq_num"].tolist() == [1, 2, 3, 4]
    assert np.array_equal(np.stack(list(run.data("intensity"))), expected.intensity)
    dataset = run.xarray()
    assert dataset["sigma"].dims == ("time", "q")
    assert np.array_equal(dataset["sigma"], expected.sigma)  # type: ignore[arg-type]
    assert dataset["time"].values.tolist() == [1000.0, 1001.0, 1002.0, 1003.0]
    (configured,) = run.descriptors
    q = configured["configuration"]["azint"]["data"]["q"]
    assert np.array_equal(q, expected.radial)


def test_a_frame_without_a_pattern_is_nan(broker: Any, sink: DatabrokerSink) -> None:
    run = InlineRun(sink, "raw with a gap")
    take = run.describe()
    take(1, np.arange(30.0))
    take(2, np.full(30, np.nan))
    run.stop("fail", "A chunk is damaged.")
    assert sink.flush(20)
    (found,) = broker(raw_uid="raw with a gap")
    intensity = np.stack([np.asarray(one, dtype=float) for one in found.data("intensity")])
    assert np.array_equal(intensity, [np.arange(30.0), np.full(30, np.nan)], equal_nan=True)
    assert found.stop["reason"] == "A chunk is damaged."


def test_a_run_that_comes_again_does_not_mix_with_the_first(
    broker: Any, sink: DatabrokerSink
) -> None:
    first = InlineRun(sink, "raw again", uid="0b6d7a3e-5f6c-4f0e-9f53-0d1a7c2b9e11")
    first.describe()(1, np.full(30, 1.0))
    first.stop("fail")
    again = InlineRun(sink, "raw again", uid=first.uid, time=first.run.start_doc["time"] + 1)
    take = again.describe()
    for number in (1, 2):
        take(number, np.full(30, 2.0))
    again.stop()
    assert sink.flush(20)
    old, last = broker(raw_uid="raw again")
    assert (last.start["replaces"], old.start["uid"]) == (first.uid, first.uid)
    assert [run.stop["exit_status"] for run in (last, old)] == ["success", "fail"]
    assert last.table()["raw_seq_num"].tolist() == [1, 2]
    assert old.table()["raw_seq_num"].tolist() == [1]


def test_what_a_server_does_not_take_is_kept(
    broker: Any,
    sink: DatabrokerSink,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    run = InlineRun(sink, "raw kept")
    take = run.describe()
    take(1, np.full(30, 1.0))
    assert sink.flush(20)

    def fail(name: str, doc: Any) -> None:
        raise OSError("The server is away.")

    with monkeypatch.context() as patch:
        patch.setattr(broker.v2, "post_document", fail)
        take(2, np.full(30, 2.0))
        run.stop()
        lost = InlineRun(sink, "raw lost")
        lost.describe()(1, np.full(30, 3.0))
        lost.stop()
        assert sink.flush(20)
    assert caplog.text.count("The server is away.") == 2  # once for each run
    backups = [tmp_path / f"{uid}.databroker.jsonl" for uid in (run.uid, lost.uid)]
    for path in backups:
        restore_documents(path, broker)
    (found,) = broker(raw_uid="raw kept")
    assert found.table()["raw_seq_num"].tolist() == [1, 2]
    (found,) = broker(raw_uid="raw lost")
    assert np.stack(list(found.data("intensity"))).tolist() == [[3.0] * RADIAL.size]


def test_several_runs_at_once(broker: Any, sink: DatabrokerSink) -> None:
    runs = [InlineRun(sink, f"raw {number}") for number in range(3)]
    takes = [run.describe() for run in runs]
    for event in (1, 2):
        for number, take in enumerate(takes):
            take(event, np.full(30, 10.0 * number + event))
    for run in runs:
        run.stop()
    assert sink.flush(20)
    for number in range(3):
        (found,) = broker(raw_uid=f"raw {number}")
        values = [one[0] for one in found.data("intensity")]
        assert values == [10.0 * number + 1, 10.0 * number + 2]
    assert (sink._runs, sink._run_of) == ({}, {})


def test_documents_of_runs_that_began_elsewhere(
    sink: DatabrokerSink, caplog: pytest.LogCaptureFixture
) -> None:
    sink("event", {"descriptor": "unknown", "data": {}})
    assert sink.flush(20)
    assert "did not begin here" in caplog.text


@dataclass(frozen=True)
class Catalogue:
    """A client of a catalogue of runs."""

    version: str | None
    uri = "http://tiled"

    @property
    def specs(self) -> list[Any]:
        return [SimpleNamespace(name="CatalogOfBlueskyRuns", version=self.version)]

    def post_document(self, name: str, doc: Any) -> None:
        """Not there on SQL servers, whatever the client has."""


def test_what_is_no_databroker(tmp_path: Path) -> None:
    for where, told in [
        ("nowhere", "There is no databroker 'nowhere'"),
        (object(), "does not take documents"),
        (Catalogue(None), "http://tiled is no catalogue on MongoDB"),
        (Catalogue("3.0"), "TiledSink is for SQL catalogues"),
    ]:
        with pytest.raises(StoreError, match=told):
            DatabrokerSink(where, backup_directory=tmp_path)
    DatabrokerSink(Catalogue("1"), backup_directory=tmp_path).close()
