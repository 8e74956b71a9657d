"""Calibrants from files: CIF and lists of spacings."""

import time
from pathlib import Path

import numpy as np
import pytest

from bluesky_azint.calibrants import calibrant as known_calibrant
from bluesky_azint.errors import FormatError, RecipeError
from bluesky_azint.io.calibrants import calibrant, read_cif, read_d

CERIA = """data_ceria
_cell_length_a 5.411651
_cell_length_b 5.411651
_cell_length_c 5.411651
_cell_angle_alpha 90
_cell_angle_beta 90
_cell_angle_gamma 90
_space_group_name_H-M_alt 'F m -3 m'
"""
ATOMS = """loop_
_atom_site_label
_atom_site_type_symbol
_atom_site_fract_x
_atom_site_fract_y
_atom_site_fract_z
_atom_site_occupancy
_atom_site_U_iso_or_equiv
Ce1 Ce 0 0 0 {ce} {u}
O1 O 0.25 0.25 0.25 1 {u}
"""


def write(path: Path, text: str) -> Path:
    path.write_text(text, encoding="utf-8")
    return path


def test_a_crystal_from_cif_is_that_of_the_catalogue(tmp_path: Path) -> None:
    path = write(tmp_path / "mine.cif", CERIA + ATOMS.format(ce=1, u=0))
    mine, known = calibrant(path), known_calibrant("CeO2")
    assert mine.rings == known.rings
    assert mine.name == "mine"
    assert mine.source == "mine.cif, block ceria"
    assert len(calibrant(str(path), d_min=1.0).rings) == len(known_calibrant("CeO2", 1.0).rings)


def test_thermal_motion_and_occupancy_count(tmp_path: Path) -> None:
    still = read_cif(write(tmp_path / "still.cif", CERIA + ATOMS.format(ce=1, u=0)))
    warm = read_cif(write(tmp_path / "warm.cif", CERIA + ATOMS.format(ce=1, u=0.01)))
    # The Debye-Waller factor of an intensity is exp(-4 pi^2 U / d^2) where all atoms move alike.
    ratio = [
        hot.intensity / cold.intensity for hot, cold in zip(warm.rings, still.rings, strict=False)
    ]
    expected = np.exp(-4 * np.pi**2 * 0.01 / still.d**2)
    np.testing.assert_allclose(ratio, expected[: len(ratio)], rtol=1e-6)
    # 200 is the difference of the two kinds of atoms, 111 is cerium alone.
    half = read_cif(write(tmp_path / "half.cif", CERIA + ATOMS.format(ce=0.5, u=0)))
    assert half.rings[0].intensity == pytest.approx(still.rings[0].intensity / 4, rel=1e-6)
    assert half.rings[1].intensity < 0.2 * still.rings[1].intensity


def test_a_cell_without_atoms_gives_what_symmetry_allows(tmp_path: Path) -> None:
    bare = read_cif(write(tmp_path / "bare.cif", CERIA), d_min=1.0)
    assert [ring.hkl for ring in bare.rings[:3]] == [(1, 1, 1), (2, 0, 0), (2, 2, 0)]
    assert all(ring.intensity == ring.multiplicity for ring in bare.rings)


def test_a_block_of_words_is_passed_over(tmp_path: Path) -> None:
    text = "data_words\n_journal_year 2020\n" + CERIA + ATOMS.format(ce=1, u=0)
    assert calibrant(write(tmp_path / "two.cif", text)).rings == known_calibrant("CeO2").rings


