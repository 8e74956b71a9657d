"""The command around a calibration: what it asks for, prints and writes, and how it ends."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

import bluesky_azint as ba
from bluesky_azint.calibration.constraints import Bounds, Fixed, Prior
from bluesky_azint.calibration.result import Calibration
from bluesky_azint.cli import main
from bluesky_azint.store import DirectoryStore
from tests.calibration.made import DETECTOR, GEOMETRY, calibration

BASIC = ("--detector", "detector.h5", "--wavelength", "0.4")


class Fake:
    """In the place of the calibration: notes what it is asked, and gives what it is told."""

    def __init__(self) -> None:
        self.result: Calibration = calibration()
        self.asked: dict[str, Any] = {}

    def __call__(self, image: NDArray[Any], **options: Any) -> Calibration:
        self.asked = {"image": image, **options}
        options["progress"]("Looking for rings", 0.5)
        return self.result


@pytest.fixture
def fake(monkeypatch: pytest.MonkeyPatch) -> Fake:
    """What calibrates."""
    monkeypatch.setattr("bluesky_azint.cli.COMMANDS", ("calibrate",))
    monkeypatch.delenv("AZINT_STORE", raising=False)
    fake = Fake()
    monkeypatch.setattr("bluesky_azint.calibration.calibrate.calibrate", fake)
    return fake


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working folder with an image and a detector."""
    monkeypatch.chdir(tmp_path)
    np.save("image.npy", np.random.default_rng(0).poisson(100, (60, 80)).astype(np.uint16))
    DETECTOR.to_nexus("detector.h5")
    return tmp_path


def run(*arguments: str) -> int:
    return main(["calibrate", "image.npy", *arguments])


def test_what_is_asked_for(fake: Fake) -> None:
    np.save("mask.npy", np.eye(60, 80))
    options = ("--detector", "detector.h5", "--energy", "30.99605", "--calibrant", "LaB6")
    known = ("--mask", "mask.npy", "--distance", "0.1", "0.3", "--fix", "rot1=0.1")
    assert run(*options, *known, "--fix", "tilt2=0", "--prior", "dist=0.2,1e-3") == 0
    asked = fake.asked
    assert asked["detector"].mask.sum() == 60
    assert asked["wavelength"] == pytest.approx(0.4e-10)
    assert asked["calibrant"].name == "LaB6"
    assert asked["mask"].sum() == 60
    assert asked["distance"] == (0.1, 0.3)
    assert asked["geometry"] is None
    assert asked["constraints"] == {
        "rot1": Fixed(0.1), "tilt2": Fixed(0.0), "dist": Prior(0.2, 1e-3),
    }  # fmt: skip
    np.testing.assert_array_equal(asked["image"], np.load("image.npy"))
    prior = ("--prior", "wavelength=0.4066,0.0001")  # in angstrom
    assert run(*BASIC, *prior, "--bound", "rot2=-0.1,0.1") == 0
    wavelength = fake.asked["constraints"].pop("wavelength")
    assert wavelength.value == pytest.approx(0.4066e-10)
    assert wavelength.sigma == pytest.approx(1e-14)
    assert fake.asked["constraints"] == {"rot2": Bounds(-0.1, 0.1)}
    assert run(*BASIC, "--distance", "0.2") == 0
    assert fake.asked["distance"] == 0.2
    assert fake.asked["calibrant"].name == "CeO2"
    assert fake.asked["detector"].shape == (60, 80)


def test_a_geometry_tells_detector_and_wavelength(fake: Fake) -> None:
    GEOMETRY.to_poni("old.poni")
    assert run("--geometry", "old.poni") == 0
    assert fake.asked["geometry"].dist == GEOMETRY.dist
    assert fake.asked["detector"].pixel1 == DETECTOR.pixel1
    assert fake.asked["wavelength"] == 4e-11
    assert run("--geometry", "old.poni", "--wavelength", "0.5", "--detector", "detector.h5") == 0
    assert fake.asked["wavelength"] == 5e-11
    assert fake.asked["geometry"].detector == fake.asked["detector"]


