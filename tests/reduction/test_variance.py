"""Error models, on all engines."""

from types import ModuleType

import numpy as np
import pytest

import bluesky_azint as ba
from bluesky_azint.errors import FrameError

FRAME = np.random.default_rng(0).poisson(50, (60, 80)).astype(np.float64)


@pytest.mark.parametrize("splitting", ["no", "bbox", "full"])
def test_a_given_variance_is_summed(small: ba.Geometry, engine: str, splitting: str) -> None:
    given = ba.Integrator(small, 30, splitting=splitting, error_model="variance", engine=engine)
    poisson = ba.Integrator(small, 30, splitting=splitting, error_model="poisson", engine=engine)
    frame = np.array(FRAME)
    frame[3, 3:9] = np.nan
    result = given.integrate(frame, 2.0, variance=np.maximum(FRAME, 1))
    np.testing.assert_allclose(
        np.asarray(result.sigma), np.asarray(poisson.integrate(frame, 2.0).sigma), rtol=1e-6
    )
    doubled = given.integrate(frame, 2.0, variance=4 * np.maximum(FRAME, 1))
    assert result.sigma is not None
    np.testing.assert_allclose(np.asarray(doubled.sigma), 2 * np.asarray(result.sigma), rtol=1e-12)


def test_a_variance_that_does_not_fit_is_refused(small: ba.Geometry, engine: str) -> None:
    integrator = ba.Integrator(small, 30, error_model="variance", engine=engine)
    with pytest.raises(FrameError, match="there is none"):
        integrator.integrate(FRAME)
    with pytest.raises(FrameError, match=r"variance has the shape \(1, 2, 2\)"):
        integrator.integrate(FRAME, variance=np.ones((2, 2)))


@pytest.mark.parametrize("splitting", ["no", "bbox", "full"])
def test_azimuthal_errors_are_the_spread_in_the_bin(
    small: ba.Geometry, engine: str, splitting: str
) -> None:
    scale = 1e6  # of counts: what is small beside the mean must not be lost
    frame = FRAME + scale
    dark = np.full((60, 80), 5.0)
    integrator = ba.Integrator(
        small, 30, splitting=splitting, error_model="azimuthal", dark=dark, engine=engine
    )
    result = integrator.integrate(frame, 2.0)
    reference = ba.Integrator(small, 30, splitting=splitting, dark=dark, engine="scipy")
    weight = reference.back_project(np.ones(30)).ravel()
    reference.integrate(frame)  # so that there is a table
    assert reference._table is not None
    lookup = reference._table.lookup
    pixel, bins, share = lookup.shares_of(np.arange(lookup.n_pixels))
    net = frame.ravel()[pixel] - 5
    mean = 2.0 * result.intensity[bins]
    variance = np.bincount(bins, (share * (net - weight[pixel] * mean)) ** 2, minlength=30)
    np.testing.assert_allclose(np.asarray(result.sum_variance), variance, rtol=1e-6)


def test_azimuthal_errors_agree_with_the_two_passes_of_pyfai(
    pyfai: ModuleType, small: ba.Geometry, engine: str
) -> None:
    names = ("dist", "poni1", "poni2", "rot1", "rot2", "rot3", "wavelength")
    oracle = pyfai.integrator.azimuthal.AzimuthalIntegrator(
        detector=pyfai.detectors.Detector(1e-3, 0.9e-3, max_shape=(60, 80)),
        **{name: getattr(small, name) for name in names},
    )
    result = ba.Integrator(
        small, 30, splitting="no", error_model="azimuthal", engine=engine
    ).integrate(FRAME)
    expected = oracle.integrate1d(
        FRAME, 30, unit="q_A^-1", method=("no", "csr", "python"), error_model="azimuthal"
    )
    np.testing.assert_allclose(np.asarray(result.sigma), np.asarray(expected.sigma), rtol=1e-5)


def test_hybrid_is_poisson_where_nothing_is_clipped(small: ba.Geometry, engine: str) -> None:
    poisson, hybrid = (
        ba.Integrator(small, 30, error_model=model, engine=engine).integrate(FRAME)
        for model in ("poisson", "hybrid")
    )
    np.testing.assert_array_equal(poisson.sigma, hybrid.sigma)


def test_engines_agree_in_two_dimensions(small: ba.Geometry) -> None:
    for model in ("poisson", "azimuthal"):
        results = [
            ba.Integrator(
                small, 30, 24, splitting="full", error_model=model, engine=engine
            ).integrate(FRAME)
            for engine in ("scipy", "opencl", "histogram")
        ]
        for other in results[1:]:
            np.testing.assert_allclose(other.intensity, results[0].intensity, rtol=1e-6)
            # Of a single pixel there is no spread, but the root of a rounding error.
            np.testing.assert_allclose(
                np.asarray(other.sigma), np.asarray(results[0].sigma), rtol=1e-6, atol=1e-5
            )
            np.testing.assert_allclose(other.count, results[0].count, rtol=1e-7, atol=1e-12)


def test_auto_takes_the_fastest_and_says_so(small: ba.Geometry) -> None:
    assert ba.Integrator(small, 30).integrate(FRAME).engine == "opencl"
