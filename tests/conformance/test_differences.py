"""Where we differ from pyFAI on purpose: what is right, shown without either of the two.

The first lines of these tests are the list of differences in CONFORMANCE.md.
"""

import dataclasses
from types import ModuleType
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

import bluesky_azint as ba
from bluesky_azint.units import unit

FloatArray = NDArray[np.float64]

CORNER = ba.Geometry(detector=ba.Detector(1e-3, 1e-3, (5, 5)), dist=0.1, wavelength=1e-10)
CENTRED = ba.Geometry(
    detector=ba.Detector(1e-3, 1e-3, (60, 80)), dist=0.1, poni1=0.03, poni2=0.04, wavelength=1e-10
)
TILTED = ba.Geometry(
    detector=ba.Detector(1e-3, 1e-3, (20, 24)),
    dist=0.1,
    poni1=-0.004,
    poni2=-0.006,
    rot1=0.2,
    rot2=-0.1,
    wavelength=1e-10,
)
ONES: FloatArray = np.ones(CENTRED.shape)
# The corners of pixels without corrections: all weights are one.
PLAIN: dict[str, Any] = {"unit": "r_mm", "correct_solid_angle": False}
PYFAI: dict[str, Any] = {"unit": "r_mm", "correctSolidAngle": False}


def oracle(pyfai: ModuleType, geometry: ba.Geometry) -> Any:
    """pyFAI's integrator of the same geometry."""
    detector = geometry.detector
    names = ("dist", "poni1", "poni2", "rot1", "rot2", "rot3", "wavelength")
    return pyfai.integrator.azimuthal.AzimuthalIntegrator(
        detector=pyfai.detectors.Detector(
            detector.pixel1, detector.pixel2, max_shape=detector.shape
        ),
        **{name: getattr(geometry, name) for name in names},
    )


def radius(geometry: ba.Geometry) -> FloatArray:
    """Distance of every pixel from the beam, in mm."""
    return unit("r_mm")(geometry.centres(), geometry.wavelength)


def polygons(geometry: ba.Geometry) -> FloatArray:
    """Corners of every pixel in the plane of r (mm) and chi (degrees), ``(n, 4, 2)``."""
    r, chi = unit("r_mm"), unit("chi_deg")
    radial = geometry.at_corners(lambda place: r(place, geometry.wavelength))
    azimuthal = geometry.at_corners(lambda place: chi(place, geometry.wavelength))
    return np.stack([radial, azimuthal], axis=-1).reshape(-1, radial.shape[-1], 2)


def clipped(polygon: FloatArray, axis: int, limit: float, sign: float) -> FloatArray:
    """The part of a polygon on one side of a line (Sutherland and Hodgman)."""
    kept = []
    for begin, end in zip(polygon, np.roll(polygon, -1, axis=0), strict=True):
        inside = sign * (begin[axis] - limit), sign * (end[axis] - limit)
        if inside[0] >= 0:
            kept.append(begin)
        if (inside[0] >= 0) != (inside[1] >= 0):
            kept.append(begin + (end - begin) * inside[0] / (inside[0] - inside[1]))
    return np.array(kept).reshape(-1, 2)


def area(polygon: FloatArray) -> float:
    """Area of a polygon, by the shoelace formula."""
    following = np.roll(polygon, -1, axis=0)
    return float(
        0.5 * abs((polygon[:, 0] * following[:, 1] - polygon[:, 1] * following[:, 0]).sum())
    )


def exact_counts(geometry: ba.Geometry, edges: tuple[FloatArray, FloatArray]) -> FloatArray:
    """Pixels in each cell, each shared by area, ``(azimuthal, radial)``."""
    counts = np.zeros((edges[1].size - 1, edges[0].size - 1))
    for polygon in polygons(geometry):
        whole = area(polygon)
        for column in range(edges[0].size - 1):
            strip = clipped(polygon, 0, edges[0][column], 1)
            strip = clipped(strip, 0, edges[0][column + 1], -1)
            for row in range(edges[1].size - 1):
                cell = clipped(clipped(strip, 1, edges[1][row], 1), 1, edges[1][row + 1], -1)
                counts[row, column] += area(cell) / whole if len(cell) else 0.0
    return counts


