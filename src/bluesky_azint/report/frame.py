"""The frame, with the predicted rings over one half of it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from bluesky_azint.calibration.result import Calibration
from bluesky_azint.errors import FrameError
from bluesky_azint.report.rings import Contours, marked_rings
from bluesky_azint.report.style import INK, MASKED, RING_COLOURS, figure, key_below, ring_key, tidy

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from matplotlib.lines import Line2D

FloatArray = NDArray[np.float64]

_MOST = 1100  # pixels along the longer side of a picture
_FAINTEST, _BRIGHTEST = 2.0, 99.0  # percentiles that are white and black


@dataclass(frozen=True, eq=False)
class Frame:
    """The image of a calibration, and which of its pixels tell nothing.

    Parameters
    ----------
    counts
        Of detector shape.
    bad
        Of that shape: masked, not finite, or marked as bad by their value.
    """

    counts: FloatArray
    bad: NDArray[np.bool_]

    @classmethod
    def of(cls, calibration: Calibration, image: NDArray[Any]) -> Frame:
        """The frame.

        Raises
        ------
        FrameError
            If the image is not of the shape of the detector.
        """
        image = np.asarray(image)
        if image.shape != calibration.mask.shape:
            raise FrameError(
                f"The image is of shape {image.shape}, and what was calibrated of shape "
                f"{calibration.mask.shape}; give the image that the calibration was made from."
            )
        bad = calibration.mask | ~np.isfinite(image)
        if image.dtype.kind in "iu":
            bad |= (image == np.iinfo(image.dtype).max) | (image < 0)
        return cls(np.where(bad, 0.0, image).astype(np.float64), bad)

    def shrunk(self, most: int = _MOST) -> tuple[np.ma.MaskedArray[Any, Any], int]:
        """Means of blocks of good pixels, and how many pixels a block is long."""
        block = -(-max(self.counts.shape) // most)
        number = _block_sums(~self.bad, block)
        sums = _block_sums(np.where(self.bad, 0.0, self.counts), block)
        return np.ma.masked_array(sums / np.maximum(number, 1), number == 0), block


def stabilised(counts: np.ma.MaskedArray[Any, Any]) -> np.ma.MaskedArray[Any, Any]:
    """Square roots of counts, which are as noisy where there are many as where there are few."""
    stable: np.ma.MaskedArray[Any, Any] = np.ma.sqrt(np.ma.clip(counts, 0.0, None))
    return stable


def draw_frame(calibration: Calibration, contours: Contours | None, frame: Frame) -> Figure:
    """The frame; over its right half the rings, so that the left half shows what was measured."""
    rows, columns = frame.counts.shape
    drawn = figure(height=float(np.clip(5.7 * rows / columns + 0.9, 3.0, 8.5)))
    axes = drawn.subplots()
    show_counts(axes, frame)
    handles = [] if contours is None else _mark(axes, calibration, contours)
    axes.set(xlim=(-0.5, columns - 0.5), ylim=(-0.5, rows - 0.5), xlabel="column", ylabel="row")
    if frame.bad.any():
        handles.append(_patch())
    key_below(drawn, handles)
    tidy(axes, grid=False)
    return drawn


def show_counts(axes: Axes, frame: Frame) -> None:
    """The square root of the counts, black on white as on a film."""
    import matplotlib as mpl

    counts, block = frame.shrunk()
    shown = stabilised(counts)
    low, high = contrast(shown)
    height, width = (size * block - 0.5 for size in shown.shape)
    axes.imshow(
        shown,
        origin="lower",
        extent=(-0.5, width, -0.5, height),
        cmap=mpl.colormaps["Greys"].with_extremes(bad=MASKED),
        vmin=low,
        vmax=high,
    )


def contrast(shown: np.ma.MaskedArray[Any, Any]) -> tuple[float, float]:
    """What is white, and what is black."""
    if not shown.count():
        return 0.0, 1.0
    low, high = np.percentile(shown.compressed(), [_FAINTEST, _BRIGHTEST])
    return float(low), float(max(high, low + 1e-3 * max(1.0, abs(low))))


def _mark(axes: Axes, calibration: Calibration, contours: Contours) -> list[Line2D]:
    from matplotlib.collections import LineCollection

    middle = calibration.mask.shape[1] / 2
    states = set()
    for ring in marked_rings(calibration):
        lines = [line[line[:, 0] >= middle] for line in contours.at(ring.two_theta)]
        if lines := [_joined(line) for line in lines if len(line) > 1]:
            states.add(ring.state)
            axes.add_collection(
                LineCollection(lines, colors=RING_COLOURS[ring.state], linewidths=0.8, alpha=0.9)
            )
    axes.axvline(middle, color=INK, linewidth=0.5, alpha=0.35)
    return ring_key(states)


def _joined(line: FloatArray) -> FloatArray:
    """A line cut by the middle, with breaks where it left the half that is shown."""
    steps = np.hypot(*np.diff(line, axis=0).T)
    broken = np.flatnonzero(steps > 10 * max(np.median(steps), 1e-9)) + 1
    return np.insert(line, broken, np.nan, axis=0)


def _patch() -> Line2D:
    from matplotlib.lines import Line2D

    return Line2D(
        [], [], color=MASKED, marker="s", markersize=8, linestyle="none", label="masked or bad"
    )


def _block_sums(values: NDArray[Any], block: int) -> FloatArray:
    rows, columns = values.shape
    padded = np.pad(values.astype(np.float32), ((0, -rows % block), (0, -columns % block)))
    blocks = padded.reshape(padded.shape[0] // block, block, -1, block)
    sums: FloatArray = blocks.sum(axis=(1, 3), dtype=np.float64)
    return sums
