"""Several images in one fit: where a detector stands at every position of its motors.

A `Goniometer` says by formulas how a detector stands at each position; here its parameters are
fitted to the ring places of all images together. What no single image tells, many may: a frame with
one ring counts as any other.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from bluesky_azint.calibration.joint.motion import MotionFit, Positions, RingPlaces, rms
from bluesky_azint.calibration.result import Calibration, Verdict
from bluesky_azint.errors import RecipeError
from bluesky_azint.goniometer import Goniometer

FloatArray = NDArray[np.float64]

# The rules for a single image, where they mean something for several.
FEWEST_SECTORS = 16
LARGEST_RESIDUAL_PX = 0.45
LARGEST_RESIDUAL_FWHM = 0.16
LARGEST_ERROR_PX = 0.5
LARGEST_MEAN_PX = 0.1  # of an image, and so many of its errors:
SIGNIFICANT = 4.0
LARGEST_MISFIT = 2.0  # of one image, in errors of its sectors
FEWEST_FITTING = 0.7  # share of the sectors of an image


@dataclass(frozen=True, kw_only=True)
class ImageFit:
    """How an image agrees with the motion.

    Parameters
    ----------
    positions
        Where the motors stood.
    rings, sectors
        How many it has.
    used
        Share of the sectors that the motion was fitted to, 0 to 1.
    mean_px, rms_px
        Mean and root mean square of how far outside of their rings these lie, in pixels.
    misfit
        Their root mean square in standard errors, about 1 where all is well.
    """

    positions: dict[str, float]
    rings: int
    sectors: int
    used: float
    mean_px: float
    rms_px: float
    misfit: float


@dataclass(frozen=True, eq=False, kw_only=True)
class GoniometerFit:
    """The motion of a detector, fitted to several images.

    Parameters
    ----------
    verdict
        "accepted", "review" (usable, but somebody must look), or "refused".
    reasons
        Why it was not accepted, in sentences.
    goniometer
        The motion; None if refused.
    candidate
        The motion, refused or not.
    names
        The parameters that were fitted.
    covariance
        Of these, in this order: with the counts' errors and the floor.
    jackknife
        Their standard errors from fits that leave out one image each; NaN with fewer than three.
        Motors that do not repeat, and a distorted detector, show here.
    residual_px, floor_px
        Root mean square of the residuals, and the error of every sector beyond that of its counts.
    ring_error_px, detector_error_px
        The largest predicted error at a place of a ring, and anywhere on the detector, at the
        positions of the images.
    images
        What became of each image.
    """

    verdict: Verdict
    reasons: tuple[str, ...]
    goniometer: Goniometer | None
    candidate: Goniometer
    names: tuple[str, ...]
    covariance: FloatArray
    jackknife: FloatArray
    residual_px: float
    floor_px: float
    ring_error_px: float
    detector_error_px: float
    images: tuple[ImageFit, ...]

    @property
    def accepted(self) -> bool:
        """Whether it can be used without anyone looking."""
        return self.verdict == "accepted"

    @property
    def sigmas(self) -> dict[str, float]:
        """Standard errors of the parameters that were fitted, by name."""
        return dict(zip(self.names, np.sqrt(np.diag(self.covariance)).tolist(), strict=True))


def fit_goniometer(
    calibrations: Sequence[Calibration],
    positions: Sequence[Positions],
    start: Goniometer,
    *,
    fixed: Collection[str] = (),
) -> GoniometerFit:
    """Fit the parameters of a goniometer to the rings of several images.

    Parameters
    ----------
    calibrations
        Of the images; only their sectors count, so that also one that was refused may help. One
        without any is left out.
    positions
        Where the motors stood, for each image.
    start
        The formulas, and values of the parameters to begin with.
    fixed
        Names of parameters that stay as they are.

    Raises
    ------
    RecipeError
        If there are not as many positions as images, no image has sectors, or nothing is to be
        fitted.
    """
    return _judged(motion_of(calibrations, positions, start, fixed=fixed))


def motion_of(
    calibrations: Sequence[Calibration],
    positions: Sequence[Positions],
    start: Goniometer,
    *,
    fixed: Collection[str] = (),
) -> MotionFit:
    """The same as `fit_goniometer`, not judged."""
    if len(calibrations) != len(positions):
        raise RecipeError(
            f"There are {len(calibrations)} calibrations and {len(positions)} positions; give the "
            "position of every image."
        )
    names = tuple(name for name in start.parameters if name not in fixed)
    images = [
        RingPlaces(calibration, dict(where), start)
        for calibration, where in zip(calibrations, positions, strict=True)
        if calibration.sectors is not None and len(calibration.sectors)
    ]
    if not names or not images:
        raise RecipeError(
            f"{len(images)} images with rings and {len(names)} parameters to fit are too few; give "
            "calibrations with sectors, and leave some parameter free."
        )
    return MotionFit(images, start, names)


def _judged(fit: MotionFit) -> GoniometerFit:
    images = _images(fit)
    residual = rms(fit.residuals(fit.values)[fit.used])
    ring_error, detector_error = fit.errors_px()
    refusals = _refusals(fit, residual, ring_error)
    doubts = [doubt for image in images if (doubt := _doubt(image))]
    if not refusals and detector_error > LARGEST_ERROR_PX:
        doubts.append(
            f"Far from the rings the geometry is known to {detector_error:.2g} px only; take more "
            "positions."
        )
    verdict: Verdict = "refused" if refusals else "review" if doubts else "accepted"
    return GoniometerFit(
        verdict=verdict,
        reasons=(*refusals, *doubts),
        goniometer=None if refusals else fit.goniometer(),
        candidate=fit.goniometer(),
        names=fit.names,
        covariance=fit.covariance,
        jackknife=fit.jackknife(),
        residual_px=residual,
        floor_px=fit.floor,
        ring_error_px=ring_error,
        detector_error_px=detector_error,
        images=images,
    )


def _refusals(fit: MotionFit, residual: float, ring_error: float) -> list[str]:
    reasons = []
    if not np.isfinite(ring_error):
        reasons.append(
            f"The images do not determine {', '.join(fit.names)} together; take more positions, "
            "or fix some of them."
        )
    elif ring_error > LARGEST_ERROR_PX:
        reasons.append(
            f"Even where rings were found, they are known to {ring_error:.2g} px only; take more "
            "positions, or expose longer."
        )
    if fit.used.sum() < FEWEST_SECTORS:
        reasons.append(f"Only {fit.used.sum()} sectors of rings fit together; take more images.")
    widths = [width for image in fit.images for width in image.fwhm if np.isfinite(width)]
    largest = max(LARGEST_RESIDUAL_PX, LARGEST_RESIDUAL_FWHM * float(np.median(widths or [0.0])))
    if residual > largest:
        reasons.append(
            f"The rings lie {residual:.2f} px off on the average: the formulas do not describe how "
            "the detector moves, or the positions are not those of the images."
        )
    return reasons


def _doubt(image: ImageFit) -> str | None:
    where = ", ".join(f"{name} = {value:g}" for name, value in image.positions.items())
    if image.used < FEWEST_FITTING:
        return (
            f"Of the image at {where}, {100 * (1 - image.used):.0f} % of the sectors lie off: its "
            "position may not be right, or its rings belong to something else."
        )
    scatter = np.sqrt(max(image.rms_px**2 - image.mean_px**2, 0.0) / (image.sectors * image.used))
    if abs(image.mean_px) > max(LARGEST_MEAN_PX, SIGNIFICANT * scatter):
        return (
            f"The rings at {where} lie {image.mean_px:+.2f} px outwards on the average: the motor "
            "is not where it says, or does not move as the formulas say."
        )
    if image.misfit > LARGEST_MISFIT:
        return (
            f"The image at {where} lies {image.rms_px:.2f} px off, {image.misfit:.1f} times what "
            "it should: the motor does not move as the formulas say."
        )
    return None


def _images(fit: MotionFit) -> tuple[ImageFit, ...]:
    """What became of each image."""
    residuals = fit.residuals(fit.values)
    sigma = np.hypot(fit.counts, fit.floor)
    ends = np.cumsum([len(image.d) for image in fit.images])
    fits = []
    for image, end in zip(fit.images, ends, strict=True):
        part = slice(end - len(image.d), end)
        used = fit.used[part]
        inside = residuals[part][used]
        some = len(inside) > 0
        fits.append(
            ImageFit(
                positions=image.positions,
                rings=len(np.unique(image.ring)),
                sectors=len(used),
                used=float(used.mean()),
                mean_px=float(inside.mean()) if some else np.nan,
                rms_px=rms(inside) if some else np.nan,
                misfit=rms(inside / sigma[part][used]) if some else np.nan,
            )
        )
    return tuple(fits)
