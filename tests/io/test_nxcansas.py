"""The NXcanSAS file: what the definition requires, and numbers in the units it asks for."""

import json
from dataclasses import replace
from pathlib import Path

import h5py
import numpy as np
import pytest

from bluesky_azint.detectors import detector
from bluesky_azint.errors import FormatError
from bluesky_azint.geometry import Geometry
from bluesky_azint.io.nxcansas import write_nxcansas
from bluesky_azint.io.poni import read_poni
from bluesky_azint.reduction.recipe import Recipe
from bluesky_azint.reduction.result import IntegrationResult

NPT = 30
GEOMETRY = Geometry(
    dist=2.0,
    poni1=0.09,
    poni2=0.05,
    rot1=0.1,
    rot2=-0.05,
    rot3=0.3,
    wavelength=0.8e-10,
    detector=detector("Pilatus1M"),
)
RECIPE = Recipe(npt=NPT, error_model="poisson", polarization_factor=0.9)
GAP = slice(4, 6)

# What the definition requires, and of optional groups what they must have once they are there:
# https://manual.nexusformat.org/classes/applications/NXcanSAS.html
CLASSES = {
    "": ("NXentry", "SASentry"),
    "sasdata01": ("NXdata", "SASdata"),
    "sasinstrument": ("NXinstrument", "SASinstrument"),
    "sasinstrument/sasdetector": ("NXdetector", "SASdetector"),
    "sasinstrument/sassource": ("NXsource", "SASsource"),
    "sassample": ("NXsample", "SASsample"),
    "sasprocess": ("NXprocess", "SASprocess"),
    "sasprocess/sasprocessnote": ("NXcollection", "SASprocessnote"),
}
REQUIRED = {
    *("definition", "title", "run", "sasdata01/Q", "sasdata01/I"),
    *("sasinstrument/sasdetector/name", "sasinstrument/sassource/radiation", "sassample/name"),
}
UNITS = {
    "sasdata01/Q": "1/angstrom",
    "sasdata01/I": "a.u.",
    "sasdata01/Idev": "a.u.",
    "sasinstrument/sasdetector/SDD": "mm",
    "sasinstrument/sasdetector/beam_center_x": "mm",
    "sasinstrument/sasdetector/beam_center_y": "mm",
    "sasinstrument/sasdetector/x_pixel_size": "mm",
    "sasinstrument/sasdetector/y_pixel_size": "mm",
    "sasinstrument/sassource/incident_wavelength": "angstrom",
}


def result(*frames: int, errors: bool = True, unit: str = "q_A^-1") -> IntegrationResult:
    """A pattern, or a stack, with a gap that no pixel falls into."""
    sums = np.random.default_rng(3).uniform(1, 9, (5, *frames, NPT))
    sums[..., GAP] = 0
    return IntegrationResult(
        radial=np.linspace(0.01, 0.3, NPT),
        sum_signal=sums[0],
        sum_variance=sums[1] if errors else None,
        sum_normalization=sums[2],
        sum_normalization2=sums[3],
        count=sums[4],
        unit=unit,
        engine="scipy",
    )


def write(pattern: IntegrationResult, path: Path, **options: object) -> None:
    settings = {"geometry": GEOMETRY, "recipe": RECIPE, **options}
    write_nxcansas(pattern, path, **settings)  # type: ignore[arg-type]


def text(entry: h5py.Group, name: str) -> str:
    value: str = entry[name].asstr()[()]
    return value


def without_gap(values: np.ndarray) -> np.ndarray:
    return np.delete(values, GAP)


def test_it_has_all_that_is_required(tmp_path: Path) -> None:
    write(result(), tmp_path / "a.h5", provenance={"sample": "silica", "instrument": "BL1"})
    with h5py.File(tmp_path / "a.h5") as file:
        assert file.attrs["default"] == "sasentry01"
        entry = file["sasentry01"]
        assert entry.attrs["version"] == "1.0"
        assert entry.attrs["default"] == "sasdata01"
        assert text(entry, "definition") == "NXcanSAS"
        for name, (nx_class, sas_class) in CLASSES.items():
            group = entry[name] if name else entry
            assert group.attrs["NX_class"] == nx_class, name
            assert group.attrs["canSAS_class"] == sas_class, name
        for name in REQUIRED:
            assert name in entry, name
        for name, units in UNITS.items():
            assert entry[name].attrs["units"] == units, name
        data = entry["sasdata01"].attrs
        assert (data["signal"], data["I_axes"], data["Q_indices"]) == ("I", "Q", 0)
        assert text(entry, "sassample/name") == "silica"
        assert text(entry, "sasinstrument/name") == "BL1"


