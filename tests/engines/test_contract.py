"""One contract for all engines: the sums of a frame, and its bad pixels."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import bluesky_azint as ba
from bluesky_azint.engines import ENGINES, BadValues, Engine, create_engine
from bluesky_azint.engines.opencl import OpenCLEngine
from bluesky_azint.engines.scipy import ScipyEngine
from bluesky_azint.errors import EngineError
from bluesky_azint.grid import make_grid
from bluesky_azint.lookup import Lookup, build_lookup
from bluesky_azint.units import TTH_DEG

Factory = Callable[..., Engine]

SHAPE = (300, 280)  # more than one block of the SciPy engine
DTYPES = ["u1", "u2", "u4", "i2", "i4", "i8", "u8", "f4", "f8"]


def opencl_scatter(lookup: Lookup, bad: BadValues, *, square: bool) -> Engine:
    return OpenCLEngine(lookup, bad, square=square, scatter=True)


def opencl_gather(lookup: Lookup, bad: BadValues, *, square: bool) -> Engine:
    return OpenCLEngine(lookup, bad, square=square, scatter=False)


def opencl_exact(lookup: Lookup, bad: BadValues, *, square: bool) -> Engine:
    return OpenCLEngine(lookup, bad, square=square, exact=True)


@pytest.fixture(params=[ScipyEngine, opencl_scatter, opencl_gather, opencl_exact])
def factory(request: pytest.FixtureRequest) -> Factory:
    chosen: Factory = request.param
    return chosen


@pytest.fixture(scope="module", params=["no", "bbox", "full"])
def lookup(request: pytest.FixtureRequest) -> Lookup:
    mask = np.zeros(SHAPE, dtype=bool)
    mask[100:117] = True
    geometry = ba.Geometry(
        detector=ba.Detector(1e-3, 1e-3, SHAPE), dist=0.3, poni1=0.12, poni2=0.13, rot1=0.2
    )
    return build_lookup(geometry, make_grid(geometry, TTH_DEG, request.param, 130), mask)


def frame_of(dtype: str) -> np.ndarray[Any, Any]:
    return np.random.default_rng(3).poisson(20, SHAPE).astype(dtype).ravel()


@pytest.mark.parametrize("dtype", DTYPES)
def test_sums_are_products_with_the_look_up(factory: Factory, lookup: Lookup, dtype: str) -> None:
    frame = frame_of(dtype)
    sums = factory(lookup, BadValues(), square=True).sum_frame(frame)
    assert sums.square is not None
    rtol = 0 if lookup.whole else 3e-7
    np.testing.assert_allclose(sums.signal, lookup.matrix @ frame.astype(float), rtol)
    np.testing.assert_allclose(sums.square, lookup.matrix.power(2) @ frame.astype(float), rtol)
    assert sums.bad.size == 0


def test_squares_are_left_out_when_not_asked_for(factory: Factory, lookup: Lookup) -> None:
    assert factory(lookup, BadValues(), square=False).sum_frame(frame_of("u4")).square is None


@pytest.mark.parametrize(
    ("dtype", "bad", "values"),
    [
        ("u2", BadValues(), [65535]),
        ("u4", BadValues(), [2**32 - 1]),
        ("i4", BadValues(-2, 1.5), [-1, -2, -3, 2**31 - 1]),
        ("u4", BadValues(-2, 1.5), [2**32 - 1, 2**32 - 2, 2**32 - 3]),
        ("u2", BadValues(7), [7, 65535]),
        ("f4", BadValues(), [np.nan, np.inf, -np.inf]),
        ("f8", BadValues(-1.0, 0.5), [-0.5, -1.5, np.nan]),
        ("f4", BadValues(0.1), [0.1]),
    ],
)
def test_bad_pixels_are_told_and_not_summed(
    factory: Factory, lookup: Lookup, dtype: str, bad: BadValues, values: list[float]
) -> None:
    frame = frame_of(dtype)
    frame[bad(frame)] = 20
    pixels = np.random.default_rng(4).choice(frame.size, 500, replace=False)
    frame[pixels] = np.resize(np.array(values).astype(dtype), 500)
    expected = np.sort(pixels[lookup.used[pixels]])
    assert expected.size < 500  # some are masked, and those are not told
    good = np.where(bad(frame), 0, frame).astype(float)

    engine = factory(lookup, bad, square=True)
    for _ in range(2):  # the second time nothing is left of the first
        sums = engine.sum_frame(frame)
        np.testing.assert_array_equal(sums.bad, expected)
        np.testing.assert_allclose(sums.signal, lookup.matrix @ good, rtol=3e-7)
    clean = np.where(bad(frame), 20, frame).astype(dtype)
    assert engine.sum_frame(clean).bad.size == 0


def test_a_frame_may_be_all_bad(factory: Factory, lookup: Lookup) -> None:
    sums = factory(lookup, BadValues(), square=True).sum_frame(np.full(SHAPE[0] * SHAPE[1], np.nan))
    np.testing.assert_array_equal(sums.bad, np.flatnonzero(lookup.used))
    assert not sums.signal.any()


def test_large_integers_are_summed_exactly(factory: Factory, lookup: Lookup) -> None:
    if not lookup.whole:
        pytest.skip("A share of an integer is no integer.")
    frame = np.full(SHAPE[0] * SHAPE[1], 2**31 + 1, dtype=np.uint32)
    sums = factory(lookup, BadValues(), square=False).sum_frame(frame)
    np.testing.assert_array_equal(sums.signal, (2**31 + 1) * lookup.matrix.sum(axis=1))


def test_an_empty_look_up_gives_zeros(factory: Factory) -> None:
    empty = Lookup(4, np.zeros(10, np.int32), np.empty(0, np.int32), np.empty(0))
    sums = factory(empty, BadValues(), square=True).sum_frame(np.ones(9))
    np.testing.assert_array_equal(sums.signal, np.zeros(4))
    assert sums.bad.size == 0


def test_pixels_may_touch_many_bins(factory: Factory) -> None:
    weights = np.full(24, 1 / 12)
    wide = Lookup(20, np.array([0, 12, 24], np.int32), np.r_[0:12, 5:17].astype(np.int32), weights)
    sums = factory(wide, BadValues(), square=True).sum_frame(np.array([12.0, 24.0]))
    np.testing.assert_allclose(sums.signal, wide.matrix @ np.array([12.0, 24.0]), rtol=1e-6)


def test_engines_are_chosen_by_name(lookup: Lookup) -> None:
    for name in ENGINES:
        engine = create_engine(name, lookup, BadValues(), square=False)
        assert engine.name == ("opencl" if name == "auto" else name)
    with pytest.raises(EngineError, match="'auto', 'opencl', 'scipy'"):
        create_engine("cython", lookup, BadValues(), square=False)


def test_without_opencl_auto_takes_scipy_and_opencl_is_refused(
    lookup: Lookup, monkeypatch: pytest.MonkeyPatch
) -> None:
    def no_device() -> None:
        raise EngineError("There is none.")

    monkeypatch.setattr("bluesky_azint.engines.opencl.default_device", no_device)
    assert create_engine("auto", lookup, BadValues(), square=False).name == "scipy"
    with pytest.raises(EngineError, match=r"bluesky-azint\[pocl\]"):
        create_engine("opencl", lookup, BadValues(), square=False)
