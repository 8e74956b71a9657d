"""Look-ups that were needed before."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

import bluesky_azint as ba
from bluesky_azint.corrections import Corrections
from bluesky_azint.geometry import Geometry
from bluesky_azint.grid import Grid, extent, make_grid
from bluesky_azint.lookup import Builder, Lookup, cache
from bluesky_azint.lookup.cache import CachedBuilder, Memory
from bluesky_azint.units import Unit, unit

GEOMETRY = ba.Geometry(detector=ba.Detector(1e-3, 0.9e-3, (30, 40)), dist=0.12, poni1=0.01)
GRID = make_grid(GEOMETRY, unit("r_mm"), "bbox", 50)


class Counting(Builder):
    """Counts what it builds."""

    built = 0

    def lookup(self, geometry: Geometry, grid: Grid, mask: cache.Mask | None) -> Lookup:
        self.built += 1
        return super().lookup(geometry, grid, mask)


def table(n_pixels: int) -> Lookup:
    return Lookup(10, np.zeros(n_pixels, np.uint16))


def test_what_is_in_memory_is_not_built() -> None:
    counting, memory = Counting(), Memory(10**6)
    found = CachedBuilder(counting, memory).lookup(GEOMETRY, GRID, None)
    assert CachedBuilder(counting, memory).lookup(replace(GEOMETRY), GRID, None) is found
    assert counting.built == 1
    CachedBuilder(counting, memory).lookup(replace(GEOMETRY, poni2=1e-9), GRID, None)
    assert counting.built == 2
    np.testing.assert_array_equal(
        found.matrix.toarray(), Builder().lookup(GEOMETRY, GRID, None).matrix.toarray()
    )


def test_memory_is_bounded_and_the_oldest_go_first() -> None:
    memory = Memory(1000)
    for key in "abc":
        memory.put(key, table(150))
        assert memory.get("a") is not None
    memory.put("d", table(150))
    assert [memory.get(key) is not None for key in "abcd"] == [True, False, True, True]
    assert memory.nbytes == 900
    memory.put("e", table(501))
    assert [memory.get(key) is not None for key in "acde"] == [True, True, True, False]
    memory.clear()
    assert memory.nbytes == 0


def test_memory_is_for_many_threads() -> None:
    memory = Memory(2000)

    def use(number: int) -> None:
        for turn in range(200):
            memory.put(str((number + turn) % 13), table(100))
            memory.get(str(turn % 13))

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(use, range(8)))
    assert memory.nbytes == 2000


def test_spaces_of_ones_own_are_built_each_time() -> None:
    counting = Counting()
    own = Unit("own", "x", "m", "own", lambda x, *_: x)
    builder = CachedBuilder(counting, Memory(10**6))
    for _ in range(2):
        builder.lookup(GEOMETRY, replace(GRID, radial_unit=own), None)
    assert counting.built == 2


@pytest.mark.parametrize(("worth", "stored"), [(0.0, True), (1e9, False)])
def test_what_takes_long_to_build_is_on_disk(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, worth: float, stored: bool
) -> None:
    monkeypatch.setenv("AZINT_CACHE", str(tmp_path))
    monkeypatch.setattr(cache, "WORTH", worth)
    counting = Counting()
    first = CachedBuilder(counting, Memory(0))
    expected = first.lookup(GEOMETRY, GRID, None)
    first.flush()
    assert len(list(tmp_path.iterdir())) == int(stored)
    found = CachedBuilder(counting, Memory(0)).lookup(GEOMETRY, GRID, None)
    assert counting.built == 2 - int(stored)
    np.testing.assert_array_equal(found.matrix.toarray(), expected.matrix.toarray())


def test_all_else_is_the_builders() -> None:
    builder = CachedBuilder(Builder(), Memory(0))
    assert builder.extent(GEOMETRY, unit("r_mm"), "bbox") == extent(GEOMETRY, unit("r_mm"), "bbox")
    weights = builder.weights(GEOMETRY, Corrections(polarization_factor=0.9))
    assert weights.dtype == np.float32
    exact = Corrections(polarization_factor=0.9)(GEOMETRY)
    np.testing.assert_array_equal(weights, exact.astype(np.float32))


def test_integrators_share_it(monkeypatch: pytest.MonkeyPatch) -> None:
    memory = Memory(10**7)
    counting = Counting()

    def builder(_: str) -> Builder:
        return CachedBuilder(counting, memory)

    create: Callable[[str], Builder] = builder
    monkeypatch.setattr("bluesky_azint.reduction.integrator.create_builder", create)
    frame = np.ones(GEOMETRY.shape)
    for _ in range(3):
        ba.Integrator(GEOMETRY, 50, unit="r_mm", engine="scipy").integrate(frame)
    assert counting.built == 1
