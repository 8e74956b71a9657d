"""Displacements from files against pyFAI, which reads the same files."""

from pathlib import Path

import numpy as np
import pytest

from bluesky_azint.detectors import Detector, detector
from bluesky_azint.errors import FormatError, GeometryError
from bluesky_azint.io.distortion import read_displacements, read_offsets, read_spline

fabio = pytest.importorskip("fabio")
detectors = pytest.importorskip("pyFAI.detectors")


@pytest.mark.parametrize("name", ["Detector", "FReLoN"])
def test_spline_is_pyfais(spline_file: Path, name: str) -> None:
    ours = read_spline(spline_file, name)
    theirs = getattr(detectors, name)(splinefile=str(spline_file))
    assert (ours.pixel1, ours.pixel2) == (theirs.pixel1, theirs.pixel2)
    assert ours.shape == theirs.shape == (40, 60)
    assert ours.pixels is not None
    p1, p2, _ = theirs.calc_cartesian_positions()
    corners = ours.pixels.corners()
    np.testing.assert_allclose(corners, theirs.get_pixel_corners(), rtol=0, atol=2e-9)
    # Theirs are displaced as their centre is, ours lie in the mean of their corners.
    np.testing.assert_allclose(corners.mean(axis=2)[..., 1], p1, rtol=0, atol=1e-7)
    np.testing.assert_allclose(corners.mean(axis=2)[..., 2], p2, rtol=0, atol=1e-7)
    if name == "FReLoN":
        assert ours.mask is not None
        assert 0 < ours.mask.sum() < ours.mask.size
        np.testing.assert_array_equal(ours.mask, theirs.mask != 0)
    else:
        assert ours.mask is None


def test_a_file_that_is_no_spline_is_refused(tmp_path: Path, spline_file: Path) -> None:
    text = spline_file.read_text()
    for wrong, match in (
        (text.replace("Y-DISTORTION", "DISTORTION"), "Y-DISTORTION"),
        (text.replace("     9    10", "     9    11"), "for 9 and 11 knots"),
        (text.replace("VALID REGION", "REGION"), "VALID REGION"),
        ("nothing", "VALID REGION"),
    ):
        path = tmp_path / "bad.spline"
        path.write_text(wrong)
        with pytest.raises(FormatError, match=rf"bad.spline is no spline file of Fit2D.*{match}"):
            read_spline(path)
    with pytest.raises(FormatError, match="cannot be read"):
        read_spline(tmp_path / "nowhere")


def test_displacements_in_images(tmp_path: Path) -> None:
    maps = np.random.default_rng(1).normal(size=(2, 5, 7)).astype(np.float32)
    for axis, values in zip("xy", maps, strict=True):
        fabio.edfimage.EdfImage(data=values).write(tmp_path / f"{axis}.edf")
    plain = Detector(1e-4, 1e-4, (5, 7))
    found = read_displacements(plain, tmp_path / "x.edf", tmp_path / "y.edf")
    assert found == plain.displaced(*maps)
    with pytest.raises(GeometryError, match=r"have the shapes \(5, 7\)"):
        read_displacements(Detector(1e-4, 1e-4, (9, 9)), tmp_path / "x.edf", tmp_path / "y.edf")


def test_offsets_of_dectris_are_pyfais(tmp_path: Path) -> None:
    offsets = np.random.default_rng(1).integers(-90, 90, (2, 195, 487)).astype(np.int32)
    for axis, values in zip("xy", offsets, strict=True):
        fabio.edfimage.EdfImage(data=values).write(tmp_path / f"{axis}.edf")
    files = tmp_path / "x.edf", tmp_path / "y.edf"
    ours = read_offsets(detector("Pilatus100k"), *files)
    theirs = detectors.Pilatus100k(x_offset_file=str(files[0]), y_offset_file=str(files[1]))
    assert ours.pixels is not None
    centres = ours.pixels.corners().mean(axis=2)
    for index, expected in zip((1, 2), theirs.calc_cartesian_positions(), strict=False):
        np.testing.assert_allclose(centres[..., index], expected, rtol=0, atol=1e-9)
