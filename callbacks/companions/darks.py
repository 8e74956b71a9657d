"""Dark frames: averaged as they come, and chosen by exposure and age."""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from bluesky_azint.callbacks.companions.config import DarkConfig

Floats = NDArray[np.float64]


@dataclass(frozen=True, kw_only=True)
class DarkLabel:
    """What a mean dark frame is known by.

    Parameters
    ----------
    data_key, shape
        The images that it is of, and their rows and columns.
    raw_uid, number
        The run, and which of its darks, counted from 1.
    time
        Of the start of that run, in seconds since the epoch.
    frames
        How many were averaged.
    exposure
        In seconds; None if it is not known.
    """

    data_key: str
    shape: tuple[int, int]
    raw_uid: str
    number: int
    time: float
    frames: int
    exposure: float | None = None


@dataclass(frozen=True, kw_only=True, eq=False)
class Dark:
    """A mean dark frame.

    Parameters
    ----------
    label
        Which one it is.
    mean, variance
        ``(rows, columns)``, the mean of the frames and the variance of that mean; NaN in pixels
        that were bad in all of them. In single precision, as they are kept.
    scale
        What they have been multiplied by, see `scaled`.
    """

    label: DarkLabel
    mean: NDArray[np.float32]
    variance: NDArray[np.float32]
    scale: float = 1.0

    @property
    def key(self) -> Hashable:
        """Equal where the same is subtracted."""
        return self.label, self.scale

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


class DarkMean:
    r"""The mean of dark frames, pixel by pixel, and its variance.

    With the deviations :math:`d_i` from the first frame the mean of :math:`n` frames is
    :math:`d_0 + \sum d_i / n`, and its variance
    :math:`(\sum d_i^2 - (\sum d_i)^2 / n) / (n - 1) / n`: exact for integers, however high they
    are. One frame tells nothing of its variance, which is then that of counted photons.
    """

    def __init__(self) -> None:
        self.frames = 0
        self._first: Floats | None = None
        self._sum = self._squares = np.zeros(0)
        self._counts = np.zeros(0, dtype=np.int64)

    def add(self, frame: NDArray[np.generic]) -> None:
        """Take a frame ``(rows, columns)``.

        Bad pixels, of which the value is not finite or the end of the range of integers, are left
        out.
        """
        good = _good(frame)
        values = np.where(good, frame, 0).astype(np.float64)
        if self._first is None:
            self._first = np.where(good, values, np.nan)
            self._sum, self._squares = np.zeros(frame.shape), np.zeros(frame.shape)
            self._counts = np.zeros(frame.shape, dtype=np.int64)
        # Where all frames were bad so far, this one is the first.
        self._first = np.where(np.isnan(self._first) & good, values, self._first)
        deviation = np.where(good, values - self._first, 0.0)
        self._sum += deviation
        self._squares += deviation**2
        self._counts += good
        self.frames += 1

    def dark(self, label: DarkLabel) -> Dark:
        """The dark of all frames so far."""
        if self._first is None:
            raise RuntimeError("There is no mean of no dark frames.")
        n = np.maximum(self._counts, 1)
        mean = self._first + self._sum / n
        spread = (self._squares - self._sum**2 / n) / np.maximum(n - 1, 1) / n
        variance = np.where(n > 1, np.maximum(spread, 0.0), np.maximum(mean, 0.0))
        return Dark(
            label=replace(label, frames=self.frames),
            mean=mean.astype(np.float32),
            variance=np.where(np.isnan(mean), np.nan, variance).astype(np.float32),
        )


def choose(
    groups: Iterable[Sequence[DarkLabel]], exposure: float | None, config: DarkConfig
) -> tuple[DarkLabel, float] | None:
    """The dark for frames, and what to multiply it by; None if none can serve.

    Parameters
    ----------
    groups
        The darks there are, the oldest of a group first. The first group that has one that can
        serve gives it: the youngest of the same exposure, or else the youngest that can be scaled.
    exposure
        Of the frames, in seconds; None if it is not known.
    config
        What may be chosen.
    """
    for group in groups:
        factors = [(label, factor(label, exposure, config)) for label in reversed(group)]
        serving = [(label, found) for label, found in factors if found is not None]
        if serving:
            return next((pair for pair in serving if pair[1] == 1.0), serving[0])
    return None


def factor(label: DarkLabel, exposure: float | None, config: DarkConfig) -> float | None:
    """What a dark is multiplied by for frames of an exposure; None if it cannot serve them."""
    if exposure is None:
        return 1.0
    if label.exposure is None:
        return None
    ratio = exposure / label.exposure
    if abs(ratio - 1.0) <= config.exposure_tolerance:
        return 1.0
    return ratio if config.scale else None


def _good(frame: NDArray[np.generic]) -> NDArray[np.bool_]:
    if frame.dtype.kind in "iu":
        limits = np.iinfo(frame.dtype)  # type: ignore[type-var]  # it is one of integers
        good: NDArray[np.bool_] = frame != limits.max
        return good if limits.min == 0 else good & (frame != limits.min)
    return np.ones(frame.shape, bool) if frame.dtype.kind == "b" else np.isfinite(frame)
