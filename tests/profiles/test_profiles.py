"""Profiles are found, copied, and make a session that works."""

import json
import os
import subprocess
import sys
import tomllib
from hashlib import sha256
from pathlib import Path

import pytest

from bluesky_azint.cli import main
from bluesky_azint.errors import FormatError, RecipeError
from bluesky_azint.profiles import (
    CopyState,
    copy_profile,
    copy_state,
    profile_files,
    profile_path,
    profiles,
)

SCRIPT = Path("startup", "00-session.py")
REPOSITORY = Path(__file__).resolve().parents[2]


def test_profiles_are_listed_and_copied(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["profiles", "list"]) == 0
    assert capsys.readouterr().out.split() == profiles() == ["beamline", "demo"]
    copied = tmp_path / "mine"
    assert main(["profiles", "copy", "demo", str(copied)]) == 0
    script = Path("startup", "00-session.py")
    assert (copied / script).read_text() == (profile_path("demo") / script).read_text()
    assert not list(copied.rglob("__pycache__"))
    said = capsys.readouterr()
    assert said.out == f"{copied}\n"
    assert f"  {script}\n" in said.err


def test_what_is_there_is_not_written_over(tmp_path: Path) -> None:
    copied = copy_profile("demo", tmp_path / "mine")
    script = copied / "startup" / "00-session.py"
    script.write_text("changed")
    with pytest.raises(FormatError, match="force"):
        copy_profile("demo", copied)
    assert script.read_text() == "changed"
    assert copy_state("demo", copied) == CopyState(outdated=(), changed=(SCRIPT,))
    copy_profile("demo", copied, force=True)
    assert script.read_text() != "changed"
    assert script.with_name(f"{script.name}.old").read_text() == "changed"
    assert copy_state("demo", copied) == CopyState(outdated=(), changed=())


def test_a_copy_of_an_older_version_is_renewed_unless_it_was_changed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    started: list[list[str]] = []
    monkeypatch.setenv("IPYTHONDIR", str(tmp_path))
    monkeypatch.setattr(os, "execv", lambda _, command: started.append(command))
    home = tmp_path / "profile_azint_demo"

    def start() -> str:
        main(["profiles", "start", "demo"])
        return capsys.readouterr().err

    assert start() == start() == ""
    now = (home / SCRIPT).read_text()
    made_older(home, SCRIPT)
    assert "is renewed" in start()
    assert (home / SCRIPT).read_text() == now
    made_older(home, SCRIPT)
    (home / "README.md").write_text("mine")
    said = start()
    assert f"older version: {SCRIPT}." in said
    assert "changed README.md there" in said
    assert "profiles copy demo --force" in said
    assert (home / SCRIPT).read_text() == "older"
    (home / ".made-from.json").unlink()  # as copies were made in the beginning
    assert f"older version: README.md, {SCRIPT}." in start()
    assert started[0][1:] == ["-m", "IPython", f"--profile-dir={home}"]
    assert len(started) == 5


def made_older(copy: Path, path: Path) -> None:
    """As if a file had been otherwise in the package when the copy was made."""
    (copy / path).write_text("older")
    made_from = copy / ".made-from.json"
    digests = json.loads(made_from.read_text())
    made_from.write_text(json.dumps({**digests, str(path): sha256(b"older").hexdigest()}))


def test_an_unknown_profile_is_told() -> None:
    with pytest.raises(RecipeError, match="there is beamline, demo"):
        profile_path("xpd")


def test_all_files_of_the_profiles_are_in_the_package() -> None:
    """What is not among the package data is there for us, and for nobody who installs it."""
    project = tomllib.loads((REPOSITORY / "pyproject.toml").read_text())
    patterns = project["tool"]["setuptools"]["package-data"]["bluesky_azint.profiles"]
    packed = {path for pattern in patterns for path in (REPOSITORY / "profiles").glob(pattern)}
    for name in profiles():
        assert {profile_path(name).resolve() / path for path in profile_files(name)} <= packed


def test_the_demo_session_just_works_and_ends(tmp_path: Path) -> None:
    code = (
        "RE(bp.scan([det], motor, 0, 1, 11)); run = last_reduced();"
        "assert run.patterns['intensity'].shape == (11, 1000);"
        "assert run.start['calibration_uid'] == calibration.uid;"
        "RE(fly_frames([det], 10, 20));"
        "assert last_reduced().patterns['intensity'].shape == (10, 1000);"
        "options = {'store': store, 'geometry_device': geometry};"
        "found = RE(calibrate_detector(det, energy_kev=30.996, **options)).plan_result;"
        "assert found.verdict == 'accepted', found.reasons;"
        "live.flush();"
        "results = tiled.raw[found.run_uid]['calibration'].read();"
        "assert abs(results['calibration-dist'].item() / 0.2 - 1) < 1e-4;"
        "assert results['calibration-reasons'].item() == '';"
        "RE(bp.count([det]));"
        "assert last_reduced().start['calibration_uid'] == found.record_uid;"
        "print('all is well')"
    )
    done = subprocess.run(
        [sys.executable, "-m", "bluesky_azint", "profiles", "start", "demo", "--", "-c", code],
        cwd=tmp_path,
        env={**os.environ, "IPYTHONDIR": str(tmp_path / "ipython"), "AZINT_DATA": "data"},
        capture_output=True,
        text=True,
        timeout=250,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "all is well" in done.stdout
    assert len(list((tmp_path / "data" / "reduced").glob("*.nxs"))) == 4
    assert "RE(bp.scan([det], motor, 0, 1, 11))" in done.stdout
