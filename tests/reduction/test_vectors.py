"""Integration against recorded values of pyFAI 2026.9, where it is right.

Left out, because we differ on purpose: bins at the ends of a range given by the user, into which
pyFAI piles what lies outside (and, without splitting, pixels up to a bin below), and the variance
of the dark, which pyFAI leaves out.
"""

from typing import Any

import numpy as np
import pytest

import bluesky_azint as ba

METHODS = ("csr", "histogram")
SPLITTINGS = ("no", "bbox", "full")
FRAME = np.arange(1, 26).reshape(5, 5)
TINY = ba.Geometry(detector=ba.Detector(1e-3, 1e-3, (5, 5)), dist=0.1, wavelength=1e-10)


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("splitting", SPLITTINGS)
def test_tiny_plain(vectors: dict[str, Any], engine: str, splitting: str, method: str) -> None:
    expected = vectors["tiny5x5_plain"][f"{splitting} {method} plain"]
    result = ba.Integrator(
        TINY, 5, unit="r_mm", splitting=splitting, correct_solid_angle=False, engine=engine
    ).integrate(FRAME)
    np.testing.assert_allclose(result.radial, expected["radial"], rtol=1e-7)
    np.testing.assert_allclose(result.intensity, expected["I"], rtol=1e-6)
    np.testing.assert_allclose(result.count, expected["count"], rtol=1e-6)


@pytest.mark.parametrize("splitting", SPLITTINGS)
def test_tiny_poisson(vectors: dict[str, Any], engine: str, splitting: str) -> None:
    expected = vectors["tiny5x5"][f"{splitting} poisson cython"]
    result = ba.Integrator(
        TINY,
        5,
        unit="r_mm",
        splitting=splitting,
        polarization_factor=0.95,
        error_model="poisson",
        engine=engine,
    ).integrate(FRAME)
    for name, key in {
        "intensity": "I",
        "sigma": "sem",
        "std": "std",
        "count": "count",
        "sum_signal": "sum_signal",
        "sum_normalization": "sum_norm",
        "sum_normalization2": "sum_norm2",
        "sum_variance": "sum_var",
    }.items():
        np.testing.assert_allclose(getattr(result, name), expected[key], rtol=1e-6, err_msg=name)


@pytest.mark.parametrize(("range_", "azimuth"), [("range", None), ("range_azim", (20, 60))])
def test_tiny_ranges_without_splitting(
    vectors: dict[str, Any], engine: str, range_: str, azimuth: tuple[float, float] | None
) -> None:
    expected = vectors["tiny5x5_plain"][f"no csr {range_}"]
    result = ba.Integrator(
        TINY,
        5,
        unit="r_mm",
        splitting="no",
        radial_range=(1.5, 5),
        azimuth_range=azimuth,
        correct_solid_angle=False,
        engine=engine,
    ).integrate(FRAME)
    np.testing.assert_allclose(result.radial, expected["radial"], rtol=1e-12)
    np.testing.assert_allclose(result.intensity[1:], expected["I"][1:], rtol=1e-6)
    np.testing.assert_allclose(result.count[1:], expected["count"][1:])


def medium(values: dict[str, Any], npt: int = 12, **options: Any) -> ba.IntegrationResult:
    names = ("dist", "poni1", "poni2", "rot1", "rot2", "rot3", "wavelength")
    geometry = ba.Geometry(
        detector=ba.Detector(values["pixel1"], values["pixel2"], tuple(values["shape"])),
        **{name: values[name] for name in names},
    )
    integrator = ba.Integrator(
        geometry,
        npt,
        unit="q_nm^-1",
        mask=np.array(values["mask"]),
        dark=np.array(values["dark"]),
        flat=np.array(values["flat"]),
        dummy=values["dummy"],
        delta_dummy=values["delta_dummy"],
        polarization_factor=values["polarization_factor"],
        error_model="poisson",
        dark_variance=np.zeros(values["shape"]),
        **options,
    )
    return integrator.integrate(np.array(values["raw"]), values["normalization_factor"])


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("splitting", SPLITTINGS)
@pytest.mark.parametrize("region", ["open", "range", "range_azim"])
def test_medium(
    vectors: dict[str, Any], engine: str, splitting: str, method: str, region: str
) -> None:
    values = vectors["medium16x20"]
    expected = values["results"][f"1d {splitting} {method} {region}"]
    axis = np.array(expected["radial"])
    # Open, the same axis: pyFAI's depends on the mask and on the method, ours does not.
    ends = ends_of(axis) if region == "open" else (5.0, 15.0)
    result = medium(
        values,
        splitting=splitting,
        engine=engine,
        radial_range=ends,
        azimuth_range=(-50, 70) if region == "range_azim" else None,
    )
    inner = slice(None) if region == "open" else slice(1, -1)
    np.testing.assert_allclose(result.radial, axis, rtol=1e-9)
    np.testing.assert_allclose(result.intensity[inner], expected["I"][inner], rtol=1e-6)
    assert result.sigma is not None
    np.testing.assert_allclose(result.sigma[inner], expected["sem"][inner], rtol=1e-5)


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("splitting", ["no", "bbox"])
def test_medium_cake(vectors: dict[str, Any], engine: str, splitting: str, method: str) -> None:
    values = vectors["medium16x20"]
    expected = values["results"][f"2d {splitting} {method} open"]
    radial, azimuthal = np.array(expected["radial"]), np.array(expected["azimuthal"])
    result = medium(
        values,
        npt=radial.size,
        npt_azim=azimuthal.size,
        splitting=splitting,
        engine=engine,
        radial_range=ends_of(radial),
        azimuth_range=ends_of(azimuthal),
    )
    np.testing.assert_allclose(result.radial, radial, rtol=1e-9)
    np.testing.assert_allclose(np.asarray(result.azimuthal), azimuthal, rtol=1e-8)
    np.testing.assert_allclose(result.count, expected["count"], rtol=1e-5, atol=2e-6)
    np.testing.assert_allclose(result.intensity, expected["I"], rtol=2e-6)


@pytest.mark.parametrize("splitting", ["no", "bbox"])
def test_tiny_cake(vectors: dict[str, Any], engine: str, splitting: str) -> None:
    result = ba.Integrator(
        TINY,
        2,
        2,
        unit="r_mm",
        splitting=splitting,
        radial_range=(1.3, 5),
        azimuth_range=(30, 60),
        correct_solid_angle=False,
        engine=engine,
    ).integrate(FRAME)
    expected = vectors["tiny5x5_plain"][f"{splitting} csr 2d"]
    np.testing.assert_allclose(result.radial, expected["radial"], rtol=1e-12)
    np.testing.assert_allclose(np.asarray(result.azimuthal), expected["azimuthal"], rtol=1e-12)
    if splitting == "no":  # counted by hand: nothing below the range is in its first bins
        np.testing.assert_array_equal(result.count, [[2, 3], [1, 1]])
        np.testing.assert_allclose(result.intensity, np.array([[7.5, 46 / 3], [12, 18]]))
    else:  # what overhangs is not piled up in the bins at the ends
        assert (result.count < np.array(expected["count"])).all()


def ends_of(centres: np.ndarray[Any, Any]) -> tuple[float, float]:
    """The range of a grid of pyFAI, a little wider at the lower end for rounding."""
    step = centres[1] - centres[0]
    lower = centres[0] - step / 2
    return lower - 1e-12 * abs(lower), (centres[-1] + step / 2) / (1 + 2**-23)
