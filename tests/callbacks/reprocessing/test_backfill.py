"""What is missing is found without reading a frame, and nothing else is reduced."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest

from bluesky_azint import Integrator, Recipe
from bluesky_azint.callbacks.reader import FrameReader
from bluesky_azint.callbacks.reprocessing.backfill import Backfilled, backfill, look
from tests.callbacks.made_runs import DATASET, GEOMETRY, MadeRun, made_frames

FRAMES = made_frames(6)
RECIPE = Recipe(npt=40, unit="2th_deg")


class Station:
    """A raw run of six frames, of which two have not come to their file, and a place for runs."""

    def __init__(self, folder: Path) -> None:
        self.file = folder / "raw.h5"
        self.run = MadeRun()
        bundle = self.run.describe()
        self.run.rows(bundle, self.run.file(self.file, FRAMES[:4]), range(1, 7))
        self.run.stop()
        self.options: dict[str, Any] = {
            "recipe": RECIPE,
            "directory": folder / "patterns",
            "default": GEOMETRY,
            "engine": "scipy",
            "timeout": 0.0,
        }
        self.documents: list[tuple[str, Mapping[str, Any]]] = []
        self.there: set[str] = set()

    def take(self, name: str, doc: Mapping[str, Any]) -> None:
        self.documents.append((name, doc))
        if name == "stop":
            self.there.add(doc["run_start"])

    def complete(self) -> None:
        with h5py.File(self.file, "w") as file:
            file.create_dataset(DATASET, data=FRAMES, chunks=(1, *FRAMES.shape[1:]))

    def backfill(self, **options: Any) -> Backfilled:
        (found,) = backfill(
            self.run.documents,
            self.take,
            is_there=self.there.__contains__,
            **{**self.options, **options},
        )
        return found

    @property
    def patterns(self) -> Any:
        (path,) = (self.file.parent / "patterns").iterdir()
        with h5py.File(path) as file:
            return file["entry/data/I"][()]


@pytest.fixture
def station(tmp_path: Path) -> Station:
    return Station(tmp_path)


def counts(found: Backfilled) -> tuple[int, int, int, int]:
    return found.frames, found.before, found.filled, found.missing


def test_what_is_missing_is_filled_in(station: Station, monkeypatch: pytest.MonkeyPatch) -> None:
    read: list[int] = []
    original = FrameReader.read

    def noted(self: FrameReader, asset: Any, start: int, stop: int, **options: Any) -> Any:
        frames = original(self, asset, start, stop, **options)
        read.extend(range(start, start + len(frames)))
        return frames

    monkeypatch.setattr(FrameReader, "read", noted)
    assert counts(station.backfill(dry_run=True)) == (6, 0, 0, 6)
    assert not read
    assert not (station.file.parent / "patterns").exists()
    found = station.backfill()
    assert counts(found) == (6, 0, 4, 2)
    assert "raw.h5::/entry/data/data does not give frame 4" in found.why
    assert read == [0, 1, 2, 3]
    station.complete()
    done: list[int] = []
    found = station.backfill(progress=done.append)
    assert counts(found) == (6, 4, 2, 0)
    assert found.why == ""
    assert sum(done) == 2
    assert read == [0, 1, 2, 3, 4, 5]
    integrator = Integrator.from_recipe(GEOMETRY, RECIPE, engine="scipy")
    assert np.array_equal(station.patterns, integrator.integrate(FRAMES, alone=True).intensity)


def test_what_is_complete_is_left_alone(station: Station) -> None:
    station.complete()
    assert counts(station.backfill()) == (6, 0, 6, 0)
    emitted = len(station.documents)
    assert counts(station.backfill()) == (6, 6, 0, 0)
    assert len(station.documents) == emitted
    station.there.clear()  # the catalogue was lost
    assert counts(station.backfill()) == (6, 6, 0, 0)
    names = [name for name, _ in station.documents[emitted:]]
    assert names[0] == "start"
    assert names[-1] == "stop"
    # With another recipe it is another run.
    assert station.backfill(recipe=Recipe(npt=41), dry_run=True).before == 0


def test_a_run_without_an_end_is_left_alone(station: Station) -> None:
    del station.run.documents[-1]
    found = station.backfill()
    assert counts(found) == (6, 0, 0, 6)
    assert "no end" in found.why
    assert not station.documents


def test_without_a_calibration_nothing_can_be_had(station: Station) -> None:
    station.complete()
    found = station.backfill(default=None)
    assert counts(found) == (6, 0, 0, 6)
    assert "There is no calibration of the detector 'camera'" in found.why


def test_of_a_frame_that_was_taken_twice_the_last_one_counts(station: Station) -> None:
    station.complete()
    stop = station.run.documents.pop()
    station.run.documents += [
        (name, {**doc, "seq_nums": {"start": 6, "stop": 7}, "indices": {"start": 0, "stop": 1}})
        for name, doc in station.run.documents
        if name == "stream_datum"
    ][:1]
    station.run.documents.append(stop)
    station.backfill()
    seen = look(station.run.documents, **station.options)["det"]
    assert (seen.frames, seen.reduced) == (6, 6)
