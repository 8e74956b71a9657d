"""From one image of a calibrant to the geometry, with no click and no starting guess.

Pieces of rings are found, the ways a detector may stand that keep angles along them even, and of
those the one whose rings are the calibrant's. It is refined on the pixels, examined, and judged.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from bluesky_azint.calibrants import Calibrant, ring_two_theta
from bluesky_azint.calibration.cone import Cone
from bluesky_azint.calibration.constraints import Constraint, check_constraints
from bluesky_azint.calibration.counting import photons
from bluesky_azint.calibration.indexing.candidates import Candidate, distinct, settle
from bluesky_azint.calibration.indexing.index import index
from bluesky_azint.calibration.indexing.matching import Reference
from bluesky_azint.calibration.indexing.pieces import sample
from bluesky_azint.calibration.indexing.search import distances_between, stands
from bluesky_azint.calibration.indexing.starts import likely_centres
from bluesky_azint.calibration.indexing.terrain import Terrain
from bluesky_azint.calibration.preparation import (
    as_frame,
    counts_of,
    detector_of,
    lasting_mask,
    lines_to_find,
    wavelength_of,
)
from bluesky_azint.calibration.refinement.diagnostics import diagnose
from bluesky_azint.calibration.refinement.refine import refine
from bluesky_azint.calibration.refinement.refinement import Refinement
from bluesky_azint.calibration.result import Calibration, Match
from bluesky_azint.calibration.rings.detection import detect, detect_grains
from bluesky_azint.calibration.rings.ridges import Arcs
from bluesky_azint.calibration.surface import Surface
from bluesky_azint.calibration.verdict import judge
from bluesky_azint.detectors import Detector
from bluesky_azint.errors import CalibrationError, RecipeError
from bluesky_azint.geometry import Geometry

FloatArray = NDArray[np.float64]
Progress = Callable[[str, float], None]

_STATED = 0.25  # relative error of a distance that is stated
_CONVINCING, _CONVINCING_LINES, _CONVINCING_FOREIGN = 12.0, 4, 0.4
_REFINED = 3  # candidates, at most
_SHADOWED = 0.005  # of the pixels: bad ones that are worth a second try without them
_NOTHING = (
    "No rings were found that a geometry could explain: look whether the calibrant is in the beam, at "
    "the exposure, the mask, the calibrant and the wavelength."
)
_NOT_WORSE = 6.0  # of a score: candidates that may be the right ones, too


def calibrate(
    image: ArrayLike,
    *,
    detector: str | Detector,
    calibrant: str | Calibrant = "CeO2",
    wavelength: float | None = None,
    energy_kev: float | None = None,
    mask: ArrayLike | None = None,
    distance: float | tuple[float, float] | None = None,
    geometry: Geometry | None = None,
    constraints: Mapping[str, Constraint] | None = None,
    progress: Progress | None = None,
) -> Calibration:
    """Find where a detector stands from one image of a calibrant.

    Parameters
    ----------
    image
        Counts, (rows, columns).
    detector
        Its name in the catalogue, or a detector.
    calibrant
        Its name in the catalogue, the path of a CIF or .D file, or its rings.
    wavelength, energy_kev
        One of them: in metres, or in keV.
    mask
        Of detector shape, True = masked: added to the detector's own, and to pixels without a count.
    distance
        From the sample to the detector in metres, right to 25 %, or its limits. Not needed.
    geometry
        Where the detector is thought to stand: the distance is looked for near that of it. Not
        needed.
    constraints
        What is known of parameters: fixed values, priors and bounds by name, see
        `bluesky_azint.calibration.constraints`.
    progress
        Called with what is being done, and the share of all that is done.

    Returns
    -------
    Calibration
        Whose verdict may be "refused": then its geometry is None.

    Raises
    ------
    FrameError
        If the image or the mask cannot be used.
    GeometryError, RecipeError
        If there is no such detector or calibrant, or what is told of the geometry is impossible.
    """
    started = time.perf_counter()
    tell = _rising(progress)
    frame = as_frame(image)
    known = detector_of(detector, frame)
    metres = wavelength_of(wavelength, energy_kev)
    limits = distance_limits(distance, geometry)
    check_constraints(constraints or {}, metres)
    counts, bad = counts_of(frame, known, mask)
    rings = lines_to_find(_calibrant(calibrant), metres)
    lasting, found = lasting_mask(frame, known, None if mask is None else np.asarray(mask, bool))
    job = Job(counts, bad, Surface(known), rings, metres, limits, geometry, dict(constraints or {}))
    calibration = _calibration(job, tell)
    if calibration.verdict == "refused" and (lasting & ~bad).mean() > _SHADOWED:
        # What the mask lacks may be what is in the way.
        calibration = _calibration(replace(job, mask=bad | lasting), tell)
    if calibration.verdict != "refused":
        calibration = replace(calibration, mask=lasting, bad_pixels=found)
    return replace(calibration, seconds=time.perf_counter() - started)


@dataclass(frozen=True, eq=False)
class Job:
    """What is to be calibrated."""

    image: NDArray[Any]
    mask: NDArray[np.bool_]
    surface: Surface
    calibrant: Calibrant
    wavelength: float
    distance: tuple[float, float] | None
    geometry: Geometry | None
    constraints: dict[str, Constraint]

    @property
    def tilt(self) -> tuple[float, float]:
        """The slopes to keep where the rings do not tell them."""
        if self.geometry is None:
            return 0.0, 0.0
        cone = Cone.of(self.geometry)
        return cone.tilt1, cone.tilt2


def distance_limits(
    distance: float | tuple[float, float] | None, geometry: Geometry | None
) -> tuple[float, float] | None:
    """Between which distances to look, in metres; None for anywhere.

    Raises
    ------
    RecipeError
        If the limits are none.
    """
    if distance is None and geometry is not None:
        distance = geometry.dist
    if distance is None:
        return None
    if np.ndim(distance) == 0:
        low, high = float(distance) * (1 - _STATED), float(distance) * (1 + _STATED)  # type: ignore[arg-type]
    else:
        low, high = map(float, distance)  # type: ignore[arg-type]
    if not 0 < low < high:
        raise RecipeError(
            f"The distance is to be between {low} m and {high} m; give a positive distance in "
            "metres, or a lower and a higher limit."
        )
    return low, high


def _rising(progress: Progress | None) -> Progress:
    """Tells of shares that never fall, though what did not succeed is begun again."""
    most = 0.0

    def tell(what: str, done: float) -> None:
        nonlocal most
        most = max(most, done)
        if progress is not None:
            progress(what, most)

    return tell


def _calibrant(calibrant: str | Calibrant) -> Calibrant:
    """A calibrant by name, from a file, or itself."""
    from bluesky_azint.io.calibrants import calibrant as any_calibrant

    return any_calibrant(calibrant)


def _calibration(job: Job, tell: Progress) -> Calibration:
    """Find, refine and judge."""
    refused = Calibration(
        verdict="refused",
        reasons=(),
        geometry=None,
        calibrant=job.calibrant,
        wavelength=job.wavelength,
        mask=job.mask,
    )
    candidates, best, refinement, trouble = _found(job, tell)
    if best is None:
        return replace(refused, reasons=(trouble,))
    match = _match(best, candidates)
    if refinement is None:
        candidate = best.cone(job.surface.size).geometry(job.surface, job.wavelength)
        return replace(refused, match=match, candidate=candidate, reasons=(trouble,))
    tell("Examining the geometry", 0.95)
    try:
        return _judged(job, match, refinement)
    except CalibrationError as error:
        return replace(refused, match=match, reasons=(str(error),))


def _found(
    job: Job, tell: Progress
) -> tuple[list[Candidate], Candidate | None, Refinement | None, str]:
    """Stands with numbers to their rings, the one that holds on the pixels, or why none does.

    Rings of single grains are looked for where continuous ones do not convince.
    """
    reference = _reference(job)
    terrain = Terrain.of(job.surface, ~job.mask)
    image = photons(job.image, ~job.mask)
    tell("Looking for rings", 0.02)
    candidates = _indexed(job, detect(image, job.mask), reference, terrain, tell)
    if candidates and _convincing(candidates[0]):
        best, refinement, trouble = _refined(job, candidates, tell)
        if refinement is not None:
            return candidates, best, refinement, trouble
    tell("Looking for rings of grains", 0.3)
    arcs = detect_grains(image, job.mask)
    more = _indexed(job, arcs, reference, terrain, tell)
    candidates = distinct([*candidates, *more], terrain)
    if not candidates:
        return [], None, None, _NOTHING
    return candidates, *_refined(job, candidates, tell)


def _reference(job: Job) -> Reference:
    """The lines to look for; Lorentz's factor makes outer rings weaker."""
    theta = job.calibrant.two_theta(job.wavelength)
    strength = np.array([ring.intensity for ring in job.calibrant.rings])
    others = ring_two_theta([ring.d for ring in job.calibrant.foreign], job.wavelength)
    return Reference(
        two_theta=theta,
        brightness=strength / (np.sin(0.5 * theta) * np.sin(theta)),
        others=others[np.isfinite(others)],
    )


