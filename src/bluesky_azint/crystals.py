r"""Powder rings of a crystal, computed from its cell, its symmetry and its atoms.

All lattice planes of one spacing reflect into one ring. Its intensity is :math:`m |F|^2`, the
multiplicity times the structure factor squared, summed over what reflects there.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    import gemmi

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]
Miller = tuple[int, int, int]

# Rings of more reflections than that lie too close to be told apart, and cost seconds.
_MOST = 5000
_SAME = 1e-9  # relative difference of spacings that are one: symmetry makes them so


@dataclass(frozen=True, kw_only=True)
class Ring:
    r"""A powder ring.

    Parameters
    ----------
    d
        Lattice spacing in angstrom.
    hkl
        Miller indices; of several reflections with one spacing, those of the strongest. (0, 0, 0)
        where they are not known.
    multiplicity
        How many lattice planes reflect into the ring; 1 where it is not known.
    intensity
        :math:`m |F|^2`, summed over its reflections, in electrons squared; without thermal motion
        unless a file tells of it. Where the atoms are not known, all :math:`|F|^2` count as 1.
    """

    d: float
    hkl: Miller
    multiplicity: int
    intensity: float


def crystal_rings(crystal: gemmi.SmallStructure, d_min: float) -> tuple[Ring, ...]:
    """Rings of a crystal down to a spacing in angstrom, or its first 5000 reflections.

    Parameters
    ----------
    crystal
        With its space group, and its images set up; where it has no atoms, all reflections that the
        space group allows count as equally strong.
    d_min
        The smallest lattice spacing wanted, in angstrom.
    """
    import gemmi

    laue = crystal.spacegroup.operations()
    if not laue.is_centrosymmetric():
        laue.add_inversion()
    reach = max(d_min, _reach(crystal.cell.volume, len(laue.sym_ops) * len(laue.cen_ops)))
    hkl = gemmi.make_miller_array(crystal.cell, crystal.spacegroup, reach)
    multiplicity = len(laue.sym_ops) // laue.epsilon_factor_without_centering_array(hkl)
    intensity = multiplicity * _squared_amplitudes(crystal, hkl)
    d = crystal.cell.calculate_d_array(hkl)
    rings = merged_rings(d, _leading(hkl, laue), multiplicity, intensity)
    # What the atoms cancel beyond what the space group forbids is no ring either: Si 222.
    weakest = 1e-6 * max((ring.intensity for ring in rings), default=0.0)
    return tuple(ring for ring in rings if ring.intensity > weakest)


def merged_rings(
    d: FloatArray,
    hkl: NDArray[np.integer],
    multiplicity: NDArray[np.integer],
    intensity: FloatArray,
) -> tuple[Ring, ...]:
    """Rings from the innermost on, of reflections (n,), (n, 3), (n,), (n,) of which some coincide."""
    order = np.argsort(-d, kind="stable")
    starts = np.flatnonzero(np.diff(d[order], prepend=np.inf) < -_SAME * d[order])
    rings = []
    for same in np.split(order, starts[1:]) if len(order) else []:
        strongest = same[np.argmax(intensity[same])]
        rings.append(
            Ring(
                d=float(d[strongest]),
                hkl=(int(hkl[strongest, 0]), int(hkl[strongest, 1]), int(hkl[strongest, 2])),
                multiplicity=int(multiplicity[same].sum()),
                intensity=float(intensity[same].sum()),
            )
        )
    return tuple(rings)


def _reach(volume: float, symmetry: int) -> float:
    """The spacing down to which a cell has as many independent reflections as are wanted."""
    return float(np.cbrt(4.0 / 3.0 * np.pi * volume / (symmetry * _MOST)))


def _squared_amplitudes(crystal: gemmi.SmallStructure, hkl: NDArray[np.int32]) -> FloatArray:
    import gemmi

    if not len(crystal.sites):
        return np.ones(len(hkl))
    calculator = gemmi.StructureFactorCalculatorX(crystal.cell)
    amplitude = calculator.calculate_sf_from_small_structure
    return np.array([abs(amplitude(crystal, indices)) ** 2 for indices in hkl.tolist()])


def _leading(hkl: NDArray[np.int32], laue: gemmi.GroupOps) -> IntArray:
    """Of the equivalents of each reflection the one that is usually named.

    It has the fewest minus signs; then the largest h, then k.
    """
    rotations = np.array([operation.rot for operation in laue.sym_ops]) // laue.sym_ops[0].DEN
    images: IntArray = np.einsum("ni,oij->noj", hkl.astype(np.int64), rotations)
    base = 2 * np.abs(images).max(initial=0) + 1
    rank = (images >= 0).sum(axis=2) * base**3 + images @ np.array([base**2, base, 1])
    return np.take_along_axis(images, rank.argmax(axis=1)[:, None, None], axis=1)[:, 0]
