"""Runs of frames become runs of patterns, whatever goes wrong on the way."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import bluesky.plan_stubs as bps
import bluesky.plans as bp
import bluesky.preprocessors as bpp
import h5py
import hdf5plugin
import numpy as np
import pytest
from bluesky import RunEngine
from bluesky.callbacks.best_effort import BestEffortCallback
from bluesky.utils import MsgGenerator
from event_model import DocumentNames, compose_run, pack_event_page, schema_validators
from numpy.typing import NDArray
from ophyd_async.core import TriggerInfo
from ophyd_async.sim import SimBlobDetector

from bluesky_azint import Detector, Geometry, Integrator, Recipe
from bluesky_azint.callbacks import Reducer
from bluesky_azint.errors import RecipeError
from bluesky_azint.io.poni import geometry_from_dict
from bluesky_azint.store import CalibrationRecord, DirectoryStore

ROWS, COLUMNS = 30, 40
RECIPE = Recipe(npt=50, unit="q_nm^-1", error_model="poisson")
DETECTOR = Detector(1e-4, 1e-4, shape=(ROWS, COLUMNS))
GEOMETRY = Geometry(detector=DETECTOR, dist=0.1, poni1=0.001, poni2=0.002, wavelength=1e-10)
FRAMES = np.random.default_rng(3).poisson(100, (6, ROWS, COLUMNS)).astype(np.uint16)

Document = dict[str, Any]


class Emitted:
    """Takes what a reducer emits, and reads the files that it announces as a consumer does."""

    def __init__(self) -> None:
        self.documents: list[tuple[str, Document]] = []
        self.rows: dict[str, int] = {}

    def __call__(self, name: str, doc: Any) -> None:
        schema_validators[getattr(DocumentNames, name)].validate(doc)
        self.documents.append((name, doc))

    def of(self, name: str) -> list[Document]:
        return [doc for kind, doc in self.documents if kind == name]

    def one(self, name: str) -> Document:
        (doc,) = self.of(name)
        return doc

    def column(self, key: str, stream: str = "primary") -> NDArray[Any]:
        """What was announced of a column; every row is announced exactly once, in order."""
        (descriptor,) = (doc for doc in self.of("descriptor") if doc["name"] == stream)
        announced = [
            doc for doc in self.of("stream_datum") if doc["descriptor"] == descriptor["uid"]
        ]
        resource = next(
            doc for doc in self.of("stream_resource")
            if doc["data_key"] == key and doc["uid"] in {d["stream_resource"] for d in announced}
        )  # fmt: skip
        rows = 0
        for doc in announced:
            if doc["stream_resource"] == resource["uid"]:
                assert doc["indices"]["start"] == rows
                rows = doc["indices"]["stop"]
                assert doc["seq_nums"]["stop"] == rows + 1
        assert resource["uri"].startswith("file://localhost/")
        with h5py.File(resource["uri"].removeprefix("file://localhost"), "r", swmr=True) as file:
            values: NDArray[Any] = file[resource["parameters"]["dataset"]][()]
        assert len(values) >= rows
        return values[:rows]

    def in_file(self, dataset: str) -> NDArray[Any]:
        """What the one file has, announced or not."""
        (uri,) = {doc["uri"] for doc in self.of("stream_resource")}
        with h5py.File(uri.removeprefix("file://localhost"), "r", swmr=True) as file:
            values: NDArray[Any] = file[dataset][()]
        return values


class RawRun:
    """Documents of a raw run with frames inside of events, given to a reducer one by one."""

    def __init__(self, reducer: Reducer, **metadata: Any) -> None:
        self.reducer = reducer
        self.run = compose_run(metadata={"scan_id": 7, **metadata})
        self.uid = self.run.start_doc["uid"]
        reducer("start", self.run.start_doc)

    def describe(
        self, name: str = "primary", keys: tuple[str, ...] = ("image",), **configuration: Any
    ) -> Callable[..., None]:
        """Emit a descriptor; the function that is returned emits an event of it."""
        image: Any = {"source": "test", "dtype": "array", "shape": [ROWS, COLUMNS]}
        bundle = self.run.compose_descriptor(
            name,
            dict.fromkeys(keys, image),
            object_keys={f"{key}_device": [key] for key in keys},
            configuration={
                key: {"data": data, "timestamps": {}, "data_keys": {}}
                for key, data in configuration.items()
            },
        )
        self.reducer("descriptor", bundle.descriptor_doc)

        def take(*frames: NDArray[Any], seq_num: int | None = None) -> None:
            data = dict(zip(keys, frames, strict=True))
            event = bundle.compose_event(
                data=data,
                timestamps=dict.fromkeys(keys, 0.0),
                seq_num=seq_num,
                time=1000.0 + (seq_num or 0),
                validate=False,
            )
            self.reducer("event", event)

        return take

    def stop(self, **options: Any) -> None:
        self.reducer("stop", self.run.compose_stop(**options))


@pytest.fixture
def emitted() -> Emitted:
    return Emitted()


@pytest.fixture
def make_reducer(emitted: Emitted, tmp_path: Path) -> Iterator[Callable[..., Reducer]]:
    """Make a reducer that emits into `emitted`; options as usual."""
    made: list[Reducer] = []

    def make(**options: Any) -> Reducer:
        usual = {"recipe": RECIPE, "default": GEOMETRY, "engine": "scipy"}
        options = {"emit": emitted, "directory": tmp_path / "reduced", **usual, **options}
        made.append(Reducer(options.pop("emit"), **options))
        return made[-1]

    yield make
    for reducer in made:
        reducer.close()


@pytest.fixture
def reducer(make_reducer: Callable[..., Reducer]) -> Reducer:
    return make_reducer()


def integrate(
    frames: NDArray[Any], geometry: Geometry = GEOMETRY, mask: NDArray[Any] | None = None
) -> NDArray[Any]:
    return (
        Integrator.from_recipe(geometry, RECIPE, mask=mask, engine="scipy")
        .integrate(frames, alone=True)
        .intensity
    )


def test_patterns_are_those_of_the_integrator(reducer: Reducer, emitted: Emitted) -> None:
    raw = RawRun(reducer)
    take = raw.describe()
    for frame in FRAMES:
        take(frame)
    raw.stop()
    expected = Integrator.from_recipe(GEOMETRY, RECIPE, engine="scipy").integrate(FRAMES)
    assert np.array_equal(emitted.column("intensity"), expected.intensity)
    assert np.array_equal(emitted.column("sigma"), expected.sigma)  # type: ignore[arg-type]
    for key in ("count", "sum_signal", "sum_variance", "sum_normalization"):
        assert np.array_equal(emitted.in_file(f"/entry/sums/{key}"), getattr(expected, key)), key
    assert emitted.column("raw_seq_num").tolist() == [1, 2, 3, 4, 5, 6]
    stop = emitted.one("stop")
    assert (stop["exit_status"], stop["reason"]) == ("success", "")
    assert stop["num_events"] == {"primary": 6}


def test_each_pattern_is_announced_with_its_frame(reducer: Reducer, emitted: Emitted) -> None:
    raw = RawRun(reducer)
    take = raw.describe()
    for number, frame in enumerate(FRAMES, start=1):
        take(frame)
        assert np.array_equal(emitted.column("intensity"), integrate(FRAMES[:number]))


def test_start_tells_how_the_patterns_are_made(reducer: Reducer, emitted: Emitted) -> None:
    raw = RawRun(
        reducer,
        sample={"name": "LaB6"},
        data_session="cm1",
        tiled_access_tags=["cm"],
        hints={"dimensions": [[["motor"], "primary"]]},
        plan_name="scan",
    )
    raw.describe()(FRAMES[0])
    raw.stop()
    start = emitted.one("start")
    assert start["raw_uid"] == raw.uid
    assert start["parent_uids"] == [raw.uid]
    assert start["uid"] != raw.uid
    assert (start["plan_name"], start["analysis_stage"]) == ("azint1d", "azint1d")
    assert (start["scan_id"], start["data_session"]) == (7, "cm1")
    assert start["sample"] == {"name": "LaB6"}
    assert start["tiled_access_tags"] == ["cm"]
    assert start["tiled_specs"] == ["AzintRun"]
    assert start["hints"] == {"dimensions": [[["motor"], "primary"]]}
    assert geometry_from_dict(start["geometry"]) == GEOMETRY
    assert start["detector"] == "image_device"
    assert start["calibration_origin"] == "the default of the reducer"
    assert Recipe.from_dict(start["recipe"]) == RECIPE
    assert start["recipe_hash"] == RECIPE.hash
    assert start["versions"]["bluesky-azint"]


def test_descriptor_has_the_radial_axis_and_the_geometry(
    reducer: Reducer, emitted: Emitted
) -> None:
    raw = RawRun(reducer)
    raw.describe()(FRAMES[0])
    descriptor = emitted.one("descriptor")
    assert descriptor["name"] == "primary"
    assert descriptor["data_keys"]["intensity"]["shape"] == [50]
    assert descriptor["data_keys"]["intensity"]["dims"] == ["q"]
    azint = descriptor["configuration"]["azint"]
    radial = Integrator.from_recipe(GEOMETRY, RECIPE, engine="scipy").radial
    assert azint["data"]["q"] == radial.tolist()
    assert azint["data_keys"]["q"]["units"] == "1/nm"
    assert azint["data"]["dist"] == GEOMETRY.dist
    assert azint["data"]["engine"] == "scipy"


def test_stored_calibration_brings_its_mask(
    make_reducer: Callable[..., Reducer], emitted: Emitted, tmp_path: Path
) -> None:
    store = DirectoryStore(tmp_path / "store")
    mask = np.zeros((ROWS, COLUMNS), dtype=bool)
    mask[:, 20:] = True
    record = CalibrationRecord(
        detector="image_device",
        geometry=GEOMETRY,
        mask=mask,
        valid_from=datetime(2020, 1, 1, tzinfo=UTC),
    )
    store.save(record)
    raw = RawRun(make_reducer(store=store, default=None))
    raw.describe()(FRAMES[0])
    raw.stop()
    start = emitted.one("start")
    assert start["calibration_uid"] == record.uid
    assert start["mask_sha256"] in record.masks
    assert np.array_equal(emitted.column("intensity")[0], integrate(FRAMES[0], mask=mask))


def test_detector_without_a_shape_gets_it_from_the_frames(
    make_reducer: Callable[..., Reducer], emitted: Emitted
) -> None:
    shapeless = replace(GEOMETRY, detector=Detector(1e-4, 1e-4))
    raw = RawRun(make_reducer(default=shapeless))
    raw.describe()(FRAMES[0])
    raw.stop()
    assert np.array_equal(emitted.column("intensity")[0], integrate(FRAMES[0]))
    assert emitted.one("stop")["exit_status"] == "success"


def inside(run_engine: Any, plan: MsgGenerator[Any], *subscribers: Callable[..., Any]) -> None:
    for subscriber in subscribers:
        run_engine.subscribe(subscriber)
    run_engine(plan)


@pytest.mark.parametrize("frames_per_point", [1, 3])
@pytest.mark.parametrize("spec", ["AD_HDF5_SWMR", "AD_HDF5", "AD_TIFF"])
def test_frames_in_files_of_ophyd(
    run_engine: RunEngine,
    file_detector: Callable[..., Any],
    reducer: Reducer,
    emitted: Emitted,
    spec: str,
    frames_per_point: int,
) -> None:
    detector = file_detector(spec, frames_per_point)
    inside(run_engine, bp.count([detector], 4), reducer)
    frames = np.concatenate(detector.taken)
    assert np.array_equal(emitted.column("intensity"), integrate(frames))
    expected = np.repeat([1, 2, 3, 4], frames_per_point)
    assert np.array_equal(emitted.column("raw_seq_num"), expected)
    assert emitted.one("stop")["exit_status"] == "success"
    assert emitted.one("stop")["num_events"] == {"primary": 4 * frames_per_point}


def fly(detector: SimBlobDetector, info: TriggerInfo) -> MsgGenerator[Any]:
    def plan() -> MsgGenerator[None]:
        yield from bps.prepare(detector, info, wait=True)
        yield from bps.declare_stream(detector, name="primary", collect=True)
        yield from bps.kickoff(detector, wait=True)
        yield from bps.collect_while_completing([detector], [detector], flush_period=0.05)

    wrappers: Any = bpp
    wrapped: MsgGenerator[Any] = wrappers.stage_wrapper(wrappers.run_wrapper(plan()), [detector])
    return wrapped


@pytest.mark.parametrize("collections_per_event", [1, 4])
def test_fly_scan_of_ophyd_async(
    run_engine: RunEngine,
    blob_detector: SimBlobDetector,
    make_reducer: Callable[..., Reducer],
    emitted: Emitted,
    collections_per_event: int,
) -> None:
    geometry = Geometry(detector=Detector(1e-4, 1e-4, shape=(240, 320)), wavelength=1e-10)
    info = TriggerInfo(
        number_of_events=24 // collections_per_event,
        collections_per_event=collections_per_event,
        livetime=0.01,
    )
    raw: list[tuple[str, Document]] = []
    reducer = make_reducer(default=geometry)
    inside(run_engine, fly(blob_detector, info), reducer, lambda *args: raw.append(args))
    (resource,) = (d for n, d in raw if n == "stream_resource" and d["data_key"] == "blob")
    with h5py.File(resource["uri"].removeprefix("file://localhost"), "r") as file:
        frames = file[resource["parameters"]["dataset"]][()]
    assert len(frames) == 24
    assert np.array_equal(emitted.column("intensity"), integrate(frames, geometry))
    assert emitted.one("stop")["exit_status"] == "success", emitted.one("stop")["reason"]


def test_pages_of_events(reducer: Reducer, emitted: Emitted) -> None:
    run = compose_run()
    image: Any = {"source": "test", "dtype": "array", "shape": [ROWS, COLUMNS]}
    bundle = run.compose_descriptor("primary", {"image": image})
    events = [
        bundle.compose_event(data={"image": frame}, timestamps={"image": 0.0}, validate=False)
        for frame in FRAMES
    ]
    for name, doc in (
        ("start", run.start_doc),
        ("descriptor", bundle.descriptor_doc),
        ("event_page", pack_event_page(*events)),
        ("stop", run.compose_stop()),
    ):
        reducer(name, doc)
    assert np.array_equal(emitted.column("intensity"), integrate(FRAMES))


def test_rewound_events_replace_their_rows(reducer: Reducer, emitted: Emitted) -> None:
    raw = RawRun(reducer)
    take = raw.describe()
    for seq_num, frame in zip((1, 2, 3, 2, 3, 4), FRAMES, strict=True):
        take(frame, seq_num=seq_num)
    raw.stop()
    assert np.array_equal(emitted.column("intensity"), integrate(FRAMES[[0, 3, 4, 5]]))
    assert emitted.column("raw_seq_num").tolist() == [1, 2, 3, 4]
    assert emitted.one("stop")["num_events"] == {"primary": 4}
    assert emitted.one("stop")["exit_status"] == "success"


@pytest.fixture
def two_places(tmp_path: Path) -> DirectoryStore:
    """Calibrations ``at1`` and ``at2``, of the detector at 0.1 and 0.2 m."""
    from dataclasses import replace

    store = DirectoryStore(tmp_path / "store")
    for dist in (0.1, 0.2):
        record = CalibrationRecord(
            detector="image_device",
            geometry=replace(GEOMETRY, dist=dist),
            uid=f"at{dist * 10:.0f}",
            valid_from=datetime(2020, 1, 1, tzinfo=UTC),
        )
        store.save(record)
    return store


NEAR, FAR = ({"calibration_uid": uid} for uid in ("at1", "at2"))


def test_another_geometry_in_the_middle_is_another_stream(
    make_reducer: Callable[..., Reducer], emitted: Emitted, two_places: DirectoryStore
) -> None:
    raw = RawRun(make_reducer(store=two_places))
    raw.describe(image_device=NEAR)(FRAMES[0])
    raw.describe(image_device=NEAR)(FRAMES[1])
    take = raw.describe(image_device=FAR)
    take(FRAMES[2])
    take(FRAMES[3])
    raw.describe(image_device=NEAR)(FRAMES[4])
    raw.stop()
    expected = {
        "primary": integrate(FRAMES[:2]),
        "primary_2": integrate(FRAMES[2:4], replace(GEOMETRY, dist=0.2)),
        "primary_3": integrate(FRAMES[4:5]),
    }
    assert [doc["name"] for doc in emitted.of("descriptor")] == list(expected)
    for stream, patterns in expected.items():
        assert np.array_equal(emitted.column("intensity", stream), patterns), stream
    assert emitted.column("raw_seq_num", "primary_2").tolist() == [3, 4]
    axes = [d["configuration"]["azint"]["data"]["q"][-1] for d in emitted.of("descriptor")]
    assert axes[0] == axes[2] != axes[1]
    assert emitted.one("stop")["exit_status"] == "success"
    assert emitted.one("stop")["num_events"] == {"primary": 2, "primary_2": 2, "primary_3": 1}


def test_rewound_beyond_a_change_of_the_geometry(
    make_reducer: Callable[..., Reducer], emitted: Emitted, two_places: DirectoryStore
) -> None:
    raw = RawRun(make_reducer(store=two_places))
    take = raw.describe(image_device=NEAR)
    take(FRAMES[0], seq_num=1)
    take(FRAMES[1], seq_num=2)
    take = raw.describe(image_device=FAR)
    take(FRAMES[2], seq_num=3)
    take(FRAMES[3], seq_num=2)
    take(FRAMES[4], seq_num=3)
    raw.stop()
    far = replace(GEOMETRY, dist=0.2)
    assert np.array_equal(emitted.column("intensity"), integrate(FRAMES[:2]))
    assert np.array_equal(emitted.column("intensity", "primary_2"), integrate(FRAMES[2:3], far))
    assert np.array_equal(emitted.column("intensity", "primary_3"), integrate(FRAMES[3:5], far))
    assert emitted.column("raw_seq_num", "primary_3").tolist() == [2, 3]
    assert emitted.one("stop")["exit_status"] == "success"


def test_a_frame_that_cannot_be_reduced_leaves_a_row_of_nan(
    reducer: Reducer, emitted: Emitted, caplog: pytest.LogCaptureFixture
) -> None:
    raw = RawRun(reducer)
    take = raw.describe()
    for frame in (FRAMES[0], FRAMES[1, 1:], FRAMES[2], FRAMES[3, 1:]):
        take(frame)
    raw.stop()
    intensity = emitted.column("intensity")
    assert np.array_equal(intensity[[0, 2]], integrate(FRAMES[[0, 2]]))
    assert np.isnan(intensity[[1, 3]]).all()
    assert (emitted.in_file("/entry/sums/count")[[1, 3]] == 0).all()
    assert emitted.column("raw_seq_num").tolist() == [1, 2, 3, 4]
    stop = emitted.one("stop")
    assert stop["exit_status"] == "fail"
    assert "2 of 4 (2, 4)" in stop["reason"]
    assert "(29, 40)" in stop["reason"]
    told = [record for record in caplog.records if "(29, 40)" in record.message]
    assert len(told) == 2  # when it happened, and in the end


def test_a_cake_that_cannot_be_made_leaves_a_row_of_nan(
    make_reducer: Callable[..., Reducer], emitted: Emitted
) -> None:
    raw = RawRun(make_reducer(recipe=replace(RECIPE, npt_azim=5)))
    take = raw.describe()
    for frame in (FRAMES[0], FRAMES[1, 1:]):
        take(frame)
    raw.stop()
    intensity = emitted.column("intensity")
    assert intensity.shape == (2, 5, RECIPE.npt)
    assert np.isfinite(intensity[0]).all()
    assert np.isnan(intensity[1]).all()


def test_frames_without_a_usable_pixel_are_told_once(
    reducer: Reducer, emitted: Emitted, caplog: pytest.LogCaptureFixture
) -> None:
    raw = RawRun(reducer)
    take = raw.describe()
    for frame in (FRAMES[0], np.full_like(FRAMES[1], 65535), np.full_like(FRAMES[1], 65535)):
        take(frame)
    raw.stop()
    told = [record.message for record in caplog.records if "no usable pixel" in record.message]
    assert len(told) == 1
    assert told[0].startswith("Event 2 of the stream 'primary'")
    assert (emitted.in_file("/entry/sums/count")[1:] == 0).all()


def test_a_frame_that_fails_when_it_is_taken_again_is_missing(
    reducer: Reducer, emitted: Emitted
) -> None:
    raw = RawRun(reducer)
    take = raw.describe()
    for seq_num, frame in ((1, FRAMES[0]), (2, FRAMES[1]), (1, FRAMES[2, 1:]), (2, FRAMES[3])):
        take(frame, seq_num=seq_num)
    raw.stop()
    assert "1 of 2 (1)" in emitted.one("stop")["reason"]
    assert np.isnan(emitted.column("intensity")).all(axis=1).tolist() == [True, False]


def announce(reducer: Reducer, run: Any, path: Path) -> tuple[Any, Any]:
    """Begin a run, of which a file holds the frames; its resource and its descriptor."""
    image: Any = {
        "source": "test", "dtype": "array", "shape": [1, ROWS, COLUMNS], "external": "STREAM:",
    }  # fmt: skip
    descriptor = run.compose_descriptor("primary", {"image": image}).descriptor_doc
    resource = run.compose_stream_resource(
        mimetype="application/x-hdf5",
        uri=path.as_uri(),
        data_key="image",
        parameters={"dataset": "/frames"},
    )
    reducer("start", run.start_doc)
    reducer("descriptor", descriptor)
    reducer("stream_resource", resource.stream_resource_doc)
    return resource, descriptor


def test_every_event_has_its_row_even_if_its_frame_was_never_there(
    reducer: Reducer, emitted: Emitted, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reducer._source, "timeout", 0.0)
    path = tmp_path / "raw.h5"
    with h5py.File(path, "w") as file:
        file["frames"] = FRAMES[:3]
    run = compose_run()
    resource, descriptor = announce(reducer, run, path)
    for start, stop in ((0, 2), (2, 5)):
        datum = resource.compose_stream_datum(
            {"start": start, "stop": stop}, {"start": start + 1, "stop": stop + 1}, descriptor
        )
        reducer("stream_datum", datum)
    reducer("stop", run.compose_stop() | {"num_events": {"primary": 5}})
    intensity = emitted.column("intensity")
    assert len(intensity) == 5
    assert np.array_equal(intensity[:3], integrate(FRAMES[:3]))
    assert np.isnan(intensity[3:]).all()
    assert emitted.column("raw_seq_num").tolist() == [1, 2, 3, 0, 0]
    assert "2 of 5 (4-5)" in emitted.one("stop")["reason"]
    assert "raw.h5" in emitted.one("stop")["reason"]


@pytest.mark.parametrize("engine", ["scipy", "opencl"])
def test_of_packed_frames_only_the_damaged_one_is_missing(
    make_reducer: Callable[..., Reducer], emitted: Emitted, tmp_path: Path, engine: str
) -> None:
    path = tmp_path / "raw.h5"
    with h5py.File(path, "w") as file:
        options = hdf5plugin.Bitshuffle(cname="lz4")
        chunks = (1, ROWS, COLUMNS)
        frames = file.create_dataset("frames", data=FRAMES, chunks=chunks, **options)
        chunk = frames.id.read_direct_chunk((2, 0, 0))[1]
        frames.id.write_direct_chunk((2, 0, 0), chunk[:-30])
    run = compose_run()
    reducer = make_reducer(engine=engine)
    resource, descriptor = announce(reducer, run, path)
    datum = resource.compose_stream_datum(
        {"start": 0, "stop": 6}, {"start": 1, "stop": 7}, descriptor
    )
    reducer("stream_datum", datum)
    reducer("stop", run.compose_stop() | {"num_events": {"primary": 6}})
    intensity = emitted.column("intensity")
    good = [0, 1, 3, 4, 5]
    np.testing.assert_allclose(intensity[good], integrate(FRAMES[good]), rtol=1e-6)
    assert np.isnan(intensity[2]).all()
    assert f"Frame 2 of {path}::/frames is damaged" in emitted.one("stop")["reason"]


def test_without_a_calibration_the_run_fails_and_says_why(
    make_reducer: Callable[..., Reducer],
    emitted: Emitted,
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
) -> None:
    raw = RawRun(make_reducer(store=DirectoryStore(tmp_path / "empty"), default=None))
    take = raw.describe()
    assert "There is no calibration of the detector 'image_device'" in caplog.text
    take(FRAMES[0])
    raw.stop()
    assert [name for name, _ in emitted.documents] == ["start", "stop"]
    assert emitted.one("start")["raw_uid"] == raw.uid
    assert "geometry" not in emitted.one("start")
    stop = emitted.one("stop")
    assert stop["exit_status"] == "fail"
    assert "1 of 1 (1)" in stop["reason"]
    assert "There is no calibration of the detector 'image_device'" in stop["reason"]


def test_what_cannot_be_computed_fails_the_run_alone(
    make_reducer: Callable[..., Reducer], emitted: Emitted
) -> None:
    reducer = make_reducer(default=replace(GEOMETRY, wavelength=None))
    raw = RawRun(reducer)
    raw.describe()(FRAMES[0])
    raw.stop()
    assert "needs a wavelength" in emitted.one("stop")["reason"]
    assert emitted.one("start")["geometry"]["dist"] == GEOMETRY.dist


@pytest.mark.parametrize("exit_status", ["abort", "fail"])
def test_an_aborted_run_keeps_what_came(
    reducer: Reducer, emitted: Emitted, exit_status: str, caplog: pytest.LogCaptureFixture
) -> None:
    raw = RawRun(reducer)
    raw.describe()(FRAMES[0])
    raw.stop(exit_status=exit_status, reason="No beam.")
    stop = emitted.one("stop")
    assert stop["exit_status"] == exit_status
    assert "No beam." in stop["reason"]
    assert np.array_equal(emitted.column("intensity"), integrate(FRAMES[:1]))
    assert not caplog.text  # all there was is reduced


def test_runs_may_be_interleaved_and_do_not_touch_each_other(
    reducer: Reducer, emitted: Emitted
) -> None:
    first, second = RawRun(reducer), RawRun(reducer)
    take_first, take_second = first.describe(), second.describe()
    take_first(FRAMES[0])
    take_second(FRAMES[1, 1:])
    take_first(FRAMES[2])
    second.stop()
    take_first(FRAMES[3])
    first.stop()
    start = {doc["uid"]: doc["raw_uid"] for doc in emitted.of("start")}
    stops = {start[doc["run_start"]]: doc for doc in emitted.of("stop")}
    assert stops[first.uid]["exit_status"] == "success"
    assert stops[first.uid]["num_events"] == {"primary": 3}
    assert stops[second.uid]["exit_status"] == "fail"


def test_each_detector_has_a_reduced_run(reducer: Reducer, emitted: Emitted) -> None:
    raw = RawRun(reducer)
    take = raw.describe(keys=("image", "other"))
    take(FRAMES[0], FRAMES[1])
    raw.stop()
    starts = emitted.of("start")
    assert [doc["raw_data_key"] for doc in starts] == ["image", "other"]
    assert {doc["raw_uid"] for doc in starts} == {raw.uid}
    assert len({doc["uid"] for doc in starts}) == 2
    assert len(emitted.of("stop")) == 2


def test_only_the_data_keys_asked_for(
    make_reducer: Callable[..., Reducer], emitted: Emitted
) -> None:
    raw = RawRun(make_reducer(data_keys=["other"]))
    raw.describe(keys=("image", "other"))(FRAMES[0], FRAMES[1])
    raw.stop()
    assert emitted.one("start")["raw_data_key"] == "other"


def test_streams_of_the_sample_alone_are_reduced(
    reducer: Reducer, emitted: Emitted, caplog: pytest.LogCaptureFixture
) -> None:
    raw = RawRun(reducer)
    raw.describe("dark")(FRAMES[0])
    raw.describe("baseline")(FRAMES[0])
    assert emitted.documents == []
    raw.describe("primary")(FRAMES[1])
    raw.describe("after")(FRAMES[2])
    raw.stop()
    assert [doc["name"] for doc in emitted.of("descriptor")] == ["primary", "after"]
    assert np.array_equal(emitted.column("intensity", "after"), integrate(FRAMES[2:3]))
    assert not caplog.records


def test_a_run_without_images_is_not_reduced(reducer: Reducer, emitted: Emitted) -> None:
    raw = RawRun(reducer)
    raw.describe(keys=())()
    raw.stop()
    assert emitted.documents == []


def test_a_consumer_that_raises_costs_no_pattern(
    make_reducer: Callable[..., Reducer], tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    def broken(name: str, doc: Any) -> None:
        raise OSError("The consumer is gone.")

    raw = RawRun(make_reducer(emit=broken))
    raw.describe()(FRAMES[0])
    raw.stop()
    assert "The consumer is gone." in caplog.text
    (path,) = (tmp_path / "reduced").glob("*.nxs")
    with h5py.File(path) as file:
        assert np.array_equal(file["entry/data/I"][()], integrate(FRAMES[:1]))


def test_a_directory_that_cannot_be_written_fails_the_run(
    make_reducer: Callable[..., Reducer], emitted: Emitted, tmp_path: Path
) -> None:
    (tmp_path / "file").touch()
    reducer = make_reducer(directory=tmp_path / "file" / "reduced")
    raw = RawRun(reducer)
    take = raw.describe()
    take(FRAMES[0])
    take(FRAMES[1])
    raw.stop()
    stop = emitted.one("stop")
    assert stop["exit_status"] == "fail"
    assert "2 of 2 (1-2)" in stop["reason"]
    assert "Not a directory" in stop["reason"]


def test_a_disk_that_fails_for_a_moment_costs_that_row(
    reducer: Reducer, emitted: Emitted, monkeypatch: pytest.MonkeyPatch
) -> None:
    raw = RawRun(reducer)
    take = raw.describe()
    take(FRAMES[0])

    def write(*_: object, **__: object) -> None:
        raise OSError("No space left on device")

    with monkeypatch.context() as full:
        full.setattr("bluesky_azint.io.nexus.AzintWriter.write", write)
        take(FRAMES[1])
    take(FRAMES[2])
    raw.stop()
    assert np.array_equal(emitted.column("intensity")[[0, 2]], integrate(FRAMES[[0, 2]]))
    assert np.isnan(emitted.column("intensity")[1]).all()
    assert "1 of 3 (2)" in emitted.one("stop")["reason"]
    assert "No space left on device" in emitted.one("stop")["reason"]


def test_a_session_may_change_folders(
    make_reducer: Callable[..., Reducer],
    emitted: Emitted,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)
    raw = RawRun(make_reducer(directory="reduced"))
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir("elsewhere")
    raw.describe()(FRAMES[0])
    raw.stop()
    assert len(list((tmp_path / "reduced").glob("*.nxs"))) == 1
    assert np.array_equal(emitted.column("intensity"), integrate(FRAMES[:1]))


def test_subscribed_in_the_middle_of_a_run(
    reducer: Reducer, emitted: Emitted, caplog: pytest.LogCaptureFixture
) -> None:
    raw = RawRun(Reducer(Emitted(), recipe=RECIPE, flavour="inline"))
    raw.reducer = reducer
    take = raw.describe()
    take(FRAMES[0])
    raw.stop()
    assert "without its start document" in caplog.text
    assert emitted.documents == []


def test_closing_ends_the_runs_under_way(reducer: Reducer, emitted: Emitted) -> None:
    raw = RawRun(reducer)
    raw.describe()(FRAMES[0])
    reducer.close()
    stop = emitted.one("stop")
    assert stop["exit_status"] == "fail"
    assert "closed before the raw run" in stop["reason"]
    assert np.array_equal(emitted.column("intensity"), integrate(FRAMES[:1]))


def test_tables_are_built_once_for_a_calibration(
    reducer: Reducer, monkeypatch: pytest.MonkeyPatch
) -> None:
    built: list[Geometry] = []
    build = Integrator.from_recipe

    def note(geometry: Geometry, *args: Any, **options: Any) -> Integrator:
        built.append(geometry)
        return build(geometry, *args, **options)

    monkeypatch.setattr(Integrator, "from_recipe", note)
    for _ in range(3):
        raw = RawRun(reducer)
        raw.describe()(FRAMES[0])
        raw.stop()
    assert built == [GEOMETRY]


def test_files_are_named_after_the_scan(reducer: Reducer, emitted: Emitted, tmp_path: Path) -> None:
    raw = RawRun(reducer)
    raw.describe(keys=("a b",))(FRAMES[0])
    raw.stop()
    (path,) = (tmp_path / "reduced").iterdir()
    assert path.name == f"00007_a-b_primary_{emitted.one('start')['uid'][:8]}.nxs"


def test_inline_patterns_are_the_same(
    make_reducer: Callable[..., Reducer], emitted: Emitted
) -> None:
    raw = RawRun(make_reducer(flavour="inline", directory=None))
    take = raw.describe()
    for seq_num, frame in zip((1, 2, 3, 2), FRAMES, strict=False):
        take(frame, seq_num=seq_num)
    raw.stop(exit_status="abort")
    events = emitted.of("event")
    assert [event["seq_num"] for event in events] == [1, 2, 3, 2]
    assert [event["time"] for event in events] == [1001.0, 1002.0, 1003.0, 1002.0]
    assert all(type(event["data"]["intensity"]) is list for event in events)
    patterns = np.array([event["data"]["intensity"] for event in events])
    assert np.array_equal(patterns, integrate(FRAMES[:4]))
    expected = Integrator.from_recipe(GEOMETRY, RECIPE, engine="scipy").integrate(FRAMES[:4])
    sigma = np.array([event["data"]["sigma"] for event in events])
    assert expected.sigma is not None
    assert np.array_equal(sigma, expected.sigma)
    for event, signal, pattern in zip(events, expected.sum_signal, patterns, strict=True):
        assert event["data"]["total"] == signal.sum()
        assert event["data"]["peak"] == expected.radial[pattern.argmax()]
    assert emitted.one("descriptor")["hints"]["azint"]["fields"] == ["total", "peak"]
    assert emitted.one("stop")["num_events"] == {"primary": 3}


def test_inline_patterns_are_in_live_tables(
    make_reducer: Callable[..., Reducer], capsys: pytest.CaptureFixture[str]
) -> None:
    best_effort: Any = BestEffortCallback()  # type: ignore[no-untyped-call]
    best_effort.disable_plots()
    hints = {"dimensions": [[["motor"], "primary"]]}
    raw = RawRun(make_reducer(emit=best_effort, flavour="inline"), hints=hints)
    raw.describe()(FRAMES[0])
    raw.stop()
    expected = Integrator.from_recipe(GEOMETRY, RECIPE, engine="scipy").integrate(FRAMES[0])
    assert f"{expected.sum_signal.sum():.3f}" in capsys.readouterr().out


def test_inline_event_without_a_pattern(
    make_reducer: Callable[..., Reducer], emitted: Emitted
) -> None:
    raw = RawRun(make_reducer(flavour="inline"))
    take = raw.describe()
    take(FRAMES[0])
    take(FRAMES[1, 1:])
    raw.stop()
    _, event = emitted.of("event")
    assert np.isnan(event["data"]["intensity"]).all()
    assert np.isnan(event["data"]["peak"])
    assert emitted.one("stop")["exit_status"] == "fail"


@pytest.mark.parametrize(
    ("options", "message"),
    [({"flavour": "files"}, "no flavour 'files'"), ({"directory": None}, "flavour='inline'")],
)
def test_wrong_options_are_refused_at_once(
    make_reducer: Callable[..., Reducer], options: dict[str, Any], message: str
) -> None:
    with pytest.raises(RecipeError, match=message):
        make_reducer(**options)


def test_errors_are_told_once(reducer: Reducer, caplog: pytest.LogCaptureFixture) -> None:
    raw = RawRun(reducer)
    take = raw.describe()
    for _ in range(20):
        take(FRAMES[0, 1:])
    with caplog.at_level(logging.ERROR):
        raw.stop()
    assert len([record for record in caplog.records if record.levelno == logging.ERROR]) == 2
