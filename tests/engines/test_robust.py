"""One contract for the engines of robust sums: what they keep, and the sums of it."""

from dataclasses import fields
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

import bluesky_azint as ba
from bluesky_azint.engines import BadValues, PixelValues, RobustEngine, RobustSums
from bluesky_azint.engines.opencl.clip import Clip
from bluesky_azint.engines.robust import SortedEngine
from bluesky_azint.grid import make_grid
from bluesky_azint.lookup import Lookup, build_lookup
from bluesky_azint.units import TTH_DEG

SHAPE = (90, 110)
SIZE = SHAPE[0] * SHAPE[1]
ERROR_MODELS = ["azimuthal", "poisson", "hybrid", "variance"]
QUANTILES = [(0.5, 0.5), (0.2, 0.8), (0.0, 0.0), (1.0, 1.0), (0.0, 1.0), (0.97, 1.0)]

# Whole pixels, in rows of some and of very many; two and more columns; boxes; cakes.
LAYOUTS: dict[str, dict[str, Any]] = {
    "no": {"npt": 60},
    "no narrow": {"npt": 2},
    "bbox": {"npt": 50},
    "bbox narrow": {"npt": 3},
    "full": {"npt": 50},
    "full four": {"npt": 150},
    "bbox wide": {"npt": 600},
    "no cake": {"npt": 30, "npt_azim": 60},
    "full cake": {"npt": 20, "npt_azim": 12},
}


def table(splitting: str, **bins: Any) -> Lookup:
    geometry = ba.Geometry(
        detector=ba.Detector(1e-3, 1e-3, SHAPE), dist=0.2, poni1=0.04, poni2=0.05, rot1=0.2
    )
    mask = np.zeros(SHAPE, dtype=bool)
    mask[40:45] = True
    return build_lookup(geometry, make_grid(geometry, TTH_DEG, splitting, **bins), mask)


@pytest.fixture(scope="module", params=LAYOUTS)
def lookup(request: pytest.FixtureRequest) -> Lookup:
    return table(request.param.split()[0], **LAYOUTS[request.param])


def frame_of(dtype: str, seed: int = 3) -> NDArray[Any]:
    random = np.random.default_rng(seed)
    frame = random.poisson(60, SIZE).astype(dtype)
    frame[random.random(SIZE) < 0.01] = 120
    frame[random.random(SIZE) < 0.01] = (
        np.nan if np.dtype(dtype).kind == "f" else np.iinfo(dtype).max
    )
    frame[:30] = 77  # the dummy
    return frame


BAD = BadValues(77, 0.5)


def values_of(*, dark: bool = False, negative: bool = False) -> PixelValues:
    random = np.random.default_rng(5)
    weight = random.uniform(0.8, 1.2, SIZE).astype(np.float32)
    if negative:
        weight[::50] *= -1
    if not dark:
        return PixelValues(weight)
    return PixelValues(weight, random.uniform(0, 4, SIZE), random.uniform(0, 2, SIZE))


def engines(lookup: Lookup, values: PixelValues) -> tuple[RobustEngine, RobustEngine]:
    return Clip(lookup, BAD, values), SortedEngine(lookup, BAD, values)


def agree(actual: RobustSums, desired: RobustSums) -> None:
    np.testing.assert_allclose(actual.count, desired.count, rtol=1e-12, atol=1e-12)
    # A spread is a difference of squares.
    atol = {"variance": 1e-13 * (desired.signal**2).max(initial=0.0)}
    for name in (field.name for field in fields(RobustSums)):
        np.testing.assert_allclose(
            getattr(actual, name),
            getattr(desired, name),
            rtol=2e-12,
            atol=atol.get(name, 1e-13 * np.abs(getattr(desired, name)).max(initial=0.0)),
        )


@pytest.mark.parametrize("error_model", ERROR_MODELS)
def test_outliers_are_the_same(lookup: Lookup, error_model: str) -> None:
    frame = frame_of("u4")
    variance = np.full(SIZE, 60.0) if error_model == "variance" else None
    ours, reference = engines(lookup, values_of())
    for threshold, cycles in ((3.0, 5), (1.5, 1), (1.0, 20)):
        options = frame, variance, error_model, threshold, cycles
        found = ours.sigma_clip(*options)
        agree(found, reference.sigma_clip(*options))
        if lookup.whole:
            np.testing.assert_array_equal(found.signal, np.rint(found.signal))
            np.testing.assert_array_equal(found.signal, reference.sigma_clip(*options).signal)