def _indexed(
    job: Job, arcs: Arcs, reference: Reference, terrain: Terrain, tell: Progress
) -> list[Candidate]:
    if len(arcs) < 2:
        return []
    tell("Looking for the geometry", 0.15)
    coarse = sample(arcs, job.surface, arcs_used=100, points_used=900)
    pieces = sample(arcs, job.surface, arcs_used=400, points_used=4000)
    centres = likely_centres(arcs, job.surface)
    tried, scatter = stands(coarse, centres, distances_between(job.distance, job.surface.size))
    tell("Numbering the rings", 0.3)
    candidates = index(tried, scatter, coarse, pieces, reference, terrain)
    if job.geometry is not None:
        size = job.surface.size
        guess = Cone.of(job.geometry).parameters / [size, size, size, 1.0, 1.0]
        near = settle(pieces, guess, reference, terrain)
        candidates = distinct([*candidates, *([near] if near else [])], terrain)
    return candidates


def _convincing(candidate: Candidate) -> bool:
    return (
        candidate.score > _CONVINCING
        and candidate.matched >= _CONVINCING_LINES
        and candidate.unexplained < _CONVINCING_FOREIGN
    )


def _refined(
    job: Job, candidates: list[Candidate], tell: Progress
) -> tuple[Candidate, Refinement | None, str]:
    """The candidate that holds on the pixels, its refinement, or why there is none."""
    trouble = ""
    likely = [one for one in candidates if one.score > candidates[0].score - _NOT_WORSE]
    for number, candidate in enumerate(likely[:_REFINED]):
        first = 0.4 + 0.15 * number

        def partly(what: str, done: float, first: float = first) -> None:
            tell(what, first + done * (0.9 - first))

        try:
            refinement = refine(
                job.image,
                job.mask,
                job.surface,
                job.calibrant,
                job.wavelength,
                candidate.cone(job.surface.size),
                constraints=job.constraints,
                hold_tilt=job.tilt,
                progress=partly,
            )
        except CalibrationError as error:
            trouble = trouble or str(error)
            continue
        return candidate, refinement, ""
    return candidates[0], None, trouble