def test_numbers_without_the_empty_bins(tmp_path: Path) -> None:
    pattern = result()
    write(pattern, tmp_path / "a.h5")
    with h5py.File(tmp_path / "a.h5") as file:
        data = file["sasentry01/sasdata01"]
        np.testing.assert_array_equal(data["Q"], without_gap(pattern.radial))
        np.testing.assert_array_equal(data["I"], without_gap(pattern.intensity))
        assert pattern.sigma is not None
        np.testing.assert_array_equal(
            data[data["I"].attrs["uncertainties"]], pattern.sigma[pattern.count > 0]
        )
        assert (data["Idev"][()] > 0).all()


def test_the_beam_centre_is_where_two_theta_vanishes(tmp_path: Path) -> None:
    write(result(), tmp_path / "a.h5")
    with h5py.File(tmp_path / "a.h5") as file:
        found = file["sasentry01/sasinstrument/sasdetector"]
        p1, p2 = found["beam_center_y"][()] * 1e-3, found["beam_center_x"][()] * 1e-3
        place = GEOMETRY.lab_from_plane(np.array([p1]), np.array([p2]))
        np.testing.assert_allclose([place.x[0], place.y[0]], 0, atol=1e-15)
        assert place.z[0] * 1e3 == pytest.approx(found["SDD"][()])
        assert found["x_pixel_size"][()] == pytest.approx(0.172)
        wavelength = file["sasentry01/sasinstrument/sassource/incident_wavelength"][()]
        assert wavelength == pytest.approx(0.8)


def test_a_detector_that_the_beam_never_hits(tmp_path: Path) -> None:
    write(result(), tmp_path / "a.h5", geometry=replace(GEOMETRY, rot1=2.0, wavelength=None))
    with h5py.File(tmp_path / "a.h5") as file:
        instrument = file["sasentry01/sasinstrument"]
        assert not {"SDD", "beam_center_x", "beam_center_y"} & set(instrument["sasdetector"])
        assert "incident_wavelength" not in instrument["sassource"]


def test_geometry_and_recipe_come_back(tmp_path: Path) -> None:
    write(result(errors=False), tmp_path / "a.h5", provenance={"raw_uid": "abc"})
    with h5py.File(tmp_path / "a.h5") as file:
        process = file["sasentry01/sasprocess"]
        (tmp_path / "a.poni").write_text(text(process, "poni"))
        assert Recipe.from_dict(json.loads(text(process, "recipe"))) == RECIPE
        assert text(process, "sasprocessnote/raw_uid") == "abc"
        assert "Idev" not in file["sasentry01/sasdata01"]
        assert "sassample" not in file["sasentry01"]
    assert read_poni(tmp_path / "a.poni") == GEOMETRY


def test_one_frame_of_a_stack(tmp_path: Path) -> None:
    stack = result(3, unit="q_nm^-1")
    write(stack, tmp_path / "a.h5", frame=1, provenance={"frame": "00001", "title": "silica"})
    with h5py.File(tmp_path / "a.h5") as file:
        entry = file["sasentry01"]
        np.testing.assert_array_equal(entry["sasdata01/I"], without_gap(stack.intensity[1]))
        assert entry["sasdata01/Q"].attrs["units"] == "1/nm"
        assert (text(entry, "title"), text(entry, "run")) == ("silica", "00001")


def test_what_it_cannot_hold_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "a.h5"
    with pytest.raises(FormatError, match="holds patterns in q, and this one is in 2th_deg"):
        write(result(unit="2th_deg"), path)
    with pytest.raises(FormatError, match=r"shape \(3, 30\), and an NXcanSAS file holds one"):
        write(result(3), path)
    with pytest.raises(FormatError, match=r"shape \(3, 30\), and an NXcanSAS file holds one"):
        write(replace(result(3), azimuthal=np.arange(3.0)), path, frame=0)
    assert not path.exists()
    with pytest.raises(FormatError, match="cannot be written"):
        write(result(), tmp_path / "nowhere" / "a.h5")


def test_file_is_replaced_only_by_force(tmp_path: Path) -> None:
    path = tmp_path / "a.h5"
    path.write_text("precious")
    with pytest.raises(FormatError, match=r"a.h5 is there already; use force"):
        write(result(), path)
    assert path.read_text() == "precious"
    write(result(), path, force=True)
    assert h5py.is_hdf5(path)


def test_silx_finds_the_plot(tmp_path: Path) -> None:
    nxdata = pytest.importorskip("silx.io.nxdata")
    pattern = result()
    write(pattern, tmp_path / "a.h5")
    with h5py.File(tmp_path / "a.h5") as file:
        plot = nxdata.get_default(file)
        assert plot.is_valid
        np.testing.assert_array_equal(plot.signal, without_gap(pattern.intensity))
        np.testing.assert_array_equal(plot.axes[0], without_gap(pattern.radial))
