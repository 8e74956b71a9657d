"""The scene is what the cases say that it is."""

from dataclasses import replace

import numpy as np
import pytest

import bluesky_azint as ba
from bluesky_azint.benchmark.cases import CASES, choose
from bluesky_azint.benchmark.scene import BAD, geometry_of, grid_of, moved, scene_of

(ONE,) = choose(["1d-bbox"])


def test_the_frame_is_that_of_a_tilted_detector_with_dead_pixels() -> None:
    scene = scene_of(replace(ONE, detector="Eiger2_1M"))
    detector = scene.geometry.detector
    assert detector == ba.detector("Eiger2_1M")
    assert detector.mask is not None
    assert detector.mask.any()
    assert scene.geometry.rot1 != 0
    (frame,) = scene.frames
    assert frame.dtype == np.uint32
    assert (frame[detector.mask] == BAD).all()
    dead = (frame == BAD) & ~detector.mask
    assert 150 < dead.sum() <= 200
    good = frame[frame != BAD]
    assert good.mean() == pytest.approx(ONE.counts, rel=0.02)


def test_frames_of_a_batch_differ_but_for_their_dead_pixels() -> None:
    first, second, _ = scene_of(replace(ONE, detector="tiny", frames=3)).frames
    assert (first != second).mean() > 0.5
    np.testing.assert_array_equal(first == BAD, second == BAD)


@pytest.mark.parametrize("name", sorted({case.detector for case in CASES}))
def test_the_beam_is_in_the_same_part_of_every_detector(name: str) -> None:
    geometry = geometry_of(name)
    rows, columns = geometry.shape
    assert geometry.poni1 / (rows * geometry.detector.pixel1) == pytest.approx(0.4934, abs=1e-4)
    assert geometry.poni2 / (columns * geometry.detector.pixel2) == pytest.approx(0.4836, abs=1e-4)


def test_the_range_holds_every_pixel() -> None:
    case = replace(ONE, detector="Eiger2_500k")
    scene = scene_of(case)
    q = scene.geometry.q() / 10
    low, high = scene.radial_range
    assert low == 0
    assert high - 0.01 <= q.max() <= high
    assert grid_of(case, scene).radial.centres[[0, -1]] == pytest.approx([0, high], abs=0.01)


def test_a_moved_geometry_differs_and_makes_no_odds() -> None:
    geometry = geometry_of("tiny")
    assert moved(geometry, 0) == geometry
    assert moved(geometry, 2) != moved(geometry, 1) != geometry
    assert moved(geometry, 100).poni1 - geometry.poni1 < 0.1 * geometry.detector.pixel1
