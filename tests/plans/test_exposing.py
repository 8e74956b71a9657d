"""How well frames are exposed, before anything is made of them."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from bluesky import RunEngine
from numpy.typing import NDArray

from bluesky_azint.calibration.exposure import judge_exposure
from bluesky_azint.plans import calibrate_detector
from bluesky_azint.plans.exposing import judged
from tests.plans.conftest import WAVELENGTH, Oracle, Station


def rings(counts: float, frames: int) -> NDArray[np.uint16]:
    """Frames of a ring of so many counts, four pixels wide."""
    row, column = np.indices((200, 220))
    expected = 5.0 + counts * (np.abs(np.hypot(row - 100, column - 110) - 60) < 2)
    many = np.random.default_rng(0).poisson(expected, (frames, 200, 220))
    return np.minimum(many, 65535).astype(np.uint16)


def test_several_frames_saturate_as_one_does() -> None:
    frames = rings(70000.0, 3)
    exposure = judged(frames, None, None)
    assert exposure.limit == 65535
    assert exposure.saturated > 0.2
    assert exposure.next_time(1.0, 60.0) == pytest.approx(0.3)


def test_one_frame_that_saturates_is_enough() -> None:
    frames = np.concatenate([rings(1000.0, 2), rings(70000.0, 1)])
    assert judged(frames, None, None).saturated > 0.2


def test_a_sum_is_not_saturated_where_its_frames_are_not() -> None:
    frames = rings(3000.0, 4)
    exposure = judged(frames, None, 10_000.0)
    assert exposure.saturated == 0.0
    assert exposure.peak < 3500
    alone = judge_exposure(frames[0], None, 10_000.0)
    assert exposure.photons == pytest.approx(4 * alone.photons, rel=0.02)


def test_saturation_is_seen_with_darks(
    run_engine: RunEngine, make_station: Callable[..., Station], oracle: Oracle
) -> None:
    station = make_station()
    oracle.station = station
    station.beamline.rate = 1e6
    plan = calibrate_detector(
        station.det, wavelength=WAVELENGTH, shutter=station.shutter, darks=1, exposure_time=1.0
    )
    run_engine(plan)
    bright = [seconds for seconds, closed in station.beamline.taken[1:] if not closed]
    assert bright[0] == 1.0
    assert bright[-1] < 0.2
