"""Patterns as they are drawn: the last curve, or cake, beside the waterfall of the scan."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from bluesky_azint.callbacks.pattern import Floats, Pattern
from bluesky_azint.callbacks.pattern_reader import FrameReduced, RunBegun
from bluesky_azint.units import unit

if TYPE_CHECKING:
    from matplotlib.artist import Artist
    from matplotlib.axes import Axes
    from matplotlib.image import AxesImage

Image = NDArray[np.float32]

_RANGE = (1.0, 99.8)  # percentiles that colours tell apart
_LOST = "0.85"  # the colour of frames without a pattern


class History:
    """The last patterns of one stream, by row.

    Parameters
    ----------
    run, stream
        The reduced run, and the name of the stream.
    rows
        How many to keep.

    Attributes
    ----------
    last
        The last pattern, and which event it is of.
    """

    def __init__(self, run: RunBegun, stream: str, rows: int) -> None:
        self.run = run
        self.stream = stream
        self.last: tuple[int, Pattern] | None = None
        self.without: int | None = None  # the last event, if it has no pattern
        self._most = rows
        self._rows: dict[int, Image] = {}
        self._newest = 0

    def add(self, frame: FrameReduced) -> None:
        """Take a pattern; of a cake, the waterfall has the mean over the azimuth."""
        self.without = frame.seq_num if frame.pattern is None else None
        self._newest = max(self._newest, frame.row)
        if frame.pattern is not None:
            self.last = frame.seq_num, frame.pattern
            self._rows[frame.row] = _curve(frame.pattern).astype(np.float32)
        for row in [row for row in self._rows if row <= self._newest - self._most]:
            del self._rows[row]

    @property
    def image(self) -> tuple[int, Image]:
        """Number of the first row, and the waterfall, (rows, npt); NaN where there is none."""
        bins = 1 if self.last is None else self.last[1].radial.size
        first = max(1, self._newest - self._most + 1)
        image = np.full((self._newest - first + 1, bins), np.nan, dtype=np.float32)
        for row, curve in self._rows.items():
            image[row - first] = curve
        return first, image


class Panel:
    """Draws one history: its last pattern on the left, the waterfall on the right.

    Parameters
    ----------
    history
        What to draw.
    left, right
        Where.
    """

    def __init__(self, history: History, left: Axes, right: Axes) -> None:
        self.history = history
        self._left = left
        self._right = right
        self._last: list[Artist] = []
        self._waterfall: AxesImage | None = None
        right.set(ylabel="frame", facecolor=_LOST)

    def draw(self, last: tuple[int, Pattern] | None, first: int, image: Image) -> None:
        """Draw the last pattern, and the waterfall from a row on."""
        if last is None:
            self._left.set_title(f"{self._name}: no pattern so far", color="tab:red")
            return
        seq_num, pattern = last
        lost = self.history.without
        end = "" if lost is None else f"; event {lost} has no pattern"
        self._left.set_title(f"{self._name}, event {seq_num}{end}", fontsize="medium")
        for axes in (self._left, self._right):
            axes.set_xlabel(unit(pattern.unit).label)
        for artist in self._last:
            artist.remove()
        draw = self._draw_curve if pattern.azimuthal is None else self._draw_cake
        self._last = draw(pattern)
        extent = (*_ends(pattern.radial), first + len(image) - 0.5, first - 0.5)
        if self._waterfall is None:
            self._waterfall = _show(self._right, image, extent)
        self._waterfall.set_data(image)
        self._waterfall.set_extent(extent)
        self._waterfall.set_clim(*_limits(image))

    @property
    def _name(self) -> str:
        return f"{self.history.run.data_key}, {self.history.stream}"

    def _draw_curve(self, pattern: Pattern) -> list[Artist]:
        axes, radial, intensity = self._left, pattern.radial, pattern.intensity
        artists: list[Artist] = [*axes.plot(radial, intensity, color="tab:blue", linewidth=0.9)]
        if pattern.sigma is not None:
            low, high = intensity - pattern.sigma, intensity + pattern.sigma
            band = axes.fill_between(radial, low, high, color="tab:blue", alpha=0.3, linewidth=0)
            artists.append(band)
        axes.set_ylabel("intensity")
        axes.relim()  # what was drawn before, no longer counts; where the user zoomed, it stays
        axes.autoscale_view()
        return artists

    def _draw_cake(self, pattern: Pattern) -> list[Artist]:
        axes, azimuthal = self._left, pattern.azimuthal
        if azimuthal is None:
            raise RuntimeError("A pattern is drawn as a cake, and is none.")
        shown = np.where(pattern.intensity == 0, np.nan, pattern.intensity)  # 0: no pixel
        extent = (*_ends(pattern.radial), *_ends(azimuthal))
        image = _show(axes, shown, extent, origin="lower")
        image.set_clim(*_limits(shown))
        axes.set(ylabel="azimuth", facecolor=_LOST)
        return [image]


def _show(
    axes: Axes, image: NDArray[np.floating], extent: tuple[float, ...], origin: str = "upper"
) -> AxesImage:
    from matplotlib.colors import PowerNorm

    return axes.imshow(
        image,
        extent=extent,  # type: ignore[arg-type]
        origin=origin,  # type: ignore[arg-type]
        aspect="auto",
        interpolation="nearest",
        norm=PowerNorm(0.5),  # shows weak rings beside strong ones
    )


def _curve(pattern: Pattern) -> Floats:
    """A pattern as one curve: of a cake, the mean over the azimuths with pixels."""
    if pattern.azimuthal is None:
        return pattern.intensity
    seen = np.isfinite(pattern.intensity) & (pattern.intensity != 0)
    total: Floats = np.where(seen, pattern.intensity, 0.0).sum(axis=0)
    mean: Floats = total / np.maximum(seen.sum(axis=0), 1)
    return mean


def _ends(centres: Floats) -> tuple[float, float]:
    """Where the first bin begins, and the last one ends."""
    half = (centres[-1] - centres[0]) / max(centres.size - 1, 1) / 2 or 0.5
    return float(centres[0] - half), float(centres[-1] + half)


def _limits(image: NDArray[np.floating]) -> tuple[float, float]:
    values = image[np.isfinite(image)]
    if not values.size:
        return 0.0, 1.0
    low, high = np.percentile(values, _RANGE).tolist()
    return low, high if high > low else low + 1.0
