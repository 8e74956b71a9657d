"""Calibrants against their certificates, pyFAI, and what crystallography demands."""

import numpy as np
import pytest

from bluesky_azint.calibrants import calibrant, ring_two_theta
from bluesky_azint.errors import RecipeError


@pytest.mark.parametrize(
    ("name", "degrees"),
    [
        ("LaB6", [6.89593168954, 9.758224547118, 11.958590593178]),
        ("CeO2", [9.178844132954, 10.602607585257]),
        ("AgBh", [0.49071561005]),
        ("Si", [9.14574456832]),
    ],
)
def test_angles_are_those_of_pyfai(name: str, degrees: list[float]) -> None:
    angles = np.rad2deg(calibrant(name).two_theta(0.5e-10))
    # pyFAI's tables hold spacings to 1e-8 angstrom.
    np.testing.assert_allclose(angles[: len(degrees)], degrees, rtol=3e-9)


@pytest.mark.parametrize("name", ["LaB6", "CeO2", "Si", "AgBh"])
def test_spacings_and_multiplicities_are_those_of_pyfai(name: str) -> None:
    pyfai = pytest.importorskip("pyFAI.calibrant")
    theirs = pyfai.get_calibrant(name).dspacing
    ours = calibrant(name).d[: len(theirs)]
    np.testing.assert_allclose(ours, theirs[: len(ours)], rtol=0, atol=1e-8)
    assert len(ours) >= 10


@pytest.mark.parametrize(
    ("name", "hkl", "multiplicities"),
    [
        ("LaB6", [(1, 0, 0), (1, 1, 0), (1, 1, 1), (2, 0, 0), (2, 1, 0)], [6, 12, 8, 6, 24]),
        ("CeO2", [(1, 1, 1), (2, 0, 0), (2, 2, 0), (3, 1, 1), (2, 2, 2)], [8, 6, 12, 24, 8]),
        ("Si", [(1, 1, 1), (2, 2, 0), (3, 1, 1), (4, 0, 0), (3, 3, 1)], [8, 12, 24, 6, 24]),
    ],
)
def test_the_first_rings(
    name: str, hkl: list[tuple[int, int, int]], multiplicities: list[int]
) -> None:
    rings = calibrant(name).rings[:5]
    assert [ring.hkl for ring in rings] == hkl
    assert [ring.multiplicity for ring in rings] == multiplicities


def test_reflections_of_one_spacing_are_one_ring() -> None:
    rings = {ring.hkl: ring for ring in calibrant("LaB6").rings}
    assert (3, 0, 0) not in rings  # 221 lies there too, and is stronger
    assert rings[2, 2, 1].multiplicity == 24 + 6


@pytest.mark.parametrize(
    ("name", "relative"),
    [  # pyFAI's tables, for Cu K alpha
        ("LaB6", [64.27, 100, 41.54, 20.21, 43.1]),
        ("CeO2", [100, 27.73, 48.63, 35.71, 6.31]),
        ("Si", [100, 64.31, 34, 8, 12]),
    ],
)
def test_intensities_are_those_seen_in_a_diffractometer(name: str, relative: list[float]) -> None:
    rings = calibrant(name).rings[:5]
    theta = ring_two_theta([ring.d for ring in rings], 1.5406e-10) / 2
    lorentz_polarization = (1 + np.cos(2 * theta) ** 2) / (np.sin(theta) ** 2 * np.cos(theta))
    seen = np.array([ring.intensity for ring in rings]) * lorentz_polarization
    # Heat takes up to a third from the outer ones, which the catalogue leaves out.
    np.testing.assert_allclose(seen / seen.max() * 100, relative, rtol=0.1, atol=10)


def test_rings_grow_outwards_and_end_where_asked() -> None:
    for name in ("LaB6", "CeO2", "Si", "AgBh"):
        d = calibrant(name, d_min=0.7).d
        assert (np.diff(d) < -1e-6).all()
        assert d[-1] >= 0.7
    assert len(calibrant("AgBh").rings) == 13
    assert calibrant("AgBh", d_min=20.0).d.tolist() == [58.38, 29.19]


def test_rings_beyond_back_scattering_do_not_exist() -> None:
    angles = ring_two_theta([2.0, 1.0, 0.5], 2e-10)
    np.testing.assert_allclose(angles, [np.pi / 3, np.pi, np.nan])
    assert len(calibrant("LaB6").two_theta(8e-10)) == 1


def test_names() -> None:
    assert calibrant("lab6_srm660C") == calibrant("LaB6")
    assert calibrant("Silver Behenate").name == "AgBh"
    assert "660c" in calibrant("LaB6").source
    with pytest.raises(RecipeError, match=r"'CeO3' .* AgBh, CeO2, LaB6, Si\."):
        calibrant("CeO3")