def _match(best: Candidate, candidates: list[Candidate]) -> Match:
    others = [one.score for one in candidates if one is not best]
    return Match(
        score=best.score,
        runner_up=max(others, default=0.0),
        matched=best.matched,
        expected=best.expected,
        unexplained=best.unexplained,
        foreign=best.foreign_rings,
    )


def _judged(job: Job, match: Match, refinement: Refinement) -> Calibration:
    diagnostics = diagnose(refinement)
    judgement = judge(match, refinement, diagnostics, job.distance)
    rot3 = job.geometry.rot3 if job.geometry is not None else 0.0
    geometry = refinement.cone.geometry(job.surface, refinement.wavelength, rot3)
    return Calibration(
        verdict=judgement.verdict,
        reasons=judgement.reasons,
        notes=judgement.notes,
        geometry=None if judgement.verdict == "refused" else geometry,
        candidate=geometry,
        calibrant=job.calibrant,
        wavelength=refinement.wavelength,
        mask=job.mask,
        covariance=refinement.covariance,
        jackknife=diagnostics.jackknife,
        beam_covariance=refinement.beam_covariance,
        beam_jackknife=diagnostics.beam_jackknife,
        residual_px=refinement.residual_px,
        residual_relative=diagnostics.residual_relative,
        held_out_px=diagnostics.held_out_px,
        floor_px=refinement.floor_px,
        ring_error_px=diagnostics.ring_error_px,
        detector_error_px=diagnostics.detector_error_px,
        rings=refinement.rings,
        sectors=refinement.sectors,
        match=match,
        wavelength_test=diagnostics.wavelength_test,
        distortion=diagnostics.distortion,
        fixed=refinement.fixed,
    )
