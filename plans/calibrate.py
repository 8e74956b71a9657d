"""Calibrating a detector: from an image of a calibrant to the geometry that is used from then on."""

# Annotations stay objects: the queue server does not understand them as text.

import logging
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import bluesky.plan_stubs as bps
import bluesky.preprocessors as bpp
import numpy as np
from bluesky.protocols import Movable, Readable
from bluesky.utils import MsgGenerator
from numpy.typing import NDArray

import bluesky_azint as ba
from bluesky_azint.calibration.calibrate import distance_limits
from bluesky_azint.calibration.cone import PONI_PARAMETERS
from bluesky_azint.calibration.result import Calibration, Verdict
from bluesky_azint.geometry import Geometry
from bluesky_azint.plans.arguments import (
    Confirm,
    ModelLike,
    StoreLike,
    calibrant_of,
    check_choice,
    either,
    mask_of,
    model_of,
    opened_store,
    stored_calibration,
    wavelength_of,
)
from bluesky_azint.plans.background import Progress, in_thread
from bluesky_azint.plans.exposing import Camera, Exposed, FrameCollector, Shutter
from bluesky_azint.plans.keeping import Keeper, decided, said
from bluesky_azint.plans.reporting import OnRefusal, Value, publish, reporting_run

logger = logging.getLogger(__name__)

STREAM = "calibration"


@dataclass(frozen=True, kw_only=True)
class CalibrationOutcome:
    """What came out of a calibration.

    Parameters
    ----------
    run_uid
        Uid of the run that has the image, and these results in its stream ``calibration``.
    verdict, reasons
        "accepted", "review" or "refused", and why not the first, in sentences.
    status
        "accepted" if the geometry is used from now on; "candidate" if somebody must accept it
        first; "" if it was refused.
    record_uid
        Uid of the record in the store, "" if there is none.
    report
        The report, "" if there is none.
    calibration
        All that was found.
    """

    run_uid: str
    verdict: Verdict
    reasons: tuple[str, ...]
    status: str
    record_uid: str
    report: str
    calibration: Calibration = field(repr=False, compare=False)


