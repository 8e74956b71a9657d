"""Pictures are made, and show what they should."""

from pathlib import Path

import numpy as np
import pytest
from matplotlib.image import imread

import bluesky_azint as ba
from bluesky_azint.plot import plot_reduction

SHAPE = (60, 80)
GEOMETRY = ba.Geometry(
    detector=ba.Detector(1e-3, 1e-3, SHAPE), dist=0.1, poni1=0.03, poni2=0.04, wavelength=1e-10
)


def picture(path: Path, frame: np.ndarray, rings: list[float]) -> np.ndarray:
    result = ba.Integrator(GEOMETRY, 40, error_model="poisson").integrate(frame)
    plot_reduction(
        path,
        frame,
        GEOMETRY,
        result.radial,
        result.intensity,
        result.sigma,
        unit=result.unit,
        title="A frame",
        rings=rings,
    )
    image: np.ndarray = imread(path)
    return image


def orange(image: np.ndarray) -> int:
    red, green, blue = image[..., 0], image[..., 1], image[..., 2]
    return int(((red > 0.9) & (abs(green - 0.5) < 0.15) & (blue < 0.3)).sum())


@pytest.mark.parametrize("dtype", ["u4", "i4", "f4"])
def test_the_rings_are_marked(tmp_path: Path, dtype: str) -> None:
    frame = np.random.default_rng(0).poisson(20, SHAPE).astype(dtype)
    plain = picture(tmp_path / "plain.png", frame, [])
    marked = picture(tmp_path / "marked.png", frame, [1.0, 1.5])
    assert plain.shape == marked.shape == (650, 1560, 4)
    assert orange(plain) == 0
    assert orange(marked) > 500


def test_a_frame_of_bad_pixels_can_be_drawn(tmp_path: Path) -> None:
    frame = np.full(SHAPE, 2**32 - 1, dtype=np.uint32)
    assert picture(tmp_path / "bad.png", frame, []).shape == (650, 1560, 4)
