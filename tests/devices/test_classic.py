"""The simulated detector of the first generation, read back as areaDetector files are."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import TYPE_CHECKING, Any

import bluesky.plans as bp
import fabio
import h5py
import numpy as np
import pytest
from bluesky import FailedStatus, RunEngine
from bluesky.utils import RunEngineInterrupted
from event_model import Filler
from numpy.typing import NDArray

from bluesky_azint.devices import ClassicSimulatedDetector
from bluesky_azint.geometry import Geometry

if TYPE_CHECKING:
    from tests.devices.conftest import Documents


class Hdf5Handler:
    """What the specs AD_HDF5 and AD_HDF5_SWMR mean."""

    def __init__(self, path: str, frame_per_point: int) -> None:
        self.path = path
        self.frames = frame_per_point

    def __call__(self, point_number: int) -> NDArray[Any]:
        start = point_number * self.frames
        with h5py.File(self.path, "r", swmr=True) as file:
            frames: NDArray[Any] = file["/entry/data/data"][start : start + self.frames]
        return frames


class TiffHandler:
    """What the spec AD_TIFF means."""

    def __init__(self, path: str, template: str, filename: str, frame_per_point: int) -> None:
        assert path.endswith("/")  # as areaDetector has it: readers put the rest behind it
        self.name = (template, path, filename)
        self.frames = frame_per_point

    def __call__(self, point_number: int) -> NDArray[Any]:
        template, path, filename = self.name
        start = point_number * self.frames
        numbers = range(start, start + self.frames)
        return np.stack([fabio.open(template % (path, filename, n)).data for n in numbers])


HANDLERS = {"AD_HDF5_SWMR": Hdf5Handler, "AD_TIFF": TiffHandler}


@pytest.mark.parametrize(("file_format", "spec"), [("hdf5", "AD_HDF5_SWMR"), ("tiff", "AD_TIFF")])
@pytest.mark.parametrize("num_images", [1, 3])
def test_frames_are_where_the_documents_say(
    run_engine: RunEngine,
    documents: Documents,
    geometry: Geometry,
    tmp_path: Path,
    file_format: Any,
    spec: str,
    num_images: int,
) -> None:
    detector = ClassicSimulatedDetector(
        tmp_path,
        geometry,
        name="det",
        num_images=num_images,
        exposure_time=0.01,
        file_format=file_format,
    )
    run_engine(bp.count([detector], 3))
    assert documents.only("stop")["exit_status"] == "success"
    assert documents.only("resource")["spec"] == spec
    assert documents.only("descriptor")["data_keys"]["det_image"]["shape"] == [num_images, 190, 230]
    with Filler(HANDLERS, inplace=False) as filler:
        filled = [filler(name, document) for name, document in documents.all]
    frames = [np.asarray(d["data"]["det_image"]) for name, d in filled if name == "event"]
    assert len(frames) == 3
    wanted = np.stack([detector.source(number) for number in range(3 * num_images)])
    np.testing.assert_array_equal(np.concatenate(frames), wanted)
    assert frames[0].dtype == np.uint32


def test_every_run_begins_anew(
    run_engine: RunEngine, documents: Documents, geometry: Geometry, tmp_path: Path
) -> None:
    detector = ClassicSimulatedDetector(tmp_path, geometry, name="det", exposure_time=0.01)
    run_engine(bp.count([detector], 2))
    run_engine(bp.count([detector], 2))
    assert len({resource["resource_path"] for resource in documents["resource"]}) == 2
    assert [d["datum_kwargs"]["point_number"] for d in documents["datum"]] == [0, 1, 0, 1]


def test_settings_are_in_the_descriptor(
    run_engine: RunEngine, documents: Documents, geometry: Geometry, tmp_path: Path
) -> None:
    detector = ClassicSimulatedDetector(
        tmp_path, geometry, name="det", num_images=2, exposure_time=0.01
    )
    run_engine(bp.count([detector]))
    assert documents.only("descriptor")["configuration"]["det"]["data"] == {
        "det_num_images": 2,
        "det_exposure_time": 0.01,
    }


def test_an_exposure_that_fails_fails_the_run(
    run_engine: RunEngine,
    documents: Documents,
    geometry: Geometry,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def fail(*_: object) -> None:
        raise OSError("No space left on device")

    monkeypatch.setattr("bluesky_azint.devices.hdf5.FrameFile.write", fail)
    detector = ClassicSimulatedDetector(tmp_path, geometry, name="det", exposure_time=0.01)
    with pytest.raises(FailedStatus) as failure:
        run_engine(bp.count([detector]))
    assert "No space left on device" in str(failure.value.__cause__)
    assert documents.only("stop")["exit_status"] == "fail"


def test_a_run_that_is_aborted_waits_for_its_exposure(
    run_engine: RunEngine, documents: Documents, geometry: Geometry, tmp_path: Path
) -> None:
    detector = ClassicSimulatedDetector(tmp_path, geometry, name="det", exposure_time=0.3)
    threading.Timer(0.4, run_engine.abort).start()
    with pytest.raises(RunEngineInterrupted):
        run_engine(bp.count([detector], 10))
    assert documents.only("stop")["exit_status"] == "abort"
