"""The command measures what it is asked for, and prints it."""

import json
from dataclasses import replace
from pathlib import Path
from types import ModuleType

import pytest

from bluesky_azint.benchmark import cases as module
from bluesky_azint.benchmark import timing
from bluesky_azint.cli import main


@pytest.fixture
def small_cases(monkeypatch: pytest.MonkeyPatch, pyfai: ModuleType) -> None:
    """A tiny detector and one round."""
    tiny = [
        replace(case, detector="tiny", npt=150, all_peers=False, quick=case.name == "1d-no")
        for case in module.CASES
    ]
    monkeypatch.setattr(module, "CASES", tuple(tiny))
    for name in ("HURRIED", "THOROUGH"):
        monkeypatch.setattr(timing, name, timing.Effort(rounds=1, seconds=0))


@pytest.mark.usefixtures("small_cases")
def test_quick_json_has_the_quick_cases_alone(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["benchmark", "--quick", "--json"]) == 0
    figures = json.loads(capsys.readouterr().out)
    assert [case["name"] for case in figures["cases"]] == ["1d-no"]
    (case,) = figures["cases"]
    ours, theirs = case["ways"]["bluesky-azint"], case["ways"]["pyFAI csr/cython"]
    expected = theirs["timing"]["cpu_min"] / ours["timing"]["cpu_min"]
    assert case["ratio"]["pyFAI csr/cython"]["cpu"] == pytest.approx(expected)
    assert ours["accuracy"] < 1e-7
    assert ours["signal_accuracy"] == 0


@pytest.mark.usefixtures("small_cases")
def test_cases_are_chosen_by_name_and_drawn(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    picture = tmp_path / "picture.png"
    assert main(["benchmark", "--cases", "1d-b*", "2d-no", "--picture", str(picture)]) == 0
    text = capsys.readouterr().out
    lines = text.splitlines()
    assert any(line.startswith("1D, bbox ") for line in lines)
    assert any(line.startswith("2D 1000 x 360, no split ") for line in lines)
    assert not any(line.startswith("1D, no split") for line in lines)
    assert "azint is not installed" in text
    assert "GB/s" in text
    assert picture.stat().st_size > 10_000


def test_names_are_listed_and_nothing_is_measured(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["benchmark", "--list"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in lines] == [case.name for case in module.CASES]


def test_an_unknown_case_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["benchmark", "--cases", "none"]) == 2
    assert "no case 'none'" in capsys.readouterr().err


def test_a_picture_that_cannot_be_drawn_is_refused_at_once(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    there = tmp_path / "there.png"
    there.touch()
    for name, why in (("there.png", "--force"), ("no/picture.png", "folder"), ("a.xyz", "a .png")):
        assert main(["benchmark", "--picture", str(tmp_path / name)]) == 2
        assert why in capsys.readouterr().err
    assert there.stat().st_size == 0
