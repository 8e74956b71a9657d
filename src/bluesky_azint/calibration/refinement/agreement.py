"""Lines that disagree with the others: they are left out, one after the other."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from bluesky_azint.calibration.constraints import Constraint
from bluesky_azint.calibration.refinement.adjustment import Fit, Row, floor_of
from bluesky_azint.calibration.refinement.lines import Lines
from bluesky_azint.calibration.refinement.observations import Observations
from bluesky_azint.calibration.refinement.tilt import adjust_with_tilt
from bluesky_azint.calibration.surface import FloatArray
from bluesky_azint.errors import CalibrationError

_FEWEST = 8  # sectors
_DISAGREES, _SUSPICIOUS = 4.0, 1.5  # standard errors
_BETTER = 0.5  # times the floor: so much better a fit must be without a line that is suspicious
_PRECISE = 0.02  # pixels: no ring is held to more


def adjust_to_those_that_agree(
    lines: Lines,
    seen: Observations,
    wavelength: float,
    constraints: dict[str, Constraint],
    before: Fit | None,
    hold_tilt: tuple[float, float] = (0.0, 0.0),
) -> tuple[Fit, list[Row], NDArray[np.bool_]]:
    """The fit, what holds the tilt in it, and which lines it is of."""
    if len(seen) < _FEWEST:
        raise CalibrationError(
            f"Rings were found in {len(seen)} sectors only, within ten pixels of where they should "
            "be; look at the mask, the calibrant and the wavelength."
        )
    start = None if before is None else before.values
    two_theta = lines.two_theta[seen.line]

    def fitted(used: NDArray[np.bool_]) -> tuple[Fit, list[Row]]:
        return adjust_with_tilt(
            lines, seen, two_theta, wavelength, constraints, used[seen.line], start, hold_tilt
        )

    used = np.ones(len(lines), dtype=bool)
    fit, rows = fitted(used)
    while np.count_nonzero(used) > 3:
        deviation = _deviations(fit, seen.line, used)
        worst = int(np.where(used, deviation, 0.0).argmax())
        if deviation[worst] < _SUSPICIOUS:
            break
        # The fit has given way to a line that is wrong: only without it that shows in full.
        without = used.copy()
        without[worst] = False
        trial, trial_rows = fitted(without)
        agree = deviation[worst] < _DISAGREES and trial.floor > _BETTER * fit.floor
        if agree or _deviations(trial, seen.line, without)[worst] < _DISAGREES:
            break
        used, fit, rows = without, trial, trial_rows
    return fit, rows, used


def _deviations(fit: Fit, line: NDArray[np.intp], used: NDArray[np.bool_]) -> FloatArray:
    """How far lines are from where they should be, in standard errors of one of their sectors."""
    mean, sigma = mean_residuals(fit, line, len(used))
    deviation = np.zeros(len(used))
    for one in range(len(used)):
        others = used[line] & (line != one)
        floor = min(fit.floor, floor_of(fit.residual[others], fit.sigma[others], half=True))
        deviation[one] = abs(mean[one]) / np.hypot(sigma[one], max(floor, _PRECISE))
    return deviation


def mean_residuals(fit: Fit, line: NDArray[np.intp], count: int) -> tuple[FloatArray, FloatArray]:
    """Robust mean residuals of lines and their standard errors, in pixels."""
    error = np.sqrt(fit.sigma**2 + fit.floor**2)
    mean = np.zeros(count)
    for _ in range(5):
        off = np.abs(fit.residual - mean[line]) / error
        information = np.minimum(1.0, 3.0 / np.maximum(off, 1e-9)) / error**2
        total = np.maximum(np.bincount(line, information, count), 1e-12)
        mean = np.bincount(line, information * fit.residual, count) / total
    return mean, np.sqrt(1.0 / total)
