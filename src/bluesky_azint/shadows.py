r"""Shadows on a frame: the beam stop, its arm, and whatever else stands in the way.

Rings are narrow, and the background between them varies slowly. So what a low quantile of the
counts is over a wide window is the background, and a shadow is a connected area that

* lies below half of the background around it, beyond what counting statistics allow,
* has an edge: just outside, the counts are at least 1.6 times those just inside,
* which is a step: further out they do not rise any more. What fades slowly is no shadow, the
  inside of a halo or a corner of the detector, nor is a valley between broad rings.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage
from scipy.special import pdtr

Mask = NDArray[np.bool_]
FloatArray = NDArray[np.float32]

_DEPTH = 2.0  # times that a shadow lies below the background
_STEP = 1.6  # times that the edge of a shadow rises
_PLATEAU = 0.6  # of the counts further out that there are just outside
_NOTHING = 0.01  # of the median of the frame: no counts at all, however large the area
_DIM = 0.7  # of the background: half-shadowed
_CHANCE = 1e-3  # of a block being so dark by chance; a shadow is several
_BLOCKS = 6  # that make a shadow, at least
_WANTED = 25.0  # counts in a block
_SIZES = (4, 8, 16, 32)  # of a block, in pixels
_CELLS = 64  # along the frame, of which the background is made
_WIDE, _FEW = 15, 15  # cells in a window; percentile of them that is the background
_NARROW, _MANY = 5, 40  # the same just outside a shadow, where the background may be steep
_LOW = 30  # percentile that is the background in a cell


def find_shadows(counts: FloatArray, good: Mask, gain: float = 1.0) -> Mask:
    """Areas in the shadow of something.

    Parameters
    ----------
    counts
        (rows, columns).
    good
        Where they can be trusted.
    gain
        Variance of a count over the count.

    Returns
    -------
    Of the shape of the frame; True in a shadow. Empty where there are too few counts to tell.
    """
    dark = np.zeros(counts.shape, bool)
    level = float(np.median(counts[good])) if good.any() else 0.0
    enough = [size for size in _SIZES if level * size**2 / gain >= _WANTED]
    if not enough or min(counts.shape) < 16 * enough[0]:
        return dark
    size = enough[0]
    known = _blocks(good, size)
    total = _blocks(np.where(good, counts, 0), size)
    mean = np.where(2 * known >= size**2, total / np.maximum(known, 1), np.nan)
    found = _sharp_areas(mean < _NOTHING * level, mean)
    background = _background(np.where(found, np.nan, mean), _WIDE, _FEW)
    with np.errstate(invalid="ignore"):
        low = mean < background / _DEPTH
        low &= pdtr(total / gain, 0.8 * background * known / gain) < _CHANCE
    found |= _sharp_areas(low, mean)
    if not found.any():
        return dark
    background = _background(np.where(found, np.nan, mean), _NARROW, _MANY)
    rows, columns = (length * size for length in mean.shape)
    dark[:rows, :columns] = _enlarged(found, size)
    return _up_to_the_edge(dark, counts, good, _enlarged(background, size), size)


def _sharp_areas(low: Mask, mean: NDArray[Any]) -> Mask:
    """Of blocks that are dark those that make up areas with sharp edges.

    One that runs around a larger area is a valley between broad rings, unless it reaches the border
    of the frame. A small hole of an area belongs to it: light leaks through a beam stop.
    """
    found = np.zeros(low.shape, bool)
    areas, number = ndimage.label(low, np.ones((3, 3)))
    for area, place in enumerate(ndimage.find_objects(areas, number), start=1):
        around = tuple(slice(max(0, part.start - 7), part.stop + 7) for part in place)
        inside = areas[around] == area
        if inside.sum() >= _BLOCKS and _is_sharp(mean[around], inside):
            filled = ndimage.binary_fill_holes(inside)
            small = filled.sum() <= 2 * inside.sum()
            at_border = any(
                part.start == 0 or part.stop == n for part, n in zip(place, low.shape, strict=True)
            )
            if small or at_border:
                found[around] |= filled if small else inside
    return found


def _blocks(array: NDArray[Any], size: int) -> NDArray[Any]:
    """Sums over blocks of pixels, what is left over cut off."""
    rows, columns = (length // size for length in array.shape)
    cut = array[: rows * size, : columns * size].reshape(rows, size, columns, size)
    return np.asarray(cut.sum(axis=(1, 3), dtype=np.float64))


def _background(mean: NDArray[Any], window: int, percentile: int) -> NDArray[Any]:
    """The counts per pixel without rings and shadows, for every block."""
    step = max(2, round(max(mean.shape) / _CELLS))
    pad = [(0, -length % step) for length in mean.shape]
    padded = np.pad(mean, pad, constant_values=np.nan)
    rows, columns = (length // step for length in padded.shape)
    cells = padded.reshape(rows, step, columns, step).swapaxes(1, 2).reshape(rows, columns, -1)
    ordered = np.sort(cells, axis=-1)  # what is not known comes last
    known = np.isfinite(ordered).sum(axis=-1)
    rank = np.maximum(known - 1, 0) * _LOW // 100
    low = np.take_along_axis(ordered, rank[..., np.newaxis], axis=-1)[..., 0]
    if (known == 0).any():
        nearest = ndimage.distance_transform_edt(
            known == 0, return_distances=False, return_indices=True
        )
        low = low[tuple(nearest)]
    smooth = ndimage.percentile_filter(low, percentile, size=window, mode="nearest")
    return _enlarged(smooth, step)[: mean.shape[0], : mean.shape[1]]


def _enlarged(array: NDArray[Any], size: int) -> NDArray[Any]:
    return np.repeat(np.repeat(array, size, axis=0), size, axis=1)


def _is_sharp(mean: NDArray[Any], inside: Mask) -> bool:
    """Whether the counts rise by a step at the edge of an area."""
    rim = inside & ~ndimage.binary_erosion(inside, border_value=1)
    square = np.ones((3, 3), bool)
    shells: list[Mask] = [inside]
    for _ in range(6):
        shells.append(ndimage.binary_dilation(shells[-1], square))
    inner, near, far = (
        mean[part & np.isfinite(mean)]
        for part in (rim, shells[3] & ~shells[1], shells[6] & ~shells[4])
    )
    if not (inner.size and near.size and far.size):
        return False
    level = np.median(near)
    return bool(
        level > 0 and level >= _STEP * np.median(inner) and level >= _PLATEAU * np.median(far)
    )


def _up_to_the_edge(
    dark: Mask, counts: FloatArray, good: Mask, background: NDArray[Any], size: int
) -> Mask:
    """Pixels beside the blocks of a shadow that are in it, and half-shadowed ones around."""
    known = ndimage.uniform_filter(good.astype(np.float32), 3)
    mean = ndimage.uniform_filter(np.where(good, counts, 0), 3) / np.maximum(known, 0.1)
    dim = np.zeros_like(dark)
    rows, columns = background.shape
    dim[:rows, :columns] = mean[:rows, :columns] < background * _DIM
    # What is left over by the blocks at the end of the frame belongs to its neighbours.
    dim[rows:] = dim[rows - 1]
    dim[:, columns:] = dim[:, columns - 1 : columns]
    grown = ndimage.binary_dilation(dark, iterations=size + 2, mask=dim | dark)
    return np.asarray(ndimage.binary_dilation(grown, iterations=2))
