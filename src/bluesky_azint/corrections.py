r"""Corrections: what the signal of a pixel is divided by.

The weight of a pixel is the product of its flat field, its solid angle and the polarization of
the beam. Each function takes arrays of one shape and returns an array of that shape.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

FloatArray = NDArray[np.float64]


def solid_angle_from_incidence(cos_incidence: FloatArray) -> FloatArray:
    r"""Solid angle of a pixel of a flat detector, relative to a pixel at the PONI.

    .. math:: \Omega / \Omega_0 = \cos^3\alpha

    with :math:`\alpha` the angle between the ray and the normal of the detector: two powers for
    the distance, one for the tilt of the pixel.
    """
    return cos_incidence**3


def polarization_from_position(
    y: FloatArray, x: FloatArray, z: FloatArray, factor: float
) -> FloatArray:
    r"""Intensity scattered into a direction by a partly polarized beam.

    .. math:: P = \tfrac12 [1 + \cos^2 2\theta - f \cos 2\chi \sin^2 2\theta]

    with :math:`f` = 1 for a beam polarized along the fast axis (:math:`\chi = 0`), -1 along the
    slow axis, and 0 for an unpolarized one (Kahn et al., J. Appl. Cryst. 15 (1982) 330).
    Written in the coordinates: :math:`\cos 2\theta = z/R` and
    :math:`\cos 2\chi \sin^2 2\theta = (x^2 - y^2)/R^2`.
    """
    x2, y2, z2 = x * x, y * y, z * z
    return 0.5 * (1.0 + (z2 - factor * (x2 - y2)) / (x2 + y2 + z2))
