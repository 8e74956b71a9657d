"""Calibration files of other programs: written and read back, and as those programs write them."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import h5py
import numpy as np
import pytest

import bluesky_azint as ba
from bluesky_azint.conversions.gsas import to_gsas
from bluesky_azint.errors import FormatError, GeometryError
from bluesky_azint.io.cxi import read_cxi, write_cxi
from bluesky_azint.io.gsas import read_imctrl, write_imctrl
from bluesky_azint.io.hexrd import read_hexrd, write_hexrd
from bluesky_azint.io.imaged11 import read_imaged11, write_imaged11

DETECTOR = ba.Detector(0.0002, 0.0001, (40, 60))
GEOMETRY = ba.Geometry(
    detector=DETECTOR, dist=0.3, poni1=0.005, poni2=-0.002, rot1=0.1, rot2=-0.2, rot3=0.3,
    wavelength=4.1e-11,
)  # fmt: skip

Write = Callable[[ba.Geometry, Path], None]
Read = Callable[[Path], ba.Geometry]

FORMATS: dict[str, tuple[Write, Read]] = {
    "id11.par": (write_imaged11, lambda path: read_imaged11(path, DETECTOR)),
    "g2.imctrl": (write_imctrl, lambda path: read_imctrl(path, DETECTOR)),
    "one.cxi": (write_cxi, read_cxi),
    "panel.yml": (lambda g, path: write_hexrd({"p": g}, path), lambda path: read_hexrd(path)["p"]),
    "panel.hexrd": (
        lambda g, path: write_hexrd({"p": g}, path),
        lambda path: read_hexrd(path)["p"],
    ),
}


@pytest.mark.parametrize("name", FORMATS)
@pytest.mark.parametrize("orientation", [1, 2, 3, 4])
def test_files_keep_every_angle(name: str, orientation: int, tmp_path: Path) -> None:
    geometry = GEOMETRY.with_orientation(orientation)
    write, read = FORMATS[name]
    write(geometry, tmp_path / name)
    back = read(tmp_path / name)
    np.testing.assert_allclose(back.two_theta(), geometry.two_theta(), rtol=0, atol=1e-12)
    assert back.wavelength == pytest.approx(geometry.wavelength, rel=1e-14)
    assert back.shape == geometry.shape


def test_a_parameter_file_of_imaged11(tmp_path: Path) -> None:
    path = tmp_path / "a.prm"
    path.write_text(
        "cell__a 4.66\ncell_lattice_[P,A,B,C,I,F,R] P\ndistance 551262.3\nfit_tolerance 0.05\n"
        "o11 1\no12 0\no21 0\no22 -1\ntilt_x 0.0\ntilt_y -0.0022\ntilt_z 0.0038\n"
        "wavelength 0.2898\ny_center 1072.8\ny_size 200\nz_center 1017.1\nz_size 200\n"
    )
    geometry = read_imaged11(path)
    assert geometry.wavelength == pytest.approx(2.898e-11)
    assert geometry.rot1 == -0.0038
    assert geometry.dist == pytest.approx(0.5512623 * np.cos(0.0022) * np.cos(0.0038))
    path.write_text(path.read_text().replace("o11 1", "o11 -1"))
    with pytest.raises(GeometryError, match=r"a\.prm.*no shape"):
        read_imaged11(path)
    path.write_text("distance far\n")
    with pytest.raises(FormatError, match="line 1: distance"):
        read_imaged11(path)
    path.write_text("distance 1\n")
    with pytest.raises(FormatError, match="y_center, z_center, y_size, z_size"):
        read_imaged11(path)


CONTROLS = """type:PWDR
wavelength:0.177
calibrant:
distance:1057.3
center:[204.839, 206.452]
tilt:0.817
rotation:-102.16
azmthOff:0.0
fullIntegrate:True
LRazimuth:[0, 360]
invert_y:True
DetDepth:0.0
PolaVal:[0.99, False]
dark image:['', -1.0]
"""


def test_image_controls_as_gsas_writes_them(tmp_path: Path) -> None:
    path = tmp_path / "a.imctrl"
    path.write_text(CONTROLS)
    geometry = read_imctrl(path, ba.Detector(200e-6, 200e-6, (2048, 2048)))
    assert geometry.dist == pytest.approx(1.0573)
    assert geometry.wavelength == pytest.approx(1.77e-11)
    values = to_gsas(geometry)
    assert values.center == pytest.approx((204.839, 206.452))
    assert (values.tilt, values.rotation) == pytest.approx((0.817, -102.16))
    path.write_text(CONTROLS.replace("[204.839, 206.452]", "[204.839 206.452]"))
    assert read_imctrl(path, geometry.detector) == geometry


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("DetDepth:0.0", "DetDepth:0.06", "penetration depth"),
        ("distance:1057.3", "distance:far", "distance:far"),
        ("center:[204.839, 206.452]", "center:[1.0]", "2 numbers"),
        ("wavelength:0.177\n", "", "nowhere"),
    ],
)
def test_image_controls_that_are_refused(old: str, new: str, message: str, tmp_path: Path) -> None:
    path = tmp_path / "a.imctrl"
    path.write_text(CONTROLS.replace(old, new))
    with pytest.raises(FormatError, match=message):
        read_imctrl(path, DETECTOR)


INSTRUMENT = """
beam:
  energy: 80.725
  vector: {azimuth: 90.0, polar_angle: 90.0}
