"""The grid: the bins of one or two coordinates, and the pixels of a detector in them."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cached_property, reduce
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from bluesky_azint.binning import Axis
from bluesky_azint.errors import RecipeError
from bluesky_azint.geometry import Geometry, Position
from bluesky_azint.splitting import Coordinate, Shares, split
from bluesky_azint.units import CHI_DEG, Unit

T = TypeVar("T")
FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]
Mask = NDArray[np.bool_]
Range = tuple[float, float]

ROWS_PER_BLOCK = 64


@dataclass(frozen=True)
class Grid:
    """Bins of a radial and an azimuthal coordinate, counted radially first.

    Parameters
    ----------
    radial, azimuthal
        The axes. A pattern in one dimension has one azimuthal bin: the range that counts.
    radial_unit, azimuthal_unit
        What is along them.
    splitting
        How a pixel is shared among bins, see `bluesky_azint.splitting`.
    two_dimensional
        Whether the azimuthal bins are a dimension of the result.
    """

    radial: Axis
    azimuthal: Axis
    radial_unit: Unit
    azimuthal_unit: Unit
    splitting: str
    two_dimensional: bool = False

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of a result, ``(npt,)`` or ``(npt_azim, npt)``."""
        npt = self.radial.npt
        return (self.azimuthal.npt, npt) if self.two_dimensional else (npt,)

    @property
    def n_bins(self) -> int:
        """Number of bins."""
        return self.radial.npt * self.azimuthal.npt

    @property
    def needs_azimuth(self) -> bool:
        """Whether the azimuth of a pixel has a say in where it goes."""
        return not self.azimuthal.undivided or self.splitting in ("pseudo", "full")


def make_grid(
    geometry: Geometry,
    radial_unit: Unit,
    splitting: str,
    npt: int,
    radial_range: Range | None = None,
    *,
    npt_azim: int | None = None,
    azimuth_range: Range | None = None,
    azimuthal_unit: Unit = CHI_DEG,
    find_extent: Callable[[Geometry, Unit, str], Range] | None = None,
) -> Grid:
    """The grid of the ranges asked for, or of what the whole detector covers.

    The mask has no say, so that it never moves an axis. What the detector covers is found by
    `extent`, or by another function that gives the same.

    Raises
    ------
    RecipeError
        If a range holds nothing, or pixels cannot be split so.
    """
    if splitting == "full" and radial_unit.period is not None:
        raise RecipeError(
            f"Pixels have no area in the plane of {radial_unit.name} and azimuth, so that "
            "splitting='full' cannot share them; choose 'bbox' or 'no'."
        )
    find_extent = find_extent or extent
    period = azimuthal_unit.period
    if azimuth_range is None and npt_azim is None and period is not None:
        azimuth_range = (-0.5 * period, 0.5 * period)
    if azimuth_range is None:
        azimuth_range = _bounded(find_extent(geometry, azimuthal_unit, splitting), azimuthal_unit)
    if radial_range is None:
        radial_range = _bounded(find_extent(geometry, radial_unit, splitting), radial_unit)
    return Grid(
        radial=Axis.from_range(*radial_range, npt, radial_unit.period),
        azimuthal=Axis.from_range(*azimuth_range, npt_azim or 1, period),
        radial_unit=radial_unit,
        azimuthal_unit=azimuthal_unit,
        splitting=splitting,
        two_dimensional=npt_azim is not None,
    )


def blocks(geometry: Geometry) -> Iterator[slice]:
    """Blocks of rows, small enough for what is computed of one to stay in the cache."""
    n1, _ = geometry.shape
    for start in range(0, n1, ROWS_PER_BLOCK):
        yield slice(start, min(start + ROWS_PER_BLOCK, n1))


def in_blocks(geometry: Geometry, work: Callable[[slice], T]) -> list[T]:
    """What `work` gives for each block of rows. Threads share the blocks: NumPy leaves them free."""
    every = list(blocks(geometry))
    if len(every) == 1:
        return [work(every[0])]
    with ThreadPoolExecutor(len(os.sched_getaffinity(0))) as pool:
        return list(pool.map(work, every))


@dataclass(frozen=True, eq=False)
class Along:
    """Where some pixels lie along an axis, in its unit.

    Parameters
    ----------
    axis
        The bins.
    centre
        Of each pixel, of any shape.
    corners
        Corner by corner, arrays of that shape; None without splitting.
    origin
        See `Coordinate`.
    """

    axis: Axis
    centre: FloatArray
    corners: Sequence[FloatArray] | None
    origin: float

    @cached_property
    def position(self) -> FloatArray:
        """Of the centres in units of bins, ``(n,)``."""
        return self.axis.position(self.centre).ravel()

    @cached_property
    def half_width(self) -> FloatArray:
        """Largest distance of a corner from the centre in units of bins, ``(n,)``.

        Raises
        ------
        ValueError
            If there are no corners.
        """
        if self.corners is None:
            raise ValueError("Pixels can only be split with their corners.")
        return farthest(self.axis, self.corners, self.centre).ravel()

    def take(self, pixels: IntArray) -> Coordinate:
        """The coordinate of some pixels."""
        centre = self.centre.ravel()[pixels]
        relative = None
        if self.corners is not None:
            place = np.unravel_index(pixels, self.centre.shape)
            corners = np.stack([corner[place] for corner in self.corners], axis=-1)
            with np.errstate(invalid="ignore"):
                relative = self.axis.difference(corners, centre[:, np.newaxis])
        return Coordinate(self.axis, self.axis.position(centre), relative, self.origin)


