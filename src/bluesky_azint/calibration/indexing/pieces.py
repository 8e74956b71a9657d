"""Points on pieces of rings, few enough to try many geometries on."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from bluesky_azint.calibration.rings.ridges import Arcs
from bluesky_azint.calibration.surface import Surface

FloatArray = NDArray[np.float64]

_LEAST_POINTS = 4  # of an arc


@dataclass(frozen=True, eq=False)
class Pieces:
    """Points on arcs, as the search sees them.

    Parameters
    ----------
    places
        In detector sizes, ``(3, n)``.
    arc
        Number of the arc that each point is on, from 0 on, ascending.
    pixel
        Size of a pixel in detector sizes.
    extent
        Length of each arc, in points that were found.
    """

    places: FloatArray
    arc: NDArray[np.intp]
    pixel: float
    extent: FloatArray

    def every(self, step: int) -> Pieces:
        """Fewer points of each arc."""
        return replace(self, places=self.places[:, ::step], arc=self.arc[::step])

    @property
    def lengths(self) -> NDArray[np.intp]:
        """Number of points on each arc."""
        return np.bincount(self.arc)


def sample(arcs: Arcs, surface: Surface, arcs_used: int, points_used: int) -> Pieces:
    """About so many points of the longest arcs, of each as many as its length deserves."""
    lengths = np.bincount(arcs.arc)
    first = np.concatenate([[0], np.cumsum(lengths)])
    longest = np.sort(np.argsort(-lengths, kind="stable")[:arcs_used])
    share = points_used / max(lengths[longest].sum(), 1)
    points = np.clip(lengths[longest] * share, _LEAST_POINTS, lengths[longest]).astype(np.intp)
    chosen = np.concatenate(
        [
            np.linspace(first[k], first[k + 1] - 1, number).round().astype(np.intp)
            for k, number in zip(longest, points, strict=True)
        ]
    )
    return Pieces(
        places=surface.at(arcs.row[chosen], arcs.column[chosen]) / surface.size,
        arc=np.repeat(np.arange(len(longest)), points),
        pixel=surface.pixel / surface.size,
        extent=lengths[longest].astype(np.float64),
    )
