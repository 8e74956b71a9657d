"""Image controls of GSAS-II (``.imctrl``): one ``key:value`` a line.

Only what places the detector is written; GSAS-II keeps its other controls when it loads such a file.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from bluesky_azint.conversions.gsas import GSASGeometry, from_gsas, to_gsas
from bluesky_azint.detectors import Detector
from bluesky_azint.errors import FormatError
from bluesky_azint.geometry import Geometry

_REFUSED = {"DetDepth": "a penetration depth", "sag": "a sag", "det2theta": "a detector 2theta"}


def read_imctrl(path: Path, detector: Detector) -> Geometry:
    """Read the geometry of image controls.

    Parameters
    ----------
    detector
        The detector, which the file does not tell: GSAS-II takes it from the image.

    Raises
    ------
    FormatError
        If a value is missing or wrong, or places the pixels in a way that cannot be honoured.
    """
    entries = {
        key.strip(): value.strip()
        for line in path.read_text(encoding="utf-8").splitlines()
        for key, colon, value in (line.partition(":"),)
        if colon and not key.startswith("#")
    }
    for key, what in _REFUSED.items():
        if key in entries and _numbers(path, entries, key, 1)[0] != 0.0:
            raise FormatError(
                f"The image controls {path} have {what} ({key}:{entries[key]}), which is not "
                f"implemented here. Calibrate with {key} fixed at 0 and save the controls again."
            )
    x, y = _numbers(path, entries, "center", 2)
    optional = {
        name: _numbers(path, entries, key, 1)[0]
        for key, name in (("rotation", "rotation"), ("azmthOff", "azimuth_offset"))
        if key in entries
    }
    values = GSASGeometry(
        wavelength=_numbers(path, entries, "wavelength", 1)[0],
        distance=_numbers(path, entries, "distance", 1)[0],
        center=(x, y),
        tilt=_numbers(path, entries, "tilt", 1)[0],
        **optional,
    )
    return from_gsas(values, detector)


def write_imctrl(geometry: Geometry, path: Path) -> None:
    """Write image controls, over what stands there."""
    values = to_gsas(geometry)
    lines = [
        f"wavelength:{values.wavelength!r}",
        f"distance:{values.distance!r}",
        f"setdist:{values.distance!r}",
        f"center:{list(values.center)!r}",
        f"tilt:{values.tilt!r}",
        f"rotation:{values.rotation!r}",
        f"azmthOff:{values.azimuth_offset!r}",
        "DetDepth:0.0",
    ]
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")


def _numbers(path: Path, entries: Mapping[str, str], key: str, count: int) -> list[float]:
    """The numbers of an entry, which may be a list with or without commas."""
    text = entries.get(key, "")
    try:
        values = [float(word) for word in text.strip("[]()").replace(",", " ").split()]
    except ValueError:
        values = []
    if len(values) != count:
        wanted = "a number" if count == 1 else f"{count} numbers"
        raise FormatError(
            f"The image controls {path} have {key}:{text or ' nowhere'}; it must be {wanted}. "
            "wavelength, distance, center and tilt are needed."
        )
    return values