def edges_of(centres: FloatArray) -> FloatArray:
    """Edges of equal bins."""
    half = 0.5 * (centres[1] - centres[0])
    return np.append(centres - half, centres[-1] + half)


def test_a_pixel_below_the_range_is_not_counted(pyfai: ModuleType) -> None:
    """Bins are found by floor: pyFAI truncates towards zero, and counts in the first bin what is
    up to a bin below it."""
    inside = (radius(CORNER) >= 1.3) & (radius(CORNER) <= 5.0)
    result = ba.Integrator(CORNER, 5, splitting="no", radial_range=(1.3, 5.0), **PLAIN).integrate(
        np.ones((5, 5))
    )
    theirs = oracle(pyfai, CORNER).integrate1d(
        np.ones((5, 5)), 5, radial_range=(1.3, 5.0), method=("no", "csr", "cython"), **PYFAI
    )
    assert result.count.sum() == inside.sum() == 19
    assert theirs.count.sum() == 20


@pytest.mark.parametrize("splitting", ["no", "bbox", "pseudo", "full"])
def test_a_range_is_a_window(pyfai: ModuleType, splitting: str) -> None:
    """What lies outside the range is counted nowhere, so that a bin holds the same whatever the
    range is: pyFAI piles up in the bins at the ends what overhangs, or shares a polygon among the
    bins that are left."""
    frame = np.random.default_rng(1).poisson(50, CENTRED.shape)
    wide, narrow = (
        ba.Integrator(CENTRED, npt, splitting=splitting, radial_range=ends, **PLAIN).integrate(
            frame
        )
        for npt, ends in ((40, (0.0, 40.0)), (20, (10.0, 30.0)))
    )
    np.testing.assert_allclose(narrow.count, wide.count[10:30], rtol=1e-4)
    np.testing.assert_allclose(narrow.sum_signal, wide.sum_signal[10:30], rtol=1e-4)
    if splitting in ("bbox", "full"):
        method = (splitting, "csr", "cython")
        few = oracle(pyfai, CENTRED).integrate1d(
            frame, 20, radial_range=(10, 30), method=method, **PYFAI
        )
        assert few.count[-1] > 1.2 * wide.count[29]


@pytest.mark.parametrize("splitting", ["no", "bbox", "pseudo", "full"])
@pytest.mark.parametrize("npt_azim", [None, 8])
def test_azimuth_ranges_wrap(pyfai: ModuleType, splitting: str, npt_azim: int | None) -> None:
    """Ranges of azimuth wrap, and a pixel across the cut is in both ends: pyFAI loses what lies
    beyond the cut, half of the image for (0, 360)."""

    def count(lower: float, upper: float) -> float:
        integrator = ba.Integrator(
            CENTRED, 30, npt_azim, splitting=splitting, azimuth_range=(lower, upper), **PLAIN
        )
        return float(integrator.integrate(ONES).count.sum())

    assert count(0, 360) == pytest.approx(4800)
    assert count(-180, 180) == pytest.approx(4800)
    assert count(170, 190) == pytest.approx(count(-10, 10), abs=0.5)
    assert count(170, -170) == pytest.approx(count(170, 190))
    theirs = oracle(pyfai, CENTRED).integrate1d(
        ONES, 30, azimuth_range=(0, 360), method=("no", "csr", "cython"), **PYFAI
    )
    assert theirs.count.sum() == 2400


def test_a_sector_holds_its_area(pyfai: ModuleType) -> None:
    """In one dimension a pixel at the end of the azimuthal range is shared, too: pyFAI counts it as
    a whole."""
    exact = 40.0**2 * np.tan(np.deg2rad(20.0)) / 2.0  # in pixels: the triangle from 0 to 20 degrees
    result = ba.Integrator(CENTRED, 30, splitting="full", azimuth_range=(0, 20), **PLAIN).integrate(
        ONES
    )
    theirs = oracle(pyfai, CENTRED).integrate1d(
        ONES, 30, azimuth_range=(0, 20), method=("full", "csr", "cython"), **PYFAI
    )
    assert result.count.sum() == pytest.approx(exact, rel=0.01)
    assert theirs.count.sum() > 1.05 * exact


