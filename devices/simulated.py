"""A simulated detector that looks at a powder."""

from __future__ import annotations

import numpy as np
from numpy.typing import DTypeLike
from ophyd_async.core import PathProvider, SignalR, StandardDetector

from bluesky_azint.calibrants import calibrant as known_calibrant
from bluesky_azint.devices.frames import PoissonFrames
from bluesky_azint.devices.geometry import GeometryDevice
from bluesky_azint.devices.powder import debye_scherrer
from bluesky_azint.devices.streaming import FrameStream, make_frame_detector
from bluesky_azint.geometry import Geometry


class SimulatedDiffractionDetector(StandardDetector):
    """A detector that shows the Debye-Scherrer rings of a powder, with noise and module gaps.

    It takes step and fly scans, and writes an HDF5 file per run. Up to some 100 frames of a
    million pixels come in a second; where it cannot keep up it says so in the log.

    Parameters
    ----------
    path_provider
        Where its files go; every run needs a name of its own.
    geometry
        Where it really stands.
    calibrant
        Name of the powder, see `bluesky_azint.calibrants.calibrant`.
    name
        Name of the device and of its frames in the documents.
    counts, background, width
        Of the rings, see `debye_scherrer`.
    exposure_time
        Seconds per frame where a plan does not prepare the detector. It does not change the
        counts.
    dtype, seed, pool
        Of the frames, see `PoissonFrames`.
    compress
        Whether its files are compressed.
    geometry_device
        What tells the geometry in the descriptors of its runs: what is known of the geometry,
        which may not be the real one.
    """

    exposure_time: SignalR[float]

    def __init__(
        self,
        path_provider: PathProvider,
        geometry: Geometry,
        calibrant: str = "CeO2",
        *,
        name: str = "",
        counts: float = 1000.0,
        background: float = 10.0,
        width: float | None = None,
        exposure_time: float = 0.1,
        dtype: DTypeLike = np.uint32,
        seed: int = 0,
        pool: int = 8,
        compress: bool = True,
        geometry_device: GeometryDevice | None = None,
    ) -> None:
        expected = debye_scherrer(
            geometry,
            known_calibrant(calibrant),
            counts=counts,
            background=background,
            width=width,
        )
        self.source = PoissonFrames(
            expected, gaps=geometry.detector.mask, dtype=dtype, seed=seed, pool=pool
        )
        self.model = geometry.detector
        stream = FrameStream(self.source, exposure_time, compress=compress)
        self.exposure_time = stream.exposure_time
        make_frame_detector(self, stream, path_provider, geometry_device)
        super().__init__(name=name)
