"""The grid: the bins of one or two coordinates, and the pixels of a detector in them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from bluesky_azint.binning import Axis
from bluesky_azint.errors import RecipeError
from bluesky_azint.geometry import Geometry
from bluesky_azint.splitting import Coordinate, Shares, split
from bluesky_azint.units import CHI_DEG, Unit

FloatArray = NDArray[np.float64]
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
) -> Grid:
    """The grid of the ranges asked for, or of what the whole detector covers.

    The mask has no say, so that it never moves an axis.

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
    period = azimuthal_unit.period
    if azimuth_range is None and npt_azim is None and period is not None:
        azimuth_range = (-0.5 * period, 0.5 * period)
    if azimuth_range is None:
        azimuth_range = _extent(geometry, azimuthal_unit, splitting)
    if radial_range is None:
        radial_range = _extent(geometry, radial_unit, splitting)
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
    corners = grid.splitting != "no"
    radial = _coordinate(geometry, grid.radial, grid.radial_unit, rows, usable, corners=corners)
    azimuthal = None
    if grid.needs_azimuth:
        azimuthal = _coordinate(
            geometry, grid.azimuthal, grid.azimuthal_unit, rows, usable, corners=corners
        )
    finite = _finite(radial) if azimuthal is None else _finite(radial) & _finite(azimuthal)
    if finite.all():
        return split(grid.splitting, radial, azimuthal)
    kept = np.flatnonzero(finite)
    shares = split(grid.splitting, radial.take(kept), azimuthal and azimuthal.take(kept))
    return shares._replace(pixel=kept[shares.pixel])


def _coordinate(
    geometry: Geometry, axis: Axis, unit: Unit, rows: slice, usable: Mask, *, corners: bool
) -> Coordinate:
    centre = unit(geometry.centres(rows), geometry.wavelength)[usable]
    relative = None
    if corners:
        corner = geometry.at_corners(lambda place: unit(place, geometry.wavelength), rows)
        with np.errstate(invalid="ignore"):
            relative = axis.difference(corner[usable], centre[:, np.newaxis])
    origin = -np.inf
    if unit.positive and axis.period is None:
        origin = float(axis.position(np.zeros(1))[0])
    return Coordinate(axis, axis.position(centre), relative, origin)


def _finite(coordinate: Coordinate) -> Mask:
    """Pixels that have a place on the axis: not where log or 1/q of the beam is infinite."""
    finite = np.isfinite(coordinate.centre)
    if coordinate.corners is not None:
        finite &= np.isfinite(coordinate.corners).all(axis=1)
    return finite


def _extent(geometry: Geometry, unit: Unit, splitting: str) -> Range:
    """Smallest and largest value that the pixels cover: of centres, boxes or corners."""
    ends = [_block_extent(geometry, unit, splitting, rows) for rows in blocks(geometry)]
    lower, upper = min(low for low, _ in ends), max(high for _, high in ends)
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
    corner = geometry.at_corners(lambda place: unit(place, geometry.wavelength), rows)
    rounded = (corner / unit.scale).astype(np.float32).astype(np.float64) * unit.scale
    scale = Axis(0.0, 1.0, 1, unit.period)  # of bins of one unit
    low, high = (scale.difference(values, centre[..., np.newaxis]) for values in (corner, rounded))
    if splitting == "full":
        return _finite_ends(centre + low.min(axis=-1), centre + high.max(axis=-1))
    return _finite_ends(centre - np.abs(low).max(axis=-1), centre + np.abs(high).max(axis=-1))


def _finite_ends(lower: FloatArray, upper: FloatArray) -> Range:
    lower, upper = lower[np.isfinite(lower)], upper[np.isfinite(upper)]
    return float(lower.min(initial=np.inf)), float(upper.max(initial=-np.inf))
