"""Calibrants of the catalogue, and those that files describe: crystals in CIF, spacings in ``.D``.

A ``.D`` file is pyFAI's list of spacings: one line per reflection, its spacing in angstrom and,
behind ``#``, as far as they are known, its indices in brackets, multiplicity and intensity; lines
that begin with ``#`` are comments, of which ``# Calibrant:`` and ``# Ref:`` tell what it is.
"""

from __future__ import annotations

import re
from os import PathLike, fspath
from pathlib import Path

import numpy as np

from bluesky_azint.calibrants import Calibrant, mixture
from bluesky_azint.calibrants import calibrant as known_calibrant
from bluesky_azint.crystals import crystal_rings, merged_rings
from bluesky_azint.errors import FormatError

_NUMBER = r"[+-]?(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?"
_LINE = re.compile(
    rf"\s*(?P<d>{_NUMBER})\s*(?:#\s*(?:\(\s*(?P<hkl>[-+\d\s,]+)\))?"
    rf"(?:\s*(?P<multiplicity>\d+)(?![\d.]))?(?:\s+(?P<intensity>{_NUMBER}))?.*)?"
)


def calibrant(name: str | PathLike[str] | Calibrant, d_min: float = 0.4) -> Calibrant:
    """A calibrant by name, from a CIF or ``.D`` file, or itself.

    Parameters
    ----------
    name
        A name in the catalogue or the path of a file. What follows a plus is in the beam, too, but
        not to calibrate with: ``"CeO2+Al"``, ``"CeO2+foil.cif"``.
    d_min
        The smallest lattice spacing wanted, in angstrom.

    Raises
    ------
    RecipeError
        If the catalogue has no such calibrant.
    FormatError
        If a file is not there, or does not hold what its name promises.

    Examples
    --------
    >>> [round(ring.d, 3) for ring in calibrant("CeO2+Al", d_min=2.0).foreign]
    [2.338, 2.025]
    """
    if isinstance(name, Calibrant):
        return name
    if not isinstance(name, str) or Path(name).is_file():
        return _read(Path(fspath(name)), d_min)
    return mixture(*(_named(part.strip(), d_min) for part in name.split("+")))


def read_cif(path: str | PathLike[str], d_min: float = 0.4) -> Calibrant:
    """A crystal from a CIF: occupancies and thermal motion go into the intensities.

    Its rings reach to the first 5000 reflections at most.

    Raises
    ------
    FormatError
        If the file is no CIF of a small structure, or tells no cell or no space group.
    """
    import gemmi

    path = _existing(path)
    try:
        document = gemmi.cif.read(fspath(path))
        crystals = [gemmi.make_small_structure_from_block(block) for block in document]
    except (ValueError, RuntimeError) as error:
        raise FormatError(f"{path} cannot be read as a CIF: {error}.") from error
    # Without a cell there is one of 1 x 1 x 1: blocks of bibliography, say.
    described = [
        (block, c) for block, c in zip(document, crystals, strict=True) if c.cell.volume > 1
    ]
    if not described:
        raise FormatError(
            f"{path} has no cell: _cell_length_a and its like are missing, or they are those of "
            "mmCIF, which describes macromolecules."
        )
    block, crystal = next((found for found in described if len(found[1].sites)), described[0])
    if crystal.spacegroup is None:
        raise FormatError(
            f"{path}, block {block.name!r}, has no space group that is known: "
            "_space_group_name_H-M_alt or _space_group_symop_operation_xyz must tell it."
        )
    crystal.change_occupancies_to_crystallographic()
    rings = crystal_rings(crystal, d_min)
    return Calibrant(name=path.stem, source=f"{path.name}, block {block.name}", rings=rings)


def read_d(path: str | PathLike[str], d_min: float = 0.0) -> Calibrant:
    """Spacings from a ``.D`` file; intensities as it gives them, which are relative.

    Where it gives some, reflections without one have none; where it gives none, all have 1.

    Raises
    ------
    FormatError
        If the file is not text, has a line that gives no spacing, or no spacing at all.
    """
    path = _existing(path)
    try:
        lines = path.read_text(encoding="utf-8-sig").splitlines()
    except UnicodeDecodeError as error:
        raise FormatError(f"{path} is no list of spacings: it is not text.") from error
    reflections = [
        _reflection(line, f"{path}, line {number}")
        for number, line in enumerate(lines, start=1)
        if line.strip() and not line.lstrip().startswith("#")
    ]
    if not reflections:
        raise FormatError(f"{path} lists no spacing; it wants one in angstrom in each line.")
    measured = np.array([reflection[3] for reflection in reflections])
    rings = merged_rings(
        np.array([reflection[0] for reflection in reflections]),
        np.array([reflection[1] for reflection in reflections]),
        np.array([reflection[2] for reflection in reflections]),
        np.ones_like(measured) if np.isnan(measured).all() else np.nan_to_num(measured),
    )
    return Calibrant(
        name=path.stem,
        source=_comment(lines, "Ref") or path.name,
        rings=tuple(ring for ring in rings if ring.d >= d_min),
    )


def _named(name: str, d_min: float) -> Calibrant:
    path = Path(name)
    return _read(path, d_min) if path.suffix.lower() in _READERS else known_calibrant(name, d_min)


def _read(path: Path, d_min: float) -> Calibrant:
    if path.suffix.lower() not in _READERS:
        raise FormatError(f"{path} does not describe a calibrant: it is no .cif and no .D file.")
    return _READERS[path.suffix.lower()](path, d_min)


_READERS = {".cif": read_cif, ".d": read_d}


def _existing(path: str | PathLike[str]) -> Path:
    if not Path(path).is_file():
        raise FormatError(f"There is no file {fspath(path)}.")
    return Path(path)


def _reflection(line: str, place: str) -> tuple[float, list[int], int, float]:
    """Spacing, indices, multiplicity and intensity, NaN where there is none, in a line."""
    found = _LINE.fullmatch(line)
    if found is None or not float(found["d"]) > 0:
        raise FormatError(f"{place}, gives no spacing in angstrom: {line.strip()!r}.")
    indices = [int(index) for index in re.findall(r"[-+]?\d+", found["hkl"] or "")]
    return (
        float(found["d"]),
        indices if len(indices) == 3 else [0, 0, 0],
        int(found["multiplicity"] or 1),
        float(found["intensity"] or "nan"),
    )


def _comment(lines: list[str], key: str) -> str:
    """What stands behind a key in the comments."""
    found = (re.fullmatch(rf"#\s*{key}:\s*(.+?)\s*", line.strip()) for line in lines)
    return next((match[1] for match in found if match), "")
