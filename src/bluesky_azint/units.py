r"""Radial units: what a pattern is plotted against.

A unit is a function of the place of a pixel in the laboratory, :math:`(y, x, z)` in metres with
:math:`z` along the beam, and of the wavelength. With :math:`r = \sqrt{x^2 + y^2}` and
:math:`R = \sqrt{r^2 + z^2}`,

.. math::
    2\theta = \mathrm{atan2}(r, z), \qquad
    q = \frac{4\pi}{\lambda}\sin\frac{2\theta}{2} = \frac{4\pi}{\lambda}\frac{r}{\sqrt{2R(R + z)}}

the second form of :math:`q` needing no trigonometry and losing no digits at small angles.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from bluesky_azint.errors import GeometryError, RecipeError

if TYPE_CHECKING:
    from bluesky_azint.geometry import Position

FloatArray = NDArray[np.float64]
Equation = Callable[[FloatArray, FloatArray, FloatArray, float], FloatArray]


@dataclass(frozen=True)
class Unit:
    """A radial quantity in a unit of measurement.

    Parameters
    ----------
    name
        As users write it, and as pyFAI does: ``"q_A^-1"``.
    symbol, measure
        What stands on an axis: ``"q"`` and ``"1/angstrom"``.
    long_name
        The quantity in words, for files.
    equation
        ``equation(x, y, z, wavelength)``, all in metres, gives the quantity.
    scale
        What that is multiplied by to be in this unit.
    needs_wavelength
        Whether the equation uses it; it is then never called without.
    positive
        Whether an automatic range starts at zero at the lowest.
    period
        Of an angle, a full turn in this unit; None for what does not come back to itself.
    """

    name: str
    symbol: str
    measure: str
    long_name: str
    equation: Equation
    scale: float = 1.0
    needs_wavelength: bool = False
    positive: bool = True
    period: float | None = None

    def __call__(self, place: Position, wavelength: float | None) -> FloatArray:
        """The quantity at places in the laboratory.

        Raises
        ------
        GeometryError
            If the unit needs a wavelength and there is none.
        """
        if wavelength is None:
            if self.needs_wavelength:
                raise GeometryError(
                    f"The unit {self.name} needs a wavelength and the geometry has none; set it "
                    "with dataclasses.replace(geometry, wavelength=...), in metres."
                )
            wavelength = np.nan
        return self.equation(place.x, place.y, place.z, wavelength) * self.scale

    @property
    def label(self) -> str:
        """What stands beside an axis."""
        return f"{self.symbol} ({self.measure})"


def r_from_position(x: FloatArray, y: FloatArray, z: FloatArray, wavelength: float) -> FloatArray:
    r"""Distance from the beam, in metres: :math:`r = \sqrt{x^2 + y^2}`."""
    return np.sqrt(x * x + y * y)


def two_theta_from_position(
    x: FloatArray, y: FloatArray, z: FloatArray, wavelength: float
) -> FloatArray:
    r"""Scattering angle, in radians: :math:`2\theta = \mathrm{atan2}(r, z)`."""
    return np.arctan2(r_from_position(x, y, z, wavelength), z)


def chi_from_position(x: FloatArray, y: FloatArray, z: FloatArray, wavelength: float) -> FloatArray:
    r"""Azimuth, in radians from :math:`-\pi` to :math:`\pi`: :math:`\chi = \mathrm{atan2}(y, x)`."""
    return np.arctan2(y, x)


def q_from_position(x: FloatArray, y: FloatArray, z: FloatArray, wavelength: float) -> FloatArray:
    r"""Scattering vector, in 1/nm: :math:`q = (4\pi/\lambda)\, r / \sqrt{2R(R + z)}`."""
    r2 = x * x + y * y
    total = np.sqrt(r2 + z * z)
    # R + z vanishes for exact back scattering alone, where r does too and q is 4 pi / lambda.
    forward = 2.0 * total * (total + z)
    with np.errstate(invalid="ignore", divide="ignore"):
        sine = np.where(forward > 0, np.sqrt(r2 / forward), 1.0)
    return (4e-9 * np.pi / wavelength) * sine


TTH_RAD = Unit("2th_rad", "2θ", "rad", "2theta", two_theta_from_position)
TTH_DEG = Unit("2th_deg", "2θ", "degree", "2theta", two_theta_from_position, scale=180.0 / np.pi)
Q_NM = Unit("q_nm^-1", "q", "1/nm", "q", q_from_position, needs_wavelength=True)
Q_A = Unit("q_A^-1", "q", "1/angstrom", "q", q_from_position, scale=0.1, needs_wavelength=True)
R_MM = Unit("r_mm", "r", "mm", "radius", r_from_position, scale=1e3)
CHI_RAD = Unit(
    "chi_rad", "χ", "rad", "azimuth", chi_from_position, positive=False, period=2.0 * np.pi
)
CHI_DEG = Unit(
    "chi_deg",
    "χ",
    "degree",
    "azimuth",
    chi_from_position,
    scale=180.0 / np.pi,
    positive=False,
    period=360.0,
)

UNITS = {unit.name: unit for unit in (Q_A, Q_NM, TTH_DEG, TTH_RAD, R_MM, CHI_DEG, CHI_RAD)}


def unit(name: str | Unit) -> Unit:
    """The unit of that name; a unit is returned as it is.

    Raises
    ------
    RecipeError
        If there is no such unit.
    """
    if isinstance(name, Unit):
        return name
    try:
        return UNITS[name]
    except (KeyError, TypeError):
        raise RecipeError(
            f"There is no radial unit {name!r}; the units are {', '.join(UNITS)}."
        ) from None
