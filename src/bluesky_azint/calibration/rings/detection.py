"""Pieces of rings at the scale where they show best.

Sharp rings are seen best in single pixels, broad or weak ones in blocks; grains in a row along short
strokes where they are dense, and along long ones where they are not. All scales are looked at, and
the one is taken where most of the length of rings is found in long pieces.
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
_STROKES = (12.0, 20.0, 32.0)  # pixels
_LONG_ROW = 2.0  # strokes: shorter ones are chance


def detect(image: NDArray[Any], mask: NDArray[np.bool_]) -> Arcs:
    """The pieces of continuous rings in a frame.

    Parameters
    ----------
    image
        Counts, (rows, columns).
    mask
        Pixels without a count to trust.
    """
    binning = _binning(image)
    scales = [find_arcs(clean(image, mask, binning * 2**k)) for k in range(_SCALES)]
    lengths = [_length(arcs, _LONG) * 2**k for k, arcs in enumerate(scales)]
    return scales[int(np.argmax(lengths))]


def detect_grains(image: NDArray[Any], mask: NDArray[np.bool_]) -> Arcs:
    """The rows of grains in a frame; parameters as for `detect`."""
    frame = clean(image, mask, _binning(image))
    scales = [find_arcs(frame, stroke).longer(_LONG_ROW * stroke) for stroke in _STROKES]
    return max(scales, key=lambda arcs: len(arcs.row))


def _binning(image: NDArray[Any]) -> int:
    binning = 1
    while image.size / binning**2 > _MOST_PIXELS:
        binning *= 2
    return binning


def _length(arcs: Arcs, least: float) -> int:
    """Number of points on arcs of at least so many points."""
    points = np.bincount(arcs.arc)
    return int(points[points >= least].sum())
