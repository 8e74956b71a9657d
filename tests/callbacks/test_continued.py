"""A run that was begun before goes on: every frame has one row, whoever reduced it and when."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest

from bluesky_azint import Detector, Geometry, Recipe
from bluesky_azint.callbacks import Reducer
from bluesky_azint.callbacks.reader import FrameReader
from tests.callbacks.raw_files import announced_run

RECIPES = {
    "pattern": Recipe(npt=50, unit="q_nm^-1", error_model="poisson"),
    "cake": Recipe(npt=20, npt_azim=6, unit="q_nm^-1"),
}
GEOMETRY = Geometry(
    detector=Detector(1e-4, 1e-4, shape=(30, 40)), dist=0.1, poni1=0.001, poni2=0.002,
    wavelength=1e-10,
)  # fmt: skip
FRAMES = np.random.default_rng(3).poisson(2, (40, 30, 40)).astype(np.uint16)

Document = dict[str, Any]
Documents = list[tuple[str, Document]]


@pytest.fixture
def documents(tmp_path: Path) -> Documents:
    """A fly scan of 40 frames, announced 4 at a time."""
    return announced_run(tmp_path / "raw.h5", FRAMES, step=4)


def reduce_some(
    documents: Documents, directory: Path, *, close: bool = True, **options: Any
) -> Documents:
    emitted: Documents = []
    reducer = Reducer(
        lambda name, doc: emitted.append((name, dict(doc))),
        recipes=RECIPES,
        directory=directory,
        default=GEOMETRY,
        engine="scipy",
        continues=True,
        **options,
    )
    for name, doc in documents:
        reducer(name, doc)
    if close:
        reducer.close()
    return emitted


def kill_after(count: int, raw: Path, directory: Path) -> None:
    """Take some documents, and be killed."""
    documents = announced_run(raw, FRAMES, step=4, uid="fixed")
    reduce_some(documents[:count], directory, close=False)
    os.kill(os.getpid(), 9)


def columns(directory: Path) -> dict[str, dict[str, Any]]:
    """All rows of all files."""
    found: dict[str, dict[str, Any]] = {}
    for path in sorted(directory.glob("*.nxs")):
        with h5py.File(path) as file:
            group = found.setdefault(path.name, {})
            for name in ("data/I", "sums/sum_signal", "frames/seq_num", "frames/place"):
                group[name] = file["entry"][name][()]
    return found


def test_the_second_reducer_reads_what_the_killed_one_left(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    raw = tmp_path / "raw.h5"
    documents = announced_run(raw, FRAMES, step=4, uid="fixed")
    reduce_some(documents, tmp_path / "undisturbed")
    expected = columns(tmp_path / "undisturbed")
    assert len(expected) == 2

    directory = tmp_path / "patterns"
    code = (
        "from pathlib import Path; from tests.callbacks.test_continued import kill_after; "
        f"kill_after(9, Path({str(raw)!r}), Path({str(directory)!r}))"
    )
    root = Path(__file__).parents[2]
    assert subprocess.run([sys.executable, "-c", code], cwd=root, check=False).returncode == -9

    read: list[int] = []
    real = FrameReader.read

    def counting(self: FrameReader, *args: Any, **options: Any) -> Any:
        frames = real(self, *args, **options)
        read.append(len(frames))
        return frames

    monkeypatch.setattr(FrameReader, "read", counting)
    emitted = reduce_some(documents, directory)
    # Start, descriptor, resource, and six stream datums were taken before.
    assert sum(read) == 40 - 24
    found = columns(directory)
    assert found.keys() == expected.keys()
    for name, group in expected.items():
        assert group["frames/seq_num"].tolist() == list(range(1, 41))
        for column, values in group.items():
            np.testing.assert_array_equal(found[name][column], values, f"{name} {column}")
    assert sorted(path.name for path in directory.iterdir()) == sorted(expected)
    stops = [doc for name, doc in emitted if name == "stop"]
    assert [stop["exit_status"] for stop in stops] == ["success"]
    assert stops[0]["num_events"] == {"primary": 40, "primary_cake": 40}


def test_a_run_is_the_same_each_time(documents: Documents, tmp_path: Path) -> None:
    first, second = (reduce_some(documents, tmp_path / "patterns") for _ in range(2))
    for emitted in (first, second):
        kinds = [name for name, _ in emitted]
        assert kinds.count("start") == kinds.count("stop") == 1
        assert kinds.count("descriptor") == 2
    assert first[0][1]["uid"] == second[0][1]["uid"]
    assert len(list((tmp_path / "patterns").iterdir())) == 2


def test_documents_may_come_twice_and_late(documents: Documents, tmp_path: Path) -> None:
    *head, stop = documents
    some = [document for number, document in enumerate(head) if number % 3 != 1 or number < 3]
    emitted = reduce_some([*some, *head, *some, stop], tmp_path / "patterns")
    assert [doc["exit_status"] for name, doc in emitted if name == "stop"] == ["success"]
    assert [name for name, _ in emitted].count("start") == 1
    for group in columns(tmp_path / "patterns").values():
        assert group["frames/seq_num"].tolist() == list(range(1, 41))


def test_what_is_missing_is_told(documents: Documents, tmp_path: Path) -> None:
    *head, (_, stop) = documents
    lost = [document for number, document in enumerate(head) if number != 5]
    reducer = Reducer(
        lambda name, doc: None, recipes=RECIPES, directory=tmp_path / "p", default=GEOMETRY,
        engine="scipy", continues=True,
    )  # fmt: skip
    for name, doc in lost:
        reducer(name, doc)
    assert reducer.missing(stop) == {"det": {"primary": [9, 10, 11, 12]}}
    assert reducer.counts.reduced == reducer.counts.found == 36
    reducer(*head[5])
    assert reducer.missing(stop) == {}
    reducer.close()


def test_another_geometry_starts_anew(documents: Documents, tmp_path: Path) -> None:
    reduce_some(documents[:8], tmp_path / "patterns")
    emitted: Documents = []
    other = Geometry(**{**vars(GEOMETRY), "dist": 0.2})
    with Reducer(
        lambda name, doc: emitted.append((name, doc)),
        recipes=RECIPES, directory=tmp_path / "patterns", default=other, engine="scipy",
        continues=True,
    ) as reducer:  # fmt: skip
        for name, doc in documents:
            reducer(name, doc)
        assert reducer.counts.reduced == 40
    assert [doc["exit_status"] for name, doc in emitted if name == "stop"] == ["success"]


def test_a_damaged_file_is_made_anew(documents: Documents, tmp_path: Path) -> None:
    reduce_some(documents, tmp_path / "patterns")
    expected = columns(tmp_path / "patterns")
    for path in (tmp_path / "patterns").iterdir():
        path.write_bytes(path.read_bytes()[:3000])
    emitted = reduce_some(documents, tmp_path / "patterns")
    assert [doc["exit_status"] for name, doc in emitted if name == "stop"] == ["success"]
    found = columns(tmp_path / "patterns")
    for name, group in expected.items():
        np.testing.assert_array_equal(found[name]["data/I"], group["data/I"])


def test_both_flavours_are_the_same_run(documents: Documents, tmp_path: Path) -> None:
    inline: Documents = []
    emitted = reduce_some(
        documents, tmp_path / "p", inline=lambda name, doc: inline.append((name, doc))
    )
    assert emitted[0][1]["uid"] == inline[0][1]["uid"]
    assert "stream_datum" in {name for name, _ in emitted}
    (descriptor,) = (
        doc for name, doc in inline if name == "descriptor" and doc["name"] == "primary"
    )
    events = [
        doc for name, doc in inline
        if name == "event" and doc["descriptor"] == descriptor["uid"]
    ]  # fmt: skip
    (file,) = (rows for name, rows in columns(tmp_path / "p").items() if "cake" not in name)
    np.testing.assert_array_equal([event["data"]["intensity"] for event in events], file["data/I"])
    assert inline[-1][1]["num_events"] == {"primary": 40, "primary_cake": 40}
