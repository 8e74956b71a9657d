"""One contract for all engines: the sums of frames, and their bad pixels."""

import os
from collections.abc import Callable, Iterable
from functools import cache
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

import bluesky_azint as ba
from bluesky_azint.engines import ENGINES, BadValues, Engine, Spread, Wanted, create_engine
from bluesky_azint.engines.opencl.engine import OpenCLEngine
from bluesky_azint.engines.scipy import ScipyEngine
from bluesky_azint.errors import EngineError
from bluesky_azint.grid import make_grid
from bluesky_azint.lookup import Entries, Lookup, build_lookup
from bluesky_azint.units import TTH_DEG

Factory = Callable[[Lookup, BadValues, Wanted], Engine]
Close = Callable[[Any, NDArray[np.float64]], None]

SHAPE = (300, 280)  # more than one block of the SciPy engine
SIZE = SHAPE[0] * SHAPE[1]
DTYPES = ["u1", "u2", "u4", "i2", "i4", "i8", "u8", "f4", "f8"]
RTOL = 1e-12

# Whole pixels; two, four, eight columns; boxes; a cake; a cake of so many bins that work-items
# number their own; entries of their own.
LAYOUTS: dict[str, dict[str, Any]] = {
    "no": {"npt": 130},
    "bbox": {"npt": 130},
    "full": {"npt": 130},
    "full four": {"npt": 400},
    "full eight": {"npt": 700},
    "bbox wide": {"npt": 2000},
    "no cake": {"npt": 60, "npt_azim": 40},
    "full cake": {"npt": 60, "npt_azim": 40},
    "bbox large cake": {"npt": 150, "npt_azim": 300},
    "no large cake": {"npt": 500, "npt_azim": 300},
    "full wide": {"npt": 4000},
}


def opencl_stream(lookup: Lookup, bad: BadValues, wanted: Wanted) -> Engine:
    return OpenCLEngine(lookup, bad, wanted, way="stream")


def opencl_gather(lookup: Lookup, bad: BadValues, wanted: Wanted) -> Engine:
    return OpenCLEngine(lookup, bad, wanted, way="gather")


def opencl_local(lookup: Lookup, bad: BadValues, wanted: Wanted) -> Engine:
    return OpenCLEngine(lookup, bad, wanted, way="local")


WAYS: dict[str, Factory] = {
    "scipy": ScipyEngine,
    "stream": opencl_stream,
    "gather": opencl_gather,
    "local": opencl_local,
}


@pytest.fixture
def factory(request: pytest.FixtureRequest) -> Factory:
    return WAYS[request.param]


@pytest.fixture
def lookup(request: pytest.FixtureRequest) -> Lookup:
    return table(request.param)


@cache
def table(layout: str) -> Lookup:
    mask = np.zeros(SHAPE, dtype=bool)
    mask[100:117] = True
    mask[::7, 40] = True
    geometry = ba.Geometry(
        detector=ba.Detector(1e-3, 1e-3, SHAPE), dist=0.3, poni1=0.12, poni2=0.13, rot1=0.2
    )
    grid = make_grid(geometry, TTH_DEG, layout.split()[0], **LAYOUTS[layout])
    return build_lookup(geometry, grid, mask)


def with_layouts(layouts: Iterable[str], *more: str) -> pytest.MarkDecorator:
    """All ways with these layouts, and with more those that have kernels for each."""
    pairs = [(way, layout) for way in WAYS for layout in layouts]
    pairs += [(way, layout) for way in ("scipy", "stream") for layout in more]
    return pytest.mark.parametrize(("factory", "lookup"), pairs, indirect=True)


MAIN = ("no", "bbox", "bbox wide", "no large cake", "full wide")
every_layout = with_layouts(MAIN, *(layout for layout in LAYOUTS if layout not in MAIN))
one_layout = with_layouts(["bbox"])


def frame_of(dtype: str, seed: int = 3) -> NDArray[Any]:
    return np.random.default_rng(seed).poisson(20, SIZE).astype(dtype)


def one(engine: Engine, frame: NDArray[Any]) -> Any:
    (sums,) = engine.sum_frames(frame[np.newaxis])
    return sums


@pytest.fixture
def close(factory: Factory) -> Close:
    """Equal but for rounding, of which differences of larger sums leave more.

    Fixed-point shares are rounded to 2^-31.
    """
    rtol = 1e-9 if factory is opencl_local else RTOL

    def compare(actual: Any, desired: NDArray[np.float64]) -> None:
        np.testing.assert_allclose(actual, desired, rtol, atol=rtol * max(desired.max(), 1))

    return compare


@pytest.mark.parametrize("dtype", DTYPES)
@with_layouts(["no"])
def test_all_types_are_summed(factory: Factory, close: Close, lookup: Lookup, dtype: str) -> None:
    frame = frame_of(dtype)
    sums = one(factory(lookup, BadValues(), Wanted()), frame)
    close(sums.signal, lookup.matrix @ frame.astype(float))


