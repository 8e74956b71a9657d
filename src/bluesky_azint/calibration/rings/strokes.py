r"""Ridges of what is not continuous: rings of a few hundred grains, or of a count here and there.

The frame is smoothed along short strokes in many directions, with a Gaussian that is long along the
stroke and narrow across, and curves most across the stroke that lies on a ring. Grains as bright as
they like count no more than a few standard deviations of the noise each. All in Fourier space,

.. math::
    \hat R_\theta = -(k \cdot n_\theta)^2 \exp\left(-\tfrac12 \sigma_\parallel^2 (k \cdot t_\theta)^2
    - \tfrac12 \sigma_\perp^2 (k \cdot n_\theta)^2\right) \hat v

and the same with :math:`i\, k \cdot n_\theta` for the first derivative.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy import fft, ndimage

from bluesky_azint.calibration.rings.cleaning import CleanFrame

FloatArray = NDArray[np.float64]

_ALONG, _ACROSS = 12.0, 2.0  # pixels
_DIRECTIONS = 24
_BACKGROUND = 15.0  # pixels
_CLIP = 3.0  # standard deviations


def stroke_derivatives(
    frame: CleanFrame,
) -> tuple[NDArray[np.float32], NDArray[np.float32], NDArray[np.float32], float]:
    """Second and first derivative across the stroke that curves most, its normal, and the noise.

    Returns
    -------
    curvature, slope
        Of frame shape, per square pixel and per pixel.
    angle
        Direction of the normal, in radians from the slow axis.
    noise
        Standard deviation of the curvature of white noise.
    """
    values = frame.values - ndimage.gaussian_filter(frame.values, _BACKGROUND, truncate=2.5)
    values = np.where(frame.valid, np.clip(values, -_CLIP, _CLIP), 0.0).astype(np.float32)
    shape = tuple(fft.next_fast_len(length + int(3 * _ALONG), real=True) for length in values.shape)
    transform = fft.rfft2(values, shape)
    k1 = (2 * np.pi * fft.fftfreq(shape[0])).astype(np.float32)[:, np.newaxis]
    k2 = (2 * np.pi * fft.rfftfreq(shape[1])).astype(np.float32)
    curvature = np.full(values.shape, np.inf, np.float32)
    slope = np.zeros_like(curvature)
    direction = np.zeros_like(curvature)
    for angle in np.arange(_DIRECTIONS) * (np.pi / _DIRECTIONS):
        across = np.float32(np.cos(angle)) * k1 + np.float32(np.sin(angle)) * k2
        along = np.float32(np.cos(angle)) * k2 - np.float32(np.sin(angle)) * k1
        smoothed = transform * np.exp(-0.5 * ((_ALONG * along) ** 2 + (_ACROSS * across) ** 2))
        second = fft.irfft2(smoothed * -(across**2), shape)[: values.shape[0], : values.shape[1]]
        first = fft.irfft2(smoothed * (1j * across), shape)[: values.shape[0], : values.shape[1]]
        better = second < curvature
        curvature[better] = second[better]
        slope[better] = first[better]
        direction[better] = angle
    noise = np.sqrt(3.0 / (16.0 * np.pi * _ALONG * _ACROSS**5))
    return curvature, slope, direction, float(noise)
