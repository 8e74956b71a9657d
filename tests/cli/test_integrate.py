"""The command reduces real and made frames; every way it ends is seen from outside."""

import argparse
import json
import subprocess
import sys
from pathlib import Path

import h5py
import hdf5plugin
import numpy as np
import pytest

from bluesky_azint.cli import integrate, main
from bluesky_azint.detectors import Detector
from bluesky_azint.geometry import Geometry
from bluesky_azint.io.ascii import KINDS as TEXT_KINDS
from bluesky_azint.reduction.integrator import CHOICES, Integrator
from bluesky_azint.reduction.variance import ERROR_MODELS
from bluesky_azint.splitting import SPLITTINGS

SHAPE = (30, 40)
FRAMES = np.random.default_rng(1).poisson(100, (5, *SHAPE)).astype(np.uint32)
GEOMETRY = Geometry(
    dist=0.1,
    poni1=0.001,
    poni2=0.002,
    wavelength=1e-10,
    detector=Detector(pixel1=1e-4, pixel2=1e-4, shape=SHAPE),
)


@pytest.fixture(autouse=True)
def _only_this_command(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("bluesky_azint.cli.COMMANDS", ("integrate",))


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working folder with a geometry, a stack, two images, a mask and a dark."""
    monkeypatch.chdir(tmp_path)
    GEOMETRY.to_poni(tmp_path / "a.poni")
    with h5py.File(tmp_path / "stack.h5", "w") as file:
        file["entry/data/data"] = FRAMES
        file["dark"] = np.full((4, *SHAPE), 7, np.uint16)
    for name, frame in zip("ab", FRAMES, strict=False):
        np.save(tmp_path / f"{name}.npy", frame)
    np.save(tmp_path / "mask.npy", np.arange(40) > np.full(SHAPE, 30))
    (tmp_path / "broken.tif").write_bytes(b"no image")
    return tmp_path


def run(*arguments: str) -> int:
    return main(["integrate", *arguments, "--poni", "a.poni", "--npt", "20", "--engine", "scipy"])


def expected(frame: np.ndarray, **options: object) -> np.ndarray:
    integrator = Integrator(GEOMETRY, npt=20, engine="scipy", **options)  # type: ignore[arg-type]
    result = integrator.integrate(frame)
    columns = [result.radial, result.intensity, result.sigma]
    return np.column_stack([column for column in columns if column is not None])


def test_choices_are_those_of_the_library() -> None:
    assert integrate.TEXT_KINDS == TEXT_KINDS
    assert SPLITTINGS == integrate.SPLITTINGS
    # A command line has no frame of variances to give.
    assert set(ERROR_MODELS) - {"variance"} == set(integrate.ERROR_MODELS)
    assert set(CHOICES) == set(integrate.ENGINES)


def test_images_become_xy_files_here(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run("a.npy", "b.npy") == 0
    for name, frame in zip("ab", FRAMES, strict=False):
        np.testing.assert_allclose(np.loadtxt(f"{name}.xy"), expected(frame), rtol=1e-9)
    out, err = capsys.readouterr()
    assert out == ""
    assert err.endswith("2 files written to .\n")
    assert "# image: a.npy\n" in (folder / "a.xy").read_text()


def test_every_option_reaches_the_integrator(folder: Path) -> None:
    assert run(
        "a.npy", "--unit", "2th_deg", "--splitting", "no", "--error-model", "poisson",
        "--radial-range", "0.1", "1.5", "--azimuth-range", "-90", "120", "--polarization", "0.9",
        "--no-solid-angle", "--mask", "mask.npy", "--dark", "stack.h5::/dark",
        "--flat", "b.npy", "--dummy", "99", "--delta-dummy", "1.5", "-o", "out/it.csv",
    ) == 0  # fmt: skip
    options = {
        "unit": "2th_deg",
        "splitting": "no",
        "error_model": "poisson",
        "radial_range": (0.1, 1.5),
        "azimuth_range": (-90, 120),
        "polarization_factor": 0.9,
        "correct_solid_angle": False,
        "mask": np.load("mask.npy"),
        "dark": np.full(SHAPE, 7.0),
        "dark_variance": np.full(SHAPE, 7 / 4),
        "flat": FRAMES[1],
        "dummy": 99,
        "delta_dummy": 1.5,
    }
    found = np.loadtxt("out/it.csv", delimiter=",", skiprows=1)
    np.testing.assert_allclose(found, expected(FRAMES[0], **options), rtol=1e-9)
    for name in options:
        one_less = {key: value for key, value in options.items() if key != name}
        if name == "dummy":
            del one_less["delta_dummy"]
        if name == "dark":
            continue  # then its variance has nothing to belong to
        other = expected(FRAMES[0], **one_less)
        assert other.shape != found.shape or not np.allclose(other, found, rtol=1e-9), name


@pytest.mark.parametrize("batch", [1, 2 * FRAMES[0].nbytes, 2**30])
def test_stack_becomes_a_file_for_each_frame(
    folder: Path, monkeypatch: pytest.MonkeyPatch, batch: int
) -> None:
    monkeypatch.setattr(integrate, "_BATCH_BYTES", batch)
    assert run("stack.h5", "-o", "out", "-q") == 0
    assert sorted(path.name for path in (folder / "out").iterdir()) == [
        f"stack_0000{number}.xy" for number in range(5)
    ]
    for number, frame in enumerate(FRAMES):
        path = folder / "out" / f"stack_0000{number}.xy"
        np.testing.assert_allclose(np.loadtxt(path), expected(frame), rtol=1e-9)
        assert f"# frame: 0000{number}\n" in path.read_text()


@pytest.mark.parametrize("batch", [1, 2**30])
def test_stack_becomes_one_nexus_file(
    folder: Path, monkeypatch: pytest.MonkeyPatch, batch: int
) -> None:
    monkeypatch.setattr(integrate, "_BATCH_BYTES", batch)
    assert run("stack.h5::/entry/data/data", "-o", "it.nxs", "--error-model", "poisson") == 0
    with h5py.File("it.nxs") as file:
        assert file["entry/data/I"].shape == (5, 20)
        np.testing.assert_array_equal(file["entry/frames/seq_num"], [1, 2, 3, 4, 5])
        for row, frame in enumerate(FRAMES):
            pattern = expected(frame, error_model="poisson")
            np.testing.assert_array_equal(file["entry/data/I"][row], pattern[:, 1])
            np.testing.assert_array_equal(file["entry/data/I_errors"][row], pattern[:, 2])


def test_packed_stack(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with h5py.File("packed.h5", "w") as file:
        options = hdf5plugin.Bitshuffle(cname="lz4")
        data = file.create_dataset("data", data=FRAMES, chunks=(1, *SHAPE), **options)
        chunk = data.id.read_direct_chunk((1, 0, 0))[1]
    arguments = ["--error-model", "poisson", "--engine", "opencl"]
    assert run("packed.h5", "--output", "out", *arguments) == 0
    for number, frame in enumerate(FRAMES):
        found = np.loadtxt(f"out/packed_{number:05d}.xy")
        np.testing.assert_allclose(found, expected(frame, error_model="poisson"), rtol=1e-6)
    with h5py.File("packed.h5", "r+") as file:
        file["data"].id.write_direct_chunk((1, 0, 0), chunk[:-5])
    assert run("packed.h5", "--output", "-", *arguments) == 1
    assert "Frame 1 of packed.h5::/data is damaged" in capsys.readouterr().err


@pytest.mark.parametrize("batch", [1, 2**30])
def test_stack_becomes_cakes(folder: Path, monkeypatch: pytest.MonkeyPatch, batch: int) -> None:
    monkeypatch.setattr(integrate, "_BATCH_BYTES", batch)
    assert run("stack.h5::/entry/data/data", "-o", "it.nxs", "--npt-azim", "6") == 0
    cakes = Integrator(GEOMETRY, npt=20, npt_azim=6, engine="scipy").integrate(FRAMES)
    with h5py.File("it.nxs") as file:
        assert file["entry/definition"].asstr()[()] == "NXazint2d"
        np.testing.assert_array_equal(file["entry/data/I"], cakes.intensity)
        np.testing.assert_array_equal(file["entry/data/azimuthal_axis"], cakes.azimuthal)


def test_formats_of_one_frame(folder: Path) -> None:
    for kind in ("xye", "dat", "chi", "fxye"):
        assert run("a.npy", "--unit", "2th_deg", "--error-model", "poisson", "--format", kind) == 0
    pattern = expected(FRAMES[0], unit="2th_deg", error_model="poisson")
    np.testing.assert_allclose(np.loadtxt("a.xye"), pattern, rtol=1e-9)
    np.testing.assert_allclose(np.loadtxt("a.dat"), pattern, rtol=1e-9)
    np.testing.assert_allclose(np.loadtxt("a.chi", skiprows=4), pattern[:, :2], rtol=1e-9)
    lines = (folder / "a.fxye").read_text().splitlines()
    bank = next(row for row, line in enumerate(lines) if line.startswith("BANK"))
    found = np.loadtxt(lines[bank + 1 :])
    np.testing.assert_allclose(found, pattern * [100, 1, 1], rtol=1e-9)


def test_stack_becomes_a_nxcansas_file_for_each_frame(folder: Path) -> None:
    assert run("stack.h5::/entry/data/data", "-o", "out", "--format", "h5") == 0
    for number, frame in enumerate(FRAMES):
        with h5py.File(folder / "out" / f"stack_0000{number}.h5") as file:
            found = file["sasentry01/sasdata01/I"][()]
            assert file["sasentry01/run"].asstr()[()] == f"0000{number}"
        np.testing.assert_array_equal(found, expected(frame)[:, 1])


def test_a_unit_with_parameters(folder: Path) -> None:
    name = "qip_A^-1(incident_angle=0.01,sample_orientation=3)"
    assert run("a.npy", "--unit", name, "--splitting", "no") == 0
    pattern = expected(FRAMES[0], unit=name, splitting="no")
    np.testing.assert_allclose(np.loadtxt("a.xy"), pattern, rtol=1e-9)
    assert f"# unit: {name}\n" in (folder / "a.xy").read_text()


def test_a_format_that_cannot_hold_the_pattern(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run("a.npy", "--format", "fxye") == 1
    assert "A .fxye file holds 2theta, and the pattern q_A^-1" in capsys.readouterr().err
    assert not (folder / "a.fxye").exists()


def test_patterns_on_stdout(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run("a.npy", "-o", "-") == 0
    out, err = capsys.readouterr()
    np.testing.assert_allclose(np.loadtxt(out.splitlines()), expected(FRAMES[0]), rtol=1e-9)
    assert err == ""
    assert not list(folder.glob("*.xy"))


def test_json_report(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run("a.npy", "broken.tif", "--json", "--format", "csv") == 1
    out, err = capsys.readouterr()
    report = json.loads(out)
    assert report["written"] == ["a.csv"]
    assert list(report["failed"]) == ["broken.tif"]
    assert "broken.tif failed: " in err


def test_bad_image_does_not_stop_the_others(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    np.save("small.npy", FRAMES[0, 1:])
    with h5py.File("empty.h5", "w") as file:
        file["data"] = FRAMES[:0]
    assert run("broken.tif", "small.npy", "empty.h5", "nowhere.cbf", "b.npy", "-q") == 1
    np.testing.assert_allclose(np.loadtxt("b.xy"), expected(FRAMES[1]), rtol=1e-9)
    errors = capsys.readouterr().err.splitlines()
    assert [line.split()[0] for line in errors if " failed: " in line] == [
        "broken.tif",
        "small.npy",
        "empty.h5",
        "nowhere.cbf",
    ]
    assert not list(folder.glob("small*.xy"))


def test_files_are_replaced_only_by_force(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (folder / "a.xy").write_text("precious")
    assert run("a.npy") == 1
    assert "a.xy is there already" in capsys.readouterr().err
    assert (folder / "a.xy").read_text() == "precious"
    assert run("a.npy", "--force") == 0
    assert len(np.loadtxt("a.xy")) == 20


@pytest.mark.parametrize("kind", ["xy", "nxs"])
def test_images_of_one_name_do_not_replace_each_other(folder: Path, kind: str) -> None:
    (folder / "other").mkdir()
    np.save("other/a.npy", FRAMES[3])
    assert run("a.npy", "other/a.npy", "--force", "--format", kind) == 1
    assert (folder / f"a.{kind}").exists()
    if kind == "xy":
        np.testing.assert_allclose(np.loadtxt("a.xy"), expected(FRAMES[0]), rtol=1e-9)


def test_detector_without_shape(folder: Path) -> None:
    poni = (folder / "a.poni").read_text()
    (folder / "a.poni").write_text(poni.replace(', "max_shape": [30, 40]', ""))
    assert Geometry.from_poni("a.poni").detector.shape is None
    assert run("a.npy", "-o", "it.nxs") == 0
    assert run("a.npy", "-o", "it.xy") == 0
    np.testing.assert_allclose(np.loadtxt("it.xy"), expected(FRAMES[0]), rtol=1e-9)


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        (["a.npy", "--unit", "furlong"], "no unit 'furlong'; the units are q_A^-1, q_nm^-1"),
        (["a.npy", "--npt", "many"], "invalid int value: 'many'"),
        (["a.npy", "--npt", "0"], "npt is 0; it must be a whole number"),
        (["a.npy", "--radial-range", "2", "1"], "radial_range is (2.0, 1.0)"),
        (["a.npy", "--polarization", "3"], "polarization_factor is 3.0"),
        (["a.npy", "--delta-dummy", "3"], "delta_dummy is 3.0 but dummy is None"),
        (["a.npy", "b.npy", "-o", "it.xy"], "--output it.xy is one file for 2 images"),
        (["a.npy", "-o", "it.xy", "--format", "csv"], "does not go with --format csv"),
        (["a.npy", "-o", "it.doc"], "no file of the formats xy, xye, dat, chi, fxye, csv, nxs, h5"),
        (["a.npy", "-o", "-", "--format", "nxs"], "does not go with --format nxs"),
        (["a.npy", "-o", "-", "--format", "h5"], "does not go with --format h5"),
        (["a.npy", "--npt-azim", "9"], "--npt-azim makes cakes, which .xy files do not hold"),
        (["a.npy", "--npt-azim", "0", "-o", "it.nxs"], "npt_azim is 0; it must be a whole number"),
        (["a.npy", "-o", "-", "--json"], "does not go with --json"),
        ([], "the following arguments are required: IMAGE"),
    ],
)
def test_wrong_usage(
    folder: Path, capsys: pytest.CaptureFixture[str], arguments: list[str], reason: str
) -> None:
    before = set(folder.iterdir())
    try:
        code: object = main(["integrate", "--poni", "a.poni", *arguments])
    except SystemExit as error:  # argparse
        code = error.code
    assert code == 2
    assert reason in capsys.readouterr().err
    assert set(folder.iterdir()) == before


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        (["--poni", "nowhere.poni"], "PONI file nowhere.poni cannot be read"),
        (["--mask", "nowhere.npy"], "There is no file nowhere.npy"),
        (["--dark", "broken.tif"], "broken.tif cannot be read"),
        (["--unit", "q_A^-1", "--poni", "no_wavelength.poni"], "needs a wavelength"),
        (["-o", "a.poni/out"], "Not a directory"),
    ],
)
def test_what_all_images_need_is_missing(
    folder: Path, capsys: pytest.CaptureFixture[str], arguments: list[str], reason: str
) -> None:
    Geometry(detector=GEOMETRY.detector).to_poni("no_wavelength.poni")
    assert main(["integrate", "a.npy", "--poni", "a.poni", *arguments]) == 1
    assert reason in capsys.readouterr().err
    assert not list(folder.glob("*.xy"))


def test_real_frame_equals_its_published_pattern(shared_data: Path, tmp_path: Path) -> None:
    """`published.poni` is for the frame as it is read; the pattern was made of it flipped."""
    ceria = shared_data / "dioptas_ceo2_pilatus1m"
    poni = tmp_path / "flat.poni"
    published = (ceria / "published.poni").read_text()
    poni.write_text(
        published.replace("Detector: Pilatus1M", "Detector: Detector").replace(
            '"orientation": 3', '"orientation": 3, "max_shape": [1043, 981]'
        )
    )
    output = tmp_path / "ceria.xy"
    code = main(
        ["integrate", str(ceria / "CeO2_Pilatus1M.tif"), "--poni", str(poni), "-o", str(output),
         "--npt", "1512", "--unit", "2th_deg", "--polarization", "0.99"]
    )  # fmt: skip
    assert code == 0
    found, reference = np.loadtxt(output), np.loadtxt(ceria / "CeO2_Pilatus1M.xy")
    np.testing.assert_allclose(found[:, 0], reference[:, 0], atol=1e-6)
    difference = np.abs(found[:, 1] / reference[:, 1] - 1)
    assert np.median(difference) <= 1e-6
    assert np.quantile(difference, 0.95) <= 2e-5


def test_help_imports_nothing_heavy() -> None:
    script = (
        "import argparse, sys; from bluesky_azint.cli import integrate;"
        "parser = argparse.ArgumentParser(); integrate.add_parser(parser.add_subparsers());"
        "parser.format_help();"
        "print({'numpy', 'h5py', 'fabio', 'tqdm', 'scipy', 'pyopencl'} & set(sys.modules))"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True
    )
    assert done.stdout == "set()\n"


def test_parser_can_be_used_alone() -> None:
    parser = argparse.ArgumentParser()
    integrate.add_parser(parser.add_subparsers())
    args = parser.parse_args(["integrate", "a.tif", "--poni", "a.poni"])
    assert args.run is integrate.run
    assert args.output == "."
