r"""Where a ring is in each sector, from the pixels themselves.

In a window around its line a ring is, per solid angle,

.. math:: A\, \phi(x - \delta) + b_0 + b_1 x

with :math:`\phi` a pseudo-Voigt whose width and shape are those of the whole ring. :math:`A`,
:math:`\delta`, :math:`b_0` and :math:`b_1` are fitted to the pixels of every sector, all sectors at
once, by Gauss and Newton. Weights are those of the counts that the fit itself expects: observed
counts would favour low ones. The errors are scaled to the scatter found, which sees to detectors
that do not count photons, and to grains.

A pixel averages over its area, and rings are bent: the mean of :math:`2\theta` over a pixel is
larger than in its middle by 1/24 of the Laplacian times its area.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from bluesky_azint.calibration.cone import Cone
from bluesky_azint.calibration.lines import Lines, joined, shape
from bluesky_azint.calibration.observations import (
    Observations,
    lines_seen,
    middles,
    observations,
    on_both_sides,
    renumbered,
)
from bluesky_azint.calibration.sampling import Pixels, Sampler
from bluesky_azint.calibration.surface import FloatArray
from bluesky_azint.calibration.tails import Tails

_WINDOW = 2.5  # widths on each side of the line
_NARROWEST = 1.1  # widths on each side that a line must have to itself
_SEEN = 4.0  # standard errors
_WANTED = 8.0  # standard errors: what sectors of weak rings are lengthened for
_LONGEST = 8.0  # times as long
_FEWEST = 3  # sectors that make a line
_FLANK = 0.25  # of the weight of a full sector that each side must have
_STRAY = 6.0  # standard errors: a pixel so far off is broken
_LINEAR = 4  # amplitude, shift, and the straight line; after them width and shape


@dataclass(frozen=True, eq=False)
class _Sums:
    """Normal equations of all sectors, and what they are solved to."""

    matrix: FloatArray
    right: FloatArray

    def solved(self, count: int) -> tuple[FloatArray, FloatArray]:
        """The first unknowns when the others are left alone, and their covariances."""
        matrix = self.matrix[:, :count, :count]
        size = np.sqrt(np.maximum(np.einsum("sii->si", matrix), 1e-300))
        scaled = matrix / (size[:, :, np.newaxis] * size[:, np.newaxis, :])
        scaled = scaled + 1e-10 * np.eye(count)
        inverse = np.linalg.inv(scaled) / (size[:, :, np.newaxis] * size[:, np.newaxis, :])
        return np.einsum("sij,sj->si", inverse, self.right[:, :count]), inverse


def measure(
    sampler: Sampler,
    cone: Cone,
    lines: Lines,
    others: Lines,
    among: NDArray[np.intp] | None = None,
    rounds: int = 3,
) -> tuple[Lines, Observations, NDArray[np.intp]]:
    """Fit all rings in all sectors.

    Parameters
    ----------
    sampler
        The image.
    cone
        How the detector stands, right to a fraction of the width of the rings.
    lines
        With their widths.
    others
        Lines that may be there, too, but that cannot be fitted.
    among
        The pixels that may be near rings; None means all.
    rounds
        Of Gauss and Newton.

    Returns
    -------
    lines
        Those found, with better widths, and with longer sectors where they are weak.
    observations
        Of these.
    among
        The pixels that will be near them in the next pass.
    """
    narrow = (lines.reach <= _NARROWEST * lines.fwhm) | ~lines.apart(_half_width(lines))
    others = joined(others, lines[narrow])
    lines = lines[~narrow]
    half_width = _half_width(lines)
    wide = np.minimum(half_width + 1.5 * lines.scale, 0.999 * lines.reach)
    pixels = sampler.near(cone, lines, half_width if among is not None else wide, among)
    if among is None:
        among = pixels.index
        inside = np.abs(pixels.x) <= half_width[pixels.line]
        pixels = Pixels(**{name: value[inside] for name, value in vars(pixels).items()})
    fewest = 0.4 * float(np.median(2 * half_width / lines.scale)) * 30.0
    sector, line, size = renumbered(pixels, max(min(fewest, 60.0), 20.0))
    keep = sector < size
    pixels = Pixels(**{name: value[keep] for name, value in vars(pixels).items()})
    tails = Tails(lines, others, half_width)
    fitted = _fit(pixels, sector[keep], line, lines, tails, rounds)
    lines, seen, shift, sigma, significance, weight = fitted
    found = observations(
        sampler.surface,
        cone,
        line,
        middles(sampler.surface.shape[1], pixels.index, sector[keep], size, weight),
        shift,
        sigma,
        significance,
    )
    found = replace(found, shift=shift - _bent(cone, found, sampler.surface.pixel))
    weak = np.array([_median(significance[line == one]) for one in range(len(lines))])
    longer = np.clip((_WANTED / np.maximum(weak, 1.0)) ** 2, 1.0, _LONGEST)
    arc = np.clip(lines.arc * longer, 30.0, 30.0 * _LONGEST)
    seen &= lines_seen(lines, line[seen], _FEWEST)[line]
    kept = lines_seen(lines, line[seen], 1)
    found = replace(found, line=(np.cumsum(kept) - 1)[line])
    return replace(lines, arc=arc)[kept], found[seen], among


def _half_width(lines: Lines) -> FloatArray:
    return np.minimum(_WINDOW * lines.fwhm, 0.999 * lines.reach)


def _fit(
    pixels: Pixels,
    sector: NDArray[np.intp],
    line: NDArray[np.intp],
    lines: Lines,
    tails: Tails,
    rounds: int,
) -> tuple[Lines, NDArray[np.bool_], FloatArray, FloatArray, FloatArray, FloatArray]:
    """Gauss and Newton; all that `measure` tells of sectors."""
    size = len(line)
    count = np.bincount(sector, minlength=size)
    mean = np.bincount(sector, pixels.value, size) / count
    least = np.maximum(0.1 * mean, 1e-6 * max(float(mean.max(initial=0.0)), 1e-12))
    half = tails.half_width[line]
    x_relative = pixels.x / tails.half_width[pixels.line]
    height, tail = np.zeros(len(lines)), np.zeros(len(pixels))
    fwhm, lorentzian = lines.fwhm.copy(), lines.lorentzian.copy()
    shift = np.zeros(size)
    good = np.ones(len(pixels))
    variance = np.maximum(pixels.value * 0.0 + mean[sector], least[sector])
    scatter = np.ones(size)
    for turn in range(rounds + 1):
        columns = _columns(pixels, sector, x_relative, shift, fwhm, lorentzian)
        if height.any():
            tail = pixels.weight * tails.at(pixels.line, x_relative, height, fwhm, lorentzian)
        sums = _sums(columns, pixels.value - tail, good / variance, sector, size)
        values, covariance = sums.solved(_LINEAR)
        expected = _expected(columns, values, sector) + tail
        off = pixels.value - expected
        used = np.maximum(np.bincount(sector, good, size) - _LINEAR, 1.0)
        scatter = np.bincount(sector, good * off * off / variance, size) / used
        scatter = np.maximum(scatter, 1e-12)
        allowed = _STRAY**2 * scatter[sector] * (variance + scatter[sector])
        good = (off * off <= allowed).astype(np.float64)
        if turn == rounds:
            break
        variance = np.maximum(expected, least[sector])
        amplitude, error = values[:, 0], np.sqrt(scatter * covariance[:, 0, 0])
        sure = amplitude > _SEEN * error
        height = _typical(amplitude, sure, line, len(lines))
        if turn > 0:
            typical = height[line]
            step = values[:, 1] / np.maximum(np.maximum(amplitude, 0.3 * typical), 1e-300)
            limit = 0.4 * fwhm[line]
            shift = np.clip(shift + np.clip(step, -limit, limit), -half * 0.6, half * 0.6)
            shift[~sure & (amplitude < error)] = 0.0
            wider, rounder = _widths(sums, values, scatter, sure, line, len(lines))
            fwhm = np.clip(fwhm * np.exp(wider), 0.9 * lines.scale, 1.5 * lines.fwhm)
            lorentzian = np.clip(lorentzian + rounder, 0.0, 1.0)
    amplitude = values[:, 0]
    error = np.sqrt(scatter * covariance[:, 0, 0])
    # The scatter of those pixels that tell of the place: between rings there may be nothing.
    weight = good * columns[1] ** 2 / variance
    scatter = np.bincount(sector, weight * off * off / variance, size)
    scatter /= np.maximum(np.bincount(sector, weight, size), 1e-300)
    typical = _typical(amplitude, amplitude > _SEEN * error, line, len(lines))[line]
    last = values[:, 1] / np.maximum(np.maximum(amplitude, 0.3 * typical), 1e-300)
    sigma = np.sqrt(scatter * covariance[:, 1, 1]) / np.maximum(amplitude, 1e-300)
    seen = (amplitude > _SEEN * error) & (np.abs(shift + last) < 0.5 * half)
    seen &= (np.abs(last) < 0.3 * fwhm[line]) & (sigma < 0.5 * fwhm[line])
    seen &= on_both_sides(pixels.x - shift[sector], weight, sector, size, _FLANK)
    lines = replace(lines, fwhm=fwhm, lorentzian=lorentzian)
    return lines, seen, shift + last, sigma, amplitude / error, weight


def _columns(
    pixels: Pixels,
    sector: NDArray[np.intp],
    x_relative: FloatArray,
    shift: FloatArray,
    fwhm: FloatArray,
    lorentzian: FloatArray,
) -> list[FloatArray]:
    """What a pixel would count for each unknown being 1."""
    line = pixels.line
    parts = shape(pixels.x - shift[sector], fwhm[line], lorentzian[line])
    height, by_place, by_width, by_shape = (part * pixels.weight for part in parts)
    return [height, by_place, pixels.weight, pixels.weight * x_relative, by_width, by_shape]


def _expected(
    columns: list[FloatArray], values: FloatArray, sector: NDArray[np.intp]
) -> FloatArray:
    """What the fit expects of pixels."""
    expected = np.zeros(len(sector))
    for column, value in zip(columns, values.T, strict=False):
        expected += column * value[sector]
    return expected


def _sums(
    columns: list[FloatArray],
    value: FloatArray,
    weight: FloatArray,
    sector: NDArray[np.intp],
    size: int,
) -> _Sums:
    """The normal equations."""
    n = len(columns)
    matrix, right = np.empty((size, n, n)), np.empty((size, n))
    for i, one in enumerate(columns):
        weighted = weight * one
        right[:, i] = np.bincount(sector, weighted * value, size)
        for j in range(i, n):
            matrix[:, i, j] = matrix[:, j, i] = np.bincount(sector, weighted * columns[j], size)
    return _Sums(matrix, right)


def _widths(
    sums: _Sums,
    values: FloatArray,
    scatter: FloatArray,
    sure: NDArray[np.bool_],
    line: NDArray[np.intp],
    count: int,
) -> tuple[FloatArray, FloatArray]:
    """By how much the logarithm of the width and the share of the Lorentzian are wrong, per line.

    The other unknowns of each sector are projected out, and the sectors of a line put together.
    """
    first, last = slice(0, _LINEAR), slice(_LINEAR, None)
    coupling = sums.matrix[:, first, last]
    size = np.sqrt(np.maximum(np.einsum("sii->si", sums.matrix[:, first, first]), 1e-300))
    scaled = sums.matrix[:, first, first] / (size[:, :, np.newaxis] * size[:, np.newaxis, :])
    scaled = scaled + 1e-10 * np.eye(_LINEAR)
    solved = np.linalg.solve(scaled, coupling / size[:, :, np.newaxis]) / size[:, :, np.newaxis]
    matrix = sums.matrix[:, last, last] - np.einsum("sij,sik->sjk", coupling, solved)
    right = sums.right[:, last] - np.einsum("sij,si->sj", coupling, values)
    amplitude = np.where(sure, values[:, 0], 0.0)
    matrix *= (amplitude**2 / scatter)[:, np.newaxis, np.newaxis]
    right *= (amplitude / scatter)[:, np.newaxis]
    total = np.zeros((count, 2, 2))
    wanted = np.zeros((count, 2))
    np.add.at(total, line, matrix)
    np.add.at(wanted, line, right)
    total += np.diag([1 / 0.3**2, 1 / 0.3**2])  # a weak line keeps what it has
    change = np.linalg.solve(total, wanted[:, :, np.newaxis])[:, :, 0]
    return np.clip(change[:, 0], -0.3, 0.3), np.clip(change[:, 1], -0.5, 0.5)


def _typical(
    amplitude: FloatArray, sure: NDArray[np.bool_], line: NDArray[np.intp], count: int
) -> FloatArray:
    """The median amplitude of each line."""
    return np.array([_median(amplitude[sure & (line == one)]) for one in range(count)])


def _median(values: FloatArray) -> float:
    return float(np.median(values)) if len(values) else 0.0


def _bent(cone: Cone, seen: Observations, pixel: float) -> FloatArray:
    """How much larger the mean angle of a pixel is than the angle of its middle.

    On the plane of the detector the Laplacian of the scattering angle is

    .. math:: \\frac{(1 - n_\\phi^2) \\cot 2\\theta + 2 n_r n_\\theta}{R^2}

    where n are the parts of the normal along the ray, across it in the plane of scattering, and
    across both.
    """
    slope = np.array([cone.tilt1, cone.tilt2, 1.0])
    beam = slope / np.linalg.norm(slope)
    from_sample = seen.places - np.array([[cone.centre1], [cone.centre2], [0.0]])
    from_sample = from_sample + cone.distance * beam[:, np.newaxis]
    distance = np.linalg.norm(from_sample, axis=0)
    ray = from_sample / distance
    cosine, sine = np.cos(seen.two_theta), np.maximum(np.sin(seen.two_theta), 1e-9)
    outwards = (cosine * ray - beam[:, np.newaxis]) / sine
    around = np.cross(beam, ray.T)[:, 2] / sine
    laplacian = (1.0 - around**2) * cosine / sine + 2.0 * ray[2] * outwards[2]
    bent: FloatArray = laplacian * (pixel / distance) ** 2 / 24.0
    return bent
