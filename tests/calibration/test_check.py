"""A check finds the shift that was made, whichever way it has to look."""

from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

import bluesky_azint as ba
from bluesky_azint.calibrants import calibrant, ring_two_theta
from bluesky_azint.calibration.check import check_geometry
from bluesky_azint.calibration.figures import check_figures
from bluesky_azint.calibration.result import Calibration
from bluesky_azint.errors import FrameError, GeometryError, RecipeError
from tests.calibration.made import calibration

PIXEL = 172e-6
TRUE = ba.Geometry(
    detector=ba.Detector(PIXEL, PIXEL, (400, 380), name="panel"),
    dist=0.12,
    poni1=0.034,
    poni2=0.032,
    rot1=0.03,
    rot2=-0.02,
    wavelength=0.4e-10,
)
CEO2 = calibrant("CeO2")


@cache
def frame(geometry: ba.Geometry = TRUE) -> NDArray[np.int32]:
    """Rings of CeO2."""
    two_theta = geometry.two_theta()
    rings = ring_two_theta(CEO2.d, geometry.wavelength or np.nan)
    rings = rings[rings < two_theta.max()]
    strengths = np.array([ring.intensity for ring in CEO2.rings[: len(rings)]])
    expected = np.full(two_theta.shape, 30.0)
    for strength, ring in zip(strengths / strengths.max(), rings, strict=True):
        expected += 200 * strength / ring * np.exp(-(((two_theta - ring) / 0.0028) ** 2))
    return np.random.default_rng(0).poisson(expected).astype(np.int32)


def searching(monkeypatch: pytest.MonkeyPatch, found: Calibration | None = None) -> list[Any]:
    """Have a calibration from nothing find that; gives what it was asked."""
    asked: list[Any] = []

    def calibrate(image: NDArray[Any], **options: Any) -> Calibration:
        asked.append(options)
        return found or calibration("refused")

    monkeypatch.setattr("bluesky_azint.calibration.check.calibrate", calibrate)
    return asked


def test_a_geometry_that_is_right(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = searching(monkeypatch)
    check = check_geometry(frame(), replace(TRUE, rot3=1.0))
    assert check.good
    assert check.reasons == ()
    assert asked == []
    assert check.refitted is not None
    assert check.refitted.rot3 == 1.0
    assert check.shift_px < 0.01
    assert check.residual_px == pytest.approx(check.refitted_px, rel=0.2)
    assert len(check.rings) >= 5
    assert all(abs(ring.mean_px) < 4 * max(ring.sigma_px, 0.003) for ring in check.rings)


def test_a_beam_that_has_moved() -> None:
    check = check_geometry(frame(), replace(TRUE, poni1=TRUE.poni1 - 0.5 * PIXEL))
    assert check.verdict == "drifted"
    assert check.centre_shift_px == pytest.approx((0.5, 0.0), abs=0.02)
    assert check.distance_shift == pytest.approx(0.0, abs=2e-4)
    # A shift along one axis moves rings by its sine: by the root of half of it in the mean square.
    assert check.shift_px == pytest.approx(0.5 * np.sqrt(0.5), rel=0.1)
    assert check.residual_px == pytest.approx(check.shift_px, rel=0.02)
    assert check.refitted_px < 0.05
    assert "0.50 px along the slow" in check.reasons[0]
    assert max(ring.rms_px for ring in check.rings) > 0.3
    assert check.as_calibration().verdict == "review"
    assert check.as_calibration().candidate == check.geometry


def test_a_detector_that_has_moved_away() -> None:
    check = check_geometry(frame(), replace(TRUE, dist=TRUE.dist / 1.003))
    assert check.verdict == "drifted"
    assert check.distance_shift == pytest.approx(0.003, abs=2e-4)
    assert check.shift_relative == pytest.approx(0.003, rel=0.1)
    assert all(ring.mean_px > 0.1 for ring in check.rings)  # they are farther out
    # As far as that, and no farther.
    assert check_geometry(frame(), check.geometry, tolerance_px=1.0).good


def test_a_wavelength_that_is_wrong() -> None:
    moved = replace(TRUE, wavelength=0.404e-10, dist=TRUE.dist / 1.0102)
    check = check_geometry(frame(), moved)
    # The rings are where they should be: that is no drift, but it is said.
    assert check.good
    assert check.reasons == ()
    assert "wavelength that is 1.0" in check.notes[-1]
    assert "% shorter" in check.notes[-1]


def test_what_is_far_off_is_searched_for(monkeypatch: pytest.MonkeyPatch) -> None:
    near = check_geometry(frame(), TRUE)
    found = calibration(
        geometry=TRUE, calibrant=CEO2, sectors=near.sectors, rings=near.rings, wavelength_test=None
    )
    asked = searching(monkeypatch, found)
    given = replace(TRUE, poni1=TRUE.poni1 + 33 * PIXEL)
    check = check_geometry(frame(), given, mask=np.zeros((400, 380), bool))
    assert check.verdict == "drifted"
    assert check.refitted == TRUE
    assert check.centre_shift_px == pytest.approx((-33.0, 0.0))
    assert len(asked) == 1
    assert "geometry" not in asked[0]  # from nothing
    assert "Near the geometry nothing" in check.notes[0] or "cannot be trusted" in check.notes[0]


def test_an_image_that_tells_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    searching(monkeypatch)
    noise = np.random.default_rng(1).poisson(30, (400, 380))
    check = check_geometry(noise, TRUE)
    assert check.verdict == "refused"
    assert check.refitted is None
    assert check.reasons[-1] == "Half of the rings are missing."  # what the search says
    assert check.as_calibration().geometry is None
    assert check_figures(check)["shift_px"] is None


def test_what_cannot_be_checked() -> None:
    with pytest.raises(FrameError, match=r"\(3, 4\), the detector 'panel' \(400, 380\)"):
        check_geometry(np.zeros((3, 4)), TRUE)
    with pytest.raises(GeometryError, match="no wavelength"):
        check_geometry(frame(), replace(TRUE, wavelength=None))
    for tolerance in (0.0, -0.1, np.nan, np.inf):
        with pytest.raises(RecipeError, match="positive number of pixels"):
            check_geometry(frame(), TRUE, tolerance_px=tolerance)


def test_a_calibrant_from_a_file(tmp_path: Path) -> None:
    lines = "".join(f"{ring.d:.6f}\n" for ring in CEO2.rings)
    (tmp_path / "ours.D").write_text(lines)
    assert check_geometry(frame(), TRUE, str(tmp_path / "ours.D")).verdict == "good"


def test_an_image_that_does_not_tell_so_small_a_shift() -> None:
    check = check_geometry(frame(), TRUE, tolerance_px=1e-4)
    assert check.verdict == "refused"
    assert check.refitted is None
    assert "does not tell shifts of less than" in check.reasons[0]


def test_the_figures_of_a_check() -> None:
    found = check_figures(check_geometry(frame(), TRUE))
    assert found["verdict"] == "good"
    assert found["geometry"]["dist"] == TRUE.dist
    assert found["refitted"]["dist"] == pytest.approx(TRUE.dist, rel=1e-3)
    assert found["rings"][0]["hkl"] == [1, 1, 1]
    assert len(found["centre_shift_px"]) == 2
