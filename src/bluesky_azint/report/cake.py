"""The cake: azimuth against scattering angle, in which a ring is a straight line.

Where the geometry is wrong the rings bend away from the lines: once per turn for a wrong centre,
twice for a wrong tilt.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from bluesky_azint.calibration.result import Calibration
from bluesky_azint.reduction.integrator import Integrator
from bluesky_azint.report.frame import Frame, contrast, stabilised
from bluesky_azint.report.rings import Contours, Marked, marked_rings
from bluesky_azint.report.style import MASKED, RING_COLOURS, figure, key_below, ring_key, tidy

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_RADIAL, _AZIMUTHAL = 700, 240
_GAP = 60  # degrees without a pixel, which are then not shown
_FEW = 500_000  # pixels, which leave bins empty if each goes into one of them


def draw_cake(calibration: Calibration, contours: Contours, frame: Frame) -> Figure:
    """The frame by angles, with the rings where they should be."""
    import matplotlib as mpl

    rings = [ring for ring in marked_rings(calibration) if contours.holds(ring.two_theta)]
    result = Integrator(
        contours.geometry,
        npt=_RADIAL,
        npt_azim=_AZIMUTHAL,
        unit="2th_deg",
        splitting="bbox" if frame.counts.size < _FEW else "no",
        mask=frame.bad,
        radial_range=_range(rings, contours),
        azimuth_range=azimuths(contours),
        engine="histogram",
    ).integrate(frame.counts)
    azimuthal = result.azimuthal
    if azimuthal is None:
        raise ValueError("A pattern in two dimensions has azimuths.")  # never: it was asked for
    shown = stabilised(np.ma.masked_array(result.intensity, result.count == 0))
    low, high = contrast(shown)
    drawn = figure(height=6.6)
    axes = drawn.subplots()
    axes.imshow(
        shown,
        origin="lower",
        aspect="auto",
        extent=(result.radial[0], result.radial[-1], azimuthal[0], azimuthal[-1]),
        cmap=mpl.colormaps["Greys"].with_extremes(bad=MASKED),
        vmin=low,
        vmax=high,
        interpolation="nearest",
    )
    for ring in rings:
        axes.axvline(
            np.rad2deg(ring.two_theta), color=RING_COLOURS[ring.state], linewidth=0.9,
            linestyle=(0, (6, 10)),
        )  # fmt: skip
    axes.set(xlabel="scattering angle 2θ (degree)", ylabel="azimuth χ (degree)")
    key_below(drawn, ring_key({ring.state for ring in rings}))
    tidy(axes, grid=False)
    return drawn


def _range(rings: list[Marked], contours: Contours) -> tuple[float, float]:
    """In degrees; not nearer to the beam than is of use, where there are fewer pixels than bins."""
    lowest, highest = contours.two_theta.min(), contours.two_theta.max()
    first = min((ring.two_theta for ring in rings), default=0.0)
    return float(np.rad2deg(max(lowest, 0.6 * first))), float(np.rad2deg(highest))


def azimuths(contours: Contours) -> tuple[float, float] | None:
    """The azimuths in degrees that the detector sees, in one piece; None for all around."""
    seen = np.unique(np.floor(np.rad2deg(contours.chi)).astype(int))
    gaps = np.diff(seen, append=seen[0] + 360)
    widest = int(gaps.argmax())
    if gaps[widest] < _GAP:
        return None
    low = int(seen[(widest + 1) % seen.size])
    return float(low), float(low + 361 - gaps[widest])
