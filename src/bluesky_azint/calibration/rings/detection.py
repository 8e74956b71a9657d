"""Pieces of rings at the scale where they show best.

Sharp rings are seen best in single pixels, broad or weak ones in blocks: all scales are looked at,
and the one is taken where most of the length of rings is found in long pieces.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from bluesky_azint.calibration.rings.cleaning import clean
from bluesky_azint.calibration.rings.ridges import Arcs, find_arcs

_MOST_PIXELS = 1.4e6  # that are looked at; of larger frames, blocks
_SCALES = 3
_LONG = 25  # points


def detect(image: NDArray[Any], mask: NDArray[np.bool_], strokes: bool = False) -> Arcs:
    """The pieces of rings in a frame.

    Parameters
    ----------
    image
        Counts, (rows, columns).
    mask
        Pixels without a count to trust.
    strokes
        Whether to look for rings that are not continuous.
    """
    binning = 1
    while image.size / binning**2 > _MOST_PIXELS:
        binning *= 2
    scales = [find_arcs(clean(image, mask, binning * 2**k), strokes) for k in range(_SCALES)]
    lengths = [_length(arcs) * 2**k for k, arcs in enumerate(scales)]
    return scales[int(np.argmax(lengths))]


def _length(arcs: Arcs) -> int:
    """Number of points on long arcs."""
    points = np.bincount(arcs.arc)
    return int(points[points >= _LONG].sum())
