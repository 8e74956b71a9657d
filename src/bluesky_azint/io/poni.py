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

A detector may be described by another file: ``filename`` of a NeXus file, ``splineFile``, or
``x_offset_file`` and ``y_offset_file``. A relative path starts at the folder of the PONI file, or
else where the program runs. What cannot be honoured is refused, since the geometry without it would
be another one.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import replace
from importlib.metadata import version
from pathlib import Path
from typing import Any

from bluesky_azint.catalogue import find_model
from bluesky_azint.detectors import Detector, detector
from bluesky_azint.errors import AzintError, FormatError, GeometryError
from bluesky_azint.geometry import Geometry
from bluesky_azint.parallax import Sensor
from bluesky_azint.pixels import Cylinder

VERSION = 2.1
_WITH_PARALLAX = 3
_NEWEST = 3.0
_LENGTHS_AND_ANGLES = ("dist", "poni1", "poni2", "rot1", "rot2", "rot3")
_FILES = ("filename", "splinefile", "x_offset_file", "y_offset_file")
_UNDERSTOOD = {"pixel1", "pixel2", "max_shape", "orientation", "sensor", "radius", *_FILES}
_UNKNOWN = ("detector", "none")
_HELD = "pixel_corners"


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
        return geometry_from_dict(entries, path.parent)
    except _EntryError as error:
        line = f", line {lines[error.key]}" if error.key in lines else ""
        raise FormatError(f"PONI file {path}{line}: {error}") from error
    except AzintError as error:
        raise type(error)(f"PONI file {path}: {error}") from error


def write_poni(geometry: Geometry, path: Path, comments: Iterable[str] = ()) -> None:
    """Write a PONI file of version 2.1, or 3 with parallax, over what stands there.

    Parameters
    ----------
    geometry
        The geometry.
    path
        The file.
    comments
        What is said at its top.

    Raises
    ------
    GeometryError
        If pixels of the detector have places of their own that no file describes.
    """
    if _HELD in geometry_to_dict(geometry)["detector_config"]:
        raise GeometryError(
            f"The pixels of detector {geometry.detector.name!r} have places of their own, which a "
            f"PONI file cannot hold: {path} is not written. Save them first, with "
            "dataclasses.replace(geometry, detector=geometry.detector.to_nexus('detector.h5'))."
        )
    lines = [
        *(f"# {line}" for comment in comments for line in comment.splitlines()),
        "# Nota: C-Order, 1 refers to the Y axis, 2 to the X axis",
        f"# Written by bluesky-azint {version('bluesky-azint')}",
        *poni_lines(geometry),
    ]
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")


def poni_lines(geometry: Geometry) -> list[str]:
    """The geometry as the lines of a PONI file, every digit kept."""
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
    if "parallax" in values:
        lines.append(f"Parallax: {values['parallax']}")
    return lines


def geometry_to_dict(geometry: Geometry) -> dict[str, Any]:
    """The geometry in the JSON form of a PONI file, of plain values only.

    As in a PONI file, a detector that is not in the catalogue keeps its pixel sizes, shape,
    orientation and sensor, and the files that describe it; a mask and dummy values of its own are
    no part of the geometry. Places of pixels that no file describes are marked as such, so that
    nobody takes the detector for a regular one.
    """
    detector = geometry.detector
    name, config = _named(detector)
    if detector.sensor is not None:
        config["sensor"] = {"material": detector.sensor.material}
        if detector.sensor.thickness is not None:
            config["sensor"]["thickness"] = float(detector.sensor.thickness)
    values: dict[str, Any] = {
        "poni_version": _WITH_PARALLAX if geometry.parallax else VERSION,
        **{key: getattr(geometry, key) for key in _LENGTHS_AND_ANGLES},
        "detector": name,
        "detector_config": config,
    }
    if geometry.wavelength is not None:
        values["wavelength"] = geometry.wavelength
    if geometry.parallax:
        values["parallax"] = True
    return values


