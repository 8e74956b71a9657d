"""Frames as they are given, and as they are reduced: one by one, flat, of a type engines know."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from bluesky_azint.errors import FrameError
from bluesky_azint.packed import PackedFrames
from bluesky_azint.reduction.frame import Measured

FloatArray = NDArray[np.float64]


def in_batches(
    stack: NDArray[Any] | PackedFrames,
    normalization_factor: float | ArrayLike,
    variance: ArrayLike | None,
    size: int = 1,
) -> Iterator[Measured]:
    """The frames of a stack, so many at once, flat, with their factors and variances."""
    factors = _as_factors(normalization_factor, len(stack))
    variances = None if variance is None else as_stack(np.asarray(variance))
    if variances is not None and len(variances) == 1:
        variances = np.broadcast_to(variances, (len(stack), *variances.shape[1:]))
    if variances is not None and variances.shape != stack.shape:
        raise FrameError(
            f"The variance has the shape {variances.shape}, the frames {stack.shape}; they must be "
            "equal."
        )
    for start in range(0, len(stack), size):
        some = slice(start, start + size)
        yield Measured(
            stack[some] if isinstance(stack, PackedFrames) else as_flat(stack[some]),
            factors[some],
            None if variances is None else variances[some].reshape(-1, math.prod(stack.shape[1:])),
        )


def as_stack(frames: NDArray[Any]) -> NDArray[Any]:
    """Frames as an array of three dimensions."""
    if frames.ndim not in (2, 3):
        raise FrameError(
            f"The frames have the shape {frames.shape}; give (rows, columns) for one frame or "
            "(n, rows, columns) for a stack."
        )
    if frames.dtype.kind not in "buif":
        raise FrameError(
            f"The frames are of type {frames.dtype}; they must be integers or real numbers."
        )
    return frames if frames.ndim == 3 else frames[np.newaxis]


def as_flat(frames: NDArray[Any]) -> NDArray[Any]:
    """Frames ``(n, rows, columns)`` as ``(n, n_pixels)``, contiguous, of a type that engines know."""
    dtype = frames.dtype.newbyteorder("=")
    if dtype.kind == "b":
        dtype = np.dtype(np.uint8)
    elif dtype.kind == "f" and dtype.itemsize not in (4, 8):
        dtype = np.dtype(np.float32 if dtype.itemsize < 4 else np.float64)
    return np.ascontiguousarray(frames, dtype=dtype).reshape(len(frames), -1)


def _as_factors(normalization_factor: float | ArrayLike, number: int) -> FloatArray:
    """One factor for each frame."""
    factors = np.asarray(normalization_factor, dtype=np.float64)
    if factors.ndim > 1 or (factors.ndim == 1 and factors.size != number):
        raise FrameError(
            f"normalization_factor has the shape {factors.shape} for {number} frames; give one "
            "number, or one for each frame."
        )
    factors = np.broadcast_to(factors, (number,))
    if not (np.isfinite(factors) & (factors > 0)).all():
        raise FrameError(
            f"normalization_factor is {normalization_factor!r}; it must be finite and positive."
        )
    return factors