def test_what_is_printed(fake: Fake, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(*BASIC) == 0
    out, err = capsys.readouterr()
    assert out.startswith("ACCEPTED\n  note: The wavelength cannot be verified.\n")
    assert ["poni1", "5.0000", "mm", "0.0020", "0.0200"] in [
        line.split() for line in out.splitlines()
    ]
    assert "\nOf sigma and jackknife, believe the larger.\n" in out
    assert "residual 0.120 px" in out
    assert err == ""
    assert run(*BASIC, "--json") == 0
    found = json.loads(capsys.readouterr().out)
    assert found["parameters"]["dist"]["sigma"] == pytest.approx(1e-6)
    assert (found["output"], found["report"], found["uid"]) == (None, None, None)


def test_an_accepted_geometry_is_written(fake: Fake, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(*BASIC, "-o", "out.poni") == 0
    assert "output: out.poni" in capsys.readouterr().out
    assert ba.Geometry.from_poni("out.poni").dist == GEOMETRY.dist
    assert "REVIEW" not in Path("out.poni").read_text()
    fake.asked = {}
    assert run(*BASIC, "-o", "out.poni") == 2
    assert fake.asked == {}  # refused before anything takes time
    assert run(*BASIC, "-o", "out.poni", "--force") == 0
    assert run(*BASIC, "-o", "out.cxi") == 0
    assert Path("out.cxi").exists()


def test_what_is_not_refined_is_told_once(fake: Fake, capsys: pytest.CaptureFixture[str]) -> None:
    told = "rot1 was held at 0.1, as asked for."
    fake.result = calibration(notes=(told,), fixed={"rot1": told})
    assert run(*BASIC) == 0
    assert capsys.readouterr().out.count("rot1 was") == 1


def test_an_older_geometry_is_not_taken_for_a_new_one(
    fake: Fake, capsys: pytest.CaptureFixture[str]
) -> None:
    GEOMETRY.to_poni("out.poni")
    before = Path("out.poni").read_bytes()
    fake.result = calibration("refused")
    assert run(*BASIC, "-o", "out.poni", "--force") == 3
    assert "out.poni is an older one, and was left as it was." in capsys.readouterr().err
    assert Path("out.poni").read_bytes() == before
    assert run(*BASIC, "-o", "new.poni") == 3
    assert capsys.readouterr().err == ""


def test_a_doubtful_geometry_says_so(fake: Fake) -> None:
    fake.result = calibration("review")
    assert run(*BASIC, "-o", "out.poni") == 0
    lines = Path("out.poni").read_text().splitlines()
    assert lines[0].startswith("# REVIEW: somebody must look")
    assert lines[1] == "# Half of the rings are missing."
    assert ba.Geometry.from_poni("out.poni").poni2 == GEOMETRY.poni2


def test_a_refusal_writes_the_report_alone(
    fake: Fake, folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    fake.result = calibration("refused", candidate=None, sectors=None, rings=())
    told = (*BASIC, "-o", "out.poni", "--store", "store", "--name", "eiger", "--json")
    assert run(*told, "--report", "out.html") == 3
    found = json.loads(capsys.readouterr().out)
    assert (found["verdict"], found["output"], found["uid"]) == ("refused", None, None)
    assert found["report"] == "out.html"
    assert "Half of the rings are missing." in Path("out.html").read_text(encoding="utf-8")
    assert not Path("out.poni").exists()
    assert not (folder / "store").exists()


@pytest.mark.parametrize(("verdict", "status"), [("accepted", "accepted"), ("review", "candidate")])
def test_it_is_stored(
    fake: Fake,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    verdict: str,
    status: str,
) -> None:
    def write_report(
        _: Calibration, image: NDArray[Any], path: Path, *, images: dict[str, bytes], force: bool
    ) -> None:
        path.write_bytes(b"<!doctype html>" + images["cake"])

    monkeypatch.setattr("bluesky_azint.report.report_images", lambda *_: {"cake": b"PNG"})
    monkeypatch.setattr("bluesky_azint.report.write_report", write_report)
    fake.result = calibration(verdict)
    told = ("--store", "store", "--name", "eiger", "--valid-from", "2026-03-01T12:00Z", "--json")
    assert run(*BASIC, *told) == 0
    record = DirectoryStore("store").get(json.loads(capsys.readouterr().out)["uid"])
    assert (record.detector, record.status) == ("eiger", status)
    assert record.valid_from.isoformat() == "2026-03-01T12:00:00+00:00"
    assert record.metadata["verdict"] == verdict
    assert record.metadata["image"] == str(Path("image.npy").absolute())
    assert record.files == {"report.html": b"<!doctype html>PNG", "cake.png": b"PNG"}


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--wavelength", "0.4"), "Tell the detector"),
        (("--detector", "Pilatus1M"), "Tell the --energy"),
        ((*BASIC, "--distance", "1", "2", "3"), "one number, or two"),
        ((*BASIC, "--fix", "rot1"), "--fix rot1 must read NAME=VALUE,"),
        ((*BASIC, "--prior", "rot1=1"), "NAME=VALUE,SIGMA"),
        ((*BASIC, "--fix", "rot4=1"), "no parameter 'rot4'"),
        ((*BASIC, "--fix", "rot1=nan"), "--fix rot1=nan must read"),
        ((*BASIC, "--bound", "rot1=1"), "NAME=LOW,HIGH"),
        ((*BASIC, "--bound", "wavelength=0.3,0.5"), "cannot tell the wavelength"),
        ((*BASIC, "--prior", "wavelength=4e-11,1e-14"), "in angstrom"),
        ((*BASIC, "--fix", "rot1=0", "--bound", "rot1=-1,1"), "constrained twice"),
        ((*BASIC, "-o", "no/out.poni"), "there is no folder no;"),
        ((*BASIC, "--report", "no/out.html"), "there is no folder no;"),
        ((*BASIC, "--report", ".", "--force"), ". is a folder"),
        (("--detector", "Nothing", "--wavelength", "0.4"), "no detector"),
        (("--detector", "Pilatus1M", "--wavelength", "0.4"), "(60, 80), the detector (1043, 981)"),
        ((*BASIC, "--mask", "small.npy"), "(60, 80), the mask (3, 4)"),
        ((*BASIC, "--dark", "small.npy"), "(3, 4), the image (60, 80)"),
        ((*BASIC, "-o", "out.txt"), "must end in one of .poni"),
        ((*BASIC, "--store", "store"), "--name"),
        ((*BASIC, "--name", "eiger"), "AZINT_STORE"),
        ((*BASIC, "--calibrant", "Cheese"), "no calibrant 'Cheese'"),
    ],
)
def test_what_cannot_be_asked_for(
    fake: Fake, capsys: pytest.CaptureFixture[str], arguments: tuple[str, ...], message: str
) -> None:
    np.save("small.npy", np.zeros((3, 4)))
    assert run(*arguments) == 2
    assert message in capsys.readouterr().err
    assert fake.asked == {}
