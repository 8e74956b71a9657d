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

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from bluesky_azint.calibration.cone import Cone
from bluesky_azint.calibration.refinement.equations import Equations, equations, sums
from bluesky_azint.calibration.refinement.lines import Lines, joined, shape
from bluesky_azint.calibration.refinement.observations import (
    Observations,
    lines_seen,
    middles,
    observations,
    on_both_sides,
    renumbered,
)
from bluesky_azint.calibration.refinement.sampling import Pixels, Sampler
from bluesky_azint.calibration.refinement.tails import Tails
from bluesky_azint.calibration.surface import FloatArray

_WINDOW = 2.5  # widths on each side of the line
_NARROWEST = 1.1  # widths on each side that a line must have to itself
_SPARE = 1.5  # pixels on each side of the window that the next pass may need
_ROUNDS = 3  # of Gauss and Newton
_SEEN = 4.0  # standard errors
_WANTED = 8.0  # standard errors: what sectors of weak rings are lengthened for
_ARC, _SHORTEST, _LONGEST = 30.0, 8.0, 240.0  # pixels, the shortest for rings of grains
_SPOTTY = 0.3  # relative difference between sectors side by side: rings of grains
_BRIGHT = 0.5  # of the usual height: what is less is drawn to the grains of neighbours
_FEWEST = 3  # sectors that make a line
_SMALLEST = 0.4  # of the pixels of a full sector
_FLANK = 0.25  # of the weight of a full sector that each side must have
_STRAY = 6.0  # standard errors: a pixel so far off is broken


