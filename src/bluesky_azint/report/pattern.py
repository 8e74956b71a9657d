"""The pattern, over the rings that it should have."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from bluesky_azint.calibration.result import Calibration
from bluesky_azint.geometry import Geometry
from bluesky_azint.reduction.integrator import Integrator
from bluesky_azint.reduction.result import IntegrationResult
from bluesky_azint.report.frame import Frame
from bluesky_azint.report.rings import Marked, marked_rings
from bluesky_azint.report.style import (
    DATA,
    FOREIGN,
    RING_COLOURS,
    figure,
    key_below,
    ring_key,
    tidy,
)

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from matplotlib.lines import Line2D

FloatArray = NDArray[np.float64]

_BINS = 1500
_FOREIGN_SIGMA = 8.0  # a peak that is to be marked stands out by so many standard errors,
_FOREIGN_SHARE = 0.04  # and by this share of the highest;
_FROM = 0.6  # of the first ring: nearer to the beam its halo has edges that look like peaks


def draw_pattern(calibration: Calibration, geometry: Geometry, frame: Frame) -> Figure:
    """The pattern, with a tick for each ring and a mark on each peak that is of none."""
    pattern = reduce(geometry, frame)
    rings = marked_rings(calibration)
    drawn = figure(height=5.0)
    axes, ticks = drawn.subplots(2, 1, sharex=True, height_ratios=[8, 1])
    seen = pattern.count > 0
    q, intensity = pattern.radial, np.where(seen, pattern.intensity, np.nan)
    axes.plot(q, intensity, color=DATA, linewidth=0.9)
    handles = _mark_rings(axes, ticks, rings, pattern)
    handles += _mark_foil(ticks, calibration)
    foreign = foreign_peaks(calibration, pattern)
    if foreign.size:
        handles += axes.plot(
            q[foreign], intensity[foreign], "v", color=FOREIGN, markersize=6,
            label=f"peak that is no ring of {calibration.calibrant.name}".replace("$", r"\$"),
        )  # fmt: skip
    # Square roots: weak rings are seen beside strong ones, and the noise is the same everywhere.
    axes.set_yscale("function", functions=(_root, np.square))
    top = float(np.nanmax(intensity, initial=1e-9))
    axes.set(ylabel="intensity, square-root scale", ylim=(0.0, 1.12 * top), yticks=_ticks(top))
    axes.set_xlim(*_extent(q, seen))
    ticks.set(xlabel="q (1/Å)", yticks=[], ylim=(0, 1))
    tidy(axes)
    tidy(ticks, grid=False)
    key_below(drawn, handles)
    return drawn


def reduce(geometry: Geometry, frame: Frame) -> IntegrationResult:
    """The pattern by q in 1/angstrom, with errors of counts."""
    return Integrator(
        geometry,
        npt=_BINS,
        unit="q_A^-1",
        splitting="no",
        mask=frame.bad,
        error_model="poisson",
        engine="histogram",
    ).integrate(frame.counts)


def foreign_peaks(calibration: Calibration, pattern: IntegrationResult) -> NDArray[np.intp]:
    """Indices of peaks of a pattern that lie on no ring of the calibrant, however weak."""
    from scipy.signal import find_peaks

    sigma = pattern.sigma
    good = np.flatnonzero(pattern.count > 0)
    if sigma is None or good.size < 10:
        return np.empty(0, dtype=np.intp)
    intensity = pattern.intensity[good]
    radial = pattern.radial[good]
    step = float(pattern.radial[1] - pattern.radial[0])
    width = max(_ring_width(calibration), 3 * step)
    peaks, found = find_peaks(
        intensity,
        prominence=_FOREIGN_SIGMA * np.maximum(sigma[good], np.median(sigma[good])),
        width=(0.4 * width / step, 4 * width / step),
        wlen=int(10 * width / step) | 1,
    )
    prominence = found["prominences"]
    highest = float(prominence.max(initial=0.0))
    calibrant = calibration.calibrant
    known = [ring.d for ring in (*calibrant.rings, *calibrant.foreign)]
    lines = np.sort(2 * np.pi / np.array(known))
    away = np.abs(radial[peaks][:, np.newaxis] - lines).min(axis=1, initial=np.inf)
    wanted = (prominence > _FOREIGN_SHARE * highest) & (away > width)
    wanted &= radial[peaks] > _FROM * lines[0]
    indices: NDArray[np.intp] = good[peaks[wanted]]
    return indices


def _ring_width(calibration: Calibration) -> float:
    """Full width of the rings at half height, in 1/angstrom; 0 if it is not known."""
    beam, candidate = calibration.beam, calibration.candidate
    widths = [fit.fwhm_px for fit in calibration.rings if np.isfinite(fit.fwhm_px)]
    if beam is None or candidate is None or not widths:
        return 0.0
    pixel = np.sqrt(candidate.detector.pixel1 * candidate.detector.pixel2)
    angle = float(np.median(widths)) * pixel / beam.distance
    return float(2 * np.pi / (calibration.wavelength * 1e10) * angle)


def _mark_rings(
    axes: Axes,
    ticks: Axes,
    rings: list[Marked],
    pattern: IntegrationResult,
) -> list[Line2D]:
    low, high = _extent(pattern.radial, pattern.count > 0)
    states = set()
    last = -np.inf
    for ring in rings:
        q = 2 * np.pi / ring.ring.d
        if not low < q < high:
            continue
        states.add(ring.state)
        colour = RING_COLOURS[ring.state]
        axes.axvline(q, color=colour, linewidth=0.6, alpha=0.45, zorder=0)
        ticks.axvline(q, ymin=0.1, ymax=0.9, color=colour, linewidth=1.3)
        if q - last > 0.06 * (high - low):
            axes.annotate(
                ring.label, (q, 1.0), xycoords=("data", "axes fraction"), xytext=(0, 2),
                textcoords="offset points", ha="center", fontsize=8, color=colour,
            )  # fmt: skip
            last = q
    return ring_key(states)


def _mark_foil(ticks: Axes, calibration: Calibration) -> list[Line2D]:
    """Ticks for the rings of what else is known to be in the beam."""
    lines = [
        ticks.axvline(2 * np.pi / ring.d, ymin=0.1, ymax=0.5, color=FOREIGN, linewidth=1.0)
        for ring in calibration.calibrant.foreign
    ]
    for line in lines[:1]:
        line.set_label("ring of another substance")
    return lines[:1]


def _extent(q: FloatArray, seen: NDArray[np.bool_]) -> tuple[float, float]:
    return (float(q[seen].min()), float(q[seen].max())) if seen.any() else (0.0, 1.0)


def _root(values: FloatArray) -> FloatArray:
    return np.sqrt(np.maximum(values, 0.0))


def _ticks(top: float) -> list[float]:
    """Round numbers that are spread evenly by their roots."""
    wanted = (np.array([0.0, 0.25, 0.5, 0.75, 1.0]) * np.sqrt(top)) ** 2
    digits = [1 - int(np.floor(np.log10(value))) - 1 if value > 0 else 0 for value in wanted]
    return sorted({round(float(v), d) for v, d in zip(wanted, digits, strict=True)})
