"""What a verdict means to whoever stands at the beamline, and what to do next."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from bluesky_azint.calibration.result import Calibration, Verdict

HEADLINES: dict[Verdict, tuple[str, str]] = {
    "accepted": ("Accepted", "This geometry can be used."),
    "review": ("Review", "Do not use this geometry before somebody has looked at it."),
    "refused": ("Refused", "There is no geometry to use."),
}

_DOUBTFUL = 4.0  # standard errors of the wavelength
_FOREIGN = 0.28  # share of the weight of all peaks
_VAGUE_PX = 0.5


_ACCEPTED = "Nothing needs to be done. Take a new image whenever the detector has moved."
_REVIEW = (
    "Look at the cake and at the residuals below: if the rings follow the lines and the residuals "
    "show no shape, accept the calibration; else take a new image."
)
_CANDIDATE = (
    "The lines in the pictures below belong to the best geometry that was found. It is for "
    "looking only. Remove the reason named here, and take a new image."
)
_SETTINGS = "Check the wavelength or the energy, and the detector's name and pixel size."
_EXPOSURE = (
    "If the rings are weak, expose longer; if the beam stop or another shadow is in the way, mask "
    "it; if the distance is known roughly, give it."
)


def next_steps(calibration: Calibration) -> list[str]:
    """What to do next, in sentences; the most urgent first."""
    steps = list(_suspicions(calibration))
    if calibration.verdict == "accepted":
        return [*steps, _ACCEPTED]
    if calibration.verdict == "review":
        return [*steps, _REVIEW]
    if calibration.candidate is not None:
        return [*steps, _CANDIDATE]
    name = calibration.calibrant.name
    look = f"Look at the frame below: are there rings, and is {name} in the beam?"
    return [*steps, look, _SETTINGS, _EXPOSURE]


def _suspicions(calibration: Calibration) -> Iterator[str]:
    """What the figures say by themselves."""
    if calibration.verdict == "accepted":
        return
    name = calibration.calibrant.name
    test = calibration.wavelength_test
    if test is not None and test.testable and abs(test.relative) > _DOUBTFUL * test.sigma:
        longer = "longer" if test.relative > 0 else "shorter"
        yield (
            f"The rings fit a wavelength that is {100 * abs(test.relative):.2f} % {longer}: check "
            f"the energy of the monochromator first, then whether the powder is {name}, then "
            "whether the detector needs a correction for distortion."
        )
    match = calibration.match
    if match is not None and match.unexplained > _FOREIGN:
        yield (
            f"{100 * match.unexplained:.0f} % of the weight of the peaks belong to no ring of "
            f"{name}: check that it is the right calibrant, and that nothing else is in the beam."
        )
    if calibration.verdict == "review" and _exceeds(calibration.detector_error_px, _VAGUE_PX):
        yield (
            f"Away from the rings the geometry may be wrong by {calibration.detector_error_px:.1f} "
            "pixels: use it only where rings were found, or take an image with more rings."
        )


def _exceeds(value: float, limit: float) -> bool:
    return bool(np.isfinite(value) and value > limit)
