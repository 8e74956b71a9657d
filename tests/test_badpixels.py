"""Bad pixels put into frames are found, and rings, grains and low counts are left alone."""

import time
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

import bluesky_azint as ba
from bluesky_azint.badpixels import KINDS, MaskProposal, propose_mask
from bluesky_azint.devices.powder import debye_scherrer
from bluesky_azint.errors import FrameError
from bluesky_azint.io.images import read_image

SHAPE = (600, 700)
DETECTOR = ba.Detector(pixel1=172e-6, pixel2=172e-6, shape=SHAPE)
GEOMETRY = ba.Geometry(dist=0.2, poni1=0.05, poni2=0.06, wavelength=0.4e-10, detector=DETECTOR)
ROW, COLUMN = np.mgrid[: SHAPE[0], : SHAPE[1]]
RADIUS = np.hypot(ROW - 0.05 / 172e-6, COLUMN - 0.06 / 172e-6)


def rings(counts: float = 1000, background: float = 20) -> NDArray[np.float64]:
    """Counts expected from ceria."""
    powder = debye_scherrer(GEOMETRY, ba.calibrant("CeO2"), counts=counts, background=background)
    return powder.astype(np.float64)


def counted(expected: NDArray[np.float64], seed: int = 1) -> NDArray[np.int32]:
    return np.random.default_rng(seed).poisson(expected).astype(np.int32)


def some(share: float, seed: int) -> NDArray[np.bool_]:
    chosen: NDArray[np.bool_] = np.random.default_rng(seed).random(SHAPE) < share
    return chosen


def of_kind(found: MaskProposal, kind: str) -> NDArray[np.bool_]:
    return np.asarray(found.kinds == KINDS.index(kind))


@pytest.mark.parametrize(
    ("counts", "background"), [(3, 0.02), (30, 1), (300, 11), (1000, 20), (20_000, 300)]
)
def test_clean_frames_of_a_powder_are_left_alone(counts: float, background: float) -> None:
    wrong = sum(
        int(propose_mask(counted(rings(counts, background), seed)).mask.sum()) for seed in range(3)
    )
    # One pixel in 100 000, of three frames of 0.42 million.
    assert wrong < 1e-5 * 3 * RADIUS.size


def test_textured_rings_are_left_alone() -> None:
    azimuth = np.arctan2(ROW - 0.05 / 172e-6, COLUMN - 0.06 / 172e-6)
    expected = 20 + (rings() - 20).clip(0) * (1 + 0.98 * np.cos(3 * azimuth))
    assert propose_mask(counted(expected)).mask.sum() < 1e-5 * RADIUS.size + 1


@pytest.mark.parametrize("grains", [20, 300, 3000, 30_000])
@pytest.mark.parametrize("width", [0.6, 1.0])
def test_spots_of_grains_are_left_alone(grains: int, width: float) -> None:
    rng = np.random.default_rng(grains)
    weight = (rings() - 25).clip(0).ravel()
    places = rng.choice(weight.size, grains, p=weight / weight.sum())
    expected = np.full(SHAPE, 10.0)
    for place, height in zip(places, 200 * (1 + rng.pareto(1.5, grains)), strict=True):
        row, column = np.add(divmod(place, SHAPE[1]), rng.random(2) - 0.5)
        near = (
            slice(max(0, int(row) - 6), int(row) + 7),
            slice(max(0, int(column) - 6), int(column) + 7),
        )
        square = (ROW[near] - row) ** 2 + (COLUMN[near] - column) ** 2
        expected[near] += height * np.exp(-square / (2 * width**2))
    # Of the darkest gaps among 30 000 spots a few look dead.
    assert propose_mask(counted(expected)).mask.sum() < 1e-5 * RADIUS.size + 6


def test_dead_and_hot_pixels_are_found() -> None:
    expected = rings(2000, 40)
    dead, hot = some(1e-3, 2), some(1e-3, 3)
    frame = counted(expected)
    frame[hot] = 300_000
    frame[dead] = 0
    found = propose_mask(frame)
    assert of_kind(found, "dead")[dead & (expected >= 20)].mean() > 0.99
    assert of_kind(found, "hot")[hot & ~dead].mean() > 0.99
    assert (found.mask & ~dead & ~hot).sum() <= 4
    assert found.figures["dead"] == of_kind(found, "dead").sum()
    assert found.gain == pytest.approx(1, abs=0.05)


