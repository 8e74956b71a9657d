"""Text files: everybody's reader gets the numbers back, and the header the geometry."""

import csv
from pathlib import Path

import numpy as np
import pytest

from bluesky_azint.detectors import detector
from bluesky_azint.errors import FormatError
from bluesky_azint.geometry import Geometry
from bluesky_azint.io.ascii import format_ascii, write_ascii
from bluesky_azint.io.poni import read_poni
from bluesky_azint.reduction.recipe import Recipe
from bluesky_azint.reduction.result import IntegrationResult

RECIPE = Recipe(npt=50, error_model="poisson", radial_range=(0.5, 3), polarization_factor=0.99)
GEOMETRY = Geometry(
    dist=0.2, poni1=0.1, poni2=1 / 3, wavelength=1e-10, detector=detector("Pilatus1M")
)
RNG = np.random.default_rng(1)


def result(*shape: int, errors: bool = True) -> IntegrationResult:
    sums = RNG.uniform(1, 1e6, (5, *shape))
    return IntegrationResult(
        radial=np.linspace(0.5, 3, 50) + 1e-5,
        sum_signal=sums[0],
        sum_variance=sums[1] if errors else None,
        sum_normalization=sums[2],
        sum_normalization2=sums[3],
        count=sums[4],
        unit="q_A^-1",
        engine="scipy",
    )


def write(pattern: IntegrationResult, path: Path, **options: object) -> None:
    write_ascii(pattern, path, geometry=GEOMETRY, recipe=RECIPE, **options)  # type: ignore[arg-type]


def table(pattern: IntegrationResult) -> np.ndarray:
    assert pattern.sigma is not None
    return np.column_stack([pattern.radial, pattern.intensity, pattern.sigma])


def test_xy_is_read_by_numpy(tmp_path: Path) -> None:
    pattern = result(50)
    write(pattern, tmp_path / "a.xy")
    np.testing.assert_allclose(np.loadtxt(tmp_path / "a.xy"), table(pattern), rtol=1e-9)


def test_xy_without_errors_has_two_columns(tmp_path: Path) -> None:
    write(result(50, errors=False), tmp_path / "a.xy")
    assert np.loadtxt(tmp_path / "a.xy").shape == (50, 2)


def test_header_of_xy_holds_the_poni_file_and_the_recipe(tmp_path: Path) -> None:
    write(result(50), tmp_path / "a.xy", provenance={"image": "a.tif\nof yesterday"})
    header = [
        line.removeprefix("# ")
        for line in (tmp_path / "a.xy").read_text().splitlines()
        if line.startswith("# ")
    ]
    assert header[-1] == "q_A^-1  intensity  sigma"
    assert "polarization_factor: 0.99" in header
    assert "radial_range: [0.5, 3.0]" in header
    assert "image: a.tif" in header
    (tmp_path / "a.poni").write_text("\n".join(header))
    assert read_poni(tmp_path / "a.poni") == GEOMETRY


def test_csv(tmp_path: Path) -> None:
    pattern = result(50)
    write(pattern, tmp_path / "a.csv")
    with (tmp_path / "a.csv").open(newline="") as file:
        rows = list(csv.reader(file))
    assert rows[0] == ["q_A^-1", "intensity", "sigma"]
    np.testing.assert_allclose(np.array(rows[1:], float), table(pattern), rtol=1e-9)


def test_one_frame_of_a_stack(tmp_path: Path) -> None:
    stack = result(3, 50)
    write(stack, tmp_path / "a.xy", frame=1)
    np.testing.assert_allclose(np.loadtxt(tmp_path / "a.xy")[:, 1], stack.intensity[1], rtol=1e-9)
    with pytest.raises(FormatError, match=r"shape \(3, 50\), and a text file holds one pattern"):
        write(stack, tmp_path / "b.xy")
    assert not (tmp_path / "b.xy").exists()


def test_file_is_replaced_only_by_force(tmp_path: Path) -> None:
    path = tmp_path / "a.xy"
    path.write_text("precious")
    with pytest.raises(FormatError, match=r"a.xy is there already; use force"):
        write(result(50), path)
    assert path.read_text() == "precious"
    write(result(50), path, force=True)
    assert np.loadtxt(path).shape == (50, 3)


def test_what_cannot_be_written_is_refused(tmp_path: Path) -> None:
    with pytest.raises(FormatError, match="no text format 'dat'; the formats are xy, csv"):
        write(result(50), tmp_path / "a.dat")
    with pytest.raises(FormatError, match=r"cannot be written: .*No such file or directory"):
        write(result(50), tmp_path / "nowhere" / "a.xy")


def test_text_ends_with_the_last_row() -> None:
    text = format_ascii(result(50), "csv", geometry=GEOMETRY, recipe=RECIPE)
    assert text.count("\n") == 51
    assert text.endswith("\n")
