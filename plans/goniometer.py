"""Calibrating a detector that moves: on an arm around the sample, or towards it."""

# Annotations stay objects: the queue server does not understand them as text.

import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import bluesky.preprocessors as bpp
from bluesky.protocols import Movable, Readable
from bluesky.utils import MsgGenerator

from bluesky_azint.calibration.calibrate import distance_limits
from bluesky_azint.calibration.joint.goniometers import GoniometerFit
from bluesky_azint.calibration.joint.positions import ARM, DISTANCE, fit_positions
from bluesky_azint.calibration.result import Calibration, Verdict
from bluesky_azint.errors import RecipeError
from bluesky_azint.goniometer import Goniometer
from bluesky_azint.io.goniometer import goniometer_to_dict
from bluesky_azint.plans.arguments import (
    ModelLike,
    StoreLike,
    calibrant_of,
    check_choice,
    model_of,
    opened_store,
    stored_calibration,
    wavelength_of,
)
from bluesky_azint.plans.background import Progress, in_thread
from bluesky_azint.plans.exposing import Camera, FrameCollector, Shutter
from bluesky_azint.plans.positions import (
    Taken,
    calibrations_of,
    different,
    images_at,
    name_in_formulas,
    read_along,
    written,
)
from bluesky_azint.plans.reporting import OnRefusal, Value, publish, reporting_run

Motion = Literal["arm", "distance"]


@dataclass(frozen=True, kw_only=True)
class GoniometerOutcome:
    """What came out of the calibration of a moving detector.

    Parameters
    ----------
    run_uid
        Uid of the run that has the images, and these results in its stream ``calibration``.
    verdict, reasons
        "accepted", "review" or "refused", and why not the first, in sentences.
    goniometer
        The geometry by the position of the motor; None if refused.
    file
        Where it is written, "" if nowhere.
    fit
        All that was found; None if too few images could be calibrated.
    calibrations
        Of the single images.
    """

    run_uid: str
    verdict: Verdict
    reasons: tuple[str, ...]
    goniometer: Goniometer | None
    file: str
    fit: GoniometerFit | None = field(repr=False, compare=False)
    calibrations: tuple[Calibration, ...] = field(repr=False, compare=False)


