"""Pictures: a frame beside its pattern, with the rings of a calibrant marked on both."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from bluesky_azint.geometry import Geometry
from bluesky_azint.units import unit as unit_of

if TYPE_CHECKING:
    from matplotlib.axes import Axes

Floats = NDArray[np.float64]

RINGS = "tab:orange"
_FEW_PIXELS = 1000


def plot_reduction(
    path: Path,
    frame: NDArray[Any],
    geometry: Geometry,
    radial: Floats,
    intensity: Floats,
    sigma: Floats | None = None,
    *,
    unit: str,
    title: str,
    rings: Sequence[float] = (),
) -> None:
    """Save a picture of a frame beside its pattern.

    Parameters
    ----------
    path
        Where to, a ``.png`` or whatever matplotlib writes.
    frame
        The frame, (rows, columns).
    geometry
        What it was reduced with.
    radial, intensity, sigma
        Its pattern, each (npt,); sigma is None where there are no error bars.
    unit
        Radial unit of the pattern.
    title
        What stands above.
    rings
        Radial positions to mark, in that unit.
    """
    from matplotlib.figure import Figure

    figure = Figure(figsize=(12, 5), layout="constrained")
    left, right = figure.subplots(1, 2, width_ratios=[1, 1.4])
    figure.suptitle(title)
    _draw_frame(left, frame, geometry.detector.mask)
    if len(rings):
        _mark_rings(left, geometry.radial(unit_of(unit)), rings)
    _draw_pattern(right, radial, intensity, sigma)
    for ring in rings:
        right.axvline(ring, color=RINGS, linewidth=0.5, alpha=0.8, zorder=0)
    right.set_xlabel(unit_of(unit).label)
    figure.savefig(path, dpi=130)


def plot_mask(
    path: Path, frame: NDArray[Any], kinds: NDArray[np.uint8], names: Sequence[str], *, title: str
) -> None:
    """Save a picture of a frame with its bad pixels, in a colour for each kind.

    Parameters
    ----------
    path
        Where to, a ``.png`` or whatever matplotlib writes.
    frame
        The frame, (rows, columns).
    kinds
        For each pixel the place of its kind among the names; 0 is a good pixel.
    names
        Of the kinds.
    title
        What stands above.
    """
    import matplotlib as mpl
    from matplotlib.figure import Figure

    figure = Figure(figsize=(10, 10), layout="constrained")
    axes = figure.subplots()
    _draw_frame(axes, frame, None, "gray")
    numbers = np.bincount(kinds.ravel(), minlength=len(names))
    for kind in (np.flatnonzero(numbers[1:]) + 1).tolist():
        colour = mpl.colors.to_hex(mpl.colormaps["tab10"](kind - 1))
        label = f"{names[kind]} ({numbers[kind]})"
        rows, columns = np.nonzero(kinds == kind)
        if numbers[kind] <= _FEW_PIXELS:  # they would not be seen without a circle
            axes.plot(columns, rows, "o", ms=7, mfc="none", color=colour, label=label)
            continue
        shown = np.ma.masked_array(kinds, kinds != kind)
        axes.imshow(shown, origin="lower", cmap=mpl.colors.ListedColormap([colour]), alpha=0.7)
        axes.plot([], [], "s", color=colour, label=label)
    axes.set_title(title)
    if numbers[1:].any():
        axes.legend(loc="upper right")
    figure.savefig(path, dpi=130)


def _draw_frame(
    axes: Axes, frame: NDArray[Any], mask: NDArray[np.bool_] | None, colours: str = "viridis"
) -> None:
    """The square root of the counts, which shows weak rings; masked and bad pixels in grey."""
    import matplotlib as mpl

    bad = ~np.isfinite(frame) if mask is None else mask | ~np.isfinite(frame)
    if frame.dtype.kind in "iu":
        bad |= (frame == np.iinfo(frame.dtype).max) | (frame < 0)
    counts = np.ma.masked_array(np.sqrt(np.where(bad, 0, frame).astype(np.float64)), bad)
    low, high = np.percentile(counts.compressed(), [1, 99.7]) if counts.count() else (0.0, 1.0)
    axes.imshow(
        counts,
        origin="lower",
        cmap=mpl.colormaps[colours].with_extremes(bad="0.85"),
        vmin=low,
        vmax=max(high, low + 1.0),
        interpolation="nearest",
    )
    axes.set(xlabel="column", ylabel="row", title="Frame (square root of the counts)")


def _mark_rings(axes: Axes, radial: Floats, rings: Sequence[float]) -> None:
    """Mark rings on the right half of a frame, so that the left half shows what was measured."""
    shown = np.array(radial)
    shown[:, : radial.shape[1] // 2] = np.nan
    axes.contour(shown, sorted(rings), colors=RINGS, linewidths=0.7)


def _draw_pattern(axes: Axes, radial: Floats, intensity: Floats, sigma: Floats | None) -> None:
    if sigma is not None:
        axes.fill_between(radial, intensity - sigma, intensity + sigma, alpha=0.35, linewidth=0)
    axes.plot(radial, intensity, linewidth=0.9)
    axes.set(ylabel="intensity", title="Pattern")
    axes.margins(x=0.01)
