"""The command checks made images; what it prints, and how it ends."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from bluesky_azint.calibration.result import Calibration
from bluesky_azint.cli import main
from tests.calibration.test_check import PIXEL, TRUE, frame, searching


@pytest.fixture(autouse=True)
def _only_this_command(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("bluesky_azint.cli.COMMANDS", ("check",))


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working folder with an image, the geometry of it, and one that is not."""
    monkeypatch.chdir(tmp_path)
    np.save("image.npy", frame())
    TRUE.to_poni("good.poni")
    replace(TRUE, poni2=TRUE.poni2 - PIXEL).to_poni("old.poni")
    replace(TRUE, wavelength=None).to_poni("dark.poni")
    return tmp_path


def run(*arguments: str) -> int:
    return main(["check", "image.npy", *arguments])


@pytest.mark.usefixtures("folder")
def test_a_good_geometry(capsys: pytest.CaptureFixture[str]) -> None:
    assert run("--poni", "good.poni") == 0
    out, err = capsys.readouterr()
    lines = out.splitlines()
    assert lines[0] == "GOOD"
    assert lines[2].split() == ["ring", "2theta/deg", "sectors", "rms/px", "mean/px", "+-"]
    assert lines[3].split()[:4] == ["1", "1", "1", "7.3402"]
    assert "once refitted" in out
    assert err == ""


@pytest.mark.usefixtures("folder")
def test_a_geometry_that_is_old(capsys: pytest.CaptureFixture[str]) -> None:
    assert run("--poni", "old.poni", "--json") == 1
    found = json.loads(capsys.readouterr().out)
    assert found["verdict"] == "drifted"
    assert found["centre_shift_px"] == pytest.approx([0.0, 1.0], abs=0.03)
    assert found["report"] is None
    assert run("--poni", "old.poni") == 1
    assert "+1.0" in capsys.readouterr().out
    assert run("--poni", "old.poni", "--tolerance", "2") == 0


@pytest.mark.usefixtures("folder")
def test_a_geometry_of_another_program(capsys: pytest.CaptureFixture[str]) -> None:
    from bluesky_azint.io.calibration import write_calibration

    write_calibration(TRUE, Path("good.imctrl"))
    assert run("--poni", "good.imctrl", "--detector", "good.poni") == 0
    assert capsys.readouterr().out.startswith("GOOD")
    assert run("--poni", "good.poni", "--detector", "good.poni") == 0


@pytest.mark.usefixtures("folder")
@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--detector", "Pilatus1M"), "is 'Pilatus1M' with pixels of 172 by 172 um"),
        (("--detector", "Nothing"), "no detector"),
        (("--tolerance", "0"), "must be positive and finite"),
        (("--tolerance", "inf"), "must be positive and finite"),
        (("--tolerance", "nan"), "must be positive and finite"),
        (("--report", "no/check.html"), "there is no folder no;"),
        (("--mask", "small.npy"), "(400, 380), the mask (3, 4)"),
    ],
)
def test_what_cannot_be_asked_for(
    capsys: pytest.CaptureFixture[str], arguments: tuple[str, ...], message: str
) -> None:
    np.save("small.npy", np.zeros((3, 4)))
    assert run("--poni", "good.poni", *arguments) == 2
    assert message in capsys.readouterr().err


@pytest.mark.usefixtures("folder")
def test_the_wavelength_may_be_told(capsys: pytest.CaptureFixture[str]) -> None:
    assert run("--poni", "dark.poni") == 1
    assert "no wavelength" in capsys.readouterr().err
    assert run("--poni", "dark.poni", "--wavelength", "0.4") == 0
    assert run("--poni", "dark.poni", "--energy", "30.99605") == 0
    assert run("--poni", "dark.poni", "--energy", "-1") == 2


@pytest.mark.usefixtures("folder")
def test_a_dark_and_a_mask(capsys: pytest.CaptureFixture[str]) -> None:
    image = frame().astype(np.uint16) + np.uint16(100)
    image[:200] += 50
    image[50:60] = 65535  # no count
    np.save("image.npy", image)
    np.save("dark.npy", np.where(np.arange(400)[:, np.newaxis] < 200, 150.0, 100.0) + 0 * frame())
    mask = np.zeros(image.shape, np.uint8)
    mask[:, :30] = 1
    np.save("mask.npy", mask)
    assert run("--poni", "good.poni", "--dark", "dark.npy", "--mask", "mask.npy") == 0
    np.save("dark.npy", np.zeros((3, 4)))
    assert run("--poni", "good.poni", "--dark", "dark.npy") == 2
    assert "(3, 4), the image (400, 380)" in capsys.readouterr().err


@pytest.mark.usefixtures("folder")
def test_an_image_that_tells_nothing(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    searching(monkeypatch)
    np.save("image.npy", np.random.default_rng(1).poisson(30, (400, 380)))
    assert run("--poni", "good.poni") == 3
    assert capsys.readouterr().out.startswith("REFUSED\n  - Near the geometry nothing")


@pytest.mark.usefixtures("folder")
def test_a_report(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    drawn: list[Calibration] = []

    def write_report(
        calibration: Calibration, image: NDArray[Any], path: Path, *, title: str, force: bool
    ) -> None:
        drawn.append(calibration)
        assert image.shape == (400, 380)
        path.write_text(title)

    monkeypatch.setattr("bluesky_azint.report.write_report", write_report)
    assert run("--poni", "old.poni", "--report", "check.html", "--json") == 1
    assert json.loads(capsys.readouterr().out)["report"] == "check.html"
    assert Path("check.html").read_text() == "Check of old.poni with CeO2"
    assert drawn[0].verdict == "review"
    assert drawn[0].candidate is not None
    assert drawn[0].candidate.poni2 == TRUE.poni2 - PIXEL  # where the rings are not
    assert drawn[0].sectors is not None
    assert np.abs(drawn[0].sectors.residual_px).max() > 0.5
    assert run("--poni", "old.poni", "--report", "check.html") == 2
    assert "exists" in capsys.readouterr().err
    assert run("--poni", "old.poni", "--report", "check.html", "--force") == 1
