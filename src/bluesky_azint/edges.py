"""Pixels along the edges of modules that count more or less than their neighbours.

They are often larger, or see charge drift in from the guard ring. A line of pixels beside a gap is
compared with the third one, in stretches of eight pixels: it is off if three quarters of its
stretches are, to the same side. A ring that runs along an edge for a while changes a few.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Mask = NDArray[np.bool_]
FloatArray = NDArray[np.float32]

_DEPTH = 2  # lines from the edge that are looked at
_STRETCH = 8  # pixels
_STRETCHES = 8  # in a line, at least
_OFF = 0.15  # relative to the pixels further in
_SIGMAS = 6.0  # for the whole line
_SHARE = 0.75  # of the stretches


def find_edges(counts: FloatArray, good: Mask, gain: float = 1.0) -> Mask:
    """Lines of pixels along gaps and the border of the frame that count otherwise.

    Parameters
    ----------
    counts
        (rows, columns).
    good
        False in the gaps, and where counts cannot be trusted.
    gain
        Variance of a count over the count.
    """
    found = np.zeros(counts.shape, bool)
    for axis in (0, 1):
        for reverse in (False, True):
            step = (slice(None, None, -1 if reverse else 1), slice(None))
            turned = (counts.T, good.T, found.T) if axis else (counts, good, found)
            _look_down(turned[0][step], turned[1][step], turned[2][step], gain)
    return found


def _look_down(counts: FloatArray, good: Mask, found: Mask, gain: float) -> None:
    """Mark lines below gaps, in place."""
    wanted = _STRETCH * _STRETCHES
    above = np.vstack([np.zeros((1, good.shape[1]), bool), good[:-1]])
    begins = good & ~above
    for row in np.flatnonzero(begins.sum(axis=1) >= wanted):
        if row + _DEPTH >= len(good):
            continue
        for start, stop in _runs(begins[row]):
            columns = slice(start, stop - (stop - start) % _STRETCH)
            if stop - start < wanted:
                continue
            for depth in range(_DEPTH):
                line, inner = (row + depth, columns), (row + _DEPTH, columns)
                if not _is_off(counts[line], counts[inner], good[line] & good[inner], gain):
                    break
                found[row + depth, start:stop] = True


def _runs(flags: Mask) -> list[tuple[int, int]]:
    """Where runs of True begin and end; a hole of a few pixels is no end."""
    places = np.flatnonzero(flags)
    breaks = np.flatnonzero(np.diff(places) > _STRETCH)
    starts = places[np.concatenate([[0], breaks + 1])]
    stops = places[np.concatenate([breaks, [len(places) - 1]])] + 1
    return list(zip(starts.tolist(), stops.tolist(), strict=True))


def _is_off(line: FloatArray, inner: FloatArray, both: Mask, gain: float) -> bool:
    here, there = (
        np.where(both, counts, 0).reshape(-1, _STRETCH).sum(axis=1, dtype=np.float64)
        for counts in (line, inner)
    )
    difference = here.sum() - there.sum()
    if abs(difference) < _SIGMAS * np.sqrt(gain * max(here.sum() + there.sum(), 1.0)):
        return False
    return bool(np.mean(np.sign(difference) * (here - there) > _OFF * there) >= _SHARE)