def farthest(axis: Axis, corners: Sequence[FloatArray], centre: FloatArray) -> FloatArray:
    """Largest distance of a corner from the centre in units of bins, of the shape of the centres."""
    largest = np.zeros_like(centre)
    distance = np.empty_like(centre)
    with np.errstate(invalid="ignore"):
        for corner in corners:
            if axis.period is None:
                np.subtract(corner, centre, out=distance)
            else:
                distance = axis.difference(corner, centre)
            np.maximum(largest, np.abs(distance, out=distance), out=largest)
        if axis.period is None:
            largest /= axis.step
    return largest


def along_axes(geometry: Geometry, grid: Grid, rows: slice) -> tuple[Along, Along | None]:
    """Where the pixels of a block of rows lie along the radial and, if need be, the azimuthal axis."""
    knots = geometry.knots(rows) if grid.splitting != "no" else None

    def corners(values: FloatArray) -> list[FloatArray]:
        return geometry.around(values)

    return _both(geometry, grid, geometry.centres(rows), knots, corners)


def along_axes_of(geometry: Geometry, grid: Grid, pixels: IntArray) -> tuple[Along, Along | None]:
    """The same of some pixels of a regular grid, by their flat indices."""
    centres, knots = geometry.places_of(pixels)
    return _both(geometry, grid, centres, knots, lambda values: list(values.T))


def split_block(geometry: Geometry, grid: Grid, rows: slice, usable: Mask) -> Shares:
    """Shares of the usable pixels of a block of rows, numbered from 0.

    Parameters
    ----------
    geometry, grid
        Where the pixels are, and the bins.
    rows
        The block.
    usable
        Boolean, of the shape of the block.
    """
    return split_some(grid, *along_axes(geometry, grid, rows), np.flatnonzero(usable))


def split_some(grid: Grid, radial: Along, azimuthal: Along | None, pixels: IntArray) -> Shares:
    """Shares of some pixels, numbered from 0; pixels that have no place on an axis have none."""
    one = radial.take(pixels)
    other = None if azimuthal is None else azimuthal.take(pixels)
    finite = _finite(one) if other is None else _finite(one) & _finite(other)
    if finite.all():
        return split(grid.splitting, one, other)
    kept = np.flatnonzero(finite)
    shares = split(grid.splitting, one.take(kept), other and other.take(kept))
    return shares._replace(pixel=kept[shares.pixel])


def _both(
    geometry: Geometry,
    grid: Grid,
    centres: Position,
    knots: Position | None,
    corners: Callable[[FloatArray], Sequence[FloatArray]],
) -> tuple[Along, Along | None]:
    def along(axis: Axis, unit: Unit) -> Along:
        origin = -np.inf
        if unit.positive and axis.period is None:
            origin = float(axis.position(np.zeros(1))[0])
        seen = None
        if knots is not None and grid.splitting != "no":
            seen = corners(unit(knots, geometry.wavelength))
        return Along(axis, unit(centres, geometry.wavelength), seen, origin)

    radial = along(grid.radial, grid.radial_unit)
    return radial, along(grid.azimuthal, grid.azimuthal_unit) if grid.needs_azimuth else None


def _finite(coordinate: Coordinate) -> Mask:
    """Pixels that have a place on the axis: not where log or 1/q of the beam is infinite."""
    finite = np.isfinite(coordinate.centre)
    if coordinate.corners is not None:
        finite &= np.isfinite(coordinate.corners).all(axis=1)
    return finite


def extent(geometry: Geometry, unit: Unit, splitting: str) -> Range:
    """Smallest and largest finite value that the pixels cover: of centres, boxes or corners."""
    ends = in_blocks(geometry, lambda rows: _block_extent(geometry, unit, splitting, rows))
    return min(low for low, _ in ends), max(high for _, high in ends)


def _bounded(ends: Range, unit: Unit) -> Range:
    """An automatic range."""
    lower, upper = ends
    if not (np.isfinite(lower) and np.isfinite(upper)):
        raise RecipeError(
            f"No pixel has a finite {unit.name}, so that there is no automatic range; "
            "give one, or another unit."
        )
    if unit.positive:
        lower = max(lower, 0.0)
    if unit.period is not None and max(-lower, upper) > 0.5 * unit.period:
        return -0.5 * unit.period, 0.5 * unit.period  # pixels lie across the cut
    return lower, upper


def _block_extent(geometry: Geometry, unit: Unit, splitting: str, rows: slice) -> Range:
    """The extent of a block of rows.

    The largest is that of corners in single precision, which pyFAI has: so the axes are equal.
    """
    centre = unit(geometry.centres(rows), geometry.wavelength)
    if splitting == "no":
        return _finite_ends(centre, centre)
    exact = unit(geometry.knots(rows), geometry.wavelength)
    with np.errstate(over="ignore"):
        rounded = (exact / unit.scale).astype(np.float32).astype(np.float64) * unit.scale
    scale = Axis(0.0, 1.0, 1, unit.period)  # of bins of one unit
    low, high = geometry.around(exact), geometry.around(rounded)
    if splitting != "full":
        return _finite_ends(
            centre - farthest(scale, low, centre), centre + farthest(scale, high, centre)
        )
    with np.errstate(invalid="ignore"):
        lower = reduce(np.minimum, (scale.difference(corner, centre) for corner in low))
        upper = reduce(np.maximum, (scale.difference(corner, centre) for corner in high))
    return _finite_ends(centre + lower, centre + upper)


def _finite_ends(lower: FloatArray, upper: FloatArray) -> Range:
    lowest, highest = float(lower.min()), float(upper.max())
    if np.isfinite(lowest) and np.isfinite(highest):
        return lowest, highest
    lower, upper = lower[np.isfinite(lower)], upper[np.isfinite(upper)]
    return float(lower.min(initial=np.inf)), float(upper.max(initial=-np.inf))
