"""PONI files: a geometry as pyFAI writes it down.

A file is text, one ``Key: value`` a line, where case does not count, ``#`` starts a comment and the
last of several lines with one key holds, for pyFAI appends. Or it is JSON, with the geometry at the
top or under ``poni``.

=======  ==========================================================================
version  what it brought
=======  ==========================================================================
1        ``PixelSize1``, ``PixelSize2``, ``SplineFile``, and maybe ``Detector``
2        ``Detector`` and ``Detector_config``, a JSON object, instead
2.1      ``orientation`` in ``Detector_config``; this is what is written here
3        ``Parallax``, and ``sensor`` in ``Detector_config``
=======  ==========================================================================

A file that asks for what cannot be honoured (a spline, displacement maps, parallax) is refused,
since the geometry without it would be another one.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import replace
from importlib.metadata import version
from pathlib import Path
from typing import Any

from bluesky_azint.detectors import Detector, detector
from bluesky_azint.errors import AzintError, FormatError, GeometryError
from bluesky_azint.geometry import Geometry

VERSION = 2.1
_NEWEST = 3.0
_LENGTHS_AND_ANGLES = ("dist", "poni1", "poni2", "rot1", "rot2", "rot3")
_UNDERSTOOD = {"pixel1", "pixel2", "max_shape", "orientation", "sensor"}


class _EntryError(FormatError):
    """What is wrong with one entry, so that the reader of a file can tell the line."""

    def __init__(self, key: str, message: str) -> None:
        super().__init__(message)
        self.key = key


def read_poni(path: Path) -> Geometry:
    """Read a PONI file of version 1, 2, 2.1 or 3, or its JSON form.

    Raises
    ------
    FormatError
        If there is no such file, it is no PONI file, or asks for what cannot be honoured.
    GeometryError
        If its detector is not in the catalogue, or differs from the one that is.
    """
    try:
        # Comments of old files come in any encoding; nothing else goes beyond ASCII.
        text = path.read_text(encoding="utf-8-sig", errors="replace")
    except OSError as error:
        raise FormatError(f"The PONI file {path} cannot be read: {error}.") from error
    lines: dict[str, int] = {}
    try:
        entries = _json(text) if text.lstrip().startswith("{") else _entries(text, lines)
        return geometry_from_dict(entries)
    except _EntryError as error:
        line = f", line {lines[error.key]}" if error.key in lines else ""
        raise FormatError(f"PONI file {path}{line}: {error}") from error
    except AzintError as error:
        raise type(error)(f"PONI file {path}: {error}") from error


def write_poni(geometry: Geometry, path: Path) -> None:
    """Write a PONI file of version 2.1, over what stands there."""
    lines = [
        "# Nota: C-Order, 1 refers to the Y axis, 2 to the X axis",
        f"# Written by bluesky-azint {version('bluesky-azint')}",
        *poni_lines(geometry),
    ]
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")


def poni_lines(geometry: Geometry) -> list[str]:
    """The geometry as the lines of a PONI file of version 2.1, every digit kept."""
    values = geometry_to_dict(geometry)
    lines = [
        f"poni_version: {values['poni_version']}",
        f"Detector: {values['detector']}",
        f"Detector_config: {json.dumps(values['detector_config'])}",
        f"Distance: {values['dist']!r}",
        *(f"{name.capitalize()}: {values[name]!r}" for name in _LENGTHS_AND_ANGLES[1:]),
    ]
    if "wavelength" in values:
        lines.append(f"Wavelength: {values['wavelength']!r}")
    return lines


def geometry_to_dict(geometry: Geometry) -> dict[str, Any]:
    """The geometry in the JSON form of a PONI file, of plain values only.

    As in a PONI file, a detector that is not in the catalogue keeps its pixel sizes, shape and
    orientation; a mask and dummy values of its own are no part of the geometry.
    """
    name, shape = _name_and_shape(geometry.detector)
    config: dict[str, Any] = {
        "pixel1": float(geometry.detector.pixel1),
        "pixel2": float(geometry.detector.pixel2),
        "orientation": geometry.detector.orientation,
    }
    if shape is not None:
        config["max_shape"] = list(shape)
    values: dict[str, Any] = {
        "poni_version": VERSION,
        **{key: getattr(geometry, key) for key in _LENGTHS_AND_ANGLES},
        "detector": name,
        "detector_config": config,
    }
    if geometry.wavelength is not None:
        values["wavelength"] = geometry.wavelength
    return values


def geometry_from_dict(values: Mapping[str, Any]) -> Geometry:
    """The geometry that `geometry_to_dict` gave, or pyFAI's PONI as a dictionary of any version.

    Raises
    ------
    FormatError
        If an entry is missing or wrong, or asks for what cannot be honoured.
    GeometryError
        If the detector is not in the catalogue, or differs from the one that is.
    """
    if isinstance(values.get("poni"), Mapping):
        values = values["poni"]
    entries = {str(key).lower(): value for key, value in values.items()}
    if "distance" in entries:
        entries["dist"] = entries.pop("distance")
    _refuse_what_is_not_honoured(entries)
    return Geometry(
        **{key: _needed_number(entries, key) for key in _LENGTHS_AND_ANGLES},
        wavelength=_number(entries, "wavelength"),
        detector=_detector(entries),
    )


def _json(text: str) -> dict[str, Any]:
    try:
        values = json.loads(text)
    except json.JSONDecodeError as error:
        raise FormatError(f"it starts as JSON but is not: {error}.") from error
    return dict(values)


def _entries(text: str, lines: dict[str, int]) -> dict[str, str]:
    """The entries of a text file, and in ``lines`` where each stands."""
    entries = {}
    for number, line in enumerate(text.splitlines(), start=1):
        key, colon, value = line.partition(":")
        if colon and not line.lstrip().startswith("#"):
            key = key.strip().lower()
            key = "dist" if key == "distance" else key
            entries[key] = value.strip()
            lines[key] = number
    return entries


def _refuse_what_is_not_honoured(entries: Mapping[str, Any]) -> None:
    found = _number(entries, "poni_version")
    if found is not None and found > _NEWEST:
        raise _EntryError(
            "poni_version",
            f"its version {found:g} is too new, {_NEWEST:g} is the last one known. "
            "Update bluesky-azint, or save the file in an older version.",
        )
    if str(entries.get("parallax")).lower() == "true":
        raise _EntryError(
            "parallax",
            "it corrects for parallax in the sensor, which is not implemented here. Calibrate "
            "without parallax correction, or set Parallax to False to do without.",
        )
    _refuse_distortion(entries, "splinefile")


def _refuse_distortion(entries: Mapping[str, Any], *keys: str, where: str = "") -> None:
    for key in keys:
        if str(entries.get(key) or "none").lower() != "none":
            raise _EntryError(
                where or key,
                f"its detector is described by another file ({key} {entries[key]}), which is not "
                "implemented here. Only flat detectors with a regular grid of pixels are.",
            )


def _number(entries: Mapping[str, Any], key: str, where: str = "") -> float | None:
    value = entries.get(key)
    if value is None or str(value).lower() == "none":
        return None
    try:
        return float(value)
    except (TypeError, ValueError):
        raise _EntryError(where or key, f"{key} is {value!r}; it must be a number.") from None


def _needed_number(entries: Mapping[str, Any], key: str) -> float:
    value = _number(entries, key)
    if value is None:
        raise _EntryError(
            key,
            f"it has no {'distance' if key == 'dist' else key}. A PONI file needs Distance, Poni1, "
            "Poni2 (metres), Rot1, Rot2, Rot3 (radians), each on a line of its own as 'Key: value'.",
        )
    return value


def _config(entries: Mapping[str, Any]) -> dict[str, Any]:
    """The arguments of the detector, from version 1 or later."""
    config = entries.get("detector_config")
    if config is None:
        return {
            "pixel1": _number(entries, "pixelsize1"),
            "pixel2": _number(entries, "pixelsize2"),
        }
    if isinstance(config, str):
        try:
            config = json.loads(config)
        except json.JSONDecodeError as error:
            raise _EntryError(
                "detector_config", f"Detector_config is no valid JSON: {error}."
            ) from error
    if not isinstance(config, Mapping):
        raise _EntryError(
            "detector_config",
            f'Detector_config is {config!r}; it must be an object like {{"pixel1": 0.000172}}.',
        )
    return {str(key).lower(): value for key, value in config.items() if value is not None}


def _detector(entries: Mapping[str, Any]) -> Detector:
    config = _config(entries)
    _refuse_distortion(
        config,
        *("splinefile", "x_offset_file", "y_offset_file", "filename"),
        where="detector_config",
    )
    if unknown := sorted(set(config) - _UNDERSTOOD - {"splinefile"}):
        raise _EntryError(
            "detector_config",
            f"Detector_config has the entry {', '.join(unknown)}, which is not understood; known "
            f"are {', '.join(sorted(_UNDERSTOOD))}.",
        )
    name = str(entries.get("detector") or "Detector")
    shape = _shape(config)
    pixel1, pixel2 = (_number(config, key, "detector_config") for key in ("pixel1", "pixel2"))
    if name.lower() in ("detector", "none"):
        if pixel1 is None or pixel2 is None:
            raise _EntryError(
                "detector_config",
                "it names no detector and gives no size of its pixels. Name one of the catalogue, "
                "or set pixel1 and pixel2 in Detector_config (PixelSize1 and PixelSize2 in "
                "version 1), in metres.",
            )
        found = Detector(pixel1=pixel1, pixel2=pixel2, shape=shape)
    else:
        found = _catalogued(name, pixel1, pixel2, shape)
    return replace(found, orientation=_orientation(config))


def _catalogued(
    name: str, pixel1: float | None, pixel2: float | None, shape: tuple[int, int] | None
) -> Detector:
    if name == "NexusDetector" or name.endswith((".h5", ".hdf5", ".nxs")):
        _refuse_distortion({"detector": name}, "detector")
    found = detector(name, pixel1, pixel2)
    if shape not in (None, found.shape):
        raise GeometryError(
            f"its detector has the shape {shape}, but {found.name} has {found.shape}, and the gaps "
            "between its modules would not be where they are. Use whole frames, or write "
            '"Detector: Detector" for a detector without a mask.'
        )
    return found


def _shape(config: Mapping[str, Any]) -> tuple[int, int] | None:
    value = config.get("max_shape")
    if value is None:
        return None
    try:
        rows, columns = (int(length) for length in value)
    except (TypeError, ValueError):
        rows = columns = 0
    if rows < 1 or columns < 1:
        raise _EntryError(
            "detector_config", f"max_shape is {value!r}; it must be two numbers, rows and columns."
        )
    return rows, columns


def _orientation(config: Mapping[str, Any]) -> int:
    value = config.get("orientation", 3)
    try:
        return int(value) or 3  # pyFAI's 0 means the usual one
    except (TypeError, ValueError):
        raise _EntryError(
            "detector_config", f"orientation is {value!r}; it must be 1, 2, 3 or 4."
        ) from None


def _name_and_shape(described: Detector) -> tuple[str, tuple[int, int] | None]:
    """The name of a detector in the catalogue, or "Detector" and its shape."""
    try:
        known = detector(described.name, described.pixel1, described.pixel2)
    except GeometryError:
        return "Detector", described.shape
    if known.shape != described.shape:
        return "Detector", described.shape
    return known.name, None
