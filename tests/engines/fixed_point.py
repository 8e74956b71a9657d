"""What local memory sums, in integers of NumPy: the same arithmetic, to the last bit."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from bluesky_azint.lookup import Lookup

ONE_BITS = 31
HALF = np.uint64(2**16)


def integer_sums(lookup: Lookup, frame: NDArray[Any], *, square: bool) -> list[list[int]]:
    """Per bin, the sums of v, v u and v u^2 over pixels with that first bin; of Python's integers.

    Parameters
    ----------
    lookup
        Of whole pixels, or of pixels that touch two bins.
    frame
        Integers, ``(n_pixels,)``, of which none is bad.
    square
        Whether the last are wanted.
    """
    values = frame.astype(np.int64)
    sums = [_sum_by_key(lookup, values, np.ones(values.size, np.uint64))]
    if lookup.shares is not None:
        # The nearest integer; half a unit goes to the even one.
        shares = np.rint(lookup.shares[:, 0] * 2.0**ONE_BITS).astype(np.uint64)
        sums.append(_sum_by_key(lookup, values, shares))
        if square:
            unit = np.uint64(1 << (ONE_BITS - 1))
            squares = (shares * shares + unit) >> np.uint64(ONE_BITS)
            sums.append(_sum_by_key(lookup, values, squares))
    return sums


def _sum_by_key(lookup: Lookup, values: NDArray[Any], shares: NDArray[np.uint64]) -> list[int]:
    """Sums of products, of which halves are summed apart so that nothing overflows."""
    high, low = (np.zeros(lookup.n_bins + 1, np.int64) for _ in range(2))
    np.add.at(high, lookup.first, values * (shares // HALF).astype(np.int64))
    np.add.at(low, lookup.first, values * (shares % HALF).astype(np.int64))
    return [int(h) * int(HALF) + int(n) for h, n in zip(high[:-1], low[:-1], strict=True)]


def words_of(sums: list[list[int]]) -> NDArray[np.uint32]:
    """Their two's complements: two words of the first, three of the others."""
    rows = [
        [(number >> 32 * word) & 0xFFFFFFFF for number in row]
        for lane, row in enumerate(sums)
        for word in range(3 if lane else 2)
    ]
    return np.array(rows, dtype=np.uint32)
