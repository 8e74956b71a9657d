r"""Reference: what comes out in double precision, by NumPy alone.

The shares are those of `bluesky_azint.splitting`, in float64, and every sum is an
:func:`numpy.bincount`: no engine and no look-up table has a say.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from bluesky_azint.benchmark.cases import Case
from bluesky_azint.benchmark.scene import BAD, POLARIZATION, Frames, Scene, grid_of
from bluesky_azint.benchmark.ways import Patterns
from bluesky_azint.corrections import polarization_from_position
from bluesky_azint.grid import Grid, blocks, split_block

FloatArray = NDArray[np.float64]

CYCLES = 5
THRESHOLD = 5.0


@dataclass(frozen=True, eq=False)
class Reference:
    """What comes out.

    Parameters
    ----------
    patterns
        One for each frame.
    touched
        Bins that a pixel touches, on average over all pixels.
    """

    patterns: Patterns
    touched: float


def reference(case: Case, scene: Scene) -> Reference:
    """Patterns and their errors, one for each frame."""
    grid = grid_of(case, scene)
    entries = _entries(scene, grid)
    rows = [_pattern(case, entries, frame.ravel()) for frame in scene.frames]

    def column(name: str) -> FloatArray:
        return np.reshape([getattr(row, name) for row in rows], (len(rows), *grid.shape))

    sigma = None if case.error_model is None else column("sigma")
    patterns = Patterns(column("intensity"), sigma, column("signal"))
    return Reference(patterns, entries.share.size / scene.frames[0].size)


def difference(found: FloatArray, expected: FloatArray) -> float:
    """Largest difference of a bin, relative to the larger of both; 1 where only one fills a bin."""
    larger = np.maximum(np.abs(found), np.abs(expected))
    return float(_ratio(np.abs(found - expected), larger).max(initial=0.0))


@dataclass(frozen=True, eq=False)
class _Entries:
    """Every pair of a pixel and a bin that it touches, with its share; and the weight of pixels."""

    n_bins: int
    pixel: NDArray[np.int32]
    bins: NDArray[np.int32]
    share: FloatArray
    weight: FloatArray

    def sum(self, values: FloatArray, kept: NDArray[np.bool_], power: int = 1) -> FloatArray:
        """Sum over the kept pixels of values, times a power of the shares, in each bin."""
        chosen = np.where(kept, values, 0.0)[self.pixel] * self.share**power
        return np.bincount(self.bins, chosen, minlength=self.n_bins).astype(np.float64)


def _entries(scene: Scene, grid: Grid) -> _Entries:
    geometry = scene.geometry
    mask = geometry.detector.mask
    columns = geometry.shape[1]
    pixel, bins, share = [], [], []
    for rows in blocks(geometry):
        usable = np.ones((rows.stop - rows.start, columns), bool) if mask is None else ~mask[rows]
        shares = split_block(geometry, grid, rows, usable)
        number = np.flatnonzero(usable) + rows.start * columns
        pixel.append(number[shares.pixel].astype(np.int32))
        bins.append(shares.bin.astype(np.int32))
        share.append(shares.weight)
    weight = geometry.solid_angle() * polarization_from_position(*geometry.centres(), POLARIZATION)
    return _Entries(
        grid.n_bins,
        np.concatenate(pixel),
        np.concatenate(bins),
        np.concatenate(share),
        weight.ravel(),
    )


def _pattern(case: Case, entries: _Entries, frame: Frames) -> Patterns:
    kept, values = frame != BAD, frame.astype(np.float64)
    if case.clip:
        kept = _clipped(entries, values, kept)
    signal, norm = entries.sum(values, kept), entries.sum(entries.weight, kept)
    intensity = _ratio(signal, norm)
    if case.error_model is None:
        return Patterns(intensity, None, signal)
    if case.error_model == "azimuthal":
        variance = _spread(entries, values, kept, intensity)
    else:
        one = np.ones_like(values)
        count, count2 = entries.sum(one, kept), entries.sum(one, kept, 2)
        variance = np.maximum(entries.sum(values, kept, 2), _ratio(count2, count))
    return Patterns(intensity, _ratio(np.sqrt(variance), norm), signal)


def _spread(
    entries: _Entries, values: FloatArray, kept: NDArray[np.bool_], intensity: FloatArray
) -> FloatArray:
    """The squared distances of pixels from the mean of their bin, in two passes."""
    expected = intensity[entries.bins] * entries.weight[entries.pixel]
    distance = (values[entries.pixel] - expected) * entries.share
    chosen = np.where(kept[entries.pixel], distance**2, 0.0)
    return np.bincount(entries.bins, chosen, minlength=entries.n_bins).astype(np.float64)


def _clipped(entries: _Entries, values: FloatArray, kept: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """The pixels that are not too far from the mean of their bin; of pixels that are not split."""
    place = np.full(values.size, entries.n_bins)
    place[entries.pixel] = entries.bins
    kept = kept & (place < entries.n_bins)
    for _ in range(CYCLES):
        norm2 = entries.sum(entries.weight**2, kept)
        mean = _ratio(entries.sum(values, kept), entries.sum(entries.weight, kept))
        spread = np.sqrt(_ratio(_spread(entries, values, kept, mean), norm2))
        count = np.maximum(entries.sum(np.ones_like(values), kept), 3.0)
        limit = spread * np.maximum(THRESHOLD, np.sqrt(2.0 * np.log(count / np.sqrt(2.0 * np.pi))))
        distance = np.abs(values / entries.weight - np.append(mean, 0.0)[place])
        near = distance <= np.append(limit, np.inf)[place]
        if (near | ~kept).all():
            break
        kept &= near
    return kept


def _ratio(numerator: FloatArray, denominator: FloatArray) -> FloatArray:
    return np.divide(numerator, denominator, out=np.zeros_like(numerator), where=denominator != 0)
