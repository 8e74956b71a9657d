"""What the service has missed is filled in, and what cannot be is told."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest

from bluesky_azint.callbacks import EmbeddedTiled, reduced_runs
from bluesky_azint.cli import main
from tests.cli.reprocessed_runs import FRAMES, Station, patterns_of


@pytest.fixture
def station(tiled: EmbeddedTiled, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Station:
    monkeypatch.setattr("bluesky_azint.callbacks.service.pieces.READ_SECONDS", 0.0)
    return Station(tiled, tmp_path, monkeypatch)


def told(capsys: pytest.CaptureFixture[str], code: int, *arguments: str) -> dict[str, Any]:
    """What a command tells of the only run."""
    assert main(["backfill", *arguments, "--json"]) == code
    (found,) = json.loads(capsys.readouterr().out)
    return dict(found)


def counts(found: dict[str, Any]) -> tuple[int, ...]:
    return tuple(found[name] for name in ("frames", "before", "filled", "missing"))


def test_what_is_missing_is_filled_in(station: Station, capsys: pytest.CaptureFixture[str]) -> None:
    found = told(capsys, 1, station.uid[:12], "--dry-run")
    assert counts(found) == (6, 0, 0, 6)
    assert not (station.folder / "state").exists()
    assert not reduced_runs(station.reduced, station.uid)

    found = told(capsys, 1, station.uid)
    assert counts(found) == (6, 0, 4, 2)
    assert "raw.h5::/entry/data/data does not give frame 4" in found["why"]

    station.complete()
    assert main(["backfill", station.uid]) == 0
    head, line = capsys.readouterr().out.splitlines()
    assert head.split() == ["raw", "run", "images", "frames", "before", "filled", "in", "missing"]
    assert line.split() == [station.uid[:8], "det", "6", "4", "2", "0"]
    (run,) = reduced_runs(station.reduced, station.uid)
    assert run.start["uid"] == found["uid"]
    assert run.metadata["stop"]["exit_status"] == "success"
    assert np.array_equal(run.to_xarray("primary")["intensity"], patterns_of(FRAMES))
    assert np.array_equal(run.to_xarray("primary_coarse")["intensity"], patterns_of(FRAMES, 10))


def test_wrong_usage_is_told(
    station: Station, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for arguments, message in (
        ([], "by their uids, or by time"),
        ([station.uid, "--since", "2d"], "not by both"),
        (["--since", "yesterday"], "'yesterday' is no time"),
    ):
        assert main(["backfill", *arguments]) == 2
        assert message in capsys.readouterr().err
    assert main(["backfill", "ffffffff"]) == 1
    assert "No run in" in capsys.readouterr().err

    def connect(catalogue: object) -> None:
        raise httpx.ConnectError("connection refused")

    monkeypatch.setattr("bluesky_azint.callbacks.reprocessing.configured.connect", connect)
    assert main(["backfill", station.uid]) == 1
    assert "does not answer" in capsys.readouterr().err
