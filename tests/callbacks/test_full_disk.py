"""A disk that is full costs the rows that there is no room for, and these only until there is."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest


@pytest.mark.parametrize(("when", "kept"), [("begin", 30), ("middle", 32)])
def test_a_disk_that_is_full_for_a_while(tmp_path: Path, when: str, kept: int) -> None:
    """In a process of its own, for HDF5 ends it where a full disk is met unawares."""
    done = subprocess.run(
        [sys.executable, "-m", "tests.callbacks.full_disk", str(tmp_path), when],
        check=False,
        cwd=Path(__file__).resolve().parents[2],
        capture_output=True,
        text=True,
        timeout=100,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    told = json.loads(done.stdout)
    first, second = told["stops"]
    assert first["exit_status"] == "fail"
    assert f"without a pattern: {40 - kept} of 40" in first["reason"]
    # Of the row that failed some columns may be there.
    assert kept <= len(told["first"]) <= kept + 1
    assert second["exit_status"] == "success"
    assert told["second"] == list(range(40))
    assert [path.name for path in tmp_path.iterdir()] == [told["file"]]