def test_polygons_are_shared_exactly_in_two_dimensions(pyfai: ModuleType) -> None:
    """In two dimensions, polygons are shared by their exact area: pyFAI pours the area of a column
    into its cells from one end, which is several percent off."""
    geometry = dataclasses.replace(TILTED, detector=ba.Detector(1e-3, 1e-3, (8, 9)))
    ranges: dict[str, Any] = {"radial_range": (31.0, 39.0), "azimuth_range": (24.0, 38.0)}
    result = ba.Integrator(geometry, 20, 30, splitting="full", **PLAIN, **ranges).integrate(
        np.ones((8, 9))
    )
    assert result.azimuthal is not None
    exact = exact_counts(geometry, (edges_of(result.radial), edges_of(result.azimuthal)))
    np.testing.assert_allclose(result.count, exact, atol=1e-11)
    theirs = oracle(pyfai, geometry).integrate2d(
        np.ones((8, 9)), 20, 30, method=("full", "csr", "cython"), **PYFAI, **ranges
    )
    inner = slice(3, -3), slice(3, -3)
    filled = exact[inner] > 1e-3
    assert np.abs(theirs.count[inner][filled] / exact[inner][filled] - 1.0).max() > 0.03


def test_hexagons_are_shared_exactly() -> None:
    """Polygons of six corners are shared by their exact area; pyFAI cannot share them, and takes
    four of the corners for the centre."""
    pitch = 1e-3
    middle = np.exp(1j * np.pi * (np.arange(6) / 3.0 - 0.5)) / np.sqrt(3.0)
    row, column = np.indices((6, 7))
    centre = (column + 0.5 * (row % 2) + 1.0) + 1j * (row * np.sqrt(0.75) + 1.0)
    corners = (centre[..., np.newaxis] + middle) * pitch
    places = np.stack([0.0 * corners.real, corners.imag, corners.real], axis=-1)
    hexagonal = ba.Detector(pitch * np.sqrt(0.75), pitch, (6, 7), pixels=ba.pixels.Corners(places))
    geometry = dataclasses.replace(TILTED, detector=hexagonal)
    result = ba.Integrator(
        geometry,
        5,
        4,
        splitting="full",
        radial_range=(29.0, 36.0),
        azimuth_range=(22.0, 36.0),
        **PLAIN,
    ).integrate(np.ones((6, 7)))
    assert result.azimuthal is not None
    exact = exact_counts(geometry, (edges_of(result.radial), edges_of(result.azimuthal)))
    assert exact.max() > 1.0
    np.testing.assert_allclose(result.count, exact, rtol=1e-7, atol=1e-7)


@pytest.mark.parametrize("splitting", ["bbox", "pseudo", "full"])
def test_no_pixel_is_lost_at_the_beam(pyfai: ModuleType, splitting: str) -> None:
    """The pixel that holds the beam is shared among all azimuths, as a whole and never negatively;
    pyFAI gives it a share that is negative, or no number, in some cells."""
    beam = dataclasses.replace(CENTRED, poni1=0.0302, poni2=0.0403)
    result = ba.Integrator(beam, 60, 12, splitting=splitting, **PLAIN).integrate(ONES)
    assert result.count.sum() == pytest.approx(4800, rel=1e-12)
    assert (result.count >= 0).all()
    if splitting == "full":
        engine = ("full", "csr", "cython")
        integrator = oracle(pyfai, beam)
        integrator.integrate2d(ONES, 60, 12, method=engine, **PYFAI)
        (theirs,) = (one.engine for one in integrator.engines.values() if one.engine is not None)
        assert not (theirs.data >= 0).all()


def test_pseudo_boxes_have_the_area_of_their_pixel(pyfai: ModuleType) -> None:
    """Pseudo splitting shares a box of the area of the pixel and conserves it: pyFAI's loses a
    twentieth of the pixels."""
    pixel = dataclasses.replace(TILTED, detector=ba.Detector(1e-3, 1e-3, (1, 1)))
    corners = polygons(pixel)[0]
    low, high = corners.min(axis=0) - 1.0, corners.max(axis=0) + 1.0
    ranges: dict[str, Any] = {
        "radial_range": (low[0], high[0]),
        "azimuth_range": (low[1], high[1]),
    }
    fine = ba.Integrator(pixel, 200, 200, splitting="pseudo", **PLAIN, **ranges)
    count = fine.integrate(np.ones((1, 1))).count
    cell = (high - low).prod() / 200**2
    assert count.sum() == pytest.approx(1.0, rel=1e-12)
    assert cell / count.max() == pytest.approx(area(corners), rel=1e-5)

    whole = ba.Integrator(CENTRED, 50, 36, splitting="pseudo", **PLAIN).integrate(ONES)
    theirs = oracle(pyfai, CENTRED).integrate2d(
        ONES, 50, 36, method=("pseudo", "histogram", "cython"), **PYFAI
    )
    assert whole.count.sum() == pytest.approx(4800, rel=1e-12)
    assert theirs.count.sum() < 0.97 * 4800