def measure(
    sampler: Sampler,
    cone: Cone,
    lines: Lines,
    others: Lines,
    among: NDArray[np.intp] | None = None,
    most: int | None = None,
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
    most
        About how many sectors of a line are enough; None means all.

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
    others, lines = joined(others, lines[narrow]), lines[~narrow]
    half_width = _half_width(lines)
    wide = np.minimum(half_width + _SPARE * lines.scale, 0.999 * lines.reach)
    pixels = sampler.near(cone, lines, half_width if among is not None else wide, among)
    if among is None:
        among = pixels.index
    full = _SMALLEST * 2 * half_width / lines.scale * lines.arc
    pixels = pixels[np.abs(pixels.x) <= half_width[pixels.line]]
    pixels, line = renumbered(pixels, np.clip(full, 20.0, 60.0), most)
    fit = _Fit(pixels, line, lines, Tails(lines, others, half_width))
    for turn in range(_ROUNDS):
        fit.solve()
        fit.improve(shifts=turn > 0)
    fit.solve(widths=False)
    found, seen = fit.observations(sampler, cone)
    seen &= lines_seen(lines, line[seen], _FEWEST)[line]
    kept = lines_seen(lines, line[seen], 1)
    significance = found.significance
    found = replace(found, line=(np.cumsum(kept) - 1)[line])
    arc = _arcs(lines, line, fit.values[:, 0], significance)
    lines = replace(lines, arc=arc, fwhm=fit.fwhm, lorentzian=fit.lorentzian)
    return lines[kept], found[seen], among


def _arcs(
    lines: Lines, line: NDArray[np.intp], amplitude: FloatArray, significance: FloatArray
) -> FloatArray:
    """How long sectors should be: about as long as a grain in spotty rings, longer in weak ones."""
    of = [line == one for one in range(len(lines))]
    uneven = _median(np.array([_unevenness(amplitude[mine]) for mine in of]))
    if uneven > _SPOTTY or np.any(lines.arc < _ARC):
        return np.full(len(lines), _SHORTEST)
    typical = np.array([_median(significance[mine]) for mine in of])
    longer = np.clip((_WANTED / np.maximum(typical, 1.0)) ** 2, 1.0, None)
    arc: FloatArray = np.minimum(lines.arc * longer, _LONGEST)
    return arc


def _unevenness(amplitude: FloatArray) -> float:
    """The usual relative difference between sectors side by side."""
    height = np.maximum(amplitude, 0.0)
    both = height[1:] + height[:-1]
    return _median(np.abs(np.diff(height))[both > 0] / both[both > 0])


def _half_width(lines: Lines) -> FloatArray:
    return np.minimum(_WINDOW * lines.fwhm, 0.999 * lines.reach)


def _median(values: FloatArray) -> float:
    return float(np.median(values)) if len(values) else 0.0


class _Fit:
    """The fit of all sectors: what is known of them so far.

    Parameters
    ----------
    pixels
        Near lines, their sectors numbered from 0 on.
    line
        Of each sector.
    lines
        With their widths.
    tails
        Of their neighbours.
    """

    def __init__(self, pixels: Pixels, line: NDArray[np.intp], lines: Lines, tails: Tails) -> None:
        self.pixels, self.line, self.lines, self.tails = pixels, line, lines, tails
        self.starts = np.searchsorted(pixels.sector, np.arange(len(line)))
        self.half = tails.half_width[line]
        self.x_relative = pixels.x / tails.half_width[pixels.line]
        self.fwhm, self.lorentzian = lines.fwhm, lines.lorentzian
        self.shift = np.zeros(len(line))
        self.height = np.zeros(len(lines))
        self.good = np.ones(len(pixels))
        mean = self._sum(pixels.value) / np.maximum(self._sum(self.good), 1.0)
        # Where a fit expects nothing, or less, counts still vary.
        self.least = np.maximum(0.1 * mean, 1e-6 * max(float(mean.max(initial=0.0)), 1e-12))
        self.variance = np.maximum(mean, self.least)[pixels.sector]

    def solve(self, widths: bool = True) -> None:
        """Fit the sectors with the weights, shifts and shapes as they are."""
        pixels, sector, line = self.pixels, self.pixels.sector, self.pixels.line
        parts = shape(pixels.x - self.shift[sector], self.fwhm[line], self.lorentzian[line])
        height, by_place, by_width, by_shape = (part * pixels.weight for part in parts)
        columns = [height, by_place, pixels.weight, pixels.weight * self.x_relative]
        tail = pixels.weight * self.tails.at(
            line, self.x_relative, self.height, self.fwhm, self.lorentzian
        )
        self.equations: Equations = equations(
            [*columns, by_width, by_shape] if widths else columns,
            pixels.value - tail,
            self.good / self.variance,
            self.starts,
        )
        self.values, self.covariance = self.equations.solved()
        self.expected = tail
        for column, value in zip(columns, self.values.T, strict=True):
            self.expected += column * value[sector]
        self.off = pixels.value - self.expected
        square = self.off * self.off
        freedom = np.maximum(self._sum(self.good) - self.values.shape[1], 1.0)
        self.scatter = np.maximum(self._sum(self.good * square / self.variance) / freedom, 1e-12)
        scatter = self.scatter[sector]
        self.good = (square <= _STRAY**2 * scatter * (self.variance + scatter)).astype(np.float64)
        self.leverage = self.good * by_place * by_place / self.variance
        self.error = np.sqrt(self.scatter * self.covariance[:, 0, 0])
        self.sure = self.values[:, 0] > _SEEN * self.error

    def improve(self, shifts: bool = True) -> None:
        """Take better weights, and better shifts and shapes."""
        self.variance = np.maximum(self.expected, self.least[self.pixels.sector])
        self.height = self._heights()
        if not shifts:
            return
        limit = 0.4 * self.fwhm[self.line]
        shift = self.shift + np.clip(self._step(), -limit, limit)
        self.shift = np.clip(shift, -0.6 * self.half, 0.6 * self.half)
        self.shift[self.values[:, 0] < self.error] = 0.0
        sure = np.where(self.sure, self.values[:, 0], 0.0)
        wider, rounder = self.equations.widths(sure, self.scatter, self.line, len(self.lines))
        fwhm = self.fwhm * np.exp(wider)
        self.fwhm = np.clip(fwhm, 0.7 * self.lines.scale, 1.5 * self.lines.fwhm)
        self.lorentzian = np.clip(self.lorentzian + rounder, 0.0, 1.0)

    def observations(self, sampler: Sampler, cone: Cone) -> tuple[Observations, NDArray[np.bool_]]:
        """What the fit tells of all sectors, and which of them can be used."""
        pixels, amplitude, step = self.pixels, self.values[:, 0], self._step()
        # The scatter of those pixels that tell of the place: between rings there may be nothing.
        scatter = self._sum(self.leverage * self.off**2 / self.variance)
        scatter /= np.maximum(self._sum(self.leverage), 1e-300)
        sigma = np.sqrt(scatter * self.covariance[:, 1, 1]) / np.maximum(amplitude, 1e-300)
        fwhm = self.fwhm[self.line]
        seen = self.sure & (np.abs(self.shift + step) < 0.5 * self.half)
        seen &= amplitude > _BRIGHT * self._heights()[self.line]
        seen &= (np.abs(step) < 0.3 * fwhm) & (sigma < 0.5 * fwhm)
        x = pixels.x - self.shift[pixels.sector]
        seen &= on_both_sides(x, self.leverage, pixels.sector, len(self.line), _FLANK)
        found = observations(
            sampler.surface,
            cone,
            self.line,
            middles(sampler.surface.shape[1], pixels, len(self.line), self.leverage),
            self.shift + step,
            sigma,
            amplitude / np.maximum(self.error, 1e-300),
        )
        bent = _bent(cone, found, sampler.surface.pixel)
        return replace(found, shift=found.shift - bent), seen

    def _step(self) -> FloatArray:
        """How much farther out the ring of each sector is than was thought."""
        amplitude = np.maximum(self.values[:, 0], 0.3 * self._heights()[self.line])
        step: FloatArray = self.values[:, 1] / np.maximum(amplitude, 1e-300)
        return step

    def _heights(self) -> FloatArray:
        """The median amplitude of each line."""
        of = [self.values[self.sure & (self.line == one), 0] for one in range(len(self.lines))]
        return np.array([_median(one) for one in of])

    def _sum(self, weight: FloatArray) -> FloatArray:
        """Sums over the pixels of sectors."""
        return sums(weight, self.starts)


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
