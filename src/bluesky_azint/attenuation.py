"""Attenuation of X-rays in the materials of sensors, from tables of NIST."""

from __future__ import annotations

import tomllib
from functools import cache
from importlib.resources import files
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bluesky_azint.errors import GeometryError

KEV_METRES = 12.398419843320026e-10
"""Photon energy in keV times wavelength in metres: h c / e, exact since the SI of 2019."""


def linear_attenuation(material: str, energy: float) -> float:
    """Linear attenuation coefficient, in 1/m.

    Parameters
    ----------
    material
        One of `materials`.
    energy
        Of the photons, in keV.

    Raises
    ------
    GeometryError
        If the material or the energy is not in the tables.

    Examples
    --------
    >>> round(linear_attenuation("Si", 20.0), 1)
    1039.7
    """
    known = _tables()["materials"].get(material)
    if known is None:
        raise GeometryError(
            f"The attenuation of {material!r} is not known; known are {', '.join(materials())}."
        )
    elements = _tables()["elements"]
    parts = {
        symbol: number * elements[symbol]["weight"] for symbol, number in known["atoms"].items()
    }
    mass = sum(parts.values())
    total = sum(share / mass * _element(symbol, energy) for symbol, share in parts.items())
    return float(total * known["density"] * 100.0)


def materials() -> list[str]:
    """The materials that are known, as pyFAI names them."""
    return list(_tables()["materials"])


def _element(symbol: str, energy: float) -> float:
    """Mass attenuation coefficient of an element, in cm2/g; on an edge, the value above it."""
    table = _tables()["elements"][symbol]
    energies, values = np.array(table["energy"]), np.array(table["attenuation"])
    if not energies[0] <= energy <= energies[-1]:
        raise GeometryError(
            f"The attenuation of {symbol} is known from {energies[0]:g} to {energies[-1]:g} keV, "
            f"not at {energy:g} keV."
        )
    upper = min(int(np.searchsorted(energies, energy, side="right")), len(energies) - 1)
    between: NDArray[np.intp] = np.array([upper - 1, upper])
    logarithm = np.interp(np.log(energy), np.log(energies[between]), np.log(values[between]))
    return float(np.exp(logarithm))


@cache
def _tables() -> dict[str, Any]:
    text = files("bluesky_azint").joinpath("attenuation.toml").read_text(encoding="utf-8")
    return tomllib.loads(text)
