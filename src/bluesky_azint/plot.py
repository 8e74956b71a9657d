"""Pictures: a frame beside its pattern, with the rings of a calibrant marked on both."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from bluesky_azint.geometry import Geometry
from bluesky_azint.reduction.result import IntegrationResult
from bluesky_azint.units import unit

if TYPE_CHECKING:
    from matplotlib.axes import Axes

RINGS = "tab:orange"


def plot_reduction(
    path: Path,
    frame: NDArray[Any],
    result: IntegrationResult,
    geometry: Geometry,
    *,
    title: str,
    rings: Sequence[float] = (),
) -> None:
    """Save a picture of a frame beside its pattern.

    Parameters
    ----------
    path
        Where to, a ``.png`` or whatever matplotlib writes.
    frame
        The frame, ``(rows, columns)``.
    result
        Its pattern, of one frame.
    geometry
        What it was reduced with.
    title
        What stands above.
    rings
        Radial positions to mark, in the unit of the pattern.
    """
    from matplotlib.figure import Figure

    figure = Figure(figsize=(12, 5), layout="constrained")
    left, right = figure.subplots(1, 2, width_ratios=[1, 1.4])
    figure.suptitle(title)
    _draw_frame(left, frame, result, geometry, rings)
    _draw_pattern(right, result, rings)
    figure.savefig(path, dpi=130)


def _draw_frame(
    axes: Axes,
    frame: NDArray[Any],
    result: IntegrationResult,
    geometry: Geometry,
    rings: Sequence[float],
) -> None:
    bad = np.zeros(frame.shape, dtype=bool)
    if geometry.detector.mask is not None:
        bad |= geometry.detector.mask
    if frame.dtype.kind in "iu":
        bad |= (frame == np.iinfo(frame.dtype).max) | (frame < 0)
    shown = np.ma.masked_array(frame.astype(np.float64), bad | ~np.isfinite(frame))
    low, high = np.percentile(shown.compressed(), [1, 99.7]) if shown.count() else (0.0, 1.0)
    image = axes.imshow(
        np.sqrt(np.maximum(shown, 0)),
        origin="lower",
        cmap="viridis",
        vmin=np.sqrt(max(low, 0.0)),
        vmax=np.sqrt(max(high, 1.0)),
        interpolation="nearest",
    )
    image.cmap.set_bad("0.85")
    if len(rings):
        axes.contour(
            geometry.radial(unit(result.unit)), sorted(rings), colors=RINGS, linewidths=0.6
        )
    axes.set(xlabel="column", ylabel="row", title="Frame (square root of the counts)")


def _draw_pattern(axes: Axes, result: IntegrationResult, rings: Sequence[float]) -> None:
    filled = result.count > 0
    radial, intensity = result.radial[filled], result.intensity[filled]
    for ring in rings:
        axes.axvline(ring, color=RINGS, linewidth=0.6)
    if result.sigma is not None:
        sigma = result.sigma[filled]
        axes.fill_between(radial, intensity - sigma, intensity + sigma, alpha=0.35, linewidth=0)
    axes.plot(radial, intensity, linewidth=0.9)
    shown = unit(result.unit)
    axes.set(xlabel=shown.label, ylabel="intensity", title="Pattern")
    axes.margins(x=0.01)
