"""Patterns as text, in the dialects of those who read them.

=========  ===================  ================================================================
suffix     read by              what it is
=========  ===================  ================================================================
``.xy``    pyFAI, Dioptas       two or three columns below comments that start with ``#``
``.dat``   SasView              the same
``.xye``   GSAS-II, TOPAS       the same, of 2theta in degrees, and always with errors
``.fxye``  GSAS, GSAS-II        a title, comments, a ``BANK`` line, 2theta in centidegrees
``.chi``   Fit2D, Dioptas,      a title, two labels, the number of points, and two columns
           GSAS-II
``.csv``   spreadsheets         the columns under their names, and nothing else
=========  ===================  ================================================================

The columns are the radial axis, the intensity and its standard error. Comments hold the versions,
the provenance, the geometry (as a PONI file) and the recipe; those of ``.chi`` stand in its title.
"""

from __future__ import annotations

import io
from collections.abc import Callable, Iterable, Mapping
from importlib.metadata import version
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from bluesky_azint.errors import FormatError
from bluesky_azint.geometry import Geometry
from bluesky_azint.io.poni import poni_lines
from bluesky_azint.reduction.recipe import Recipe
from bluesky_azint.reduction.result import IntegrationResult
from bluesky_azint.units import unit as unit_of

FloatArray = NDArray[np.float64]


class Pattern(NamedTuple):
    """One pattern, its wavelength in metres, and the lines that tell where it comes from."""

    unit: str
    radial: FloatArray
    intensity: FloatArray
    sigma: FloatArray | None
    wavelength: float | None
    header: list[str]

    @property
    def columns(self) -> dict[str, FloatArray]:
        """Its columns by their names."""
        columns = {self.unit: self.radial, "intensity": self.intensity}
        return columns if self.sigma is None else {**columns, "sigma": self.sigma}

    def powder(self, kind: str) -> tuple[FloatArray, FloatArray, FloatArray]:
        """2theta in degrees, intensity and standard error.

        Raises
        ------
        FormatError
            If the pattern has another axis, or no errors.
        """
        degrees = {"2th_deg": 1.0, "2th_rad": 180.0 / np.pi}.get(self.unit)
        if degrees is None:
            raise FormatError(
                f"A .{kind} file holds 2theta, and the pattern {self.unit}; reduce with the unit "
                "2th_deg, or write another format."
            )
        if self.sigma is None:
            raise FormatError(
                f"A .{kind} file holds errors, and the pattern has none; reduce with an error "
                "model, or write another format."
            )
        return self.radial * degrees, self.intensity, self.sigma


def write_ascii(
    result: IntegrationResult,
    path: Path,
    *,
    geometry: Geometry,
    recipe: Recipe,
    frame: int | None = None,
    provenance: Mapping[str, str] | None = None,
    force: bool = False,
) -> None:
    """Write one pattern, as the suffix of the path says, see `KINDS`.

    Parameters
    ----------
    result
        A pattern, or a stack of them.
    path
        The file.
    geometry, recipe
        What the pattern was made with.
    frame
        Which pattern of a stack.
    provenance
        What else the header is to tell.
    force
        Whether to replace a file that is there.

    Raises
    ------
    FormatError
        If the file is there already or cannot be written, its suffix is another, the result is
        not one pattern, or not one that the format can hold.
    """
    text = format_ascii(
        result,
        path.suffix.removeprefix("."),
        geometry=geometry,
        recipe=recipe,
        frame=frame,
        provenance=provenance,
    )
    write_text(path, text, force=force)


def write_text(path: Path, text: str, *, force: bool) -> None:
    """Write a text file.

    Raises
    ------
    FormatError
        If the file is there already and is not to be replaced, or cannot be written.
    """
    try:
        with path.open("w" if force else "x", encoding="utf-8") as file:
            file.write(text)
    except FileExistsError:
        raise FormatError(f"{path} is there already; use force to replace it.") from None
    except OSError as error:
        raise FormatError(f"{path} cannot be written: {error}.") from error


