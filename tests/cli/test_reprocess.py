"""Runs are reduced once more, with another recipe and geometry, from the command line."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from concurrent.futures import Executor, Future
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from bluesky_azint import Integrator
from bluesky_azint.callbacks import EmbeddedTiled, reduced_runs
from bluesky_azint.cli import main
from tests.callbacks.made_runs import GEOMETRY
from tests.cli.reprocessed_runs import FRAMES, Station, patterns_of


class Here(Executor):
    """Runs tasks in this process."""

    def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future[Any]:
        future: Future[Any] = Future()
        future.set_result(fn(*args, **kwargs))
        return future


@pytest.fixture
def station(tiled: EmbeddedTiled, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Station:
    @contextmanager
    def pool(workers: int | None) -> Iterator[tuple[Executor, int]]:
        yield Here(), workers or 1

    monkeypatch.setattr("bluesky_azint.callbacks.reprocessing.pools.local_pool", pool)
    monkeypatch.setattr("bluesky_azint.callbacks.service.pieces.READ_SECONDS", 0.0)
    return Station(tiled, tmp_path, monkeypatch)


def test_with_a_recipe_of_the_configuration(
    station: Station, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["reprocess", station.uid, "--recipe", "coarse", "--json"]) == 1
    (found,) = json.loads(capsys.readouterr().out)
    assert (found["frames"], found["reduced"], found["exit_status"]) == (6, 4, "fail")
    assert "raw.h5::/entry/data/data does not give frame 4" in found["reason"]
    (run,) = reduced_runs(station.reduced, station.uid)
    assert run.start["uid"] == found["uid"]
    assert run.start["recipes"].keys() == {"coarse"}
    patterns = run.patterns["intensity"].values
    assert np.array_equal(patterns[:4], patterns_of(FRAMES[:4], 10))
    assert np.isnan(patterns[4:]).all()


def test_without_a_configuration(station: Station, capsys: pytest.CaptureFixture[str]) -> None:
    station.complete()
    geometry = replace(GEOMETRY, dist=0.2)
    geometry.to_poni(station.folder / "better.poni")
    recipe = station.folder / "fine-one.toml"
    recipe.write_text('npt = 80\nunit = "q_A^-1"\n')
    code = main(
        [
            *("reprocess", station.uid, "--recipe", str(recipe)),
            *("--poni", str(station.folder / "better.poni")),
            *("--tiled", f"{station.uri}?api_key={station.key}"),
            *("--directory", str(station.folder / "patterns"), "--workers", "2"),
        ]
    )
    assert code == 0
    (run,) = reduced_runs(station.reduced, station.uid)
    _, line = capsys.readouterr().out.splitlines()
    assert line.split() == [station.uid[:8], "det", run.start["uid"], "success", "6", "6"]
    assert run.start["recipes"].keys() == {"fine_one"}
    assert run.geometry.dist == 0.2
    expected = Integrator(geometry, 80, unit="q_A^-1").integrate(FRAMES, alone=True)
    assert np.array_equal(run.patterns["intensity"], expected.intensity)


def test_wrong_usage_is_told(
    station: Station, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    broken = tmp_path / "broken.json"
    broken.write_text('{"npt": "many"}')
    for arguments, message in (
        (["--recipe", "fine"], "which has pattern, coarse"),
        (["--recipe", str(broken)], "holds no recipe"),
        (["--workers", "0"], "must be at least 1"),
        (["--workers", "2", "--scheduler", "tcp://a:1"], "has workers of its own"),
        (["--tiled", "http://127.0.0.1:9"], "give --directory and --recipe too"),
        (["--directory", "."], "go with --tiled"),
        (["--calibration", "0f3a"], "cannot be looked up"),
    ):
        assert main(["reprocess", station.uid, *arguments]) == 2
        assert message in capsys.readouterr().err
