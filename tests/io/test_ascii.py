"""Text files: everybody's reader gets the numbers back, and the header the geometry."""

import csv
import io
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from bluesky_azint.detectors import detector
from bluesky_azint.errors import FormatError
from bluesky_azint.geometry import Geometry
from bluesky_azint.io.ascii import KINDS, format_ascii, write_ascii
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
    with pytest.raises(FormatError, match="no text format 'doc'; the formats are xy, xye"):
        write(result(50), tmp_path / "a.doc")
    with pytest.raises(FormatError, match=r"cannot be written: .*No such file or directory"):
        write(result(50), tmp_path / "nowhere" / "a.xy")


POWDER = Recipe(npt=50, unit="2th_deg", error_model="poisson")
NOTES = {"image": "quartz q 7.tif", "frame": "3"}


def powder(unit: str = "2th_deg", *, errors: bool = True) -> IntegrationResult:
    pattern = replace(result(50, errors=errors), unit=unit)
    pattern.sum_signal[10:13] = pattern.count[10:13] = 0  # a gap
    pattern.sum_normalization[10:13] = 0
    return pattern


def text(pattern: IntegrationResult, kind: str) -> str:
    return format_ascii(pattern, kind, geometry=GEOMETRY, recipe=POWDER, provenance=NOTES)


def comments(lines: list[str]) -> list[str]:
    return [line.removeprefix("# ") for line in lines if line.startswith("# ")]


def test_dat_is_xy() -> None:
    pattern = powder()
    assert text(pattern, "dat") == text(pattern, "xy")


def test_xye_is_one_of_two_theta_for_gsas_ii() -> None:
    """GSAS-II takes a comment with a small q for the mark of data in q."""
    pattern = powder()
    lines = text(pattern, "xye").splitlines()
    np.testing.assert_allclose(np.loadtxt(lines), table(pattern), rtol=1e-9)
    assert not any("q" in line for line in comments(lines))
    assert "image: Quartz Q 7.tif" in comments(lines)
    assert f"Distance: {GEOMETRY.dist}" in "\n".join(lines)


def read_fxye(content: str) -> tuple[list[str], np.ndarray]:
    """What GSAS-II makes of a file: title and comments, and x, y, weight (its G2pwd_fxye.py)."""
    lines = content.splitlines()
    number = next(i for i, line in enumerate(lines) if line.startswith("BANK "))
    head, bank = lines[:number], lines[number].split()
    assert all(line.startswith("#") for line in head[1:])
    assert bank[-1] == "FXYE"
    rows = np.array([[float(word) for word in line.split()] for line in lines[number + 1 :]])
    assert int(bank[2]) == int(bank[3]) == len(rows)
    assert bank[4] == "CONST"
    assert float(bank[5]) == pytest.approx(rows[0, 0], abs=1e-6)
    assert float(bank[6]) == pytest.approx(rows[1, 0] - rows[0, 0], abs=1e-6)
    x, y, error = rows.T
    weight = np.where((y > 0) & (error > 0), 1 / np.where(error > 0, error, 1) ** 2, 0)
    return head, np.column_stack([x / 100, y, weight])


def test_fxye_is_read_by_gsas_ii() -> None:
    pattern = powder()
    head, found = read_fxye(text(pattern, "fxye"))
    x, y, sigma = table(pattern).T
    np.testing.assert_allclose(found[:, :2], np.column_stack([x, y]), rtol=1e-9)
    filled = pattern.count > 0
    np.testing.assert_allclose(found[filled, 2], 1 / sigma[filled] ** 2, rtol=1e-8)
    assert (found[~filled, 2] == 0).all()
    assert head[0].startswith("bluesky-azint ")
    assert len(head[0]) <= 80
    assert "# unit: 2th_deg" in head


def test_radians_become_degrees_for_powders() -> None:
    pattern = powder("2th_rad")
    in_degrees = np.degrees(pattern.radial)
    lines = text(pattern, "xye").splitlines()
    np.testing.assert_allclose(np.loadtxt(lines)[:, 0], in_degrees, rtol=1e-9)
    np.testing.assert_allclose(read_fxye(text(pattern, "fxye"))[1][:, 0], in_degrees, rtol=1e-9)


@pytest.mark.parametrize("kind", ["xye", "fxye"])
def test_powders_are_of_two_theta_and_have_errors(kind: str) -> None:
    with pytest.raises(FormatError, match=rf"A .{kind} file holds 2theta, and the pattern q_A"):
        text(powder("q_A^-1"), kind)
    with pytest.raises(FormatError, match=rf"A .{kind} file holds errors, and the pattern has no"):
        text(powder(errors=False), kind)


def read_chi(content: str) -> tuple[list[str], np.ndarray]:
    """The four lines of Fit2D, and the columns below."""
    lines = content.splitlines()
    found = np.loadtxt(lines[4:])
    assert int(lines[3]) == len(found)
    return lines[:3], found


def test_chi_has_the_four_lines_of_fit2d() -> None:
    pattern = powder()
    labels, found = read_chi(text(pattern, "chi"))
    np.testing.assert_allclose(found, table(pattern)[:, :2], rtol=1e-9)
    assert labels[1:] == ["2-Theta Angle (Degrees)", "Intensity"]
    # "q " in these lines makes GSAS-II take the abscissa for q.
    assert not any("q " in line.lower() for line in labels)
    assert "Poni2: 0.3333333333333333; " in labels[0]


def test_chi_of_q_tells_gsas_ii_the_wavelength() -> None:
    labels, _ = read_chi(text(powder("q_A^-1"), "chi"))
    assert "q " not in labels[0].lower()
    assert float(labels[1].removeprefix("q ").split()[0]) == 1.0  # angstrom
    labels, _ = read_chi(text(powder("r_mm"), "chi"))
    assert labels[1] == "r (mm)"


def test_csv_of_a_unit_with_parameters() -> None:
    unit = "qip_nm^-1(incident_angle=0.01,sample_orientation=3)"
    rows = list(csv.reader(io.StringIO(text(powder(unit), "csv"))))
    assert rows[0] == [unit, "intensity", "sigma"]
    assert {len(row) for row in rows} == {3}


@pytest.mark.parametrize("shape", [(4, 50), (3, 4, 50)])
@pytest.mark.parametrize("kind", KINDS)
def test_cakes_are_refused(kind: str, shape: tuple[int, ...]) -> None:
    cake = replace(result(*shape), azimuthal=np.arange(4.0))
    with pytest.raises(FormatError, match=r"write cakes as .nxs"):
        format_ascii(cake, kind, geometry=GEOMETRY, recipe=POWDER, frame=0)


def test_text_ends_with_the_last_row() -> None:
    text = format_ascii(result(50), "csv", geometry=GEOMETRY, recipe=RECIPE)
    assert text.count("\n") == 51
    assert text.endswith("\n")
