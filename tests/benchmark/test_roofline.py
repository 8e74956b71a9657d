"""The limit is what has to be moved, over what a core can move."""

from dataclasses import replace

import pytest

from bluesky_azint.benchmark.cases import choose
from bluesky_azint.benchmark.roofline import Traffic, bandwidth, traffic_of
from bluesky_azint.benchmark.scene import scene_of
from bluesky_azint.benchmark.ways import lookup_bytes

(ONE,) = choose(["1d-bbox"])
TINY = replace(ONE, detector="tiny", npt=40)


def test_the_limit_is_the_time_to_read() -> None:
    assert Traffic(read=6.0, updates=1.0).limit(30e9) == pytest.approx(0.2e-9)


def test_the_table_is_read_once_for_all_frames_of_a_call() -> None:
    table = lookup_bytes(TINY, scene_of(TINY)) / 64**2
    batch = replace(TINY, frames=8)
    assert traffic_of(TINY, scene_of(TINY), 1.5).read == pytest.approx(4 + table)
    assert traffic_of(batch, scene_of(batch), 1.5).read == pytest.approx(4 + table / 8)
    assert 2 <= table < 64


@pytest.mark.parametrize(
    ("splitting", "error_model", "updates"),
    [
        ("no", None, 1.5),
        ("no", "poisson", 1.5),  # one sum is both
        ("bbox", "poisson", 3.0),
        ("bbox", "azimuthal", 4.5),
    ],
)
def test_every_sum_is_an_addition(splitting: str, error_model: str | None, updates: float) -> None:
    case = replace(TINY, splitting=splitting, error_model=error_model)
    assert traffic_of(case, scene_of(case), 1.5).updates == updates


def test_the_memory_is_read_as_fast_as_memories_are() -> None:
    assert 5e8 < bandwidth() < 1e12
