r"""Calibrants: substances whose powder rings are known.

A ring of lattice spacing :math:`d` appears at Bragg's angle, :math:`2\theta = 2 \arcsin(\lambda /
2d)`. The catalogue holds cells and atoms; spacings, multiplicities and structure factors are
computed from them.
"""

from __future__ import annotations

import tomllib
from dataclasses import dataclass, replace
from functools import cache
from importlib.resources import files
from itertools import groupby
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from bluesky_azint.errors import RecipeError

if TYPE_CHECKING:
    import gemmi

FloatArray = NDArray[np.float64]
Miller = tuple[int, int, int]


@dataclass(frozen=True, kw_only=True)
class Ring:
    r"""A powder ring.

    Parameters
    ----------
    d
        Lattice spacing in angstrom.
    hkl
        Miller indices; of several reflections with one spacing, those of the strongest.
    multiplicity
        How many lattice planes reflect into the ring.
    intensity
        :math:`m |F|^2`, summed over its reflections, in electrons squared; without thermal motion.
    """

    d: float
    hkl: Miller
    multiplicity: int
    intensity: float


@dataclass(frozen=True, kw_only=True)
class Calibrant:
    """A substance whose powder rings are known.

    Parameters
    ----------
    name
        Name in the catalogue.
    source
        Certificate or paper that the spacings come from.
    rings
        The rings, from the innermost on.
    """

    name: str
    source: str
    rings: tuple[Ring, ...]

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
        Chemical formula or an alias; case, blanks and punctuation do not count.
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
    key = _key(name)
    if key not in _catalogue():
        known = ", ".join(sorted({entry["name"] for entry in _catalogue().values()}))
        raise RecipeError(f"There is no calibrant {name!r} in the catalogue; it has {known}.")
    return _calibrant(key, float(d_min))


@cache
def _calibrant(key: str, d_min: float) -> Calibrant:
    entry = _catalogue()[key]
    rings = _layer_rings(entry, d_min) if "layers" in entry else _crystal_rings(entry, d_min)
    return Calibrant(name=entry["name"], source=entry["source"], rings=rings)


@cache
def _catalogue() -> dict[str, dict[str, Any]]:
    """The entries by name and by alias, spelt as `_key` does."""
    text = files("bluesky_azint").joinpath("calibrants.toml").read_text(encoding="utf-8")
    entries: dict[str, dict[str, Any]] = {}
    for name, entry in tomllib.loads(text).items():
        entry["name"] = name
        entries |= dict.fromkeys(map(_key, [name, *entry["aliases"]]), entry)
    return entries


def _key(name: str) -> str:
    return "".join(filter(str.isalnum, name)).lower()


def _layer_rings(entry: dict[str, Any], d_min: float) -> tuple[Ring, ...]:
    """Orders of a stack of layers, thin against their distance: all are scattered equally."""
    rings = (
        Ring(d=entry["layers"] / order, hkl=(0, 0, order), multiplicity=2, intensity=1.0)
        for order in range(1, entry["orders"] + 1)
    )
    return tuple(ring for ring in rings if ring.d >= d_min)


def _crystal_rings(entry: dict[str, Any], d_min: float) -> tuple[Ring, ...]:
    """Rings of a crystal, reflections of equal spacing put together."""
    import gemmi

    crystal = _crystal(entry)
    calculator = gemmi.StructureFactorCalculatorX(crystal.cell)
    reflections = []
    for indices in gemmi.make_miller_array(crystal.cell, crystal.spacegroup, d_min).tolist():
        planes = _equivalent_planes(indices, crystal.spacegroup)
        amplitude = abs(calculator.calculate_sf_from_small_structure(crystal, indices))
        reflections.append(
            Ring(
                d=crystal.cell.calculate_d(indices),
                hkl=max(planes),
                multiplicity=len(planes),
                intensity=len(planes) * amplitude**2,
            )
        )
    reflections.sort(key=lambda reflection: -reflection.d)
    merged = [_merged(list(same)) for _, same in groupby(reflections, lambda r: round(r.d, 9))]
    # What the atoms cancel beyond what the space group forbids is no ring either: Si 222.
    weakest = 1e-6 * max((ring.intensity for ring in merged), default=0.0)
    return tuple(ring for ring in merged if ring.intensity > weakest)


def _equivalent_planes(indices: list[int], group: gemmi.SpaceGroup) -> set[Miller]:
    """The lattice planes that symmetry makes of one, its back included."""
    images = [operation.apply_to_hkl(indices) for operation in group.operations().sym_ops]
    return {(sign * h, sign * k, sign * l) for h, k, l in images for sign in (1, -1)}


def _merged(same: list[Ring]) -> Ring:
    """One ring of several reflections of equal spacing."""
    strongest = max(same, key=lambda reflection: reflection.intensity)
    return replace(
        strongest,
        multiplicity=sum(reflection.multiplicity for reflection in same),
        intensity=sum(reflection.intensity for reflection in same),
    )


def _crystal(entry: dict[str, Any]) -> gemmi.SmallStructure:
    import gemmi

    crystal = gemmi.SmallStructure()
    crystal.cell = gemmi.UnitCell(*entry["cell"])
    crystal.spacegroup = gemmi.SpaceGroup(entry["space_group"])
    for element, *position in entry["atoms"]:
        site = gemmi.SmallStructure.Site()
        site.element = gemmi.Element(element)
        site.fract = gemmi.Fractional(*position)
        crystal.add_site(site)
    crystal.setup_cell_images()
    # Sites on symmetry elements are met several times when summing over the cell.
    crystal.change_occupancies_to_crystallographic()
    return crystal
