"""How pixels are divided among work-items."""

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bluesky_azint.engines.opencl.work import PIECE, by_rows, divide

N_PIXELS = 40 * 150
COLUMNS = 150

edges = st.lists(st.integers(0, N_PIXELS), max_size=30, unique=True).map(sorted)


def pixels_of(runs: np.ndarray[tuple[int, int], np.dtype[np.int32]]) -> list[int]:
    return [pixel for start, stop in runs.tolist() for pixel in range(start, stop)]


@given(edges, st.integers(1, 8))
def test_every_pixel_is_given_to_one_work_item(edges: list[int], n_items: int) -> None:
    runs = np.array(edges[: len(edges) // 2 * 2], np.int32).reshape(-1, 2)
    work = divide(runs, n_items, N_PIXELS)
    assert work.items.size == n_items + 1
    assert pixels_of(work.runs) == pixels_of(runs)
    sizes = [len(pixels_of(work.runs[i:j])) for i, j in pairwise(work.items)]
    assert sum(sizes) == len(pixels_of(runs))
    assert max(sizes) - min(sizes) <= 1

    turned = by_rows(work, COLUMNS)
    for i in range(n_items):
        mine = turned.runs[turned.items[i] : turned.items[i + 1]]
        before = work.runs[work.items[i] : work.items[i + 1]]
        assert sorted(pixels_of(mine)) == pixels_of(before)


def test_rows_are_taken_by_turns() -> None:
    work = by_rows(divide(np.array([[0, 4 * COLUMNS]], np.int32), 1, N_PIXELS), COLUMNS)
    assert work.runs[:4].tolist() == [
        [0, PIECE],
        [COLUMNS, COLUMNS + PIECE],
        [PIECE, 2 * PIECE],
        [COLUMNS + PIECE, COLUMNS + 2 * PIECE],
    ]
    assert work.runs[6].tolist() == [2 * COLUMNS, 2 * COLUMNS + PIECE]


@pytest.mark.parametrize("n_items", [1, 3])
def test_there_may_be_no_pixels(n_items: int) -> None:
    work = by_rows(divide(np.empty((0, 2), np.int32), n_items, N_PIXELS), COLUMNS)
    assert work.runs.tolist() == [[N_PIXELS, N_PIXELS]]
    assert work.items.tolist() == [0] * (n_items + 1)