@every_layout
def test_sums_are_products_with_the_look_up(factory: Factory, close: Close, lookup: Lookup) -> None:
    frame = frame_of("u4")
    sums = one(factory(lookup, BadValues(), Wanted(square=True)), frame)
    close(sums.signal, lookup.matrix @ frame.astype(float))
    close(sums.square, lookup.matrix.power(2) @ frame.astype(float))
    assert sums.bad.size == 0


@one_layout
def test_squares_are_left_out_when_not_asked_for(factory: Factory, lookup: Lookup) -> None:
    sums = one(factory(lookup, BadValues(), Wanted()), frame_of("u4"))
    assert sums.square is None
    assert sums.squared is None


@every_layout
def test_the_spread_is_measured(factory: Factory, close: Close, lookup: Lookup) -> None:
    rng = np.random.default_rng(5)
    weight = rng.uniform(0.5, 1, SIZE).astype(np.float32)
    dark = rng.uniform(0, 9, SIZE)
    frame = frame_of("u4")
    frame[[7, 5000]] = np.iinfo("u4").max
    engine = factory(lookup, BadValues(), Wanted(square=True, spread=Spread(weight, dark)))
    sums = one(engine, frame)
    good = ~BadValues()(frame)
    raw = np.where(good, frame, 0).astype(float)
    net = raw - good * dark
    squares = lookup.matrix.power(2)
    close(sums.signal, lookup.matrix @ raw)
    close(sums.squared, squares @ net**2)
    close(sums.mixed, squares @ (net * weight))
    assert sums.square is None


@every_layout
def test_frames_may_come_in_batches(factory: Factory, close: Close, lookup: Lookup) -> None:
    frames = np.stack([frame_of("u2", seed) for seed in range(9)])
    frames[2, 30:50] = frames[5, 40] = np.iinfo("u2").max
    engine = factory(lookup, BadValues(), Wanted(square=True))
    batch = engine.sum_frames(frames)
    assert len(batch) == 9
    for sums, frame in zip(batch, frames, strict=True):
        single = one(engine, frame)
        np.testing.assert_array_equal(sums.bad, single.bad)
        close(sums.signal, single.signal)
        close(sums.square, single.square)
    assert batch[2].bad.size > batch[5].bad.size == lookup.used[40]


@one_layout
@pytest.mark.parametrize(
    ("dtype", "bad", "values"),
    [
        ("u1", BadValues(), [255]),
        ("u2", BadValues(), [65535]),
        ("u4", BadValues(), [2**32 - 1]),
        ("i4", BadValues(-2, 1.5), [-1, -2, -3, 2**31 - 1]),
        ("u4", BadValues(-2, 1.5), [2**32 - 1, 2**32 - 2, 2**32 - 3]),
        ("i8", BadValues(-(2**63)), [-(2**63), 2**63 - 1]),
        ("u2", BadValues(7), [7, 65535]),
        ("f4", BadValues(), [np.nan, np.inf, -np.inf]),
        ("f8", BadValues(-1.0, 0.5), [-0.5, -1.5, np.nan]),
        ("f4", BadValues(0.1), [0.1]),
        ("f4", BadValues(1e300), [np.nan]),
        ("f4", BadValues(-3e38, 1e38), [-3e38, -2.5e38]),
    ],
)
def test_bad_pixels_are_told_and_not_summed(
    factory: Factory, close: Close, lookup: Lookup, dtype: str, bad: BadValues, values: list[float]
) -> None:
    frame = frame_of(dtype)
    frame[bad(frame)] = 20
    pixels = np.random.default_rng(4).choice(frame.size, 500, replace=False)
    frame[pixels] = np.resize(np.array(values).astype(dtype), 500)
    expected = np.sort(pixels[lookup.used[pixels]])
    assert expected.size < 500  # some are masked, and those are not told
    good = np.where(bad(frame), 0, frame).astype(float)

    engine = factory(lookup, bad, Wanted(square=True))
    for _ in range(2):  # the second time nothing is left of the first
        sums = one(engine, frame)
        np.testing.assert_array_equal(sums.bad, expected)
        close(sums.signal, lookup.matrix @ good)
    clean = np.where(bad(frame), 20, frame).astype(dtype)
    assert one(engine, clean).bad.size == 0


@every_layout
def test_a_frame_may_be_all_bad(factory: Factory, lookup: Lookup) -> None:
    sums = one(factory(lookup, BadValues(), Wanted(square=True)), np.full(SIZE, np.nan))
    np.testing.assert_array_equal(sums.bad, np.flatnonzero(lookup.used))
    assert not sums.signal.any()


