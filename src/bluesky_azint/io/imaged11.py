"""Parameter files of ImageD11 (``.par``, ``.prm``): one name and its value a line."""

from __future__ import annotations

from dataclasses import asdict, fields
from pathlib import Path
from typing import Any

from bluesky_azint.conversions.imaged11 import ImageD11Geometry, from_imaged11, to_imaged11
from bluesky_azint.detectors import Detector
from bluesky_azint.errors import AzintError, FormatError
from bluesky_azint.geometry import Geometry

_INTEGERS = ("o11", "o12", "o21", "o22")
_NEEDED = ("distance", "y_center", "z_center", "y_size", "z_size")


def read_imaged11(path: Path, detector: Detector | None = None) -> Geometry:
    """Read the geometry of a parameter file, in micrometres and angstrom.

    The file does not tell the shape of the detector.

    Parameters
    ----------
    detector
        The detector, for its shape and mask.

    Raises
    ------
    FormatError
        If a parameter is missing or no number, or the file swaps the axes of the image.
    GeometryError
        If the flips need the shape of the detector and there is none.
    """
    names = [field.name for field in fields(ImageD11Geometry)]
    values: dict[str, Any] = {}
    for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), start=1):
        name, _, value = line.strip().partition(" ")
        if name in names:
            values[name] = _number(path, number, name, value.strip())
    if missing := [name for name in _NEEDED if name not in values]:
        raise FormatError(
            f"The parameter file {path} has no {', '.join(missing)}; ImageD11's geometry needs "
            f"{', '.join(_NEEDED)}, each as 'name value' on a line of its own."
        )
    values |= {name: int(values[name]) for name in _INTEGERS if name in values}
    try:
        return from_imaged11(ImageD11Geometry(**values), detector)
    except AzintError as error:
        raise type(error)(f"Parameter file {path}: {error}") from error


def write_imaged11(geometry: Geometry, path: Path) -> None:
    """Write a parameter file, in micrometres and angstrom, over what stands there."""
    values = asdict(to_imaged11(geometry))
    lines = [f"{name} {value!r}" for name, value in sorted(values.items()) if value is not None]
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")


def _number(path: Path, line: int, name: str, value: str) -> float:
    try:
        return float(value)
    except ValueError:
        raise FormatError(
            f"Parameter file {path}, line {line}: {name} is {value!r}; it must be a number."
        ) from None