def test_poisson_errors_are_right_at_low_counts(pyfai: ModuleType) -> None:
    """The Poisson variance of a bin is the sum of its counts: pyFAI takes at least one for each
    pixel, ten times too much at 0.1 counts per pixel."""
    frames = np.random.default_rng(3).poisson(0.1, (400, *CENTRED.shape))
    options: dict[str, Any] = {"radial_range": (5, 25)}
    result = ba.Integrator(
        CENTRED, 10, splitting="no", error_model="poisson", **options, **PLAIN
    ).integrate(frames)
    assert result.sigma is not None
    pixels = result.count[0]
    exact = 0.1 / pixels  # the variance of a mean
    np.testing.assert_allclose((result.sigma**2).mean(axis=0), exact, rtol=0.02)
    np.testing.assert_allclose(result.intensity.var(axis=0), exact, rtol=0.3)
    theirs = oracle(pyfai, CENTRED).integrate1d(
        frames[0], 10, method=("no", "csr", "cython"), error_model="poisson", **options, **PYFAI
    )
    inner = slice(1, -1)
    assert (theirs.sem**2 > 9.0 * exact)[inner].all()


def test_an_empty_bin_has_the_error_of_one_count() -> None:
    """A bin without counts is not free of errors: it has that of one count, which is the least
    there can be; neither 0 nor one for each pixel."""
    result = ba.Integrator(CENTRED, 20, splitting="no", error_model="poisson", **PLAIN).integrate(
        np.zeros(CENTRED.shape, dtype=np.uint16)
    )
    assert result.sigma is not None
    np.testing.assert_allclose(result.sigma, 1.0 / result.count)


def test_a_dark_adds_its_noise(pyfai: ModuleType) -> None:
    """The noise of the dark is part of the error: pyFAI adds it in two dimensions but not in one."""
    rng = np.random.default_rng(4)
    geometry = dataclasses.replace(CORNER, detector=ba.Detector(1e-3, 1e-3, (20, 20)))
    options: dict[str, Any] = {"splitting": "no", "radial_range": (2.0, 20.0), **PLAIN}
    intensities, variances = [], []
    for _ in range(300):
        frame, dark = rng.poisson(30.0, (20, 20)), rng.poisson(10.0, (20, 20))
        result = ba.Integrator(
            geometry, 4, dark=dark, error_model="poisson", engine="histogram", **options
        ).integrate(frame)
        assert result.sigma is not None
        intensities.append(result.intensity)
        variances.append(result.sigma**2)
    np.testing.assert_allclose(np.mean(variances, axis=0), 40.0 / result.count, rtol=0.02)
    np.testing.assert_allclose(np.var(intensities, axis=0), 40.0 / result.count, rtol=0.25)
    theirs = oracle(pyfai, geometry).integrate1d(
        frame,
        4,
        dark=dark,
        radial_range=(2.0, 20.0),
        error_model="poisson",
        method=("no", "csr", "cython"),
        **PYFAI,
    )
    np.testing.assert_allclose(theirs.sem[1:] ** 2, 30.0 / result.count[1:], rtol=0.2)


def test_masks_are_added(pyfai: ModuleType) -> None:
    """A user's mask is added to the detector's: in pyFAI it replaces it, and brings the gaps
    between modules back."""
    own, users = np.zeros((2, 6, 6), dtype=bool)
    own[0], users[3] = True, True
    geometry = dataclasses.replace(CORNER, detector=ba.Detector(1e-3, 1e-3, (6, 6), mask=own))
    result = ba.Integrator(geometry, 5, mask=users, **PLAIN).integrate(np.ones((6, 6)))
    assert result.count.sum() == pytest.approx((~(own | users)).sum())
    integrator = oracle(pyfai, geometry)
    integrator.detector.mask = own
    theirs = integrator.integrate1d(
        np.ones((6, 6)), 5, mask=users, method=("bbox", "csr", "cython"), **PYFAI
    )
    assert theirs.count.sum() == pytest.approx(30)


