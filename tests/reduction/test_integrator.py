"""What an integration must be, whatever the geometry and the engine."""

import dataclasses
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import bluesky_azint as ba
from bluesky_azint.errors import EngineError, FrameError, GeometryError, RecipeError

ENGINES = st.sampled_from(["scipy", "opencl", "histogram"])
SPLITTINGS = st.sampled_from(["no", "bbox", "pseudo", "full"])
SHAPE = (30, 40)

geometries = st.builds(
    lambda **values: ba.Geometry(
        detector=ba.Detector(1e-3, 1.1e-3, SHAPE), wavelength=1e-10, **values
    ),
    dist=st.floats(0.05, 0.5),
    poni1=st.floats(-0.05, 0.08),
    poni2=st.floats(-0.05, 0.08),
    rot1=st.floats(-1.2, 1.2),
    rot2=st.floats(-1.2, 1.2),
    rot3=st.floats(-3, 3),
)
FRAME = np.random.default_rng(5).poisson(40, SHAPE).astype(np.uint32)


@given(geometries, SPLITTINGS, ENGINES)
def test_flux_is_conserved(geometry: ba.Geometry, splitting: str, engine: str) -> None:
    result = ba.Integrator(geometry, 60, splitting=splitting, engine=engine).integrate(FRAME)
    assert result.count.sum() == pytest.approx(FRAME.size, rel=1e-12)
    assert result.sum_signal.sum() == pytest.approx(FRAME.sum(), rel=1e-6)
    assert (result.count >= 0).all()


@given(geometries, SPLITTINGS, st.floats(-3, 3))
def test_rot3_changes_nothing(geometry: ba.Geometry, splitting: str, angle: float) -> None:
    turned = dataclasses.replace(geometry, rot3=geometry.rot3 + angle)
    results = [
        ba.Integrator(g, 40, splitting=splitting, radial_range=(0.2, 4), engine="scipy").integrate(
            FRAME
        )
        for g in (geometry, turned)
    ]
    if splitting != "no":  # there, a pixel on an edge may fall on either side of it
        np.testing.assert_allclose(results[0].sum_signal, results[1].sum_signal, atol=1e-6)
    assert results[0].count.sum() == pytest.approx(results[1].count.sum(), abs=1.01)


@given(geometries, SPLITTINGS, ENGINES)
def test_frame_and_geometry_may_be_flipped_together(
    geometry: ba.Geometry, splitting: str, engine: str
) -> None:
    flipped = dataclasses.replace(
        geometry,
        poni1=SHAPE[0] * 1e-3 - geometry.poni1,
        rot2=-geometry.rot2,
        rot3=-geometry.rot3,
    )
    options: dict[str, Any] = {"splitting": splitting, "engine": engine, "radial_range": (0.2, 4)}
    one = ba.Integrator(geometry, 40, **options).integrate(FRAME)
    other = ba.Integrator(flipped, 40, **options).integrate(FRAME[::-1])
    if splitting != "no":
        np.testing.assert_allclose(one.sum_signal, other.sum_signal, rtol=1e-6, atol=1e-4)
    assert one.count.sum() == pytest.approx(other.count.sum(), abs=1.01)


def test_engines_agree(small: ba.Geometry) -> None:
    frame = np.random.default_rng(6).poisson(5, (60, 80)).astype(np.uint16)
    frame[10, 10:20] = 65535
    for splitting in ("no", "bbox", "full"):
        one, other = (
            ba.Integrator(
                small, 70, splitting=splitting, error_model="poisson", engine=engine
            ).integrate(frame)
            for engine in ("scipy", "opencl")
        )
        for name in ("intensity", "sigma", "std", "count"):
            np.testing.assert_allclose(getattr(one, name), getattr(other, name), rtol=1e-7)


def test_a_stack_is_its_frames(small: ba.Geometry, engine: str) -> None:
    stack = np.random.default_rng(7).poisson(9, (3, 60, 80))
    integrator = ba.Integrator(small, 50, error_model="poisson", engine=engine)
    result = integrator.integrate(stack, normalization_factor=[1.0, 2.0, 4.0])
    assert result.sigma is not None
    assert result.intensity.shape == result.sigma.shape == result.count.shape == (3, 50)
    for row, frame in enumerate(stack):
        single = integrator.integrate(frame, normalization_factor=2.0**row)
        assert single.intensity.shape == (50,)
        np.testing.assert_array_equal(result.intensity[row], single.intensity)
        assert single.sigma is not None
        np.testing.assert_array_equal(result.sigma[row], single.sigma)
    assert integrator.integrate(stack[:0]).intensity.shape == (0, 50)