@every_layout
def test_maps_are_summed_whatever_they_hold(factory: Factory, close: Close, lookup: Lookup) -> None:
    values = np.random.default_rng(6).uniform(-1, 1, SIZE)
    sums = factory(lookup, BadValues(0, 9), Wanted()).sum_map(values)
    close(sums.signal, lookup.matrix @ values)
    close(sums.square, lookup.matrix.power(2) @ values)


@with_layouts(["no"], "no cake", "no large cake")
def test_large_integers_are_summed_exactly(factory: Factory, lookup: Lookup) -> None:
    frame = np.full(SIZE, 2**31 + 1, dtype=np.uint32)
    sums = one(factory(lookup, BadValues(), Wanted()), frame)
    np.testing.assert_array_equal(sums.signal, (2**31 + 1) * lookup.matrix.sum(axis=1))


@with_layouts(["no"])
def test_sums_of_the_largest_integers_do_not_wrap_around(
    factory: Factory, close: Close, lookup: Lookup
) -> None:
    frame = np.full(SIZE, 2**62, dtype=np.uint64)
    sums = one(factory(lookup, BadValues(), Wanted()), frame)
    close(sums.signal, lookup.matrix @ frame.astype(float))


@pytest.mark.parametrize("factory", WAYS, indirect=True)
@pytest.mark.parametrize("n_pixels", [1, 2, 3, 5, 17])
def test_detectors_may_be_tiny(factory: Factory, close: Close, n_pixels: int) -> None:
    shares = np.linspace(0, 0.9, n_pixels, dtype=np.float32)[:, np.newaxis]
    tiny = Lookup(5, (np.arange(n_pixels) % 4).astype(np.uint16), shares, (0, 1))
    frame = np.arange(1, n_pixels + 1, dtype=np.uint32)
    sums = one(factory(tiny, BadValues(), Wanted(square=True)), frame)
    close(sums.signal, tiny.matrix @ frame.astype(float))
    close(sums.square, tiny.matrix.power(2) @ frame.astype(float))


@pytest.mark.parametrize("factory", WAYS, indirect=True)
def test_an_empty_look_up_gives_zeros(factory: Factory) -> None:
    empty = Lookup(4, np.full(9, 4, np.uint16))
    sums = one(factory(empty, BadValues(), Wanted(square=True)), np.ones(9))
    np.testing.assert_array_equal(sums.signal, np.zeros(4))
    assert sums.bad.size == 0


@pytest.mark.parametrize("factory", WAYS, indirect=True)
def test_pixels_may_touch_many_bins(factory: Factory, close: Close) -> None:
    entries = Entries(
        np.array([0, 1], np.int32),
        np.array([0, 12, 24], np.int32),
        np.r_[0:12, 5:17].astype(np.int32),
        np.full(24, 1 / 12),
    )
    wide = Lookup(20, np.full(3, 20, np.uint16), rest=entries)
    sums = one(factory(wide, BadValues(), Wanted(square=True)), np.array([12.0, 24.0, 5.0]))
    close(sums.signal, wide.matrix @ np.array([12.0, 24.0, 5.0]))


@pytest.mark.parametrize("lookup", ["bbox"], indirect=True)
def test_engines_are_chosen_by_name(lookup: Lookup) -> None:
    for name in ENGINES:
        engine = create_engine(name, lookup, BadValues(), Wanted())
        assert engine.name == ("opencl" if name == "auto" else name)
    with pytest.raises(EngineError, match="'auto', 'opencl', 'scipy'"):
        create_engine("cython", lookup, BadValues(), Wanted())


@pytest.mark.parametrize("lookup", ["bbox"], indirect=True)
def test_without_opencl_auto_takes_scipy_and_opencl_is_refused(
    lookup: Lookup, monkeypatch: pytest.MonkeyPatch
) -> None:
    def no_device() -> None:
        raise EngineError("There is none.")

    for module in ("device", "engine"):
        monkeypatch.setattr(f"bluesky_azint.engines.opencl.{module}.default_device", no_device)
    assert create_engine("auto", lookup, BadValues(), Wanted()).name == "scipy"
    with pytest.raises(EngineError, match=r"bluesky-azint\[pocl\]"):
        create_engine("opencl", lookup, BadValues(), Wanted())


@pytest.mark.parametrize("lookup", ["bbox"], indirect=True)
def test_a_process_that_was_forked_off_is_told_so(
    lookup: Lookup, monkeypatch: pytest.MonkeyPatch
) -> None:
    frame = frame_of("u4")[np.newaxis]
    opencl, scipy = (create_engine(name, lookup, BadValues(), Wanted()) for name in ENGINES[1:])
    expected = scipy.sum_frames(frame)[0].signal
    monkeypatch.setattr(os, "getpid", lambda: -1)
    with pytest.raises(EngineError, match="forked"):
        opencl.sum_frames(frame)
    np.testing.assert_array_equal(scipy.sum_frames(frame)[0].signal, expected)
