"""The first look: where rings are when the geometry is only right to a few pixels.

Every sector is averaged into a profile with steps of a pixel, and a Gaussian on a straight
background is fitted at every place of the profile and in several widths. The square root of the
counts is used, whose noise is the same everywhere, so that a bright grain is not the whole ring.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from bluesky_azint.calibration.cone import Cone
from bluesky_azint.calibration.refinement.lines import Lines
from bluesky_azint.calibration.refinement.observations import (
    Observations,
    lines_seen,
    middles,
    observations,
    renumbered,
)
from bluesky_azint.calibration.refinement.sampling import Pixels, Sampler
from bluesky_azint.calibration.surface import FloatArray

_HALF = 25  # pixels on each side of a line
_SEARCH = 10  # pixels that a ring may be off
_STEP = 0.5
_WIDTHS = (1.5, 2.2, 3.3, 5.0, 7.5, 11.0, 16.0)  # pixels
_NARROWEST = 4.0  # pixels to the middle between two lines that can still be told apart
_SEEN = 5.0  # standard errors
_FEWEST = 3  # sectors that make a line


def approach(
    sampler: Sampler, cone: Cone, lines: Lines
) -> tuple[Lines, Observations, NDArray[np.intp]]:
    """Look for rings near lines.

    Returns
    -------
    lines
        Those that were seen, with their widths.
    observations
        Of these.
    absent
        Rings that were looked for and are not there.
    """
    lines = lines[lines.reach > _NARROWEST * lines.scale]
    lines = lines[lines.apart(_half_width(lines))]
    half_width = _half_width(lines)
    pixels = sampler.near(cone, lines, half_width, None)
    pixels, line = renumbered(pixels, np.full(len(lines), 2.0 * _HALF))
    size = len(line)
    mean, count, noise = _profiles(pixels, lines, size)
    allowed = np.minimum(_SEARCH, 0.6 * lines.reach / lines.scale)
    gains, shifts = zip(
        *(_matched(mean, count, noise, width, allowed[line]) for width in _WIDTHS), strict=True
    )
    gain, shift = np.array(gains), np.array(shifts)
    total = np.array([np.bincount(line, one, len(lines)) for one in gain])
    wider = np.array(_WIDTHS)[:, np.newaxis] * lines.scale > 0.7 * half_width
    best = np.where(wider, -1.0, total).argmax(axis=0)
    gain, shift = gain[best[line], np.arange(size)], shift[best[line], np.arange(size)]
    fwhm = np.array(_WIDTHS)[best] * lines.scale
    significance = np.sqrt(gain)
    seen = significance > _SEEN
    seen &= lines_seen(lines, line[seen], _FEWEST)[line]
    kept = lines_seen(lines, line[seen], 1)
    sigma = np.maximum(fwhm[line] / np.maximum(significance, 1.0), 0.05 * lines.scale[line])
    found = observations(
        sampler.surface,
        cone,
        (np.cumsum(kept) - 1)[line],
        middles(sampler.surface.shape[1], pixels, size),
        shift * lines.scale[line],
        sigma,
        significance,
    )
    return replace(lines, fwhm=fwhm)[kept], found[seen], lines.ring[~kept]


def _half_width(lines: Lines) -> FloatArray:
    return np.minimum(0.999 * lines.reach, (_HALF + 0.5) * lines.scale)


def _profiles(pixels: Pixels, lines: Lines, size: int) -> tuple[FloatArray, FloatArray, float]:
    """Mean roots of counts and numbers of pixels, ``(sectors, steps)``, and the variance of one."""
    bins = 2 * _HALF + 1
    place = np.rint(pixels.x / lines.scale[pixels.line]).astype(np.intp) + _HALF
    place = np.clip(place, 0, bins - 1) + pixels.sector * bins
    root = 2.0 * np.sqrt(np.maximum(pixels.value, 0.0) + 0.375)
    weight: FloatArray = np.ones(len(pixels))
    variance = np.full(size * bins, np.inf)
    for _ in range(3):
        count, mean = _means(place, root, weight, size * bins)
        square = (root - mean[place]) ** 2
        _, variance = _means(place, square, weight, size * bins)
        # Without what stands out: hot pixels.
        weight = (square <= 12.0 * variance[place] + 1e-12).astype(np.float64)
    many = count >= 5
    noise = float(np.median(variance[many])) if many.any() else 1.0
    shape = (size, bins)
    return mean.reshape(shape), count.reshape(shape), max(noise, 1e-3)


def _means(
    place: NDArray[np.intp], value: FloatArray, weight: FloatArray, size: int
) -> tuple[FloatArray, FloatArray]:
    """Sums of weights, and weighted means."""
    total = np.bincount(place, weight, size).astype(np.float64)
    mean: FloatArray = np.bincount(place, value * weight, size) / np.maximum(total, 1.0)
    return total, mean


def _matched(
    mean: FloatArray, count: FloatArray, noise: float, fwhm: float, allowed: FloatArray
) -> tuple[FloatArray, FloatArray]:
    """How much a peak of that width betters the fit of profiles, at best, and where.

    Returns
    -------
    gain
        Of each profile, the fall of chi square; 0 where there is no peak.
    shift
        Place of the peak, in steps.
    """
    x = np.arange(-_HALF, _HALF + 1.0)
    shifts = np.arange(-_SEARCH, _SEARCH + 0.5 * _STEP, _STEP)
    peak = np.exp(-4.0 * np.log(2.0) * ((x[:, np.newaxis] - shifts) / fwhm) ** 2)
    x = x / _HALF
    n, nx, nxx = count.sum(1), count @ x, count @ (x * x)
    y = count * mean
    ny, nxy = y.sum(1), y @ x
    determinant = n * nxx - nx * nx
    flat = determinant <= 1e-9 * n * nxx
    over = (1.0 / np.where(flat, np.inf, determinant))[:, np.newaxis]
    # The straight line is projected out of the peak and of the profile.
    np_, nxp = count @ peak, count @ (x[:, np.newaxis] * peak)
    n, nx, nxx, ny, nxy = (one[:, np.newaxis] for one in (n, nx, nxx, ny, nxy))
    height = (nxx * np_ - nx * nxp) * over
    slope = (n * nxp - nx * np_) * over
    square = count @ (peak * peak) - height * np_ - slope * nxp
    product = y @ peak - height * ny - slope * nxy
    determined = square > 0.2 * (peak * peak).sum(0) * count.mean(1, keepdims=True)
    gain = np.where(determined & (product > 0), product**2 / np.maximum(square, 1e-12) / noise, 0.0)
    gain[np.abs(shifts) > allowed[:, np.newaxis]] = 0.0
    best = gain.argmax(axis=1)
    every = np.arange(len(gain))
    middle = np.clip(best, 1, len(shifts) - 2)
    before, at, after = (gain[every, middle + k] for k in (-1, 0, 1))
    bend = before - 2 * at + after
    offset = np.where(bend < 0, 0.5 * (before - after) / np.where(bend < 0, bend, 1.0), 0.0)
    return gain[every, best], shifts[middle] + _STEP * np.clip(offset, -1.0, 1.0)
