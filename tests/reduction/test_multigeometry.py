"""Several geometries, one pattern: against pyFAI, and what must hold whatever the geometries."""

import math
import warnings
from dataclasses import replace
from types import ModuleType
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import bluesky_azint as ba
from bluesky_azint.errors import FrameError, RecipeError
from bluesky_azint.goniometer import Goniometer
from bluesky_azint.reduction.integrator import Integrator
from bluesky_azint.reduction.multigeometry import (
    Exposure,
    integrate_absolute,
    integrate_together,
    usual_solid_angle,
    with_common_ranges,
)
from bluesky_azint.reduction.plan import PixelMaps
from bluesky_azint.reduction.recipe import Recipe

SHAPE = (60, 80)
ARM = Goniometer(
    detector=ba.Detector(1e-3, 0.9e-3, SHAPE),
    parameters={"dist": 0.2},
    positions=("tth", "z"),
    expressions={
        "dist": "dist + z",
        "poni1": "0.03",
        "poni2": "0.036",
        "rot1": "0.02",
        "rot2": "-tth * pi / 180",
    },
    wavelength=0.8e-10,
)
PLACES = ((20.0, 0.0), (30.0, 0.1), (45.0, -0.02))
RECIPE = Recipe(npt=100, unit="2th_deg", splitting="no", error_model="poisson")


def exposures(seed: int = 0) -> list[Exposure]:
    """Frames at several angles and distances, with a dark, a flat and a mask."""
    random = np.random.default_rng(seed)
    maps = PixelMaps(
        mask=random.random(SHAPE) < 0.05,
        dark=random.random(SHAPE) * 3,
        flat=random.uniform(0.8, 1.2, SHAPE),
    )
    return [
        Exposure(
            geometry=ARM.geometry(tth=tth, z=z),
            frame=random.poisson(200.0 * number, SHAPE).astype(np.int32),
            normalization_factor=1.5 * number,
            maps=maps,
        )
        for number, (tth, z) in enumerate(PLACES, start=1)
    ]


def in_pyfai(pyfai: ModuleType, geometry: ba.Geometry) -> Any:
    names = ("dist", "poni1", "poni2", "rot1", "rot2", "rot3", "wavelength")
    described = geometry.detector
    return pyfai.integrator.azimuthal.AzimuthalIntegrator(
        detector=pyfai.detectors.Detector(
            described.pixel1, described.pixel2, max_shape=described.shape
        ),
        **{name: getattr(geometry, name) for name in names},
    )


@pytest.mark.parametrize(
    ("splitting", "algorithm", "correct"),
    [("no", "csr", True), ("no", "csr", False), ("bbox", "csr", True), ("full", "csr", True)],
)
def test_agrees_with_pyfai(
    pyfai: ModuleType, splitting: str, algorithm: str, correct: bool
) -> None:
    with warnings.catch_warnings(action="ignore"):
        from pyFAI.multi_geometry import MultiGeometry
    # Without calibration frames, of which pyFAI's single precision would be compared.
    taken = [replace(exposure, maps=PixelMaps()) for exposure in exposures()]
    recipe = replace(
        RECIPE, splitting=splitting, radial_range=(8.0, 60.0), correct_solid_angle=correct,
        error_model=None,
    )  # fmt: skip
    ours = integrate_together(taken, recipe)
    theirs = MultiGeometry(
        [in_pyfai(pyfai, exposure.geometry) for exposure in taken],
        unit="2th_deg",
        radial_range=(8.0, 60.0),
        azimuth_range=(-180, 180),
        threadpoolsize=0,
    ).integrate1d(
        [np.asarray(exposure.frame) for exposure in taken],
        100,
        correctSolidAngle=correct,
        normalization_factor=[exposure.normalization_factor for exposure in taken],
        method=(splitting, algorithm, "cython"),
    )
    np.testing.assert_allclose(ours.radial, theirs.radial, rtol=1e-6)
    inner = slice(1, -1)
    filled = (ours.count > 0)[inner]
    assert filled.sum() > 80
    np.testing.assert_allclose(
        ours.intensity[inner][filled], theirs.intensity[inner][filled], rtol=1e-6
    )
    np.testing.assert_allclose(ours.count[inner], theirs.count[inner], rtol=1e-5, atol=1e-3)


@pytest.mark.parametrize("npt_azim", [None, 12])
@pytest.mark.parametrize("splitting", ["no", "bbox", "full"])
@settings(max_examples=10)
@given(
    cut=st.integers(1, SHAPE[0] - 1),
    rot1=st.floats(-0.5, 0.5),
    rot2=st.floats(-0.5, 0.5),
    seed=st.integers(0, 99),
)
def test_two_halves_are_the_whole(
    splitting: str, npt_azim: int | None, cut: int, rot1: float, rot2: float, seed: int
) -> None:
    # The beam hits no corner of a pixel, where the azimuth would be that of rounding errors.
    whole = replace(
        ARM.geometry(tth=0.0, z=0.0), poni1=0.0304, poni2=0.0362, rot1=rot1, rot2=rot2, rot3=0.3
    )
    frame = np.random.default_rng(seed).poisson(50.0, SHAPE)
    recipe = replace(RECIPE, splitting=splitting, npt_azim=npt_azim, npt=40)
    together = integrate_together(
        [
            Exposure(
                geometry=replace(
                    whole,
                    detector=replace(whole.detector, shape=(stop - start, SHAPE[1])),
                    poni1=whole.poni1 - start * whole.detector.pixel1,
                ),
                frame=frame[start:stop],
            )
            for start, stop in ((0, cut), (cut, SHAPE[0]))
        ],
        recipe,
    )
    alone = Integrator.from_recipe(whole, recipe).integrate(frame, usual_solid_angle(whole))
    np.testing.assert_allclose(together.radial, alone.radial, rtol=1e-13)
    for name in ("sum_signal", "sum_normalization", "sum_normalization2", "count"):
        value = getattr(alone, name)
        # Pixels at the very border of a bin may be counted on either side.
        np.testing.assert_allclose(
            getattr(together, name), value, rtol=1e-9, atol=1e-9 * np.abs(value).max(), err_msg=name
        )


