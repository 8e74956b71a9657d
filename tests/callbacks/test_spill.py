"""Documents on disk come back as they were."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from bluesky_azint.callbacks.spill import Spill, memory_of, snapshot


def event(frame: object) -> dict[str, Any]:
    return {
        "uid": "e", "descriptor": "d", "seq_num": 1, "time": 0.1, "filled": {},
        "data": {"camera": frame, "x": np.float32(0.3), "name": "a"},
        "timestamps": {"camera": 0.1, "x": 0.1, "name": 0.1},
    }  # fmt: skip


FRAMES = {
    "u1": np.arange(12, dtype="u1").reshape(3, 4),
    "big-endian": np.arange(12, dtype=">u4").reshape(3, 4),
    "floats": np.array([[np.nan, -0.0], [np.inf, 1e-310]]),
    "bool": np.eye(3, dtype=bool),
    "columns first": np.asfortranarray(np.arange(12.0).reshape(3, 4)),
    "a part": np.arange(24, dtype="u2").reshape(4, 6)[::2, 1:5],
    "a stack": np.arange(24, dtype="i4").reshape(2, 3, 4),
}


@pytest.mark.parametrize("frame", FRAMES.values(), ids=FRAMES.keys())
def test_arrays_are_bit_identical(tmp_path: Path, frame: np.ndarray) -> None:
    spill = Spill(tmp_path)
    for copy in (spill.take(spill.write(event(frame))), snapshot(event(frame))):
        array = copy["data"]["camera"]
        assert array.dtype == frame.dtype
        assert array.dtype.byteorder == frame.dtype.byteorder
        assert array.tobytes() == frame.tobytes()
        assert not np.shares_memory(array, frame)
        assert copy["data"]["x"] == np.float32(0.3)
        assert copy.keys() == event(frame).keys()
    spill.close()


def test_files_are_removed(tmp_path: Path) -> None:
    spill = Spill(tmp_path)
    assert list(tmp_path.iterdir()) == []
    first, second = spill.write({"uid": "1"}), spill.write({"uid": "2"})
    assert spill.take(second) == {"uid": "2"}
    assert spill.take(first) == {"uid": "1"}
    assert not first.exists()
    third = spill.write({"uid": "3"})
    spill.close()
    assert not third.exists()
    assert list(tmp_path.iterdir()) == []


def test_what_cannot_be_stored_leaves_no_file(tmp_path: Path) -> None:
    spill = Spill(tmp_path)
    with pytest.raises(Exception, match="lambda"):
        spill.write({"array": np.zeros(1000), "function": lambda: None})
    assert list(tmp_path.rglob("*.pickle")) == []
    spill.close()
    with pytest.raises(OSError, match="no-such"):
        Spill(tmp_path / "no-such").write({})


def test_a_snapshot_shares_nothing_that_can_change() -> None:
    rows = [[float(i) for i in range(50)] for _ in range(3)]
    doc = event({"list": [1, {"deep": [2]}], "tuple": ({"deep": 3},), "rows": rows})
    copy = snapshot(doc)
    assert copy == doc
    inside = doc["data"]["camera"]
    inside["list"][1]["deep"].append(0)
    inside["tuple"][0]["deep"] = 0
    rows[1][7] = -1.0
    rows.append([])
    doc["data"]["new"] = 1
    expected = [[float(i) for i in range(50)] for _ in range(3)]
    assert copy["data"]["camera"] == {
        "list": [1, {"deep": [2]}],
        "tuple": ({"deep": 3},),
        "rows": expected,
    }
    assert "new" not in copy["data"]


@pytest.mark.parametrize(
    ("value", "low", "high"),
    [
        (np.zeros((1000, 1000), "u4"), 4_000_000, 4_001_000),
        (np.zeros((1000, 1000), "u4")[:500], 2_000_000, 2_001_000),
        ({"a": {"b": [np.zeros(1000), np.zeros(1000)]}}, 16_000, 18_000),
        ([[float(i) for i in range(1000)] for _ in range(100)], 3_200_000, 4_200_000),
        ({"seq_num": 1, "time": 0.5, "data": {}}, 200, 1000),
    ],
)
def test_memory(value: object, low: int, high: int) -> None:
    assert low <= memory_of(value) <= high
