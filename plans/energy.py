"""Calibrating the energy of the photons, with a stage that moves the detector by known lengths."""

# Annotations stay objects: the queue server does not understand them as text.

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import bluesky.preprocessors as bpp
import numpy as np
from bluesky.protocols import Movable, Readable
from bluesky.utils import MsgGenerator

from bluesky_azint.calibration.joint.distances import EnergyFit, fit_distances
from bluesky_azint.calibration.result import Calibration, Verdict
from bluesky_azint.errors import RecipeError
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


@dataclass(frozen=True, kw_only=True)
class EnergyOutcome:
    """What came out of the calibration of the energy.

    Parameters
    ----------
    run_uid
        Uid of the run that has the images, and these results in its stream ``calibration``.
    verdict, reasons
        "accepted", "review" or "refused", and why not the first, in sentences.
    energy_kev, wavelength
        Of the photons, in keV and in metres; NaN if refused.
    relative_error
        The standard error of either, over its value.
    file
        Where the motion of the detector is written, "" if nowhere.
    fit
        All that was found; None if too few images could be calibrated.
    calibrations
        Of the single images.
    """

    run_uid: str
    verdict: Verdict
    reasons: tuple[str, ...]
    energy_kev: float
    wavelength: float
    relative_error: float
    file: str
    fit: EnergyFit | None = field(repr=False, compare=False)
    calibrations: tuple[Calibration, ...] = field(repr=False, compare=False)


def calibrate_energy(
    detector: Readable[Any],
    distance_motor: Movable[Any],
    positions: Sequence[float],
    *,
    metres_per_unit: float = 1e-3,
    calibrant: str = "CeO2",
    energy_kev: float | None = None,
    wavelength: float | None = None,
    model: ModelLike | None = None,
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
) -> MsgGenerator[EnergyOutcome]:
    """Take images of a calibrant at several distances, and find the energy of the photons.

    The truth is in the spacings of the calibrant, and in the lengths by which the stage moves;
    neither the distance itself nor how the stage is aligned needs to be known. Nothing is set.

    Parameters
    ----------
    detector
        The detector.
    distance_motor
        What moves it along the beam, towards the sample or away from it.
    positions
        Where to take images, in the unit of the motor; the further apart the better.
    metres_per_unit
        What the unit is: 0.001 for millimetres.
    calibrant
        Name of the powder in the beam.
    energy_kev, wavelength
        Of the photons, about, in keV, or in metres: one of them.
    model
        Name of the model of the detector, where neither the detector nor the store knows it.
    store
        Where calibrations are kept, only to know the model of the detector from.
    file
        Where to write the motion of the detector, as JSON that pyFAI reads, too; its position
        is in metres.
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
    check_choice("on_refusal", on_refusal, OnRefusal)
    wanted = different(positions)
    stage = read_along(distance_motor)
    about = wavelength_of(energy_kev, wavelength)
    substance = calibrant_of(calibrant, about)
    if not 0 < abs(metres_per_unit) < np.inf:
        raise RecipeError(
            f"The unit of {stage.name} is {metres_per_unit} m; it must be a length, 0.001 for "
            "millimetres."
        )
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
        "plan_name": "calibrate_energy",
        "detectors": [detector.name],
        "motors": [stage.name],
        "num_points": len(wanted),
        "plan_args": {
            "detector": repr(detector),
            "distance_motor": repr(distance_motor),
            "positions": wanted,
            "metres_per_unit": metres_per_unit,
            "calibrant": calibrant,
            "wavelength": about,
        },
        "hints": {},
        **(md or {}),
    }

    def measure(run_uid: str) -> MsgGenerator[EnergyOutcome]:
        taken: list[Taken] = yield from camera.staged(images_at(camera, distance_motor, wanted))

        def work(progress: Progress) -> EnergyOutcome:
            calibrations = calibrations_of(taken, known, substance, about, None, progress)
            lengths = [one.position * metres_per_unit for one in taken]
            motor = name_in_formulas(stage.name)
            return _outcome(run_uid, lengths, calibrations, motor, file)

        outcome = yield from in_thread(work)
        yield from publish("calibration", _results(outcome))
        return outcome

    run = reporting_run(measure, metadata, ["refused"] if on_refusal == "raise" else [])
    outcome: EnergyOutcome = yield from bpp.subs_wrapper(run, {"all": [collector]})  # type: ignore[no-untyped-call]
    return outcome


def _outcome(
    run_uid: str,
    lengths: Sequence[float],
    calibrations: list[Calibration],
    motor: str,
    file: str | None,
) -> EnergyOutcome:
    # What an image by itself is refused for may be the wavelength that is looked for.
    usable = [one for one in calibrations if one.candidate is not None and one.sectors is not None]
    where = [length for one, length in zip(calibrations, lengths, strict=True) if one in usable]
    try:
        fit = fit_distances(usable, where, motor=motor)
    except RecipeError as error:
        return EnergyOutcome(
            run_uid=run_uid, verdict="refused", reasons=(str(error),), energy_kev=np.nan,
            wavelength=np.nan, relative_error=np.nan, file="", fit=None,
            calibrations=tuple(calibrations),
        )  # fmt: skip
    return EnergyOutcome(
        run_uid=run_uid,
        verdict=fit.verdict,
        reasons=fit.reasons,
        energy_kev=fit.energy_kev,
        wavelength=fit.wavelength,
        relative_error=fit.relative_error,
        file=written(None if fit.verdict == "refused" else fit.fit.goniometer, file),
        fit=fit,
        calibrations=tuple(calibrations),
    )


def _results(outcome: EnergyOutcome) -> dict[str, Value | None]:
    """What goes into the documents."""
    fit = outcome.fit
    trusted = fit if outcome.verdict != "refused" else None
    return {
        "verdict": outcome.verdict,
        "reasons": " ".join(outcome.reasons),
        "notes": "" if fit is None else " ".join(fit.notes),
        "energy_kev": outcome.energy_kev,
        "wavelength": outcome.wavelength,
        "wavelength_sigma": None if trusted is None else trusted.sigma,
        "wavelength_jackknife": None if trusted is None else trusted.jackknife,
        "relative_error": outcome.relative_error,
        "stage": None if fit is None else fit.stage,
        "stage_sigma": None if fit is None else fit.stage_sigma,
        "residual_px": None if fit is None else fit.fit.residual_px,
        "images": len(outcome.calibrations),
        "images_fitted": 0 if fit is None else len(fit.fit.images),
        "file": outcome.file,
    }
