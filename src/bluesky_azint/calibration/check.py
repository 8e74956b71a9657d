r"""Whether a geometry still is right: how far rings lie from where it has them.

The geometry is refined from where it stands. If that cannot be trusted, since the detector has
moved by more than the width of a search, the detector is calibrated from nothing. Either way there
is a second geometry, and the shift is how far it moves the rings: not PONI by PONI, for these
numbers hide each other, but place by place,

.. math:: \Delta = 2\theta_\mathrm{new}(p) - 2\theta_\mathrm{given}(p), \qquad
    \Delta q / q = \Delta / (2 \tan\theta)
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from bluesky_azint.calibrants import Calibrant, ring_two_theta
from bluesky_azint.calibration.calibrate import calibrate
from bluesky_azint.calibration.cone import Cone, two_theta_and_jacobian
from bluesky_azint.calibration.preparation import (
    as_frame,
    counts_of,
    detector_of,
    lines_to_find,
)
from bluesky_azint.calibration.refinement.diagnostics import diagnose
from bluesky_azint.calibration.refinement.lines import lines_on
from bluesky_azint.calibration.refinement.refine import refine
from bluesky_azint.calibration.refinement.refinement import Refinement
from bluesky_azint.calibration.result import Calibration, RingFit, Sectors, WavelengthTest
from bluesky_azint.calibration.surface import FloatArray, Surface
from bluesky_azint.errors import CalibrationError, GeometryError, RecipeError
from bluesky_azint.geometry import Geometry

Judgement = Literal["good", "drifted", "refused"]

_SIGNIFICANT, _INSIDE = 3.0, 2.0  # standard errors
_FEWEST_RINGS, _FEWEST_SECTORS = 3, 16
_SEEN = 0.4  # of the strength of the rings on the detector
_RESIDUAL, _RESIDUAL_OF_WIDTH = 0.45, 0.16  # pixels, and share of the width of rings
_RING_ERROR = 0.5  # pixels
_WAVELENGTH, _WAVELENGTH_SIGMAS = 1.5e-3, 4.0


@dataclass(frozen=True, eq=False, kw_only=True)
class GeometryCheck:
    """How a geometry agrees with an image of rings.

    Parameters
    ----------
    verdict
        "good", "drifted" (the rings are elsewhere), or "refused" (the image does not tell).
    reasons
        Why it is not good, in sentences.
    notes
        What else a user must know, in sentences.
    geometry
        The one that was checked.
    refitted
        The one that the image tells; None if refused.
    calibrant
        The rings that were looked for.
    mask
        Pixels left out, of detector shape, True = masked.
    residual_px, refitted_px
        Root mean square of how far rings are from where the one and the other geometry has them.
    shift_px, shift_relative
        Root mean square of the way the rings move from the one geometry to the other, in pixels
        and of :math:`\\Delta q / q`.
    shift_sigma_px
        The largest predicted error of that.
    centre_shift_px
        How far the centre of the beam moves, along the slow and the fast axis.
    distance_shift
        Relative change of the distance along the beam.
    tolerance_px
        The shift that is let pass.
    rings, sectors
        How the rings agree with the geometry that was checked.
    wavelength_test
        See there.
    """

    verdict: Judgement
    reasons: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    geometry: Geometry
    refitted: Geometry | None = None
    calibrant: Calibrant
    mask: NDArray[np.bool_]
    residual_px: float = np.nan
    refitted_px: float = np.nan
    shift_px: float = np.nan
    shift_relative: float = np.nan
    shift_sigma_px: float = np.nan
    centre_shift_px: tuple[float, float] = (np.nan, np.nan)
    distance_shift: float = np.nan
    tolerance_px: float
    rings: tuple[RingFit, ...] = ()
    sectors: Sectors | None = None
    wavelength_test: WavelengthTest | None = None

    @property
    def good(self) -> bool:
        """Whether the geometry can be used on."""
        return self.verdict == "good"

    def as_calibration(self) -> Calibration:
        """The same as what a calibration that found the checked geometry would be, to draw it."""
        verdicts: dict[Judgement, Literal["accepted", "review", "refused"]] = {
            "good": "accepted",
            "drifted": "review",
            "refused": "refused",
        }
        return Calibration(
            verdict=verdicts[self.verdict],
            reasons=self.reasons,
            notes=self.notes,
            geometry=None if self.verdict == "refused" else self.geometry,
            candidate=self.geometry,
            calibrant=self.calibrant,
            wavelength=self.geometry.wavelength or np.nan,
            mask=self.mask,
            residual_px=self.residual_px,
            ring_error_px=self.shift_sigma_px,
            rings=self.rings,
            sectors=self.sectors,
            wavelength_test=self.wavelength_test,
        )


@dataclass(frozen=True, eq=False, kw_only=True)
class _Found:
    """What the image tells, however it was found."""

    geometry: Geometry
    residual_px: float
    floor_px: float
    ring_error_px: float
    rings: tuple[RingFit, ...]
    sectors: Sectors
    wavelength_test: WavelengthTest | None
    notes: tuple[str, ...] = ()


def check_geometry(
    image: ArrayLike,
    geometry: Geometry,
    calibrant: str | Calibrant = "CeO2",
    *,
    mask: ArrayLike | None = None,
    tolerance_px: float = 0.2,
    progress: Callable[[str, float], None] | None = None,
) -> GeometryCheck:
    """Compare a geometry, made by whatever program, with an image of a calibrant.

    Rings do not tell rot3, which is taken for granted.

    Parameters
    ----------
    image
        Of detector shape.
    geometry
        With a wavelength.
    calibrant
        Its name in the catalogue, the path of a CIF or .D file, or its rings.
    mask
        Of detector shape, True = masked: added to the detector's own, and to pixels without a count.
    tolerance_px
        The shift of the rings, in pixels, from which on the detector has drifted. Real detectors
        are not regular to better than about 0.1 pixels.
    progress
        Called with what is being done, and the share that is done.

    Raises
    ------
    FrameError
        If the image or the mask cannot be used.
    GeometryError
        If the geometry has no wavelength, or corrects for parallax.
    RecipeError
        If there is no such calibrant, it has no rings at this wavelength, or the tolerance is not
        positive and finite.
    """
    from bluesky_azint.io.calibrants import calibrant as any_calibrant

    if not 0 < tolerance_px < np.inf:
        raise RecipeError(
            f"The tolerance is {tolerance_px} px; it must be a positive number of pixels."
        )
    calibrant = any_calibrant(calibrant)
    frame = as_frame(image)
    geometry = replace(_usable(geometry), detector=detector_of(geometry.detector, frame))
    surface = Surface(geometry.detector)
    counts, bad = counts_of(frame, geometry.detector, mask)
    check = GeometryCheck(
        verdict="refused",
        geometry=geometry,
        calibrant=lines_to_find(calibrant, geometry.wavelength or np.nan),
        mask=bad,
        tolerance_px=tolerance_px,
    )
    found = _refined(check, surface, counts, progress)
    if isinstance(found, str):
        calibration = calibrate(
            frame,
            detector=geometry.detector,
            calibrant=calibrant,
            wavelength=geometry.wavelength,
            mask=mask,
            progress=progress,
        )
        if calibration.geometry is None or calibration.sectors is None:
            return replace(check, reasons=(found, *calibration.reasons))
        check = replace(check, notes=(found, *calibration.reasons, *calibration.notes))
        found = _of_calibration(calibration.geometry, calibration.sectors, calibration)
    return _judged(_compared(check, surface, found))


def _usable(geometry: Geometry) -> Geometry:
    """The geometry, if it tells where rings are."""
    if geometry.wavelength is None:
        raise GeometryError(
            "The geometry has no wavelength, so it does not tell where rings are; set one with "
            "dataclasses.replace(geometry, wavelength=...)."
        )
    if geometry.parallax:
        raise GeometryError(
            "The geometry corrects for parallax, which the rings are not fitted with; check it "
            "without, with dataclasses.replace(geometry, parallax=False)."
        )
    return geometry


def _refined(
    check: GeometryCheck,
    surface: Surface,
    image: NDArray[Any],
    progress: Callable[[str, float], None] | None,
) -> _Found | str:
    """What is found near the geometry; or why that cannot be trusted."""
    geometry = check.geometry
    start, wavelength = Cone.of(geometry), geometry.wavelength or np.nan
    try:
        refined = refine(
            image, check.mask, surface, check.calibrant, wavelength, start,
            hold_tilt=(start.tilt1, start.tilt2), progress=progress,
        )  # fmt: skip
        told = diagnose(refined)
    except CalibrationError as error:
        return f"Near the geometry nothing can be refined: {error}"
    if doubt := _doubt(refined, told.ring_error_px):
        return f"A refinement from the geometry cannot be trusted: {doubt}"
    return _Found(
        geometry=refined.cone.geometry(surface, wavelength, geometry.rot3),
        residual_px=refined.residual_px,
        floor_px=refined.floor_px,
        ring_error_px=told.ring_error_px,
        rings=refined.rings,
        sectors=refined.sectors,
        wavelength_test=told.wavelength_test,
        notes=(refined.fixed["tilt"],) if "tilt" in refined.fixed else (),
    )


def _doubt(refined: Refinement, ring_error_px: float) -> str:
    """Why a refinement cannot be trusted; empty if it can."""
    used = [ring for ring in refined.rings if ring.used]
    sectors = int(refined.sectors.used.sum())
    width = float(np.median([ring.fwhm_px for ring in used])) if used else 0.0
    if len(used) < _FEWEST_RINGS or sectors < _FEWEST_SECTORS:
        return f"it has {len(used)} rings in {sectors} sectors."
    visible = lines_on(refined.surface, refined.cone, refined.calibrant, refined.wavelength).ring
    expected = sum(refined.calibrant.rings[ring].intensity for ring in visible)
    # Some rings are always near some others: a few weak ones prove nothing.
    if sum(one.ring.intensity for one in used) < _SEEN * expected:
        return f"it has {len(used)} of {len(visible)} rings, and not the strong ones."
    if refined.residual_px > max(_RESIDUAL, _RESIDUAL_OF_WIDTH * width):
        return f"its residual is {refined.residual_px:.2f} px."
    if ring_error_px > _RING_ERROR:
        return f"it tells where the rings are to {ring_error_px:.2f} px only."
    return ""


def _of_calibration(geometry: Geometry, sectors: Sectors, calibration: Calibration) -> _Found:
    floor = calibration.floor_px
    return _Found(
        geometry=geometry,
        residual_px=calibration.residual_px,
        floor_px=floor if np.isfinite(floor) else 0.0,
        ring_error_px=calibration.ring_error_px,
        rings=calibration.rings,
        sectors=sectors,
        wavelength_test=calibration.wavelength_test,
    )


def _compared(check: GeometryCheck, surface: Surface, found: _Found) -> GeometryCheck:
    """The check with its figures."""
    given, new = Cone.of(check.geometry), Cone.of(found.geometry)
    sectors = found.sectors
    places = surface.at(sectors.row, sectors.column)
    two_theta, jacobian = two_theta_and_jacobian(given.parameters, places)
    per_pixel = surface.pixel * np.hypot(jacobian[:, 0], jacobian[:, 1])
    expected = ring_two_theta(check.calibrant.d, check.geometry.wavelength or np.nan)
    residual = (two_theta - expected[sectors.ring]) / per_pixel
    moved = new.two_theta(places) - two_theta
    weight = sectors.used / (sectors.sigma_px**2 + found.floor_px**2)
    centre1, centre2 = (
        (after - before) / size
        for after, before, size in (
            (new.centre1, given.centre1, surface.detector.pixel1),
            (new.centre2, given.centre2, surface.detector.pixel2),
        )
    )
    return replace(
        check,
        refitted=found.geometry,
        residual_px=_rms(residual, weight),
        refitted_px=found.residual_px,
        shift_px=_rms(moved / per_pixel, weight),
        shift_relative=_rms(0.5 * moved / np.tan(0.5 * two_theta), weight),
        shift_sigma_px=found.ring_error_px,
        centre_shift_px=(centre1, centre2),
        distance_shift=new.distance / given.distance - 1.0,
        rings=_rings(check.calibrant, found, residual),
        sectors=replace(sectors, two_theta=two_theta, chi=given.chi(places), residual_px=residual),
        wavelength_test=found.wavelength_test,
        notes=(*check.notes, *found.notes),
    )


def _rms(values: FloatArray, weight: FloatArray) -> float:
    return float(np.sqrt(np.average(values**2, weights=weight)))


def _rings(calibrant: Calibrant, found: _Found, residual: FloatArray) -> tuple[RingFit, ...]:
    """How each ring agrees with the geometry that was checked."""
    sectors = found.sectors
    variance = sectors.sigma_px**2 + found.floor_px**2
    rings = []
    for fit in found.rings:
        mine = sectors.ring == calibrant.rings.index(fit.ring)
        if fit.used:
            mine &= sectors.used
        weight = 1.0 / variance[mine]
        rings.append(
            replace(
                fit,
                mean_px=float(np.average(residual[mine], weights=weight)),
                sigma_px=float(np.sqrt(1.0 / weight.sum())),
                rms_px=float(np.sqrt(np.mean(residual[mine] ** 2))),
            )
            if mine.any()
            else fit
        )
    return tuple(rings)


def _judged(check: GeometryCheck) -> GeometryCheck:
    """The check with its verdict."""
    doubt = _wavelength_doubt(check.wavelength_test)
    sigma, tolerance = np.nan_to_num(check.shift_sigma_px), check.tolerance_px
    noise = _SIGNIFICANT * sigma
    if check.shift_px > max(tolerance, noise):
        slow, fast = check.centre_shift_px
        shift = (
            f"The rings are {check.shift_px:.2f} px ({check.shift_relative * 1e6:.0f} ppm) from "
            f"where the geometry has them: the centre of the beam has moved by {slow:.2f} px along "
            f"the slow and {fast:.2f} px along the fast axis, the distance by "
            f"{check.distance_shift * 1e6:.0f} ppm. Calibrate the detector again."
        )
        return replace(check, verdict="drifted", reasons=(shift, *doubt))
    if noise > tolerance and check.shift_px + _INSIDE * sigma > tolerance:
        blind = (
            f"The image does not tell shifts of less than {noise:.2f} px, and {tolerance:g} px are "
            "tolerated: expose it for longer, or tolerate more."
        )
        return replace(check, verdict="refused", reasons=(blind, *doubt), refitted=None)
    return replace(check, verdict="good", notes=(*check.notes, *doubt))


def _wavelength_doubt(test: WavelengthTest | None) -> tuple[str, ...]:
    """What the rings say against the wavelength: no drift, if they are where they should be."""
    if test is None or not test.testable:
        return ()
    if abs(test.relative) <= max(_WAVELENGTH, _WAVELENGTH_SIGMAS * test.sigma):
        return ()
    doubt = (
        f"The rings ask for a wavelength that is {100 * abs(test.relative):.2f} % "
        f"{'longer' if test.relative > 0 else 'shorter'}, for another calibrant, or for a "
        "correction of the detector's distortion."
    )
    return (doubt,)
