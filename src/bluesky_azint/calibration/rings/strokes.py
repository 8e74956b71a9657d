r"""Rings of grains: spots that lie in a row.

A powder of few grains shows no continuous ring, but spots on it, and each spot has tails of its own
across the ring. So only where spots are counts, not how bright they are: every one is a point
:math:`v`, smoothed along short strokes in many directions with a Gaussian that is long along the
stroke and narrow across. Where several lie in a row, the sum curves most across the stroke along
that row. All in Fourier space,

.. math::
    \hat R_\theta = -(k \cdot n_\theta)^2 \exp\left(-\tfrac12 \sigma_\parallel^2 (k \cdot t_\theta)^2
    - \tfrac12 \sigma_\perp^2 (k \cdot n_\theta)^2\right) \hat v

and the same with :math:`i\, k \cdot n_\theta` for the first derivative.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import fft, ndimage

from bluesky_azint.calibration.rings.cleaning import CleanFrame

FloatArray = NDArray[np.float64]
Floats = NDArray[np.float32]

_ACROSS = 2.0  # pixels
_SPOT = 1.2  # standard deviation of a spot that is looked for, pixels
_BACKGROUND = 12.0  # pixels
_SIGNIFICANT = 5.0  # standard deviations of the noise
_MOST = 4000  # spots
_IN_A_ROW = 2.0  # spots in the middle of one stroke that make a ridge


@dataclass(frozen=True, eq=False)
class Derivatives:
    """How a frame curves across the direction in which it does so most; arrays of frame shape.

    Parameters
    ----------
    curvature, slope
        Second and first derivative, per square pixel and per pixel.
    angle
        Direction of the normal, in radians from the slow axis.
    least
        The curvature that makes a ridge.
    """

    curvature: Floats
    slope: Floats
    angle: Floats
    least: float


def stroke_derivatives(frame: CleanFrame, along: float) -> Derivatives:
    """The derivatives across strokes over spots.

    Parameters
    ----------
    frame
        The frame.
    along
        Standard deviation of a stroke, in pixels.
    """
    values = _spots(frame)
    shape = tuple(fft.next_fast_len(length + int(3 * along), real=True) for length in values.shape)
    inside = tuple(slice(length) for length in values.shape)
    transform = fft.rfft2(values, shape)
    k1 = (2 * np.pi * fft.fftfreq(shape[0])).astype(np.float32)[:, np.newaxis]
    k2 = (2 * np.pi * fft.rfftfreq(shape[1])).astype(np.float32)
    found = [np.full(values.shape, np.inf, np.float32), *np.zeros((2, *values.shape), np.float32)]
    curvature, slope, direction = found
    # Neighbouring directions overlap to half of what a row of spots gives.
    directions = int(np.ceil(np.pi * along / _ACROSS / 1.2))
    for angle in np.arange(directions) * (np.pi / directions):
        cosine, sine = np.float32(np.cos(angle)), np.float32(np.sin(angle))
        across, lengthwise = cosine * k1 + sine * k2, cosine * k2 - sine * k1
        smooth = transform * np.exp(-0.5 * ((along * lengthwise) ** 2 + (_ACROSS * across) ** 2))
        second = fft.irfft2(smooth * -(across**2), shape)[inside]
        first = fft.irfft2(smooth * (1j * across), shape)[inside]
        better = second < curvature
        curvature[better] = second[better]
        slope[better] = first[better]
        direction[better] = angle
    one = 1.0 / (2.0 * np.pi * along * _ACROSS**3)
    return Derivatives(curvature, slope, direction, _IN_A_ROW * one)


def _spots(frame: CleanFrame) -> Floats:
    """1 where a spot is, the brightest of them."""
    smooth = ndimage.gaussian_filter(frame.values, _SPOT, truncate=3.0)
    height = smooth - ndimage.gaussian_filter(frame.values, _BACKGROUND, truncate=2.5)
    noise = 1.0 / (2.0 * np.sqrt(np.pi) * _SPOT)
    top = (smooth == ndimage.maximum_filter(smooth, 5)) & (height > _SIGNIFICANT * noise)
    index = np.flatnonzero(top & frame.valid)
    index = index[np.argsort(-height.flat[index], kind="stable")[:_MOST]]
    spots = np.zeros(smooth.shape, np.float32)
    spots.flat[index] = 1.0
    return spots
