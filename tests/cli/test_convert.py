"""``bluesky-azint convert``, run as a user does once it is registered."""

import argparse
from pathlib import Path

import numpy as np
import pytest

import bluesky_azint as ba
from bluesky_azint.cli import convert
from bluesky_azint.errors import AzintError, FormatError, RecipeError

GEOMETRY = ba.Geometry(
    detector=ba.detector("Pilatus 100k"), dist=0.3, poni1=0.01, poni2=0.02,
    rot1=0.1, rot2=-0.2, rot3=0.3, wavelength=1e-10,
)  # fmt: skip


def run(*arguments: object) -> int:
    parser = argparse.ArgumentParser()
    convert.add_parser(parser.add_subparsers())
    args = parser.parse_args(["convert", *map(str, arguments)])
    code: int = args.run(args)
    return code


@pytest.mark.parametrize("suffix", [".par", ".prm", ".imctrl", ".yml", ".yaml", ".hexrd", ".cxi"])
def test_there_and_back(suffix: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    start, middle, end = tmp_path / "a.poni", tmp_path / f"b{suffix}", tmp_path / "c.poni"
    GEOMETRY.to_poni(start)
    assert run(start, middle) == 0
    assert run(middle, end, "--detector", start) == 0
    assert capsys.readouterr().out.split() == [str(middle), str(end)]
    back = ba.Geometry.from_poni(end)
    np.testing.assert_allclose(back.two_theta(), GEOMETRY.two_theta(), atol=1e-12)


def test_what_cannot_be_converted(tmp_path: Path) -> None:
    start = tmp_path / "a.poni"
    GEOMETRY.to_poni(start)
    for arguments, error, message in (
        ((start, start), RecipeError, "exists"),
        ((start, tmp_path / "b.txt"), FormatError, "known are"),
        ((start, tmp_path / "b.json"), FormatError, "only read"),
    ):
        with pytest.raises(error, match=message):
            run(*arguments)
    run(start, tmp_path / "b.imctrl")
    run(start, tmp_path / "b.imctrl", "--force")
    with pytest.raises(FormatError, match="do not tell the detector"):
        run(tmp_path / "b.imctrl", tmp_path / "c.poni")
    with pytest.raises(AzintError, match="no detector"):
        run(tmp_path / "b.imctrl", tmp_path / "c.poni", "--detector", "Nothing")


def test_a_panel_is_named(tmp_path: Path) -> None:
    from bluesky_azint.io.hexrd import write_hexrd

    path = tmp_path / "two.yml"
    write_hexrd({"left": GEOMETRY, "right": GEOMETRY}, path)
    with pytest.raises(FormatError, match="panels left, right"):
        run(path, tmp_path / "a.poni")
    assert run(path, tmp_path / "a.poni", "--panel", "left") == 0
