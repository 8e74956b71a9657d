"""Detectors on an arm and on a stage, calibrated in a RunEngine."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from bluesky import RunEngine
from ophyd.sim import SynAxis

from bluesky_azint.errors import CalibrationRefused, RecipeError
from bluesky_azint.geometry import Geometry
from bluesky_azint.io.goniometer import goniometer_from_dict, read_goniometer
from bluesky_azint.plans import calibrate_energy, calibrate_goniometer
from tests.plans.conftest import DETECTOR, WAVELENGTH, Documents, Oracle, Station


def on_arm(tth: float) -> Geometry:
    """A detector that turns around the sample, on an arm that is not quite level."""
    return Geometry(
        detector=DETECTOR, dist=0.15, poni1=0.021, poni2=0.0225,
        rot1=0.01 + 2e-4 * tth, rot2=0.005 - np.deg2rad(tth), wavelength=WAVELENGTH,
    )  # fmt: skip


def on_stage(millimetres: float) -> Geometry:
    """A tilted detector on a stage that is not quite along the beam."""
    along = 1e-3 * millimetres
    return Geometry(
        detector=DETECTOR, dist=0.08 + along * np.sqrt(1 - 0.01**2 - 0.005**2),
        poni1=0.0205 + 0.01 * along, poni2=0.022 - 0.005 * along, rot1=0.012, rot2=-0.02,
        wavelength=WAVELENGTH,
    )  # fmt: skip


def test_an_arm_is_calibrated(
    run_engine: RunEngine,
    make_station: Callable[..., Station],
    oracle: Oracle,
    documents: Documents,
    tmp_path: Path,
) -> None:
    station = make_station(on_arm)
    oracle_at(oracle, station, on_arm, [4.0, 9.0, 14.0, 19.0])
    file = tmp_path / "arms" / "arm.json"
    plan = calibrate_goniometer(
        station.det, station.motor, [4, 9, 14, 19], wavelength=WAVELENGTH,
        shutter=station.shutter, file=str(file),
    )  # fmt: skip
    outcome = run_engine(plan).plan_result  # type: ignore[union-attr]
    assert outcome.verdict == "accepted", outcome.reasons
    assert station.shutter.moves == ["open", "closed"] * 4
    found = outcome.goniometer
    assert found.parameters["rot2_slope"] == pytest.approx(-np.pi / 180, rel=1e-4)
    assert found.parameters["dist"] == pytest.approx(0.15, rel=1e-4)
    here, truth = found.geometry(motor=11.5), on_arm(11.5)
    off = (here.two_theta() - truth.two_theta()) * 0.15 / 172e-6
    assert np.abs(off).max() < 0.05  # pixels, at a position in between
    assert read_goniometer(file).parameters == found.parameters
    (event,) = documents.events("calibration")
    assert goniometer_from_dict(json.loads(event["calibration-goniometer"])).parameters == dict(
        found.parameters
    )
    assert event["calibration-rot2_slope"] == found.parameters["rot2_slope"]
    assert event["calibration-rot2_slope_sigma"] < 1e-6
    positions = [one["motor"] for one in documents.events("primary")]
    assert sorted(set(positions)) == [4.0, 9.0, 14.0, 19.0]


def test_a_refused_motion_is_not_in_the_documents(
    run_engine: RunEngine,
    make_station: Callable[..., Station],
    oracle: Oracle,
    documents: Documents,
    tmp_path: Path,
) -> None:
    station = make_station(on_arm)
    angles = [4.0, 9.0, 14.0]
    oracle_at(oracle, station, on_arm, angles)
    plan = calibrate_goniometer(
        station.det, station.motor, angles, motion="distance", wavelength=WAVELENGTH,
        file=str(tmp_path / "arm.json"),
    )  # fmt: skip
    outcome = run_engine(plan).plan_result  # type: ignore[union-attr]
    assert (outcome.verdict, outcome.goniometer, outcome.file) == ("refused", None, "")
    assert "do not describe how" in " ".join(outcome.reasons)
    (event,) = documents.events("calibration")
    assert outcome.fit.names
    for name in outcome.fit.names:
        assert np.isnan(event[f"calibration-{name}"])
        assert np.isnan(event[f"calibration-{name}_sigma"])


def oracle_at(
    oracle: Oracle, station: Station, geometry: Callable[[float], Geometry], positions: list[float]
) -> None:
    """Have the calibrations of images, which come in this order, begin at these positions."""
    remaining = list(positions)
    call = Oracle.__call__

    class Moving(Oracle):
        def __call__(self, image: Any, **options: Any) -> Any:
            self.truth = geometry(remaining.pop(0))
            return call(self, image, **options)

    oracle.__class__ = Moving


def test_images_of_few_rings_take_part(
    run_engine: RunEngine,
    make_station: Callable[..., Station],
    oracle: Oracle,
    documents: Documents,
) -> None:
    station = make_station(on_arm)
    oracle.fewest_rings = 4  # of an image by itself
    angles = [9.0, 14.0, -1.0]  # in the last one only the innermost rings hit the corners
    oracle_at(oracle, station, on_arm, angles)
    plan = calibrate_goniometer(station.det, station.motor, angles, wavelength=WAVELENGTH)
    outcome = run_engine(plan).plan_result  # type: ignore[union-attr]
    assert [one.verdict for one in outcome.calibrations] == ["accepted", "accepted", "refused"]
    assert [image.positions["motor"] for image in outcome.fit.images] == angles
    last = outcome.fit.images[-1]
    assert last.rings < 4
    assert last.used > 0.9
    assert outcome.verdict == "accepted", outcome.reasons
    assert documents.events("calibration")[0]["calibration-images_fitted"] == 3
    # What it adds: a longer way on which the slope is known.
    assert outcome.fit.sigmas["rot2_slope"] < 2e-6


def test_too_few_images_are_a_clean_refusal(
    run_engine: RunEngine,
    make_station: Callable[..., Station],
    oracle: Oracle,
    documents: Documents,
) -> None:
    station = make_station(on_arm)
    oracle.verdict = "refused"
    options: dict[str, Any] = {"wavelength": WAVELENGTH}
    plan = calibrate_goniometer(station.det, station.motor, [4, 9], **options)
    outcome = run_engine(plan).plan_result  # type: ignore[union-attr]
    assert (outcome.verdict, outcome.goniometer) == ("refused", None)
    assert "Of 2 images 0 could be calibrated" in outcome.reasons[0]
    assert documents["stop"][0]["exit_status"] == "fail"
    assert "Of 2 images" in documents.events("calibration")[0]["calibration-reasons"]
    with pytest.raises(CalibrationRefused):
        run_engine(
            calibrate_goniometer(station.det, station.motor, [4, 9], on_refusal="raise", **options)
        )
    energy = calibrate_energy(station.det, station.motor, [4, 9], **options)
    outcome = run_engine(energy).plan_result  # type: ignore[union-attr]
    assert outcome.verdict == "refused"
    assert np.isnan(outcome.energy_kev)


@pytest.mark.parametrize("assumed", [1.0, 1.001])
def test_the_energy_is_found(
    run_engine: RunEngine,
    make_station: Callable[..., Station],
    oracle: Oracle,
    documents: Documents,
    assumed: float,
) -> None:
    station = make_station(on_stage)
    positions = [0.0, 30.0, 60.0]
    oracle_at(oracle, station, on_stage, positions)
    plan = calibrate_energy(
        station.det, station.motor, positions, wavelength=assumed * WAVELENGTH, exposure_time=5.0
    )
    outcome = run_engine(plan).plan_result  # type: ignore[union-attr]
    assert outcome.verdict == "accepted", outcome.reasons
    assert outcome.wavelength == pytest.approx(WAVELENGTH, rel=1e-4)
    assert abs(outcome.wavelength / WAVELENGTH - 1) < 4 * outcome.relative_error
    assert outcome.relative_error < 5e-5
    (event,) = documents.events("calibration")
    assert event["calibration-energy_kev"] == outcome.energy_kev
    assert event["calibration-stage"] == pytest.approx(1.0, abs=1e-3)


def test_what_makes_no_sense_is_told(
    run_engine: RunEngine, make_station: Callable[..., Station]
) -> None:
    station = make_station(on_arm)
    with pytest.raises(RecipeError, match="two different ones"):
        run_engine(calibrate_goniometer(station.det, station.motor, [4, 4], energy_kev=31.0))

    class Mute:
        def set(self, value: float) -> None:
            """Never."""

    with pytest.raises(RecipeError, match="but not read"):
        run_engine(calibrate_energy(station.det, Mute(), [4, 5], energy_kev=31.0))  # type: ignore[arg-type]


def test_classic_motors_will_do(
    run_engine: RunEngine, make_station: Callable[..., Station], oracle: Oracle
) -> None:
    station = make_station(on_arm)
    tth = SynAxis(name="tth")
    station.beamline.position = lambda: float(tth.position)
    oracle_at(oracle, station, on_arm, [4.0, 9.0])
    plan = calibrate_goniometer(station.det, tth, [4, 9], wavelength=WAVELENGTH)
    outcome = run_engine(plan).plan_result  # type: ignore[union-attr]
    assert outcome.goniometer.positions == ("tth",)
    here = outcome.goniometer.geometry(tth=6.0)
    np.testing.assert_allclose(here.two_theta(), on_arm(6.0).two_theta(), atol=1e-4)


@pytest.mark.parametrize("plan", [calibrate_goniometer, calibrate_energy])
@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"energy_kev": 0.0}, "must be positive"),
        ({"calibrant": "CeO3"}, "no calibrant 'CeO3'"),
        ({"on_refusal": "rasie"}, "is none of 'return', 'raise'"),
    ],
)
def test_what_makes_no_sense_is_told_before_anything_moves(
    run_engine: RunEngine,
    make_station: Callable[..., Station],
    documents: Documents,
    plan: Callable[..., Any],
    options: dict[str, Any],
    message: str,
) -> None:
    station = make_station(on_arm)
    with pytest.raises(RecipeError, match=message):
        run_engine(plan(station.det, station.motor, [4, 9], **{"energy_kev": 31.0, **options}))
    assert documents.all == []


@pytest.mark.parametrize(
    ("options", "message"),
    [({"motion": "dist"}, "is none of 'arm', 'distance'"), ({"distance": -1.0}, "positive")],
)
def test_a_motion_must_be_one_that_is_known(
    run_engine: RunEngine,
    make_station: Callable[..., Station],
    documents: Documents,
    options: dict[str, Any],
    message: str,
) -> None:
    station = make_station(on_arm)
    with pytest.raises(RecipeError, match=message):
        run_engine(
            calibrate_goniometer(station.det, station.motor, [4, 9], energy_kev=31.0, **options)
        )
    assert documents.all == []
