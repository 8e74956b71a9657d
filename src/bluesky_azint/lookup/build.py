"""Build: sort the pixels of a detector into the bins of a grid.

In blocks of rows, in double precision, so that little memory is needed beside the table itself.
Most pixels of a block are told at once (`plain`, `polygons`), the odd ones one after another.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial

import numpy as np
from numpy.typing import NDArray

from bluesky_azint.geometry import Geometry
from bluesky_azint.grid import Grid, along_axes, along_axes_of, in_blocks, split_some
from bluesky_azint.lookup.layout import Layout, Rows, pack
from bluesky_azint.lookup.plain import fill_plain
from bluesky_azint.lookup.polygons import fill_polygons
from bluesky_azint.lookup.table import Lookup
from bluesky_azint.splitting import Shares

Mask = NDArray[np.bool_]

# To see how many bins pixels touch, so many are enough.
SAMPLED = 2**13

PLAIN = ("no", "bbox")


def build_lookup(geometry: Geometry, grid: Grid, mask: Mask | None = None) -> Lookup:
    """Sort every pixel that is not masked into the bins of the grid.

    Parameters
    ----------
    geometry
        Where the pixels are.
    grid
        The bins, and how a pixel is shared among them.
    mask
        Boolean, of detector shape, True = masked.
    """
    layout = layout_for(geometry, grid)
    table = Rows.empty(geometry.shape[0] * geometry.shape[1], grid.n_bins, layout)
    rest = in_blocks(geometry, partial(_fill, geometry, grid, mask, layout, table))
    return table.lookup(layout, rest, geometry.shape[1])


def layout_for(geometry: Geometry, grid: Grid) -> Layout:
    """The layout that suits the pixels, masked or not."""
    if grid.splitting == "no" or grid.azimuthal.npt > 1:
        return Layout.for_grid(grid, np.empty(0, np.int64))
    return Layout.for_grid(grid, np.concatenate([*_touched(geometry, grid)]))


def _touched(geometry: Geometry, grid: Grid) -> Iterator[NDArray[np.int64]]:
    """How many bins some pixels touch, from all over the detector."""
    n1, n2 = geometry.shape
    if geometry.regular:
        pixels = np.unique(np.linspace(0, n1 * n2 - 1, SAMPLED).astype(np.int64))
        along = along_axes_of(geometry, grid, pixels)
        yield np.bincount(split_some(grid, *along, np.arange(pixels.size)).pixel)
        return
    for row in np.unique(np.linspace(0, n1 - 1, max(SAMPLED // n2, 1)).astype(np.int64)):
        along = along_axes(geometry, grid, slice(int(row), int(row) + 1))
        yield np.bincount(split_some(grid, *along, np.arange(n2)).pixel)


def _fill(
    geometry: Geometry, grid: Grid, mask: Mask | None, layout: Layout, table: Rows, rows: slice
) -> Shares:
    """Fill a block of rows of the table; what does not fit into it is returned."""
    n2 = geometry.shape[1]
    start = rows.start * n2
    block = table[start : rows.stop * n2]
    usable = np.ones(block.first.size, bool) if mask is None else ~mask[rows].ravel()
    along = along_axes(geometry, grid, rows)
    odd = usable
    if grid.splitting in PLAIN:
        odd = fill_plain(grid, *along, usable, block)
    elif grid.splitting == "full" and grid.azimuthal.undivided and along[1] is not None:
        odd = fill_polygons(along[0], along[1], usable, block)
    pixels = np.flatnonzero(odd)
    packed = pack(split_some(grid, *along, pixels), pixels.size, grid.n_bins, layout)
    block.put(pixels, packed)
    return packed.rest._replace(pixel=pixels[packed.rest.pixel] + start)
