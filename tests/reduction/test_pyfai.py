"""Integration against live pyFAI, on the same grid."""

from types import ModuleType
from typing import Any

import numpy as np
import pytest

import bluesky_azint as ba
from bluesky_azint.binning import EPSILON

SHAPE = (2162, 2068)
TILTED: dict[str, Any] = {
    "dist": 0.2,
    "poni1": 0.08,
    "poni2": 0.075,
    "rot1": 0.1,
    "rot2": -0.05,
    "rot3": 0.02,
    "wavelength": 1e-10,
}
# The end of the range, in 1/angstrom, leaves out the last bins in the corner of the detector: of
# the few pixels there pyFAI, with corners in single precision, misplaces a few parts in 1e6.
RANGE = (0.05, 3.75)


@pytest.fixture(scope="module")
def oracle(pyfai: ModuleType) -> Any:
    return pyfai.integrator.azimuthal.AzimuthalIntegrator(
        detector=pyfai.detectors.detector_factory("Eiger2_4M"), **TILTED
    )


@pytest.fixture(scope="module")
def geometry() -> ba.Geometry:
    return ba.Geometry(detector=ba.detector("Eiger2_4M"), **TILTED)


@pytest.fixture(scope="module")
def frame(geometry: ba.Geometry) -> np.ndarray[Any, Any]:
    """Rings on a background, at least one count in every pixel; the gaps hold the largest value."""
    rings = 30 + 300 * np.exp(-((geometry.q() % 5 - 2) ** 2) / 0.1)
    counts = np.maximum(np.random.default_rng(0).poisson(rings), 1).astype(np.uint32)
    counts[ba.detector("Eiger2_4M").mask] = 2**32 - 1
    return counts


@pytest.mark.parametrize("splitting", ["no", "bbox", "full"])
def test_eiger_with_tilt_agrees(
    oracle: Any,
    geometry: ba.Geometry,
    frame: np.ndarray[Any, Any],
    splitting: str,
    engine: str,
) -> None:
    result = ba.Integrator(
        geometry,
        1000,
        radial_range=RANGE,
        splitting=splitting,
        polarization_factor=0.95,
        error_model="poisson",
        engine=engine,
    ).integrate(frame)
    expected = oracle.integrate1d(
        frame,
        1000,
        unit="q_A^-1",
        radial_range=RANGE,
        method=(splitting, "csr", "cython"),
        polarization_factor=0.95,
        error_model="poisson",
    )
    assert result.sigma is not None
    assert result.std is not None
    inner = slice(1, -1)  # pyFAI piles up in the bins at the ends what lies outside
    np.testing.assert_allclose(result.radial, expected.radial, rtol=1e-12)
    np.testing.assert_allclose(result.intensity[inner], expected.intensity[inner], rtol=1e-6)
    np.testing.assert_allclose(result.sigma[inner], expected.sigma[inner], rtol=1e-5)
    np.testing.assert_allclose(result.std[inner], expected.std[inner], rtol=1e-5)
    np.testing.assert_allclose(result.count[inner], expected.count[inner], rtol=1e-5)
    assert result.engine == engine


@pytest.mark.parametrize("splitting", ["no", "bbox", "full"])
@pytest.mark.parametrize("unit", ["q_A^-1", "q_nm^-1", "2th_deg", "2th_rad", "r_mm"])
def test_every_unit_agrees_on_the_automatic_range(
    pyfai: ModuleType, small: ba.Geometry, splitting: str, unit: str
) -> None:
    names = ("dist", "poni1", "poni2", "rot1", "rot2", "rot3", "wavelength")
    oracle = pyfai.integrator.azimuthal.AzimuthalIntegrator(
        detector=pyfai.detectors.Detector(1e-3, 0.9e-3, max_shape=(60, 80)),
        **{name: getattr(small, name) for name in names},
    )
    frame = np.random.default_rng(1).poisson(50, (60, 80)) + 1
    result = ba.Integrator(
        small, 50, unit=unit, splitting=splitting, error_model="poisson"
    ).integrate(frame)
    expected = oracle.integrate1d(
        frame, 50, unit=unit, method=(splitting, "csr", "cython"), error_model="poisson"
    )
    np.testing.assert_allclose(result.radial, expected.radial, rtol=2e-7)
    np.testing.assert_allclose(result.intensity, expected.intensity, rtol=3e-6)
    assert result.sigma is not None
    np.testing.assert_allclose(result.sigma, expected.sigma, rtol=1e-5)


@pytest.mark.parametrize("orientation", [1, 2, 3, 4])
def test_every_orientation_agrees(
    pyfai: ModuleType, small: ba.Geometry, orientation: int, engine: str
) -> None:
    names = ("dist", "poni1", "poni2", "rot1", "rot2", "rot3", "wavelength")
    values = {name: getattr(small, name) for name in names}
    oracle = pyfai.integrator.azimuthal.AzimuthalIntegrator(
        detector=pyfai.detectors.Detector(
            1e-3, 0.9e-3, max_shape=(60, 80), orientation=orientation
        ),
        **values,
    )
    geometry = ba.Geometry(
        detector=ba.Detector(1e-3, 0.9e-3, (60, 80), orientation=orientation), **values
    )
    frame = np.random.default_rng(2).poisson(50, (60, 80)) + 1
    result = ba.Integrator(geometry, 50, splitting="full", engine=engine).integrate(frame)
    axis_end = (result.radial[-1] + np.diff(result.radial)[0] / 2) / EPSILON
    expected = oracle.integrate1d(
        frame,
        50,
        unit="q_A^-1",
        method=("full", "csr", "cython"),
        radial_range=(result.radial[0] - np.diff(result.radial)[0] / 2, axis_end),
    )
    np.testing.assert_allclose(result.intensity, expected.intensity, rtol=3e-6)


def test_absorption_and_a_turned_polarization_agree(pyfai: ModuleType, small: ba.Geometry) -> None:
    names = ("dist", "poni1", "poni2", "rot1", "rot2", "rot3", "wavelength")
    oracle = pyfai.integrator.azimuthal.AzimuthalIntegrator(
        detector=pyfai.detectors.Detector(1e-3, 0.9e-3, max_shape=(60, 80)),
        **{name: getattr(small, name) for name in names},
    )
    frame = np.random.default_rng(3).poisson(50, (60, 80)) + 1
    integrator = ba.Integrator(
        small,
        40,
        splitting="no",
        polarization_factor=0.95,
        polarization_offset=0.3,
        sensor_transmission=0.4,
    )
    expected = oracle.integrate1d(
        frame,
        40,
        unit="q_A^-1",
        method=("no", "csr", "cython"),
        polarization_factor=[0.95, 0.3],
        absorption=oracle.calc_transmission(0.4),
    )
    np.testing.assert_allclose(integrator.integrate(frame).intensity, expected.intensity, rtol=1e-6)
    plain = ba.Integrator(small, 40, splitting="no").integrate(frame)
    assert np.abs(plain.intensity / expected.intensity - 1).max() > 0.01
