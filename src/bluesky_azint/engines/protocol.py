r"""What an engine does: sum the pixels of frames into bins.

Everything that does not depend on the frame (masks, dark, flat, solid angle ...) is summed per bin
once. Of every frame an engine gives, with :math:`c` the shares of the look-up,

.. math:: \sum c_i\, raw_i, \qquad \sum c_i^2\, raw_i

over the pixels that are good in that frame, and tells which ones were not. Where the spread of the
pixels is asked for, it gives in place of the second, with the weight :math:`w` of each pixel and
:math:`s = raw - dark`,

.. math:: \sum c_i^2 s_i^2, \qquad \sum c_i^2 s_i w_i
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from bluesky_azint.packed import PackedFrames

FloatArray = NDArray[np.float64]
Frames = NDArray[Any]


class FrameSums(NamedTuple):
    r"""Sums over the good pixels of one frame, per bin, and its bad pixels.

    What was not asked for is None. ``bad`` holds the flat indices, in increasing order, of pixels
    that are in the look-up but bad in this frame. ``square`` is :math:`\sum c^2 raw`, ``squared``
    and ``mixed`` are :math:`\sum c^2 s^2` and :math:`\sum c^2 s w`.
    """

    signal: FloatArray
    square: FloatArray | None
    bad: NDArray[np.int64]
    squared: FloatArray | None = None
    mixed: FloatArray | None = None

    @classmethod
    def of_rows(
        cls, rows: Sequence[FloatArray] | FloatArray, bad: NDArray[np.int64], wanted: Wanted
    ) -> FrameSums:
        """What was wanted, out of the signal and what follows it.

        A share of one is its own square: of whole pixels the signal alone says both.
        """
        if wanted.spread is not None:
            return cls(rows[0], None, bad, rows[1], rows[2])
        return cls(rows[0], rows[-1] if wanted.square else None, bad)

    def plus(self, other: FrameSums) -> FrameSums:
        """The sums of these pixels and of others."""
        return FrameSums(
            self.signal + other.signal,
            _sum(self.square, other.square),
            np.union1d(self.bad, other.bad),
            _sum(self.squared, other.squared),
            _sum(self.mixed, other.mixed),
        )


@dataclass(frozen=True, eq=False)
class Spread:
    """What the spread of the pixels is measured against: flat arrays, ``(n_pixels,)``.

    Parameters
    ----------
    weight
        Of each pixel.
    dark
        Of each pixel; None for none.
    """

    weight: NDArray[np.float32]
    dark: FloatArray | None = None


@dataclass(frozen=True, eq=False)
class Wanted:
    """What is wanted beside the signal.

    Parameters
    ----------
    square
        The sums with the squared shares.
    spread
        The sums that tell the spread of the pixels; in place of the former.
    """

    square: bool = False
    spread: Spread | None = None


class Engine(Protocol):
    """Sums frames into bins; made for one look-up."""

    @property
    def name(self) -> str:
        """As users choose it: ``"scipy"``, ``"opencl"``."""

    @property
    def batch(self) -> int:
        """How many frames it is best given at once."""

    def sum_frames(self, frames: Frames | PackedFrames) -> Sequence[FrameSums]:
        """Sum frames, a contiguous array ``(n, n_pixels)`` of any numeric type, or packed."""

    def sum_map(self, values: Frames) -> FrameSums:
        """Signal and square of values of the pixels, ``(n_pixels,)``, of which none is bad."""


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
            most = float(np.finfo(dtype).max)
            if low > most or high < -most:
                return None
            if self.delta is None:
                low = high = float(dtype.type(self.dummy))
            return max(low, -most), min(high, most)
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


def _sum(one: FloatArray | None, other: FloatArray | None) -> FloatArray | None:
    return None if one is None or other is None else one + other
