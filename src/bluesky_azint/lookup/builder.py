"""Builder: what is computed of every pixel before the first frame, by NumPy.

Another builder, which computes the same on another device, is one of this kind that falls back to
it for what it cannot do.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from bluesky_azint.corrections import Corrections
from bluesky_azint.geometry import Geometry
from bluesky_azint.grid import Grid, Range, extent, in_blocks
from bluesky_azint.lookup.build import build_lookup
from bluesky_azint.lookup.table import Lookup
from bluesky_azint.units import Unit

Mask = NDArray[np.bool_]


class Builder:
    """Computes in blocks of rows, which threads share."""

    def extent(self, geometry: Geometry, unit: Unit, splitting: str) -> Range:
        """Smallest and largest finite value that the pixels cover, see `grid.extent`."""
        return extent(geometry, unit, splitting)

    def weights(self, geometry: Geometry, corrections: Corrections) -> NDArray[np.float32]:
        """Product of the corrections of every pixel, of detector shape."""
        weights = np.empty(geometry.shape, np.float32)

        def fill(rows: slice) -> None:
            weights[rows] = corrections(geometry, rows)

        in_blocks(geometry, fill)
        return weights

    def lookup(self, geometry: Geometry, grid: Grid, mask: Mask | None) -> Lookup:
        """Which pixel goes into which bin, see `build_lookup`."""
        return build_lookup(geometry, grid, mask)
