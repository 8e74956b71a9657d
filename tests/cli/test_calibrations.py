"""Stored calibrations from the command line, of a store in a folder."""

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import bluesky_azint as ba
from bluesky_azint.cli import main
from bluesky_azint.store import CalibrationRecord, DirectoryStore
from tests.calibration.made import GEOMETRY, calibration

NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)


@pytest.fixture(autouse=True)
def _only_this_command(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("bluesky_azint.cli.COMMANDS", ("calibrations",))


@pytest.fixture
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> DirectoryStore:
    """The store that the environment names."""
    store = DirectoryStore(tmp_path / "store")
    store.path.mkdir()
    monkeypatch.setenv("AZINT_STORE", str(store.path))
    return store


def save(store: DirectoryStore, verdict: str = "review", **options: Any) -> CalibrationRecord:
    """Store a calibration."""
    record = CalibrationRecord.from_calibration(
        calibration(verdict), **{"detector": "eiger", "valid_from": NOON, **options}
    )
    store.save(record)
    return record


def run(*arguments: object) -> int:
    return main(["calibrations", *map(str, arguments)])


def test_a_list(store: DirectoryStore, capsys: pytest.CaptureFixture[str]) -> None:
    assert run("list") == 0
    assert capsys.readouterr().out == ""
    first, second = save(store), save(store, "accepted", detector="pilatus")
    assert run("list") == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].split() == [
        "uid", "status", "detector", "valid_from", "verdict", "residual_px",
    ]  # fmt: skip
    assert {tuple(line.split()) for line in lines[1:]} == {
        (first.uid[:8], "candidate", "eiger", "2026-03-01T12:00:00+00:00", "review", "0.120"),
        (second.uid[:8], "accepted", "pilatus", "2026-03-01T12:00:00+00:00", "accepted", "0.120"),
    }
    for asked in (
        ("--detector", "pilatus"),
        ("--status", "accepted"),
    ):
        assert run("list", *asked, "--json") == 0
        assert [line["uid"] for line in json.loads(capsys.readouterr().out)] == [second.uid]
    assert run("list", "--since", "2026-03-01T12:00:01Z") == 0
    assert run("list", "--until", "2026-02-01") == 0
    assert capsys.readouterr().out == ""


def test_one_is_accepted_and_rejected(
    store: DirectoryStore, capsys: pytest.CaptureFixture[str]
) -> None:
    record = save(store)
    assert run("accept", record.uid[:6], "--why", "the picture is fine") == 0
    assert store.get(record.uid).status == "accepted"
    assert run("reject", record.uid, "--why", "it is not") == 0
    assert store.get(record.uid).status == "rejected"
    assert capsys.readouterr().out.split() == [record.uid, "accepted", record.uid, "rejected"]
    assert run("reject", record.uid, "--why", "it is not") == 1
    assert "is rejected already" in capsys.readouterr().err
    with pytest.raises(SystemExit, match="2"):
        run("reject", record.uid)


def test_one_is_shown(store: DirectoryStore, capsys: pytest.CaptureFixture[str]) -> None:
    record = save(store, raw_uid="5e1f", files={"report.html": b"<html>"})
    store.reject(record.uid, who="ada", why="the rings are dull")
    assert run("show", record.uid[:6]) == 0
    text = capsys.readouterr().out
    for told in (
        f"Calibration {record.uid} of eiger, valid from 2026-03-01 12:00:00+00:00: rejected",
        "raw uid: 5e1f",
        "files: report.html",
        "REVIEW",
        "- Half of the rings are missing.",
        "rot3 was not refined: One detector does not tell it.",
        "residual 0.120 px, held out 0.130 px, dq/q 3.0e-05; 2 rings of CeO2, 2 sectors",
        "rejected by ada: the rings are dull",
    ):
        assert told in text
    rows = [line.split() for line in text.splitlines()]
    assert ["dist", "100.0000", "mm", "0.0010", "0.0100"] in rows
    assert ["rot2", "-1.1459", "deg", "0.0029", "0.0286"] in rows
    assert ["distance", "100.0250", "mm", "0.0015", "0.0150"] in rows
    assert run("show", record.uid, "--json") == 0
    values = json.loads(capsys.readouterr().out)
    assert values["metadata"]["figures"]["parameters"]["dist"]["value"] == 0.1
    assert values["history"][0]["who"] == "ada"


def test_one_is_written_to_a_file(
    store: DirectoryStore, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    record = save(store, files={"report.html": b"<html>"})
    path = tmp_path / "out.poni"
    assert run("export", record.uid, "-o", path) == 0
    assert capsys.readouterr().out == f"{path}\n"
    assert path.read_text().startswith(f"# Calibration {record.uid} of eiger, valid from ")
    assert ": candidate\n" in path.read_text()
    assert ba.Geometry.from_poni(path).rot2 == GEOMETRY.rot2
    assert run("export", record.uid, "-o", path) == 2
    assert run("export", record.uid, "-o", path, "--force") == 0
    assert run("export", record.uid, "-o", tmp_path / "out.cxi") == 0
    assert run("export", record.uid, "-o", tmp_path / "a.html", "--file", "report.html") == 0
    assert (tmp_path / "a.html").read_bytes() == b"<html>"
    capsys.readouterr()
    assert run("export", record.uid, "-o", tmp_path / "b.html", "--file", "nothing") == 2
    assert "no file 'nothing'; it has report.html" in capsys.readouterr().err


def test_a_geometry_from_elsewhere(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.delenv("AZINT_STORE", raising=False)
    GEOMETRY.to_poni(tmp_path / "a.poni")
    np.save(tmp_path / "mask.npy", np.tri(60, 80))
    where = tmp_path / "new"
    told = ("import", tmp_path / "a.poni", "--detector", "eiger", "--store", where)
    assert (
        run(*told, "--valid-from", "2026-03-01T13:00+01:00", "--mask", tmp_path / "mask.npy") == 0
    )
    uid = capsys.readouterr().out.strip()
    record = DirectoryStore(where).get(uid)
    assert (record.status, record.detector, record.valid_from) == ("candidate", "eiger", NOON)
    assert record.geometry.dist == GEOMETRY.dist
    assert record.mask is not None
    assert record.mask.sum() == np.tri(60, 80).sum()
    assert run(*told, "--accept") == 0
    newest = DirectoryStore(where).latest("eiger", datetime.now(UTC))
    assert newest is not None
    assert newest.uid == capsys.readouterr().out.strip()
    assert run("show", uid, "--store", where) == 0
    shown = capsys.readouterr().out
    assert "Distance: 0.1" in shown
    assert f"imported from: {tmp_path / 'a.poni'}" in shown


def test_what_goes_wrong(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.delenv("AZINT_STORE", raising=False)
    assert run("list") == 2
    assert "--store, or in AZINT_STORE" in capsys.readouterr().err
    assert run("list", "--store", tmp_path / "nowhere") == 1
    assert "There is no calibration store in" in capsys.readouterr().err
    assert run("list", "--store", tmp_path, "--status", "good") == 2
    with pytest.raises(SystemExit, match="2"):
        run("list", "--store", tmp_path, "--since", "yesterday")
    assert "'yesterday' is no time in ISO 8601; write it as" in capsys.readouterr().err
    assert run("export", "abc", "--store", tmp_path, "-o", tmp_path / "no" / "a.poni") == 2
    assert "there is no folder" in capsys.readouterr().err
    assert run("show", "abc", "--store", tmp_path) == 1
    assert "no calibration 'abc'" in capsys.readouterr().err
