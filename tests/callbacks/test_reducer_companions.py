"""Frames are reduced with what belongs to them, wherever the documents have it."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import bluesky.plans as bp
import h5py
import numpy as np
import pytest
from bluesky import RunEngine
from event_model import compose_run

from bluesky_azint import Detector, Geometry, Integrator, Recipe
from bluesky_azint.callbacks import Reducer
from bluesky_azint.callbacks.companions.companions import Companions
from bluesky_azint.callbacks.companions.config import CompanionsConfig

GEOMETRY = Geometry(
    detector=Detector(1e-4, 1e-4, shape=(30, 40)), dist=0.1, poni1=0.001, poni2=0.002,
    wavelength=1e-10,
)  # fmt: skip
RECIPE = Recipe(npt=50, unit="q_nm^-1", error_model="poisson", radial_range=(1.0, 20.0))
FRAMES = np.random.default_rng(3).poisson(50, (4, 30, 40)).astype(np.uint16)
DARK = np.full((30, 40), 7, dtype=np.uint16)

Document = dict[str, Any]


def reduce(directory: Path, config: Document, *documents: tuple[str, Any]) -> list[Any]:
    """The documents that come out."""
    emitted: list[Any] = []
    with Reducer(
        lambda name, doc: emitted.append((name, doc)),
        recipe=RECIPE,
        default=GEOMETRY,
        engine="scipy",
        directory=directory,
        companions=Companions(CompanionsConfig.from_dict(config)),
        continues=True,
    ) as reducer:
        for name, doc in documents:
            reducer(name, doc)
    return emitted


def intensity(directory: Path) -> Any:
    (path,) = directory.glob("*.nxs")
    with h5py.File(path) as file:
        return file["entry/data/I"][()], file["entry/reduction/provenance/conditions"].asstr()[()]


def run_with(monitors: list[float], *, dark: bool = False, energy: float = 0.0) -> list[Any]:
    """A scan with images and monitor in events, an exposure in the configuration."""
    run = compose_run()
    documents: list[Any] = [("start", run.start_doc)]
    image: Any = {"source": "t", "dtype": "array", "shape": [30, 40]}
    number: Any = {"source": "t", "dtype": "number", "shape": []}
    configuration: Any = {
        "image": {"data": {"time": 2.0}, "timestamps": {}, "data_keys": {"time": number}}
    }

    def describe(name: str, keys: Document) -> Any:
        bundle = run.compose_descriptor(
            name, keys, object_keys={"image": list(keys)}, configuration=configuration
        )
        documents.append(("descriptor", bundle.descriptor_doc))
        return bundle

    def event(bundle: Any, **data: Any) -> None:
        made = bundle.compose_event(data=data, timestamps=dict.fromkeys(data, 0.0), validate=False)
        documents.append(("event", made))

    if dark:
        event(describe("dark", {"image": image}), image=DARK)
    primary = describe("primary", {"image": image, "i0": number, "mono": number})
    for frame, monitor in zip(FRAMES, monitors, strict=False):
        event(primary, image=frame, i0=monitor, mono=energy)
    documents.append(("stop", run.compose_stop()))
    return documents


def expected(geometry: Geometry = GEOMETRY, **maps: Any) -> Integrator:
    return Integrator.from_recipe(geometry, RECIPE, engine="scipy", **maps)


def test_monitor_and_dark(tmp_path: Path) -> None:
    config = {"monitor": ["i0", "time"], "dark": True, "exposure": "time"}
    emitted = reduce(tmp_path, config, *run_with([1.0, 2.0, 4.0, 8.0], dark=True))
    stop = emitted[-1][1]
    assert (stop["exit_status"], stop["num_events"]) == ("success", {"primary": 4})
    found, conditions = intensity(tmp_path)
    right = expected(dark=DARK).integrate(FRAMES, np.array([1.0, 2.0, 4.0, 8.0]) * 2.0, alone=True)
    np.testing.assert_allclose(found, right.intensity, rtol=1e-12)
    assert "i0 of the events" in conditions
    assert '"dark": {' in conditions


def test_a_monitor_of_zero_is_not_divided_by(tmp_path: Path) -> None:
    emitted = reduce(tmp_path, {"monitor": "i0"}, *run_with([1.0, 0.0, 4.0, float("nan")]))
    stop = emitted[-1][1]
    assert stop["exit_status"] == "fail"
    assert "without a pattern: 2 of 4 (2, 4)" in stop["reason"]
    found, _ = intensity(tmp_path)
    assert np.isnan(found).all(axis=1).tolist() == [False, True, False, True]
    right = expected().integrate(FRAMES[[0, 2]], np.array([1.0, 4.0]), alone=True)
    np.testing.assert_allclose(found[[0, 2]], right.intensity, rtol=1e-12)


def test_what_is_tried_again_in_vain_is_told_once(tmp_path: Path) -> None:
    *documents, _ = run_with([1.0, 0.0, 4.0])
    events: list[int] = []
    reducer = Reducer(
        lambda name, doc: None,
        inline=lambda name, doc: events.append(doc["seq_num"]) if name == "event" else None,
        recipe=RECIPE,
        default=GEOMETRY,
        engine="scipy",
        directory=tmp_path,
        companions=Companions(CompanionsConfig.from_dict({"monitor": "i0"})),
    )
    with reducer:
        for _ in range(3):
            for name, doc in documents:
                reducer(name, doc)
        assert events == [1, 2, 3]
        assert (reducer.counts.reduced, reducer.counts.refused) == (2, 1)


def test_the_energy_moves_the_pattern(tmp_path: Path) -> None:
    config = {"energy": {"key": "mono", "unit": "keV"}}
    emitted = reduce(tmp_path, config, *run_with([1.0, 1.0], energy=24.796839687))
    assert emitted[-1][1]["exit_status"] == "success"
    found, conditions = intensity(tmp_path)
    right = expected(replace(GEOMETRY, wavelength=0.5e-10)).integrate(FRAMES[:2], alone=True)
    np.testing.assert_allclose(found, right.intensity, rtol=1e-6)
    assert '"wavelength"' in conditions


def test_other_companions_make_another_run(tmp_path: Path) -> None:
    documents = run_with([1.0, 2.0])
    starts = [
        reduce(tmp_path / str(number), config, *documents)[0][1]["uid"]
        for number, config in enumerate([{}, {}, {"monitor": "i0"}, {"monitor": "time"}])
    ]
    assert starts[0] == starts[1]
    assert len(set(starts)) == 3


def test_a_dark_run_has_no_patterns(tmp_path: Path) -> None:
    documents = run_with([1.0])
    documents[0] = ("start", {**documents[0][1], "purpose": "dark"})
    assert reduce(tmp_path, {"dark": True}, *documents) == []


def test_reduced_runs_are_not_reduced_again(tmp_path: Path) -> None:
    cakes: list[Any] = []
    with Reducer(
        lambda name, doc: cakes.append((name, doc)), recipe=replace(RECIPE, npt_azim=10),
        default=GEOMETRY, engine="scipy", flavour="inline",
    ) as reducer:  # fmt: skip
        for name, doc in run_with([1.0]):
            reducer(name, doc)
    assert len(cakes) == 4
    assert reduce(tmp_path, {}, *cakes) == []


@pytest.mark.parametrize("last", [False, True])
def test_step_scans_with_streams(
    run_engine: RunEngine, blob_detector: Any, tmp_path: Path, last: bool
) -> None:
    """A stream datum comes before the event with its monitor, and waits for it."""
    from ophyd.sim import SynAxis

    emitted: list[Any] = []
    i0 = SynAxis(name="i0", value=1.0)
    config = CompanionsConfig.from_dict({"monitor": "i0"})
    geometry = Geometry(
        detector=Detector(1e-4, 1e-4, shape=(240, 320)), dist=0.1, poni1=0.012, poni2=0.016,
        wavelength=1e-10,
    )  # fmt: skip
    with Reducer(
        lambda name, doc: emitted.append((name, doc)), recipe=Recipe(npt=50), engine="scipy",
        default=geometry, directory=tmp_path / "p", companions=Companions(config),
    ) as reducer:  # fmt: skip
        detectors = [i0, blob_detector] if last else [blob_detector, i0]
        run_engine(bp.scan(detectors, i0, 1, 4, 3), reducer)
    assert emitted[-1][1]["exit_status"] == "success"
    assert emitted[-1][1]["num_events"] == {"primary": 3}