def calibrate_goniometer(
    detector: Readable[Any],
    motor: Movable[Any],
    positions: Sequence[float],
    *,
    motion: Motion = "arm",
    calibrant: str = "CeO2",
    energy_kev: float | None = None,
    wavelength: float | None = None,
    model: ModelLike | None = None,
    distance: float | None = None,
    store: StoreLike | None = None,
    file: str | None = None,
    exposure_time: float = 1.0,
    max_exposure: float = 60.0,
    saturation: float | None = None,
    shutter: Movable[Any] | None = None,
    shutter_open: str | float = "open",
    shutter_closed: str | float = "closed",
    on_refusal: OnRefusal = "return",
    image: str | None = None,
    root_map: dict[str, str] | None = None,
    md: dict[str, Any] | None = None,
) -> MsgGenerator[GoniometerOutcome]:
    """Take images of a calibrant at several positions, and find how the detector moves.

    Images with too few rings to be calibrated by themselves take part as soon as two others tell
    where their rings must be.

    Parameters
    ----------
    detector
        The detector.
    motor
        What moves it.
    positions
        Where to take images, in the unit of the motor.
    motion
        "arm": it turns around the sample, and the rotations are straight lines of the position;
        "distance": it slides, and so are the distance and the PONI.
    calibrant
        Name of the powder in the beam.
    energy_kev, wavelength
        Of the photons, in keV, or in metres: one of them.
    model
        Name of the model of the detector, where neither the detector nor the store knows it.
    distance
        About how far away the detector stands, in metres; not needed.
    store
        Where calibrations are kept, only to know the model of the detector from.
    file
        Where to write the goniometer, as JSON that pyFAI reads, too.
    exposure_time, max_exposure
        Seconds to begin with, and at most.
    saturation
        Counts from which on a pixel is saturated; known for up to 16 bits.
    shutter
        What lets the beam in. It is closed while the motor moves, and in the end in any case.
    shutter_open, shutter_closed
        What it is set to.
    on_refusal
        Whether a refusal is an outcome like others, or an error after the run, by which a queue is
        stopped.
    image
        Which of the detector's images, if it has several.
    root_map
        Beginnings of paths in the documents, and what they are called on this machine.
    md
        Metadata of the run.

    Returns
    -------
    The outcome.

    Raises
    ------
    RecipeError, GeometryError, FormatError
        Before anything moves, if something is missing, unknown, or makes no sense.
    CalibrationRefused
        If it is refused, and that is to be an error.
    """
    check_choice("motion", motion, Motion)
    check_choice("on_refusal", on_refusal, OnRefusal)
    wanted = different(positions)
    stage = read_along(motor)
    length = wavelength_of(energy_kev, wavelength)
    substance = calibrant_of(calibrant, length)
    distance_limits(distance, None)
    known = model_of(detector, model, stored_calibration(opened_store(store), detector.name))
    collector = FrameCollector(detector.name, image, root_map)
    camera = Camera(
        detector=detector,
        shutter=Shutter(device=shutter, opened=shutter_open, closed=shutter_closed),
        collector=collector,
        mask=known.mask,
        exposure_time=exposure_time,
        max_exposure=max_exposure,
        saturation=saturation,
        along=(stage,),
    )
    metadata = {
        "plan_name": "calibrate_goniometer",
        "detectors": [detector.name],
        "motors": [stage.name],
        "num_points": len(wanted),
        "plan_args": {
            "detector": repr(detector),
            "motor": repr(motor),
            "positions": wanted,
            "motion": motion,
            "calibrant": calibrant,
            "wavelength": length,
        },
        "hints": {},
        **(md or {}),
    }

    def measure(run_uid: str) -> MsgGenerator[GoniometerOutcome]:
        taken: list[Taken] = yield from camera.staged(images_at(camera, motor, wanted))

        def work(progress: Progress) -> GoniometerOutcome:
            calibrations = calibrations_of(taken, known, substance, length, distance, progress)
            return _outcome(
                run_uid, taken, calibrations, name_in_formulas(stage.name), motion, file
            )

        outcome = yield from in_thread(work)
        yield from publish("calibration", _results(outcome))
        return outcome

    run = reporting_run(measure, metadata, ["refused"] if on_refusal == "raise" else [])
    outcome: GoniometerOutcome = yield from bpp.subs_wrapper(run, {"all": [collector]})  # type: ignore[no-untyped-call]
    return outcome


def _outcome(
    run_uid: str,
    taken: Sequence[Taken],
    calibrations: list[Calibration],
    motor: str,
    motion: Motion,
    file: str | None,
) -> GoniometerOutcome:
    try:
        fit = fit_positions(
            [one.image for one in taken],
            calibrations,
            [one.position for one in taken],
            motor=motor,
            moving=ARM if motion == "arm" else DISTANCE,
        )
    except RecipeError as error:
        return GoniometerOutcome(
            run_uid=run_uid, verdict="refused", reasons=(str(error),), goniometer=None, file="",
            fit=None, calibrations=tuple(calibrations),
        )  # fmt: skip
    return GoniometerOutcome(
        run_uid=run_uid,
        verdict=fit.verdict,
        reasons=fit.reasons,
        goniometer=fit.goniometer,
        file=written(fit.goniometer, file),
        fit=fit,
        calibrations=tuple(calibrations),
    )


def _results(outcome: GoniometerOutcome) -> dict[str, Value | None]:
    """What goes into the documents."""
    fit = outcome.fit
    found: dict[str, Value | None] = {
        "verdict": outcome.verdict,
        "reasons": " ".join(outcome.reasons),
        "file": outcome.file,
        "goniometer": "",
        "images": len(outcome.calibrations),
        "images_fitted": 0 if fit is None else len(fit.images),
        "residual_px": None if fit is None else fit.residual_px,
        "ring_error_px": None if fit is None else fit.ring_error_px,
        "detector_error_px": None if fit is None else fit.detector_error_px,
    }
    if fit is not None:
        # Nobody must take up a motion that was refused.
        known = {} if fit.goniometer is None else fit.goniometer.parameters
        sigmas = {} if fit.goniometer is None else fit.sigmas
        found |= {name: known.get(name) for name in fit.names}
        found |= {f"{name}_sigma": sigmas.get(name) for name in fit.names}
    if outcome.goniometer is not None:
        found["goniometer"] = json.dumps(goniometer_to_dict(outcome.goniometer))
    return found
