r"""The spaces of a detector behind a sample: each a function of the place and the wavelength.

A place in the laboratory is :math:`(x, y, z)` in metres, horizontal, vertical and along the beam.
With :math:`r = \sqrt{x^2 + y^2}` and :math:`R = \sqrt{r^2 + z^2}`,

.. math::
    2\theta = \mathrm{atan2}(r, z), \qquad
    q = \frac{4\pi}{\lambda}\sin\frac{2\theta}{2} = \frac{4\pi}{\lambda}\frac{r}{\sqrt{2R(R + z)}}

the second form of :math:`q` needing no trigonometry and losing no digits at small angles. Where a
quantity is infinite or not a number, as :math:`d` and :math:`\log q` at the beam, so is its value.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

FloatArray = NDArray[np.float64]


def radius(x: FloatArray, y: FloatArray, z: FloatArray, wavelength: float) -> FloatArray:
    r"""Distance from the beam, in metres: :math:`r = \sqrt{x^2 + y^2}`."""
    return np.sqrt(x * x + y * y)


def two_theta(x: FloatArray, y: FloatArray, z: FloatArray, wavelength: float) -> FloatArray:
    r"""Scattering angle, in radians: :math:`2\theta = \mathrm{atan2}(r, z)`."""
    return np.arctan2(radius(x, y, z, wavelength), z)


def chi(x: FloatArray, y: FloatArray, z: FloatArray, wavelength: float) -> FloatArray:
    r"""Azimuth, in radians from :math:`-\pi` to :math:`\pi`: :math:`\chi = \mathrm{atan2}(y, x)`."""
    return np.arctan2(y, x)


def q_nm(x: FloatArray, y: FloatArray, z: FloatArray, wavelength: float) -> FloatArray:
    r"""Scattering vector, in 1/nm: :math:`q = (4\pi/\lambda)\, r / \sqrt{2R(R + z)}`."""
    r2 = x * x + y * y
    total = np.sqrt(r2 + z * z)
    # R + z vanishes for exact back scattering alone, where r does too and q is 4 pi / lambda.
    forward = 2.0 * total * (total + z)
    with np.errstate(invalid="ignore", divide="ignore"):
        sine = np.where(forward > 0, np.sqrt(r2 / forward), 1.0)
    return (4e-9 * np.pi / wavelength) * sine


def q_angstrom(x: FloatArray, y: FloatArray, z: FloatArray, wavelength: float) -> FloatArray:
    r"""Scattering vector, in 1/angstrom: a tenth of that in 1/nm."""
    return 0.1 * q_nm(x, y, z, wavelength)


def d_spacing(x: FloatArray, y: FloatArray, z: FloatArray, wavelength: float) -> FloatArray:
    r"""Lattice spacing, in metres: :math:`d = 2\pi/q`, infinite at the beam."""
    with np.errstate(divide="ignore"):
        return 2e-9 * np.pi / q_nm(x, y, z, wavelength)


def d_star_squared(x: FloatArray, y: FloatArray, z: FloatArray, wavelength: float) -> FloatArray:
    r"""Reciprocal spacing squared, in 1/nm²: :math:`d^{*2} = (q/2\pi)^2`."""
    return (q_nm(x, y, z, wavelength) / (2.0 * np.pi)) ** 2


def log10_q_m(x: FloatArray, y: FloatArray, z: FloatArray, wavelength: float) -> FloatArray:
    r""":math:`\log_{10} q`, :math:`q` in 1/m; minus infinity at the beam."""
    with np.errstate(divide="ignore"):
        return np.log10(1e9 * q_nm(x, y, z, wavelength))


def log_q_nm(x: FloatArray, y: FloatArray, z: FloatArray, wavelength: float) -> FloatArray:
    r""":math:`\ln q`, :math:`q` in 1/nm; minus infinity at the beam."""
    with np.errstate(divide="ignore"):
        return np.log(q_nm(x, y, z, wavelength))


def log1p_q_nm(x: FloatArray, y: FloatArray, z: FloatArray, wavelength: float) -> FloatArray:
    r""":math:`\ln(1 + q)`, :math:`q` in 1/nm."""
    return np.log1p(q_nm(x, y, z, wavelength))


def log1p_q_angstrom(x: FloatArray, y: FloatArray, z: FloatArray, wavelength: float) -> FloatArray:
    r""":math:`\ln(1 + q)`, :math:`q` in 1/angstrom."""
    return np.log1p(q_angstrom(x, y, z, wavelength))


def arcsinh_q_nm(x: FloatArray, y: FloatArray, z: FloatArray, wavelength: float) -> FloatArray:
    r""":math:`\mathrm{arcsinh}\, q`, :math:`q` in 1/nm."""
    return np.arcsinh(q_nm(x, y, z, wavelength))


def arcsinh_q_angstrom(
    x: FloatArray, y: FloatArray, z: FloatArray, wavelength: float
) -> FloatArray:
    r""":math:`\mathrm{arcsinh}\, q`, :math:`q` in 1/angstrom."""
    return np.arcsinh(q_angstrom(x, y, z, wavelength))


def rectilinear_qx(x: FloatArray, y: FloatArray, z: FloatArray, wavelength: float) -> FloatArray:
    r"""Horizontal :math:`q_x = (4\pi/\lambda) \sin(\mathrm{atan2}(x, z)/2)`, in 1/nm."""
    return (4e-9 * np.pi / wavelength) * np.sin(0.5 * np.arctan2(x, z))


def rectilinear_qy(x: FloatArray, y: FloatArray, z: FloatArray, wavelength: float) -> FloatArray:
    r"""Vertical :math:`q_y = (4\pi/\lambda) \sin(\mathrm{atan2}(y, z)/2)`, in 1/nm."""
    return (4e-9 * np.pi / wavelength) * np.sin(0.5 * np.arctan2(y, z))
