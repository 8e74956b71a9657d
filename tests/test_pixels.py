"""Irregular pixels integrated: against pyFAI, and against points all over the pixels."""

import dataclasses
from types import ModuleType
from typing import Any

import numpy as np
import pytest

import bluesky_azint as ba
from bluesky_azint.pixels import Corners, Hexagons, Rectangles
from bluesky_azint.units import Q_NM

POSE: dict[str, Any] = {
    "dist": 0.1,
    "poni1": 0.013,
    "poni2": 0.011,
    "rot1": 0.1,
    "rot2": -0.05,
    "rot3": 0.02,
    "wavelength": 1e-10,
}


def inner_range(geometry: ba.Geometry) -> tuple[float, float]:
    q = geometry.q()
    low, high = float(q.min()), float(q.max())
    return low + 0.1 * (high - low), high - 0.1 * (high - low)


def assert_integrated_alike(ours: ba.Geometry, theirs: Any, splitting: str) -> None:
    frame = np.random.default_rng(0).poisson(50, ours.shape).astype(np.uint32)
    limits = inner_range(ours)
    found = ba.Integrator(
        ours, npt=200, unit="q_nm^-1", radial_range=limits, splitting=splitting, engine="scipy"
    ).integrate(frame)
    expected = theirs.integrate1d(
        frame, 200, unit="q_nm^-1", method=(splitting, "csr", "cython"), radial_range=limits
    )
    np.testing.assert_allclose(found.radial, expected.radial, rtol=1e-12)
    inside = slice(1, -1)  # pyFAI piles what lies beyond the range into its end bins
    np.testing.assert_allclose(found.intensity[inside], expected.intensity[inside], rtol=1e-6)
    np.testing.assert_allclose(found.count[inside], expected.count[inside], rtol=1e-4)


@pytest.mark.parametrize("splitting", ["no", "bbox", "full"])
@pytest.mark.parametrize("name", ["Jungfrau", "ImXPadS70", "ImXPadS140"])
def test_pixels_of_several_sizes_are_integrated_as_by_pyfai(
    pyfai: ModuleType, name: str, splitting: str
) -> None:
    theirs = pyfai.integrator.azimuthal.AzimuthalIntegrator(**POSE, detector=name)
    assert_integrated_alike(ba.Geometry(**POSE, detector=ba.detector(name)), theirs, splitting)


@pytest.mark.parametrize("splitting", ["bbox", "full"])
def test_cylinder_around_the_sample_is_integrated_as_by_pyfai(
    pyfai: ModuleType, splitting: str
) -> None:
    shape = (60, 900)

    class _Small(pyfai.detectors.Rapid):  # type: ignore[misc, name-defined]
        MAX_SHAPE = shape

    pose = {**POSE, "dist": 0.12726, "poni1": 0.003, "poni2": -0.02, "rot1": 0.0, "rot2": 0.0}
    whole = ba.detector("Rapid")
    assert whole.pixels is not None
    pixels = dataclasses.replace(whole.pixels, shape=shape)  # type: ignore[type-var]
    ours = ba.Geometry(**pose, detector=dataclasses.replace(whole, pixels=pixels, shape=shape))
    theirs = pyfai.integrator.azimuthal.AzimuthalIntegrator(**pose, detector=_Small())
    frame = np.random.default_rng(0).poisson(50, shape).astype(np.uint32)
    limits = inner_range(ours)
    found = ba.Integrator(
        ours, npt=150, unit="q_nm^-1", radial_range=limits, splitting=splitting, engine="scipy",
        correct_solid_angle=False,
    ).integrate(frame)  # fmt: skip
    expected = theirs.integrate1d(
        frame, 150, unit="q_nm^-1", method=(splitting, "csr", "cython"), radial_range=limits,
        correctSolidAngle=False,
    )  # fmt: skip
    inside = slice(1, -1)
    np.testing.assert_allclose(found.intensity[inside], expected.intensity[inside], rtol=3e-6)


