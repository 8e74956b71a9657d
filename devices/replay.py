"""A detector that plays recorded frames into a scan."""

from __future__ import annotations

from collections.abc import Sequence
from os import PathLike

from ophyd_async.core import PathProvider, SignalR, StandardDetector

from bluesky_azint.detectors import Detector
from bluesky_azint.devices.frames import FileFrames
from bluesky_azint.devices.geometry import GeometryDevice
from bluesky_azint.devices.streaming import FrameStream, make_frame_detector


class FrameReplayDetector(StandardDetector):
    """A detector that shows the frames of files, one after the other and again from the first.

    It takes step and fly scans, begins every run with the first frame, and writes an HDF5 file
    per run, values and type of the pixels as they were.

    Parameters
    ----------
    path_provider
        Where its files go; every run needs a name of its own.
    files
        TIFF, CBF, EDF, HDF5 ..., all frames of one shape and type.
    name
        Name of the device and of its frames in the documents.
    exposure_time
        Seconds per frame where a plan does not prepare the detector.
    compress
        Whether the files that it writes are compressed.
    geometry_device
        What tells the geometry in the descriptors of its runs.
    model
        Which detector it stands for, for plans that calibrate it.

    Raises
    ------
    FormatError
        If a file cannot be read.
    FrameError
        If there is no frame, or they differ.
    """

    exposure_time: SignalR[float]

    def __init__(
        self,
        path_provider: PathProvider,
        files: Sequence[str | PathLike[str]],
        *,
        name: str = "",
        exposure_time: float = 0.1,
        compress: bool = True,
        geometry_device: GeometryDevice | None = None,
        model: Detector | str | None = None,
    ) -> None:
        self.model = model
        self.source = FileFrames(files)
        stream = FrameStream(self.source, exposure_time, compress=compress)
        self.exposure_time = stream.exposure_time
        make_frame_detector(self, stream, path_provider, geometry_device)
        super().__init__(name=name)
