"""Some frames of each class through the same judge as the whole study."""

import json
from dataclasses import asdict, replace
from pathlib import Path

import numpy as np
import pytest

from bluesky_azint.calibration.cone import Cone
from bluesky_azint.calibration.surface import Surface
from tests.study.judge import errors
from tests.study.metamorphic import CHANGES, Change, changed
from tests.study.realizations import Realization, spreads
from tests.study.scene import Scene
from tests.study.scenes import make
from tests.study.study import calibrated, read, run_one
from tests.study.tables import markdown


@pytest.fixture(scope="module")
def scene() -> Scene:
    return make("A", 0)


@pytest.mark.parametrize(
    ("kind", "seed"), [("A", 0), ("B", 1), ("B", 3), ("C", 0), ("D1", 1), ("D4", 1)]
)
def test_geometries_are_found(kind: str, seed: int) -> None:
    outcome = run_one((kind, seed))
    assert outcome.verdict == "accepted", outcome.reasons
    assert outcome.errors is not None
    assert outcome.errors.px_inside < 0.1
    assert np.nanmax(np.abs(outcome.pulls)) < 5


@pytest.mark.parametrize(
    ("kind", "seed"), [("E-noise", 0), ("E-distance", 1), ("F-wavelength-1", 0)]
)
def test_what_cannot_be_trusted_is_not_accepted(kind: str, seed: int) -> None:
    outcome = run_one((kind, seed))
    assert outcome.as_wanted, outcome
    assert not outcome.silently_wrong


def test_errors_are_those_that_were_made(scene: Scene) -> None:
    cone, surface = Cone.of(scene.geometry), Surface(scene.detector)
    pixel, wavelength = scene.detector.pixel1, scene.wavelength
    exact = errors(scene.geometry, cone.geometry(surface, wavelength))
    assert exact.px < 1e-9
    assert exact.right
    moved = replace(cone, centre1=cone.centre1 + 0.6 * pixel, centre2=cone.centre2 - 0.8 * pixel)
    off = errors(scene.geometry, moved.geometry(surface, wavelength))
    assert off.centre_px == pytest.approx(1.0)
    assert 0.6 < off.px < 0.8  # half of it is along the rings
    stretched = replace(cone, distance=1.01 * cone.distance)
    off = errors(scene.geometry, stretched.geometry(surface, wavelength))
    assert off.distance == pytest.approx(0.01)
    assert off.q_inside == pytest.approx(0.01, rel=0.05)
    assert not off.right
    tilted = replace(cone, tilt1=cone.tilt1 + 0.01)
    off = errors(scene.geometry, tilted.geometry(surface, wavelength))
    assert off.tilt == pytest.approx(np.degrees(0.01), rel=0.01)


def test_an_error_is_an_outcome(scene: Scene) -> None:
    outcome = calibrated(replace(scene, mask=scene.mask[:-1]))
    assert outcome.verdict == "failed"
    assert not outcome.as_wanted
    assert "failed" in markdown([outcome])


def test_outcomes_are_kept(tmp_path: Path, scene: Scene) -> None:
    outcome = calibrated(replace(scene, mask=scene.mask[:-1]))
    path = tmp_path / "outcomes.jsonl"
    path.write_text(json.dumps(asdict(outcome)) + "\n")
    assert str(read(path)) == str([outcome])


@pytest.mark.parametrize("change", CHANGES, ids=lambda change: change.name)
def test_changes_of_frames_are_undone_in_the_parameters(change: Change, scene: Scene) -> None:
    """Where a pixel of the changed frame looks, the pixel that it was looked."""
    number = np.arange(scene.image.size, dtype=np.int32).reshape(scene.image.shape)
    detector = replace(scene.detector, mask=None)
    plain = replace(scene, image=number, detector=detector, mask=np.zeros(number.shape, bool))
    other = changed(plain, change)
    n1, n2 = scene.image.shape
    size = n1 * detector.pixel1, n2 * detector.pixel2
    truth = Cone.of(scene.geometry)
    # Undoing it twice or more is doing it.
    cone = truth
    for _ in range(3):
        cone = change.back(cone, size)
    if change.name == "turned by 90 degrees":
        cone = Cone(
            size[1] - truth.centre2, truth.centre1, truth.distance, -truth.tilt2, truth.tilt1
        )
    np.testing.assert_allclose(change.back(cone, size).parameters, truth.parameters, atol=1e-12)
    if change.binned == 1:
        angles = cone.geometry(Surface(other.detector), scene.wavelength).two_theta()
        before = scene.geometry.two_theta().ravel()[other.image.ravel().astype(np.intp)]
        np.testing.assert_allclose(angles.ravel(), before, atol=1e-10)
    else:
        assert other.detector.pixel1 == 2 * detector.pixel1
        assert other.image[0, 0] == number[:2, :2].sum()


def test_spreads_are_measured_in_predicted_errors() -> None:
    rng = np.random.default_rng(0)
    sigma, truth = np.array([1.0, 2.0, 3.0, 4.0, 5.0]), np.arange(5.0)
    found = [
        Realization(
            kind="A",
            seed=0,
            found=truth + 1.5 * sigma * rng.normal(size=5),
            sigma=sigma,
            truth=truth,
        )
        for _ in range(2000)
    ]
    ratio, bias = spreads(found)
    np.testing.assert_allclose(ratio, 1.5, rtol=0.05)
    assert (np.abs(bias) < 4).all()
