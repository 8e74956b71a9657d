r"""Parallax: a photon that comes in at an angle is counted farther out than where it came in.

It flies on in the sensor until it is absorbed. With :math:`\mu` the attenuation coefficient of the
sensor, :math:`t` its thickness and :math:`\alpha` the angle of incidence, the mean of the way along
the surface is

.. math::
    \langle\delta\rangle = \frac{\sin\alpha}{\mu}
        \left(1 - \frac{\epsilon}{e^\epsilon - 1}\right), \qquad
    \epsilon = \frac{\mu t}{\cos\alpha}

away from the point of normal incidence. This is the model of pyFAI; the pixels are placed where
the photons that they count came in.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from bluesky_azint.attenuation import KEV_METRES, linear_attenuation, materials
from bluesky_azint.errors import GeometryError

FloatArray = NDArray[np.float64]

# The displacement changes by less than 1 % of a step along the surface, even with a sensor of 1 mm
# at 50 mm: five rounds leave nothing of it.
_ROUNDS = 5


@dataclass(frozen=True)
class Sensor:
    """The layer of a detector that absorbs the photons.

    Parameters
    ----------
    material
        What it is made of: Si, Ge, Se, GaAs, CdTe, CZT, Gd2O2S or BaFBr0.85I0.15.
    thickness
        In metres; None for one that absorbs everything.

    Raises
    ------
    GeometryError
        If the material is not known, or the thickness not positive.
    """

    material: str
    thickness: float | None = None

    def __post_init__(self) -> None:
        if self.material not in materials():
            raise GeometryError(
                f"The sensor is made of {self.material!r}, which is not known; known are "
                f"{', '.join(materials())}."
            )
        if self.thickness is not None and not self.thickness > 0:
            raise GeometryError(
                f"The sensor is {self.thickness} m thick; it must be positive, or None for one "
                "that absorbs everything."
            )

    def entrance(self, radius: FloatArray, distance: float, wavelength: float) -> FloatArray:
        """Distance from the PONI at which the photons came in that are counted at ``radius``.

        Parameters
        ----------
        radius
            Distance from the PONI in the plane of the sensor, in metres.
        distance
            From the sample to the PONI, in metres.
        wavelength
            In metres.
        """
        attenuation = linear_attenuation(self.material, KEV_METRES / wavelength)
        entrance = radius
        for _ in range(_ROUNDS):
            shift = mean_displacement(entrance, distance, attenuation, self.thickness)
            entrance = radius - shift
        return entrance


def mean_displacement(
    radius: FloatArray, distance: float, attenuation: float, thickness: float | None
) -> FloatArray:
    """How much farther from the PONI photons are counted than they come in, in metres.

    Parameters
    ----------
    radius
        Distance from the PONI at which they come in, in metres.
    distance
        From the sample to the PONI, in metres.
    attenuation
        Linear attenuation coefficient of the sensor, in 1/m.
    thickness
        Of the sensor, in metres; None for one that absorbs everything.
    """
    ray = np.hypot(radius, distance)
    thick = radius / (ray * attenuation)
    if thickness is None:
        return thick
    depth = attenuation * thickness * ray / distance
    with np.errstate(over="ignore"):  # nothing is left of the ray, and the quotient is zero
        return thick * (1.0 - depth / np.expm1(depth))
