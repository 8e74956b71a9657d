"""No stream of documents crashes a reducer, makes it read or write elsewhere, or harms a good run."""

from __future__ import annotations

import logging
import sys
from collections.abc import Iterator
from itertools import product
from pathlib import Path
from typing import Any

import pytest

from bluesky_azint.callbacks.frames import FrameSource
from bluesky_azint.callbacks.soundness import check_document
from bluesky_azint.errors import DocumentError, FrameError
from tests.callbacks.hostile import (
    DATASET,
    DATASETS,
    WAYS,
    Trial,
    Watch,
    hostile_paths,
    hostile_values,
    make_place,
    misplace,
    sound_run,
)
from tests.measures.fuzz import forget_peak, fuzz, peak_megabytes


@pytest.fixture
def trial(tmp_path: Path) -> Iterator[Trial]:
    place = make_place(tmp_path / "place")
    watch = Watch(place)
    sys.addaudithook(watch.note)
    logging.disable(logging.CRITICAL)
    yield Trial(place, watch)
    logging.disable(logging.NOTSET)


@pytest.mark.parametrize("way", WAYS)
def test_a_sound_run_beside_another_one(trial: Trial, way: str) -> None:
    """That the trial itself is right."""
    trial.run(sound_run(trial.place), [*range(30)], way=way)


def test_what_the_watch_notes(trial: Trial) -> None:
    with trial.watch.watching():
        for path in (trial.place.inside / "f.h5", trial.place.written / "x"):
            path.open("rb" if path.exists() else "w").close()
    assert trial.watch.trespasses == []
    with trial.watch.watching():
        (trial.place.outside / "f").open("w").close()
        (trial.place.outside / "f").open().close()
        (trial.place.inside / "g").open("w").close()
    assert [it.split(":")[0] for it in trial.watch.trespasses] == ["written", "read", "written"]


def test_streams_of_hostile_documents(trial: Trial) -> None:
    forget_peak()
    before = peak_megabytes()
    fuzz(trial, examples=20)
    assert peak_megabytes() - before < 300
    assert trial.slowest < 10


def test_each_path(trial: Trial) -> None:
    """With the names of datasets, as files of HDF5, as images, and as what series begin with."""
    source = FrameSource(roots=[trial.place.inside], timeout=0.0)
    read = refused = 0
    with trial.watch.watching():
        for path, dataset in product(hostile_paths(trial.place), (DATASET, *DATASETS)):
            documents = sound_run(trial.place)
            misplace(documents, path, dataset)
            documents[4][1]["mimetype"] = "image/tiff"
            documents[4][1]["parameters"].pop("template" if dataset == "/soft" else "chunk_shape")
            for name, doc in documents:
                try:
                    read += sum(batch.data_key != "inline" for batch in source(name, doc))
                except FrameError:
                    refused += 1
    assert trial.watch.trespasses == []
    assert read > 50
    assert refused > 3000


def test_each_value_in_each_place(trial: Trial) -> None:
    """A document is sound or not; to find out costs nothing, whatever it is."""
    documents = dict(sound_run(trial.place))
    refusals = []
    for value in hostile_values(trial.place):
        for name, doc in documents.items():
            for key in doc:
                try:
                    check_document(name, {**doc, key: value})
                except DocumentError as error:
                    refusals.append(str(error))
    assert len(refusals) > 2000
    assert max(map(len, refusals)) < 400


@pytest.mark.parametrize("name", ["close", "abandon", "__init__", "bulk_events", "", None, 3, []])
def test_kinds_of_documents_that_there_are_not(name: Any) -> None:
    with pytest.raises(DocumentError, match="There are no documents of the kind"):
        check_document(name, {})


@pytest.mark.parametrize(
    ("kind", "change", "match"),
    [
        ("start", {"uid": None}, "a start cannot be used: its 'uid' is None, and should be a text"),
        ("start", {"time": float("nan")}, "'time' is nan, and should be a number of seconds"),
        ("descriptor", {"data_keys": []}, r"'data_keys' is \[\], and should be a table"),
        ("descriptor", {"data_keys": {"x": {"shape": [10**9, 3, 4]}}}, "from 1 to 1000000"),
        ("descriptor", {"data_keys": {"x": {"dtype_numpy": "os"}}}, "'os', which is no type"),
        ("event", {"seq_num": 0}, "'seq_num' is 0, and should be a whole number from 1 to 4194304"),
        ("event", {"seq_num": 10**9}, "'seq_num' is 1000000000, and"),
        ("event_page", {"time": []}, "'time' has 0 values, and should have 1"),
        ("stream_datum", {"seq_nums": {"start": 3, "stop": 2}}, "'seq_nums' is 2, .* from 3 to"),
        ("stream_datum", {"indices": {"start": -1, "stop": 2}}, "'indices' is -1"),
        ("datum_page", {"datum_kwargs": {"index": 7}}, "'index' is 7, and should be a list"),
        ("stop", {"num_events": {"primary": 10**12}}, "'num_events' is 1000000000000"),
    ],
)
def test_what_is_wrong_is_said(trial: Trial, kind: str, change: dict[str, Any], match: str) -> None:
    documents = dict(sound_run(trial.place))
    check_document(kind, documents[kind])
    with pytest.raises(DocumentError, match=f"(?i){match}"):
        check_document(kind, {**documents[kind], **change})