@pytest.mark.parametrize("splitting", ["no", "bbox", "full"])
def test_a_frame_alone_does_not_know_its_neighbours(
    small: ba.Geometry, engine: str, splitting: str
) -> None:
    random = np.random.default_rng(5)
    stack = random.poisson(3, (11, *small.detector.shape)).astype(np.uint32)  # type: ignore[misc]
    integrator = ba.Integrator(
        small, npt=100, splitting=splitting, engine=engine, error_model="poisson"
    )
    one_by_one = [integrator.integrate(frame, alone=True) for frame in stack]
    for start, stop in ((0, 11), (1, 3), (2, 10)):
        together = integrator.integrate(stack[start:stop], alone=True)
        for name in ("sum_signal", "sum_variance", "sum_normalization", "intensity", "sigma"):
            apart = [getattr(result, name) for result in one_by_one[start:stop]]
            np.testing.assert_array_equal(getattr(together, name), apart, name)


def test_a_flat_frame_of_solid_angle_is_flat(small: ba.Geometry, engine: str) -> None:
    from bluesky_azint.corrections import polarization_from_position, solid_angle_from_incidence

    seen = solid_angle_from_incidence(small.cos_incidence()) * polarization_from_position(
        *small.centres(), 0.9
    )
    flat = 1 + 0.1 * np.sin(np.arange(60 * 80)).reshape(60, 80)
    dark = np.full((60, 80), 3.0)
    result = ba.Integrator(
        small, 50, polarization_factor=0.9, flat=flat, dark=dark, engine=engine
    ).integrate(7.0 * seen * flat + dark, normalization_factor=2.0)
    np.testing.assert_allclose(result.intensity, 3.5, rtol=1e-6)


@pytest.mark.parametrize("dtype", ["u1", "u2", "u4", "i4", "i8", "f4", "f8", ">u2", ">f4", "f2"])
def test_every_type_of_frame_gives_the_same(small: ba.Geometry, engine: str, dtype: str) -> None:
    frame = np.random.default_rng(8).poisson(30, (60, 80))
    integrator = ba.Integrator(small, 50, error_model="poisson", engine=engine)
    expected = integrator.integrate(frame)
    given_frame = frame.astype(dtype)
    given_frame.setflags(write=False)
    result = integrator.integrate(given_frame)
    np.testing.assert_array_equal(result.intensity, expected.intensity)
    strided = np.zeros((120, 160), dtype)
    strided[::2, ::2] = frame
    np.testing.assert_array_equal(integrator.integrate(strided[::2, ::2]).sigma, expected.sigma)


def test_a_boolean_frame_counts_pixels(small: ba.Geometry, engine: str) -> None:
    integrator = ba.Integrator(small, 5, correct_solid_angle=False, engine=engine)
    np.testing.assert_allclose(integrator.integrate(np.ones((60, 80), dtype=bool)).intensity, 1.0)


@pytest.mark.parametrize("splitting", ["no", "bbox", "full"])
@pytest.mark.parametrize(
    ("dtype", "value", "options"),
    [
        ("u4", 2**32 - 1, {}),
        ("f4", np.nan, {}),
        ("f8", np.inf, {}),
        ("i4", -1, {"dummy": -1}),
        ("i4", -2, {"dummy": -1, "delta_dummy": 1.5}),
    ],
)
def test_a_bad_pixel_is_a_masked_pixel(
    small: ba.Geometry,
    engine: str,
    splitting: str,
    dtype: str,
    value: float,
    options: dict[str, float],
) -> None:
    rng = np.random.default_rng(9)
    clean = rng.poisson(30, (60, 80)).astype(dtype)
    bad = rng.random((60, 80)) < 0.05
    frame = np.where(bad, np.array(value).astype(dtype), clean)
    common: dict[str, Any] = {
        "npt": 50,
        "splitting": splitting,
        "error_model": "poisson",
        "dark": np.full((60, 80), 2.0),
        "engine": engine,
        **options,
    }
    integrator = ba.Integrator(small, **common)
    expected = ba.Integrator(small, mask=bad, **common).integrate(clean)
    untouched = integrator.integrate(clean)
    for _ in range(2):
        result = integrator.integrate(frame)
        for name in ("intensity", "sigma", "std", "count"):
            np.testing.assert_allclose(getattr(result, name), getattr(expected, name), rtol=1e-9)
    np.testing.assert_array_equal(integrator.integrate(clean).count, untouched.count)


