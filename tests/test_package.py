"""The package as it is installed and imported."""

import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

import bluesky_azint as ba

ROOT = Path(__file__).resolve().parents[1]
HEAVY = (
    "bluesky", "event_model", "fabio", "gemmi", "h5py", "hdf5plugin", "matplotlib", "numpy",
    "ophyd", "ophyd_async", "pyopencl", "scipy", "tiled", "tqdm",
)  # fmt: skip


def modules_after(code: str) -> set[str]:
    """Top-level modules that a fresh interpreter holds after running some code."""
    report = f"{code}\nimport sys; print(*sys.modules)"
    out = subprocess.run([sys.executable, "-c", report], capture_output=True, text=True, check=True)
    return {name.partition(".")[0] for name in out.stdout.split()}


def test_importing_is_light() -> None:
    assert modules_after("import bluesky_azint").isdisjoint(HEAVY)


def test_help_is_light() -> None:
    code = (
        "import contextlib, io\n"
        "from bluesky_azint.cli import main\n"
        "with contextlib.redirect_stdout(io.StringIO()), contextlib.suppress(SystemExit):\n"
        "    main(['--help'])"
    )
    assert modules_after(code).isdisjoint(HEAVY)


def test_what_is_exported_exists_and_is_listed() -> None:
    assert ba.__all__ == sorted(ba.__all__)
    for name in ba.__all__:
        assert getattr(ba, name).__name__ == name
    assert set(ba.__all__) <= set(dir(ba))
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        _ = ba.nothing


def test_every_folder_with_modules_is_packaged() -> None:
    # A list of packages forgets a new one in silence, and the wheel then lacks it.
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["setuptools"]
    package = ROOT / "src" / "bluesky_azint"
    folders = {
        ".".join(file.parent.relative_to(package.parent).parts)
        for folder in (package, *(path for path in package.iterdir() if path.is_symlink()))
        for file in folder.rglob("__init__.py")
    }
    assert folders == set(project["packages"])


def test_the_links_show_the_folders_at_the_root() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["setuptools"]
    for name, folder in project["package-dir"].items():
        inside = ROOT / "src" / Path(*name.split("."))
        assert inside.resolve() == (ROOT / folder).resolve()
