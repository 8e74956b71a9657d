"""A simulated detector of ophyd's first generation, which most beamlines have.

It writes as EPICS areaDetector does, and announces its frames by resource and datum documents.
"""

from __future__ import annotations

import threading
import time
from collections import OrderedDict
from collections.abc import Iterator
from os import PathLike
from pathlib import Path
from typing import Any, Literal, Protocol
from uuid import uuid4

import numpy as np
from numpy.typing import DTypeLike, NDArray
from ophyd import Component, Device, DeviceStatus, Kind, Signal
from ophyd.areadetector.filestore_mixins import resource_factory

from bluesky_azint.calibrants import calibrant as known_calibrant
from bluesky_azint.devices.frames import PoissonFrames
from bluesky_azint.devices.hdf5 import FrameFile
from bluesky_azint.devices.powder import debye_scherrer
from bluesky_azint.geometry import Geometry

TIFF_TEMPLATE = "%s%s_%6.6d.tiff"


class FrameWriter(Protocol):
    """Something that frames are written with."""

    def write(self, frame: NDArray[Any]) -> None:
        """Add a frame."""

    def close(self) -> None:
        """End the writing."""


class TiffWriter:
    """Writes a TIFF file per frame, numbered from 0.

    Parameters
    ----------
    folder, filename
        Where, and what the names begin with.
    """

    def __init__(self, folder: Path, filename: str) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.folder = folder
        self.filename = filename
        self._written = 0

    def write(self, frame: NDArray[Any]) -> None:
        """Write a frame to the next file."""
        from fabio.tifimage import TifImage

        TifImage(data=frame).write(
            TIFF_TEMPLATE % (f"{self.folder}/", self.filename, self._written)
        )
        self._written += 1

    def close(self) -> None:
        """Nothing is left to do."""


class ClassicSimulatedDetector(Device):  # type: ignore[misc]
    """A detector that shows the rings of a powder, for plans and profiles with ophyd devices.

    Parameters
    ----------
    folder
        Where its files go, one per run, or one per frame.
    geometry
        Where it stands.
    calibrant
        Name of the powder.
    name
        Name of the device; its frames are called ``<name>_image``.
    num_images
        Frames per point of a scan.
    exposure_time
        Seconds per frame.
    file_format
        ``"hdf5"`` (spec AD_HDF5_SWMR) or ``"tiff"`` (spec AD_TIFF).
    counts, background, width
        Of the rings, see `debye_scherrer`.
    dtype, seed, pool
        Of the frames, see `PoissonFrames`. Every run begins with frame 0.
    """

    num_images = Component(Signal, value=1, kind=Kind.config)
    exposure_time = Component(Signal, value=0.1, kind=Kind.config)

    def __init__(
        self,
        folder: str | PathLike[str],
        geometry: Geometry,
        calibrant: str = "CeO2",
        *,
        name: str,
        num_images: int = 1,
        exposure_time: float = 0.1,
        file_format: Literal["hdf5", "tiff"] = "hdf5",
        counts: float = 1000.0,
        background: float = 10.0,
        width: float | None = None,
        dtype: DTypeLike = np.uint32,
        seed: int = 0,
        pool: int = 8,
    ) -> None:
        super().__init__(name=name)
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
        self.folder = Path(folder).absolute()
        self.file_format = file_format
        self.num_images.put(num_images)
        self.exposure_time.put(exposure_time)
        self._image = f"{name}_image"
        self._assets: list[tuple[str, dict[str, Any]]] = []
        self._exposure = threading.Thread()
        self._points = 0
        self._reading: dict[str, Any] = {}

    def stage(self) -> list[object]:
        """Begin a file, or a series of them."""
        staged: list[object] = super().stage()
        uid = str(uuid4())
        per_point = {"frame_per_point": self.num_images.get()}
        if self.file_format == "hdf5":
            path = f"{uid}.h5"
            self._writer: FrameWriter = FrameFile(
                self.folder / path, self.source.shape, self.source.dtype
            )
            resource = ("AD_HDF5_SWMR", self.folder, path, per_point, "posix")
        else:
            self._writer = TiffWriter(self.folder / uid, "frame")
            kwargs = {"template": TIFF_TEMPLATE, "filename": "frame", **per_point}
            resource = ("AD_TIFF", self.folder, f"{uid}/", kwargs, "posix")
        document, self._make_datum = resource_factory(*resource)
        self._assets = [("resource", document)]
        self._points = 0
        return staged

    def trigger(self) -> DeviceStatus:
        """Take the frames of a point."""
        status = DeviceStatus(self)
        self._exposure = threading.Thread(
            target=self._expose, args=(status,), name=f"{self.name}-exposure"
        )
        self._exposure.start()
        return status

    def _expose(self, status: DeviceStatus) -> None:
        try:
            number = self.num_images.get()
            time.sleep(self.exposure_time.get() * number)
            for index in range(number):
                self._writer.write(self.source(self._points * number + index))
            datum = self._make_datum({"point_number": self._points})
            self._points += 1
            self._assets.append(("datum", datum))
            self._reading = {"value": datum["datum_id"], "timestamp": time.time()}
        except Exception as error:  # noqa: BLE001  whatever it is, the plan must know
            status.set_exception(error)
        else:
            status.set_finished()

    def unstage(self) -> list[object]:
        """Let an exposure that runs come to its end, and close the file."""
        if self._exposure.is_alive():
            self._exposure.join()
        self._writer.close()
        unstaged: list[object] = super().unstage()
        return unstaged

    def describe(self) -> OrderedDict[str, Any]:
        """What `read` gives: an image, kept in a file."""
        description: OrderedDict[str, Any] = super().describe()
        description[self._image] = {
            "source": f"SIM:{self.name}",
            "dtype": "array",
            "dtype_numpy": self.source.dtype.str,
            "shape": [self.num_images.get(), *self.source.shape],
            "external": "FILESTORE:",
        }
        return description

    def read(self) -> OrderedDict[str, Any]:
        """The frames of the last point, by the id of their datum."""
        reading: OrderedDict[str, Any] = super().read()
        reading[self._image] = self._reading
        return reading

    def collect_asset_docs(self) -> Iterator[tuple[str, dict[str, Any]]]:
        """Where the frames of the last point are."""
        documents, self._assets = self._assets, []
        yield from documents