def test_masks_are_added(small: ba.Geometry, engine: str) -> None:
    own, users = np.zeros((2, 60, 80), dtype=bool)
    own[3], users[:, 7] = True, True
    geometry = dataclasses.replace(small, detector=dataclasses.replace(small.detector, mask=own))
    result = ba.Integrator(geometry, 50, mask=users.astype(np.int8), engine=engine).integrate(
        np.ones((60, 80))
    )
    assert result.count.sum() == pytest.approx(60 * 80 - 80 - 59)
    np.testing.assert_array_equal(
        result.radial, ba.Integrator(small, 50, engine=engine).radial
    )  # a mask never moves the axis


def test_pixels_without_response_or_dark_are_masked(small: ba.Geometry) -> None:
    flat, dark = np.ones((60, 80)), np.zeros((60, 80))
    flat[5, 5], flat[6, 6], dark[7, 7] = 0.0, np.nan, np.inf
    result = ba.Integrator(small, 50, flat=flat, dark=dark).integrate(np.ones((60, 80)))
    assert result.count.sum() == pytest.approx(60 * 80 - 3)
    assert np.isfinite(result.intensity).all()


def test_all_masked_is_all_empty(small: ba.Geometry, engine: str) -> None:
    integrator = ba.Integrator(small, 50, error_model="poisson", engine=engine)
    for frame in (np.full((60, 80), np.nan), np.full((60, 80), 2**16 - 1, np.uint16)):
        result = integrator.integrate(frame)
        for values in (result.count, result.intensity, result.sigma, result.std):
            np.testing.assert_array_equal(values, np.zeros(50))


def test_poisson_errors_are_right_at_low_counts() -> None:
    # 2000 frames of 0.1 counts per pixel: the spread of the intensity is what sigma says.
    geometry = ba.Geometry(
        detector=ba.Detector(1e-3, 1e-3, (50, 50)), dist=1.0, poni1=0.025, poni2=0.025
    )
    integrator = ba.Integrator(
        geometry, 10, unit="r_mm", splitting="no", error_model="poisson", radial_range=(5, 35)
    )
    frames = np.random.default_rng(10).poisson(0.1, (2000, 50, 50)).astype(np.uint16)
    result = integrator.integrate(frames)
    assert result.sigma is not None
    enough = result.count[0] > 100
    spread = result.intensity.std(axis=0)[enough]
    said = np.sqrt((result.sigma**2).mean(axis=0))[enough]
    np.testing.assert_allclose(said, spread, rtol=0.06)


def test_a_bin_without_counts_has_the_error_of_one_count(small: ba.Geometry, engine: str) -> None:
    result = ba.Integrator(
        small, 20, splitting="no", error_model="poisson", correct_solid_angle=False, engine=engine
    ).integrate(np.zeros((60, 80), np.uint16))
    assert result.sigma is not None
    np.testing.assert_allclose(result.sigma, 1 / result.count)


def test_the_dark_adds_its_variance(small: ba.Geometry, engine: str) -> None:
    frame, dark = np.full((60, 80), 30.0), np.full((60, 80), 10.0)
    options: dict[str, Any] = {
        "npt": 20,
        "splitting": "no",
        "error_model": "poisson",
        "engine": engine,
        "dark": dark,
    }
    counted = ba.Integrator(small, **options).integrate(frame)
    averaged = ba.Integrator(small, **options, dark_variance=dark / 100).integrate(frame)
    assert counted.sum_variance is not None
    assert averaged.sum_variance is not None
    np.testing.assert_allclose(counted.sum_variance, 40 * counted.count)
    np.testing.assert_allclose(averaged.sum_variance, 30.1 * counted.count)
    np.testing.assert_allclose(counted.sum_signal, 20 * counted.count)


