"""Sigma clipping, medians, and what is taken apart with them."""

from types import ModuleType
from typing import Any

import numpy as np
import pytest

import bluesky_azint as ba
from bluesky_azint.binning import EPSILON
from bluesky_azint.errors import FrameError, RecipeError

SHAPE = (60, 80)
SPOTS = np.random.default_rng(1).random(SHAPE) < 0.005


@pytest.fixture
def spotty() -> np.ndarray[Any, Any]:
    frame = np.random.default_rng(0).poisson(100, SHAPE).astype(np.float64)
    frame[SPOTS] = 5000
    return frame


@pytest.fixture
def oracle(pyfai: ModuleType, small: ba.Geometry) -> Any:
    names = ("dist", "poni1", "poni2", "rot1", "rot2", "rot3", "wavelength")
    return pyfai.integrator.azimuthal.AzimuthalIntegrator(
        detector=pyfai.detectors.Detector(1e-3, 0.9e-3, max_shape=SHAPE),
        **{name: getattr(small, name) for name in names},
    )


def grid_of(integrator: ba.Integrator) -> dict[str, Any]:
    """The axis of an integrator, as pyFAI is told it."""
    radial = integrator.radial
    half = (radial[1] - radial[0]) / 2
    return {
        "npt": radial.size,
        "unit": "q_A^-1",
        "radial_range": (radial[0] - half, (radial[-1] + half) / EPSILON),
    }


@pytest.mark.parametrize("error_model", ["poisson", "azimuthal"])
def test_sigma_clipping_agrees_with_pyfai(
    oracle: Any, small: ba.Geometry, spotty: np.ndarray[Any, Any], error_model: str
) -> None:
    # Spots that carry the mean away by less than a standard deviation: beyond, pyFAI clips the rest.
    if error_model == "poisson":
        spotty[SPOTS] = 170
    integrator = ba.Integrator(
        small, 50, splitting="no", error_model=error_model, polarization_factor=0.9
    )
    result = integrator.sigma_clip(spotty, threshold=3)
    expected = oracle.sigma_clip_ng(
        spotty,
        method=("no", "csr", "python"),
        error_model=error_model,
        polarization_factor=0.9,
        thres=3,
        max_iter=5,
        **grid_of(integrator),
    )
    np.testing.assert_array_equal(result.count, expected.count)
    np.testing.assert_allclose(result.intensity, expected.intensity, rtol=1e-6)
    np.testing.assert_allclose(np.asarray(result.sigma), np.asarray(expected.sigma), rtol=1e-5)


@pytest.mark.parametrize("percentile", [50.0, (20, 80), 0.0, 100.0])
@pytest.mark.parametrize("splitting", ["no", "bbox", "full"])
def test_medians_agree_with_pyfai(
    oracle: Any,
    small: ba.Geometry,
    spotty: np.ndarray[Any, Any],
    splitting: str,
    percentile: float | tuple[float, float],
) -> None:
    integrator = ba.Integrator(small, 50, splitting=splitting)
    result = integrator.medfilt(spotty, percentile=percentile)
    if percentile in (0.0, 100.0):
        extreme = np.min if percentile == 0 else np.max
        everything = ba.Integrator(small, 1, splitting="no").medfilt(spotty, percentile=percentile)
        weight = ba.Integrator(small, 1)
        assert everything.intensity[0] == pytest.approx(
            extreme(spotty / weight.back_project(np.ones(1)))
        )
        return
    expected = oracle.medfilt1d_ng(
        spotty,
        method=(splitting, "csr", "python"),
        percentile=percentile,
        **grid_of(integrator),
    )
    np.testing.assert_allclose(result.intensity, expected.intensity, rtol=1e-6)


@pytest.mark.parametrize("error_model", [None, "poisson", "azimuthal", "hybrid", "variance"])
@pytest.mark.parametrize("splitting", ["no", "bbox", "full"])
def test_outliers_are_left_out(
    small: ba.Geometry, spotty: np.ndarray[Any, Any], splitting: str, error_model: str | None
) -> None:
    integrator = ba.Integrator(
        small, 20, splitting=splitting, error_model=error_model, correct_solid_angle=False
    )
    options: dict[str, Any] = {}
    if error_model == "variance":
        options["variance"] = np.full(SHAPE, 100.0)
    clipped = integrator.sigma_clip(np.array([spotty, spotty]), **options)
    assert clipped.intensity.shape == (2, 20)
    plain = integrator.integrate(spotty, **options)
    left = np.abs(clipped.intensity[0] - 100) / np.abs(plain.intensity - 100).max()
    assert np.median(left) < 0.02
    assert left.max() < 0.4
    assert clipped.sigma is not None
    assert (clipped.sigma[clipped.count > 0] > 0).all()
    median = integrator.medfilt(spotty, **options)
    np.testing.assert_allclose(median.intensity, 100, rtol=0.06)