def format_ascii(
    result: IntegrationResult,
    kind: str,
    *,
    geometry: Geometry,
    recipe: Recipe,
    frame: int | None = None,
    provenance: Mapping[str, str] | None = None,
) -> str:
    """The text that `write_ascii` writes; ``kind`` is one of `KINDS`.

    Raises
    ------
    FormatError
        If there is no such kind, the result is not one pattern, or not one that it can hold.
    """
    if kind not in KINDS:
        raise FormatError(f"There is no text format {kind!r}; the formats are {', '.join(KINDS)}.")
    header = [
        f"bluesky-azint {version('bluesky-azint')}, engine {result.engine}",
        *(f"{key}: {value}" for key, value in (provenance or {}).items()),
        *poni_lines(geometry),
        *(f"{key}: {value}" for key, value in recipe.to_dict().items()),
    ]
    # A line break in a value must not put anything outside of a comment.
    lines = "\n".join(header).splitlines()
    intensity, sigma = _one_pattern(result, frame)
    pattern = Pattern(result.unit, result.radial, intensity, sigma, geometry.wavelength, lines)
    return _FORMATS[kind](pattern)


def _one_pattern(
    result: IntegrationResult, frame: int | None
) -> tuple[FloatArray, FloatArray | None]:
    """Intensity and standard error of one frame."""
    intensity, sigma = result.intensity, result.sigma
    one_dimension = result.azimuthal is None
    if frame is not None and one_dimension and intensity.ndim == 2:
        intensity, sigma = intensity[frame], None if sigma is None else sigma[frame]
    if not one_dimension or intensity.shape != result.radial.shape:
        raise FormatError(
            f"The result has the shape {intensity.shape}, and a text file holds one pattern of "
            f"{result.radial.size} points; "
            + ("tell which frame is meant." if one_dimension else "write cakes as .nxs.")
        )
    return intensity, sigma


def _commented(pattern: Pattern) -> str:
    """``.xy``, ``.dat``: columns below a header."""
    names = "  ".join(pattern.columns)
    return _table(pattern.columns.values(), "".join(f"# {x}\n" for x in (*pattern.header, names)))


def _xye(pattern: Pattern) -> str:
    """``.xye``: the same for powders.

    A small q in the header is what GSAS-II takes for the mark of data in q; it becomes a Q.
    """
    columns = pattern.powder("xye")
    lines = (*pattern.header, "2th_deg  intensity  sigma")
    return _table(columns, "".join(f"# {line.replace('q', 'Q')}\n" for line in lines))


def _fxye(pattern: Pattern) -> str:
    """``.fxye``: title, comments, and one bank of 2theta in hundredths of a degree."""
    two_theta, intensity, sigma = pattern.powder("fxye")
    position = 100.0 * two_theta
    step = position[1] - position[0] if position.size > 1 else 0.0
    title, *comments = pattern.header
    lines = [
        title[:80],
        *(f"# {comment}" for comment in comments),
        f"BANK 1 {position.size} {position.size} CONST {position[0]:.6f} {step:.6f} 0 0 FXYE",
    ]
    return _table((position, intensity, sigma), "".join(f"{line}\n" for line in lines))


def _chi(pattern: Pattern) -> str:
    """``.chi``: the four lines of Fit2D, and two columns.

    GSAS-II looks in these lines for "2-theta", or else for "q " and takes the wavelength behind.
    """
    radial = unit_of(pattern.unit)
    label = radial.label
    if pattern.unit == "2th_deg":
        label = "2-Theta Angle (Degrees)"
    elif pattern.unit == "q_A^-1" and pattern.wavelength is not None:
        label = f"q {1e10 * pattern.wavelength:.9g} (in 1/angstrom; the wavelength in angstrom)"
    title = "; ".join(pattern.header).replace("q ", "q_").replace("Q ", "Q_")
    lines = (title, label, "Intensity", f"{pattern.radial.size:12d}")
    return _table((pattern.radial, pattern.intensity), "".join(f"{line}\n" for line in lines))


def _csv(pattern: Pattern) -> str:
    """``.csv``: columns under their names."""
    names = (f'"{name}"' if "," in name else name for name in pattern.columns)
    return _table(pattern.columns.values(), ",".join(names) + "\n", ",")


def _table(columns: Iterable[FloatArray], header: str, delimiter: str = "  ") -> str:
    text = io.StringIO()
    text.write(header)
    np.savetxt(text, np.column_stack(list(columns)), fmt="%.9e", delimiter=delimiter)
    return text.getvalue()


_FORMATS: dict[str, Callable[[Pattern], str]] = {
    "xy": _commented,
    "xye": _xye,
    "dat": _commented,
    "chi": _chi,
    "fxye": _fxye,
    "csv": _csv,
}
KINDS = tuple(_FORMATS)
