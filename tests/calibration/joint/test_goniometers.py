"""Joint fits against places computed from motions that are known."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

import bluesky_azint as ba
from bluesky_azint.calibrants import calibrant, ring_two_theta
from bluesky_azint.calibration.cone import Cone, two_theta_and_jacobian
from bluesky_azint.calibration.joint.distances import fit_distances
from bluesky_azint.calibration.joint.goniometers import fit_goniometer
from bluesky_azint.calibration.result import Calibration, Sectors
from bluesky_azint.calibration.surface import Surface
from bluesky_azint.errors import RecipeError
from bluesky_azint.goniometer import Goniometer

WAVELENGTH = 0.4e-10
DETECTOR = ba.Detector(pixel1=344e-6, pixel2=344e-6, shape=(250, 240))
SIGMA = 0.005  # pixels

MakeCalibration = Callable[..., Calibration]


def measured(
    truth: ba.Geometry,
    substance: str = "CeO2",
    *,
    seed: int = 0,
    assumed: float = WAVELENGTH,
    rings: int = 6,
    wrong: float = 0.0,
    noise: float = SIGMA,
) -> Calibration:
    """What a calibration of an image finds, its candidate a little off."""
    chance = np.random.default_rng(seed)
    surface = Surface(truth.detector)
    two_theta, chi = truth.two_theta(), truth.chi()
    assert truth.wavelength is not None
    found: list[tuple[int, float, float]] = []
    spacings = calibrant(substance).d
    for ring, angle in enumerate(ring_two_theta(spacings, truth.wavelength)):
        near = np.argwhere(np.abs(two_theta - angle) < 0.5 * truth.detector.pixel1 / truth.dist)
        if len(near) < 30:
            continue
        _, first = np.unique((chi[tuple(near.T)] * 20).astype(int), return_index=True)
        found += [(ring, float(row), float(column)) for row, column in near[first]]
        if len({one[0] for one in found}) == rings:
            break
    index, row, column = (np.array(values) for values in zip(*found, strict=True))
    # From the pixel to the ring itself, along the gradient.
    for _ in range(4):
        angles, jacobian = two_theta_and_jacobian(
            Cone.of(truth).parameters, surface.at(row, column)
        )
        outwards = -jacobian[:, :2] * DETECTOR.pixel1
        off = angles - ring_two_theta(spacings[index], truth.wavelength)
        step = outwards / (outwards**2).sum(axis=1)[:, np.newaxis]
        row, column = row - off * step[:, 0], column - off * step[:, 1]
    direction = outwards / np.linalg.norm(outwards, axis=1)[:, np.newaxis]
    error = noise * chance.standard_normal(len(row)) + wrong
    number = len(index)
    candidate = replace(
        truth,
        dist=truth.dist * assumed**-1 * truth.wavelength * (1 + 1e-4 * chance.standard_normal()),
        poni1=truth.poni1 + 2e-5 * chance.standard_normal(),
        rot1=truth.rot1 + 1e-4 * chance.standard_normal(),
        wavelength=assumed,
    )
    sectors = Sectors(
        ring=index.astype(np.intp),
        row=row + error * direction[:, 0],
        column=column + error * direction[:, 1],
        chi=np.zeros(number),
        two_theta=angles,
        residual_px=np.zeros(number),
        sigma_px=np.full(number, SIGMA),
        used=np.full(number, True),
    )
    return Calibration(
        verdict="accepted",
        reasons=(),
        geometry=candidate,
        candidate=candidate,
        calibrant=calibrant(substance),
        wavelength=assumed,
        mask=np.zeros(truth.shape, bool),
        sectors=sectors,
    )


ARM = Goniometer(
    detector=DETECTOR,
    positions=("tth",),
    parameters={"dist": 0.3, "poni1": 0.042, "poni2": 0.041, "rot1": 0.01, "scale": -0.01745,
                "offset": 0.02},
    expressions={"dist": "dist", "poni1": "poni1", "poni2": "poni2", "rot1": "rot1",
                 "rot2": "offset + scale * tth"},
    wavelength=WAVELENGTH,
)  # fmt: skip
ANGLES = (5.0, 12.0, 20.0, 30.0)


def arm_start() -> Goniometer:
    """As somebody would guess it."""
    guess = {"dist": 0.301, "poni1": 0.0424, "poni2": 0.0407, "rot1": 0.011, "scale": -0.0174,
             "offset": 0.019}  # fmt: skip
    return replace(ARM, parameters=guess)


def arm_images(angles: Sequence[float] = ANGLES, **options: Any) -> list[Calibration]:
    return [
        measured(ARM.geometry(tth=angle), seed=seed, **options) for seed, angle in enumerate(angles)
    ]


def noisy(calibration: Calibration, chance: np.random.Generator) -> Calibration:
    """The same, every place off by its error."""
    sectors = calibration.sectors
    assert sectors is not None
    off = SIGMA * chance.standard_normal((2, len(sectors)))
    return replace(
        calibration,
        sectors=replace(sectors, row=sectors.row + off[0], column=sectors.column + off[1]),
    )


def at(angles: Sequence[float] = ANGLES) -> list[dict[str, float]]:
    return [{"tth": angle} for angle in angles]


def test_an_arm_is_found_within_its_errors() -> None:
    fit = fit_goniometer(arm_images(), at(), arm_start())
    assert fit.verdict == "accepted", fit.reasons
    for name, sigma in fit.sigmas.items():
        assert abs(fit.candidate.parameters[name] - ARM.parameters[name]) < 4 * sigma, name
    assert fit.sigmas["dist"] < 5e-6
    assert fit.sigmas["scale"] < 1e-6
    assert fit.residual_px == pytest.approx(SIGMA, rel=0.1)
    assert fit.floor_px < 0.5 * SIGMA
    assert fit.ring_error_px < 0.02
    assert fit.goniometer is not None
    between, truth = fit.goniometer.geometry(tth=16.0), ARM.geometry(tth=16.0)
    np.testing.assert_allclose(between.two_theta(), truth.two_theta(), atol=2e-6)


def test_errors_are_honest() -> None:
    """The spread over noise is what the covariance says."""
    chance = np.random.default_rng(1)
    clean = arm_images((12.0, 20.0, 30.0), noise=0.0)
    off = []
    for _ in range(12):
        fit = fit_goniometer([noisy(one, chance) for one in clean], at((12.0, 20.0, 30.0)), ARM)
        off.append(
            [(fit.candidate.parameters[n] - ARM.parameters[n]) / fit.sigmas[n] for n in fit.names]
        )
    spread = np.sqrt(np.mean(np.square(off), axis=0))
    assert (spread > 0.5).all()
    assert (spread < 1.6).all()


def test_an_image_of_one_ring_and_no_geometry_takes_part() -> None:
    few = measured(ARM.geometry(tth=25.0), rings=1, seed=9)
    few = replace(few, verdict="refused", geometry=None, candidate=None)
    fit = fit_goniometer([*arm_images((5.0, 12.0)), few], at((5.0, 12.0, 25.0)), arm_start())
    without = fit_goniometer(arm_images((5.0, 12.0)), at((5.0, 12.0)), arm_start())
    assert fit.verdict == "accepted"
    assert [image.rings for image in fit.images] == [3, 6, 1]
    assert fit.sigmas["scale"] < 0.7 * without.sigmas["scale"]
    assert fit.candidate.parameters["scale"] == pytest.approx(-0.01745, abs=4 * fit.sigmas["scale"])


def test_a_position_that_is_not_true_is_told() -> None:
    where = at((5.0, 12.0, 20.05, 30.0))  # 1.5 pixels
    fit = fit_goniometer(arm_images(), where, arm_start())
    assert fit.verdict != "accepted"
    assert any("tth = 20.05" in reason for reason in fit.reasons)
    right = fit_goniometer(arm_images(), at(), arm_start())
    assert fit.jackknife.max() > 10 * right.jackknife.max()


def test_what_one_position_cannot_tell_is_refused() -> None:
    fit = fit_goniometer(arm_images((12.0, 12.0)), at((12.0, 12.0)), arm_start())
    assert fit.verdict == "refused"
    assert fit.goniometer is None
    assert "do not determine" in fit.reasons[0]
    assert np.isnan(fit.jackknife).all()


def test_what_does_not_move_so_is_refused() -> None:
    still = replace(ARM, expressions={**ARM.expressions, "rot2": "offset + 0 * scale * tth"})
    fit = fit_goniometer(arm_images((5.0, 12.0, 20.0)), at((5.0, 12.0, 20.0)), still)
    assert fit.verdict == "refused"


def test_requests_that_make_no_sense_are_told() -> None:
    with pytest.raises(RecipeError, match="1 calibrations and 2 positions"):
        fit_goniometer(arm_images((5.0,)), at((5.0, 12.0)), ARM)
    with pytest.raises(RecipeError, match="0 images with rings"):
        fit_goniometer([replace(arm_images((5.0,))[0], sectors=None)], at((5.0,)), ARM)
    with pytest.raises(RecipeError, match="no wavelength"):
        fit_goniometer(arm_images((5.0,)), at((5.0,)), replace(ARM, wavelength=None))
    with pytest.raises(RecipeError, match="one distance"):
        fit_distances(arm_images((5.0, 5.0)), [1.0, 1.0])


def stage(position: float, *, dist: float, sign: float = 1.0, drift: float = 2e-3) -> ba.Geometry:
    """A tilted detector on a stage that is not quite along the beam."""
    along = np.sqrt(1 - drift**2 - 0.03**2)
    return ba.Geometry(
        detector=DETECTOR, dist=dist + sign * position * along, poni1=0.042 + drift * position,
        poni2=0.04 + 0.03 * position, rot1=0.03, rot2=-0.02, wavelength=WAVELENGTH,
    )  # fmt: skip


@pytest.mark.parametrize("sign", [1.0, -1.0])
@pytest.mark.parametrize("assumed", [WAVELENGTH, 1.003 * WAVELENGTH])
def test_the_wavelength_is_found_at_wide_angles(sign: float, assumed: float) -> None:
    positions = [0.0, 0.02, 0.05, 0.08]
    images = [
        measured(stage(s, dist=0.12, sign=sign), seed=n, assumed=assumed)
        for n, s in enumerate(positions)
    ]
    found = fit_distances(images, positions)
    assert found.verdict == "accepted", found.reasons
    assert found.wavelength == pytest.approx(WAVELENGTH, rel=1e-5)
    assert abs(found.wavelength - WAVELENGTH) < 4 * found.sigma
    assert found.sigma < 8e-6 * WAVELENGTH
    assert found.energy_kev == pytest.approx(30.99605, rel=1e-5)
    assert found.stage == pytest.approx(1.0, abs=4 * found.stage_sigma)
    assert found.notes == ()


def test_the_wavelength_is_found_at_small_angles_too() -> None:
    """One image of silver behenate knows nothing of it: only the known lengths of the stage do."""
    positions = [0.0, 0.5, 1.0, 1.5]
    truth = [replace(stage(s, dist=1.5, drift=1e-4), poni2=0.04 + 1e-4 * s) for s in positions]
    truth = [replace(one, dist=1.5 + s) for one, s in zip(truth, positions, strict=True)]
    images = [
        measured(one, "AgBh", seed=n, assumed=1.02 * WAVELENGTH, rings=9)
        for n, one in enumerate(truth)
    ]
    found = fit_distances(images, positions)
    assert found.verdict == "accepted", found.reasons
    assert found.wavelength == pytest.approx(WAVELENGTH, rel=3e-5)
    assert abs(found.wavelength - WAVELENGTH) < 4 * found.sigma
    assert found.stage_sigma > 10 * found.sigma / found.wavelength


def test_a_stage_with_another_unit_is_told_at_wide_angles() -> None:
    positions = [0.0, 0.04, 0.08]
    images = [measured(stage(s, dist=0.12), seed=n) for n, s in enumerate(positions)]
    found = fit_distances(images, [1.01 * s for s in positions])
    assert found.verdict == "review"
    assert found.stage == pytest.approx(1 / 1.01, abs=4 * found.stage_sigma)
    assert found.stage_sigma < 1e-4
    assert any("0.9900 of what it says" in reason for reason in found.reasons)


def test_a_short_way_is_refused() -> None:
    positions = [0.0, 1e-5]
    images = [
        measured(replace(stage(s, dist=2.0), rot1=0.0, rot2=0.0), "AgBh", seed=n)
        for n, s in enumerate(positions)
    ]
    for image in images:
        assert image.sectors is not None
    found = fit_distances(images, positions)
    assert found.verdict == "refused"
    assert np.isnan(found.wavelength)
    assert any("known to" in reason for reason in found.reasons)
