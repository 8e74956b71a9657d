"""The set-up in space: the sample, the beam, the detector as it stands, and some cones."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from bluesky_azint.calibration.cone import Cone
from bluesky_azint.calibration.result import Calibration
from bluesky_azint.geometry import Geometry
from bluesky_azint.report.frame import Frame, contrast, stabilised
from bluesky_azint.report.rings import Contours, marked_rings
from bluesky_azint.report.style import (
    BEAM,
    DATA,
    FOREIGN,
    INK,
    MASKED,
    MUTED,
    PANE,
    RING_COLOURS,
    figure,
)

if TYPE_CHECKING:
    from matplotlib.figure import Figure
    from mpl_toolkits.mplot3d import Axes3D

FloatArray = NDArray[np.float64]

_TILES = 70  # along the longer side of the detector
_CONES = 4
_ABOVE, _BESIDE = 22.0, 55.0  # degrees, from where one looks
_LONGEST = 2.5  # detector sizes: a longer way from the sample is drawn shortened


def draw_setup(calibration: Calibration, contours: Contours, frame: Frame) -> Figure:
    """The set-up in millimetres: the beam runs along z, x and y lie across."""
    import matplotlib as mpl

    drawn = figure(height=5.0)
    # The labels of three dimensions are not reckoned with by automatic layouts.
    drawn.set_layout_engine("none")
    axes: Axes3D = drawn.add_axes((0.0, 0.16, 1.0, 0.84), projection="3d", computed_zorder=False)
    counts, block = frame.shrunk(_TILES)
    shown = stabilised(counts)
    low, high = contrast(shown)
    paint = mpl.colormaps["Greys"].with_extremes(bad=MASKED)(
        mpl.colors.Normalize(low, high, clip=True)(shown)
    )
    x, y, z = _corners(contours, shown.shape, block, frame.counts.shape)
    axes.plot_surface(
        z, x, y, facecolors=paint, rstride=1, cstride=1, shade=False, linewidth=0, zorder=1
    )
    _outline(axes, x, y, z)
    _cones(axes, calibration, contours)
    across = float(max(np.ptp(x), np.ptp(y)))
    beam = _beam(axes, contours.geometry, across)
    axes.set_xlabel("z, along the beam (mm)", labelpad=8)
    axes.set(ylabel="x (mm)", zlabel="y (mm)")
    size = np.array([max(np.ptp(z), beam), np.ptp(x), np.ptp(y)])
    size[0] = min(max(size[0], z.max()), _LONGEST * across)
    axes.set_box_aspect(np.maximum(size, 0.15 * across), zoom=1.0)
    axes.view_init(*_view(contours.geometry))
    axes.locator_params(nbins=4)
    axes.grid(False)
    for axis in (axes.xaxis, axes.yaxis, axes.zaxis):
        axis.set_pane_color(PANE)
        axis.label.set_color(INK)
        axis.set_tick_params(colors=INK)
        axis.line.set(color=MUTED, linewidth=0.6)
    drawn.legend(loc="lower center", ncols=3, frameon=False, labelcolor=INK, fontsize=9)
    return drawn


def _corners(
    contours: Contours, tiles: tuple[int, ...], block: int, shape: tuple[int, ...]
) -> tuple[FloatArray, FloatArray, FloatArray]:
    """Places of the corners of the tiles, in millimetres, each of one more than their shape."""
    row, column = (
        np.minimum(np.arange(number + 1) * block, size) - 0.5
        for number, size in zip(tiles, shape, strict=True)
    )
    grid = np.meshgrid(row, column, indexing="ij")
    y, x, z = 1e3 * contours.places(grid[0].ravel(), grid[1].ravel())
    return x.reshape(grid[0].shape), y.reshape(grid[0].shape), z.reshape(grid[0].shape)


def _outline(axes: Axes3D, x: FloatArray, y: FloatArray, z: FloatArray) -> None:
    """The border of the detector, and its axes from pixel (0, 0)."""
    border = [
        np.concatenate([one[0], one[:, -1], one[-1, ::-1], one[::-1, 0]]) for one in (z, x, y)
    ]
    axes.plot(*border, color=INK, linewidth=0.8, zorder=2)
    for edge, colour, label in (
        ((0, slice(None)), DATA, "fast axis (columns)"),
        ((slice(None), 0), FOREIGN, "slow axis (rows)"),
    ):
        axes.plot(z[edge], x[edge], y[edge], color=colour, linewidth=2.5, label=label, zorder=2)


def _cones(axes: Axes3D, calibration: Calibration, contours: Contours) -> None:
    """Some of the rings that are on the detector, with lines from the sample."""
    on_it = [
        (ring, lines)
        for ring in marked_rings(calibration)
        if ring.state in ("used", "predicted") and (lines := contours.at(ring.two_theta))
    ]
    if not on_it:
        return
    chosen = sorted(set(np.linspace(0, len(on_it) - 1, _CONES).astype(int).tolist()))
    label: str | None = "cones of rings"
    for number in chosen:
        ring, lines = on_it[number]
        colour = RING_COLOURS[ring.state]
        for line in lines:
            y, x, z = 1e3 * contours.places(line[:, 1], line[:, 0])
            axes.plot(z, x, y, color=colour, linewidth=1.1, label=label, zorder=5)
            label = None
            for one in np.linspace(0, len(line) - 1, 6)[:-1].astype(int):
                axes.plot(
                    [0, z[one]],
                    [0, x[one]],
                    [0, y[one]],
                    color=colour,
                    linewidth=0.5,
                    alpha=0.35,
                    zorder=3,
                )


def _beam(axes: Axes3D, geometry: Geometry, across: float) -> float:
    """The beam, from before the sample to the plane of the detector; its end in millimetres."""
    end = 1e3 * Cone.of(geometry).distance
    axes.plot([-0.25 * end, end], [0, 0], [0, 0], color=BEAM, linewidth=1.4, label="beam", zorder=4)
    axes.plot([0], [0], [0], "o", color=INK, markersize=6, zorder=6)
    axes.text(0, 0, 0.12 * across, "sample", color=INK, fontsize=9, ha="center")
    axes.plot([end], [0], [0], "+", color=BEAM, markersize=9, zorder=6)
    y, x, z = 1e3 * _foot(geometry)
    axes.plot([z], [x], [y], "D", color=MUTED, markersize=4, zorder=6, label="PONI")
    return float(end)


def _foot(geometry: Geometry) -> FloatArray:
    """The PONI in the laboratory: y, x and z in metres."""
    return np.array(geometry.lab_from_plane(np.array(geometry.poni1), np.array(geometry.poni2)))


def _view(geometry: Geometry) -> tuple[float, float]:
    """Elevation and azimuth in degrees from which the face of the detector is seen aslant."""
    y, x, z = -_foot(geometry)  # the normal, towards the sample
    elevation = np.rad2deg(np.arctan2(y, np.hypot(x, z)))
    return float(np.clip(elevation + _ABOVE, -60.0, 75.0)), float(
        np.rad2deg(np.arctan2(x, z)) + _BESIDE
    )
