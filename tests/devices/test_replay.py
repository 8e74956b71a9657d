"""Recorded frames, played into a scan."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import bluesky.plans as bp
import fabio
import numpy as np
import pytest
from bluesky import RunEngine
from fabio.tifimage import TifImage
from numpy.typing import NDArray
from ophyd_async.core import PathProvider, init_devices

from bluesky_azint.devices import FrameReplayDetector
from bluesky_azint.errors import FrameError

if TYPE_CHECKING:
    from tests.devices.conftest import Documents


def test_frames_are_played_again_and_again(
    run_engine: RunEngine,
    documents: Documents,
    path_provider: PathProvider,
    tmp_path: Path,
    numbered: NDArray[np.int32],
) -> None:
    files = [tmp_path / f"{index}.tif" for index in range(3)]
    for file, frame in zip(files, numbered, strict=True):
        TifImage(data=frame).write(str(file))
    with init_devices():
        recorded = FrameReplayDetector(path_provider, files, exposure_time=0.01)
    run_engine(bp.count([recorded], 7))
    assert documents.only("descriptor")["data_keys"]["recorded"]["dtype_numpy"] == "<i4"
    np.testing.assert_array_equal(documents.frames(), numbered[[0, 1, 2, 0, 1, 2, 0]])


def test_a_real_frame_in_a_scan(
    run_engine: RunEngine, documents: Documents, path_provider: PathProvider, shared_data: Path
) -> None:
    (path,) = (shared_data / "dioptas_ceo2_pilatus1m").glob("*.tif*")
    with init_devices():
        pilatus = FrameReplayDetector(path_provider, [path], exposure_time=0.01)
    run_engine(bp.count([pilatus], 2))
    with fabio.open(str(path)) as image:
        assert documents.frames().dtype == image.data.dtype
        for frame in documents.frames():
            np.testing.assert_array_equal(frame, image.data)


def test_nothing_to_play(path_provider: PathProvider) -> None:
    with pytest.raises(FrameError, match="no frame to show"):
        FrameReplayDetector(path_provider, [])
