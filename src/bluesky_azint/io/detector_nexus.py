"""NeXus files that describe a detector, in pyFAI's layout.

The group of the detector, ``/entry_0000/pyFAI/<name>`` of class ``NXdetector``, holds
``pixel_size`` and ``shape``, and maybe ``mask`` (not zero is masked), ``pixel_corners`` (rows,
columns, K, 3, as z, y, x), ``orientation``, ``binning``, ``dummy``, ``delta_dummy``,
``sensor_material`` and ``sensor_thickness``. Corners are in single precision, for pyFAI reads no
others: a detector of half a metre is known to 30 nm.
"""

from __future__ import annotations

import logging
from dataclasses import replace
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from bluesky_azint.detectors import Detector
from bluesky_azint.errors import FormatError
from bluesky_azint.parallax import Sensor
from bluesky_azint.pixels import Corners

if TYPE_CHECKING:
    import h5py

logger = logging.getLogger(__name__)

ENTRY = "entry_0000"
API_VERSION = "1.2"
_ORIENTATIONS = {1: "TopLeft", 2: "TopRight", 3: "BottomRight", 4: "BottomLeft"}


def read_detector(path: Path) -> Detector:
    """The first detector of a file.

    Pixels with corners that are not finite are masked.

    Raises
    ------
    FormatError
        If there is no such file, or no detector in it.
    """
    import h5py

    try:
        with h5py.File(path) as file:
            group = _find_detector(file)
            if group is None:
                raise FormatError(
                    f"{path} describes no detector: it has no group of class NXdetector with a "
                    "pixel_size. pyFAI's detector2nexus and Detector.to_nexus write such files."
                )
            detector = _detector(group)
    except (OSError, KeyError, TypeError, ValueError) as error:
        raise FormatError(f"The detector file {path} cannot be read: {error}.") from error
    return replace(detector, described_in=(("filename", str(path.resolve())),))


def write_detector(detector: Detector, path: Path) -> Detector:
    """Write a detector, over what stands there, and give it back as it is read.

    Raises
    ------
    FormatError
        If the detector has no shape, or the file cannot be written.
    """
    import h5py

    if detector.shape is None:
        raise FormatError(f"Detector {detector.name!r} has no shape; {path} is not written.")
    try:
        with h5py.File(path, "w") as file:
            file.attrs.update(NX_class="NXroot", default=ENTRY)
            entry = _group(file, ENTRY, "NXentry")
            entry["start_time"] = datetime.now(UTC).isoformat(timespec="seconds")
            entry["program_name"] = f"bluesky-azint {version('bluesky-azint')}"
            part = _group(entry, "pyFAI", "NXsubentry")
            part["definition_local"] = "pyFAI"
            name = detector.name.replace("/", "_").replace(" ", "_")
            _fill(_group(part, name, "NXdetector"), detector, detector.shape)
    except OSError as error:
        raise FormatError(f"The detector file {path} cannot be written: {error}.") from error
    return read_detector(path)


def _find_detector(file: h5py.File) -> h5py.Group | None:
    import h5py

    def is_detector(_: str, item: object) -> h5py.Group | None:
        found = (
            isinstance(item, h5py.Group)
            and _text(item.attrs.get("NX_class", "")) == "NXdetector"
            and "pixel_size" in item
        )
        return item if found else None

    return file.visititems(is_detector)


def _detector(group: h5py.Group) -> Detector:
    """What a group describes."""
    pixel1, pixel2 = (float(size) for size in group["pixel_size"][()])
    shape = next((_lengths(group[key]) for key in ("shape", "max_shape") if key in group), None)
    mask = group["mask"][()] != 0 if "mask" in group else None
    pixels = None
    if "pixel_corners" in group:
        corners = group["pixel_corners"][()].astype(np.float32, copy=False)
        finite = np.isfinite(corners).all(axis=(2, 3))
        if not finite.all():
            # In the place of a neighbour, they leave the range of angles as it is.
            corners[~finite] = corners[finite][0]
            mask = ~finite if mask is None else mask | ~finite
        pixels = _fitting(Corners(corners), shape)
        shape = pixels.shape
    for unused in ("flatfield", "darkcurrent"):
        if unused in group:
            logger.warning(
                "The %s in %s is not used; read it from there, and give it to the integrator.",
                f"{group.name}/{unused}", group.file.filename,
            )  # fmt: skip
    return Detector(
        pixel1=pixel1,
        pixel2=pixel2,
        shape=shape,
        mask=mask,
        name=group.name.rsplit("/", 1)[-1],
        dummy=_optional_number(group, "dummy"),
        delta_dummy=_optional_number(group, "delta_dummy"),
        orientation=int(group["orientation"][()]) or 3 if "orientation" in group else 3,
        pixels=pixels,
        sensor=_sensor(group),
    )


def _fitting(pixels: Corners, shape: tuple[int, int] | None) -> Corners:
    """The pixels of a detector of that shape, binned if they are those of the unbinned one."""
    if shape in (None, pixels.shape):
        return pixels
    return pixels.binned((pixels.shape[0] // shape[0], pixels.shape[1] // shape[1]))


def _sensor(group: h5py.Group) -> Sensor | None:
    if "sensor_material" not in group:
        return None
    return Sensor(_text(group["sensor_material"][()]), _optional_number(group, "sensor_thickness"))


def _fill(group: h5py.Group, detector: Detector, shape: tuple[int, int]) -> None:
    """Write the fields of a detector."""
    corners: NDArray[Any] | None = None
    if detector.pixels is not None:
        corners = detector.pixels.corners().astype(np.float32)
    group["API_VERSION"] = np.bytes_(API_VERSION)
    group["CORNERS"] = 4 if corners is None else corners.shape[2]
    group["IS_FLAT"] = detector.pixels is None or bool(detector.pixels.flat)
    group["IS_CONTIGUOUS"] = corners is None
    group["force_pixel"] = False
    group["pixel_size"] = np.array([detector.pixel1, detector.pixel2])
    group["pixel_size"].attrs["units"] = "m"
    group["shape"] = group["max_shape"] = np.array(shape, dtype=np.int32)
    group["binning"] = np.array([1, 1], dtype=np.int32)
    group["orientation"] = np.int32(detector.orientation)
    group["orientation"].attrs["value"] = _ORIENTATIONS[detector.orientation]
    for name in ("dummy", "delta_dummy"):
        if (value := getattr(detector, name)) is not None:
            group[name] = value
    if detector.mask is not None:
        _image(group, "mask", detector.mask.astype(np.int8), "image")
    if corners is not None:
        _image(group, "pixel_corners", corners, "vertex")
    if detector.sensor is not None:
        group["sensor_material"] = np.bytes_(detector.sensor.material)
        if detector.sensor.thickness is not None:
            group["sensor_thickness"] = detector.sensor.thickness
            group["sensor_thickness"].attrs["units"] = "m"


def _group(parent: h5py.Group, name: str, nx_class: str) -> h5py.Group:
    group = parent.create_group(name)
    group.attrs["NX_class"] = nx_class
    return group


def _image(group: h5py.Group, name: str, values: NDArray[Any], interpretation: str) -> None:
    dataset = group.create_dataset(name, data=values, compression="gzip", shuffle=True)
    dataset.attrs["interpretation"] = interpretation


def _lengths(dataset: h5py.Dataset) -> tuple[int, int]:
    rows, columns = dataset[()]
    return int(rows), int(columns)


def _optional_number(group: h5py.Group, name: str) -> float | None:
    return float(group[name][()]) if name in group else None


def _text(value: object) -> str:
    return value.decode() if isinstance(value, bytes) else str(value)
