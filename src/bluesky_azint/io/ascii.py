"""Patterns as text: ``.xy`` with a header that tells where they come from, ``.csv`` for tables.

``.xy`` has two or three columns, the radial axis, the intensity and its standard error, below
comment lines with the geometry (as a PONI file), the recipe and the versions: what pyFAI, Dioptas
and ``numpy.loadtxt`` read. ``.csv`` has the same columns under their names, and nothing else.
"""

from __future__ import annotations

import io
from collections.abc import Mapping
from importlib.metadata import version
from pathlib import Path

import numpy as np

from bluesky_azint.errors import FormatError
from bluesky_azint.geometry import Geometry
from bluesky_azint.io.poni import poni_lines
from bluesky_azint.reduction.recipe import Recipe
from bluesky_azint.reduction.result import IntegrationResult

KINDS = ("xy", "csv")


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
    """Write one pattern, as the suffix of the path says: ``.xy`` or ``.csv``.

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
        What else the header of a ``.xy`` file is to tell.
    force
        Whether to replace a file that is there.

    Raises
    ------
    FormatError
        If the file is there already or cannot be written, its suffix is another, or the result is
        not one pattern.
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
    """The text that `write_ascii` writes; ``kind`` is ``"xy"`` or ``"csv"``.

    Raises
    ------
    FormatError
        If there is no such kind, or the result is not one pattern.
    """
    if kind not in KINDS:
        raise FormatError(f"There is no text format {kind!r}; the formats are {', '.join(KINDS)}.")
    columns = _columns(result, frame)
    table = np.column_stack(list(columns.values()))
    text = io.StringIO()
    if kind == "csv":
        np.savetxt(text, table, fmt="%.9e", delimiter=",", header=",".join(columns), comments="")
        return text.getvalue()
    header = [
        f"bluesky-azint {version('bluesky-azint')}, engine {result.engine}",
        *(f"{key}: {value}" for key, value in (provenance or {}).items()),
        *poni_lines(geometry),
        *(f"{key}: {value}" for key, value in recipe.to_dict().items()),
        "  ".join(columns),
    ]
    lines = "\n".join(header).splitlines()  # nothing but the table may stand outside a comment
    np.savetxt(text, table, fmt="%.9e", delimiter="  ", header="\n".join(lines))
    return text.getvalue()


def _columns(result: IntegrationResult, frame: int | None) -> dict[str, np.ndarray]:
    columns = {"intensity": result.intensity, "sigma": result.sigma}
    patterns = {name: values for name, values in columns.items() if values is not None}
    if frame is not None and result.intensity.ndim == 2:
        patterns = {name: values[frame] for name, values in patterns.items()}
    if any(values.shape != result.radial.shape for values in patterns.values()):
        raise FormatError(
            f"The result has the shape {result.intensity.shape}, and a text file holds one "
            f"pattern of {result.radial.size} points; tell which frame is meant."
        )
    return {result.unit: result.radial, **patterns}
