"""Arithmetic with results, against the same done with frames."""

import dataclasses
from typing import Any

import numpy as np
import pytest

import bluesky_azint as ba
from bluesky_azint.errors import RecipeError
from bluesky_azint.reduction.arithmetic import merge, merge_stack, project, rebin, subtract

FRAMES = np.random.default_rng(0).poisson(0.3, (4, 60, 80)).astype(np.uint16)
SUMS = ("sum_signal", "sum_variance", "sum_normalization", "sum_normalization2", "count")


def integrator(
    geometry: ba.Geometry, error_model: str | None = "poisson", **more: Any
) -> ba.Integrator:
    return ba.Integrator(geometry, 40, error_model=error_model, engine="scipy", **more)


def assert_same(
    one: ba.IntegrationResult, other: ba.IntegrationResult, variance_rtol: float
) -> None:
    for name in (*SUMS, "intensity", "sigma", "std"):
        rtol = variance_rtol if name in ("sum_variance", "sigma", "std") else 1e-9
        np.testing.assert_allclose(
            getattr(one, name), getattr(other, name), rtol=rtol, atol=1e-12, err_msg=name
        )


@pytest.mark.parametrize("error_model", ["poisson", "azimuthal"])
def test_merged_acquisitions_are_one_of_all_pixels(small: ba.Geometry, error_model: str) -> None:
    # Two halves of the detector are two acquisitions; merged they are the whole.
    upper = np.zeros((60, 80), dtype=bool)
    upper[30:] = True
    halves = [
        ba.Integrator(
            small, 40, mask=mask, splitting="no", error_model=error_model, engine="scipy"
        ).integrate(FRAMES[0])
        for mask in (upper, ~upper)
    ]
    whole = ba.Integrator(
        small, 40, splitting="no", error_model=error_model, engine="scipy"
    ).integrate(FRAMES[0])
    # The mean is weighted by w, the variance around it by its square: equal but for their spread.
    assert_same(merge(halves), whole, 1e-9 if error_model == "poisson" else 3e-3)


def test_the_floor_of_counts_is_that_of_all_frames_together(small: ba.Geometry) -> None:
    stack = integrator(small).integrate(FRAMES)
    together = merge_stack(stack)
    np.testing.assert_allclose(
        together.sum_signal, integrator(small).integrate(FRAMES.sum(axis=0)).sum_signal
    )
    nothing = merge_stack(integrator(small).integrate(np.zeros_like(FRAMES)))
    single = integrator(small).integrate(np.zeros_like(FRAMES[0]))
    assert nothing.sigma is not None
    assert single.sigma is not None
    np.testing.assert_allclose(nothing.sigma, single.sigma / 4)  # one count in four times as much


def test_a_background_is_subtracted_with_its_errors(small: ba.Geometry) -> None:
    sample = integrator(small).integrate(FRAMES[0], 2.0)
    background = integrator(small).integrate(FRAMES[1], 5.0)
    net = subtract(sample, background, 0.7)
    np.testing.assert_allclose(net.intensity, sample.intensity - 0.7 * background.intensity)
    assert sample.sigma is not None
    assert background.sigma is not None
    assert net.sigma is not None
    np.testing.assert_allclose(net.sigma, np.hypot(sample.sigma, 0.7 * background.sigma))


def test_the_spread_of_differences_is_what_sigma_says(small: ba.Geometry) -> None:
    frames = np.random.default_rng(1).poisson(2, (2, 400, 60, 80))
    sample, background = (
        ba.Integrator(small, 20, splitting="no", error_model="poisson").integrate(stack)
        for stack in frames
    )
    net = subtract(sample, background)
    assert net.sigma is not None
    enough = net.count[0] > 50
    pull = (net.intensity / net.sigma)[:, enough]
    assert pull.std() == pytest.approx(1.0, abs=0.03)
    assert pull.mean() == pytest.approx(0.0, abs=0.03)


def test_one_background_is_subtracted_from_a_stack(small: ba.Geometry) -> None:
    stack = integrator(small).integrate(FRAMES)
    background = integrator(small).integrate(FRAMES[0])
    net = subtract(stack, background)
    np.testing.assert_allclose(net.intensity[0], 0.0, atol=1e-12)
    assert net.intensity.shape == (4, 40)