def test_ranges_of_azimuth_wrap() -> None:
    # Centred detector of 60 x 80: half of it on either side, wherever the azimuth is cut.
    geometry = ba.Geometry(
        detector=ba.Detector(1e-3, 1e-3, (60, 80)), dist=0.1, poni1=0.03, poni2=0.04
    )

    def count(splitting: str, lower: float, upper: float) -> float:
        integrator = ba.Integrator(
            geometry, 30, unit="r_mm", splitting=splitting, azimuth_range=(lower, upper)
        )
        return float(integrator.integrate(np.ones((60, 80))).count.sum())

    for splitting in ("no", "bbox", "full"):
        assert count(splitting, 0, 360) == pytest.approx(4800)
        assert count(splitting, -180, 180) == pytest.approx(4800)
        # The azimuth of the corner at the beam is arbitrary, and its pixels are shared by it.
        assert count(splitting, 90, -90) == pytest.approx(2400, abs=1)
        assert count(splitting, 170, 190) == pytest.approx(count(splitting, -10, 10), abs=0.5)
        assert count(splitting, 170, -170) == pytest.approx(count(splitting, 170, 190))
    wedge = 40**2 * np.tan(np.deg2rad(10))  # in pixels
    assert count("full", 170, 190) == pytest.approx(wedge, rel=0.01)


def test_the_first_frame_gives_an_unknown_shape(small: ba.Geometry) -> None:
    geometry = dataclasses.replace(small, detector=ba.Detector(1e-3, 0.9e-3))
    integrator = ba.Integrator(geometry, 50)
    with pytest.raises(GeometryError, match="has no shape"):
        _ = integrator.radial
    frame = np.ones((60, 80))
    np.testing.assert_array_equal(
        integrator.integrate(frame).intensity, ba.Integrator(small, 50).integrate(frame).intensity
    )
    with pytest.raises(FrameError, match=r"\(61, 80\).*\(60, 80\)"):
        integrator.integrate(np.ones((61, 80)))


def test_a_recipe_says_the_same_as_arguments(small: ba.Geometry) -> None:
    recipe = ba.Recipe(npt=33, unit="2th_deg", splitting="full", error_model="poisson")
    one = ba.Integrator.from_recipe(small, recipe)
    other = ba.Integrator(small, 33, unit="2th_deg", splitting="full", error_model="poisson")
    assert one.recipe == other.recipe
    np.testing.assert_array_equal(one.radial, other.radial)


@pytest.mark.parametrize(
    ("frames", "message"),
    [
        (np.ones((80, 60)), r"\(80, 60\)"),
        (np.ones(4800), "rows, columns"),
        (np.ones((1, 1, 60, 80)), "rows, columns"),
        (np.ones((60, 80), dtype=complex), "complex128"),
        (np.full((60, 80), "a"), "type"),
    ],
)
def test_frames_that_do_not_fit_are_refused(
    small: ba.Geometry, frames: np.ndarray[Any, Any], message: str
) -> None:
    with pytest.raises(FrameError, match=message):
        ba.Integrator(small, 10).integrate(frames)


@pytest.mark.parametrize("factor", [0, -1, np.nan, [1, 2], [[1.0]]])
def test_impossible_normalization_factors_are_refused(small: ba.Geometry, factor: Any) -> None:
    with pytest.raises(FrameError, match="normalization_factor"):
        ba.Integrator(small, 10).integrate(np.ones((1, 60, 80)), factor)


@pytest.mark.parametrize("name", ["mask", "dark", "flat", "dark_variance"])
def test_maps_of_another_shape_are_refused(small: ba.Geometry, name: str) -> None:
    maps: dict[str, Any] = {name: np.ones((3, 4))}
    with pytest.raises(FrameError, match=rf"{name} has the shape \(3, 4\)"):
        ba.Integrator(small, 10, **maps)


def test_a_map_of_another_shape_is_told_of_though_the_detector_has_none(small: ba.Geometry) -> None:
    geometry = dataclasses.replace(small, detector=ba.Detector(1e-3, 0.9e-3))
    integrator = ba.Integrator(geometry, 10, mask=np.ones((3, 4)))
    with pytest.raises(FrameError, match=r"mask has the shape \(3, 4\), .* \(60, 80\)"):
        integrator.integrate(np.ones((60, 80)))


def test_impossible_requests_are_refused(small: ba.Geometry) -> None:
    with pytest.raises(EngineError, match="'cython'"):
        ba.Integrator(small, engine="cython")
    with pytest.raises(RecipeError, match="npt_azim"):
        ba.Integrator(small, npt_azim=0)
    with pytest.raises(GeometryError, match="wavelength"):
        ba.Integrator(dataclasses.replace(small, wavelength=None))
    ba.Integrator(dataclasses.replace(small, wavelength=None), unit="2th_deg")
