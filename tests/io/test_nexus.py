"""The NXazint1d and NXazint2d files: read while it grows, after a kill, and by everybody's reader."""

import json
import signal
import subprocess
import sys
from pathlib import Path

import h5py
import numpy as np
import pytest
from numpy.typing import NDArray

from bluesky_azint.detectors import detector
from bluesky_azint.errors import FormatError
from bluesky_azint.geometry import Geometry
from bluesky_azint.io.nexus import AzintWriter, write_nexus
from bluesky_azint.io.poni import read_poni
from bluesky_azint.reduction.recipe import Recipe
from bluesky_azint.reduction.result import IntegrationResult
from bluesky_azint.units import unit

NPT = 40
GEOMETRY = Geometry(dist=0.2, poni1=0.09, wavelength=0.5e-10, detector=detector("Eiger2_4M"))
RECIPE = Recipe(npt=NPT, unit="2th_deg", error_model="poisson", azimuth_range=(-10, 10))
RADIAL = np.linspace(0.1, 20, NPT)
ALL_COLUMNS = {
    "intensity",
    "sigma",
    "count",
    "sum_signal",
    "sum_variance",
    "sum_normalization",
    "sum_normalization2",
    "sum_count2",
    "seq_num",
    "timestamp",
    "place",
}


def result(*levels: float, errors: bool = True) -> IntegrationResult:
    """Patterns that lie around a level each."""
    level = np.array(levels)[:, np.newaxis]
    norm = np.ones((len(levels), NPT)) * np.linspace(2, 3, NPT)
    return IntegrationResult(
        radial=RADIAL,
        sum_signal=level * norm + np.sin(RADIAL),
        sum_variance=level * norm if errors else None,
        sum_normalization=norm,
        sum_normalization2=norm**2,
        sum_count2=norm * 5,
        count=norm * 10,
        unit="2th_deg",
        engine="scipy",
    )


def writer(path: Path, **options: object) -> AzintWriter:
    settings: dict[str, object] = {
        "radial": RADIAL,
        "unit": unit("2th_deg"),
        "geometry": GEOMETRY,
        "recipe": RECIPE,
        "errors": True,
        "provenance": {"raw_uid": "abc", "instrument": "BL1"},
    }
    return AzintWriter(path, **{**settings, **options})  # type: ignore[arg-type]


def write(target: AzintWriter, rows: list[int], *levels: float) -> None:
    numbers = np.array(levels)
    target.write(
        rows, result(*levels), seq_nums=numbers, timestamps=numbers + 0.5, places=numbers + 7
    )


def assert_rows(path: Path, columns: dict[str, str], *levels: float | None) -> None:
    """The file holds a pattern for each level, and nothing where it is None."""
    with h5py.File(path, "r", swmr=True) as file:
        for name, dataset in columns.items():
            found = file[dataset][()]
            assert len(found) == len(levels), name
            for row, level in zip(found, levels, strict=True):
                if level is None:
                    empty = 0 if name in ("count", "seq_num", "place") else np.nan
                    np.testing.assert_array_equal(row, np.full_like(row, empty))
                elif name == "seq_num":
                    assert row == level
                elif name == "timestamp":
                    assert row == level + 0.5
                elif name == "place":
                    assert row == level + 7
                else:
                    np.testing.assert_array_equal(row, getattr(result(level), name)[0])


def places(target: AzintWriter) -> dict[str, str]:
    return {name: column.dataset for name, column in target.columns.items()}


def test_rows_are_read_while_the_file_grows(tmp_path: Path) -> None:
    path = tmp_path / "a.nxs"
    with writer(path) as target:
        assert set(target.columns) == ALL_COLUMNS
        assert_rows(path, places(target))
        write(target, [0, 1], 5.0, 6.0)
        target.flush()
        assert_rows(path, places(target), 5.0, 6.0)
        with h5py.File(path, "r", swmr=True) as reader:
            write(target, list(range(2, 50)), *np.arange(7.0, 55.0))
            target.flush()
            reader["entry/data/I"].refresh()
            assert reader["entry/data/I"].shape == (50, NPT)
    assert_rows(path, places(target), *np.arange(5.0, 55.0))


