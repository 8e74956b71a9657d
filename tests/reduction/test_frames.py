"""Frames of every kind, reduced in every way: cakes on each engine, sigma clipping, medians."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

import bluesky_azint as ba

SHAPE = (60, 80)
Reduce = Callable[[NDArray[Any]], ba.IntegrationResult]
Make = Callable[..., Reduce]


def _cake(engine: str) -> Make:
    def make(geometry: ba.Geometry, **options: Any) -> Reduce:
        options = {"npt": 20, "npt_azim": 12, "error_model": "poisson", **options}
        return ba.Integrator(geometry, engine=engine, **options).integrate

    return make


def _robust(method: str, **arguments: Any) -> Make:
    def make(geometry: ba.Geometry, **options: Any) -> Reduce:
        options = {"npt": 30, "error_model": "poisson", **options}
        integrator = ba.Integrator(geometry, engine="scipy", **options)
        return lambda frame: getattr(integrator, method)(frame, **arguments)

    return make


WAYS = {
    "cake scipy": _cake("scipy"),
    "cake opencl": _cake("opencl"),
    "cake histogram": _cake("histogram"),
    "sigma_clip": _robust("sigma_clip", threshold=4.0),
    "median": _robust("medfilt"),
    "quantiles": _robust("medfilt", percentile=(20.0, 80.0)),
}


@pytest.fixture(params=WAYS)
def make(request: pytest.FixtureRequest) -> Make:
    return WAYS[request.param]


def assert_same(one: ba.IntegrationResult, other: ba.IntegrationResult, rtol: float = 1e-9) -> None:
    for name in ("intensity", "sigma", "std", "count"):
        np.testing.assert_allclose(
            getattr(one, name), getattr(other, name), rtol=rtol, atol=1e-12, err_msg=name
        )


@pytest.mark.parametrize("splitting", ["no", "full"])
@pytest.mark.parametrize("dtype", ["u1", "u2", "u4", "i4", "i8", "f4", "f8", ">u2", ">i4", ">f4"])
def test_every_type_gives_the_same(
    small: ba.Geometry, make: Make, splitting: str, dtype: str
) -> None:
    frame = np.random.default_rng(8).poisson(30, SHAPE)
    reduce = make(small, splitting=splitting)
    expected = reduce(frame)
    given = frame.astype(dtype)
    given.setflags(write=False)
    assert_same(reduce(given), expected, rtol=1e-12)
    strided = np.zeros((2 * SHAPE[0], 2 * SHAPE[1]), dtype)
    strided[::2, ::2] = frame
    assert_same(reduce(strided[::2, ::2]), expected, rtol=1e-12)
    assert_same(reduce(np.asfortranarray(given)), expected, rtol=1e-12)


@pytest.mark.parametrize("splitting", ["no", "bbox", "pseudo", "full"])
@pytest.mark.parametrize(
    ("dtype", "value", "options"),
    [
        ("u2", 2**16 - 1, {}),
        ("u4", 2**32 - 1, {}),
        ("i8", 2**63 - 1, {}),
        ("f4", np.nan, {}),
        ("f8", np.inf, {}),
        ("f4", -np.inf, {}),
        ("i4", -2, {"dummy": -1, "delta_dummy": 1.5}),
        ("u2", 65534, {"dummy": -2}),
    ],
)
def test_a_bad_pixel_is_a_masked_pixel(
    small: ba.Geometry,
    make: Make,
    splitting: str,
    dtype: str,
    value: float,
    options: dict[str, float],
) -> None:
    rng = np.random.default_rng(9)
    clean = rng.poisson(30, SHAPE).astype(dtype)
    bad = rng.random(SHAPE) < 0.05
    frame = np.where(bad, np.array(value).astype(dtype), clean)
    common: dict[str, Any] = {"splitting": splitting, "dark": np.full(SHAPE, 2.0), **options}
    result = make(small, **common)(frame)
    assert_same(result, make(small, mask=bad, **common)(clean))
    assert np.isfinite(result.intensity).all()


@pytest.mark.parametrize("splitting", ["no", "bbox", "full"])
def test_nothing_is_nothing(small: ba.Geometry, make: Make, splitting: str) -> None:
    full = np.random.default_rng(1).poisson(30, SHAPE)
    nothing = [
        make(small, splitting=splitting)(np.full(SHAPE, np.nan)),
        make(small, splitting=splitting, mask=np.ones(SHAPE, dtype=bool))(full),
        make(small, splitting=splitting, unit="2th_deg", radial_range=(170.0, 175.0))(full),
    ]
    for result in nothing:
        for values in (result.count, result.intensity, result.sigma, result.std):
            np.testing.assert_array_equal(values, np.zeros_like(result.count))


@pytest.mark.parametrize("splitting", ["no", "bbox", "pseudo", "full"])
@pytest.mark.parametrize(
    "position",
    [
        {"poni1": 0.03, "poni2": 0.036, "rot1": 0.0, "rot2": 0.0},  # the beam on a corner
        {"poni1": 0.0305, "poni2": 0.03645, "rot1": 0.0, "rot2": 0.0},  # and in a pixel
        {"poni1": -0.05, "poni2": 0.2},  # off the detector
        {"rot1": 1.5},  # both sides of 90 degrees
        {"rot1": 2.5, "rot2": 0.3},  # backscattering
    ],
    ids=["corner", "pixel", "off", "beyond 90", "backscattering"],
)
def test_the_detector_may_stand_anywhere(
    small: ba.Geometry, make: Make, splitting: str, position: dict[str, Any]
) -> None:
    geometry = replace(small, **position)
    frame = np.full(SHAPE, 5, dtype=np.uint16)
    result = make(geometry, splitting=splitting, unit="2th_deg", correct_solid_angle=False)(frame)
    filled = result.count > 1e-6
    np.testing.assert_allclose(result.intensity[filled], 5.0, rtol=1e-6)
    if result.azimuthal is not None or splitting == "no":
        two_theta = np.rad2deg(geometry.two_theta())
        assert result.radial[0] >= 0.0
        assert result.radial[-1] <= two_theta.max() + 3.0
    if result.azimuthal is not None:
        assert result.count.sum() == pytest.approx(frame.size, rel=1e-12)


def test_beyond_90_degrees_pixels_are_where_they_are(small: ba.Geometry, engine: str) -> None:
    geometry = replace(small, rot1=1.5)
    two_theta, chi = np.rad2deg(geometry.two_theta()), np.rad2deg(geometry.chi())
    assert two_theta.min() < 85.0
    assert two_theta.max() > 95.0
    frame = np.random.default_rng(3).poisson(20, SHAPE)
    result = ba.Integrator(
        geometry,
        10,
        8,
        unit="2th_deg",
        splitting="no",
        radial_range=(70.0, 100.0),
        azimuth_range=(-180.0, 180.0),
        engine=engine,
    ).integrate(frame)
    edges = np.linspace(-180.0, 180.0, 9), np.linspace(70.0, 100.0, 11)
    expected = np.histogram2d(chi.ravel(), two_theta.ravel(), edges, weights=frame.ravel())[0]
    np.testing.assert_array_equal(result.sum_signal, expected)


def test_negative_frames_stay_negative(small: ba.Geometry, make: Make) -> None:
    frame = np.random.default_rng(4).normal(-50.0, 1.0, SHAPE).astype(np.float32)
    result = make(small, error_model="azimuthal")(frame)
    assert (result.intensity[result.count > 1] < 0).all()
