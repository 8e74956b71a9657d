"""Dark frames: averaged as they come, kept for later runs, and chosen by exposure and age."""

from __future__ import annotations

from collections.abc import Hashable
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True, kw_only=True, eq=False)
class Dark:
    """A mean dark frame.

    Parameters
    ----------
    data_key
        The images that it is of.
    mean, variance
        ``(rows, columns)``, the mean of the frames and the variance of that mean; NaN in pixels
        that were bad in all of them. In single precision, as they are kept.
    frames
        How many were averaged.
    time
        Of the run that they are of, in seconds since the epoch.
    exposure
        In seconds; None if it is not known.
    raw_uid, number
        The run, and which of its darks, counted from 1.
    scale
        What `mean` has been multiplied by, see `scaled`.
    """

    data_key: str
    mean: NDArray[np.float32]
    variance: NDArray[np.float32]
    frames: int
    time: float
    raw_uid: str
    exposure: float | None = None
    number: int = 1
    scale: float = 1.0

    @property
    def key(self) -> Hashable:
        """Equal where the same is subtracted."""
        return self.raw_uid, self.data_key, self.number, self.frames, self.scale

    def scaled(self, factor: float) -> Dark:
        """The dark of an exposure that is that many times as long."""
        if factor == 1.0:
            return self
        return replace(
            self,
            mean=np.multiply(self.mean, factor, dtype=np.float32),
            variance=np.multiply(self.variance, factor**2, dtype=np.float32),
            scale=self.scale * factor,
        )
