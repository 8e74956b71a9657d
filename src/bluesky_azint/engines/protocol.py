r"""What an engine does: sum the pixels of frames into bins.

Everything that does not depend on the frame (masks, dark, flat, solid angle ...) is summed per bin
once, elsewhere. An engine gives, for every frame, with :math:`c` the shares of the look-up,

.. math:: \sum c_i\, raw_i \quad\text{and}\quad \sum c_i^2\, raw_i

over the pixels that are good in that frame, and tells which ones were not.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

FloatArray = NDArray[np.float64]
Frames = NDArray[Any]


class FrameSums(NamedTuple):
    """Sums over the good pixels of one frame, per bin, and its bad pixels.

    ``square`` (:math:`\\sum c^2 raw`) is None unless the engine was asked for it. ``bad`` holds the
    flat indices, in increasing order, of pixels that are in the look-up but bad in this frame.
    """

    signal: FloatArray
    square: FloatArray | None
    bad: NDArray[np.int64]


class Engine(Protocol):
    """Sums frames into bins; made for one look-up."""

    @property
    def name(self) -> str:
        """As users choose it: ``"scipy"``, ``"opencl"``."""

    def sum_frame(self, frame: Frames) -> FrameSums:
        """Sum one frame, a contiguous array of shape ``(n_pixels,)`` of any numeric type."""


@dataclass(frozen=True)
class BadValues:
    """Values that mark a pixel as bad in a frame.

    NaN and infinity always do, and so does the largest value of an integer type: the counter is
    full, whatever there was to count. A dummy below zero means, in an unsigned frame, what it
    becomes there: -1 is 65535 in uint16.

    Parameters
    ----------
    dummy
        The value; None for no value.
    delta
        How far from it a pixel may be to be bad; None for not at all.
    """

    dummy: float | None = None
    delta: float | None = None

    def interval(self, dtype: np.dtype[Any]) -> tuple[float, float] | tuple[int, int] | None:
        """Ends of the values that the dummy covers in this type, both included; None for none."""
        if self.dummy is None:
            return None
        delta = abs(self.delta or 0.0)
        low, high = self.dummy - delta, self.dummy + delta
        if dtype.kind == "f":
            if self.delta is None and dtype.itemsize < 8:
                low = high = float(dtype.type(self.dummy))
            return low, high
        limits = np.iinfo(dtype)
        first, last = int(np.ceil(low)), int(np.floor(high))
        if dtype.kind == "u" and last < 0:
            first, last = first + limits.max + 1, last + limits.max + 1
        first, last = max(first, limits.min), min(last, limits.max)
        return (first, last) if first <= last else None

    def __call__(self, values: Frames) -> NDArray[np.bool_]:
        """Which values are bad, a boolean array of the same shape."""
        if values.dtype.kind == "f":
            bad = ~np.isfinite(values)
        else:
            bad = values == np.iinfo(values.dtype).max
        interval = self.interval(values.dtype)
        if interval is not None:
            bad |= (values >= interval[0]) & (values <= interval[1])
        return bad
