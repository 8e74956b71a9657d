"""Build: sort the pixels of a detector into the bins of a grid.

In blocks of rows, in double precision, so that little memory is needed beside the table itself.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice

import numpy as np
from numpy.typing import NDArray

from bluesky_azint.geometry import Geometry
from bluesky_azint.grid import Grid, blocks, split_block
from bluesky_azint.lookup.layout import Layout, Packed, assemble, pack
from bluesky_azint.lookup.table import Lookup

Mask = NDArray[np.bool_]

# To see how many bins pixels touch, one block of so many is enough.
SAMPLED = 8


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
    usable = np.ones(geometry.shape, dtype=bool) if mask is None else ~mask
    layout = _layout(geometry, grid, usable)
    return assemble(_packed(geometry, grid, usable, layout), grid.n_bins, layout)


def _layout(geometry: Geometry, grid: Grid, usable: Mask) -> Layout:
    """The layout that suits the pixels."""
    if grid.splitting == "no" or grid.azimuthal.npt > 1:
        return Layout.for_grid(grid, np.empty(0, np.int64))
    sample = islice(blocks(geometry), 0, None, SAMPLED)
    shares = (split_block(geometry, grid, rows, usable[rows]) for rows in sample)
    return Layout.for_grid(grid, np.concatenate([np.bincount(part.pixel) for part in shares]))


def _packed(geometry: Geometry, grid: Grid, usable: Mask, layout: Layout) -> Iterator[Packed]:
    for rows in blocks(geometry):
        used = np.flatnonzero(usable[rows])
        shares = split_block(geometry, grid, rows, usable[rows])
        yield pack(
            shares._replace(pixel=used[shares.pixel]), usable[rows].size, grid.n_bins, layout
        )
