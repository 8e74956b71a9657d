"""Packed frames give the patterns of the frames that are in them, whatever reduces them."""

from dataclasses import replace
from typing import Any

import h5py
import hdf5plugin
import numpy as np
import pytest
from numpy.typing import NDArray

import bluesky_azint as ba
from bluesky_azint.errors import FrameError
from bluesky_azint.io.chunks import packed_frames
from bluesky_azint.packed import PackedFrames

SHAPE = (121, 103)


@pytest.fixture(scope="module")
def frames() -> NDArray[np.uint32]:
    rng = np.random.default_rng(2)
    frames = rng.poisson(4, (6, *SHAPE)).astype(np.uint32)
    frames[:, 40:44] = 2**32 - 1
    frames[3, 7, 8:30] = 2**32 - 1
    return frames


@pytest.fixture(scope="module")
def packed(frames: NDArray[np.uint32]) -> PackedFrames:
    return pack(frames)


def pack(frames: NDArray[Any]) -> PackedFrames:
    with h5py.File("pack", "w", driver="core", backing_store=False) as file:
        options = hdf5plugin.Bitshuffle(cname="lz4")
        file.create_dataset("data", data=frames, chunks=(1, *frames.shape[1:]), **options)
        found = packed_frames(file["data"], 0, len(frames))
    assert found is not None
    return found


def integrator(engine: str = "auto", **options: Any) -> ba.Integrator:
    mask = np.zeros(SHAPE, dtype=bool)
    mask[40:44] = True
    geometry = ba.Geometry(
        detector=ba.Detector(1e-3, 1e-3, SHAPE), dist=0.2, poni1=0.05, poni2=0.06, wavelength=1e-10
    )
    options = {"npt": 60, "mask": mask, "error_model": "poisson", **options}
    return ba.Integrator(geometry, engine=engine, **options)


def assert_equal(found: ba.IntegrationResult, expected: ba.IntegrationResult) -> None:
    for name in ("sum_signal", "sum_variance", "sum_normalization", "count"):
        one, other = getattr(found, name), getattr(expected, name)
        if other is None:
            assert one is None
        else:
            np.testing.assert_allclose(one, other, rtol=1e-12, atol=1e-11 * np.abs(other).max())


@pytest.mark.parametrize("engine", ["scipy", "opencl", "histogram", "auto"])
@pytest.mark.parametrize(
    "options",
    [
        {"splitting": "no"},
        {"splitting": "bbox", "radial_range": (3.0, 12.0)},
        {"error_model": None},
        {"error_model": "azimuthal"},
        {"npt": 900},
        {"dummy": 3},
        {"npt": 20, "npt_azim": 12},
    ],
)
def test_patterns_are_those_of_the_frames(
    frames: NDArray[np.uint32], packed: PackedFrames, engine: str, options: dict[str, Any]
) -> None:
    one = integrator(engine, **options)
    factors = np.arange(1, 7)
    assert_equal(one.integrate(packed, factors), one.integrate(frames, factors))


def test_nothing_is_unpacked_where_opencl_sums_it(packed: PackedFrames) -> None:
    def refuse(_: PackedFrames) -> NDArray[Any]:
        raise AssertionError

    one = integrator("opencl", radial_range=(3.0, 12.0))
    assert one.integrate(replace(packed, unpack=refuse)).engine == "opencl"


def test_signed_frames(frames: NDArray[np.uint32]) -> None:
    signed = np.minimum(frames, 2**31 - 1).astype(np.int32)
    one = integrator("opencl")
    assert_equal(one.integrate(pack(signed)), one.integrate(signed))


def test_a_variance_beside_packed_frames(frames: NDArray[np.uint32], packed: PackedFrames) -> None:
    one = integrator("opencl", error_model="variance")
    variance = np.random.default_rng(1).random(frames.shape)
    assert_equal(one.integrate(packed, variance=variance), one.integrate(frames, variance=variance))


def test_outliers_and_medians(frames: NDArray[np.uint32], packed: PackedFrames) -> None:
    one = integrator("scipy")
    assert_equal(one.sigma_clip(packed), one.sigma_clip(frames))
    assert_equal(one.medfilt(packed), one.medfilt(frames))


def test_frames_of_another_shape(packed: PackedFrames) -> None:
    other = PackedFrames(packed.chunks, SHAPE[::-1], packed.dtype, packed.unpack)
    with pytest.raises(FrameError, match="must be equal"):
        integrator().integrate(other)
