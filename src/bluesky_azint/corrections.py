r"""Corrections: what the signal of a pixel is divided by.

The weight of a pixel is the product of its flat field, its solid angle, the polarization of the
beam, and the share of photons that its sensor absorbs. Each function takes arrays of one shape and
returns an array of that shape.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from bluesky_azint.errors import RecipeError
from bluesky_azint.geometry import Geometry

FloatArray = NDArray[np.float64]


@dataclass(frozen=True, kw_only=True)
class Corrections:
    """What follows from the geometry alone.

    Parameters
    ----------
    solid_angle, pixel_areas
        Whether to divide by the solid angle, and whether the area of a pixel belongs to it.
    polarization_factor, polarization_offset
        See `polarization_from_position`; None does not correct.
    sensor_transmission
        See `absorption_from_incidence`; None does not correct.
    """

    solid_angle: bool = True
    pixel_areas: bool = False
    polarization_factor: float | None = None
    polarization_offset: float = 0.0
    sensor_transmission: float | None = None

    def __call__(self, geometry: Geometry, rows: slice = slice(None)) -> FloatArray:
        """Their product, of each pixel of a block of rows."""
        factors = []
        if self.solid_angle:
            factors.append(geometry.solid_angle(rows, areas=self.pixel_areas))
        if self.polarization_factor is not None:
            factors.append(
                polarization_from_position(
                    *geometry.centres(rows), self.polarization_factor, self.polarization_offset
                )
            )
        if self.sensor_transmission is not None:
            cosine = geometry.cos_incidence(rows)
            factors.append(absorption_from_incidence(cosine, self.sensor_transmission))
        n1, n2 = geometry.shape
        weights = factors[0] if factors else np.ones((len(range(n1)[rows]), n2))
        for factor in factors[1:]:
            weights *= factor
        return weights


def solid_angle_from_incidence(cos_incidence: FloatArray) -> FloatArray:
    r"""Solid angle of a pixel of a flat detector, relative to a pixel at the PONI.

    .. math:: \Omega / \Omega_0 = \cos^3\alpha

    with :math:`\alpha` the angle between the ray and the normal of the detector: two powers for
    the distance, one for the tilt of the pixel.
    """
    return cos_incidence**3


def absorption_from_incidence(cos_incidence: FloatArray, transmission: float) -> FloatArray:
    r"""Share of photons that a phosphor screen absorbs, relative to normal incidence.

    .. math:: A = \frac{1 - t_0^{1/\cos\alpha}}{1 - t_0}

    with :math:`t_0` what the screen transmits at normal incidence: the way through it is longer for
    rays that come in at an angle (Wu, Rodrigues & Mardon, J. Appl. Cryst. 35 (2002) 356).

    Parameters
    ----------
    cos_incidence
        Cosine of the angle of incidence on each pixel.
    transmission
        At normal incidence, 0 (for a screen that absorbs everything) or more, and less than 1.

    Raises
    ------
    RecipeError
        If it is something else.
    """
    if not 0 <= transmission < 1:
        raise RecipeError(
            f"The transmission of the sensor is {transmission}; it must be 0 or more, and less "
            "than 1, for nothing is seen of what is transmitted."
        )
    if transmission == 0:
        return np.ones_like(cos_incidence)
    absorbed: FloatArray = -np.expm1(np.log(transmission) / cos_incidence)
    return absorbed / (1.0 - transmission)


def polarization_from_position(
    y: FloatArray, x: FloatArray, z: FloatArray, factor: float, offset: float = 0.0
) -> FloatArray:
    r"""Intensity scattered into a direction by a partly polarized beam.

    .. math:: P = \tfrac12 [1 + \cos^2 2\theta - f \cos 2(\chi + \delta) \sin^2 2\theta]

    with :math:`f` = 1 for a beam polarized along the fast axis (:math:`\chi = 0`), -1 along the
    slow axis, and 0 for an unpolarized one (Kahn et al., J. Appl. Cryst. 15 (1982) 330).
    Written in the coordinates: :math:`\cos 2\theta = z/R`,
    :math:`\cos 2\chi \sin^2 2\theta = (x^2 - y^2)/R^2` and
    :math:`\sin 2\chi \sin^2 2\theta = 2xy/R^2`.

    Parameters
    ----------
    y, x, z
        Places of the pixels in the laboratory.
    factor
        The degree of linear polarization :math:`f`, from -1 to 1.
    offset
        The angle :math:`\delta`, in radians: the beam is polarized along
        :math:`\chi = -\delta` where :math:`f` = 1.
    """
    x2, y2, z2 = x * x, y * y, z * z
    along = (x2 - y2) * np.cos(2.0 * offset)
    if offset:
        along -= 2.0 * x * y * np.sin(2.0 * offset)
    polarization: FloatArray = 0.5 * (1.0 + (z2 - factor * along) / (x2 + y2 + z2))
    return polarization