def test_hexagons_are_split_as_points_all_over_them_fall() -> None:
    """Full splitting of pixels with six corners, which pyFAI cannot do."""
    rng = np.random.default_rng(2)
    shape, pitch = (24, 26), 1e-3
    detector = ba.Detector(pitch * np.sqrt(0.75), pitch, pixels=Hexagons(shape, pitch))
    geometry = ba.Geometry(
        detector=detector, dist=0.5, poni1=-0.2, poni2=-0.1, rot1=0.02, wavelength=1e-10
    )
    q = geometry.at_corners(lambda place: Q_NM(place, geometry.wavelength))
    limits = float(q.min()) - 1e-3, float(q.max()) + 1e-3
    frame = rng.poisson(1000, shape)
    result = ba.Integrator(
        geometry, npt=80, unit="q_nm^-1", radial_range=limits, splitting="full", engine="scipy",
        correct_solid_angle=False,
    ).integrate(frame)  # fmt: skip
    assert result.count.sum() == pytest.approx(frame.size, rel=1e-12)

    counts, signal = np.zeros(80), np.zeros(80)
    corners = Hexagons(shape, pitch).corners()
    centre = corners.mean(axis=2)
    rounds = 400
    for _ in range(rounds):
        side = rng.integers(0, 6, shape)
        first = np.take_along_axis(corners, side[..., None, None], axis=2)[..., 0, :]
        second = np.take_along_axis(corners, (side[..., None, None] + 1) % 6, axis=2)[..., 0, :]
        u, v = np.sort(rng.random((2, *shape)), axis=0)[..., np.newaxis]
        points = centre * (1 - v) + first * u + second * (v - u)
        place = geometry.lab_from_plane(points[..., 1], points[..., 2])
        values = Q_NM(place, geometry.wavelength).ravel()
        counts += np.histogram(values, 80, limits)[0]
        signal += np.histogram(values, 80, limits, weights=frame.ravel())[0]
    filled = counts > 1000
    assert filled.sum() > 60
    # Within the noise of the points, which is that of their number in a bin.
    deviation = (result.count - counts / rounds)[filled] / np.sqrt(counts[filled]) * rounds
    assert np.abs(deviation).max() < 4.5
    np.testing.assert_allclose(result.intensity[filled], (signal / counts)[filled], rtol=5e-3)


@pytest.mark.parametrize("layout", [Rectangles, Corners])
def test_a_regular_grid_in_other_words(layout: type) -> None:
    """Pixels that are told one by one give what a regular grid gives, in every orientation."""
    edges = [np.stack([np.arange(n), np.arange(n) + 1.0], axis=-1) * 1e-4 for n in (30, 40)]
    pixels: Any = Rectangles(*edges)
    if layout is Corners:
        pixels = Corners(pixels.corners())
    frame = np.random.default_rng(0).poisson(50, (30, 40))
    for orientation in (1, 2, 3, 4):
        regular = ba.Detector(1e-4, 1e-4, (30, 40), orientation=orientation)
        results = [
            ba.Integrator(
                ba.Geometry(**{**POSE, "dist": 0.01, "poni1": 1e-3, "poni2": 2e-3}, detector=one),
                npt=50, npt_azim=8, unit="q_nm^-1", splitting="full", engine="scipy",
            ).integrate(frame)
            for one in (regular, dataclasses.replace(regular, pixels=pixels))
        ]  # fmt: skip
        np.testing.assert_allclose(results[0].count, results[1].count, atol=1e-6)
        np.testing.assert_allclose(results[0].intensity, results[1].intensity, rtol=1e-5)


def test_binned_pixels_cover_the_same_places() -> None:
    rng = np.random.default_rng(1)
    edges = [np.sort(rng.random(n + 1)) for n in (7, 9)]
    pixels = Rectangles(*[np.stack([e[:-1], e[1:]], axis=-1) for e in edges])
    binned = pixels.binned((2, 3))
    assert binned.shape == (3, 3)
    np.testing.assert_array_equal(
        binned.corners(), Corners(pixels.corners()).binned((2, 3)).corners()
    )
