r"""Frames of a powder, computed: what a detector would count.

Around the beam lie the cones of the rings. The power in a cone goes as :math:`m |F|^2 /
\sin\theta`, and spreads over a circle that grows with :math:`\sin 2\theta`; so per solid angle

.. math:: I(2\theta) \propto \sum_k \frac{m_k |F_k|^2}{\sin\theta_k \sin 2\theta_k}
          \exp\frac{-(2\theta - 2\theta_k)^2}{2 w^2}

A pixel counts that times its solid angle and the polarization of the beam, which the reduction
takes out again.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from bluesky_azint.calibrants import Calibrant
from bluesky_azint.corrections import polarization_from_position
from bluesky_azint.errors import GeometryError
from bluesky_azint.geometry import Geometry
from bluesky_azint.units import TTH_RAD

FloatArray = NDArray[np.float64]
POLARIZATION = 0.99  # of an undulator beam in the plane of the ring
_ROWS = 256  # of the detector at a time, for the sake of memory


def debye_scherrer(
    geometry: Geometry,
    calibrant: Calibrant,
    *,
    counts: float = 1000.0,
    background: float = 10.0,
    width: float | None = None,
) -> NDArray[np.float32]:
    """Counts expected in every pixel from a powder.

    Parameters
    ----------
    geometry
        Where the detector stands; with a wavelength.
    calibrant
        The powder.
    counts
        In the brightest pixel, above the background.
    background
        Counts per pixel at the PONI between the rings.
    width
        Standard deviation of a ring in radians; None for 1.2 pixels as the sample sees them.

    Returns
    -------
    Of detector shape, float32; also where the detector has gaps.

    Raises
    ------
    GeometryError
        If the geometry has no wavelength, or no ring hits the detector.
    """
    if geometry.wavelength is None:
        raise GeometryError(
            f"Rings of {calibrant.name} cannot be placed: the geometry has no wavelength. Set it "
            "with dataclasses.replace(geometry, wavelength=...), in metres."
        )
    detector = geometry.detector
    width = width or 1.2 * max(detector.pixel1, detector.pixel2) / abs(geometry.dist)
    axis, pattern = powder_pattern(calibrant, geometry.wavelength, width)
    rings = np.empty(geometry.shape, np.float32)
    weight = np.empty(geometry.shape, np.float32)
    for start in range(0, geometry.shape[0], _ROWS):
        rows = slice(start, start + _ROWS)
        place = geometry.centres(rows)
        weight[rows] = geometry.solid_angle(rows)
        weight[rows] *= polarization_from_position(*place, factor=POLARIZATION)
        rings[rows] = np.interp(TTH_RAD(place, None), axis, pattern)
    rings *= weight
    brightest = rings.max()
    if not brightest > 0:
        raise GeometryError(
            f"No ring of {calibrant.name} hits the detector {detector.name!r}; look at the "
            "distance, the PONI and the wavelength of the geometry, all in metres."
        )
    rings *= counts / brightest
    rings += background * weight
    return rings


def powder_pattern(
    calibrant: Calibrant, wavelength: float, width: float
) -> tuple[FloatArray, FloatArray]:
    """Scattering angles in radians, and the intensity per solid angle there.

    Parameters
    ----------
    calibrant
        The powder.
    wavelength
        In metres.
    width
        Standard deviation of a ring in radians.
    """
    step = width / 20  # a straight line between two points is then right to 3e-4
    axis = np.arange(0.0, np.pi + step, step)
    pattern = np.zeros_like(axis)
    two_thetas = calibrant.two_theta(wavelength)
    for ring, two_theta in zip(calibrant.rings, two_thetas, strict=False):
        near = slice(*np.searchsorted(axis, (two_theta - 6 * width, two_theta + 6 * width)))
        height = ring.intensity / (np.sin(two_theta / 2) * np.sin(two_theta))
        pattern[near] += height * np.exp(-0.5 * ((axis[near] - two_theta) / width) ** 2)
    return axis, pattern
