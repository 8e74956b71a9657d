"""PONI files: what pyFAI writes is read, what is written pyFAI reads, and the rest is refused."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bluesky_azint.attenuation import KEV_METRES
from bluesky_azint.detectors import Detector, detector
from bluesky_azint.errors import AzintError, FormatError, GeometryError
from bluesky_azint.geometry import Geometry
from bluesky_azint.io.distortion import read_offsets, read_spline
from bluesky_azint.io.poni import geometry_from_dict, geometry_to_dict, read_poni, write_poni
from bluesky_azint.parallax import Sensor
from bluesky_azint.pixels import Corners

fabio = pytest.importorskip("fabio")
pyfai = pytest.importorskip("pyFAI")
integration = pytest.importorskip("pyFAI.integrator.azimuthal")
ponifile = pytest.importorskip("pyFAI.io.ponifile")

POSITION = "Distance: 0.2\nPoni1: 0.09\nPoni2: 0.085\nRot1: 0.1\nRot2: -0.05\nRot3: 0.02\n"
HEAD = "poni_version: 2.1\nDetector: Eiger2_500k\nDetector_config: {}\n"
NUMBERS: dict[str, Any] = {
    "dist": 0.2,
    "poni1": 0.09,
    "poni2": 0.085,
    "rot1": 0.1,
    "rot2": -0.05,
    "rot3": 0.02,
    "wavelength": 1e-10,
}
DETECTORS = [
    "Pilatus1M",
    "PilatusCdTe2M",
    "Eiger2_4M",
    "Jungfrau4M",
    "Lambda750k",
    "Perkin",
    "RayonixMx225",
    "Mar345",
]


def written(path: Path, text: str) -> Path:
    path.write_text(text)
    return path


def assert_same_geometry(ours: Geometry, theirs: object) -> None:
    """Ours and pyFAI's put every pixel centre in the same place, within pyFAI's float32."""
    positions = theirs.calc_pos_zyx(corners=False)  # type: ignore[attr-defined]
    place = ours.centres()
    for mine, other in zip((place.z, place.y, place.x), positions, strict=True):
        np.testing.assert_allclose(mine, other, atol=2e-8)


@pytest.mark.parametrize("orientation", [1, 2, 3, 4])
@pytest.mark.parametrize("name", ["Pilatus1M", "Eiger2_1M", "RayonixMx225"])
def test_what_pyfai_saves_is_read(tmp_path: Path, name: str, orientation: int) -> None:
    theirs = integration.AzimuthalIntegrator(
        **NUMBERS, detector=pyfai.detector_factory(name, {"orientation": orientation})
    )
    theirs.save(str(tmp_path / "a.poni"))
    ours = Geometry.from_poni(tmp_path / "a.poni")
    assert ours == Geometry(**NUMBERS, detector=replace(detector(name), orientation=orientation))
    assert_same_geometry(ours, theirs)


@pytest.mark.parametrize("orientation", [1, 2, 3, 4])
@pytest.mark.parametrize("name", ["Pilatus1M", "Eiger2_1M", "RayonixMx225", None])
def test_what_is_written_pyfai_reads(tmp_path: Path, name: str | None, orientation: int) -> None:
    known = detector(name) if name else Detector(pixel1=1e-4, pixel2=2e-4, shape=(4, 6))
    ours = Geometry(**NUMBERS, detector=replace(known, orientation=orientation))
    ours.to_poni(tmp_path / "a.poni")
    theirs = pyfai.load(str(tmp_path / "a.poni"))
    assert type(theirs.detector).__name__ == (name or "Detector")
    assert {key: getattr(theirs, key) for key in NUMBERS} == NUMBERS
    assert_same_geometry(ours, theirs)
    assert Geometry.from_poni(tmp_path / "a.poni") == ours


@pytest.mark.parametrize("name", DETECTORS)
def test_json_form_goes_both_ways(name: str) -> None:
    ours = Geometry(**NUMBERS, detector=detector(name))
    values = json.loads(json.dumps(geometry_to_dict(ours)))
    assert geometry_from_dict(values) == ours
    theirs = ponifile.PoniFile(values)
    assert type(theirs.detector).__name__ == name
    assert geometry_from_dict(json.loads(json.dumps(theirs.as_dict()))) == ours


@pytest.mark.parametrize(
    ("name", "pixel"), [("RayonixSx165", 79e-6), ("Mar345", 150e-6), ("Perkin", 400e-6)]
)
def test_binned_detector_survives_pyfai(tmp_path: Path, name: str, pixel: float) -> None:
    path = tmp_path / "a.poni"
    ours = Geometry(dist=0.1, detector=detector(name, pixel, pixel))
    ours.to_poni(path)
    theirs = pyfai.load(str(path))
    assert theirs.detector.shape == ours.shape
    path.unlink()
    theirs.save(str(path))
    assert Geometry.from_poni(path) == ours


FINITE = st.floats(-10, 10)


@given(
    numbers=st.tuples(*[FINITE] * 6),
    wavelength=st.none() | st.floats(1e-12, 1e-8),
    pixels=st.tuples(*[st.floats(1e-6, 1e-2)] * 2),
    shape=st.none() | st.tuples(*[st.integers(1, 10_000)] * 2),
    orientation=st.integers(1, 4),
)
def test_nothing_is_lost_in_a_file(
    tmp_path_factory: pytest.TempPathFactory,
    numbers: tuple[float, ...],
    wavelength: float | None,
    pixels: tuple[float, float],
    shape: tuple[int, int] | None,
    orientation: int,
) -> None:
    path = tmp_path_factory.getbasetemp() / "any.poni"
    pose: dict[str, Any] = dict(zip(NUMBERS, numbers, strict=False))
    geometry = Geometry(
        **pose,
        wavelength=wavelength,
        detector=Detector(*pixels, shape=shape, orientation=orientation),
    )
    write_poni(geometry, path)
    assert read_poni(path) == geometry


def test_version_1(tmp_path: Path) -> None:
    path = written(
        tmp_path / "a.poni",
        "# Nota: C-Order\nPixelSize1: 0.000172\nPixelSize2: 0.0001\n"
        f"{POSITION}SplineFile: None\nWavelength: 1e-10\n",
    )
    expected = Geometry(**NUMBERS, detector=Detector(pixel1=172e-6, pixel2=1e-4))
    assert read_poni(path) == expected


def test_version_1_with_the_name_of_a_detector(tmp_path: Path) -> None:
    path = written(
        tmp_path / "a.poni",
        f"Detector: Pilatus 1M\nPixelSize1: 0.000172\nPixelSize2: 0.000172\n{POSITION}",
    )
    expected = Geometry(**NUMBERS, detector=detector("Pilatus1M"))
    assert read_poni(path) == replace(expected, wavelength=None)


@pytest.mark.parametrize(
    ("version", "config", "last"),
    [
        ("2", '{"pixel1": 7.5e-05, "pixel2": 7.5e-05}', ""),
        ("2", '{"pixel1": 7.5e-05, "splineFile": null, "max_shape": null}', ""),
        ("2.1", '{"orientation": 3}', ""),
        ("2.1", "{}", ""),
        (
            "3",
            '{"orientation": 3, "sensor": {"material": "Si", "thickness": 0.00045}}',
            "Parallax: False",
        ),
        (
            "3",
            '{"orientation": 3, "sensor": {"material": "Si", "thickness": 0.00045}}',
            "Parallax: True",
        ),
    ],
)
def test_later_versions(tmp_path: Path, version: str, config: str, last: str) -> None:
    path = written(
        tmp_path / "a.poni",
        f"poni_version: {version}\nDetector: Eiger2_500k\nDetector_config: {config}\n"
        f"{POSITION}Wavelength: 1e-10\n{last}\n",
    )
    known = detector("Eiger2_500k")
    if "sensor" in config:
        known = replace(known, sensor=Sensor("Si", 450e-6))
    assert read_poni(path) == Geometry(**NUMBERS, detector=known, parallax="True" in last)


@pytest.mark.parametrize("encoding", ["latin-1", "utf-8-sig"])
def test_comments_in_any_encoding(tmp_path: Path, encoding: str) -> None:
    path = tmp_path / "a.poni"
    path.write_bytes(f"{HEAD}# Calibr\xe9\n{POSITION}Wavelength: 1e-10\n".encode(encoding))
    assert read_poni(path) == Geometry(**NUMBERS, detector=detector("Eiger2_500k"))


def test_case_comments_and_history(tmp_path: Path) -> None:
    """pyFAI appends to a file: the last of several entries holds."""
    path = written(
        tmp_path / "a.poni",
        "# Distance: 7\nDISTANCE: 1\nPixelSize1: 1e-4\npixelsize2: 1e-4\nponi1:0\nPONI2 : 0\n"
        "rot1: 1\nrot2: 1\nrot3: 1\na line without a colon\n"
        "# Calibration done on Fri Feb 27 13:52:42 2015\n"
        "poni_version: 2.1\nDetector: Eiger2_500k\nDetector_config: {}\n"
        f"{POSITION}Wavelength: 1e-10\n",
    )
    assert read_poni(path) == Geometry(**NUMBERS, detector=detector("Eiger2_500k"))


@pytest.mark.parametrize("nested", [False, True])
def test_json_file(tmp_path: Path, nested: bool) -> None:
    poni = {
        **NUMBERS,
        "poni_version": 2.1,
        "detector": "Eiger2_500k",
        "detector_config": {"orientation": 2},
    }
    values = {"application": "pyfai-integrate", "version": 5, "poni": poni} if nested else poni
    path = written(tmp_path / "a.json", json.dumps(values, indent=2))
    expected = replace(detector("Eiger2_500k"), orientation=2)
    assert read_poni(path) == Geometry(**NUMBERS, detector=expected)


@pytest.mark.parametrize(
    "folder", ["dioptas_ceo2_pilatus1m", "hexrd_ceo2_pilatus2m", "gsas_agbh_marccd"]
)
def test_published_files(shared_data: Path, tmp_path: Path, folder: str) -> None:
    for path in (shared_data / folder).glob("*.poni"):
        ours = Geometry.from_poni(path)
        theirs = pyfai.load(str(path))
        assert (ours.dist, ours.poni1, ours.rot1) == (theirs.dist, theirs.poni1, theirs.rot1)
        assert (ours.detector.pixel1, ours.wavelength) == (theirs.pixel1, theirs.wavelength)
        if theirs.detector.shape is None:
            assert ours.detector.shape is None
        else:
            assert_same_geometry(ours, theirs)
        ours.to_poni(tmp_path / "again.poni")
        assert Geometry.from_poni(tmp_path / "again.poni") == ours


@pytest.mark.parametrize(
    "name", ["Jungfrau", "Xpad_flat", "Pixirad1", "Rapid", "Cirpad", "ImXPadS140"]
)
def test_irregular_detectors_go_both_ways(tmp_path: Path, name: str) -> None:
    ours = Geometry(**NUMBERS, detector=detector(name))
    ours.to_poni(tmp_path / "a.poni")
    assert Geometry.from_poni(tmp_path / "a.poni") == ours
    theirs = pyfai.load(str(tmp_path / "a.poni"))
    assert type(theirs.detector).__name__ == name
    theirs.save(str(tmp_path / "b.poni"))
    assert Geometry.from_poni(tmp_path / "b.poni") == ours


def test_radius_goes_both_ways(tmp_path: Path) -> None:
    ours = Geometry(**NUMBERS, detector=detector("Aarhus", radius=1.2))
    ours.to_poni(tmp_path / "a.poni")
    assert Geometry.from_poni(tmp_path / "a.poni") == ours
    assert pyfai.load(str(tmp_path / "a.poni")).detector.radius == 1.2


@pytest.mark.parametrize("thickness", [750e-6, None])
def test_parallax_goes_both_ways(tmp_path: Path, thickness: float | None) -> None:
    known = replace(detector("Eiger2_1M"), sensor=Sensor("CdTe", thickness))
    numbers = {**NUMBERS, "wavelength": KEV_METRES / 20}  # where the tables of both have a value
    ours = Geometry(**numbers, detector=known, parallax=True)
    ours.to_poni(tmp_path / "a.poni")
    text = (tmp_path / "a.poni").read_text()
    assert "poni_version: 3\n" in text
    assert Geometry.from_poni(tmp_path / "a.poni") == ours
    theirs = pyfai.load(str(tmp_path / "a.poni"))
    np.testing.assert_allclose(ours.centres().y, theirs.position_array()[..., 1], atol=2e-8)
    theirs.save(str(tmp_path / "b.poni"))
    assert Geometry.from_poni(tmp_path / "b.poni") == ours
    assert geometry_from_dict(json.loads(json.dumps(geometry_to_dict(ours)))) == ours
    replace(ours, parallax=False).to_poni(tmp_path / "a.poni")
    assert "poni_version: 2.1\n" in (tmp_path / "a.poni").read_text()
    assert Geometry.from_poni(tmp_path / "a.poni") == replace(ours, parallax=False)


def test_detector_of_a_nexus_file(tmp_path: Path) -> None:
    array = np.random.default_rng(1).normal(size=(4, 5, 4, 3)).astype(np.float32)
    given = Detector(1e-4, 2e-4, pixels=Corners(array), name="mine", sensor=Sensor("Si"))
    with pytest.raises(GeometryError, match=r"places of their own.*is not written"):
        Geometry(**NUMBERS, detector=given).to_poni(tmp_path / "a.poni")
    with pytest.raises(FormatError, match="entry pixel_corners, which is not understood"):
        geometry_from_dict(geometry_to_dict(Geometry(**NUMBERS, detector=given)))
    (tmp_path / "sub").mkdir()
    ours = Geometry(**NUMBERS, detector=given.to_nexus(tmp_path / "sub" / "d.h5"))
    assert ours.detector == given
    ours.to_poni(tmp_path / "a.poni")
    assert Geometry.from_poni(tmp_path / "a.poni") == ours
    theirs = pyfai.load(str(tmp_path / "a.poni"))
    place = ours.centres()
    np.testing.assert_allclose(theirs.position_array()[..., 1], place.y, rtol=0, atol=2e-7)
    theirs.save(str(tmp_path / "b.poni"))
    assert Geometry.from_poni(tmp_path / "b.poni") == ours
    text = (tmp_path / "a.poni").read_text().replace(f"{tmp_path}/", "")
    (tmp_path / "c.poni").write_text(text)  # a path from the folder of the PONI file
    assert Geometry.from_poni(tmp_path / "c.poni") == ours
    (tmp_path / "d.poni").write_text(f"Detector: {tmp_path}/sub/d.h5\n{POSITION}")
    assert Geometry.from_poni(tmp_path / "d.poni").detector == ours.detector
    turned = text.replace('"orientation": 3', '"orientation": 2')
    (tmp_path / "c.poni").write_text(turned)
    assert Geometry.from_poni(tmp_path / "c.poni").detector == replace(given, orientation=2)


def test_offset_files_and_splines_go_both_ways(tmp_path: Path, spline_file: Path) -> None:
    for axis in "xy":
        offsets = np.random.default_rng(1).integers(-50, 50, (195, 487))
        fabio.edfimage.EdfImage(data=offsets.astype(np.int32)).write(tmp_path / f"{axis}.edf")
    pilatus = read_offsets(detector("Pilatus100k"), tmp_path / "x.edf", tmp_path / "y.edf")
    cameras = (pilatus, read_spline(spline_file, "FReLoN"), read_spline(spline_file))
    for number, known in enumerate(cameras):
        ours = Geometry(**NUMBERS, detector=known)
        ours.to_poni(tmp_path / f"{number}.poni")
        assert Geometry.from_poni(tmp_path / f"{number}.poni") == ours
        theirs = pyfai.load(str(tmp_path / f"{number}.poni"))
        assert type(theirs.detector).__name__ == known.name
        assert_same_geometry(ours, theirs)
        theirs.save(str(tmp_path / f"{number}b.poni"))
        assert Geometry.from_poni(tmp_path / f"{number}b.poni") == ours
    old = f"PixelSize1: 5e-05\nPixelSize2: 5e-05\nSplineFile: {spline_file}\n{POSITION}"
    assert read_poni(written(tmp_path / "old.poni", old)).detector == cameras[2]


def test_file_is_overwritten(tmp_path: Path) -> None:
    path = tmp_path / "a.poni"
    geometry = Geometry(**NUMBERS, detector=detector("Pilatus1M"))
    geometry.to_poni(path)
    replace(geometry, dist=3.0, wavelength=None).to_poni(path)
    assert Geometry.from_poni(path).wavelength is None
    assert path.read_text().count("Distance") == 1


def test_catalogue_name_needs_the_shape_of_the_catalogue() -> None:
    region = Detector(pixel1=172e-6, pixel2=172e-6, shape=(100, 100), name="Pilatus1M")
    values = geometry_to_dict(Geometry(detector=region))
    assert values["detector"] == "Detector"
    assert values["detector_config"]["max_shape"] == [100, 100]


PIXELS = '{"pixel1": 1e-4, "pixel2": 1e-4}'


@pytest.mark.parametrize(
    ("text", "error", "match"),
    [
        ("", FormatError, "it has no distance. A PONI file needs"),
        (HEAD + POSITION.replace("Rot2: -0.05\n", ""), FormatError, "it has no rot2"),
        (HEAD + POSITION.replace("0.2", "far"), FormatError, "line 4: dist is 'far'"),
        (HEAD + POSITION + "Wavelength: 1 A\n", FormatError, "line 10: wavelength is '1 A'"),
        (HEAD + POSITION + "Wavelength: -1\n", GeometryError, "wavelength is -1"),
        (HEAD + POSITION.replace("0.2", "nan"), GeometryError, "dist of the geometry is nan"),
        ("poni_version: 4\n" + POSITION, FormatError, "line 1: its version 4 is too new"),
        (HEAD + POSITION + "Parallax: True\n", GeometryError,
         "parallax needs .*the sensor of the detector"),
        (POSITION, FormatError, "no detector and gives no size"),
        (f"PixelSize1: 1e-4\nPixelSize2: 1e-4\n{POSITION}SplineFile: /a.spline", FormatError,
         "The spline file /a.spline cannot be read: .*No such file"),
        (f"Detector: Detector\nDetector_config: {PIXELS[:-1]}\n" + POSITION, FormatError,
         "line 2: Detector_config is no valid JSON"),
        ("Detector: Detector\nDetector_config: 3\n" + POSITION, FormatError,
         "line 2: Detector_config is 3; it must be an object"),
        ('Detector: Detector\nDetector_config: {"pixel1": "x"}\n' + POSITION, FormatError,
         "line 2: pixel1 is 'x'"),
        ('Detector: Detector\nDetector_config: {"pixel1": -1, "pixel2": 1}\n' + POSITION,
         GeometryError, "both sizes must be positive"),
        ('Detector: Pilatus1M\nDetector_config: {"max_shape": 5}\n' + POSITION, FormatError,
         "line 2: max_shape is 5"),
        ('Detector: Pilatus1M\nDetector_config: {"orientation": "up"}\n' + POSITION, FormatError,
         "line 2: orientation is 'up'"),
        ('Detector: Pilatus1M\nDetector_config: {"orientation": 7}\n' + POSITION, GeometryError,
         "has orientation 7"),
        ('Detector: Pilatus1M\nDetector_config: {"module_size": [9, 9]}\n' + POSITION, FormatError,
         "line 2: Detector_config has the entry module_size"),
        ('Detector: Pilatus1M\nDetector_config: {"x_offset_file": "x.cbf"}\n' + POSITION,
         FormatError, "line 2: Detector_config has the x_offset_file alone"),
        ('Detector: Pilatus1M\nDetector_config: {"x_offset_file": "x.cbf", "y_offset_file": "y"}\n'
         + POSITION, FormatError, "x.cbf"),
        ('Detector: NexusDetector\nDetector_config: {"filename": "d.h5"}\n' + POSITION,
         FormatError, "The detector file d.h5 cannot be read"),
        ("Detector: /data/d.h5\nDetector_config: {}\n" + POSITION, FormatError,
         "The detector file /data/d.h5 cannot be read"),
        ('Detector: FReLoN\nDetector_config: {"splineFile": "f.spline"}\n' + POSITION, FormatError,
         "The spline file f.spline cannot be read"),
        ('Detector: Pilatus1M\nDetector_config: {"radius": 0.3}\n' + POSITION, GeometryError,
         "is no cylinder"),
        ('Detector: Pilatus1M\nDetector_config: {"sensor": "Si"}\n' + POSITION, FormatError,
         "line 2: sensor is 'Si'; it must be an object"),
        ('Detector: Pilatus1M\nDetector_config: {"sensor": {"material": "Sn"}}\n' + POSITION,
         GeometryError, "made of 'Sn'"),
        ("Detector: Pilatus1MM\n" + POSITION, GeometryError, "no detector 'Pilatus1MM'.*Pilatus1M"),
        ('Detector: Pilatus1M\nDetector_config: {"pixel1": 3.0e-4}\n' + POSITION, GeometryError,
         "no pixels of 300 um"),
        ('Detector: Pilatus1M\nDetector_config: {"max_shape": [100, 100]}\n' + POSITION,
         GeometryError, r"has the shape \(100, 100\), but Pilatus1M has \(1043, 981\)"),
        ('{"dist": 1,', FormatError, "it starts as JSON but is not"),
        ('{"dist": 1}', FormatError, "it has no poni1"),
    ],
)  # fmt: skip
def test_what_cannot_be_used_is_refused(
    tmp_path: Path, text: str, error: type[AzintError], match: str
) -> None:
    path = written(tmp_path / "bad.poni", text)
    with pytest.raises(error, match=f"^PONI file {path}.*{match}"):
        read_poni(path)


def test_missing_file(tmp_path: Path) -> None:
    with pytest.raises(FormatError, match=r"nowhere.poni cannot be read: .*No such file"):
        read_poni(tmp_path / "nowhere.poni")