def test_columns_tell_what_is_in_the_file(tmp_path: Path) -> None:
    with writer(tmp_path / "a.nxs") as target:
        write(target, [0], 5.0)
    with h5py.File(tmp_path / "a.nxs") as file:
        for column in target.columns.values():
            dataset = file[column.dataset]
            assert dataset.dtype.str == column.dtype
            assert dataset.shape == (1, *column.shape)
            assert dataset.chunks == column.chunks


@pytest.mark.parametrize(
    ("batches", "expected"),
    [
        ([([0, 1, 2], [1, 2, 3]), ([1], [9])], [1, 9, 3]),  # a rewound event
        ([([0, 1, 1, 2, 0], [1, 2, 3, 4, 5])], [5, 3, 4]),
        ([([2, 0], [1, 2])], [2, None, 1]),
        ([([0], [1]), ([4, 5, 9], [2, 3, 4])], [1, None, None, None, 2, 3, None, None, None, 4]),
        ([([40], [1]), ([39, 3], [2, 3])], [None] * 3 + [3] + [None] * 35 + [2, 1]),
        ([([], [])], []),
    ],
)
def test_any_order_of_rows(
    tmp_path: Path, batches: list[tuple[list[int], list[float]]], expected: list[float | None]
) -> None:
    with writer(tmp_path / "a.nxs") as target:
        for rows, levels in batches:
            write(target, rows, *levels)
    assert_rows(tmp_path / "a.nxs", places(target), *expected)


def test_without_errors_and_sums(tmp_path: Path) -> None:
    with writer(tmp_path / "a.nxs", errors=False, sums=False) as target:
        assert set(target.columns) == {"intensity", "count", "seq_num", "timestamp"}
        target.write([0], result(3.0, errors=False), seq_nums=[3], timestamps=[3.5])
    assert_rows(tmp_path / "a.nxs", places(target), 3.0)


KILLED = """
import sys
from pathlib import Path
sys.path.insert(0, {tests!r})
from test_nexus import write, writer
target = writer(Path({path!r}))
write(target, [0, 1, 2], 1.0, 2.0, 3.0)
target.flush()
print("written", flush=True)
sys.stdin.read()
"""


