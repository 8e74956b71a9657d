"""Frames of real runs: what comes out is bit for bit what the detector took."""

from __future__ import annotations

import json
import logging
import time
from collections.abc import Callable, Iterable
from functools import partial
from pathlib import Path
from typing import Any

import bluesky.plan_stubs as bps
import bluesky.plans as bp
import bluesky.preprocessors as bpp
import h5py
import numpy as np
import pytest
from bluesky import RunEngine
from bluesky.utils import MsgGenerator, RunEngineInterrupted
from event_model import pack_datum_page, pack_event_page
from numpy.typing import NDArray
from ophyd.sim import SynSignal, SynSignalWithRegistry
from ophyd_async.core import TriggerInfo
from ophyd_async.sim import SimBlobDetector

Collect = Callable[..., Any]
Documents = list[tuple[str, Any]]


class InlineDetector:
    """Makes frames of random numbers that stand in the events, by a signal of ophyd.sim."""

    def __init__(self) -> None:
        self.taken: list[NDArray[Any]] = []
        random = np.random.default_rng(2)

        def take() -> NDArray[Any]:
            self.taken.append(random.integers(0, 2**16, (5, 7), dtype=np.uint16))
            return self.taken[-1]

        self.signal = SynSignal(name="camera", func=take)
        self.signal.trigger()  # the shape is described by what was measured last
        self.taken.clear()


def run(devices: list[Any], plan: MsgGenerator[Any]) -> MsgGenerator[Any]:
    """Do something with staged detectors within a run."""
    within = bpp.run_wrapper(plan)  # type: ignore[no-untyped-call]
    return (yield from bpp.stage_wrapper(within, devices))  # type: ignore[no-untyped-call]


def fly(detector: SimBlobDetector, info: TriggerInfo) -> MsgGenerator[None]:
    yield from bps.prepare(detector, info, wait=True)
    yield from bps.declare_stream(detector, name="primary", collect=True)
    yield from bps.kickoff(detector, wait=True)
    yield from bps.collect_while_completing([detector], [detector], flush_period=0.05)


def stored(documents: Documents) -> NDArray[Any]:
    """What is in the files of the stream resources, one after the other."""
    resources = [doc for name, doc in documents if name == "stream_resource"]
    frames = []
    for doc in resources:
        if doc["data_key"] == "blob":
            with h5py.File(doc["uri"].removeprefix("file://localhost"), "r") as file:
                frames.append(file[doc["parameters"]["dataset"]][:])
    return np.concatenate(frames)


def through_json(documents: Documents) -> Documents:
    return [
        (name, json.loads(json.dumps(doc, default=np.ndarray.tolist))) for name, doc in documents
    ]


def replay(documents: Iterable[tuple[str, dict[str, Any]]], collector: Any) -> Any:
    for name, doc in documents:
        collector(name, doc)
    return collector


def open_files() -> int:
    return int(h5py.h5f.get_obj_count(h5py.h5f.OBJ_ALL, h5py.h5f.OBJ_FILE))


def test_step_scan_with_stream_documents(
    run_engine: RunEngine, blob_detector: SimBlobDetector, collect: Collect
) -> None:
    collector = collect()
    before = time.time()
    run_engine(bp.count([blob_detector], 3), collector)
    assert [batch.frames.shape for batch in collector.batches] == [(1, 240, 320)] * 3
    np.testing.assert_array_equal(collector.frames, stored(collector.documents))
    assert collector.frames.dtype == np.uint8
    assert collector.frames.any()
    assert collector.indices == [0, 1, 2]
    assert collector.seq_nums == [1, 2, 3]
    (descriptor,) = collector.of("descriptor")
    assert {batch.descriptor for batch in collector.batches} == {descriptor["uid"]}
    assert {batch.data_key for batch in collector.batches} == {"blob"}  # and not blob-sum
    for batch, event in zip(collector.batches, collector.of("event"), strict=True):
        assert before <= batch.timestamps[0] <= event["time"]  # the document came first


