r"""Bad pixels, found on frames: a mask is proposed, and says of each pixel why.

What a sample scatters is as wide as the detector blurs it: a ring, a textured one, a spot of a
single grain reach over several pixels. So a pixel is judged by its neighbours alone,

* *hot* where it stands out from all of them but one, eight times as high as the next, and from all
  but two of 15 x 15 pixels, eight times as high; a hundred times where a ring or a spot is among
  those;
* *dead* where it lies below nearly all of them, far more than these allow; where few counts are
  expected, none are no evidence;
* *noisy* where it varies from frame to frame by more than these allow, and its neighbours do not.

A lonely spot sharper than that (standard deviation below 0.45 pixel) is taken for a hot pixel. Among
the spots of a ring it is not.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage
from scipy.special import pdtr

from bluesky_azint.detectors import Detector
from bluesky_azint.edges import find_edges
from bluesky_azint.errors import FrameError
from bluesky_azint.shadows import find_shadows

Mask = NDArray[np.bool_]
FloatArray = NDArray[np.float32]

# In the image of kinds a pixel has the place of its kind in this list; 0 is a good one. Of several
# kinds the first counts.
KINDS = (
    "good", "given", "gap", "sentinel", "saturated", "dead", "hot", "noisy", "edge", "shadow",
)  # fmt: skip

_HOT_SIGMAS = 8.0
_DEAD_RATIO = 0.2  # to the third darkest of 24 neighbours ...
_DEAD_CHANCE = 3e-5  # ... which is itself darker than expected: the true chance is below 1e-6
_CREST_CHANCE = 1e-5  # where the second darkest of 8 is taken, as on the crest of a narrow ring
_LINE_RATIO = 0.05  # to the tenth darkest: in lines and clusters of dead pixels
_LINE_CHANCE = 1e-6
_NOISY_SIGMAS = 6.0
_NOISY_RATIO = 3.0
_NOISY_COUNTS = 20.0
_TRIMMED = 4  # frames, from which on the highest value of each pixel is left out: cosmic rays
_TILE = 32  # pixels along each axis, in which the noise is estimated
_AT_ONCE = 5_000_000  # neighbours that are looked at


def _offsets(inner: int, outer: int) -> NDArray[np.intp]:
    """Offsets (n, 2) to the neighbours that are so many pixels away, along either axis."""
    all_offsets = np.array([*np.ndindex(2 * outer + 1, 2 * outer + 1)]) - outer
    distance = np.abs(all_offsets).max(axis=1)
    return np.asarray(all_offsets[(distance >= inner) & (distance <= outer)])


_TOUCHING, _NEAR, _WIDE = _offsets(1, 1), _offsets(1, 2), _offsets(2, 7)
# A hot pixel rises above the background, the n-th darkest neighbour, so many times as high as the
# m-th brightest does, of which so many standard deviations are taken for noise.
_HOT = (
    (_TOUCHING, 0, -2, 8.0, 0.0),
    (_WIDE, len(_WIDE) // 2, -3, 8.0, 0.0),
    (_WIDE, len(_WIDE) // 2, -6, 100.0, 4.0),
)


@dataclass(frozen=True, eq=False, kw_only=True)
class MaskProposal:
    """A mask, and why.

    Parameters
    ----------
    mask
        (rows, columns), True = masked; what was given, the detector's own and what was found.
    kinds
        uint8 of that shape: the place of each pixel's kind in ``KINDS``, 0 = good.
    gain
        Variance of a count over the count that the frames show, 1 for counted photons.
    """

    mask: Mask
    kinds: NDArray[np.uint8]
    gain: float

    @property
    def figures(self) -> dict[str, int]:
        """How many pixels there are of each kind but the good ones."""
        numbers = np.bincount(self.kinds.ravel(), minlength=len(KINDS))
        return dict(zip(KINDS[1:], numbers[1:].tolist(), strict=True))


def propose_mask(
    frames: NDArray[Any],
    detector: Detector | None = None,
    mask: Mask | None = None,
    saturation: float | None = None,
) -> MaskProposal:
    """Find the pixels that are not to be trusted.

    Parameters
    ----------
    frames
        Counts of one frame (rows, columns) or of several (n, rows, columns) with the same rings;
        noisy pixels show in several only.
    detector
        Whose gaps are masked anyway, and whose value of bad pixels is known.
    mask
        What else is masked anyway, True = masked.
    saturation
        Counts from which on a pixel has more than it can count.

    Raises
    ------
    FrameError
        If the frames have another shape than the detector or the mask, or hold no numbers.
    """
    stack = _stack(frames, detector, mask)
    kinds = np.zeros(stack.shape[1:], np.uint8)
    _mark(kinds, "given", mask)
    _mark(kinds, "gap", detector.mask if detector is not None else None)
    _mark(kinds, "sentinel", _sentinels(stack, detector))
    if saturation is not None:
        _mark(kinds, "saturated", np.asarray((stack >= saturation).any(axis=0)))
    counts = _counts(stack, kinds == 0)
    gain = _gain(counts, kinds == 0)
    if len(stack) > 2:
        noisy = _noisy(stack, kinds == 0, gain)
        _mark(kinds, "noisy", noisy)
    # Pixels that are found no longer darken or brighten what is expected of their neighbours.
    for _ in range(2):
        _mark(kinds, "dead", _dead(counts, kinds == 0, gain))
        _mark(kinds, "hot", _hot(counts, kinds == 0, gain))
    _mark(kinds, "edge", find_edges(counts, kinds == 0, gain))
    dark = find_shadows(counts, (kinds == 0) | (kinds == KINDS.index("dead")), gain)
    kinds[dark & (kinds == KINDS.index("dead"))] = 0  # it is the shadow that makes them so
    _mark(kinds, "shadow", dark)
    return MaskProposal(mask=kinds != 0, kinds=kinds, gain=gain)


def _stack(frames: NDArray[Any], detector: Detector | None, mask: Mask | None) -> NDArray[Any]:
    stack = np.asarray(frames)
    if stack.dtype.kind not in "biuf" or stack.ndim not in (2, 3) or not stack.size:
        raise FrameError(
            f"A mask is proposed from counts (rows, columns) or (n, rows, columns), not from "
            f"an array {stack.shape} of type {stack.dtype}."
        )
    shape = stack.shape[-2:]
    others = {
        "mask": None if mask is None else mask.shape,
        "detector": None if detector is None else detector.shape,
    }
    for name, other in others.items():
        if other is not None and tuple(other) != shape:
            raise FrameError(f"The frames have the shape {shape}, the {name} {tuple(other)}.")
    return stack.reshape(-1, *shape)


def _mark(kinds: NDArray[np.uint8], kind: str, where: Mask | None) -> None:
    """Note a kind where there is none yet."""
    if where is not None:
        kinds[where & (kinds == 0)] = KINDS.index(kind)


def _sentinels(stack: NDArray[Any], detector: Detector | None) -> Mask:
    """Pixels with a value, in any frame, that stands for there being none."""
    bad = np.zeros(stack.shape[1:], bool)
    for frame in stack:
        if frame.dtype.kind == "f":
            bad |= ~np.isfinite(frame)
            negative = frame[frame < 0]
            # Fractions below zero come from subtracting a dark frame; -1 and -2 are marks.
            if (negative == np.round(negative)).all():
                bad |= frame < 0
        else:
            bad |= frame < 0
            if frame.dtype.kind != "b":
                bad |= frame == np.iinfo(frame.dtype).max
        if detector is not None and detector.dummy is not None:
            bad |= np.abs(frame - np.float64(detector.dummy)) <= (detector.delta_dummy or 0.0)
    return bad


def _counts(stack: NDArray[Any], good: Mask) -> FloatArray:
    """Sums over the frames, 0 where they are no good."""
    total = stack.sum(axis=0, dtype=np.float64) if len(stack) > 1 else stack[0]
    if len(stack) >= _TRIMMED:
        total = total - stack.max(axis=0)
    return np.where(good, total, 0).astype(np.float32)


def _gain(counts: FloatArray, good: Mask) -> float:
    """Variance over count, from the differences of neighbours where nothing else differs; >= 1."""
    size = _TILE
    rows, columns = (length // size for length in counts.shape)
    cut = slice(rows * size), slice(columns * size)
    tiles = counts[cut].reshape(rows, size, columns, size).swapaxes(1, 2)
    use = good[cut].reshape(rows, size, columns, size).swapaxes(1, 2).all(axis=(2, 3))
    use &= tiles.mean(axis=(2, 3)) > 10
    if use.sum() < 10:
        return 1.0
    some = tiles[use][:: max(1, int(use.sum()) // 2000)]
    first, second = some[..., ::2], some[..., 1::2]
    # The lower four fifths of the moduli of normal deviates have the mean 0.5586: without hot pixels.
    moduli = np.sort(np.abs(first - second).reshape(len(some), -1), axis=1)
    squares = (moduli[:, : moduli.shape[1] * 4 // 5].mean(axis=1) / 0.5586) ** 2
    ratio = squares / (first + second).mean(axis=(1, 2))
    # Rings make neighbours differ, too: the tiles between them tell.
    return max(1.0, float(np.percentile(ratio, 30)))


def _noisy(stack: NDArray[Any], good: Mask, gain: float) -> Mask:
    """Pixels that vary more than they should, and more than their neighbours."""
    frames = stack.astype(np.float32)
    frames *= good
    highest = frames.max(axis=0)
    rest = frames.sum(axis=0) - highest
    # What one frame alone has seen, a cosmic ray, tells nothing of the beam.
    sums = np.minimum(frames, 3 * rest / (len(stack) - 1) + 10).sum(axis=(1, 2), dtype=np.float64)
    share = (sums / max(sums.sum(), 1.0)).astype(np.float32)
    used = np.ones(frames.shape, bool)
    if len(stack) >= _TRIMMED:
        np.put_along_axis(used, frames.argmax(axis=0)[np.newaxis], False, axis=0)
    total = (frames * used).sum(axis=0)
    shares = share[:, np.newaxis, np.newaxis] * used
    expected = np.maximum(total / np.maximum(shares.sum(axis=0), 1e-6) * shares, 1e-6)
    freedom = len(stack) - (2 if len(stack) >= _TRIMMED else 1)
    ratio = ((frames - expected) ** 2 / expected * used).sum(axis=0) / (freedom * gain)
    # Wilson and Hilferty, Proc. Natl Acad. Sci. 17 (1931) 684: the cube root is nearly normal.
    width = 2 / (9 * freedom)
    limit = (1 - width + _NOISY_SIGMAS * np.sqrt(width)) ** 3
    found: Mask = good & (ratio > limit) & (total > _NOISY_COUNTS * gain)
    rows, columns = np.nonzero(found)
    for part in _parts(rows, _TOUCHING):
        place = rows[part], columns[part]
        second = _ranked(_neighbours(ratio, good, *place, _TOUCHING), -2)
        found[place] = ratio[place] > _NOISY_RATIO * second
    return found


def _dead(counts: FloatArray, good: Mask, gain: float) -> Mask:
    known = ndimage.uniform_filter(good.astype(np.float32), 5)
    mean = ndimage.uniform_filter(counts * good, 5) / np.maximum(known, 0.01)
    # What is not even dark on average need not be looked at closely.
    rows, columns = np.nonzero(good & (counts < 0.5 * mean) & (mean > 5 * gain))
    found = np.zeros(counts.shape, bool)
    for part in _parts(rows, _NEAR):
        place = rows[part], columns[part]
        near = _neighbours(counts, good, *place, _NEAR)
        second = _ranked(_neighbours(counts, good, *place, _TOUCHING), 1)
        found[place] = (
            _is_below(counts[place], _ranked(near, 2), _DEAD_RATIO, _DEAD_CHANCE, gain)
            | _is_below(counts[place], second, _DEAD_RATIO, _CREST_CHANCE, gain)
            | _is_below(counts[place], _ranked(near, 9), _LINE_RATIO, _LINE_CHANCE, gain)
        )
    return found


def _is_below(
    value: FloatArray, expected: FloatArray, ratio: float, chance: float, gain: float
) -> Mask:
    """Whether counts are below a share of what is expected, and hardly by chance."""
    return np.asarray((value < ratio * expected) & (pdtr(value / gain, expected / gain) < chance))


def _hot(counts: FloatArray, good: Mask, gain: float) -> Mask:
    known = ndimage.uniform_filter(good.astype(np.float32), 3)
    mean = ndimage.uniform_filter(counts * good, 3) / np.maximum(known, 0.01)
    rows, columns = np.nonzero(good & (counts - mean > 4 * np.sqrt(gain * np.maximum(mean, gain))))
    # Each test leaves fewer for the next.
    for offsets, low, high, ratio, sigmas in _HOT:
        kept = np.zeros(len(rows), bool)
        for part in _parts(rows, offsets):
            place = rows[part], columns[part]
            value, neighbours = counts[place], _neighbours(counts, good, *place, offsets)
            other = _ranked(neighbours, high)
            background = np.minimum(_ranked(neighbours, low), other)
            contrast = other - background - sigmas * np.sqrt(gain * np.maximum(background, gain))
            enough = _HOT_SIGMAS * np.sqrt(gain * np.maximum(other, gain))
            kept[part] = (value - other > enough) & (
                value - background > ratio * np.maximum(contrast, 0)
            )
        rows, columns = rows[kept], columns[kept]
    found = np.zeros(counts.shape, bool)
    found[rows, columns] = True
    return found


def _parts(rows: NDArray[np.intp], offsets: NDArray[np.intp]) -> list[slice]:
    """Parts of a list of pixels whose neighbours fit into memory."""
    step = _AT_ONCE // len(offsets)
    return [slice(start, start + step) for start in range(0, len(rows), step)]


def _neighbours(
    values: FloatArray,
    good: Mask,
    rows: NDArray[np.intp],
    columns: NDArray[np.intp],
    offsets: NDArray[np.intp],
) -> FloatArray:
    """The neighbours of some pixels, (pixels, offsets); NaN where there is none."""
    row = rows[:, np.newaxis] + offsets[:, 0]
    column = columns[:, np.newaxis] + offsets[:, 1]
    inside = (row >= 0) & (row < values.shape[0]) & (column >= 0) & (column < values.shape[1])
    place = np.where(inside, row, 0), np.where(inside, column, 0)
    return np.where(inside & good[place], values[place], np.float32(np.nan))


def _ranked(neighbours: FloatArray, rank: int) -> FloatArray:
    """The n-th darkest neighbour (brightest, where negative); NaN where too few are known.

    Where some are not known, the rank shrinks with their number.
    """
    ordered = np.sort(neighbours, axis=1)  # NaN come last
    known = np.isfinite(ordered).sum(axis=1)
    place = known + rank if rank < 0 else rank * known // neighbours.shape[1]
    enough = 2 * known >= neighbours.shape[1] * 0.6
    place = np.clip(place, 0, neighbours.shape[1] - 1)
    chosen = np.take_along_axis(ordered, place[:, np.newaxis], axis=1)[:, 0]
    return np.where(enough, chosen, np.float32(np.nan))