calibration_crystal: {grain_id: 0}
detectors:
  GE:
    pixels: {columns: 2048, rows: 2048, size: [0.2, 0.2]}
    saturation_level: 14000.0
    buffer: [2, 2]
    transform:
      tilt: [0.0006083885782739897, -0.0030970551592161724, -0.002265500030012865]
      translation: [-1.4462061780096935, -3.2336381263562695, -1050.6554068286134]
oscillation_stage:
  chi: -0.0008811161981266485
  translation: [0.0, 0.0, 0.0]
"""


def test_an_instrument_as_hexrd_writes_it(tmp_path: Path) -> None:
    path = tmp_path / "ge.yml"
    path.write_text(INSTRUMENT)
    geometry = read_hexrd(path)["GE"]
    assert geometry.wavelength == pytest.approx(0.1535883536e-10, rel=1e-8)
    assert geometry.shape == (2048, 2048)
    assert geometry.dist == pytest.approx(1.05065, abs=1e-4)
    mask = geometry.detector.mask
    assert mask is not None
    assert mask.sum() == 2048**2 - (2048 - 20) ** 2
    # A little below and left of its middle, seen from the sample, with row 0 at the top.
    middle = geometry.centres()
    assert middle.x[1024, 1024] == pytest.approx(-1.446e-3, abs=1.1e-4)
    assert middle.y[1024, 1024] == pytest.approx(-3.234e-3, abs=1.1e-4)
    assert middle.y[0, 1024] > 0.2


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("    buffer", "    distortion: {function_name: GE_41RT}\n    buffer", "distortion"),
        ("    buffer", "    detector_type: cylindrical\n    buffer", "cylindrical"),
        ("  energy", "  source_distance: 31.0\n  energy", "finite distance"),
        ("  energy: 80.725", "  X1: {energy: 1}\n  X2: {energy: 2}", "beams X1, X2"),
        ("azimuth: 90.0", "azimuth: 0.0", "runs along X"),
        ("columns: 2048, ", "", "columns"),
        (INSTRUMENT, "[1, 2]", "no instrument"),
        (INSTRUMENT, "{[", "no valid YAML"),
    ],
)
def test_instruments_that_are_refused(old: str, new: str, message: str, tmp_path: Path) -> None:
    path = tmp_path / "ge.yml"
    path.write_text(INSTRUMENT.replace(old, new))
    with pytest.raises(FormatError, match=rf"ge\.yml.*{message}"):
        read_hexrd(path)


def test_several_panels_share_an_energy(tmp_path: Path) -> None:
    path = tmp_path / "two.yaml"
    other = replace(GEOMETRY, poni1=-0.1)
    write_hexrd({"a": GEOMETRY, "b": other}, path)
    back = read_hexrd(path)
    assert list(back) == ["a", "b"]
    np.testing.assert_allclose(back["b"].two_theta(), other.two_theta(), atol=1e-12)
    with pytest.raises(FormatError, match="one energy"):
        write_hexrd({"a": GEOMETRY, "b": replace(GEOMETRY, wavelength=1e-10)}, path)


def test_a_map_of_good_pixels_in_a_hexrd_file(tmp_path: Path) -> None:
    path = tmp_path / "one.hexrd"
    write_hexrd({"a": GEOMETRY}, path)
    good = np.ones(DETECTOR.shape or (), dtype=bool)
    good[3, 4] = False
    with h5py.File(path, "a") as file:
        file["instrument/detectors/a/buffer"] = good
    mask = read_hexrd(path)["a"].detector.mask
    np.testing.assert_array_equal(mask, ~good)


def test_cxi_keeps_the_mask_and_says_what_lacks(tmp_path: Path) -> None:
    path = tmp_path / "a.cxi"
    mask = np.zeros(DETECTOR.shape or (), dtype=bool)
    mask[5, 6] = True
    write_cxi(replace(GEOMETRY, detector=replace(DETECTOR, mask=mask), wavelength=None), path)
    back = read_cxi(path)
    assert back.wavelength is None
    np.testing.assert_array_equal(back.detector.mask, mask)
    with pytest.raises(FormatError, match="detector_2"):
        read_cxi(path, "detector_2")
    with h5py.File(path, "a") as file:
        del file["entry_1/instrument_1/detector_1/geometry_1/translation"]
    with pytest.raises(FormatError, match=r"translation.*must hold 3"):
        read_cxi(path)
