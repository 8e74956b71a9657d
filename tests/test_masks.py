"""Masks against drawings."""

import numpy as np
import pytest
from numpy.typing import NDArray

from bluesky_azint.masks import border_mask, lines_mask, module_mask, round_mask, tile_mask


def drawn(mask: NDArray[np.bool_]) -> list[str]:
    return ["".join(".#"[pixel] for pixel in row) for row in mask.astype(int)]


def test_module_mask() -> None:
    """Modules of 2 x 4, gaps of 1 row and 2 columns, a seam of 1 column."""
    expected = """
        ..#.##..#.
        ..#.##..#.
        ##########
        ..#.##..#.
    """
    mask = module_mask((4, 10), module=(2, 4), gap=(1, 2), seam=1)
    assert drawn(mask) == expected.split()


def test_round_mask_fits_the_detector() -> None:
    mask = round_mask((200, 200))
    assert not mask[100].any()
    assert not mask[:, 100].any()
    assert mask[0, 0]
    assert (~mask).sum() == pytest.approx(np.pi * 100**2, rel=1e-3)
    np.testing.assert_array_equal(mask, mask[::-1])
    np.testing.assert_array_equal(mask, mask.T)


def test_border_mask() -> None:
    expected = """
        ########
        #..##..#
        ########
        ########
        #..##..#
        ########
    """
    assert drawn(border_mask((6, 8), module=(3, 4))) == expected.split()


def test_lines_and_tiles() -> None:
    lines = lines_mask((4, 6), module=(2, 3), rows=[1], columns=[0])
    assert drawn(lines) == ["#..#..", "######", "#..#..", "######"]
    tiles = tile_mask((4, 6), tile=(2, 3), places=[[0, 0], [1, 3]])
    assert drawn(tiles) == ["...###", "......", "###...", "######"]
