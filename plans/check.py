"""Checking, at the start of a shift, whether a detector still stands where it was calibrated."""

# Annotations stay objects: the queue server does not understand them as text.

from dataclasses import dataclass, field
from typing import Any, Literal

import bluesky.preprocessors as bpp
import numpy as np
from bluesky.protocols import Movable, Readable
from bluesky.utils import MsgGenerator

from bluesky_azint.calibration.check import GeometryCheck, Judgement, check_geometry
from bluesky_azint.errors import RecipeError, StoreError
from bluesky_azint.geometry import Geometry
from bluesky_azint.plans.arguments import (
    StoreLike,
    calibrant_of,
    check_choice,
    opened_store,
    stored_calibration,
    wavelength_of,
)
from bluesky_azint.plans.background import Progress, in_thread
from bluesky_azint.plans.exposing import Camera, Exposed, FrameCollector, Shutter
from bluesky_azint.plans.reporting import Value, publish, reporting_run
from bluesky_azint.store import CalibrationRecord

OnDrift = Literal["return", "raise"]


@dataclass(frozen=True, kw_only=True)
class CheckOutcome:
    """What came out of a check.

    Parameters
    ----------
    run_uid
        Uid of the run that has the image, and these results in its stream ``check``.
    verdict, reasons
        "good", "drifted" or "refused" (the image does not tell), and why, in sentences.
    record_uid
        Uid of the calibration that was checked, "" if the geometry is from a file.
    shift_px, shift_ppm
        How far rings are from where they should be: in pixels, and as a change of q.
    check
        All that was found.
    """

    run_uid: str
    verdict: Judgement
    reasons: tuple[str, ...]
    record_uid: str
    shift_px: float
    shift_ppm: float
    check: GeometryCheck = field(repr=False, compare=False)


def check_calibration(
    detector: Readable[Any],
    *,
    calibrant: str = "CeO2",
    store: StoreLike | None = None,
    poni: str | None = None,
    tolerance_px: float = 0.2,
    exposure_time: float = 1.0,
    max_exposure: float = 60.0,
    saturation: float | None = None,
    darks: int = 0,
    shutter: Movable[Any] | None = None,
    shutter_open: str | float = "open",
    shutter_closed: str | float = "closed",
    on_drift: OnDrift = "return",
    image: str | None = None,
    root_map: dict[str, str] | None = None,
    md: dict[str, Any] | None = None,
) -> MsgGenerator[CheckOutcome]:
    """Take an image of a calibrant, and see whether the geometry in use agrees with it.

    Nothing is stored or set: whether to calibrate again is for somebody, or another plan, to say.

    Parameters
    ----------
    detector
        The detector.
    calibrant
        Name of the powder in the beam.
    store
        Where calibrations are kept: a store, or its folder, or the address of its Tiled server.
        The one in use now is checked.
    poni
        A PONI file with the geometry to check instead.
    tolerance_px
        How far rings may be off, in pixels.
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
    on_drift
        Whether a verdict other than "good" is an outcome, or an error after the run, by which a
        queue is stopped.
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
    RecipeError, FormatError
        Before anything moves, if something makes no sense.
    StoreError
        Before anything moves, if there is no calibration to check.
    CalibrationRefused
        If the verdict is not "good", and that is to be an error.
    """
    check_choice("on_drift", on_drift, OnDrift)
    if not 0 < tolerance_px < np.inf:
        raise RecipeError(f"A tolerance of {tolerance_px} pixels is none; it must be positive.")
    record = None if poni else stored_calibration(opened_store(store), detector.name)
    geometry = Geometry.from_poni(poni) if poni else _geometry(record, detector.name)
    substance = calibrant_of(calibrant, wavelength_of(None, geometry.wavelength))
    mask = None if record is None else record.mask
    collector = FrameCollector(detector.name, image, root_map)
    camera = Camera(
        detector=detector,
        shutter=Shutter(device=shutter, opened=shutter_open, closed=shutter_closed),
        collector=collector,
        mask=geometry.detector.mask if mask is None else mask,
        exposure_time=exposure_time,
        max_exposure=max_exposure,
        saturation=saturation,
        darks=darks,
    )
    uid = "" if record is None else record.uid
    metadata = {
        "plan_name": "check_calibration",
        "detectors": [detector.name],
        "plan_args": {"detector": repr(detector), "calibrant": calibrant, "record_uid": uid},
        "hints": {},
        **(md or {}),
    }

    def measure(run_uid: str) -> MsgGenerator[CheckOutcome]:
        exposed: Exposed = yield from camera.staged(camera.exposed())

        def work(progress: Progress) -> GeometryCheck:
            return check_geometry(
                exposed.image,
                geometry,
                substance,
                mask=mask,
                tolerance_px=tolerance_px,
                progress=progress,
            )

        check = yield from in_thread(work)
        outcome = CheckOutcome(
            run_uid=run_uid,
            verdict=check.verdict,
            reasons=check.reasons,
            record_uid=uid,
            shift_px=check.shift_px,
            shift_ppm=1e6 * check.shift_relative,
            check=check,
        )
        yield from publish("check", _results(outcome))
        return outcome

    run = reporting_run(measure, metadata, ["drifted", "refused"] if on_drift == "raise" else [])
    outcome: CheckOutcome = yield from bpp.subs_wrapper(run, {"all": [collector]})  # type: ignore[no-untyped-call]
    return outcome


def _geometry(record: CalibrationRecord | None, detector: str) -> Geometry:
    if record is None:
        raise StoreError(
            f"There is no accepted calibration of {detector} to check; give the store that has one, "
            "or a PONI file, or calibrate the detector."
        )
    return record.geometry


def _results(outcome: CheckOutcome) -> dict[str, Value | None]:
    """What goes into the documents."""
    check = outcome.check
    return {
        "verdict": outcome.verdict,
        "reasons": " ".join(outcome.reasons),
        "notes": " ".join(check.notes),
        "record_uid": outcome.record_uid,
        "calibrant": check.calibrant.name,
        "shift_px": outcome.shift_px,
        "shift_ppm": outcome.shift_ppm,
        "shift_sigma_px": check.shift_sigma_px,
        "centre_shift1_px": check.centre_shift_px[0],
        "centre_shift2_px": check.centre_shift_px[1],
        "distance_shift_ppm": 1e6 * check.distance_shift,
        "residual_px": check.residual_px,
        "refitted_px": check.refitted_px,
        "tolerance_px": check.tolerance_px,
    }