def test_file_survives_the_kill_of_its_writer(tmp_path: Path) -> None:
    path = tmp_path / "a.nxs"
    script = KILLED.format(tests=str(Path(__file__).parent), path=str(path))
    with subprocess.Popen(
        [sys.executable, "-c", script], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "written\n"
        columns = {"intensity": "/entry/data/I", "seq_num": "/entry/frames/seq_num"}
        assert_rows(path, columns, 1.0, 2.0, 3.0)  # read while another process writes
        process.send_signal(signal.SIGKILL)
        process.wait()
    assert_rows(path, columns, 1.0, 2.0, 3.0)


def read_text(file: h5py.File, name: str) -> str:
    text: str = file[name].asstr()[()]
    return text


def test_metadata_are_those_of_nxazint1d(tmp_path: Path) -> None:
    path = tmp_path / "a.nxs"
    with writer(path) as target, h5py.File(path, "r", swmr=True) as file:
        assert read_text(file, "entry/definition") == "NXazint1d"
        assert file["entry/solid_angle_applied"][()]
        assert not file["entry/polarization_applied"][()]
        assert file["entry/normalization_applied"][()]
        assert read_text(file, "entry/instrument/name") == "BL1"
        assert read_text(file, "entry/instrument/source/probe") == "x-ray"
        monochromator = file["entry/instrument/monochromator"]
        assert monochromator["wavelength"][()] == pytest.approx(0.5, rel=1e-15)
        assert monochromator["energy"][()] == pytest.approx(24.796839686640, rel=1e-12)
        assert read_text(file, "entry/reduction/program") == "bluesky-azint"
        assert read_text(file, "entry/reduction/provenance/raw_uid") == "abc"
        data = file["entry/data"]
        assert list(data.attrs["axes"]) == [".", "radial_axis"]
        assert data.attrs["interpretation"] == "spectrum"
        assert dict(data["radial_axis"].attrs) == {"long_name": "2theta", "units": "degree"}
        assert file["entry/end_time"][()] == b""
    target.close()  # a second time
    with h5py.File(path) as file:
        assert file["entry/end_time"][()].decode() >= read_text(file, "entry/start_time")


def test_geometry_and_recipe_come_back(tmp_path: Path) -> None:
    with writer(tmp_path / "a.nxs"):
        pass
    with h5py.File(tmp_path / "a.nxs") as file:
        (tmp_path / "a.poni").write_text(read_text(file, "entry/reduction/input/poni"))
        recipe = json.loads(read_text(file, "entry/reduction/input/recipe"))
        assert read_text(file, "entry/reduction/input/recipe_hash") == RECIPE.hash
    assert read_poni(tmp_path / "a.poni") == GEOMETRY
    assert Recipe.from_dict(recipe) == RECIPE


def test_geometry_without_wavelength(tmp_path: Path) -> None:
    with writer(tmp_path / "a.nxs", geometry=Geometry(detector=GEOMETRY.detector)):
        pass
    with h5py.File(tmp_path / "a.nxs") as file:
        assert np.isnan(file["entry/instrument/monochromator/wavelength"][()])
        assert np.isnan(file["entry/instrument/monochromator/energy"][()])


def test_silx_finds_the_plot(tmp_path: Path) -> None:
    nxdata = pytest.importorskip("silx.io.nxdata")
    write_nexus(result(1.0, 2.0), tmp_path / "a.nxs", geometry=GEOMETRY, recipe=RECIPE)
    with h5py.File(tmp_path / "a.nxs") as file:
        plot = nxdata.get_default(file)
        assert plot.is_valid
        assert plot.is_stack is False
        assert plot.interpretation == "spectrum"
        np.testing.assert_array_equal(plot.signal, result(1.0, 2.0).intensity)
        np.testing.assert_array_equal(plot.errors, result(1.0, 2.0).sigma)
        np.testing.assert_array_equal(plot.axes[-1], RADIAL)


def test_write_nexus(tmp_path: Path) -> None:
    path = tmp_path / "a.nxs"
    write_nexus(result(1.0, 2.0), path, geometry=GEOMETRY, recipe=RECIPE)
    with h5py.File(path) as file:
        np.testing.assert_array_equal(file["entry/data/I"], result(1.0, 2.0).intensity)
        np.testing.assert_array_equal(file["entry/frames/seq_num"], [1, 2])
    with pytest.raises(FormatError, match=r"a.nxs is there already; use force"):
        write_nexus(result(3.0), path, geometry=GEOMETRY, recipe=RECIPE)
    write_nexus(one_pattern(), path, geometry=GEOMETRY, recipe=RECIPE, force=True)
    with h5py.File(path) as file:
        assert file["entry/data/I"].shape == (1, NPT)
        assert "I_errors" not in file["entry/data"]


def one_pattern() -> IntegrationResult:
    stack = result(7.0, errors=False)

    def first(values: NDArray[np.float64]) -> NDArray[np.float64]:
        return np.asarray(values[0])

    return IntegrationResult(
        radial=RADIAL,
        sum_signal=first(stack.sum_signal),
        sum_normalization=first(stack.sum_normalization),
        sum_normalization2=first(stack.sum_normalization2),
        count=first(stack.count),
        unit="2th_deg",
        engine="scipy",
    )


# What is required by the definitions of 2025.11, with the attributes of the fields:
# https://manual.nexusformat.org/classes/applications/NXazint1d.html and .../NXazint2d.html
REQUIRED: dict[str, set[str]] = {
    "definition": set(),
    "solid_angle_applied": set(),
    "polarization_applied": set(),
    "normalization_applied": set(),
    "instrument/name": set(),
    "instrument/monochromator/wavelength": {"units"},
    "instrument/monochromator/energy": {"units"},
    "instrument/source/name": set(),
    "instrument/source/type": set(),
    "instrument/source/probe": set(),
    "reduction/program": set(),
    "reduction/version": set(),
    "reduction/date": set(),
    "reduction/reference": set(),
    "data/I": {"long_name", "units"},
    "data/radial_axis": {"long_name", "units"},
    "data/norm": {"long_name", "units"},
}
CLASSES = {
    "": "NXentry",
    "instrument": "NXinstrument",
    "instrument/monochromator": "NXmonochromator",
    "instrument/source": "NXsource",
    "reduction": "NXprocess",
    "reduction/input": "NXparameters",
    "data": "NXdata",
}


def assert_required(entry: h5py.Group, required: dict[str, set[str]]) -> None:
    """The entry has all that its definition requires."""
    for name, nx_class in CLASSES.items():
        assert (entry[name] if name else entry).attrs["NX_class"] == nx_class, name
    for name, attributes in required.items():
        assert name in entry, name
        assert attributes <= set(entry[name].attrs), name
    assert set(entry["data"].attrs) >= {"signal", "axes", "interpretation"}
    assert entry["data"].attrs["signal"] == "I"
    assert entry["data/I"].attrs["long_name"] == "intensity"
    assert entry["data/I"].attrs["units"] == "arbitrary units"
    assert entry["data/norm"].attrs["long_name"] == (
        "effective number of pixels contributing to the corresponding bin"
    )


def test_nxazint1d_has_all_that_is_required(tmp_path: Path) -> None:
    write_nexus(result(1.0, 2.0), tmp_path / "a.nxs", geometry=GEOMETRY, recipe=RECIPE)
    with h5py.File(tmp_path / "a.nxs") as file:
        assert_required(file["entry"], REQUIRED)
        assert read_text(file, "entry/definition") == "NXazint1d"
        assert file["entry/data/I"].ndim == 2
        np.testing.assert_array_equal(file["entry/data/norm"], result(1.0).count[0])
        # What GSAS-II looks for, in the class NXparameters.
        assert read_text(file, "entry/reduction/input/unit") == "2th"
        assert np.isnan(file["entry/reduction/input/polarization_factor"][()])


def cakes(number: int) -> IntegrationResult:
    """A stack of cakes of three sectors, the norm of which grows from frame to frame."""
    level = np.arange(1.0, number + 1)[:, np.newaxis, np.newaxis]
    sums = level + np.arange(3.0 * NPT).reshape(3, NPT)
    return IntegrationResult(
        radial=RADIAL,
        azimuthal=np.array([-120.0, 0.0, 120.0]),
        sum_signal=sums**2,
        sum_variance=sums,
        sum_normalization=sums,
        sum_normalization2=2 * sums,
        count=np.where(np.arange(NPT) == 7, 5.0, sums),
        unit="2th_deg",
        engine="scipy",
    )


def test_nxazint2d_has_all_that_is_required(tmp_path: Path) -> None:
    stack = cakes(5)
    write_nexus(stack, tmp_path / "a.nxs", geometry=GEOMETRY, recipe=RECIPE)
    with h5py.File(tmp_path / "a.nxs") as file:
        entry = file["entry"]
        assert_required(entry, {**REQUIRED, "data/azimuthal_axis": {"long_name", "units"}})
        assert read_text(file, "entry/definition") == "NXazint2d"
        data = entry["data"]
        assert list(data.attrs["axes"]) == [".", "azimuthal_axis", "radial_axis"]
        assert data.attrs["interpretation"] == "image"
        assert dict(data["azimuthal_axis"].attrs) == {
            "long_name": "azimuthal bin center",
            "units": "degree",
        }
        np.testing.assert_array_equal(data["azimuthal_axis"], stack.azimuthal)
        np.testing.assert_array_equal(data["I"], stack.intensity)
        np.testing.assert_array_equal(data["I_errors"], stack.sigma)
        np.testing.assert_array_equal(data["norm"], stack.count[-1])
        np.testing.assert_array_equal(entry["sums/sum_normalization2"], stack.sum_normalization2)


def test_one_cake_is_one_row(tmp_path: Path) -> None:
    one = cakes(1).map_sums(lambda values: values[0])
    write_nexus(one, tmp_path / "a.nxs", geometry=GEOMETRY, recipe=RECIPE)
    with h5py.File(tmp_path / "a.nxs") as file:
        np.testing.assert_array_equal(file["entry/data/I"], one.intensity[np.newaxis])


def test_cakes_are_read_while_the_file_grows(tmp_path: Path) -> None:
    stack = cakes(4)
    with writer(tmp_path / "a.nxs", azimuthal=stack.azimuthal) as target:
        for rows in ([0, 1], [3, 2]):
            part = stack.map_sums(lambda values, rows=rows: values[rows])  # type: ignore[misc]
            target.write(rows, part, seq_nums=rows, timestamps=np.array(rows) / 2)
            target.flush()
            with h5py.File(tmp_path / "a.nxs", "r", swmr=True) as file:
                written = max(rows) + 1
                np.testing.assert_array_equal(file["entry/data/I"], stack.intensity[:written])
                np.testing.assert_array_equal(file["entry/data/norm"], stack.count[max(rows)])
        with pytest.raises(FormatError, match=r"takes intensity of shape .1, 3, 40. for 1 rows"):
            target.write([4], result(1.0), seq_nums=[4], timestamps=[2.0])


def test_a_large_cake_is_a_chunk_of_its_own(tmp_path: Path) -> None:
    with writer(tmp_path / "a.nxs", azimuthal=np.arange(360.0), radial=np.arange(1000.0)):
        pass
    with h5py.File(tmp_path / "a.nxs") as file:
        assert file["entry/data/I"].chunks == (1, 360, 1000)


def test_silx_finds_the_cakes(tmp_path: Path) -> None:
    nxdata = pytest.importorskip("silx.io.nxdata")
    stack = cakes(2)
    write_nexus(stack, tmp_path / "a.nxs", geometry=GEOMETRY, recipe=RECIPE)
    with h5py.File(tmp_path / "a.nxs") as file:
        plot = nxdata.get_default(file)
        assert plot.is_valid
        assert plot.interpretation == "image"
        np.testing.assert_array_equal(plot.signal, stack.intensity)
        np.testing.assert_array_equal(plot.axes[-1], RADIAL)
        np.testing.assert_array_equal(plot.axes[-2], stack.azimuthal)


def test_what_does_not_fit_is_refused_and_nothing_is_written(tmp_path: Path) -> None:
    path = tmp_path / "a.nxs"
    with writer(path) as target:
        write(target, [0], 1.0)
        with pytest.raises(
            FormatError, match=r"takes sigma of shape .1, 40. for 1 rows and got none"
        ):
            target.write([0], result(2.0, errors=False), seq_nums=[1], timestamps=[0.0])
        with pytest.raises(FormatError, match=r"takes intensity of shape .2, 40. for 2 rows"):
            target.write([0, 1], result(2.0), seq_nums=[1, 2], timestamps=[0.0, 0.0])
        with pytest.raises(FormatError, match=r"takes seq_num of shape .1,. for 1 rows"):
            target.write([0], result(2.0), seq_nums=[1, 2], timestamps=[0.0])
        with pytest.raises(FormatError, match=r"Row -1 of .*a.nxs cannot be"):
            write(target, [-1], 2.0)
    assert_rows(path, places(target), 1.0)
    with pytest.raises(FormatError, match="cannot be written"):
        writer(tmp_path / "nowhere" / "a.nxs")