@pytest.mark.parametrize("splitting", ["no", "bbox", "full"])
def test_a_mask_does_not_move_the_axis(pyfai: ModuleType, splitting: str) -> None:
    """The automatic range is that of the detector: in pyFAI a mask changes it, and with it every
    bin."""
    mask = radius(CENTRED) > 30.0
    with_mask, without = (
        ba.Integrator(CENTRED, 50, mask=one, splitting=splitting, **PLAIN).radial
        for one in (mask, None)
    )
    np.testing.assert_array_equal(with_mask, without)
    integrator = oracle(pyfai, CENTRED)
    method = (splitting, "csr", "cython")
    theirs = [
        integrator.integrate1d(ONES, 50, mask=one, method=method, **PYFAI) for one in (mask, None)
    ]
    assert theirs[0].radial[-1] < 0.7 * theirs[1].radial[-1]


@pytest.mark.parametrize("splitting", ["no", "bbox", "full"])
def test_azimuthal_errors_are_the_spread_around_the_mean(pyfai: ModuleType, splitting: str) -> None:
    """Azimuthal errors are found in two passes, with splitting too: pyFAI's compiled engines do it
    in one, which depends on the order of the pixels, and with splitting no two of them agree."""
    rng = np.random.default_rng(5)
    frame = rng.normal(100.0, 10.0, CENTRED.shape)
    flat = rng.uniform(0.9, 1.1, CENTRED.shape)
    options: dict[str, Any] = {"splitting": splitting, "radial_range": (2.0, 30.0), "flat": flat}
    result = ba.Integrator(CENTRED, 14, error_model="azimuthal", **options, **PLAIN).integrate(
        frame
    )
    grid = ba.grid.make_grid(CENTRED, unit("r_mm"), splitting, 14, (2.0, 30.0))
    shares = ba.lookup.build_lookup(CENTRED, grid, np.zeros(CENTRED.shape, dtype=bool)).matrix
    expected = np.empty(14)
    for number, row in enumerate(shares.toarray()):
        weight = (row * flat.ravel()).sum()
        mean = (row * frame.ravel()).sum() / weight
        deviation = frame.ravel() - flat.ravel() * mean
        expected[number] = np.sqrt((row**2 * deviation**2).sum()) / weight
    assert result.sigma is not None
    np.testing.assert_allclose(result.sigma, expected, rtol=1e-7)
    theirs = oracle(pyfai, CENTRED).integrate1d(
        frame,
        14,
        flat=flat,
        radial_range=(2.0, 30.0),
        error_model="azimuthal",
        method=(splitting, "csr", "cython"),
        **PYFAI,
    )
    assert np.abs(theirs.sem / expected - 1.0)[1:-1].max() > 1e-5


def test_sigma_clipping_works_without_an_error_model(pyfai: ModuleType) -> None:
    """Sigma clipping without an error model takes the azimuthal one: pyFAI's compiled engine then
    returns zeros."""
    rng = np.random.default_rng(6)
    frame = rng.normal(100.0, 3.0, CENTRED.shape)
    spots = rng.random(CENTRED.shape) < 0.01
    frame[spots] += 1000.0
    result = ba.Integrator(CENTRED, 20, splitting="no", **PLAIN).sigma_clip(frame)
    inside = result.count > 20
    assert result.count.sum() == pytest.approx((~spots).sum(), abs=5)
    np.testing.assert_allclose(result.intensity[inside], 100.0, rtol=0.03)
    theirs = oracle(pyfai, CENTRED).sigma_clip(frame, 20, method=("no", "csr", "cython"), **PYFAI)
    assert not np.any(theirs.intensity)