def geometry_from_dict(values: Mapping[str, Any], folder: Path | None = None) -> Geometry:
    """The geometry that `geometry_to_dict` gave, or pyFAI's PONI as a dictionary of any version.

    Parameters
    ----------
    values
        The entries.
    folder
        Where relative paths of files that describe the detector start.

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
    _refuse_a_newer_version(entries)
    pose: dict[str, Any] = {key: _needed_number(entries, key) for key in _LENGTHS_AND_ANGLES}
    return Geometry(
        **pose,
        wavelength=_number(entries, "wavelength"),
        detector=_detector(entries, folder or Path()),
        parallax=str(entries.get("parallax")).lower() == "true",
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


def _refuse_a_newer_version(entries: Mapping[str, Any]) -> None:
    found = _number(entries, "poni_version")
    if found is not None and found > _NEWEST:
        raise _EntryError(
            "poni_version",
            f"its version {found:g} is too new, {_NEWEST:g} is the last one known. "
            "Update bluesky-azint, or save the file in an older version.",
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
            "splinefile": entries.get("splinefile"),
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


def _detector(entries: Mapping[str, Any], folder: Path) -> Detector:
    config = _config(entries)
    if unknown := sorted(set(config) - _UNDERSTOOD):
        raise _EntryError(
            "detector_config",
            f"Detector_config has the entry {', '.join(unknown)}, which is not understood; known "
            f"are {', '.join(sorted(_UNDERSTOOD))}.",
        )
    name = str(entries.get("detector") or "Detector")
    given = {key: str(config[key]) for key in _FILES if str(config.get(key) or "none") != "none"}
    if name.endswith((".h5", ".hdf5", ".nxs")):
        given["filename"] = name
    paths = {key: _found(path, folder) for key, path in given.items() if path.lower() != "none"}
    found = _described(name, paths) or _regular(name, config, paths)
    changes: dict[str, Any] = {}
    if "orientation" in config or not found.described_in:
        changes["orientation"] = _orientation(config)
    if "sensor" in config:
        changes["sensor"] = _sensor(config["sensor"])
    return replace(found, **changes)


def _found(path: str, folder: Path) -> Path:
    beside = folder / path
    return beside if beside.exists() else Path(path)


def _described(name: str, paths: Mapping[str, Path]) -> Detector | None:
    """The detector that another file describes completely."""
    from bluesky_azint.io.detector_nexus import read_detector
    from bluesky_azint.io.distortion import read_spline

    if "filename" in paths:
        return read_detector(paths["filename"])
    if "splinefile" in paths:
        return read_spline(paths["splinefile"], "Detector" if name.lower() in _UNKNOWN else name)
    return None


def _regular(name: str, config: Mapping[str, Any], paths: Mapping[str, Path]) -> Detector:
    """The detector by its name or its pixels, with the offsets of these."""
    from bluesky_azint.io.distortion import read_offsets

    shape = _shape(config)
    pixel1, pixel2 = (_number(config, key, "detector_config") for key in ("pixel1", "pixel2"))
    if name.lower() not in _UNKNOWN:
        radius = _number(config, "radius", "detector_config")
        found = _catalogued(name, pixel1, pixel2, shape, radius)
    elif pixel1 is None or pixel2 is None:
        raise _EntryError(
            "detector_config",
            "it names no detector and gives no size of its pixels. Name one of the catalogue, "
            "or set pixel1 and pixel2 in Detector_config (PixelSize1 and PixelSize2 in "
            "version 1), in metres.",
        )
    else:
        found = Detector(pixel1=pixel1, pixel2=pixel2, shape=shape)
    if not paths:
        return found
    if len(paths) != 2:
        raise _EntryError(
            "detector_config",
            f"Detector_config has the {' and '.join(paths)} alone; x_offset_file and "
            "y_offset_file are both needed.",
        )
    return read_offsets(found, paths["x_offset_file"], paths["y_offset_file"])


def _catalogued(
    name: str,
    pixel1: float | None,
    pixel2: float | None,
    shape: tuple[int, int] | None,
    radius: float | None,
) -> Detector:
    found = detector(name, pixel1, pixel2, radius=radius)
    if shape not in (None, found.shape):
        raise GeometryError(
            f"its detector has the shape {shape}, but {found.name} has {found.shape}, and the gaps "
            "between its modules would not be where they are. Use whole frames, or write "
            '"Detector: Detector" for a detector without a mask.'
        )
    return found


def _sensor(value: object) -> Sensor:
    if not isinstance(value, Mapping) or not isinstance(value.get("material"), str):
        raise _EntryError(
            "detector_config",
            f"sensor is {value!r}; it must be an object like "
            '{"material": "Si", "thickness": 0.00045}.',
        )
    return Sensor(value["material"], _number(value, "thickness", "detector_config"))


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


def _named(described: Detector) -> tuple[str, dict[str, Any]]:
    """What a PONI file calls a detector, and the arguments of it."""
    config: dict[str, Any] = {
        "pixel1": float(described.pixel1),
        "pixel2": float(described.pixel2),
        "orientation": described.orientation,
    }
    files = dict(described.described_in)
    if "filename" in files:
        return "NexusDetector", config | files
    if "splineFile" in files:
        return _known(described.name), config | files
    radius = described.pixels.radius if isinstance(described.pixels, Cylinder) else None
    try:
        known = detector(described.name, described.pixel1, described.pixel2, radius=radius)
    except GeometryError:
        known = Detector(described.pixel1, described.pixel2)
    if known.shape == described.shape and (files or known.pixels == described.pixels):
        config |= {} if radius is None else {"radius": float(radius)}
        return known.name, config | files
    if described.shape is not None:
        config["max_shape"] = list(described.shape)
    if described.pixels is not None and not files:
        config[_HELD] = "not in a file"
    return "Detector", config | files


def _known(name: str) -> str:
    """The name, if it is in the catalogue."""
    try:
        return find_model(name).name
    except GeometryError:
        return "Detector"
