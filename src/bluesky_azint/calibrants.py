r"""Calibrants: substances whose powder rings are known.

A ring of lattice spacing :math:`d` appears at Bragg's angle, :math:`2\theta = 2 \arcsin(\lambda /
2d)`. The catalogue holds cells and atoms; spacings, multiplicities and structure factors are
computed from them.
"""

from __future__ import annotations

import tomllib
from dataclasses import dataclass, replace
from difflib import get_close_matches
from functools import cache
from importlib.resources import files
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from bluesky_azint.crystals import Ring, crystal_rings
from bluesky_azint.errors import RecipeError

if TYPE_CHECKING:
    import gemmi

__all__ = ["Calibrant", "Ring", "calibrant", "calibrant_names", "mixture", "ring_two_theta"]

FloatArray = NDArray[np.float64]


@dataclass(frozen=True, kw_only=True)
class Calibrant:
    """A substance whose powder rings are known.

    Parameters
    ----------
    name
        Name in the catalogue, or of the file that describes it.
    source
        Certificate or paper that the spacings come from.
    rings
        The rings, from the innermost on.
    foreign
        Rings of other substances in the beam, a foil say: known, but not to calibrate with.
    """

    name: str
    source: str
    rings: tuple[Ring, ...]
    foreign: tuple[Ring, ...] = ()

    @property
    def d(self) -> FloatArray:
        """Lattice spacings in angstrom, falling."""
        return np.array([ring.d for ring in self.rings])

    def two_theta(self, wavelength: float) -> FloatArray:
        """Scattering angles in radians of the rings there are at a wavelength in metres."""
        angles = ring_two_theta(self.d, wavelength)
        return angles[np.isfinite(angles)]


def ring_two_theta(d: ArrayLike, wavelength: float) -> FloatArray:
    r"""Scattering angle of a lattice spacing, in radians.

    .. math:: 2\theta = 2 \arcsin \frac{\lambda}{2d}

    Parameters
    ----------
    d
        Lattice spacings in angstrom, of any shape.
    wavelength
        In metres.

    Returns
    -------
    Of the shape of ``d``; NaN where the wavelength is too long to be reflected.

    Examples
    --------
    >>> float(np.rad2deg(ring_two_theta(4.156826, 0.5e-10)).round(6))
    6.895932
    """
    sine = wavelength * 1e10 / (2.0 * np.asarray(d, dtype=np.float64))
    return 2.0 * np.arcsin(np.where(sine <= 1.0, sine, np.nan))


def calibrant(name: str, d_min: float = 0.4) -> Calibrant:
    """The calibrant of that name in the catalogue.

    Parameters
    ----------
    name
        Chemical formula or an alias; case, blanks and punctuation do not count. What follows a plus
        is in the beam, too, but not to calibrate with: ``"CeO2+Al"`` is ceria on aluminium foil.
    d_min
        The smallest lattice spacing wanted, in angstrom.

    Raises
    ------
    RecipeError
        If the catalogue has no such calibrant.

    Examples
    --------
    >>> [round(ring.d, 4) for ring in calibrant("CeO2").rings[:3]]
    [3.1244, 2.7058, 1.9133]
    """
    return mixture(*(_calibrant(_known(part), float(d_min)) for part in name.split("+")))


def mixture(main: Calibrant, *others: Calibrant) -> Calibrant:
    """A calibrant with other substances in the beam, whose rings become its foreign ones."""
    if not others:
        return main
    foreign = [ring for other in others for ring in (*other.rings, *other.foreign)]
    return replace(
        main,
        name="+".join(part.name for part in (main, *others)),
        source="; with ".join(part.source for part in (main, *others)),
        foreign=tuple(sorted([*main.foreign, *foreign], key=lambda ring: -ring.d)),
    )


def calibrant_names() -> list[str]:
    """The names of the calibrants in the catalogue, without their aliases."""
    return sorted({entry["name"] for entry in _catalogue().values()}, key=str.lower)


@cache
def _calibrant(key: str, d_min: float) -> Calibrant:
    entry = _catalogue()[key]
    d_min = max(d_min, entry.get("d_min", 0.0))
    if "cell" in entry:
        rings = crystal_rings(_crystal(entry), d_min)
    else:
        rings = tuple(ring for ring in _listed_rings(entry) if ring.d >= d_min)
    return Calibrant(name=entry["name"], source=entry["source"], rings=rings)


def _known(name: str) -> str:
    """The key of a name in the catalogue."""
    key = _key(name)
    if key in _catalogue():
        return key
    matches = get_close_matches(key, _catalogue(), n=5)
    near = sorted({_catalogue()[match]["name"] for match in matches})
    raise RecipeError(
        f"There is no calibrant {name.strip()!r} in the catalogue"
        + (
            f"; near it are {', '.join(near)}"
            if near
            else f"; it has {', '.join(calibrant_names())}"
        )
        + ". Any other is read from a CIF or a .D file: give its path."
    )


@cache
def _catalogue() -> dict[str, dict[str, Any]]:
    """The entries by name and by alias, spelt as `_key` does."""
    text = files("bluesky_azint").joinpath("calibrants.toml").read_text(encoding="utf-8")
    listed = tomllib.loads(text)
    entries: dict[str, dict[str, Any]] = {}
    for name, entry in listed.items():
        whole = {**listed[entry["like"]], "aliases": [], **entry} if "like" in entry else entry
        whole = {**whole, "name": name}
        entries |= dict.fromkeys(map(_key, [name, *whole.get("aliases", [])]), whole)
    return entries


def _key(name: str) -> str:
    return "".join(filter(str.isalnum, name)).lower()


def _listed_rings(entry: dict[str, Any]) -> list[Ring]:
    """Rings of no crystal: orders of a stack of layers, or spacings alone."""
    if "spacings" in entry:
        return [Ring(d=d, hkl=(0, 0, 0), multiplicity=1, intensity=1.0) for d in entry["spacings"]]
    # Layers thin against their distance scatter into all orders equally.
    return [
        Ring(d=entry["layers"] / order, hkl=(0, 0, order), multiplicity=2, intensity=1.0)
        for order in range(1, entry["orders"] + 1)
    ]


def _crystal(entry: dict[str, Any]) -> gemmi.SmallStructure:
    import gemmi

    crystal = gemmi.SmallStructure()
    crystal.spacegroup = gemmi.SpaceGroup(entry["space_group"])
    crystal.cell = gemmi.UnitCell(*_cell(entry["cell"], crystal.spacegroup.crystal_system_str()))
    for element, *position in entry.get("atoms", []):
        site = gemmi.SmallStructure.Site()
        site.element = gemmi.Element(element)
        site.fract = gemmi.Fractional(*position)
        crystal.add_site(site)
    crystal.setup_cell_images()
    # Sites on symmetry elements are met several times when summing over the cell.
    crystal.change_occupancies_to_crystallographic()
    return crystal


def _cell(numbers: list[float], system: str) -> tuple[float, ...]:
    """Edges and angles of a cell, of which the list holds those that its symmetry leaves open."""
    match system, numbers:
        case "cubic", [a]:
            return a, a, a, 90, 90, 90
        case "tetragonal", [a, c]:
            return a, a, c, 90, 90, 90
        case "trigonal" | "hexagonal", [a, c]:
            return a, a, c, 90, 90, 120
    return tuple(numbers)