def test_hot_pixels_between_the_rings_need_not_be_bright() -> None:
    expected = np.full(SHAPE, 30.0)
    hot = some(1e-3, 4)
    frame = counted(np.where(hot, 200.0, expected))
    assert of_kind(propose_mask(frame), "hot")[hot].mean() > 0.99


def test_few_counts_are_no_evidence() -> None:
    dead = some(1e-3, 5)
    frame = counted(np.where(dead, 0.0, 1.0))
    assert not propose_mask(frame).mask.any()
    assert not propose_mask(np.zeros(SHAPE, np.int32)).mask.any()


def test_dead_lines_and_pairs() -> None:
    frame = counted(np.full(SHAPE, 50.0))
    frame[:, 100] = 0
    frame[200:300, 400] = 0
    frame[50, 50:52] = 0
    found = of_kind(propose_mask(frame), "dead")
    assert found[:, 100].mean() > 0.99
    assert found[200:300, 400].mean() > 0.98
    assert found[50, 50:52].all()
    assert found.sum() <= SHAPE[0] + 100 + 2


def test_counts_of_a_camera_scatter_more() -> None:
    frame = counted(rings(1000, 50)) * 10.0
    found = propose_mask(frame)
    assert found.gain == pytest.approx(10, rel=0.1)
    assert found.mask.sum() < 1e-5 * RADIUS.size + 1


def test_pixels_that_flicker_are_noisy() -> None:
    expected = rings(200, 30)
    noisy = some(1e-3, 6)
    rng = np.random.default_rng(7)
    beam = rng.uniform(0.5, 1.5, 8)  # which brightens and dims all of them
    flicker = rng.choice([0.1, 3.0], (8, *SHAPE))
    rate = expected * beam[:, None, None] * np.where(noisy, flicker, 1)
    found = propose_mask(rng.poisson(rate))
    assert found.mask[noisy & (expected > 25)].mean() > 0.8
    assert of_kind(found, "noisy").sum() > 0.8 * noisy.sum()
    assert (found.mask & ~noisy).sum() < 1e-5 * RADIUS.size + 1


def test_grains_that_turn_into_the_beam_are_not_noisy() -> None:
    expected = np.full((6, *SHAPE), 20.0)
    for frame, row in enumerate(range(50, 550, 100)):
        expected[frame] += 3000 * np.exp(-((ROW - row) ** 2 + (COLUMN - 300) ** 2) / 2)
    assert propose_mask(np.random.default_rng(8).poisson(expected)).mask.sum() <= 4


def test_cosmic_rays_in_one_of_many_frames_are_no_hot_pixels() -> None:
    frames = np.random.default_rng(9).poisson(20.0, (6, *SHAPE))
    struck = some(1e-4, 10)
    frames[2, struck] = 10_000
    assert propose_mask(frames).mask.sum() <= 4


def test_beam_stop_with_its_arm() -> None:
    arm = (np.abs(ROW - 0.05 / 172e-6 - 0.2 * (COLUMN - 349)) < 5) & (COLUMN > 349)
    stop = (RADIUS < 22) | arm
    air = 100 / (1 + (RADIUS / 60) ** 2)
    found = propose_mask(counted(np.where(stop, 0.02, 1.0) * (rings() + air)))
    assert of_kind(found, "shadow")[stop].mean() > 0.98
    # Around it, a few pixels may be half in the shadow.
    beside = found.mask & ~stop
    assert beside.sum() < 0.5 * stop.sum()
    assert not propose_mask(counted(rings() + air)).mask.any()


def test_corners_that_see_nothing_are_in_the_shadow() -> None:
    outside = np.hypot(ROW - 300, COLUMN - 350) > 345
    found = propose_mask(counted(np.where(outside, 0.0, rings())))
    assert found.mask[outside].mean() > 0.98
    assert (found.mask & ~outside).sum() < 0.05 * outside.sum()


