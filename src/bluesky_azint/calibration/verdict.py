"""Whether a calibration can be trusted, and why not.

The figures are those of a study of simulated frames with known geometry, and of real ones: see
CALIBRATION.md. What refuses a geometry leaves it wrong or undetermined; what asks for a review
leaves it usable, but something is not as it was said to be.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from bluesky_azint.calibration.refinement.diagnostics import Diagnostics
from bluesky_azint.calibration.refinement.refinement import Refinement
from bluesky_azint.calibration.result import Match, RingFit, Verdict

_SCORE, _MARGIN = 7.0, 3.0
_RINGS, _RINGS_AT_KNOWN_DISTANCE = 3, 2
_SECTORS = 16
_UNEXPLAINED, _UNEXPLAINED_REVIEW = 0.65, 0.2
_MISSING = 0.3  # of the lines that should be seen
_RESIDUAL, _RESIDUAL_OF_WIDTH = 0.45, 0.16  # pixels, and of the width of the rings
_RING_MEANS, _RING_MEANS_OF_WIDTH = 0.25, 0.08
_RING_ERROR = 0.5  # pixels
_DISTANCE_ERROR = 5e-3
_FAR_ERROR = 0.5  # pixels, anywhere on the detector
_WAVELENGTH_SIGMAS, _WAVELENGTH = 4.0, 1.5e-3
_JACKKNIFE_SIGMAS, _JACKKNIFE = 5.0, 0.1  # of the centre: standard errors, and pixels
_SMOOTH_SIGMAS, _SMOOTH = 3.0, 0.015  # of what sectors side by side are off in common, and pixels
_ALIKE = 1.6  # times the width of the others: a ring that is wider is not measured well
_WELL, _WELL_SECTORS = 5.0, 8  # standard errors, and sectors, of a ring that is


@dataclass(frozen=True)
class Judgement:
    """A verdict with its reasons, and notes, in sentences."""

    verdict: Verdict
    reasons: tuple[str, ...]
    notes: tuple[str, ...]


def judge(
    match: Match,
    refinement: Refinement,
    diagnostics: Diagnostics,
    distance: tuple[float, float] | None,
) -> Judgement:
    """Judge a calibration.

    Parameters
    ----------
    match
        How convincing the numbers of the rings are.
    refinement, diagnostics
        The geometry, and how far it can be trusted.
    distance
        Limits that were given for it, in metres.
    """
    refusals = [
        *_unconvincing(match),
        *_too_few(refinement, distance),
        *_too_far_off(refinement),
        *_undetermined(refinement, diagnostics),
        *_out_of_limits(refinement, distance),
    ]
    doubts = [
        *_foreign(match, refinement),
        *_inconsistent(diagnostics),
        *_distorted(refinement, diagnostics),
    ]
    notes = tuple(_notes(refinement, diagnostics))
    if refusals:
        return Judgement("refused", (*refusals, *doubts), notes)
    return Judgement("review" if doubts else "accepted", tuple(doubts), notes)


def _unconvincing(match: Match) -> list[str]:
    reasons = []
    if match.score < _SCORE:
        reasons.append(
            f"The rings found do not go together with the calibrant (score {match.score:.1f}, needed "
            f"{_SCORE:g}): look at the calibrant and the wavelength."
        )
    if match.score - match.runner_up < _MARGIN:
        reasons.append(
            f"Another geometry explains the rings about as well (scores {match.score:.1f} and "
            f"{match.runner_up:.1f}): state the distance, or take an image with more rings."
        )
    if match.unexplained > _UNEXPLAINED:
        reasons.append(
            f"{match.unexplained:.0%} of the rings found are none of the calibrant: look whether it "
            "is the one that was in the beam."
        )
    missing = match.expected - match.matched
    if match.expected and missing / match.expected > _MISSING:
        reasons.append(
            f"{missing} of the {match.expected} rings that should be seen are not there: look at the "
            "calibrant and the wavelength."
        )
    return reasons


def _too_few(refinement: Refinement, distance: tuple[float, float] | None) -> list[str]:
    rings = sum(ring.used for ring in refinement.rings)
    sectors = int(refinement.sectors.used.sum())
    needed = _RINGS if distance is None else _RINGS_AT_KNOWN_DISTANCE
    if rings < needed or sectors < _SECTORS:
        return [
            (
                f"There are {rings} usable rings in {sectors} sectors; {needed} rings in {_SECTORS} "
                "sectors are needed. Expose longer, or bring more rings onto the detector."
            )
        ]
    return []


def _too_far_off(refinement: Refinement) -> list[str]:
    used = [ring for ring in refinement.rings if ring.used]
    width = float(np.median([ring.fwhm_px for ring in used])) if used else 0.0
    means = np.sqrt(np.mean([ring.mean_px**2 for ring in used])) if used else 0.0
    reasons = []
    if refinement.residual_px > max(_RESIDUAL, _RESIDUAL_OF_WIDTH * width):
        reasons.append(
            f"The rings lie {refinement.residual_px:.2f} px (rms) from where the best geometry has "
            "them: they are not those of the calibrant, or the detector is distorted."
        )
    if means > max(_RING_MEANS, _RING_MEANS_OF_WIDTH * width):
        reasons.append(
            f"Whole rings are {means:.2f} px (rms) too large or too small: the calibrant or the "
            "wavelength is another one, or the detector is distorted."
        )
    rings = len(used) + len(_disagreeing(refinement.rings))
    if len(used) * 2 < rings:
        reasons.append(
            f"Only {len(used)} of {rings} rings agree with one geometry: look at the "
            "calibrant and the wavelength."
        )
    return reasons


def _undetermined(refinement: Refinement, diagnostics: Diagnostics) -> list[str]:
    relative = float(np.sqrt(refinement.beam_covariance[2, 2])) / abs(refinement.cone.distance)
    reasons = []
    if diagnostics.ring_error_px > _RING_ERROR:
        reasons.append(
            f"The rings tell where they are to {diagnostics.ring_error_px:.1f} px only: expose "
            "longer, or bring more rings onto the detector."
        )
    if relative > _DISTANCE_ERROR:
        reasons.append(
            f"The rings tell the distance to {relative:.1%} only: expose longer, or bring rings of "
            "larger angles onto the detector."
        )
    return reasons


def _out_of_limits(refinement: Refinement, distance: tuple[float, float] | None) -> list[str]:
    if distance is None:
        return []
    found = refinement.cone.geometry(refinement.surface, refinement.wavelength).dist
    if distance[0] <= found <= distance[1]:
        return []
    return [
        (
            f"The rings ask for a distance of {found:.4g} m, which is not between the "
            f"{distance[0]:.4g} m and {distance[1]:.4g} m that were stated: look at the distance, the "
            "wavelength and the calibrant."
        )
    ]


def _foreign(match: Match, refinement: Refinement) -> list[str]:
    reasons = []
    if match.unexplained > _UNEXPLAINED_REVIEW:
        reasons.append(
            f"{match.unexplained:.0%} of the rings found are none of the calibrant: something else "
            "was in the beam, or the calibrant is not pure."
        )
    elif match.foreign:
        reasons.append(
            f"Rings of something else are as complete as those of the calibrant ({match.foreign} of "
            "them): something else was in the beam, or the calibrant is not pure."
        )
    if disagreeing := _disagreeing(refinement.rings):
        reasons.append(
            f"The rings {_names(disagreeing)} disagree with the others and were left out: another "
            "phase may lie under them, or the detector is distorted."
        )
    return reasons


def _disagreeing(rings: Sequence[RingFit]) -> list[RingFit]:
    """Rings that were left out though they are well measured."""
    width = np.median([ring.fwhm_px for ring in rings if ring.used] or [np.inf])
    return [
        ring
        for ring in rings
        if not ring.used
        and ring.sectors >= _WELL_SECTORS
        and ring.fwhm_px < _ALIKE * width
        and abs(ring.mean_px) > _WELL * ring.sigma_px
    ]


def _names(rings: Sequence[RingFit]) -> str:
    names = ", ".join(" ".join(map(str, ring.ring.hkl)) for ring in rings[:5])
    return names + (f" and {len(rings) - 5} more" if len(rings) > 5 else "")


def _inconsistent(diagnostics: Diagnostics) -> list[str]:
    test = diagnostics.wavelength_test
    significant = abs(test.relative) > max(_WAVELENGTH_SIGMAS * test.sigma, _WAVELENGTH)
    if test.testable and significant:
        return [
            (
                f"The rings would fit better at a wavelength {test.relative:+.2%} (+- {100 * test.sigma:.1g}%) "
                "from the stated one: the wavelength, the lattice of the calibrant or the shape of the "
                "detector is another one; one image does not tell which."
            )
        ]
    return []


def _distorted(refinement: Refinement, diagnostics: Diagnostics) -> list[str]:
    reasons = []
    statistical = np.sqrt(np.diag(refinement.beam_covariance))[:2] / refinement.surface.pixel
    spread = np.asarray(diagnostics.beam_jackknife)[:2] / refinement.surface.pixel
    if ((spread > _JACKKNIFE_SIGMAS * statistical) & (spread > _JACKKNIFE)).any():
        reasons.append(
            f"Parts of the detector disagree about the centre of the beam by {spread.max():.2f} px, "
            f"with an error of {statistical.max():.3f} px from the counts: the detector is distorted, "
            "or the mask lacks something."
        )
    smooth = diagnostics.distortion
    if smooth.smooth_sigmas > _SMOOTH_SIGMAS and smooth.smooth_px > _SMOOTH:
        reasons.append(
            f"Sectors side by side are off by {smooth.smooth_px:.2f} px in common, which shifts of "
            "modules do not explain: the detector is distorted, or the wavelength is another one."
        )
    return reasons


def _notes(refinement: Refinement, diagnostics: Diagnostics) -> list[str]:
    notes = list(refinement.fixed.values())
    disagreeing = _disagreeing(refinement.rings)
    if weak := [ring for ring in refinement.rings if not ring.used and ring not in disagreeing]:
        notes.append(f"The rings {_names(weak)} are too weak to be used.")
    test = diagnostics.wavelength_test
    if not test.testable:
        notes.append(
            "The wavelength cannot be verified by these rings: any error of it is an error of the "
            "distance."
        )
    if diagnostics.detector_error_px > _FAR_ERROR:
        notes.append(
            f"Far from the rings found, places on the detector are known to "
            f"{diagnostics.detector_error_px:.1f} px only."
        )
    return notes
