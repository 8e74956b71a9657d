"""The roofline: the limit that memory sets, and how far from it a case is.

All that an integration has to move is the frame, once, and the look-up, once for all frames of a
call. What it has to do is to add every pixel to each bin that it touches, for every sum.
"""

from __future__ import annotations

import time
from dataclasses import dataclass

import numpy as np

from bluesky_azint.benchmark.cases import Case
from bluesky_azint.benchmark.scene import Scene
from bluesky_azint.benchmark.ways import lookup_bytes

_READ = 2**28  # bytes: more than caches hold
_ROUNDS = 5
_SUMS = {None: 1, "poisson": 2, "azimuthal": 3}


@dataclass(frozen=True)
class Traffic:
    """What a case moves and does for each pixel of a frame, at the least.

    Parameters
    ----------
    read
        Bytes.
    updates
        Additions to a bin.
    """

    read: float
    updates: float

    def limit(self, bandwidth: float) -> float:
        """Seconds a pixel, where so many bytes a second are read."""
        return self.read / bandwidth


def traffic_of(case: Case, scene: Scene, touched: float) -> Traffic:
    """The traffic of a case.

    Parameters
    ----------
    case, scene
        What is integrated.
    touched
        Bins that a pixel touches, on average.
    """
    table = lookup_bytes(case, scene) / scene.frames[0].size
    # A share of one is its own square.
    sums = (
        1 if case.splitting == "no" and case.error_model == "poisson" else _SUMS[case.error_model]
    )
    return Traffic(scene.frames.itemsize + table / case.frames, touched * sums)


def bandwidth() -> float:
    """Bytes a second that one core reads from memory, in CPU time."""
    values = np.ones(_READ // 8, np.uint64)  # zeros would all be one page
    times = []
    for _ in range(_ROUNDS):
        start = time.process_time()
        np.bitwise_or.reduce(values)
        times.append(time.process_time() - start)
    return _READ / min(times)
