"""CXI files: a detector in ``/entry_1/instrument_1``, all in SI units."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import h5py
import numpy as np

from bluesky_azint.conversions.cxi import CXIGeometry, from_cxi, to_cxi
from bluesky_azint.conversions.pose import KEV_ANGSTROM
from bluesky_azint.detectors import Detector
from bluesky_azint.errors import FormatError
from bluesky_azint.geometry import Geometry

VERSION = 160
_INSTRUMENT = "entry_1/instrument_1"
_JOULE_METRE = KEV_ANGSTROM * 1e-7 * 1.602176634e-19  # h c


def read_cxi(path: Path, name: str = "detector_1") -> Geometry:
    """Read the geometry of a detector; its non-zero mask pixels are masked.

    Raises
    ------
    FormatError
        If the file has no such detector, or not all of its geometry.
    """
    with h5py.File(path) as file:
        group = file.get(f"{_INSTRUMENT}/{name}")
        if group is None:
            raise FormatError(f"The CXI file {path} has no {_INSTRUMENT}/{name}.")
        energy = file.get(f"{_INSTRUMENT}/source_1/energy")
        values = CXIGeometry(
            translation=_numbers(path, group, "geometry_1/translation", 3),
            orientation=_numbers(path, group, "geometry_1/orientation", 6),
            x_pixel_size=_numbers(path, group, "x_pixel_size", 1)[0],
            y_pixel_size=_numbers(path, group, "y_pixel_size", 1)[0],
            wavelength=None if energy is None else _JOULE_METRE / float(energy[()]),
        )
        return from_cxi(values, _detector(group, values))


def write_cxi(geometry: Geometry, path: Path) -> None:
    """Write a CXI file with the geometry, and the mask if there is one, over what stands there."""
    values = to_cxi(geometry)
    detector = geometry.detector
    with h5py.File(path, "w") as file:
        file["cxi_version"] = VERSION
        group = file.create_group(f"{_INSTRUMENT}/detector_1")
        group["description"] = detector.name
        group["distance"] = geometry.dist
        group["x_pixel_size"] = values.x_pixel_size
        group["y_pixel_size"] = values.y_pixel_size
        group["geometry_1/translation"] = values.translation
        group["geometry_1/orientation"] = values.orientation
        if detector.shape is not None:
            mask = np.zeros(detector.shape, dtype=np.uint32)
            if detector.mask is not None:
                mask[detector.mask] = 1
            group.create_dataset("mask", data=mask, compression="gzip")
        if values.wavelength is not None:
            file[f"{_INSTRUMENT}/source_1/energy"] = _JOULE_METRE / values.wavelength


def _detector(group: h5py.Group, values: CXIGeometry) -> Detector:
    """The detector of the file, with a shape if it has a mask or data."""
    name = group["description"][()].decode() if "description" in group else "Detector"
    pixels = values.y_pixel_size, values.x_pixel_size
    if "mask" in group:
        mask = group["mask"][()] != 0
        return Detector(*pixels, mask.shape, mask if mask.any() else None, name)
    shape = tuple(group["data"].shape[-2:]) if "data" in group else None
    return Detector(*pixels, shape, name=name)


def _numbers(path: Path, group: h5py.Group, name: str, count: int) -> tuple[Any, ...]:
    values = np.ravel(group[name][()]) if name in group else np.empty(0)
    if values.size != count:
        raise FormatError(
            f"{group.name}/{name} in the CXI file {path} holds {values.size} numbers; it must hold "
            f"{count}."
        )
    return tuple(values.astype(np.float64).tolist())
