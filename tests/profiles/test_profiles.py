"""Profiles are found, copied, and make a session that works."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from bluesky_azint.cli import main
from bluesky_azint.errors import FormatError, RecipeError
from bluesky_azint.profiles import copy_profile, profile_path, profiles


def test_profiles_are_listed_and_copied(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["profiles", "list"]) == 0
    assert capsys.readouterr().out.split() == profiles() == ["demo"]
    copied = tmp_path / "mine"
    assert main(["profiles", "copy", "demo", str(copied)]) == 0
    script = Path("startup", "00-session.py")
    assert (copied / script).read_text() == (profile_path("demo") / script).read_text()
    assert not list(copied.rglob("__pycache__"))


def test_what_is_there_is_not_written_over(tmp_path: Path) -> None:
    copied = copy_profile("demo", tmp_path / "mine")
    script = copied / "startup" / "00-session.py"
    script.write_text("changed")
    with pytest.raises(FormatError, match="force"):
        copy_profile("demo", copied)
    assert script.read_text() == "changed"
    copy_profile("demo", copied, force=True)
    assert script.read_text() != "changed"


def test_an_unknown_profile_is_told() -> None:
    with pytest.raises(RecipeError, match="there is demo"):
        profile_path("xpd")


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
