"""Patterns out of Tiled, with what they mean, also while they are being written."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
from event_model import ComposeDescriptorBundle, compose_run

from bluesky_azint import Detector, Geometry, Integrator, Recipe
from bluesky_azint.callbacks import AzintRun, EmbeddedTiled, Reducer, TiledSink, reduced_runs
from bluesky_azint.callbacks.settings import Flavour
from bluesky_azint.errors import GeometryError
from bluesky_azint.reduction.result import IntegrationResult
from bluesky_azint.store import CalibrationRecord, DirectoryStore

RECIPE = Recipe(npt=60, unit="2th_deg", error_model="poisson")
GEOMETRY = Geometry(
    detector=Detector(1e-4, 1e-4, shape=(30, 40)), dist=0.1, poni1=0.001, wavelength=1e-10
)
FRAMES = np.random.default_rng(5).poisson(50, (5, 30, 40)).astype(np.uint16)
MOMENT = datetime(2026, 6, 1, 12, tzinfo=UTC)


def integrate(frames: Any = FRAMES, geometry: Geometry = GEOMETRY) -> IntegrationResult:
    return Integrator.from_recipe(geometry, RECIPE, engine="scipy").integrate(frames)


class Session:
    """A raw run whose frames are reduced into Tiled, one by one."""

    def __init__(self, tiled: EmbeddedTiled, folder: Path, **options: Any) -> None:
        self.catalog = tiled.reduced
        self.sink = TiledSink(tiled.reduced, backup_directory=folder / "backup")
        usual = {"recipe": RECIPE, "default": GEOMETRY, "engine": "scipy", "directory": folder}
        self.reducer = Reducer(self.sink, **{**usual, **options})
        self.run = compose_run(time=MOMENT.timestamp(), metadata={"scan_id": 12})
        self.uid = self.run.start_doc["uid"]
        self.reducer("start", self.run.start_doc)

    def describe(self, **configuration: Any) -> ComposeDescriptorBundle:
        image: Any = {"source": "test", "dtype": "array", "shape": [30, 40]}
        settings: Any = {"data": configuration, "timestamps": {}, "data_keys": {}}
        bundle = self.run.compose_descriptor(
            "primary",
            {"image": image},
            object_keys={"camera": ["image"]},
            configuration={"camera": settings},
        )
        self.reducer("descriptor", bundle.descriptor_doc)
        return bundle

    def take(self, bundle: ComposeDescriptorBundle, frames: Any = FRAMES) -> None:
        for frame in frames:
            event = bundle.compose_event(
                data={"image": frame},
                timestamps={"image": 0.0},
                time=MOMENT.timestamp() + bundle.compose_event.event_counters["primary"],
                validate=False,
            )
            self.reducer("event", event)

    def stop(self) -> None:
        self.reducer("stop", self.run.compose_stop())

    @property
    def reduced(self) -> AzintRun:
        """The reduced run, with all that came so far."""
        assert self.sink.flush(30)
        (run,) = reduced_runs(self.catalog, self.uid)
        return run

    def close(self) -> None:
        self.reducer.close()
        self.sink.close()


@pytest.fixture
def session(tiled: EmbeddedTiled, tmp_path: Path) -> Iterator[Session]:
    session = Session(tiled, tmp_path)
    yield session
    session.close()


@pytest.mark.parametrize("flavour", ["stream", "inline"])
def test_patterns_come_back_with_their_axes(
    tiled: EmbeddedTiled, tmp_path: Path, flavour: Flavour
) -> None:
    session = Session(tiled, tmp_path, flavour=flavour)
    session.take(session.describe())
    session.stop()
    run = session.reduced
    session.close()
    expected = integrate()
    assert isinstance(run, AzintRun)
    assert run.raw_uid == session.uid
    assert np.array_equal(run.radial, expected.radial)
    for number in (0, 3, -1):
        pattern = run.pattern(number)
        assert np.array_equal(pattern.radial, expected.radial)
        assert np.array_equal(pattern.intensity, expected.intensity[number])
        assert np.array_equal(pattern.sigma, expected.sigma[number])  # type: ignore[index,arg-type]
        assert pattern.unit == "2th_deg"
    data = run.patterns
    assert data["intensity"].dims == ("time", "two_theta")
    assert np.array_equal(data["intensity"], expected.intensity)
    assert np.array_equal(data["sigma"], expected.sigma)  # type: ignore[arg-type]
    assert np.array_equal(data.coords["two_theta"], expected.radial)
    assert data.coords["two_theta"].attrs["units"] == "degree"
    assert data.coords["raw_seq_num"].values.tolist() == [1, 2, 3, 4, 5]
    seconds = (data.coords["time"].values - np.datetime64("2026-06-01T12:00", "ns")).astype(int)
    assert np.allclose(seconds / 1e9, [1, 2, 3, 4, 5], atol=1e-6)
    near = data["intensity"].sel(two_theta=expected.radial[20] + 1e-6, method="nearest")
    assert np.array_equal(near, expected.intensity[:, 20])
    assert data.attrs["raw_uid"] == session.uid
    assert data.attrs["dist"] == GEOMETRY.dist
    if flavour == "inline":
        with pytest.raises(KeyError, match="not in a file"):
            run.path()


@pytest.mark.parametrize("flavour", ["stream", "inline"])
def test_cakes_come_back_with_both_axes(
    tiled: EmbeddedTiled, tmp_path: Path, flavour: Flavour
) -> None:
    recipe = replace(RECIPE, npt_azim=8, unit="log10(q.m)_None", splitting="no")
    session = Session(tiled, tmp_path, flavour=flavour, recipe=recipe)
    session.take(session.describe())
    session.stop()
    run = session.reduced
    session.close()
    expected = Integrator.from_recipe(GEOMETRY, recipe, engine="scipy").integrate(FRAMES)
    assert expected.azimuthal is not None
    pattern = run.pattern(2)
    assert np.array_equal(pattern.intensity, expected.intensity[2])
    assert pattern.azimuthal is not None
    assert np.array_equal(pattern.azimuthal, expected.azimuthal)
    data = run.patterns
    assert data["intensity"].dims == ("time", "chi", "log10_q_m")
    assert np.array_equal(data["intensity"], expected.intensity)
    assert np.array_equal(data.coords["chi"], expected.azimuthal)


def test_the_run_tells_how_it_was_made(session: Session) -> None:
    session.take(session.describe(), FRAMES[:1])
    session.stop()
    assert session.reduced.recipe == RECIPE
    assert session.reduced.geometry == GEOMETRY


def test_patterns_can_be_read_while_the_run_is_written(session: Session) -> None:
    bundle = session.describe()
    run = session.reduced  # kept, as by somebody who watches
    with pytest.raises(KeyError, match="no stream 'primary' yet"):
        run.pattern(0)
    for number, frame in enumerate(FRAMES):
        session.take(bundle, [frame])
        assert session.sink.flush(30)
        assert np.array_equal(run.pattern(-1).intensity, integrate(frame).intensity)
        assert run.patterns["intensity"].shape == (number + 1, RECIPE.npt)
        with pytest.raises(IndexError, match=f"has {number + 1} patterns"):
            run.pattern(number + 1)
    assert "stop" not in session.reduced.metadata


def test_columns_that_are_a_block_ahead_are_cut(
    session: Session, monkeypatch: pytest.MonkeyPatch
) -> None:
    session.take(session.describe())
    run = session.reduced
    columns = run._columns

    def one_behind(stream: Any, names: Any) -> Any:
        found = columns(stream, names)
        return {**found, "sigma": found["sigma"][:-1]}

    monkeypatch.setattr(run, "_columns", one_behind)
    assert run.patterns["intensity"].shape == (4, RECIPE.npt)
    assert np.array_equal(run.pattern(-1).intensity, integrate().intensity[3])


def test_sums_are_in_the_file(session: Session) -> None:
    session.take(session.describe())
    session.stop()
    with h5py.File(session.reduced.path()) as file:
        signal, normalization = (
            file[f"entry/sums/{name}"][:].sum(axis=0)
            for name in ("sum_signal", "sum_normalization")
        )
    expected = integrate(FRAMES.sum(axis=0)).intensity / len(FRAMES)
    assert np.allclose(signal / normalization, expected, rtol=1e-12)


def test_another_geometry_is_another_stream(tiled: EmbeddedTiled, tmp_path: Path) -> None:
    store = DirectoryStore(tmp_path / "store")
    for uid, dist in (("near", 0.1), ("far", 0.2)):
        geometry = replace(GEOMETRY, dist=dist)
        save = {"detector": "camera", "geometry": geometry, "valid_from": MOMENT}
        store.save(CalibrationRecord(uid=uid, **save))  # type: ignore[arg-type]
    session = Session(tiled, tmp_path, store=store)
    session.take(session.describe(calibration_uid="near"), FRAMES[:2])
    session.take(session.describe(calibration_uid="far"), FRAMES[2:])
    session.stop()
    run = session.reduced
    session.close()
    expected = integrate(FRAMES[2:], replace(GEOMETRY, dist=0.2))
    assert np.array_equal(run.patterns["intensity"], integrate(FRAMES[:2]).intensity)
    far = run.to_xarray("primary_2")
    assert np.array_equal(far["intensity"], expected.intensity)
    assert np.array_equal(far.coords["two_theta"], expected.radial)
    assert (far.attrs["dist"], far.attrs["calibration_uid"]) == (0.2, "far")
    assert np.array_equal(run.pattern(0, "primary_2").radial, expected.radial)
    with pytest.raises(KeyError, match=r"no stream 'secondary'.*'primary_2'"):
        run.pattern(0, "secondary")


def test_documents_come_back(session: Session) -> None:
    session.take(session.describe())
    session.stop()
    documents = list(session.reduced.documents())
    names = [name for name, _ in documents]
    assert "event" not in names
    assert (names[0], names[-1]) == ("start", "stop")
    assert names.count("stream_resource") == names.count("stream_datum") == 4


def test_a_run_that_was_refused_says_why(tiled: EmbeddedTiled, tmp_path: Path) -> None:
    session = Session(tiled, tmp_path, default=None)
    session.take(session.describe())
    with pytest.raises(GeometryError, match="had no geometry"):
        _ = session.reduced.geometry
    session.stop()
    with pytest.raises(GeometryError, match="no calibration of the detector 'camera'"):
        _ = session.reduced.geometry
    with pytest.raises(KeyError, match="no stream"):
        _ = session.reduced.patterns
    session.close()


def test_reduced_runs_of_a_raw_run_are_found_oldest_first(
    session: Session, tiled: EmbeddedTiled, tmp_path: Path
) -> None:
    again = Reducer(
        session.sink, recipe=replace(RECIPE, npt=30), directory=tmp_path, default=GEOMETRY
    )
    bundle = session.describe()
    session.take(bundle)
    session.stop()
    for name, doc in (
        ("start", session.run.start_doc),
        ("descriptor", bundle.descriptor_doc),
        ("stop", {"run_start": session.uid, "exit_status": "success", "uid": "s", "time": 0.0}),
    ):
        again(name, doc)
    assert session.sink.flush(30)
    found = reduced_runs(tiled.reduced, session.uid)
    assert [run.recipe.npt for run in found] == [60, 30]
    assert reduced_runs(tiled.reduced, "no such run") == []


def test_each_stream_has_the_axes_of_its_recipe(tiled: EmbeddedTiled, tmp_path: Path) -> None:
    cake = replace(RECIPE, npt=20, npt_azim=8, unit="q_A^-1", splitting="no")
    session = Session(tiled, tmp_path, recipe=None, recipes={"pattern": RECIPE, "cake": cake})
    session.take(session.describe())
    session.stop()
    run = session.reduced
    session.close()
    expected = Integrator.from_recipe(GEOMETRY, cake, engine="scipy").integrate(FRAMES)
    assert expected.azimuthal is not None
    assert run.recipes == {"pattern": RECIPE, "cake": cake}
    assert run.recipe == RECIPE
    assert run.patterns["intensity"].dims == ("time", "two_theta")
    data = run.to_xarray("primary_cake")
    assert data["intensity"].dims == ("time", "chi", "q")
    assert np.array_equal(data["intensity"], expected.intensity)
    assert np.array_equal(data.coords["q"], expected.radial)
    assert (data.coords["q"].attrs["units"], data.attrs["unit"]) == ("1/angstrom", "q_A^-1")
    pattern = run.pattern(1, "primary_cake")
    assert pattern.unit == "q_A^-1"
    assert pattern.azimuthal is not None
    assert np.array_equal(pattern.azimuthal, expected.azimuthal)
    assert np.array_equal(pattern.radial, expected.radial)
    assert np.array_equal(pattern.intensity, expected.intensity[1])
    assert run.pattern(1).azimuthal is None
    assert np.array_equal(run.pattern(1).intensity, integrate().intensity[1])
    at = run.intensity_at(expected.radial[7] + 1e-6, "primary_cake")
    assert np.array_equal(at, expected.intensity[:, :, 7])
    assert "event" not in [name for name, _ in run.documents()]


def test_the_intensity_at_a_radius_is_that_of_the_nearest_bin(session: Session) -> None:
    session.take(session.describe())
    session.stop()
    expected = integrate()
    between = 0.6 * expected.radial[20] + 0.4 * expected.radial[21]
    assert np.array_equal(session.reduced.intensity_at(between), expected.intensity[:, 20])
    assert np.array_equal(session.reduced.intensity_at(1e9), expected.intensity[:, -1])


def test_the_raw_run_is_found(session: Session, tiled: EmbeddedTiled, tmp_path: Path) -> None:
    session.take(session.describe())
    session.stop()
    run = session.reduced
    with pytest.raises(KeyError, match=f"no run {session.uid}"):
        run.raw(tiled.reduced)
    with TiledSink(tiled.raw, backup_directory=tmp_path) as raw:
        raw("start", session.run.start_doc)
    assert run.raw(tiled.raw).start["uid"] == session.uid
    assert [found.start["uid"] for found in reduced_runs(tiled.reduced, run.raw_uid)] == [
        run.start["uid"]
    ]
