"""The documents of raw runs out of Tiled lead to the same frames as those of the live run."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile

from bluesky_azint.callbacks import EmbeddedTiled, TiledSink
from bluesky_azint.callbacks.frames import FrameBatch, FrameSource
from bluesky_azint.callbacks.raw_rows import RowFinder
from bluesky_azint.callbacks.raw_runs import find_runs, raw_documents, raw_run_ended, seconds_of
from bluesky_azint.callbacks.raw_streams import RawFiles, RawStream
from bluesky_azint.errors import FrameError, RecipeError, StoreError
from tests.callbacks.made_runs import COLUMNS, ROWS, MadeRun, made_frames

TIFF = "multipart/related;type=image/tiff"
FRAMES = made_frames(6)


@pytest.fixture(scope="module")
def sink(tiled: EmbeddedTiled, tmp_path_factory: pytest.TempPathFactory) -> Iterator[TiledSink]:
    backup = tmp_path_factory.mktemp("backup")
    with TiledSink(tiled.raw, backup_directory=backup) as sink:
        yield sink
    assert not list(backup.iterdir())


def batches_of(documents: Iterable[tuple[str, Any]]) -> list[FrameBatch]:
    source = FrameSource(timeout=0)
    batches: list[FrameBatch] = []
    for name, doc in documents:
        try:
            batches += source(name, doc)
        except FrameError as error:
            pytest.fail(str(error))
    source.close()
    return batches


def joined(batches: list[FrameBatch], name: str) -> list[Any]:
    parts = [np.asarray(getattr(batch, name)) for batch in batches]
    return list(np.concatenate(parts).tolist())


def check_same(tiled: EmbeddedTiled, sink: TiledSink, run: MadeRun) -> list[tuple[str, Any]]:
    """Compare the frames of a run with those of its documents out of Tiled; give these."""
    assert sink.flush(30)
    again = list(raw_documents(tiled.raw[run.uid]))
    expected, found = batches_of(run.documents), batches_of(again)
    assert expected
    for name in ("frames", "indices", "seq_nums", "places"):
        assert joined(found, name) == joined(expected, name), name
    descriptors = [
        [batch.descriptor for batch in batches for _ in batch.seq_nums]
        for batches in (expected, found)
    ]
    assert descriptors[0] == descriptors[1]
    return again


def test_streams_that_share_a_file(tiled: EmbeddedTiled, sink: TiledSink, tmp_path: Path) -> None:
    run = MadeRun(sink, sample="LaB6")
    dark, primary = run.describe("dark"), run.describe()
    resource = run.file(tmp_path / "both files.h5", FRAMES)
    run.rows(dark, resource, range(1, 3))
    run.rows(primary, resource, range(1, 3))
    run.rows(dark, resource, range(3, 4))
    run.rows(primary, resource, range(3, 4))
    run.stop()
    again = check_same(tiled, sink, run)
    assert again[0] == run.documents[0]
    assert again[-1] == run.documents[-1]
    times = joined(batches_of(again), "timestamps")  # which the live documents did not know
    assert times == [doc["time"] for name, doc in run.documents if name == "event"]


def test_a_rewound_run_whose_configuration_changes(
    tiled: EmbeddedTiled, sink: TiledSink, tmp_path: Path
) -> None:
    run = MadeRun(sink)
    resource = None
    for dist, seq_nums in ((0.1, range(1, 3)), (0.2, range(2, 4)), (0.1, range(4, 6))):
        bundle = run.describe(dist=dist)
        resource = resource or run.file(tmp_path / "a.h5", FRAMES)
        run.rows(bundle, resource, seq_nums)
    run.stop()
    again = check_same(tiled, sink, run)
    descriptors = [doc for name, doc in again if name == "descriptor"]
    assert [doc["configuration"]["camera"]["data"]["dist"] for doc in descriptors] == [
        0.1,
        0.2,
        0.1,
    ]
    assert joined(batches_of(again), "seq_nums") == [1, 2, 2, 3, 4, 5]


def test_a_detector_that_goes_over_to_another_file(
    tiled: EmbeddedTiled, sink: TiledSink, tmp_path: Path
) -> None:
    run = MadeRun(sink)
    bundle = run.describe(shape=(2, ROWS, COLUMNS))
    for number, seq_nums in enumerate((range(1, 3), range(3, 4))):
        frames = made_frames(2 * len(seq_nums), seed=number)
        resource = run.file(tmp_path / f"part_{number}.h5", frames)
        run.rows(bundle, resource, seq_nums, start=seq_nums.start - 1, events=False)
    run.stop()
    check_same(tiled, sink, run)
    (tmp_path / "part_0.h5").rename(tmp_path / "elsewhere.h5")
    again, source = raw_documents(tiled.raw[run.uid]), FrameSource(timeout=0)
    with pytest.raises(FrameError, match=r"6 cannot be read.*part_0\.h5"):
        list(chain.from_iterable(source(name, doc) for name, doc in again))


def test_a_series_of_files_with_several_pages(
    tiled: EmbeddedTiled, sink: TiledSink, tmp_path: Path
) -> None:
    for number in (0, 1, 2):
        tifffile.imwrite(tmp_path / f"a b_{number:04d}.tif", FRAMES[2 * number : 2 * number + 2])
    run = MadeRun(sink)
    bundle = run.describe(shape=(2, ROWS, COLUMNS))
    resource = run.resource(
        f"file://localhost{tmp_path}/",
        TIFF,
        template="a b_%04d.tif",
        chunk_shape=[2, ROWS, COLUMNS],
    )
    run.rows(bundle, resource, range(1, 3), start=1)  # the first file is from before the run
    run.stop()
    check_same(tiled, sink, run)


def test_a_series_of_which_tiled_lost_some_files(
    tiled: EmbeddedTiled, sink: TiledSink, tmp_path: Path
) -> None:
    # Documents of ophyd, for which the writer begins to count again with each descriptor.
    run = MadeRun(sink)
    bundle = run.describe(external="FILESTORE:", shape=(1, ROWS, COLUMNS))
    resource = run.run.compose_resource(
        spec="AD_TIFF",
        root=str(tmp_path),
        resource_path="",
        resource_kwargs={"template": "%s%s_%6.6d.tiff", "filename": "t", "frame_per_point": 1},
    )
    run.take("resource", resource.resource_doc)
    for number in range(4):
        tifffile.imwrite(tmp_path / f"t_{number:06d}.tiff", FRAMES[number])
        if number == 2:
            bundle = run.describe(external="FILESTORE:", shape=(1, ROWS, COLUMNS), dist=0.2)
        datum = resource.compose_datum(datum_kwargs={"point_number": number})
        run.take("datum", datum)
        run.event(bundle, number + 1, det=datum["datum_id"])
    run.stop()
    check_same(tiled, sink, run)


def test_frames_inside_of_events(
    tiled: EmbeddedTiled, sink: TiledSink, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("bluesky_azint.callbacks.raw_streams._BLOCK_BYTES", 3 * FRAMES[0].nbytes)
    run = MadeRun(sink)
    motor: Any = {"source": "made", "dtype": "number", "shape": []}
    bundle = run.describe(external=None, shape=(ROWS, COLUMNS), keys={"motor": motor})
    for number, frame in enumerate(FRAMES):
        run.event(bundle, number + 1, det=frame, motor=number / 4)
    again = check_same(tiled, sink, run)  # the run goes on
    assert again[-1][0] == "event"
    assert not raw_run_ended(tiled.raw, run.uid)
    events = [doc for name, doc in again if name == "event"]
    assert [event["data"]["motor"] for event in events] == [number / 4 for number in range(6)]
    assert np.asarray(events[3]["data"]["det"]).dtype == np.uint16
    run.stop(exit_status="abort", reason="Enough.")
    assert sink.flush(30)
    name, stop = list(raw_documents(tiled.raw[run.uid]))[-1]
    assert (name, stop["reason"]) == ("stop", "Enough.")
    assert raw_run_ended(tiled.raw, run.uid)
    assert not raw_run_ended(tiled.raw, "00000000-no-such-run")


def test_frames_whose_configuration_cannot_be_told_are_left_out(
    caplog: pytest.LogCaptureFixture,
) -> None:
    files = RawFiles(
        data_key="det",
        mimetype="application/x-hdf5",
        uris=("file://localhost/a.h5",),
        rows=6,
        frames_per_row=1,
        files_per_row=None,
        dataset="/entry/data/data",
    )
    stream = RawStream(
        name="primary",
        descriptors=[{"uid": "a", "time": 1.0}, {"uid": "b", "time": 2.0}],
        table={"seq_num": [], "time": []},
        arrays={},
        files=[files],
    )
    finder = RowFinder("run", root_map={})
    assert not list(finder.announce(stream, stream.rows_without_events))
    assert "no events that would tell" in caplog.text
    known = replace(stream, descriptors=stream.descriptors[:1])
    (_, resource), (_, datum) = finder.announce(known, known.rows_without_events)
    assert resource["uri"] == files.uris[0]
    assert datum["seq_nums"] == {"start": 1, "stop": 7}


def test_runs_are_found_by_uid_and_time(
    tiled: EmbeddedTiled, sink: TiledSink, tmp_path: Path
) -> None:
    catalog = tiled.client.create_container("found", specs=["CatalogOfBlueskyRuns"])
    runs = []
    with TiledSink(catalog, backup_directory=tmp_path / "backup") as own:
        for days in (3, 1, 2):
            moment = datetime.now(UTC) - timedelta(days=days)
            run = MadeRun(lambda *_: None)
            start = {**run.run.start_doc, "time": moment.timestamp()}
            own("start", start)
            bundle = run.describe(external=None, shape=(8, 8) if days != 2 else ())
            own("descriptor", {**bundle.descriptor_doc, "run_start": run.uid})
            runs.append(run.uid)
    three, one, without_images = runs
    assert [run.start["uid"] for run in find_runs(catalog)] == [three, one]
    assert [run.start["uid"] for run in find_runs(catalog, since="36h")] == [one]
    until = datetime.now(UTC) - timedelta(days=2)
    assert [run.start["uid"] for run in find_runs(catalog, until=until)] == [three]
    named = find_runs(catalog, uids=[without_images[:12], three])
    assert [run.start["uid"] for run in named] == [without_images, three]
    with pytest.raises(StoreError, match="No run"):
        list(find_runs(catalog, uids=["ffff-ffff"]))
    with pytest.raises(RecipeError, match="is no uid"):
        list(find_runs(catalog, uids=["%"]))


def test_times_are_told_in_several_ways() -> None:
    assert seconds_of("2026-03-01T12:00:00+01:00") == 1772362800.0
    assert abs(seconds_of("90min") - datetime.now(UTC).timestamp() + 5400) < 5
    with pytest.raises(RecipeError, match="how long ago"):
        seconds_of("yesterday")
