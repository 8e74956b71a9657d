"""Files that tests of readers share."""

from pathlib import Path

import numpy as np
import pytest


@pytest.fixture
def spline_file(tmp_path: Path) -> Path:
    """A spline file of a small camera, with displacements of a pixel, as Fit2D writes it."""
    rng = np.random.default_rng(1)
    lines = [
        "SPATIAL DISTORTION SPLINE INTERPOLATION COEFFICIENTS",
        "",
        "  VALID REGION",
        _numbers([0.0, 0.0, 60.0, 40.0]),
        "",
        "  GRID SPACING, X-PIXEL SIZE, Y-PIXEL SIZE",
        _numbers([5000.0, 46.7764816, 48.9094582]),
    ]
    for axis in "XY":
        knots_x = [0.0] * 4 + [25.0] + [60.0] * 4
        knots_y = [0.0] * 4 + [12.5, 30.0] + [40.0] * 4
        coefficients = rng.normal(1.0, 0.01, size=5 * 6)
        lines += ["", f"  {axis}-DISTORTION", "     9    10"]
        lines += [_numbers(block) for block in (knots_x[:5], knots_x[5:], knots_y[:5], knots_y[5:])]
        lines += [_numbers(coefficients[start : start + 5]) for start in range(0, 30, 5)]
    path = tmp_path / "camera.spline"
    path.write_text("\n".join([*lines, ""]))
    return path


def _numbers(values: list[float] | np.ndarray) -> str:
    return "".join(f"{value:14.7E}" for value in values)