def test_a_halo_has_no_shadow() -> None:
    halo = 5 + 500 * np.exp(-((RADIUS - 200) ** 2) / (2 * 50**2))
    assert propose_mask(counted(halo)).mask.sum() <= 4


@pytest.mark.parametrize("factor", [0.5, 1.5])
def test_edges_of_modules(factor: float) -> None:
    gap = np.zeros(SHAPE, bool)
    gap[295:305] = True
    expected = rings(300, 30)
    expected[294] *= factor
    expected[:, -1] *= factor
    detector = ba.Detector(pixel1=172e-6, pixel2=172e-6, shape=SHAPE, mask=gap)
    found = propose_mask(counted(expected), detector)
    edges = of_kind(found, "edge")
    assert edges[294].mean() > 0.98
    assert edges[:295, -1].mean() > 0.98
    assert edges.sum() <= SHAPE[0] + SHAPE[1]
    np.testing.assert_array_equal(of_kind(found, "gap"), gap)


def test_values_that_stand_for_none() -> None:
    frame = counted(rings())
    frame[10, 10], frame[11, 10], frame[12, 10] = -1, -2, np.iinfo(np.int32).max
    found = propose_mask(frame)
    assert of_kind(found, "sentinel").sum() == 3
    real = frame.astype(np.float64)
    real[12, 10] = np.nan
    assert of_kind(propose_mask(real), "sentinel").sum() == 3
    # Where a dark frame was subtracted, counts below zero are as good as others.
    assert of_kind(propose_mask(counted(rings(100, 1)) - 1.25), "sentinel").sum() == 0
    with_dummy = ba.Detector(pixel1=1e-4, pixel2=1e-4, shape=SHAPE, dummy=7, delta_dummy=0.1)
    assert of_kind(propose_mask(frame, with_dummy), "sentinel").sum() >= (frame == 7).sum() + 3


def test_saturation_and_what_is_masked_anyway() -> None:
    frame, given = counted(rings()), some(0.01, 11)
    found = propose_mask(frame, mask=given, saturation=500)
    np.testing.assert_array_equal(of_kind(found, "given"), given)
    np.testing.assert_array_equal(of_kind(found, "saturated"), (frame >= 500) & ~given)
    np.testing.assert_array_equal(found.mask, found.kinds > 0)
    assert sum(found.figures.values()) == found.mask.sum()


def test_what_does_not_fit_is_refused() -> None:
    frame = np.zeros(SHAPE)
    with pytest.raises(FrameError, match=r"\(600, 700\), the detector \(1043, 981\)"):
        propose_mask(frame, ba.detector("Pilatus1M"))
    with pytest.raises(FrameError, match=r"the mask \(5, 5\)"):
        propose_mask(frame, mask=np.zeros((5, 5), bool))
    with pytest.raises(FrameError, match=r"not from an array \(3,\)"):
        propose_mask(np.zeros(3))


def test_a_frame_of_four_million_pixels_takes_less_than_two_seconds() -> None:
    frame = np.tile(counted(rings(300, 10)), (4, 3))[:2162, :2068]
    start = time.process_time()
    propose_mask(frame)
    assert time.process_time() - start < 2 * (frame.size / 4.47e6) + 1


def test_real_frames(shared_data: Path) -> None:
    spotty = read_image(shared_data / "dioptas_ceo2_pilatus1m" / "CeO2_Pilatus1M.tif")
    found = propose_mask(spotty, ba.detector("Pilatus1M"))
    shadow = of_kind(found, "shadow")
    assert shadow[525, 480]  # behind the beam stop
    assert 1000 < shadow.sum() < 4000
    assert found.figures["hot"] < 60  # of 70 000 pixels on rings of sharp spots
    assert found.figures["dead"] < 10
    saxs = read_image(shared_data / "gsas_agbh_marccd" / "AgBehenate_003.tif")
    found = propose_mask(saxs)
    assert found.mask[570, 485]  # the beam stop
    assert found.mask[670:685, 270].any()  # its arm
    assert found.mask[saxs == 0].mean() > 0.99  # outside of the circle
    inside = np.hypot(*(np.mgrid[:1024, :1024] - 512.0)) < 490
    assert found.mask[inside].mean() < 0.012
