"""Detectors in NeXus files: what pyFAI writes is read, and what is written pyFAI reads."""

import logging
from dataclasses import replace
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest

from bluesky_azint.detectors import Detector, detector
from bluesky_azint.errors import FormatError
from bluesky_azint.parallax import Sensor
from bluesky_azint.pixels import Corners

detectors = pytest.importorskip("pyFAI.detectors")

NAMES = ["Pilatus100k", "Jungfrau", "Pixirad1", "ImXPadS10", "Xpad_flat"]


def assert_same(ours: Detector, theirs: Any) -> None:
    assert (ours.pixel1, ours.pixel2) == (theirs.pixel1, theirs.pixel2)
    assert ours.shape == tuple(theirs.shape)
    assert ours.orientation == int(theirs.orientation)
    assert (ours.dummy, ours.delta_dummy) == (theirs.dummy, theirs.delta_dummy)
    if theirs.mask is None:
        assert ours.mask is None
    else:
        np.testing.assert_array_equal(ours.mask, theirs.mask != 0)
    if ours.pixels is not None:
        found = ours.pixels.corners()
        np.testing.assert_allclose(found, theirs.get_pixel_corners(), rtol=0, atol=1e-8)
        assert ours.pixels.flat == theirs.IS_FLAT


@pytest.mark.parametrize("name", NAMES)
def test_what_pyfai_writes_is_read(tmp_path: Path, name: str) -> None:
    theirs = detectors.detector_factory(name)
    theirs.save(str(tmp_path / "d.h5"))
    ours = Detector.from_nexus(tmp_path / "d.h5")
    assert_same(ours, theirs)
    assert (ours.pixels is None) == theirs.uniform_pixel
    assert ours.described_in == (("filename", str(tmp_path / "d.h5")),)


@pytest.mark.parametrize("name", NAMES)
def test_what_is_written_pyfai_reads(tmp_path: Path, name: str) -> None:
    ours = replace(detector(name), sensor=Sensor("Si", 3e-4), orientation=2)
    again = ours.to_nexus(tmp_path / "d.h5")
    theirs = detectors.NexusDetector(str(tmp_path / "d.h5"))
    assert_same(ours, theirs)
    assert theirs.uniform_pixel == (ours.pixels is None)
    corners = 6 if name == "Pixirad1" else 4
    assert corners == theirs.CORNERS
    assert theirs.sensor.as_dict() == {"material": "Si", "thickness": 3e-4}
    assert replace(again, pixels=None) == replace(ours, pixels=None)
    assert again.to_nexus(tmp_path / "e.h5") == again


def test_cylinder_keeps_its_depth(tmp_path: Path) -> None:
    ours = detector("Rapid", 1e-3, 1e-3)
    again = ours.to_nexus(tmp_path / "d.h5")
    assert again.pixels is not None
    assert not again.pixels.flat
    assert ours.pixels is not None
    np.testing.assert_allclose(again.pixels.corners(), ours.pixels.corners(), atol=2e-8)


def test_corners_that_are_not_finite_are_masked(tmp_path: Path) -> None:
    corners = np.random.default_rng(1).normal(size=(4, 5, 4, 3)).astype(np.float32)
    corners[2, 3, 1, 2] = np.nan
    mask = np.zeros((4, 5), dtype=bool)
    mask[0, 0] = True
    ours = Detector(1e-4, 1e-4, mask=mask, pixels=Corners(corners)).to_nexus(tmp_path / "d.h5")
    assert ours.mask is not None
    assert np.argwhere(ours.mask).tolist() == [[0, 0], [2, 3]]
    assert ours.pixels is not None
    assert np.isfinite(ours.pixels.corners()).all()


def test_flat_field_in_the_file_is_told_of(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    detector("ImXPadS10").to_nexus(tmp_path / "d.h5")
    with h5py.File(tmp_path / "d.h5", "a") as file:
        file["entry_0000/pyFAI/ImXPadS10/flatfield"] = np.ones((120, 80))
    with caplog.at_level(logging.WARNING):
        Detector.from_nexus(tmp_path / "d.h5")
    assert "ImXPadS10/flatfield in" in caplog.text


def test_what_cannot_be_read_is_refused(tmp_path: Path) -> None:
    with pytest.raises(FormatError, match=r"nowhere.h5 cannot be read"):
        Detector.from_nexus(tmp_path / "nowhere.h5")
    with h5py.File(tmp_path / "empty.h5", "w"):
        pass
    with pytest.raises(FormatError, match=r"empty.h5 describes no detector"):
        Detector.from_nexus(tmp_path / "empty.h5")
    with pytest.raises(FormatError, match="has no shape"):
        Detector(1e-4, 1e-4).to_nexus(tmp_path / "none.h5")
