"""Sums in local memory are integers: the same, to the last bit, whatever the order."""

from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

import bluesky_azint as ba
from bluesky_azint.engines import BadValues, Spread, Wanted
from bluesky_azint.engines.opencl.device import default_device, queue_of, read_only
from bluesky_azint.engines.opencl.engine import OpenCLEngine
from bluesky_azint.engines.opencl.local import Local, n_words, sums_of
from bluesky_azint.engines.opencl.tiles import make_tiles
from bluesky_azint.grid import make_grid
from bluesky_azint.lookup import Lookup, build_lookup
from bluesky_azint.units import TTH_DEG
from tests.engines.fixed_point import integer_sums, words_of

SHAPE = (120, 110)
SIZE = SHAPE[0] * SHAPE[1]


def lookup_of(splitting: str, npt: int, npt_azim: int = 1) -> Lookup:
    """Of a detector with a gap."""
    mask = np.zeros(SHAPE, dtype=bool)
    mask[50:57] = True
    geometry = ba.Geometry(
        detector=ba.Detector(1e-3, 1e-3, SHAPE), dist=0.3, poni1=0.05, poni2=0.06, rot1=0.2
    )
    return build_lookup(
        geometry, make_grid(geometry, TTH_DEG, splitting, npt, npt_azim=npt_azim), mask
    )


LOOKUPS = {
    "whole": lookup_of("no", npt=60),
    "split": lookup_of("full", npt=60),
    "cake": lookup_of("no", npt=60, npt_azim=40),
}


def frame_of(dtype: str) -> NDArray[Any]:
    """All values that there are but the last, which is bad."""
    limits = np.iinfo(dtype)
    return np.random.default_rng(1).integers(limits.min, limits.max, SIZE, dtype=dtype)


def words_from(
    lookup: Lookup, frame: NDArray[Any], *, square: bool = True, **options: int
) -> NDArray[np.uint32]:
    """What the kernel leaves."""
    queue = queue_of(default_device())
    local = Local(queue, lookup, BadValues(), Wanted(square=square), **options)
    answer = local.answer()
    local.start(read_only(queue, frame), frame.dtype, answer, [])
    lanes = 1 if lookup.shares is None else 2 + square
    words, bad = answer.read((n_words(lanes), lookup.n_bins), np.dtype(np.uint32))
    assert bad.size == 0
    return words.copy()


@pytest.mark.parametrize("dtype", ["u1", "i1", "u2", "i2", "u4", "i4"])
@pytest.mark.parametrize("name", LOOKUPS)
def test_kernels_and_numpy_agree_to_the_last_bit(name: str, dtype: str) -> None:
    lookup, frame = LOOKUPS[name], frame_of(dtype)
    expected = words_of(integer_sums(lookup, frame, square=True))
    np.testing.assert_array_equal(words_from(lookup, frame), expected)


@pytest.mark.parametrize("name", LOOKUPS)
def test_groups_and_tiles_change_nothing(name: str) -> None:
    lookup, frame = LOOKUPS[name], frame_of("u4")
    expected = words_from(lookup, frame)
    for group_size, local_bytes in ((64, 2**15), (256, 2**11), (32, 700)):
        words = words_from(lookup, frame, group_size=group_size, local_bytes=local_bytes)
        np.testing.assert_array_equal(words, expected)


def test_the_largest_values_fit() -> None:
    frame = np.full(SIZE, 2**32 - 2, dtype=np.uint32)
    one_bin = Lookup(2, np.zeros(SIZE, np.uint16), np.ones((SIZE, 1), np.float32), offsets=(0, 1))
    words = words_from(one_bin, frame)
    np.testing.assert_array_equal(words, words_of(integer_sums(one_bin, frame, square=True)))
    signal, square = sums_of(words, one_bin.offsets)
    np.testing.assert_array_equal(signal, [0, SIZE * (2**32 - 2)])
    np.testing.assert_array_equal(square, [0, SIZE * (2**32 - 2)])


def test_sums_are_those_of_shares_in_double_precision() -> None:
    lookup, frame = LOOKUPS["split"], frame_of("u2")
    signal, square = sums_of(words_from(lookup, frame), lookup.offsets)
    np.testing.assert_allclose(signal, lookup.matrix @ frame.astype(float), 1e-9)
    np.testing.assert_allclose(square, lookup.matrix.power(2) @ frame.astype(float), 1e-9)
    (only,) = sums_of(words_from(lookup, frame, square=False), lookup.offsets)
    np.testing.assert_array_equal(only, signal)


def test_sums_below_zero_are_exact() -> None:
    lookup = LOOKUPS["whole"]
    frame = -np.arange(SIZE, dtype=np.int32)
    (signal,) = sums_of(words_from(lookup, frame), lookup.offsets)
    np.testing.assert_array_equal(signal, lookup.matrix @ frame.astype(float))


def test_an_engine_on_a_gpu_sums_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("bluesky_azint.engines.opencl.engine.is_cpu", lambda device: False)
    lookup, frame = LOOKUPS["split"], frame_of("u4")
    engine = OpenCLEngine(lookup, BadValues(), Wanted(square=True))
    (sums,) = engine.sum_frames(frame[np.newaxis])
    signal, square = sums_of(words_from(lookup, frame), lookup.offsets)
    np.testing.assert_array_equal(sums.signal, signal)
    np.testing.assert_array_equal(sums.square, square)


SPREAD = Wanted(spread=Spread(np.ones(SIZE, np.float32)))


@pytest.mark.parametrize(
    ("lookup", "wanted", "dtype", "suits"),
    [
        (LOOKUPS["whole"], Wanted(), "u4", True),
        (LOOKUPS["split"], Wanted(square=True), "i1", True),
        (LOOKUPS["whole"], Wanted(), "u8", False),
        (LOOKUPS["whole"], Wanted(), "f4", False),
        (LOOKUPS["whole"], SPREAD, "u4", False),
        (lookup_of("full", npt=200), Wanted(), "u4", False),
    ],
)
def test_what_cannot_be_done_in_integers_is_known(
    lookup: Lookup, wanted: Wanted, dtype: str, *, suits: bool
) -> None:
    assert Local.suits(lookup, wanted, np.dtype(dtype)) == suits


def test_tiles_cover_all_pixels_and_hold_few_bins() -> None:
    lookup = LOOKUPS["cake"]
    tiles = make_tiles(lookup, 4096, 150)
    assert tiles.slots is not None
    assert tiles.bins is not None
    assert tiles.starts[0] == 0
    assert tiles.starts[-1] == SIZE
    assert tiles.most == np.diff(tiles.slots).max() <= 150
    for tile in range(tiles.number):
        pixels = slice(tiles.starts[tile], tiles.starts[tile + 1])
        bins = np.append(tiles.bins[tiles.slots[tile] : tiles.slots[tile + 1]], lookup.n_bins)
        np.testing.assert_array_equal(bins[tiles.first[pixels]], lookup.first[pixels])