@pytest.mark.parametrize("error_model", [None, "poisson"])
def test_quantiles_are_the_same(lookup: Lookup, error_model: str | None) -> None:
    frame = frame_of("u2")  # counts: many are equal
    ours, reference = engines(lookup, values_of())
    even = engines(lookup, PixelValues(np.ones(SIZE, np.float32)))
    for low, high in QUANTILES:
        for one, other in ((ours, reference), even):
            agree(
                one.quantile_mean(frame, None, error_model, low, high),
                other.quantile_mean(frame, None, error_model, low, high),
            )


@pytest.mark.parametrize("dtype", ["u1", "u8", "i2", "i4", "i8", "f4", "f8"])
def test_all_types_of_pixels_are_read(dtype: str) -> None:
    frame = frame_of(dtype)
    lookup = table("no", npt=60)
    ours, reference = engines(lookup, values_of(dark=True))
    options = frame, None, "hybrid", 2.0, 4
    agree(ours.sigma_clip(*options), reference.sigma_clip(*options))
    agree(*(one.quantile_mean(frame, None, "hybrid", 0.4, 0.6) for one in (ours, reference)))


def test_weights_may_be_negative() -> None:
    ours, reference = engines(table("no", npt=60), values_of(dark=True, negative=True))
    options = frame_of("i4"), None, "hybrid", 2.0, 4
    agree(ours.sigma_clip(*options), reference.sigma_clip(*options))


def test_medians_stand_for_means_that_outliers_have_carried_away(lookup: Lookup) -> None:
    frame = frame_of("u4")
    frame[np.random.default_rng(1).random(SIZE) < 0.05] = 10**6
    ours, reference = engines(lookup, values_of())
    options = frame, None, "poisson", 5.0, 5
    found = ours.sigma_clip(*options)
    agree(found, reference.sigma_clip(*options))
    full = found.count > 20
    np.testing.assert_allclose(found.signal[full], 60 * found.weight[full], rtol=0.15)


def test_frames_follow_each_other() -> None:
    ours, reference = engines(table("bbox", npt=50), values_of(dark=True))
    for seed, dtype in enumerate(["u4", "u4", "f4", "u2"]):
        options = frame_of(dtype, seed), None, "azimuthal", 2.5, 5
        agree(ours.sigma_clip(*options), reference.sigma_clip(*options))


@settings(max_examples=50)
@given(st.data())
def test_any_few_pixels_are_reduced_alike(data: st.DataObject) -> None:
    n = data.draw(st.integers(1, 40))
    n_bins = data.draw(st.integers(1, 12))
    numbers = st.lists(st.integers(0, 30), min_size=n, max_size=n)
    first = data.draw(st.lists(st.integers(0, n_bins), min_size=n, max_size=n))
    frame = np.array(data.draw(numbers), dtype=np.uint16)
    weight = np.array(data.draw(numbers)).astype(np.float32) / np.float32(8) + np.float32(0.5)
    lookup = Lookup(n_bins, np.array(first, dtype=np.uint16))
    bad, values = BadValues(7), PixelValues(weight)
    ours, reference = Clip(lookup, bad, values), SortedEngine(lookup, bad, values)
    model = data.draw(st.sampled_from(["azimuthal", "poisson"]))
    options = frame, None, model, data.draw(st.sampled_from([1.0, 2.0])), 5
    agree(ours.sigma_clip(*options), reference.sigma_clip(*options))
    for low, high in QUANTILES:
        agree(*(one.quantile_mean(frame, None, model, low, high) for one in (ours, reference)))


def test_what_is_kept_of_a_bin_is_known() -> None:
    lookup = Lookup(3, np.array([0] * 9 + [2], dtype=np.uint16))
    frame = np.array([1, 2, 2, 3, 3, 3, 4, 4, 90, 5], dtype=np.uint16)
    values = PixelValues(np.ones(10, np.float32))
    for engine in (Clip(lookup, BadValues(), values), SortedEngine(lookup, BadValues(), values)):
        clipped = engine.sigma_clip(frame, None, "azimuthal", 2.0, 5)
        np.testing.assert_array_equal(clipped.signal, [22, 0, 5])
        np.testing.assert_array_equal(clipped.count, [8, 0, 1])
        np.testing.assert_allclose(clipped.variance, [7.5, 0, 0])
        median = engine.quantile_mean(frame, None, "poisson", 0.5, 0.5)
        np.testing.assert_array_equal(median.signal, [3, 0, 5])
        np.testing.assert_array_equal(median.variance, [3, 0, 5])