def test_large_cells_are_cut_short_in_no_time(tmp_path: Path) -> None:
    text = CERIA.replace("5.411651", "60").replace("F m -3 m", "P 1")
    start = time.perf_counter()
    rings = read_cif(write(tmp_path / "large.cif", text + ATOMS.format(ce=1, u=0.01))).rings
    assert time.perf_counter() - start < 2
    assert 1 < len(rings) <= 5000
    assert rings[-1].d > 2


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("this is prose, not a CIF", "cannot be read as a CIF"),
        ("data_words\n_journal_year 2020\n", "has no cell"),
        (CERIA.replace("F m -3 m", "F q -3 q"), "no space group"),
    ],
)
def test_what_is_no_crystal_is_refused(tmp_path: Path, text: str, reason: str) -> None:
    with pytest.raises(FormatError, match=reason):
        calibrant(write(tmp_path / "bad.cif", text))


def test_spacings_with_all_that_may_be_known(tmp_path: Path) -> None:
    text = """# Calibrant: Something (X)
# Ref: A paper (2020)

 14.5  # (1 0 0)  6 64.27
  7.25 # (2, 0, -1)  12
  7.25 # (3 0 0)  2 10
  3e0  # a word of comment
  2.5
"""
    known = read_d(write(tmp_path / "some.D", text))
    assert known.name == "some"
    assert known.source == "A paper (2020)"
    rows = [(ring.d, ring.hkl, ring.multiplicity, ring.intensity) for ring in known.rings]
    assert rows == [
        (14.5, (1, 0, 0), 6, 64.27),
        (7.25, (3, 0, 0), 14, 10.0),
        (3.0, (0, 0, 0), 1, 0.0),
        (2.5, (0, 0, 0), 1, 0.0),
    ]
    assert len(calibrant(tmp_path / "some.D", d_min=2.6).rings) == 3


def test_bare_spacings_in_any_order(tmp_path: Path) -> None:
    known = calibrant(write(tmp_path / "bare.d", "2.5\n5.0\n"))
    assert [(ring.d, ring.intensity) for ring in known.rings] == [(5.0, 1.0), (2.5, 1.0)]
    assert known.source == "bare.d"


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"# nothing\n", "lists no spacing"),
        (b"5.0\n-2.5\n", "line 2, gives no spacing"),
        (b"5.0 2.5\n", "line 1, gives no spacing"),
        (b"spacing\n", "line 1, gives no spacing"),
        (b"\xff\xfe\x00\x80", "is not text"),
    ],
)
def test_what_is_no_list_of_spacings_is_refused(
    tmp_path: Path, content: bytes, reason: str
) -> None:
    path = tmp_path / "bad.D"
    path.write_bytes(content)
    with pytest.raises(FormatError, match=reason):
        calibrant(path)


def test_the_files_of_pyfai(pyfai: object) -> None:
    import pyFAI.calibrant

    folder = Path(pyFAI.__file__).parent / "resources" / "calibration"
    files = sorted(folder.glob("*.D"))
    assert len(files) == 39
    for path in files:
        theirs = pyFAI.calibrant.get_calibrant(path.stem).dspacing
        np.testing.assert_array_equal(calibrant(path, d_min=0).d, np.unique(theirs)[::-1])


def test_names_mixtures_and_what_is_known_already(tmp_path: Path) -> None:
    path = write(tmp_path / "foil.D", "2.0\n")
    both = calibrant(f"CeO2 + {path}", d_min=1.0)
    assert both.rings == known_calibrant("CeO2", 1.0).rings
    assert [ring.d for ring in both.foreign] == [2.0]
    assert both.name == "CeO2+foil"
    assert calibrant(both) is both
    assert calibrant("silver behenate").name == "AgBh"
    plus = write(tmp_path / "a+b.D", "3.0\n")  # a file of that name is meant, not a mixture
    assert calibrant(str(plus)).d.tolist() == [3.0]


def test_what_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(RecipeError, match="'CeO3'"):
        calibrant("CeO3")
    with pytest.raises(FormatError, match=r"There is no file .*none\.cif\."):
        calibrant(str(tmp_path / "none.cif"))
    with pytest.raises(FormatError, match=r"image\.tif does not describe a calibrant"):
        calibrant(write(tmp_path / "image.tif", ""))
