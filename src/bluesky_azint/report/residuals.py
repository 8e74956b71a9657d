"""How far the rings lie from where they should be: on the detector, by angle, and by azimuth.

Errors of the counts scatter around zero everywhere. What is wrong has a shape: a bend with the
scattering angle is a distortion or a wrong wavelength, a wave with the azimuth a centre or a tilt
that could not follow, and a step on the detector a module that was moved.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from bluesky_azint.calibration.result import Calibration, Sectors
from bluesky_azint.report.frame import Frame
from bluesky_azint.report.rings import State
from bluesky_azint.report.style import DATA, INK, MASKED, MUTED, RING_COLOURS, figure, tidy

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

FloatArray = NDArray[np.float64]

_BIN = np.deg2rad(15.0)
_ENOUGH = 4  # sectors in a bin, or rings under a parabola


@dataclass(frozen=True, eq=False)
class Parabola:
    """A parabola through the mean residuals of rings.

    Parameters
    ----------
    coefficients
        Of powers of the angle in degrees, the highest first; in pixels.
    bend_px, sigma_px
        How far its middle lies above the chord of its ends, and the standard error of that.
    """

    coefficients: FloatArray
    bend_px: float
    sigma_px: float


def draw_residual_map(sectors: Sectors, frame: Frame) -> Figure:
    """Residuals where they were found."""
    rows, columns = frame.counts.shape
    drawn = figure(height=float(np.clip(4.6 * rows / columns + 1.1, 3.0, 8.0)))
    axes = drawn.subplots()
    _show_mask(axes, frame)
    used = sectors.used
    limit = _limit(sectors)
    dots = axes.scatter(
        sectors.column[used],
        sectors.row[used],
        c=np.clip(sectors.residual_px[used], -limit, limit),
        s=float(np.clip(9000 / max(used.sum(), 1), 5, 36)),
        cmap="RdBu_r",
        vmin=-limit,
        vmax=limit,
        linewidths=0.2,
        edgecolors=MUTED,
    )
    if not used.all():
        axes.plot(
            sectors.column[~used], sectors.row[~used], "x", color=RING_COLOURS["left out"],
            markersize=4, markeredgewidth=0.8, label="left out",
        )  # fmt: skip
        drawn.legend(loc="outside lower center", frameon=False, labelcolor=INK)
    axes.set(xlim=(-0.5, columns - 0.5), ylim=(-0.5, rows - 0.5), xlabel="column", ylabel="row")
    axes.set_aspect("equal")
    bar = drawn.colorbar(dots, ax=axes, pad=0.02, extend="both", aspect=28)
    bar.set_label("too far inside  ←  pixels  →  too far outside", color=INK)
    bar.outline.set(color=MUTED, linewidth=0.6)
    bar.ax.tick_params(colors=INK)
    tidy(axes, grid=False)
    return drawn


def draw_residuals(calibration: Calibration, sectors: Sectors) -> Figure:
    """Residuals of all sectors against angle and azimuth, with means of rings and of bins."""
    drawn = figure(height=6.6)
    above, below = drawn.subplots(2, 1)
    _draw_sectors(above, sectors, np.rad2deg(sectors.two_theta))
    _draw_rings(above, calibration)
    above.set_xlabel("scattering angle 2θ (degree)")
    _draw_sectors(below, sectors, np.rad2deg(sectors.chi))
    chi, mean, sigma = azimuthal_means(sectors)
    _error_bars(below, np.rad2deg(chi), mean, sigma, "used", "mean of a ring, or of 15 degrees")
    below.set(xlabel="azimuth χ (degree)", xlim=(-184, 184), xticks=range(-180, 181, 60))
    for axes in (above, below):
        axes.set_ylabel("outside of the ring (pixels)")
        tidy(axes)
    handles = {
        str(handle.get_label()): handle
        for axes in (above, below)
        for handle in axes.get_legend_handles_labels()[0]
    }
    drawn.legend(
        handles=list(handles.values()), loc="outside lower center", ncols=2, frameon=False,
        labelcolor=INK, fontsize=9,
    )  # fmt: skip
    return drawn


def _draw_rings(axes: Axes, calibration: Calibration) -> None:
    """Means of the rings, and a parabola through those that were used."""
    labels: dict[State, str | None] = {"used": None, "left out": "mean of a ring left out"}
    for state, label in labels.items():
        fits = [fit for fit in calibration.rings if fit.sectors and fit.used == (state == "used")]
        if fits:
            _error_bars(
                axes,
                np.rad2deg([fit.two_theta for fit in fits]),
                np.array([fit.mean_px for fit in fits]),
                np.array([fit.sigma_px for fit in fits]),
                state,
                label,
            )
    bend = parabola(calibration)
    if bend is not None:
        angles = np.rad2deg([fit.two_theta for fit in calibration.rings if fit.used])
        across = np.linspace(angles.min(), angles.max(), 200)
        label = f"parabola: bends by {bend.bend_px:.3f} ± {bend.sigma_px:.3f} px"
        axes.plot(
            across, np.polyval(bend.coefficients, across), color=INK, linewidth=1.0,
            linestyle="--", label=label,
        )  # fmt: skip


def parabola(calibration: Calibration) -> Parabola | None:
    """A parabola through the means of the rings that were used; None of fewer than four."""
    fits = [
        fit
        for fit in calibration.rings
        if fit.used and fit.sectors and fit.sigma_px > 0 and np.isfinite(fit.mean_px)
    ]
    if len(fits) < _ENOUGH:
        return None
    angle = np.rad2deg([fit.two_theta for fit in fits])
    mean = np.array([fit.mean_px for fit in fits])
    weight = 1.0 / np.array([fit.sigma_px for fit in fits])
    middle, half = (angle.max() + angle.min()) / 2, np.ptp(angle) / 2
    # By the angle from the middle in half widths, the bend is minus the last coefficient.
    design = np.vander((angle - middle) / half, 3) * weight[:, np.newaxis]
    covariance = np.linalg.pinv(design.T @ design)
    scaled = covariance @ design.T @ (mean * weight)
    spread = float(np.sum((design @ scaled - mean * weight) ** 2)) / max(len(fits) - 3, 1)
    line = np.poly1d([1.0 / half, -middle / half])
    return Parabola(
        coefficients=np.poly1d(scaled)(line).coefficients,
        bend_px=-float(scaled[0]),
        sigma_px=float(np.sqrt(covariance[0, 0] * max(spread, 1.0))),
    )


def azimuthal_means(sectors: Sectors) -> tuple[FloatArray, FloatArray, FloatArray]:
    """Azimuths in radians, mean residuals in pixels, and their errors from the spread."""
    used = sectors.used & np.isfinite(sectors.residual_px)
    chi, residual = sectors.chi[used], sectors.residual_px[used]
    index = np.floor(chi / _BIN).astype(int)
    rows = []
    for one in np.unique(index):
        inside = residual[index == one]
        if inside.size >= _ENOUGH:
            rows.append(((one + 0.5) * _BIN, inside.mean(), inside.std(ddof=1) / inside.size**0.5))
    means = np.array(rows, dtype=np.float64).reshape(-1, 3)
    return means[:, 0], means[:, 1], means[:, 2]


def _draw_sectors(axes: Axes, sectors: Sectors, across: FloatArray) -> None:
    used = sectors.used
    limit = 1.6 * _limit(sectors)
    shown = np.clip(sectors.residual_px, -0.97 * limit, 0.97 * limit)
    size = float(np.clip(400 / max(len(sectors), 1) ** 0.5, 4, 20))
    axes.scatter(
        across[used], shown[used], s=size, color=DATA, alpha=0.35, linewidths=0, label="sector"
    )
    if not used.all():
        axes.scatter(
            across[~used], shown[~used], s=1.5 * size, color=RING_COLOURS["left out"], marker="x",
            linewidths=0.8, label="sector left out",
        )  # fmt: skip
    axes.axhline(0.0, color=INK, linewidth=0.8)
    axes.set_ylim(-limit, limit)


def _error_bars(
    axes: Axes, x: FloatArray, y: FloatArray, sigma: FloatArray, state: State, label: str | None
) -> None:
    axes.errorbar(
        x, y, np.where(np.isfinite(sigma), sigma, 0.0), fmt="o", color=RING_COLOURS[state],
        markersize=4, elinewidth=1.1, capsize=2, label=label,
    )  # fmt: skip


def _show_mask(axes: Axes, frame: Frame) -> None:
    from matplotlib.colors import ListedColormap

    share, block = frame.shrunk(400)
    gaps = np.ma.getmaskarray(share)
    height, width = (size * block - 0.5 for size in gaps.shape)
    axes.imshow(
        np.ma.masked_array(gaps, ~gaps),
        origin="lower",
        extent=(-0.5, width, -0.5, height),
        cmap=ListedColormap([MASKED]),
        interpolation="nearest",
    )


def _limit(sectors: Sectors) -> float:
    """How much is shown: nearly all of what was used."""
    residual = np.abs(sectors.residual_px[sectors.used & np.isfinite(sectors.residual_px)])
    return max(float(np.percentile(residual, 98)), 1e-3) if residual.size else 1.0