@pytest.mark.parametrize("collections_per_event", [1, 5])
def test_fly_scan(
    run_engine: RunEngine,
    blob_detector: SimBlobDetector,
    collect: Collect,
    collections_per_event: int,
) -> None:
    collector = collect()
    info = TriggerInfo(
        livetime=0.002,
        deadtime=0.002,
        number_of_events=20,
        collections_per_event=collections_per_event,
    )
    run_engine(run([blob_detector], fly(blob_detector, info)), collector)
    assert collector.of("event") == []
    np.testing.assert_array_equal(collector.frames, stored(collector.documents))
    assert collector.indices == list(range(20 * collections_per_event))
    assert collector.seq_nums == [1 + n // collections_per_event for n in collector.indices]


def test_files_are_closed_and_everything_is_forgotten_at_stop(
    run_engine: RunEngine, blob_detector: SimBlobDetector, collect: Collect
) -> None:
    collector = collect()
    run_engine(bp.count([blob_detector], 2), collector)
    assert open_files() == 0
    announcements = collector.source._announcements
    kept = {**vars(announcements), **vars(announcements._rows)}
    state = {name: value for name, value in kept.items() if isinstance(value, dict | set)}
    assert len(state) == 8
    assert not any(state.values())


@pytest.mark.parametrize("spec", ["AD_HDF5", "AD_HDF5_SWMR", "AD_TIFF"])
@pytest.mark.parametrize("frames_per_point", [1, 4])
def test_resource_and_datum(
    run_engine: RunEngine, file_detector: Any, collect: Collect, spec: str, frames_per_point: int
) -> None:
    detector, collector = file_detector(spec, frames_per_point), collect(timeout=0)
    run_engine(bp.count([detector], 3), collector)
    np.testing.assert_array_equal(collector.frames, np.concatenate(detector.taken))
    assert collector.indices == list(range(3 * frames_per_point))
    assert collector.seq_nums == list(np.repeat([1, 2, 3], frames_per_point))
    times = [event["time"] for event in collector.of("event")]
    np.testing.assert_array_equal(
        np.concatenate([batch.timestamps for batch in collector.batches]),
        np.repeat(times, frames_per_point),
    )
    assert open_files() == 0


def test_sequence_of_numpy_files(run_engine: RunEngine, tmp_path: Path, collect: Collect) -> None:
    taken = np.random.default_rng(3).integers(0, 2**16, (3, 5, 7), dtype=np.uint16)
    frames = iter([taken[0], *taken])  # the first is measured to describe its shape
    detector = SynSignalWithRegistry(
        name="camera", func=lambda: next(frames), save_path=str(tmp_path)
    )
    collector = collect(timeout=0)
    run_engine(bp.count([detector], 3), collector)
    np.testing.assert_array_equal(collector.frames, taken)
    assert collector.frames.dtype == np.uint16


@pytest.mark.parametrize("dtype", ["u1", ">u2", "i4", "f4", "f8"])
def test_inline_frames_keep_their_type(run_engine: RunEngine, collect: Collect, dtype: str) -> None:
    frame = np.arange(12).reshape(3, 4).astype(dtype)
    detector = SynSignal(name="camera", func=lambda: frame)
    collector = collect()
    run_engine(bp.count([detector], 2), collector)
    assert [batch.frames.dtype for batch in collector.batches] == [np.dtype(dtype)] * 2
    np.testing.assert_array_equal(collector.frames, [frame, frame])
    assert np.shares_memory(collector.batches[0].frames, frame)


def test_inline_frames_in_a_page(run_engine: RunEngine, collect: Collect) -> None:
    detector, collector = InlineDetector(), collect()
    run_engine(bp.count([detector.signal], 5), collector)
    (start,), (descriptor,) = collector.of("start"), collector.of("descriptor")
    page = pack_event_page(*collector.of("event"))
    documents = [("start", start), ("descriptor", descriptor), ("event_page", page)]

    paged = replay(documents, collect(max_bytes=2 * detector.taken[0].nbytes))
    assert [len(batch.frames) for batch in paged.batches] == [2, 2, 1]
    np.testing.assert_array_equal(paged.frames, detector.taken)
    assert paged.indices == collector.indices == [0, 1, 2, 3, 4]
    np.testing.assert_array_equal(
        np.concatenate([batch.timestamps for batch in paged.batches]), page["time"]
    )

    descriptor["data_keys"]["camera"]["dtype_numpy"] = "<u2"
    from_json = replay(through_json(documents), collect())
    assert from_json.frames.dtype == np.uint16
    np.testing.assert_array_equal(from_json.frames, detector.taken)


@pytest.mark.parametrize("spec", ["AD_HDF5_SWMR", "AD_TIFF"])
def test_documents_from_a_broker(
    run_engine: RunEngine, file_detector: Any, collect: Collect, spec: str
) -> None:
    """Datums and resources may come late, paged, and through JSON."""
    detector, live = file_detector(spec, 2), collect()
    run_engine(bp.count([detector], 4), live)
    first: Documents = [(n, d) for n, d in live.documents if n in ("start", "descriptor")]
    resource: Documents = [("resource", *live.of("resource"))]
    datums: Documents = [("datum_page", pack_datum_page(*live.of("datum")))]
    events: Documents = [("event_page", pack_event_page(*live.of("event")))]
    stop: Documents = [("stop", *live.of("stop"))]

    ordered = replay(first + resource + datums + events + stop, collect())
    assert [len(batch.frames) for batch in ordered.batches] == [8]  # read at once
    for documents in (
        first + events + datums + resource + stop,
        first + datums + events + resource + stop,
        through_json(first + events + resource + datums + stop),
    ):
        late = replay(documents, collect())
        assert late.errors == []
        np.testing.assert_array_equal(late.frames, np.concatenate(detector.taken))
        assert late.indices == live.indices


def test_stream_datum_before_its_resource(
    run_engine: RunEngine, blob_detector: SimBlobDetector, collect: Collect
) -> None:
    live = collect()
    run_engine(bp.count([blob_detector], 2), live)
    order = ["start", "descriptor", "event", "stream_datum", "stream_resource", "stop"]
    documents = sorted(live.documents, key=lambda pair: order.index(pair[0]))
    late = replay(through_json(documents), collect())
    np.testing.assert_array_equal(late.frames, live.frames)
    assert late.indices == [0, 1]
    times = [batch.timestamps[0] for batch in late.batches]
    assert times == [event["time"] for event in live.of("event")]  # known by now


def interrupted(detector: Any) -> MsgGenerator[None]:
    """Three events, of which the second is taken again after a pause."""
    for point in range(3):
        yield from bps.checkpoint()
        yield from bps.trigger_and_read([detector])
        if point == 1:
            yield from bps.pause()


def run_interrupted(run_engine: RunEngine, detector: Any, collector: Any) -> None:
    with pytest.raises(RunEngineInterrupted):
        run_engine(run([detector], interrupted(detector)), collector)
    run_engine.resume()  # type: ignore[no-untyped-call]


def test_rewound_stream_documents(
    run_engine: RunEngine, blob_detector: SimBlobDetector, collect: Collect
) -> None:
    collector = collect()
    run_interrupted(run_engine, blob_detector, collector)
    assert collector.seq_nums == [1, 2, 2, 3]
    assert collector.indices == [0, 1, 1, 2]
    assert collector.of("stop")[0]["num_events"] == {"primary": 3}
    np.testing.assert_array_equal(collector.frames, stored(collector.documents))


@pytest.mark.parametrize("spec", ["inline", "AD_HDF5_SWMR", "AD_TIFF"])
def test_rewound_events(
    run_engine: RunEngine, file_detector: Any, collect: Collect, spec: str
) -> None:
    collector = collect()
    detector = InlineDetector() if spec == "inline" else file_detector(spec, 2)
    run_interrupted(run_engine, getattr(detector, "signal", detector), collector)
    per_event = 1 if spec == "inline" else 2
    assert collector.seq_nums == list(np.repeat([1, 2, 2, 3], per_event))
    taken = np.reshape(detector.taken, (4 * per_event, *detector.taken[0].shape[-2:]))
    np.testing.assert_array_equal(collector.frames, taken)


def test_nested_runs(
    run_engine: RunEngine, blob_detector: SimBlobDetector, file_detector: Any, collect: Collect
) -> None:
    collector = collect()
    camera = file_detector("AD_HDF5_SWMR")

    def nested() -> MsgGenerator[None]:
        outer = partial(bpp.set_run_key_wrapper, run="outer")
        inner = partial(bpp.set_run_key_wrapper, run="inner")
        yield from outer(bps.open_run())
        yield from outer(bps.trigger_and_read([blob_detector]))
        yield from inner(bps.open_run())
        yield from inner(bps.trigger_and_read([camera]))
        yield from outer(bps.trigger_and_read([blob_detector]))
        yield from inner(bps.trigger_and_read([camera]))
        yield from inner(bps.close_run())
        yield from outer(bps.trigger_and_read([blob_detector]))
        yield from outer(bps.close_run())

    plan = bpp.stage_wrapper(nested(), [blob_detector, camera])  # type: ignore[no-untyped-call]
    run_engine(plan, collector)
    assert [batch.data_key for batch in collector.batches] == [
        "blob", "camera", "blob", "camera", "blob",
    ]  # fmt: skip
    blobs = [batch.frames for batch in collector.batches if batch.data_key == "blob"]
    np.testing.assert_array_equal(np.concatenate(blobs), stored(collector.documents))
    others = [batch.frames for batch in collector.batches if batch.data_key == "camera"]
    np.testing.assert_array_equal(others, camera.taken)

    again, files = collect(), []
    for name, doc in collector.documents:
        again(name, doc)
        files.append(open_files())
    assert max(files) == 2
    assert files[-5:] == [1, 1, 1, 1, 0]  # the file of the inner run is closed with it


def test_a_detector_staged_again_within_a_run(
    run_engine: RunEngine, blob_detector: SimBlobDetector, collect: Collect
) -> None:
    """Its indices, and the rows in its new file, begin at 0 again; its seq_nums go on."""
    collector = collect()

    def twice() -> MsgGenerator[None]:
        for count in (3, 2):
            points = bps.repeat(lambda: bps.trigger_and_read([blob_detector]), count)
            yield from bpp.stage_wrapper(points, [blob_detector])  # type: ignore[no-untyped-call]

    run_engine(run([], twice()), collector)
    starts = [
        datum["indices"]["start"]
        for datum in collector.of("stream_datum")
        if datum["stream_resource"]
        in [r["uid"] for r in collector.of("stream_resource") if r["data_key"] == "blob"]
    ]
    assert starts == [0, 1, 2, 0, 1]
    np.testing.assert_array_equal(collector.frames, stored(collector.documents))
    assert collector.indices == [0, 1, 2, 3, 4]


def test_a_detector_configured_within_a_run(
    run_engine: RunEngine, file_detector: Any, collect: Collect
) -> None:
    """There are two descriptors of one stream; each batch says to which it belongs."""
    detector, collector = file_detector("AD_HDF5_SWMR"), collect()

    def plan() -> MsgGenerator[None]:
        yield from bps.trigger_and_read([detector])
        yield from bps.configure(detector)
        yield from bps.trigger_and_read([detector])

    run_engine(run([detector], plan()), collector)
    uids = [descriptor["uid"] for descriptor in collector.of("descriptor")]
    assert len(set(uids)) == 2
    assert [batch.descriptor for batch in collector.batches] == uids
    np.testing.assert_array_equal(collector.frames, np.concatenate(detector.taken))


def test_batches_are_bounded(
    run_engine: RunEngine, blob_detector: SimBlobDetector, collect: Collect
) -> None:
    """Also within an event."""
    collector = collect(max_bytes=3 * 240 * 320 + 1)
    info = TriggerInfo(livetime=0.002, number_of_events=2, collections_per_event=5)
    run_engine(run([blob_detector], fly(blob_detector, info)), collector)
    assert max(len(batch.frames) for batch in collector.batches) == 3
    np.testing.assert_array_equal(collector.frames, stored(collector.documents))
    assert collector.indices == list(range(10))


def test_chosen_data_keys(run_engine: RunEngine, file_detector: Any, collect: Collect) -> None:
    left, right = file_detector("AD_TIFF", name="left"), file_detector("AD_TIFF", name="right")
    collector = collect(data_keys=["right"])
    run_engine(bp.count([left, right], 2), collector)
    assert {batch.data_key for batch in collector.batches} == {"right"}
    np.testing.assert_array_equal(collector.frames, np.concatenate(right.taken))


def test_another_root(
    run_engine: RunEngine,
    blob_detector: SimBlobDetector,
    file_detector: Any,
    collect: Collect,
    tmp_path: Path,
) -> None:
    """The files lie elsewhere on this machine than where the detector has written them."""
    live = collect()
    camera = file_detector("AD_HDF5_SWMR")
    run_engine(bp.count([blob_detector, camera], 2), live)
    here = tmp_path / "mounted here"
    here.mkdir()
    for file in tmp_path.glob("*.h5"):
        file.rename(here / file.name)
    assert replay(live.documents, collect(timeout=0)).batches == []
    mapped = replay(live.documents, collect(timeout=0, root_map={str(tmp_path): str(here)}))
    assert mapped.errors == []
    for batch, same in zip(live.batches, mapped.batches, strict=True):
        np.testing.assert_array_equal(batch.frames, same.frames)


def test_frames_that_cannot_be_read_are_named(
    run_engine: RunEngine, file_detector: Any, collect: Collect, tmp_path: Path
) -> None:
    """One of six files is gone, one is damaged; the other frames, and runs, come nevertheless."""
    detector, live = file_detector("AD_TIFF", 3), collect()
    run_engine(bp.count([detector], 2), live)
    files = sorted(tmp_path.glob("*.tiff"))
    files[1].unlink()
    files[4].write_bytes(files[4].read_bytes()[:1000])
    again = replay(live.documents, collect(timeout=0))
    assert again.indices == [0, 2, 3, 5]
    np.testing.assert_array_equal(again.frames, live.frames[[0, 2, 3, 5]])
    gone, damaged = map(str, again.errors)
    run = live.of("start")[0]["uid"]
    assert f"Run {run}: of the frames 'camera', 1 cannot be read" in gone
    assert f"the first is number 1. There is no file {files[1]}." in gone
    assert "root_map" in gone
    assert "the first is number 4" in damaged
    assert str(files[4]) in damaged


def test_a_file_that_fails_is_waited_for_once(
    run_engine: RunEngine, file_detector: Any, collect: Collect, tmp_path: Path
) -> None:
    detector, live = file_detector("AD_HDF5_SWMR"), collect()
    run_engine(bp.count([detector], 10), live)
    for file in tmp_path.glob("*.h5"):
        file.unlink()
    begin = time.monotonic()
    again = replay(live.documents, collect(timeout=0.3))
    assert len(again.errors) == 10
    assert 0.3 <= time.monotonic() - begin < 2.5  # and not 3 s


def test_a_document_that_never_comes(
    run_engine: RunEngine, file_detector: Any, collect: Collect
) -> None:
    detector, live = file_detector("AD_TIFF"), collect()
    run_engine(bp.count([detector], 2), live)
    datum_id = live.of("datum")[1]["datum_id"]
    documents = [pair for pair in live.documents if pair[1].get("datum_id") != datum_id]
    again = replay(documents, collect())
    assert again.indices == [0]
    (error,) = again.errors
    assert f"number 1. No document {datum_id} ever said where they are" in str(error)


def test_a_run_joined_too_late(
    run_engine: RunEngine,
    blob_detector: SimBlobDetector,
    collect: Collect,
    caplog: pytest.LogCaptureFixture,
) -> None:
    live = collect()
    run_engine(bp.count([blob_detector], 3), live)
    late = collect()
    with caplog.at_level(logging.WARNING):
        replay(live.documents[5:], late)
        replay(live.documents, late)
    assert caplog.text.count("has not been seen") == 1
    assert late.indices == [0, 1, 2]  # of the complete one


@pytest.mark.parametrize(
    ("value", "reason"),
    [
        (np.zeros((2, 3, 4)), "holds 2 frames, but its data key describes 1"),
        (np.zeros(4), "no image"),
        ([["a", "b"]], "no image"),
        ([[1, 2], [3]], "no array of numbers"),
    ],
)
def test_events_that_hold_no_frame(
    run_engine: RunEngine, collect: Collect, value: object, reason: str
) -> None:
    detector, live = InlineDetector(), collect()
    run_engine(bp.count([detector.signal], 3), live)
    live.of("event")[1]["data"]["camera"] = value
    again = replay(live.documents, collect())
    assert again.indices == [0, 2]
    (error,) = again.errors
    assert reason in str(error)

    page = pack_event_page(*live.of("event"))
    documents: Documents = [*live.documents[:2], ("event_page", page)]
    paged = replay(documents, collect())
    assert paged.indices == [0, 2]
    assert [str(error) for error in paged.errors] == [str(error)]


def test_an_unknown_kind_of_resource(
    run_engine: RunEngine, file_detector: Any, collect: Collect
) -> None:
    """It fails as soon as it matters, and spoils nothing else in the event."""
    detector, inline, live = file_detector("AD_TIFF"), InlineDetector(), collect()
    inline.signal.name = "inline"
    run_engine(bp.count([detector, inline.signal], 2), live)
    live.of("resource")[0].update(spec="SPE", resource_kwargs={})
    again = replay(live.documents, collect())
    assert [batch.data_key for batch in again.batches] == ["inline", "inline"]
    assert "is of the kind 'SPE'; frames are read from" in str(again.errors[0])
    assert len(again.errors) == 2
    assert replay(live.documents, collect(data_keys=["inline"])).errors == []


def test_unequal_numbers_of_indices_and_events(
    run_engine: RunEngine, blob_detector: SimBlobDetector, collect: Collect
) -> None:
    live = collect()
    run_engine(bp.count([blob_detector], 1), live)
    live.of("stream_datum")[0]["seq_nums"]["stop"] += 1
    again = replay(live.documents, collect())
    assert again.batches == []
    assert "1 indices for 2 events" in str(again.errors[0])


def test_documents_are_taken_without_iterating(
    run_engine: RunEngine, blob_detector: SimBlobDetector, collect: Collect
) -> None:
    live = collect()
    run_engine(bp.count([blob_detector], 2), live)
    source = collect().source
    given = [source(name, doc) for name, doc in live.documents]
    assert sum(len(batch.frames) for batches in given for batch in batches) == 2
