"""The pixels near rings, gathered: what is fitted, and which line and sector it belongs to."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bluesky_azint.calibration.cone import Cone
from bluesky_azint.calibration.refinement.lines import Lines
from bluesky_azint.calibration.surface import FloatArray, Surface

BLOCK = 1 << 16  # pixels at a time: what is worked on stays in cache
THREADS = 2


@dataclass(frozen=True, eq=False, kw_only=True)
class Pixels:
    """Pixels near rings: arrays of equal length.

    Parameters
    ----------
    index
        Number of the pixel, in raster order.
    value
        What it counted.
    line
        Position in `Lines`.
    sector
        Number of the sector, over all lines.
    x
        How far outside of the line it lies, in radians.
    weight
        Counts relative to the counts on the beam for the same intensity: solid angle and mean
        polarization.
    """

    index: NDArray[np.intp]
    value: FloatArray
    line: NDArray[np.intp]
    sector: NDArray[np.intp]
    x: FloatArray
    weight: FloatArray

    def __len__(self) -> int:
        return len(self.index)

    def __getitem__(self, chosen: NDArray[np.bool_] | NDArray[np.intp]) -> Pixels:
        return Pixels(**{name: value[chosen] for name, value in vars(self).items()})


@dataclass(frozen=True, eq=False)
class Sampler:
    """An image to take pixels from.

    Parameters
    ----------
    image
        Values of the pixels, of detector shape.
    good
        Which of them count.
    surface
        Where they lie.
    """

    image: NDArray[Any]
    good: NDArray[np.bool_]
    surface: Surface

    def near(
        self, cone: Cone, lines: Lines, half_width: FloatArray, among: NDArray[np.intp] | None
    ) -> Pixels:
        """The pixels not farther than that from lines, and their sectors.

        Parameters
        ----------
        cone
            How the detector stands.
        lines
            Whose windows do not overlap.
        half_width
            Of their windows, in radians.
        among
            The pixels that may be chosen; None means all.
        """
        candidates = np.flatnonzero(self.good) if among is None else among
        edges = np.stack([lines.two_theta - half_width, lines.two_theta + half_width], axis=1)
        turns = lines.sectors
        first = np.cumsum(turns) - turns
        flat = self.image.reshape(-1)

        def block(index: NDArray[np.intp]) -> tuple[Any, ...]:
            places = self.surface.of_pixels(index)
            two_theta = cone.two_theta(places)
            position = np.searchsorted(edges.reshape(-1), two_theta)
            inside = np.flatnonzero(position & 1)
            line = position[inside] >> 1
            index, places, two_theta = index[inside], places[:, inside], two_theta[inside]
            turn = cone.chi(places) * (0.5 / np.pi) + 0.5
            sector = np.minimum((turn * turns[line]).astype(np.intp), turns[line] - 1)
            return (
                index,
                flat[index].astype(np.float64),
                line,
                sector + first[line],
                two_theta - lines.two_theta[line],
                _weight(cone, places, two_theta),
            )

        parts = in_blocks(block, candidates)
        fields = ("index", "value", "line", "sector", "x", "weight")
        joined = map(np.concatenate, zip(*parts, strict=True))
        return Pixels(**dict(zip(fields, joined, strict=True)))


def in_blocks(work: Callable[[Any], Any], candidates: NDArray[np.intp]) -> list[Any]:
    """What work makes of candidates, block by block."""
    starts = range(0, max(len(candidates), 1), BLOCK)
    with ThreadPoolExecutor(THREADS) as pool:
        return list(pool.map(lambda start: work(candidates[start : start + BLOCK]), starts))


def _weight(cone: Cone, places: FloatArray, two_theta: FloatArray) -> FloatArray:
    """Solid angle and mean polarization, 1 on the beam."""
    beam = np.array([cone.tilt1, cone.tilt2, 1.0])
    sample = np.array([cone.centre1, cone.centre2, 0.0]) - cone.distance * beam / np.sqrt(
        beam @ beam
    )
    square = sum((place - start) ** 2 for place, start in zip(places, sample, strict=True))
    over = cone.distance**2 / square
    weight: FloatArray = over * np.sqrt(over) * (0.5 + 0.5 * np.cos(two_theta) ** 2)
    return weight


def unsaturated(image: NDArray[Any], good: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """The good pixels that are not at the end of their range.

    That is the largest value of an integer, or the largest value there is where it comes so often
    that it must be a ceiling.
    """
    if image.dtype.kind in "iu":
        good = good & (image < np.iinfo(image.dtype).max)
    values = image[good]
    if values.size == 0:
        return good
    top = values.max()
    at_top = np.count_nonzero(values == top)
    below = np.count_nonzero(values >= 0.9 * top) - at_top
    if top > 200 and at_top >= 20 and at_top > 0.3 * below:
        good = good & (image < top)
    return good
