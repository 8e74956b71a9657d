r"""The wavelength from images at several distances.

One image at small angles tells the ratio of wavelength and distance alone. A stage that moves the
detector by known lengths tells distances, and the calibrant's spacings are the truth that gives the
wavelength. The detector moves by :math:`s` along a straight line, as a rigid body:

.. math:: L = L_0 \pm s / n, \quad poni = poni_0 \pm s\, (v_1, v_2) / n, \quad
          n = \sqrt{1 + v_1^2 + v_2^2}

with the slopes of the stage against the normal of the detector, and constant rotations. So neither the zero of the stage, nor how it is aligned with the beam needs
to be known. (At wide angles the rings alone know the wavelength; then both must agree.)
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from bluesky_azint.attenuation import KEV_METRES
from bluesky_azint.calibration.cone import from_poni, to_poni
from bluesky_azint.calibration.joint.goniometers import GoniometerFit, fit_goniometer, motion_of
from bluesky_azint.calibration.result import Calibration, Verdict
from bluesky_azint.errors import RecipeError
from bluesky_azint.goniometer import Goniometer

FloatArray = NDArray[np.float64]

LARGEST_TILT_ERROR = np.deg2rad(0.5)
REFUSED_ABOVE, DOUBTED_ABOVE = 5e-3, 1e-3  # relative error of the wavelength
LARGEST_CORRECTION, LARGEST_SLOPE = 1.1, 0.3  # of the wavelength, and of the stage, to begin with
_SIGNIFICANT = 4.0  # errors
_LENGTH = "sqrt(1 + slide1**2 + slide2**2)"


@dataclass(frozen=True, eq=False, kw_only=True)
class EnergyFit:
    """A wavelength, found from images at several distances.

    Parameters
    ----------
    verdict
        "accepted", "review" (usable, but somebody must look), or "refused".
    reasons, notes
        Why it was not accepted, and what else a user must know, in sentences.
    wavelength
        In metres; NaN if refused.
    sigma, jackknife
        Its standard errors, in metres: from the errors of the ring places, and from leaving out
        one image each (NaN with fewer than three). The larger one is to be trusted.
    stage, stage_sigma
        The length that the stage moves when it says one metre, if the rings are asked for it
        beside the wavelength. At small angles they do not know, and the error is large.
    fit
        The motion of the detector along the stage, by its position in metres.
    """

    verdict: Verdict
    reasons: tuple[str, ...]
    notes: tuple[str, ...]
    wavelength: float
    sigma: float
    jackknife: float
    stage: float
    stage_sigma: float
    fit: GoniometerFit

    @property
    def accepted(self) -> bool:
        """Whether it can be used without anyone looking."""
        return self.verdict == "accepted"

    @property
    def energy_kev(self) -> float:
        """Photon energy in keV."""
        return KEV_METRES / self.wavelength

    @property
    def relative_error(self) -> float:
        """The larger error of the wavelength over the wavelength."""
        return float(np.fmax(self.sigma, self.jackknife) / self.wavelength)


def fit_distances(
    calibrations: Sequence[Calibration], positions: Sequence[float], *, motor: str = "pos"
) -> EnergyFit:
    """Find the wavelength from images of a calibrant at several distances.

    Parameters
    ----------
    calibrations
        Of the images, with a wavelength that is about right. At least two of them need a
        candidate; the others only sectors.
    positions
        Of the stage, in metres; where its zero is does not matter.
    motor
        Name of the stage.

    Raises
    ------
    RecipeError
        If there are not as many positions as images, or fewer than two different positions of
        images with a candidate.
    """
    if len(calibrations) != len(positions):
        raise RecipeError(
            f"There are {len(calibrations)} calibrations and {len(positions)} positions; give the "
            "position of every image."
        )
    start = _start(calibrations, positions, motor)
    where = [{motor: float(position)} for position in positions]
    sigmas = motion_of(calibrations, where, start).sigmas
    fixed, notes = [], []
    held = ["tilt" in calibration.fixed for calibration in calibrations if calibration.candidate]
    if all(held) or not max(sigmas["rot1"], sigmas["rot2"]) < LARGEST_TILT_ERROR:
        notes.append(
            "The tilt of the detector is not determined, as it is at small angles; it is left at "
            "that of the single images."
        )
        fixed = ["rot1", "rot2"]
    fit = fit_goniometer(calibrations, where, start, fixed=fixed)
    stage, stage_sigma = _stage(calibrations, where, fit)
    return _judged(fit, stage, stage_sigma, tuple(notes))


def _start(
    calibrations: Sequence[Calibration], positions: Sequence[float], motor: str
) -> Goniometer:
    """A straight line through the single calibrations."""
    found = [
        (calibration.candidate, float(position))
        for calibration, position in zip(calibrations, positions, strict=True)
        if calibration.candidate is not None
    ]
    if len({position for _, position in found}) < 2:
        raise RecipeError(
            "The wavelength cannot be found from images at one distance; give calibrations at two "
            "or more, the further apart the better."
        )
    at = np.array([position for _, position in found])
    stands = np.array([from_poni(geometry) for geometry, _ in found])
    slope, offset = np.polyfit(at, stands, 1)
    slope[3:], offset[3:] = 0.0, np.median(stands[:, 3:], axis=0)
    sign = -1.0 if slope[2] < 0 else 1.0
    # At small angles the distances are as wrong as the wavelength is. But a short way tells nothing.
    scale = float(np.clip(abs(slope[2]), 1 / LARGEST_CORRECTION, LARGEST_CORRECTION))
    slope[:2] = np.clip(slope[:2], -LARGEST_SLOPE, LARGEST_SLOPE)
    nominal = float(np.median([calibration.wavelength for calibration in calibrations]))
    dist, poni1, poni2, rot1, rot2 = to_poni(
        np.array([*offset[:2], offset[2] / scale, *offset[3:]])
    )
    beam = np.append(offset[3:], 1.0) / np.hypot(1.0, np.hypot(*offset[3:]))
    slide = (sign * slope[:2] - beam[:2]) / beam[2]
    plus = "+" if sign > 0 else "-"
    return Goniometer(
        detector=found[0][0].detector,
        positions=(motor,),
        parameters={
            "dist": float(dist),
            "poni1": float(poni1),
            "poni2": float(poni2),
            "rot1": float(rot1),
            "rot2": float(rot2),
            "slide1": float(slide[0]),
            "slide2": float(slide[1]),
            "wavelength": nominal * scale,
        },
        expressions={
            "dist": f"dist {plus} {motor} / {_LENGTH}",
            "poni1": f"poni1 {plus} {motor} * slide1 / {_LENGTH}",
            "poni2": f"poni2 {plus} {motor} * slide2 / {_LENGTH}",
            "rot1": "rot1",
            "rot2": "rot2",
            "wavelength": "wavelength",
        },
    )


def _stage(
    calibrations: Sequence[Calibration], where: Sequence[dict[str, float]], fit: GoniometerFit
) -> tuple[float, float]:
    """What the rings say of the length that the stage moves, and its error."""
    found = fit.candidate
    (motor,) = found.positions
    freed = replace(
        found,
        parameters={**found.parameters, "stage": 1.0},
        expressions={
            name: formula.replace(f" {motor} ", f" {motor} * stage ")
            for name, formula in found.expressions.items()
        },
    )
    fixed = [name for name in found.parameters if name not in fit.names]
    free = motion_of(calibrations, where, freed, fixed=fixed)
    return free.goniometer().parameters["stage"], free.sigmas["stage"]


def _judged(
    fit: GoniometerFit, stage: float, stage_sigma: float, notes: tuple[str, ...]
) -> EnergyFit:
    wavelength = fit.candidate.parameters["wavelength"]
    place = fit.names.index("wavelength")
    sigma, jackknife = fit.sigmas["wavelength"], float(fit.jackknife[place])
    error = float(np.fmax(sigma, jackknife)) / wavelength
    refusals, doubts = list(fit.reasons) if fit.verdict == "refused" else [], []
    if not error < REFUSED_ABOVE:
        refusals.append(
            f"The wavelength is known to {100 * error:.2g} % only; take images at distances "
            "that differ more, or expose longer."
        )
    elif error > DOUBTED_ABOVE:
        doubts.append(f"The wavelength is known to {100 * error:.2g} % only.")
    if fit.verdict == "review":
        doubts += fit.reasons
    off = abs(stage - 1.0)
    if off > _SIGNIFICANT * stage_sigma and off > DOUBTED_ABOVE:
        doubts.append(
            f"The rings alone have the stage move by {stage:.4f} of what it says: the unit of its "
            "positions, the calibrant, or the detector (a distortion) is not as assumed."
        )
    verdict: Verdict = "refused" if refusals else "review" if doubts else "accepted"
    return EnergyFit(
        verdict=verdict,
        reasons=(*refusals, *doubts),
        notes=notes,
        wavelength=np.nan if refusals else wavelength,
        sigma=sigma,
        jackknife=jackknife,
        stage=stage,
        stage_sigma=stage_sigma,
        fit=fit,
    )