@pytest.mark.parametrize("percentile", [10.0, 50.0, (45.0, 55.0), (25.0, 75.0)])
def test_quantiles_are_those_of_the_pixels(
    pyfai: ModuleType, percentile: float | tuple[float, float]
) -> None:
    """The mean between two quantiles is that of all pixels that reach into it: pyFAI's compiled
    engine takes those that are wholly inside, and leaves bins empty."""
    frame = np.random.default_rng(7).normal(100.0, 10.0, CENTRED.shape)
    integrator = ba.Integrator(CENTRED, 40, splitting="no", radial_range=(0.0, 48.0), **PLAIN)
    result = integrator.medfilt(frame, percentile=percentile)
    number = np.digitize(radius(CENTRED), edges_of(result.radial)) - 1
    bins = [np.sort(frame[number == k]) for k in range(40)]
    if not isinstance(percentile, tuple):
        expected = [np.percentile(one, percentile, method="averaged_inverted_cdf") for one in bins]
        np.testing.assert_allclose(result.intensity, expected, rtol=1e-12)
        return
    low, high = percentile
    for k, one in enumerate(bins):
        rank = np.arange(one.size)
        overlaps = (100 * (rank + 1) > low * one.size) & (100 * rank < high * one.size)
        assert result.intensity[k] == pytest.approx(one[overlaps].mean(), rel=1e-12)
    theirs = oracle(pyfai, CENTRED).medfilt1d_ng(
        frame,
        40,
        percentile=percentile,
        radial_range=(0.0, 48.0),
        method=("no", "csr", "cython"),
        **PYFAI,
    )
    assert (theirs.count == 0).any() or percentile != (45.0, 55.0)


def test_saturated_pixels_are_bad(pyfai: ModuleType) -> None:
    """The largest value of an integer type is no count, in any detector: the counter is full, or
    the pixel marked."""
    frame = np.full(CENTRED.shape, 7, dtype=np.uint16)
    frame[10, 10:20] = 65535
    result = ba.Integrator(CENTRED, 20, **PLAIN).integrate(frame)
    np.testing.assert_allclose(result.intensity, 7.0)
    assert result.count.sum() == pytest.approx(4790)
    theirs = oracle(pyfai, CENTRED).integrate1d(
        frame, 20, method=("bbox", "csr", "cython"), **PYFAI
    )
    assert theirs.intensity.max() > 100.0


def test_the_zeros_of_a_lambda_are_counts(pyfai: ModuleType) -> None:
    """The zeros of a Lambda detector are counts: pyFAI takes them for bad pixels, so that no weak
    signal is below one."""
    detector = ba.detector("Lambda60k")
    frame = np.random.default_rng(8).poisson(0.2, detector.shape).astype(np.uint16)
    geometry = dataclasses.replace(CENTRED, detector=detector, poni1=-0.01, poni2=0.0)
    result = ba.Integrator(geometry, 5, **PLAIN).integrate(frame)
    total = result.sum_signal.sum() / result.sum_normalization.sum()
    assert total == pytest.approx(frame.mean(), rel=1e-12)
    integrator = oracle(pyfai, geometry)
    integrator.detector = pyfai.detectors.detector_factory("Lambda60k")
    theirs = integrator.integrate1d(frame, 5, method=("bbox", "csr", "cython"), **PYFAI)
    assert theirs.intensity.min() >= 1.0


@pytest.mark.parametrize("engine", ["scipy", "opencl", "histogram"])
def test_large_counts_are_exact(pyfai: ModuleType, engine: str) -> None:
    """Counts are never rounded: pyFAI reads frames in single precision, in which 2**24 + 1 is
    2**24."""
    frame = np.full(CENTRED.shape, 2**24 + 1, dtype=np.uint32)
    result = ba.Integrator(CENTRED, 20, splitting="no", engine=engine, **PLAIN).integrate(frame)
    np.testing.assert_array_equal(result.intensity, 2.0**24 + 1)
    theirs = oracle(pyfai, CENTRED).integrate1d(frame, 20, method=("no", "csr", "cython"), **PYFAI)
    np.testing.assert_array_equal(theirs.intensity, 2.0**24)


def test_unknown_methods_are_refused(pyfai: ModuleType) -> None:
    """What cannot be done is refused: pyFAI replaces a method that it does not have by another."""
    with pytest.raises(ba.errors.RecipeError, match="'no', 'bbox', 'pseudo', 'full'"):
        ba.Integrator(CENTRED, 20, splitting="circles")
    theirs = oracle(pyfai, CENTRED).integrate1d(
        ONES, 20, method=("pseudo", "csr", "cython"), **PYFAI
    )
    assert theirs.method.split != "pseudo"
