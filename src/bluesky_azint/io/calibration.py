"""Calibration files of every program, told apart by their suffix."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from bluesky_azint.detectors import Detector
from bluesky_azint.errors import FormatError
from bluesky_azint.geometry import Geometry
from bluesky_azint.io.cxi import read_cxi, write_cxi
from bluesky_azint.io.gsas import read_imctrl, write_imctrl
from bluesky_azint.io.hexrd import read_hexrd, write_hexrd
from bluesky_azint.io.imaged11 import read_imaged11, write_imaged11
from bluesky_azint.io.poni import read_poni, write_poni

PROGRAMS = {
    ".poni": "PONI",
    ".json": "PONI",
    ".par": "ImageD11",
    ".prm": "ImageD11",
    ".imctrl": "GSAS-II",
    ".yml": "heXRD",
    ".yaml": "heXRD",
    ".hexrd": "heXRD",
    ".cxi": "CXI",
}
"""Which program a suffix is of."""


def read_calibration(
    path: Path, detector: Detector | None = None, panel: str | None = None
) -> Geometry:
    """Read the geometry in a calibration file of any program in `PROGRAMS`.

    Parameters
    ----------
    path
        The file.
    detector
        The detector, for programs of which the files do not tell it: GSAS-II, and for its shape
        ImageD11.
    panel
        Name of the panel, for an instrument of heXRD with several.

    Raises
    ------
    FormatError
        If the suffix is of no program, or the file does not hold what it should.
    GeometryError
        If a detector is needed that is not given.
    """
    match _program(path):
        case "PONI":
            return read_poni(path)
        case "ImageD11":
            return read_imaged11(path, detector)
        case "CXI":
            return read_cxi(path)
        case "heXRD":
            return _panel(read_hexrd(path), path, panel)
    if detector is None:
        raise FormatError(
            f"The image controls {path} do not tell the detector, which GSAS-II takes from the image; "
            "name it."
        )
    return read_imctrl(path, detector)


def write_calibration(geometry: Geometry, path: Path) -> None:
    """Write a calibration file of the program that the suffix is of, over what stands there.

    Raises
    ------
    FormatError
        If the suffix is of no program that can be written.
    GeometryError
        If the program cannot hold the geometry.
    """
    writers: dict[str, Callable[[Geometry, Path], None]] = {
        "PONI": write_poni,
        "ImageD11": write_imaged11,
        "GSAS-II": write_imctrl,
        "heXRD": lambda geometry, path: write_hexrd({geometry.detector.name: geometry}, path),
        "CXI": write_cxi,
    }
    if path.suffix.lower() == ".json":
        raise FormatError(f"{path} would be a PONI file in JSON, which is only read; use .poni.")
    writers[_program(path)](geometry, path)


def _program(path: Path) -> str:
    try:
        return PROGRAMS[path.suffix.lower()]
    except KeyError:
        known = ", ".join(f"{suffix} ({program})" for suffix, program in PROGRAMS.items())
        raise FormatError(
            f"{path} is of no program that is known by its suffix; known are {known}."
        ) from None


def _panel(panels: dict[str, Geometry], path: Path, name: str | None) -> Geometry:
    if name is None and len(panels) == 1:
        return next(iter(panels.values()))
    if name not in panels:
        raise FormatError(
            f"The instrument {path} has the panels {', '.join(panels)}; name one of them."
        )
    return panels[name]