def test_a_uniform_source_is_uniform_at_every_distance() -> None:
    """What each pixel counts is its solid angle: 1 per steradian, wherever the detector stands."""
    taken = []
    for tth, z in PLACES:
        geometry = ARM.geometry(tth=tth, z=z)
        counts = usual_solid_angle(geometry) * geometry.cos_incidence() ** 3
        taken.append(Exposure(geometry=geometry, frame=counts))
    result = integrate_together(taken, replace(RECIPE, splitting="bbox"))
    np.testing.assert_allclose(result.intensity[result.count > 0], 1.0, rtol=1e-7)
    assert result.count.sum() == pytest.approx(3 * math.prod(SHAPE), rel=1e-12)


def test_the_sums_of_all_are_added() -> None:
    taken = exposures()
    recipe = with_common_ranges([exposure.geometry for exposure in taken], RECIPE)
    together = integrate_together(taken, RECIPE)
    each = [integrate_absolute(exposure, recipe) for exposure in taken]
    for name in ("sum_signal", "sum_variance", "sum_normalization", "sum_normalization2", "count"):
        total = np.sum([getattr(result, name) for result in each], axis=0)
        np.testing.assert_allclose(getattr(together, name), total, rtol=1e-14)
    signal, weight = together.sum_signal, together.sum_normalization
    np.testing.assert_allclose(together.intensity[weight > 0], (signal / np.where(weight, weight, 1))[weight > 0])  # fmt: skip
    assert together.sigma is not None


def test_open_ranges_hold_all_geometries() -> None:
    geometries = [exposure.geometry for exposure in exposures()]
    recipe = with_common_ranges(geometries, replace(RECIPE, npt_azim=4))
    angles = np.rad2deg([geometry.two_theta() for geometry in geometries])
    assert recipe.radial_range == pytest.approx((angles.min(), angles.max()), rel=1e-12)
    chi = np.rad2deg([geometry.chi() for geometry in geometries])
    assert recipe.azimuth_range == pytest.approx((chi.min(), chi.max()), rel=1e-12)
    result = integrate_together(exposures(), replace(RECIPE, npt_azim=4))
    assert result.intensity.shape == (4, 100)
    assert with_common_ranges(geometries, recipe) is recipe


def test_one_geometry_has_its_own_axis() -> None:
    (first, *_) = exposures()
    own = Integrator.from_recipe(first.geometry, RECIPE)
    np.testing.assert_allclose(integrate_together([first], RECIPE).radial, own.radial, rtol=1e-14)


def test_a_generator_is_enough_where_the_ranges_are_known() -> None:
    recipe = replace(RECIPE, radial_range=(8.0, 60.0))
    lazily = integrate_together((exposure for exposure in exposures()), recipe)
    np.testing.assert_array_equal(
        lazily.intensity, integrate_together(exposures(), recipe).intensity
    )


def test_the_spread_between_frames_is_spread() -> None:
    """Two frames of different level: the azimuthal error is that of all their pixels together."""
    geometry = ARM.geometry(tth=20.0, z=0.0)
    frames = [np.full(SHAPE, 10.0), np.full(SHAPE, 14.0)]
    recipe = replace(RECIPE, error_model="azimuthal", correct_solid_angle=False)
    result = integrate_together([Exposure(geometry=geometry, frame=f) for f in frames], recipe)
    filled = result.count > 0
    assert result.std is not None
    np.testing.assert_allclose(result.intensity[filled], 12.0, rtol=1e-12)
    np.testing.assert_allclose(result.std[filled], 2.0, rtol=1e-12)


def test_the_common_range_is_in_the_azimuthal_unit() -> None:
    recipe = replace(RECIPE, unit="qip_nm^-1", azimuthal_unit="qoop_nm^-1", npt_azim=20)
    geometries = [exposure.geometry for exposure in exposures()]
    alone = [Integrator.from_recipe(each, recipe).integrate(np.ones(SHAPE)) for each in geometries]
    common = with_common_ranges(geometries, recipe).azimuth_range
    assert common is not None
    ends = [result.azimuthal[[0, -1]] for result in alone if result.azimuthal is not None]
    assert common[0] < min(low for low, _ in ends) < max(high for _, high in ends) < common[1] < 80


def test_what_cannot_be_integrated_together() -> None:
    with pytest.raises(RecipeError, match="no geometry"):
        integrate_together([], RECIPE)
    with pytest.raises(RecipeError, match="at least one exposure"):
        integrate_together([], replace(RECIPE, radial_range=(1.0, 2.0)))
    (first, *_) = exposures()
    with pytest.raises(FrameError, match="one frame"):
        integrate_together([replace(first, frame=np.zeros((2, *SHAPE)))], RECIPE)
    with pytest.raises(FrameError, match="shape"):
        integrate_together([replace(first, frame=np.zeros((2, 2)))], RECIPE)
