"""The reference is the definitions, written out."""

from dataclasses import replace

import numpy as np
import pytest

from bluesky_azint.benchmark.cases import choose
from bluesky_azint.benchmark.reference import difference, reference
from bluesky_azint.benchmark.scene import BAD, POLARIZATION, grid_of, scene_of
from bluesky_azint.corrections import polarization_from_position
from bluesky_azint.grid import split_block

(ONE,) = choose(["1d-no"])
TINY = replace(ONE, detector="tiny", npt=150, frames=2)


def _weights(case: object) -> np.ndarray:
    geometry = scene_of(TINY).geometry
    polarization = polarization_from_position(*geometry.centres(), POLARIZATION)
    return np.asarray(geometry.solid_angle() * polarization).ravel()


def _bins() -> tuple[np.ndarray, np.ndarray]:
    """Bin of every pixel, and whether it is good."""
    scene = scene_of(TINY)
    step = scene.radial_range[1] * (1 + 2**-23) / TINY.npt
    return (scene.geometry.q() / 10 / step).astype(int).ravel(), scene.frames[1].ravel() != BAD


def test_without_splitting_each_bin_is_a_plain_sum() -> None:
    found = reference(TINY, scene_of(TINY))
    frame = scene_of(TINY).frames[1].ravel().astype(float)
    bins, good = _bins()
    weight = _weights(TINY)
    assert found.touched == 1
    assert found.patterns.intensity.shape == (2, TINY.npt)
    assert found.patterns.sigma is not None
    for number in np.unique(bins[good]):
        chosen = good & (bins == number)
        norm = weight[chosen].sum()
        assert found.patterns.intensity[1, number] == pytest.approx(frame[chosen].sum() / norm)
        error = np.sqrt(max(frame[chosen].sum(), 1.0)) / norm
        assert found.patterns.sigma[1, number] == pytest.approx(error)


def test_azimuthal_errors_are_the_spread_of_the_pixels() -> None:
    case = replace(TINY, error_model="azimuthal")
    sigma = reference(case, scene_of(case)).patterns.sigma
    assert sigma is not None
    frame, weight = scene_of(case).frames[1].ravel().astype(float), _weights(case)
    bins, good = _bins()
    for number in np.unique(bins[good]):
        chosen = good & (bins == number)
        mean = frame[chosen].sum() / weight[chosen].sum()
        spread = ((frame[chosen] - weight[chosen] * mean) ** 2).sum()
        assert sigma[1, number] == pytest.approx(np.sqrt(spread) / weight[chosen].sum())


def test_clipping_leaves_out_what_is_far_and_nothing_else() -> None:
    case = replace(TINY, error_model="azimuthal", clip=True)
    scene = scene_of(case)
    frames = scene.frames.copy()
    spot = np.argwhere(frames[0] != BAD)[1000]
    frames[0][tuple(spot)] = 10**6
    spoilt = replace(scene, frames=frames)
    clipped = reference(case, spoilt).patterns.intensity
    frames[0][tuple(spot)] = BAD
    np.testing.assert_allclose(clipped, reference(case, spoilt).patterns.intensity, rtol=1e-12)
    plain = replace(case, clip=False)
    np.testing.assert_allclose(clipped, reference(plain, spoilt).patterns.intensity, rtol=0.5)


def test_split_pixels_touch_more_bins_and_keep_their_sum() -> None:
    case = replace(TINY, splitting="bbox", error_model=None)
    found = reference(case, scene_of(case))
    assert 1.1 < found.touched < 3
    assert found.patterns.sigma is None
    whole = reference(replace(TINY, error_model=None), scene_of(TINY)).patterns.intensity
    assert found.patterns.intensity.mean() == pytest.approx(whole.mean(), rel=0.05)


def test_errors_of_split_pixels_have_squared_shares() -> None:
    case = replace(TINY, splitting="bbox")
    scene = scene_of(case)
    everything = np.ones(scene.geometry.shape, bool)
    shares = split_block(scene.geometry, grid_of(case, scene), slice(0, 64), everything)
    frame, weight = scene.frames[1].ravel(), _weights(case)
    sums = np.zeros((4, case.npt))  # of counts and weights, and of squared shares and shares
    for pixel, number, share in zip(*shares, strict=True):
        if frame[pixel] != BAD:
            counts = float(frame[pixel])
            sums[:, number] += [share**2 * counts, share * weight[pixel], share**2, share]
    held = sums[3] > 0
    variance = np.maximum(sums[0, held], sums[2, held] / sums[3, held])
    found = reference(case, scene).patterns.sigma
    assert found is not None
    np.testing.assert_allclose(found[1, held], np.sqrt(variance) / sums[1, held], rtol=1e-10)
    assert not found[1, ~held].any()


def test_the_difference_is_that_of_the_worst_bin_that_holds_something() -> None:
    expected = np.array([0.0, 2.0, 4.0])
    assert difference(np.array([0.0, 2.0, 4.0]), expected) == 0
    assert difference(np.array([0.0, 2.5, 4.1]), expected) == pytest.approx(0.2)
    assert difference(np.array([1e-9, 2.0, 4.0]), expected) == 1
    assert difference(np.array([0.0, 0.0, 4.0]), expected) == 1
