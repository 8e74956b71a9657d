"""How the pictures of a report look: paper-white, one colour for one meaning, small files."""

from __future__ import annotations

from io import BytesIO
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from bluesky_azint.errors import RecipeError
from bluesky_azint.report.rings import State

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from matplotlib.lines import Line2D

WIDTH = 6.4  # inches: letters of 10 points can then still be read on a phone
DPI = 160

INK = "#243b53"
MUTED = "#829ab1"
GRID = "#e4e9ef"
PANE = "#f3f6f9"
MASKED = "#cfe0ee"
DATA = "#2f6f9f"
FOREIGN = "#0f8a7e"
BEAM = "#c62828"
RING_COLOURS: dict[State, str] = {
    "used": "#e8710a",
    "left out": "#8e44ad",
    "missing": "#c62828",
    "predicted": "#e8710a",
}
RING_WORDS: dict[State, str] = {
    "used": "ring used",
    "left out": "ring found, left out",
    "missing": "ring not found",
    "predicted": "ring predicted",
}


def figure(height: float, width: float = WIDTH) -> Figure:
    """An empty figure, in inches, that no window and no pyplot knows of.

    Raises
    ------
    RecipeError
        If matplotlib is not installed.
    """
    try:
        from matplotlib.figure import Figure
    except ImportError:
        raise RecipeError(
            "The pictures of a report are drawn by matplotlib, which is not installed; install it "
            "with the extra bluesky-azint[plot]."
        ) from None
    return Figure(figsize=(width, height), dpi=DPI, layout="constrained", facecolor="white")


def tidy(axes: Axes, *, grid: bool = True) -> None:
    """Quiet frames and ticks, so that the data speak."""
    axes.tick_params(colors=INK, length=3, width=0.6)
    for spine in axes.spines.values():
        spine.set(color=MUTED, linewidth=0.6)
    axes.xaxis.label.set_color(INK)
    axes.yaxis.label.set_color(INK)
    if grid:
        axes.grid(color=GRID, linewidth=0.6)
        axes.set_axisbelow(True)


def ring_key(states: set[State]) -> list[Line2D]:
    """What a legend shows of the colours of rings."""
    from matplotlib.lines import Line2D

    return [
        Line2D([], [], color=colour, linewidth=1.5, label=RING_WORDS[state])
        for state, colour in RING_COLOURS.items()
        if state in states
    ]


def key_below(drawn: Figure, handles: list[Line2D]) -> None:
    """A legend that covers nothing."""
    if handles:
        drawn.legend(
            handles=handles, loc="outside lower center", ncols=3, frameon=False, labelcolor=INK
        )


def png(drawn: Figure) -> bytes:
    """A figure as PNG of 256 colours, a third of the size of one of all."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from PIL import Image

    canvas = FigureCanvasAgg(drawn)
    canvas.draw()  # type: ignore[no-untyped-call]
    pixels = np.asarray(canvas.buffer_rgba())[..., :3]  # type: ignore[no-untyped-call]
    frequent = Image.fromarray(pixels).quantize(256 - len(_kept())).getpalette() or []
    palette = np.concatenate([_kept(), np.reshape(frequent, (-1, 3))])[:256]
    picture = Image.fromarray(_nearest(palette, pixels))
    picture.putpalette(palette.astype(np.uint8).tobytes())
    file = BytesIO()
    picture.save(file, "PNG")
    return file.getvalue()


def _kept() -> NDArray[np.float64]:
    """White, black, and the colours that mean something, however few pixels have them, (n, 3)."""
    from matplotlib.colors import to_rgb

    named = {"white", "black", INK, MASKED, DATA, FOREIGN, BEAM, *RING_COLOURS.values()}
    full = np.array([to_rgb(name) for name in sorted(named)])
    tints = (full + 1.0) / 2.0  # of their edges
    return np.rint(255.0 * np.concatenate([full, tints]))


def _nearest(palette: NDArray[np.float64], pixels: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Index of the nearest colour, by the upper six bits of each level."""
    from scipy.spatial import cKDTree

    red, green, blue = np.moveaxis(pixels >> 2, -1, 0).astype(np.int32)
    packed = red << 12 | green << 6 | blue
    seen = np.flatnonzero(np.bincount(packed.ravel(), minlength=1 << 18))
    levels = np.stack([seen >> 12, seen >> 6 & 63, seen & 63], axis=1) * (255.0 / 63.0)
    table = np.zeros(1 << 18, dtype=np.uint8)
    table[seen] = cKDTree(palette).query(levels)[1]
    nearest: NDArray[np.uint8] = table[packed]
    return nearest
