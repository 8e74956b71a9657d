"""An ophyd-async detector that shows the frames of a source, and streams them into HDF5 files.

`FrameStream` exposes, one frame per period, and writes. The three logics that ophyd-async makes a
detector of (how it is triggered, how it acquires, where its data goes) are thin views of it.
"""

from __future__ import annotations

import asyncio
import itertools
import logging
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ophyd_async.core import (
    DetectorAcquireLogic,
    DetectorDataLogic,
    DetectorTriggerLogic,
    PathProvider,
    SignalR,
    StandardDetector,
    StreamableDataProvider,
    StreamResourceDataProvider,
    StreamResourceInfo,
    TriggerInfo,
    soft_signal_r_and_setter,
)

from bluesky_azint.devices.frames import FrameSource
from bluesky_azint.devices.geometry import GeometryDevice
from bluesky_azint.devices.hdf5 import DATASET, MIMETYPE, FrameFile

logger = logging.getLogger(__name__)

_LAG = 0.5  # seconds behind the clock that are worth a warning
_LATE = (
    "Frame %d of %s comes %.1f s late: frames take longer to make and write than the %.4g s between "
    "them. Ask for fewer per second, or for a smaller detector."
)


class FrameStream:
    """Exposes the frames of a source at a steady rate, and writes them to a file.

    Parameters
    ----------
    source
        Where the frames come from; every file begins with its frame 0.
    exposure_time
        Seconds per frame until told otherwise.
    compress
        Whether the file is compressed.
    """

    def __init__(self, source: FrameSource, exposure_time: float, *, compress: bool) -> None:
        self.source = source
        self.compress = compress
        self.exposure_time, self._set_exposure_time = soft_signal_r_and_setter(
            float, exposure_time, units="s", precision=6
        )
        self.frames_written, self._set_frames_written = soft_signal_r_and_setter(int)
        self._number = 1
        self._period = exposure_time
        self._path = Path()
        self._file: FrameFile | None = None
        # Frames are made and written in a thread, so that the RunEngine goes on meanwhile.
        self._writer: ThreadPoolExecutor | None = None
        self._task: asyncio.Task[None] | None = None

    async def set_up(self, number: int, exposure_time: float, deadtime: float) -> None:
        """Plan ``number`` frames, 0 for as many as there is time; an exposure of 0 stays as is."""
        if exposure_time:
            self._set_exposure_time(exposure_time)
        self._period = await self.exposure_time.get_value() + deadtime
        self._number = number

    async def open(self, path: Path) -> None:
        """Begin a file."""
        self._file = FrameFile(path, self.source.shape, self.source.dtype, compress=self.compress)
        self._writer = ThreadPoolExecutor(1, thread_name_prefix="frame-stream")
        self._path = path
        self._set_frames_written(0)
        # The first frame takes longest to make: not on the clock.
        await asyncio.get_running_loop().run_in_executor(self._writer, self.source, 0)

    def start(self) -> None:
        """Begin to expose and write, in the background."""
        if self._file is None or self._writer is None:
            raise RuntimeError("Frames are wanted before there is a file: prepare the detector.")
        self._task = asyncio.create_task(self._expose(self._file, self._writer))

    async def wait(self) -> None:
        """Wait until all frames are written, or somebody stops it."""
        if self._task:
            await asyncio.wait([self._task])
            if not self._task.cancelled():
                self._task.result()

    async def stop(self) -> None:
        """Stop exposing; what is written stays."""
        if self._task:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)

    async def close(self) -> None:
        """Stop exposing, and close the file."""
        await self.stop()
        if self._file is not None and self._writer is not None:
            self._writer.shutdown()
            self._file.close()
        self._file = self._writer = None

    async def _expose(self, file: FrameFile, writer: ThreadPoolExecutor) -> None:
        start = time.monotonic()
        numbers = range(1, self._number + 1) if self._number else itertools.count(1)
        told = False
        for number in numbers:
            due = start + number * self._period
            await asyncio.sleep(max(0.0, due - time.monotonic()))
            await asyncio.get_running_loop().run_in_executor(writer, self._write, file)
            self._set_frames_written(len(file))
            late = time.monotonic() - due
            if late > _LAG and not told:
                told = True
                logger.warning(_LATE, len(file), self._path, late, self._period)

    def _write(self, file: FrameFile) -> None:
        try:
            file.write(self.source(len(file)))
        except Exception:
            # Who waits for the frame is told of a timeout only.
            logger.exception("Frame %d of %s cannot be written.", len(file) + 1, self._path)
            raise


@dataclass
class FrameTrigger(DetectorTriggerLogic):
    """Triggered from within, by the clock."""

    stream: FrameStream

    def config_sigs(self) -> set[SignalR[Any]]:
        """What the descriptor tells of it."""
        return {self.stream.exposure_time}

    async def prepare_internal(self, num: int, livetime: float, deadtime: float) -> None:
        """Plan the frames."""
        await self.stream.set_up(num, livetime, deadtime)

    async def default_trigger_info(self) -> TriggerInfo:
        """One frame, exposed as before."""
        return TriggerInfo()


@dataclass
class FrameAcquire(DetectorAcquireLogic):
    """Starts and stops with the stream."""

    stream: FrameStream

    async def start_acquiring(self) -> None:
        """Begin to expose."""
        self.stream.start()

    async def wait_for_idle(self) -> None:
        """Wait until all frames are written."""
        await self.stream.wait()

    async def ensure_stopped(self) -> None:
        """Stop exposing."""
        await self.stream.stop()


@dataclass
class FrameData(DetectorDataLogic):
    """Opens a file where the path provider says, and announces what is in it."""

    stream: FrameStream
    path_provider: PathProvider

    async def prepare_unbounded(self, datakey_name: str) -> StreamableDataProvider:
        """Begin a file."""
        where = self.path_provider(datakey_name)
        await self.stream.open(Path(where.directory_path) / f"{where.filename}.h5")
        shape, dtype = self.stream.source.shape, self.stream.source.dtype
        frames = StreamResourceInfo(
            data_key=datakey_name,
            shape=shape,
            chunk_shape=(1, *shape),
            dtype_numpy=dtype.str,
            parameters={"dataset": DATASET},
        )
        return StreamResourceDataProvider(
            uri=f"{where.directory_uri}{where.filename}.h5",
            resources=[frames],
            mimetype=MIMETYPE,
            collections_written_signal=self.stream.frames_written,
        )

    async def stop(self) -> None:
        """End the file."""
        await self.stream.close()


def make_frame_detector(
    detector: StandardDetector,
    stream: FrameStream,
    path_provider: PathProvider,
    geometry_device: GeometryDevice | None = None,
) -> None:
    """Make a detector show a stream of frames.

    Parameters
    ----------
    detector
        The detector, still without logics.
    stream
        What it shows.
    path_provider
        Where its files go.
    geometry_device
        What tells the geometry in its descriptors.
    """
    detector.add_detector_logics(
        FrameTrigger(stream), FrameAcquire(stream), FrameData(stream, path_provider)
    )
    if geometry_device is not None:
        detector.add_config_signals(*geometry_device.config_signals())
