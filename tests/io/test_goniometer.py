"""Goniometer files: pyFAI reads ours, and we read its."""

import json
import warnings
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

import bluesky_azint as ba
from bluesky_azint.errors import FormatError, GeometryError, RecipeError
from bluesky_azint.goniometer import Goniometer
from bluesky_azint.io.goniometer import (
    goniometer_from_dict,
    goniometer_to_dict,
    read_goniometer,
    write_goniometer,
)

NAMES = ("dist", "poni1", "poni2", "rot1", "rot2", "rot3", "wavelength")
PLAIN = {
    "dist": "dist",
    "poni1": "poni1 + z * 1e-3",
    "poni2": "poni2",
    "rot1": "rot1 + tth * pi / 180.",
    "rot2": "rot2",
    "rot3": "sin(tth) / 10",
}
PARAMETERS = {"dist": 0.3, "poni1": 0.01, "poni2": 0.02, "rot1": 0.001, "rot2": 0.002}


@pytest.fixture
def peer(pyfai: ModuleType) -> ModuleType:
    with warnings.catch_warnings(action="ignore"):
        import pyFAI.goniometer
    module: ModuleType = pyFAI.goniometer
    return module


def described(name: str, expressions: dict[str, str]) -> Goniometer:
    return Goniometer(
        detector=ba.detector(name) if name != "Detector" else ba.Detector(1e-4, 2e-4, (10, 20)),
        parameters={**PARAMETERS, "energy": 20.0},
        positions=("tth", "z"),
        expressions=expressions,
        wavelength=None if "wavelength" in expressions else 1e-10,
    )


CASES = [
    described("Pilatus 100k", PLAIN),
    described("Detector", {**PLAIN, "wavelength": "hc / energy * 1e-10"}),
    described("Detector", {"dist": "dist + z"}),
]


def same(geometry: ba.Geometry, ai: Any) -> None:
    for name in NAMES:
        assert getattr(geometry, name) == pytest.approx(getattr(ai, name), rel=1e-14), name
    assert geometry.detector.pixel1 == ai.detector.pixel1
    assert geometry.shape == tuple(ai.detector.max_shape)


@pytest.mark.parametrize("goniometer", CASES)
def test_pyfai_reads_ours(goniometer: Goniometer, peer: ModuleType, tmp_path: Path) -> None:
    path = tmp_path / "gonio.json"
    write_goniometer(goniometer, path)
    theirs = peer.Goniometer.sload(str(path))
    for tth, z in ((0.0, 0.0), (12.5, -3.0)):
        same(goniometer.geometry(tth=tth, z=z), theirs.get_ai((tth, z)))


@pytest.mark.parametrize("goniometer", CASES)
def test_we_read_what_pyfai_writes(
    goniometer: Goniometer, peer: ModuleType, tmp_path: Path
) -> None:
    path, again = tmp_path / "gonio.json", tmp_path / "again.json"
    write_goniometer(goniometer, path)
    theirs = peer.Goniometer.sload(str(path))
    theirs.save(str(again))
    assert json.loads(again.read_text())["trans_function"]["content"] in (
        "GeometryTransformation",
        "ExtendedTransformation",
    )
    back = read_goniometer(again)
    assert back.parameters == goniometer.parameters
    assert back.constants == {}
    for tth, z in ((0.0, 0.0), (12.5, -3.0)):
        same(back.geometry(tth=tth, z=z), theirs.get_ai((tth, z)))


def test_there_and_back() -> None:
    goniometer = Goniometer(
        detector=ba.Detector(1e-4, 2e-4, (10, 20), orientation=2),
        parameters=PARAMETERS,
        constants={"arm": 1.5},
        expressions={**PLAIN, "dist": "dist * arm", "wavelength": "1e-10 * hc / (20 + pos)"},
        positions=("tth", "z", "pos"),
    )
    assert (
        goniometer_from_dict(json.loads(json.dumps(goniometer_to_dict(goniometer)))) == goniometer
    )


def test_a_file_of_the_version_before(tmp_path: Path) -> None:
    values = goniometer_to_dict(CASES[2])
    config = values.pop("detector_config")
    values |= {"content": "Goniometer calibration v1.1", "splineFile": None, **config}
    values["trans_function"]["content"] = "GeometryTranslation"
    path = tmp_path / "old.json"
    path.write_text(json.dumps(values))
    assert read_goniometer(path).geometry(tth=0.0, z=1.0).dist == pytest.approx(1.3)


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        (lambda v: v.update(content="PONI"), FormatError, "'PONI'; only"),
        (lambda v: v["trans_function"].update(content="Base"), FormatError, "a Base; only"),
        (lambda v: v["param"].pop(), FormatError, "6 names of parameters and 5"),
        (lambda v: v.pop("trans_function"), FormatError, "'trans_function'"),
        (lambda v: v.update(detector="Nothing"), GeometryError, "Nothing"),
        (lambda v: v["trans_function"].update(dist_expr="exit()"), RecipeError, "exit"),
    ],
)
def test_files_that_are_refused(
    change: Any, error: type[Exception], message: str, tmp_path: Path
) -> None:
    values = goniometer_to_dict(CASES[0])
    change(values)
    path = tmp_path / "gonio.json"
    path.write_text(json.dumps(values))
    with pytest.raises(error, match=rf"gonio\.json.*{message}"):
        read_goniometer(path)
    path.write_text("no JSON")
    with pytest.raises(FormatError, match="no goniometer file"):
        read_goniometer(path)
