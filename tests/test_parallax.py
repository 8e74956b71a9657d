"""Displacements in sensors against recorded values and the integral they stand for."""

import numpy as np
import pytest
from scipy.integrate import quad

from bluesky_azint.errors import GeometryError
from bluesky_azint.parallax import Sensor, mean_displacement


def radius(degrees: float, distance: float) -> np.ndarray:
    return np.array([distance * np.tan(np.deg2rad(degrees))])


@pytest.mark.parametrize(
    ("angle", "expected"), [(10, 36.5441e-6), (30, 118.2641e-6), (60, 329.8048e-6)]
)
def test_displacement_is_pyfais(angle: float, expected: float) -> None:
    found = mean_displacement(radius(angle, 0.1), 0.1, 1039.6656, 450e-6)
    assert found[0] == pytest.approx(expected, rel=2e-6)


@pytest.mark.parametrize("thickness", [1e-5, 1e-3, 0.1])
def test_displacement_is_the_mean_way_along_the_surface(thickness: float) -> None:
    attenuation, angle = 2000.0, np.deg2rad(35)
    longest = thickness / np.cos(angle)
    absorbed = quad(lambda way: np.exp(-attenuation * way), 0, longest)[0]
    moment = quad(lambda way: way * np.exp(-attenuation * way), 0, longest)[0]
    found = mean_displacement(radius(35, 0.2), 0.2, attenuation, thickness)
    assert found[0] == pytest.approx(np.sin(angle) * moment / absorbed, rel=1e-7)


def test_a_thick_sensor_is_one_that_absorbs_everything() -> None:
    args = radius(20, 0.1), 0.1, 2000.0
    assert mean_displacement(*args, 1.0) == pytest.approx(mean_displacement(*args, None))


@pytest.mark.parametrize("distance", [0.05, 0.1, 3.0])
@pytest.mark.parametrize("sensor", [Sensor("Si", 1e-3), Sensor("CdTe", 1e-3), Sensor("Si")])
def test_photons_that_come_in_there_are_counted_here(sensor: Sensor, distance: float) -> None:
    counted = np.linspace(0, 3 * distance, 50)
    wavelength = 0.5e-10
    entrance = sensor.entrance(counted, distance, wavelength)
    from bluesky_azint.attenuation import KEV_METRES, linear_attenuation

    attenuation = linear_attenuation(sensor.material, KEV_METRES / wavelength)
    shift = mean_displacement(entrance, distance, attenuation, sensor.thickness)
    np.testing.assert_allclose(entrance + shift, counted, atol=1e-9)


def test_impossible_sensors_are_refused() -> None:
    with pytest.raises(GeometryError, match="made of 'Sn', which is not known; known are Si, Ge"):
        Sensor("Sn")
    with pytest.raises(GeometryError, match="must be positive"):
        Sensor("Si", 0.0)
