"""``bluesky-azint mask``, run as a user does."""

import json
from pathlib import Path

import numpy as np
import pytest

from bluesky_azint.cli import main
from bluesky_azint.detectors import Detector
from bluesky_azint.io.images import read_mask


@pytest.fixture
def image(tmp_path: Path) -> Path:
    frame = np.random.default_rng(1).poisson(50.0, (120, 150)).astype(np.int32)
    frame[20, 30], frame[40, 50], frame[60, 70] = 0, 1_000_000, -1
    path = tmp_path / "frame.npy"
    np.save(path, frame)
    return path


def test_figures_mask_and_picture(
    image: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    mask, picture = tmp_path / "mask.npz", tmp_path / "mask.png"
    assert main(["mask", str(image), "-o", str(mask), "--plot", str(picture)]) == 0
    lines = capsys.readouterr().out.splitlines()
    rows = [line.split()[:2] for line in lines[1:-2]]
    assert rows == [["sentinel", "1"], ["dead", "1"], ["hot", "1"], ["all", "3"]]
    assert lines[-2:] == [str(mask), str(picture)]
    assert np.argwhere(read_mask(mask)).tolist() == [[20, 30], [40, 50], [60, 70]]
    assert picture.read_bytes().startswith(b"\x89PNG")


def test_json(image: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["mask", str(image), str(image), "--json", "--saturation", "500000"]) == 0
    figures = json.loads(capsys.readouterr().out)
    assert figures["shape"] == [120, 150]
    assert figures["frames"] == 2
    assert figures["masked"] == 3
    assert figures["kinds"]["saturated"] == 1
    assert figures["written"] == []


def test_what_is_masked_anyway(
    image: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    given = np.zeros((120, 150), np.uint8)
    given[:, :10] = 1
    np.save(tmp_path / "given.npy", given)
    arguments = ["mask", str(image), "--mask", str(tmp_path / "given.npy"), "--json"]
    assert main(arguments) == 0
    assert json.loads(capsys.readouterr().out)["kinds"]["given"] == 1200


def test_a_detector_of_a_file(
    image: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    gap = np.zeros((120, 150), bool)
    gap[:, 70:75] = True
    Detector(1e-4, 1e-4, (120, 150), gap, name="built here").to_nexus(tmp_path / "detector.h5")
    arguments = ["mask", str(image), "--detector", str(tmp_path / "detector.h5"), "--json"]
    assert main(arguments) == 0
    assert json.loads(capsys.readouterr().out)["masked"] >= 600


def test_nothing_is_replaced_unasked(
    image: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    mask = tmp_path / "mask.edf"
    assert main(["mask", str(image), "-o", str(mask)]) == 0
    assert main(["mask", str(image), "-o", str(mask)]) == 2
    assert "--force" in capsys.readouterr().err
    assert main(["mask", str(image), "-o", str(mask), "--force"]) == 0
    assert main(["mask", str(image), "-o", str(tmp_path / "mask.jpg")]) == 2
    for option in ("-o", "--plot"):
        capsys.readouterr()
        assert main(["mask", str(image), option, str(tmp_path / "no" / "mask.npz")]) == 2
        assert "there is no folder" in capsys.readouterr().err


def test_what_does_not_fit(image: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["mask", str(image), "--detector", "Pilatus1M"]) == 2
    assert "(120, 150), the detector (1043, 981)" in capsys.readouterr().err
    np.save(tmp_path / "other.npy", np.zeros((5, 6), np.int32))
    assert main(["mask", str(image), "--mask", str(tmp_path / "other.npy")]) == 2
    assert "(120, 150), the mask (5, 6)" in capsys.readouterr().err
    assert main(["mask", str(image), str(tmp_path / "other.npy")]) == 2
    assert "a mask is for one detector" in capsys.readouterr().err