def test_robust_reducers_make_cakes(small: ba.Geometry, spotty: np.ndarray[Any, Any]) -> None:
    integrator = ba.Integrator(small, 10, 12, splitting="no", correct_solid_angle=False)
    median = integrator.medfilt(spotty)
    assert median.intensity.shape == (12, 10)
    assert np.abs(median.intensity[median.count > 0] - 100).max() < 40
    assert integrator.sigma_clip(spotty).intensity.shape == (12, 10)


def test_bad_pixels_are_left_out(small: ba.Geometry, spotty: np.ndarray[Any, Any]) -> None:
    spotty[SPOTS] = np.nan
    integrator = ba.Integrator(small, 20, splitting="no", correct_solid_angle=False)
    assert integrator.sigma_clip(spotty).count.sum() <= 60 * 80 - SPOTS.sum()
    np.testing.assert_allclose(integrator.medfilt(spotty).intensity, 100, rtol=0.05)


def test_bragg_and_amorphous_add_up(small: ba.Geometry, spotty: np.ndarray[Any, Any]) -> None:
    integrator = ba.Integrator(small, 20)
    bragg, amorphous = integrator.separate(spotty)
    np.testing.assert_allclose(bragg + amorphous, spotty)
    assert bragg[SPOTS].mean() > 4850
    bragg[SPOTS] = 0
    assert bragg.mean() < 6  # half of the noise of 100 counts lies above the median
    assert (bragg >= 0).all()


@pytest.mark.parametrize("npt_azim", [None, 36])
def test_the_image_of_a_pattern_is_reduced_to_it(small: ba.Geometry, npt_azim: int | None) -> None:
    integrator = ba.Integrator(
        small, 30, npt_azim, polarization_factor=0.9, azimuth_range=(-180, 180)
    )
    radial = integrator.radial
    pattern = 100 + 50 * radial
    if npt_azim:
        pattern = pattern + 10 * np.cos(np.deg2rad(np.linspace(-175, 175, 36)))[:, np.newaxis]
    again = integrator.integrate(integrator.back_project(pattern, 3.0), 3.0)
    enough = again.count > 5
    np.testing.assert_allclose(again.intensity[enough], pattern[enough], rtol=0.02)


@pytest.mark.parametrize("error_model", ["poisson", "variance", "azimuthal", "hybrid"])
@pytest.mark.parametrize("level", [500, 5000, 1e6])
def test_bright_spots_do_not_clip_the_rest(
    small: ba.Geometry, error_model: str, level: float
) -> None:
    random = np.random.default_rng(5)
    frame = random.poisson(100, SHAPE).astype(np.float64)
    spots = random.random(SHAPE) < 0.01
    frame[spots] = level
    integrator = ba.Integrator(small, 10, splitting="no", error_model=error_model)
    variance = np.full(SHAPE, 100.0) if error_model == "variance" else None
    clipped = integrator.sigma_clip(frame, variance=variance)
    clean = ba.Integrator(small, 10, splitting="no", mask=spots).integrate(frame)
    full = clean.count > 100  # few pixels have a spread that their own outlier makes
    np.testing.assert_allclose(clipped.count[full], clean.count[full], rtol=0.005)
    np.testing.assert_allclose(clipped.intensity[full], clean.intensity[full], rtol=0.002)


def test_ranges_and_percentiles_may_be_lists(small: ba.Geometry) -> None:
    integrator = ba.Integrator(small, 20)
    frame = np.random.default_rng(6).poisson(100, SHAPE)
    radial_range = float(integrator.radial[3]), float(integrator.radial[9])
    ranges: list[Any] = [list(radial_range), np.array(radial_range)]
    for other in ranges:
        np.testing.assert_array_equal(
            integrator.integrate_radial(frame, 36, radial_range=other).intensity,
            integrator.integrate_radial(frame, 36, radial_range=radial_range).intensity,
        )
    quantiles: list[Any] = [[20, 80], np.array([20.0, 80.0])]
    for percentiles in quantiles:
        np.testing.assert_array_equal(
            integrator.medfilt(frame, percentile=percentiles).intensity,
            integrator.medfilt(frame, percentile=(20, 80)).intensity,
        )


def test_impossible_requests_are_refused(small: ba.Geometry) -> None:
    integrator = ba.Integrator(small, 20)
    with pytest.raises(RecipeError, match="threshold"):
        integrator.sigma_clip(np.ones(SHAPE), threshold=0)
    with pytest.raises(RecipeError, match="percentile"):
        integrator.medfilt(np.ones(SHAPE), percentile=(80, 20))
    with pytest.raises(RecipeError, match="percentile"):
        integrator.medfilt(np.ones(SHAPE), percentile=(20, 50, 80))
    with pytest.raises(FrameError, match="one frame"):
        integrator.separate(np.ones((2, *SHAPE)))
    with pytest.raises(RecipeError, match=r"\(3,\)"):
        integrator.back_project(np.ones(3))
    with pytest.raises(FrameError, match="variance"):
        ba.Integrator(small, 20, error_model="variance").sigma_clip(np.ones(SHAPE))
