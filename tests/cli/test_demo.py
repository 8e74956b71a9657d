"""The demonstration, as a user runs it: in a process of its own."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
from matplotlib.image import imread

import bluesky_azint as ba
from bluesky_azint.callbacks import EmbeddedTiled, reduced_runs
from bluesky_azint.cli import main
from bluesky_azint.io.images import open_frames


def demo(folder: Path, *arguments: str) -> dict[str, Any]:
    """Run the command to its end, which it comes to by itself only if no thread is left over."""
    done = subprocess.run(
        [sys.executable, "-m", "bluesky_azint", "demo", "--json", *arguments],
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=150,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert "Traceback" not in done.stderr
    report: dict[str, Any] = json.loads(done.stdout)
    return report


def test_the_demonstration_leaves_a_picture_and_nothing_else(tmp_path: Path) -> None:
    report = demo(tmp_path, "--points", "3")
    assert report["frames"] == 3
    assert report["data"] is report["server"] is None
    assert [path.name for path in tmp_path.iterdir()] == ["bluesky-azint-demo.png"]
    picture = imread(tmp_path / "bluesky-azint-demo.png")
    assert picture.shape == (650, 1560, 4)
    assert len(report["python"].splitlines()) == 3


def test_real_frames_are_scanned_and_kept(tmp_path: Path, shared_data: Path) -> None:
    folder = shared_data / "dioptas_fe3o4_map_reference"
    images = sorted(map(str, folder.glob("*.tif")))
    poni = shared_data / "dioptas_ceo2_pilatus1m" / "published.poni"
    kept = tmp_path / "kept"
    report = demo(
        tmp_path, "--images", *images, "--poni", str(poni), "--keep", "kept", "--unit", "2th_deg"
    )
    assert report["data"] == str(kept)
    assert report["frames"] == len(images) == 2
    integrator = ba.Integrator(
        ba.Geometry.from_poni(poni), 1000, unit="2th_deg", error_model="poisson", engine="opencl"
    )

    def look(tiled: EmbeddedTiled) -> None:
        (run,) = reduced_runs(tiled.reduced, report["raw_uid"])
        assert run.start["uid"] == report["reduced_uid"]
        assert run.patterns["intensity"].dims == ("time", "two_theta")
        assert tiled.raw[report["raw_uid"]].metadata["stop"]["exit_status"] == "success"

    # The lines that it prints do what they say; we look around in the server that they start.
    namespace: dict[str, Any] = {"look": look}
    exec(f"{report['python']}\n    look(tiled)", namespace)
    with open_frames(images[0]) as frames:
        expected = integrator.integrate(frames[0])
    np.testing.assert_array_equal(namespace["pattern"].intensity, expected.intensity)
    np.testing.assert_array_equal(namespace["pattern"].sigma, expected.sigma)

    (pattern_file,) = (kept / "reduced").glob("*.nxs")
    with h5py.File(pattern_file) as file:
        assert file["entry/definition"][()] == b"NXazint1d"
        assert file["entry/data/I"].shape == (2, 1000)


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (["--images", "a.tif"], 2, "--images and --poni go together"),
        (["--points", "0"], 2, "--points is 0"),
        (["--images", "no.tif", "--poni", "no.poni"], 1, "no.tif"),
        (["--picture", "there.png"], 1, "--force"),
        (["--picture", "new.docx"], 2, ".png"),
        (["--picture", "no/new.png"], 1, "no folder"),
        (["--npt", "0"], 2, "npt is 0"),
        (["--unit", "q"], 2, "q_A^-1"),
        (["--calibrant", "salt"], 2, "no calibrant 'salt'"),
    ],
)
def test_what_cannot_be_shown_is_told_at_once(
    arguments: list[str],
    code: int,
    message: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "there.png").touch()
    assert main(["demo", *arguments]) == code
    told = capsys.readouterr().err
    assert message in told
    assert "..." not in told  # nothing was started
