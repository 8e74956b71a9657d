"""Files that tell how far the pixels of a detector lie from a regular grid.

A spline file of Fit2D holds two bicubic splines, the displacement along the fast axis (X) and the
slow axis (Y) as a function of the place, all in pixels. A pair of images holds the displacement of
every pixel, or of every corner; those of Dectris are in percent of a pixel, with the other sign.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from os import PathLike, fspath
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from bluesky_azint.detectors import Detector
from bluesky_azint.errors import FormatError
from bluesky_azint.io.images import read_image

FloatArray = NDArray[np.float64]

_WIDTH = 14  # characters of a number
_ORDER = 3


@dataclass(frozen=True, eq=False)
class Spline:
    """A bicubic spline: its knots along X and along Y, and its coefficients."""

    knots_x: FloatArray
    knots_y: FloatArray
    coefficients: FloatArray

    def __call__(self, x: FloatArray, y: FloatArray) -> FloatArray:
        """Values at all of ``x`` and ``y``, which rise, ``(len(y), len(x))``."""
        from scipy.interpolate import bisplev

        spline = (self.knots_x, self.knots_y, self.coefficients, _ORDER, _ORDER)
        values: FloatArray = np.atleast_2d(bisplev(x, y, spline)).T
        return values


def read_spline(path: str | PathLike[str], name: str = "Detector") -> Detector:
    """The detector that a spline file of Fit2D describes.

    Parameters
    ----------
    path
        The file.
    name
        Of the detector. For a FReLoN, pixels that the distortion puts outside the valid region are
        masked, as in pyFAI.

    Raises
    ------
    FormatError
        If there is no such file, or something else in it.
    """
    sections = _sections(Path(path))
    try:
        x0, y0, x1, y1 = _numbers(sections["VALID REGION"])[:4]
        _, pixel2, pixel1 = _numbers(sections["GRID SPACING, X-PIXEL SIZE, Y-PIXEL SIZE"])[:3]
        along_x, along_y = (_spline(sections[f"{axis}-DISTORTION"]) for axis in "XY")
    except (KeyError, ValueError, IndexError) as error:
        raise FormatError(
            f"{path} is no spline file of Fit2D: VALID REGION, GRID SPACING, X-DISTORTION and "
            f"Y-DISTORTION with their numbers are needed ({error})."
        ) from error
    shape = int(y1 - y0), int(x1 - x0)
    regular = Detector(pixel1 * 1e-6, pixel2 * 1e-6, shape, name=name)
    x, y = np.arange(shape[1] + 1.0), np.arange(shape[0] + 1.0)
    detector = regular.displaced(along_x(x, y), along_y(x, y))
    if name == "FReLoN":
        x, y = x[:-1] + 0.5, y[:-1] + 0.5
        true_x, true_y = x + along_x(x, y), y[:, np.newaxis] + along_y(x, y)
        outside = (true_x < x0) | (true_x > x1) | (true_y < y0) | (true_y > y1)
        detector = replace(detector, mask=outside)
    return replace(detector, described_in=(("splineFile", str(Path(path).resolve())),))


def read_displacements(
    detector: Detector, dx: str | PathLike[str], dy: str | PathLike[str]
) -> Detector:
    """The detector with the displacements of two images, in pixels (see `Detector.displaced`).

    Raises
    ------
    FormatError
        If they cannot be read.
    GeometryError
        If they do not fit the detector.
    """
    return detector.displaced(read_image(dx), read_image(dy))


def read_offsets(
    detector: Detector, x_file: str | PathLike[str], y_file: str | PathLike[str]
) -> Detector:
    """The detector with the offsets of Dectris, two images in percent of a pixel.

    Raises
    ------
    FormatError
        If they cannot be read.
    GeometryError
        If they do not fit the detector.
    """
    displaced = detector.displaced(-0.01 * read_image(x_file), -0.01 * read_image(y_file))
    files = {"x_offset_file": x_file, "y_offset_file": y_file}
    described_in = tuple((key, str(Path(fspath(path)).resolve())) for key, path in files.items())
    return replace(displaced, described_in=described_in)


def _sections(path: Path) -> dict[str, list[str]]:
    """The lines below each heading, up to an empty one."""
    try:
        lines = path.read_text(encoding="ascii", errors="replace").splitlines()
    except OSError as error:
        raise FormatError(f"The spline file {path} cannot be read: {error}.") from error
    sections: dict[str, list[str]] = {}
    current: list[str] | None = None
    for line in lines:
        heading = line.strip().upper()
        if heading and heading[0].isalpha():
            current = sections.setdefault(heading, [])
        elif not heading:
            current = None
        elif current is not None:
            current.append(line)
    return sections


def _numbers(lines: list[str]) -> list[float]:
    """Numbers of a fixed width, which may touch each other."""
    return [
        float(line[start : start + _WIDTH])
        for line in lines
        for start in range(0, len(line.rstrip()) - _WIDTH + 1, _WIDTH)
    ]


def _spline(lines: list[str]) -> Spline:
    """A spline from the numbers of its knots, the knots, and the coefficients."""
    n_x, n_y = (int(number) for number in lines[0].split())
    values = np.array(_numbers(lines[1:]))
    wanted = (n_x - _ORDER - 1) * (n_y - _ORDER - 1)
    if values.size != n_x + n_y + wanted:
        raise ValueError(f"{values.size} numbers for {n_x} and {n_y} knots")
    return Spline(values[:n_x], values[n_x : n_x + n_y], values[n_x + n_y :])
