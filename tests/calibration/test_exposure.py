"""Exposures of rings whose photons are known."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from bluesky_azint.calibration.exposure import Exposure, judge_exposure
from bluesky_azint.errors import FrameError


def rings(
    peak: float, *, background: float = 3.0, seed: int = 0
) -> tuple[NDArray[np.int64], float]:
    """Counts of three rings around the middle, and how many photons these hold."""
    y, x = np.indices((300, 320))
    radius = np.hypot(y - 150.3, x - 170.8)
    expected = sum(peak * np.exp(-0.5 * ((radius - r) / 1.5) ** 2) for r in (40, 70, 110))
    assert not isinstance(expected, int)
    chance = np.random.default_rng(seed)
    return chance.poisson(expected + background), float(expected.sum())


@pytest.mark.parametrize("peak", [5.0, 50.0, 5000.0])
def test_photons_of_rings_are_counted(peak: float) -> None:
    image, photons = rings(peak)
    exposure = judge_exposure(image)
    assert exposure.photons == pytest.approx(photons, rel=0.25)
    assert exposure.saturated == 0.0
    assert exposure.good == (peak > 10)


def test_pixels_that_do_not_count_are_left_out() -> None:
    image, photons = rings(50.0)
    image = image.astype(np.uint32)
    image[100:120] = np.iinfo(np.uint32).max
    mask = np.zeros(image.shape, bool)
    mask[:100] = True
    image[:100] = 10**6
    exposure = judge_exposure(image, mask)
    assert 0.3 * photons < exposure.photons < 0.75 * photons
    assert exposure.peak < 100


def test_a_mask_of_another_detector_is_told() -> None:
    with pytest.raises(FrameError, match="which model"):
        judge_exposure(np.ones((20, 30)), np.zeros((30, 20), bool))


def test_nothing_there_is_no_ring() -> None:
    blank = np.random.default_rng(0).poisson(20.0, (200, 200))
    assert judge_exposure(blank).photons == 0.0
    assert judge_exposure(np.full((200, 200), np.nan)).photons == 0.0


def test_saturated_pixels_are_seen() -> None:
    image, _ = rings(100_000.0)
    exposure = judge_exposure(np.minimum(image, 65535).astype(np.uint16))
    assert exposure.saturated > 0.1
    assert exposure.limit == 65535
    assert not exposure.good
    assert judge_exposure(image).limit == np.inf
    assert judge_exposure(image, saturation=2e5).saturated == 0.0


def test_the_next_exposure_is_longer_or_shorter() -> None:
    weak = Exposure(photons=2e4, saturated=0.0, peak=50.0, limit=np.inf)
    assert weak.next_time(1.0, 60.0) == pytest.approx(7.5)
    assert weak.next_time(1.0, 5.0) == 5.0
    assert weak.next_time(5.0, 5.0) is None
    nothing = Exposure(photons=0.0, saturated=0.0, peak=0.0, limit=np.inf)
    assert nothing.next_time(1.0, 60.0) == 10.0
    bright = Exposure(photons=1e9, saturated=0.2, peak=65535, limit=65535)
    assert bright.next_time(1.0, 60.0) == pytest.approx(0.3)
    good = Exposure(photons=1e6, saturated=0.0, peak=500.0, limit=65535)
    assert good.next_time(1.0, 60.0) is None
    # Few photons, but in pixels that would soon be saturated: nothing can be gained.
    spots = Exposure(photons=5e4, saturated=0.0, peak=60000.0, limit=65535)
    assert spots.next_time(1.0, 60.0) is None