def test_rebinned_is_integrated_with_fewer_bins(small: ba.Geometry) -> None:
    fine = ba.Integrator(small, 41, splitting="no", error_model="poisson", radial_range=(0, 4.1))
    coarse = ba.Integrator(small, 10, splitting="no", error_model="poisson", radial_range=(0, 4.0))
    rebinned = rebin(fine.integrate(FRAMES[0]), 4)
    expected = coarse.integrate(FRAMES[0])
    np.testing.assert_allclose(rebinned.radial, expected.radial, rtol=1e-6)
    np.testing.assert_allclose(rebinned.count, expected.count, atol=1)
    assert rebin(fine.integrate(FRAMES), 4).intensity.shape == (4, 10)


@pytest.mark.parametrize("splitting", ["no", "bbox", "full"])
def test_a_cake_projects_to_patterns(small: ba.Geometry, splitting: str) -> None:
    options: dict[str, Any] = {
        "splitting": splitting,
        "radial_range": (0.1, 4),
        "error_model": "azimuthal",
    }
    cake = ba.Integrator(
        small,
        40,
        36,
        azimuth_range=(-180, 180),
        **options,
    ).integrate(FRAMES[0])
    pattern = ba.Integrator(small, 40, **options).integrate(FRAMES[0])
    projected = project(cake, "radial")
    np.testing.assert_allclose(projected.intensity, pattern.intensity, rtol=1e-7)
    around = project(cake, "azimuthal")
    assert around.intensity.shape == (36,)
    assert around.count.sum() == pytest.approx(pattern.count.sum())


def test_i_of_chi_over_a_range(small: ba.Geometry) -> None:
    from_recipe = ba.Integrator(small, 50, splitting="no", error_model="poisson")
    result = from_recipe.integrate_radial(FRAMES, 24, radial_range=(1.0, 2.0))
    assert result.intensity.shape == (4, 24)
    assert result.azimuthal is not None
    q, chi = small.q() / 10, np.degrees(small.chi())
    inside = (q >= 1) & (q <= 2)
    low = result.azimuthal[5] - np.diff(result.azimuthal)[0] / 2
    wedge = inside & (chi >= low) & (chi < low + np.diff(result.azimuthal)[0])
    assert result.count[0, 5] == wedge.sum()
    assert result.sum_signal[2, 5] == FRAMES[2][wedge].sum()


def test_results_that_do_not_fit_are_refused(small: ba.Geometry) -> None:
    one = integrator(small).integrate(FRAMES[0])
    with pytest.raises(RecipeError, match="radial axes"):
        merge([one, ba.Integrator(small, 41, error_model="poisson").integrate(FRAMES[0])])
    with pytest.raises(RecipeError, match=r"q_A\^-1 and in 2th_deg"):
        subtract(one, ba.Integrator(small, 40, unit="2th_deg").integrate(FRAMES[0]))
    with pytest.raises(RecipeError, match="has errors"):
        merge([one, integrator(small, None).integrate(FRAMES[0])])
    with pytest.raises(RecipeError, match="poisson and azimuthal"):
        merge([one, integrator(small, "azimuthal").integrate(FRAMES[0])])
    assert rebin(one, 2.0).radial.size == one.radial.size // 2  # type: ignore[arg-type]
    with pytest.raises(RecipeError, match="nothing to merge"):
        merge([])
    with pytest.raises(RecipeError, match="only a stack"):
        merge_stack(one)
    with pytest.raises(RecipeError, match="no azimuthal axis"):
        project(one, "radial")
    with pytest.raises(RecipeError, match="from 1 to 40"):
        rebin(one, 41)


def test_a_bin_without_background_is_empty(small: ba.Geometry) -> None:
    sample = integrator(small).integrate(FRAMES[0])
    known = np.arange(40) < 30
    background = dataclasses.replace(
        sample, sum_normalization=np.where(known, sample.sum_normalization, 0.0)
    )
    assert (subtract(sample, background).count[~known] == 0).all()