def calibrate_detector(
    detector: Readable[Any],
    *,
    calibrant: str = "CeO2",
    energy_kev: float | None = None,
    wavelength: float | None = None,
    model: ModelLike | None = None,
    distance: float | None = None,
    geometry: str | None = None,
    mask: str | None = None,
    exposure_time: float = 1.0,
    max_exposure: float = 60.0,
    saturation: float | None = None,
    darks: int = 0,
    shutter: Movable[Any] | None = None,
    shutter_open: str | float = "open",
    shutter_closed: str | float = "closed",
    geometry_device: Movable[Any] | None = None,
    store: StoreLike | None = None,
    report_directory: str | None = None,
    confirm: Confirm = False,
    on_refusal: OnRefusal = "return",
    image: str | None = None,
    root_map: dict[str, str] | None = None,
    md: dict[str, Any] | None = None,
) -> MsgGenerator[CalibrationOutcome]:
    """Take an image of a calibrant, find the geometry of the detector from it, and store that.

    It is exposed until the rings are good enough. If the calibration is accepted, its geometry is
    used from now on. If somebody must look at it first it is stored as a candidate, unless it is
    confirmed at once. If it is refused nothing is stored or set; the run then fails, and says why.

    Parameters
    ----------
    detector
        The detector.
    calibrant
        Name of the powder in the beam.
    energy_kev, wavelength
        Of the photons, in keV, or in metres: one of them.
    model
        Name of the model of the detector, where neither the detector nor the store knows it.
    distance
        About how far away the detector stands, in metres; not needed.
    geometry
        PONI file of where it is thought to stand; not needed.
    mask
        File of a mask, not zero = masked, added to the detector's own.
    exposure_time, max_exposure
        Seconds to begin with, and at most.
    saturation
        Counts from which on a pixel is saturated; known for up to 16 bits.
    darks
        How many frames to take without beam, and to subtract their mean.
    shutter
        What lets the beam in. It is closed in the end in any case.
    shutter_open, shutter_closed
        What it is set to.
    geometry_device
        What is set to the new geometry.
    store
        Where calibrations are kept: a store, or its folder, or the address of its Tiled server.
    report_directory
        Folder for the report; it is kept in the store also.
    confirm
        Whether to ask for a human's yes where somebody must look; or a function that takes the
        calibration and says it.
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
    FrameError
        If the image cannot be read.
    """
    check_choice("on_refusal", on_refusal, OnRefusal)
    length = wavelength_of(energy_kev, wavelength)
    substance = calibrant_of(calibrant, length)
    about = None if geometry is None else Geometry.from_poni(geometry)
    distance_limits(distance, about)
    records = opened_store(store)
    known = model_of(detector, model, stored_calibration(records, detector.name))
    given = None if mask is None else mask_of(mask, known)
    collector = FrameCollector(detector.name, image, root_map)
    camera = Camera(
        detector=detector,
        shutter=Shutter(device=shutter, opened=shutter_open, closed=shutter_closed),
        collector=collector,
        mask=either(known.mask, given),
        exposure_time=exposure_time,
        max_exposure=max_exposure,
        saturation=saturation,
        darks=darks,
    )
    metadata = {
        "plan_name": "calibrate_detector",
        "detectors": [detector.name],
        "plan_args": {
            "detector": repr(detector),
            "calibrant": calibrant,
            "wavelength": length,
            "distance": distance,
            "geometry": geometry,
            "mask": mask,
            "exposure_time": exposure_time,
            "max_exposure": max_exposure,
            "darks": darks,
        },
        "hints": {},
        **(md or {}),
    }

    def measure(run_uid: str) -> MsgGenerator[CalibrationOutcome]:
        moment = datetime.now(UTC)
        exposed: Exposed = yield from camera.staged(camera.exposed())

        def work(progress: Progress) -> Calibration:
            return ba.calibrate(
                exposed.image,
                detector=known,
                calibrant=substance,
                wavelength=length,
                distance=distance,
                geometry=about,
                mask=given,
                progress=progress,
            )

        calibration = yield from in_thread(work)
        logger.info("%s: %s. %s", detector.name, calibration.verdict, said(calibration))
        keeper = Keeper(
            detector=detector.name, run_uid=run_uid, moment=moment, store=records,
            folder=None if report_directory is None else Path(report_directory),
        )  # fmt: skip
        kept = yield from in_thread(lambda progress: keeper.keep(calibration, exposed.image))
        status = yield from decided(calibration, confirm, kept.report)
        if status == "accepted":
            kept = yield from in_thread(lambda progress: keeper.accepted(kept))
        if geometry_device is not None and status == "accepted":
            yield from bps.mv(geometry_device, kept.record or calibration.geometry)
        outcome = CalibrationOutcome(
            run_uid=run_uid,
            verdict=calibration.verdict,
            reasons=calibration.reasons,
            status=status,
            record_uid="" if kept.record is None else kept.record.uid,
            report=kept.report,
            calibration=calibration,
        )
        yield from publish(STREAM, {**_results(outcome), **_of_exposure(exposed)})
        return outcome

    run = reporting_run(measure, metadata, ["refused"] if on_refusal == "raise" else [])
    outcome: CalibrationOutcome = yield from bpp.subs_wrapper(run, {"all": [collector]})  # type: ignore[no-untyped-call]
    return outcome


def _results(outcome: CalibrationOutcome) -> dict[str, Value | None]:
    """What goes into the documents."""
    found = outcome.calibration
    # Nobody must take up a geometry that was refused.
    trusted = found.geometry
    errors = (None, None) if trusted is None else (found.covariance, found.jackknife)
    match = found.match
    values: dict[str, Value | None] = {
        "verdict": outcome.verdict,
        "reasons": " ".join(outcome.reasons),
        "notes": " ".join(found.notes),
        "status": outcome.status,
        "record_uid": outcome.record_uid,
        "report": outcome.report,
        "calibrant": found.calibrant.name,
        "wavelength": found.wavelength,
        "residual_px": found.residual_px,
        "held_out_px": found.held_out_px,
        "ring_error_px": found.ring_error_px,
        "rings": sum(ring.used for ring in found.rings),
        "score": None if match is None else match.score,
        "unexplained": None if match is None else match.unexplained,
        "seconds": found.seconds,
    }
    for index, name in enumerate(PONI_PARAMETERS):
        values[name] = None if trusted is None else getattr(trusted, name)
        values[f"{name}_sigma"] = _sigma(errors[0], index)
        values[f"{name}_jackknife"] = _sigma(errors[1], index)
    return values


def _sigma(errors: NDArray[np.float64] | None, index: int) -> float | None:
    """Of a covariance, or of standard errors."""
    if errors is None:
        return None
    return float(np.sqrt(errors[index, index]) if errors.ndim == 2 else errors[index])


def _of_exposure(exposed: Exposed) -> dict[str, Value | None]:
    return {
        "frame": exposed.attempts,
        "exposure_time": exposed.exposure_time,
        "photons": exposed.exposure.photons,
        "saturated": exposed.exposure.saturated,
    }
