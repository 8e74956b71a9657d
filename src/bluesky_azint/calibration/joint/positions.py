"""Calibrations at several positions of a motor: the motion to begin with, and frames of few rings."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bluesky_azint.calibration.cone import PARAMETERS, PONI_PARAMETERS, Cone
from bluesky_azint.calibration.constraints import Constraint, Prior
from bluesky_azint.calibration.joint.goniometers import GoniometerFit, fit_goniometer
from bluesky_azint.calibration.refinement.refine import refine
from bluesky_azint.calibration.result import Calibration
from bluesky_azint.calibration.surface import Surface
from bluesky_azint.errors import CalibrationError, RecipeError
from bluesky_azint.goniometer import Goniometer

ARM = ("rot1", "rot2")
DISTANCE = ("dist", "poni1", "poni2")

# How well a motion that was fitted to other positions tells where a detector stands.
_PIXELS, _STRETCH, _TURN = 3.0, 0.01, np.deg2rad(0.5)


def linear_motion(
    calibrations: Sequence[Calibration],
    positions: Sequence[float],
    *,
    motor: str = "pos",
    moving: Collection[str] = ARM,
) -> Goniometer:
    """A goniometer of straight lines through single calibrations.

    Parameters
    ----------
    calibrations
        At least two that were not refused, at different positions; others do not count.
    positions
        Of the motor, for each of them.
    motor
        Its name.
    moving
        Which of dist, poni1, poni2, rot1 and rot2 change with it: `ARM` for a detector that turns
        around the sample, `DISTANCE` for one that slides.

    Raises
    ------
    RecipeError
        If there are too few.
    """
    found = [
        (calibration.geometry, position)
        for calibration, position in zip(calibrations, positions, strict=True)
        if calibration.geometry is not None
    ]
    if len({position for _, position in found}) < 2:
        raise RecipeError(
            f"Of {len(calibrations)} images {len(found)} could be calibrated by themselves; a "
            "motion needs two, at different positions. Take more, or expose longer."
        )
    at = np.array([position for _, position in found])
    parameters, expressions = {}, {}
    for name in PONI_PARAMETERS:
        values = np.array([getattr(geometry, name) for geometry, _ in found])
        parameters[name], expressions[name] = float(np.median(values)), name
        if name in moving:
            slope, offset = np.polyfit(at, values, 1)
            parameters |= {name: float(offset), f"{name}_slope": float(slope)}
            expressions[name] = f"{name} + {name}_slope * {motor}"
    geometry, _ = found[0]
    return Goniometer(
        detector=geometry.detector,
        positions=(motor,),
        parameters=parameters,
        expressions=expressions,
        wavelength=geometry.wavelength,
    )


def fit_positions(
    images: Sequence[NDArray[Any]],
    calibrations: Sequence[Calibration],
    positions: Sequence[float],
    *,
    motor: str = "pos",
    moving: Collection[str] = ARM,
) -> GoniometerFit:
    """The motion of a detector, from images at several positions and their calibrations.

    Images that could not be calibrated, since they have too few rings, take part when the others
    have told where their rings must be.

    Parameters
    ----------
    images
        The images, (rows, columns).
    calibrations, positions, motor, moving
        See `linear_motion`.

    Raises
    ------
    RecipeError
        If fewer than two could be calibrated.
    """
    start = linear_motion(calibrations, positions, motor=motor, moving=moving)
    where = [{motor: float(position)} for position in positions]
    trusted = [replace(one, sectors=None) if one.geometry is None else one for one in calibrations]
    fit = fit_goniometer(trusted, where, start)
    if all(one.geometry is not None for one in calibrations):
        return fit
    found = [
        one if one.geometry is not None else measured_at(image, one, fit.candidate, place)
        for image, one, place in zip(images, calibrations, where, strict=True)
    ]
    return fit_goniometer(found, where, fit.candidate)


def measured_at(
    image: NDArray[Any], calibration: Calibration, goniometer: Goniometer, where: dict[str, float]
) -> Calibration:
    """A refused calibration, with the rings that a motion says there are; without, if none are."""
    predicted = goniometer.geometry(**where)
    cone = Cone.of(predicted)
    surface = Surface(predicted.detector)
    known = _PIXELS * surface.pixel
    sigmas = (known, known, _STRETCH * abs(cone.distance), _TURN, _TURN)
    constraints: dict[str, Constraint] = {
        name: Prior(value, sigma)
        for name, value, sigma in zip(PARAMETERS, cone.parameters.tolist(), sigmas, strict=True)
    }
    try:
        found = refine(
            image, calibration.mask, surface, calibration.calibrant, calibration.wavelength, cone,
            constraints=constraints,
        )  # fmt: skip
    except CalibrationError:
        return replace(calibration, sectors=None)
    return replace(calibration, sectors=found.sectors, rings=found.rings)
