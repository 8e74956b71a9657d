"""From a geometry that is right to a few pixels to the one that the image tells.

A first look finds the rings and their widths. Then every ring is fitted in sectors, the geometry to
all sectors, and again with the pixels that are near the rings of the better geometry. What the
image does not tell stays as it was, and that is said.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bluesky_azint.calibrants import Calibrant
from bluesky_azint.calibration.cone import Cone, to_poni_jacobian
from bluesky_azint.calibration.constraints import (
    Constraint,
    Fixed,
    Prior,
    check_constraints,
)
from bluesky_azint.calibration.refinement.adjustment import Fit, Row, adjust, floor_of
from bluesky_azint.calibration.refinement.approach import approach
from bluesky_azint.calibration.refinement.lines import Lines, lines_on
from bluesky_azint.calibration.refinement.observations import Observations
from bluesky_azint.calibration.refinement.sampling import Sampler, unsaturated
from bluesky_azint.calibration.refinement.sectors import measure
from bluesky_azint.calibration.result import RingFit, Sectors
from bluesky_azint.calibration.surface import FloatArray, Surface
from bluesky_azint.errors import CalibrationError

_FEWEST = 8  # sectors
_FEW = 24  # sectors of a line that do for the first pass
_SETTLED = 0.03  # pixels: a pass that moves the rings no farther is the last
_SETTLED_WIDTH = 0.1  # the same, for the logarithm of their widths
_TILT = np.deg2rad(1.0)
_TOLD = 0.03  # of the width: a ring that moves less does not tell the tilt
_TOLD_PLAINLY, _TOLD_PIXELS = (
    5.0,
    0.03,
)  # times the floor, and pixels: a ring that moves so far does
_SAME_TILT = {"tilt1", "rot2"}, {"tilt2", "rot1"}
_TILT_ERROR = np.deg2rad(0.1)  # as long as the tilt is known so well
_NEEDS = 1.5  # times the residual: a tilt that makes so much of a difference is there
_DISAGREES, _SUSPICIOUS = 4.0, 1.5  # standard errors
_BETTER = 0.5  # times the floor: so much better a fit must be without a line that is suspicious
_PRECISE = 0.02  # pixels: no ring is held to more
_SHARP = 1e-9


@dataclass(frozen=True, eq=False, kw_only=True)
class Refinement:
    """A refined geometry.

    Parameters
    ----------
    surface, calibrant
        Of what.
    wavelength, first_wavelength
        In metres; the one it began with is another only where it had a prior.
    cone
        How the detector stands.
    beam_covariance
        Of (centre1, centre2, distance, tilt1, tilt2), and the wavelength where it was refined.
    covariance
        Of (dist, poni1, poni2, rot1, rot2), and the wavelength where it was refined.
    floor_px
        The error of every sector beyond that of its counts.
    residual_px, residual_relative
        Root mean squares of the residuals, weighted by their errors, in pixels and of dq / q.
    sectors, rings
        See there.
    fixed
        Parameters that were not refined, and why, in sentences.
    lines, seen, fit, rows, constraints
        What diagnostics start from.
    """

    surface: Surface
    calibrant: Calibrant
    wavelength: float
    first_wavelength: float
    cone: Cone
    beam_covariance: FloatArray
    covariance: FloatArray
    floor_px: float
    residual_px: float
    residual_relative: float
    sectors: Sectors
    rings: tuple[RingFit, ...]
    fixed: dict[str, str]
    lines: Lines
    seen: Observations
    fit: Fit
    constraints: dict[str, Constraint]
    rows: list[Row] = field(default_factory=list)

    @property
    def two_theta(self) -> FloatArray:
        """Angles of the lines of the sectors, at the wavelength that the fit began with."""
        angles: FloatArray = self.lines.two_theta[self.seen.line]
        return angles

    @property
    def used(self) -> NDArray[np.bool_]:
        """Whether the ring of a sector was fitted to."""
        return np.array([ring.used for ring in self.rings])[self.seen.line]

    @property
    def free(self) -> int:
        """Number of parameters, the wavelength one of them only if it was refined."""
        return len(self.beam_covariance)


def refine(
    image: NDArray[Any],
    mask: NDArray[np.bool_],
    surface: Surface,
    calibrant: Calibrant,
    wavelength: float,
    start: Cone,
    *,
    constraints: Mapping[str, Constraint] | None = None,
    passes: int = 4,
    progress: Callable[[str, float], None] | None = None,
) -> Refinement:
    """Fit the geometry to an image.

    Parameters
    ----------
    image
        Of detector shape.
    mask
        True = pixels that do not count.
    surface
        Where pixels lie.
    calibrant
        Whose rings they are.
    wavelength
        In metres.
    start
        A stand that is right to a few pixels.
    constraints
        By name, see `bluesky_azint.calibration.constraints`.
    passes
        How often at most the pixels are fitted.
    progress
        Called with what is being done, and the share that is done.

    Raises
    ------
    CalibrationError
        If there are no rings near where they should be, or too few.
    RecipeError
        If the constraints are wrong.
    """
    constraints = dict(constraints or {})
    check_constraints(constraints)
    tell = progress or (lambda what, done: None)
    known = constraints.get("wavelength")
    if isinstance(known, Fixed):
        wavelength = known.value
    sampler = Sampler(image, unsaturated(image, ~mask), surface)
    tell("Looking for the rings", 0.0)
    lines, seen, absent = approach(sampler, start, lines_on(surface, start, calibrant, wavelength))
    lines = lines.alike()
    fit, rows, _ = _fitted(lines, seen, wavelength, constraints, None)
    among, before, used = None, fit, np.ones(len(lines), dtype=bool)
    for turn in range(passes):
        tell("Refining", (turn + 1) / (passes + 1))
        cone = before.cone
        now = lines_on(surface, cone, calibrant, wavelength)
        others = now[~np.isin(now.ring, np.concatenate([lines.ring, absent]))]
        lines = _placed(lines, now)
        width, few = dict(zip(lines.ring, lines.fwhm, strict=True)), _FEW if turn == 0 else None
        lines, seen, among = measure(sampler, cone, lines, others, among, few)
        lines = lines.alike()
        fit, rows, used = _fitted(lines, seen, wavelength, constraints, before)
        settled = all(
            abs(np.log(one / width[ring])) < _SETTLED_WIDTH
            for ring, one in zip(lines.ring, lines.fwhm, strict=True)
        )
        if turn > 0 and settled and _moved(before, fit) < _SETTLED:
            break
        before = fit
    tell("Refining", 1.0)
    return _told(surface, calibrant, wavelength, lines, seen, fit, rows, used, constraints)


def _placed(lines: Lines, now: Lines) -> Lines:
    """Lines as they are on the detector now, with the widths they had."""
    chosen = np.isin(now.ring, lines.ring)
    had = np.isin(lines.ring, now.ring)
    return replace(
        now[chosen],
        fwhm=lines.fwhm[had],
        lorentzian=lines.lorentzian[had],
        arc=lines.arc[had],
    )


def _fitted(
    lines: Lines,
    seen: Observations,
    wavelength: float,
    constraints: dict[str, Constraint],
    before: Fit | None,
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
        return _with_tilt(lines, seen, two_theta, wavelength, constraints, used[seen.line], start)

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


def _with_tilt(
    lines: Lines,
    seen: Observations,
    two_theta: FloatArray,
    wavelength: float,
    constraints: dict[str, Constraint],
    use: NDArray[np.bool_],
    start: FloatArray | None,
) -> tuple[Fit, list[Row]]:
    """A fit in which the tilt is held where the rings do not tell it."""
    fit = adjust(seen, two_theta, wavelength, constraints, use=use, start=start)
    rows = _untold_tilt(fit, lines.fwhm[seen.line] / seen.scale, _tilts_to_tell(constraints))
    if not rows:
        return fit, rows
    held = adjust(seen, two_theta, wavelength, constraints, rows=rows, use=use, start=start)
    # If the rings go with the tilt only, they do tell it.
    error = np.average(fit.residual**2, weights=fit.information)
    error_held = np.average(held.residual**2, weights=fit.information)
    return (fit, []) if error_held > _NEEDS**2 * error else (held, rows)


def _tilts_to_tell(constraints: Mapping[str, Constraint]) -> list[int]:
    """The tilts (0, 1) of which nothing is known beforehand."""
    told = {name for name, one in constraints.items() if isinstance(one, Fixed | Prior)}
    return [axis for axis, names in enumerate(_SAME_TILT) if not told & names]


def _untold_tilt(fit: Fit, fwhm: FloatArray, axes: list[int]) -> list[Row]:
    """Rows that hold those directions of the tilt at 0 that the rings do not tell.

    What the centre and the distance can take up of a tilt does not count. A tilt is told if a
    degree moves the rings by a good part of their width, or at least by far more than they are out
    of place for other reasons.
    """
    root = np.sqrt(fit.information)[:, np.newaxis]
    unknown = [3 + axis for axis in axes]
    others, tilts = fit.jacobian[:, :3] * root, fit.jacobian[:, unknown] * root
    scale = np.linalg.norm(others, axis=0)
    taken, *_ = np.linalg.lstsq(others / scale, tilts, rcond=None)
    left = tilts - (others / scale) @ taken
    mean_square = left.T @ left / fit.information.sum() * _TILT**2
    strength, directions = np.linalg.eigh(mean_square)
    width = np.average(fwhm, weights=fit.information)
    rows = []
    for moved, direction in zip(np.sqrt(np.maximum(strength, 0.0)), directions.T, strict=True):
        error = np.sqrt(direction @ fit.covariance[np.ix_(unknown, unknown)] @ direction)
        precise = error < _TILT_ERROR and moved > max(_TOLD_PLAINLY * fit.floor, _TOLD_PIXELS)
        if moved < _TOLD * width and not precise:
            by = np.zeros(6)
            by[unknown] = direction / _SHARP
            rows.append((by, 0.0))
    return rows


def _deviations(fit: Fit, line: NDArray[np.intp], used: NDArray[np.bool_]) -> FloatArray:
    """How far lines are from where they should be, in standard errors of one of their sectors."""
    mean, sigma = _means(fit, line, len(used))
    deviation = np.zeros(len(used))
    for one in range(len(used)):
        others = used[line] & (line != one)
        floor = min(fit.floor, floor_of(fit.residual[others], fit.sigma[others], half=True))
        deviation[one] = abs(mean[one]) / np.hypot(sigma[one], max(floor, _PRECISE))
    return deviation


def _means(fit: Fit, line: NDArray[np.intp], count: int) -> tuple[FloatArray, FloatArray]:
    """Robust mean residuals of lines and their standard errors, in pixels."""
    error = np.sqrt(fit.sigma**2 + fit.floor**2)
    mean = np.zeros(count)
    for _ in range(5):
        off = np.abs(fit.residual - mean[line]) / error
        information = np.minimum(1.0, 3.0 / np.maximum(off, 1e-9)) / error**2
        total = np.maximum(np.bincount(line, information, count), 1e-12)
        mean = np.bincount(line, information * fit.residual, count) / total
    return mean, np.sqrt(1.0 / total)


def _moved(before: Fit, after: Fit) -> float:
    """By how much a pass has moved the rings, at most, in pixels."""
    moved = after.jacobian @ (after.values - before.values)
    return float(np.abs(moved).max())


def _told(
    surface: Surface,
    calibrant: Calibrant,
    wavelength: float,
    lines: Lines,
    seen: Observations,
    fit: Fit,
    rows: list[Row],
    used: NDArray[np.bool_],
    constraints: dict[str, Constraint],
) -> Refinement:
    """The refinement, from its parts."""
    free = 6 if isinstance(constraints.get("wavelength"), Prior) else 5
    refined = wavelength * float(np.exp(fit.values[5]))
    units = np.diag([1.0, 1.0, 1.0, 1.0, 1.0, refined])
    beam_covariance = (units @ fit.covariance @ units)[:free, :free]
    turn = np.eye(6)
    turn[:5, :5] = to_poni_jacobian(fit.values[:5])
    turn = turn[:free, :free]
    information = fit.information
    sectors = _sectors(surface, lines, seen, fit)
    relative = fit.residual * seen.scale * 0.5 / np.tan(0.5 * sectors.two_theta)
    return Refinement(
        surface=surface,
        calibrant=calibrant,
        wavelength=refined,
        first_wavelength=wavelength,
        cone=fit.cone,
        beam_covariance=beam_covariance,
        covariance=turn @ beam_covariance @ turn.T,
        floor_px=fit.floor,
        residual_px=float(np.sqrt(np.average(fit.residual**2, weights=information))),
        residual_relative=float(np.sqrt(np.average(relative**2, weights=information))),
        sectors=sectors,
        rings=_rings(calibrant, wavelength, lines, seen, fit, used),
        fixed=_fixed(constraints, rows),
        lines=lines,
        seen=seen,
        fit=fit,
        constraints=constraints,
        rows=rows,
    )


def _sectors(surface: Surface, lines: Lines, seen: Observations, fit: Fit) -> Sectors:
    """The sectors as others see them: the places are those of the ring itself."""
    outwards = -seen.jacobian[:, :2].T
    outwards = outwards / np.linalg.norm(outwards, axis=0)
    off = (lines.two_theta[seen.line] + seen.shift - seen.two_theta) / seen.scale * surface.pixel
    down, right = outwards * off / surface.pixel_steps[:, np.newaxis]
    row, column = seen.row + down, seen.column + right
    places = surface.at(row, column)
    return Sectors(
        ring=lines.ring[seen.line],
        row=row,
        column=column,
        chi=fit.cone.chi(places),
        two_theta=fit.cone.two_theta(places),
        residual_px=fit.residual,
        sigma_px=fit.sigma,
        used=fit.weight > 0,
    )


def _rings(
    calibrant: Calibrant,
    wavelength: float,
    lines: Lines,
    seen: Observations,
    fit: Fit,
    used: NDArray[np.bool_],
) -> tuple[RingFit, ...]:
    """What became of each line."""
    mean, sigma = _means(fit, seen.line, len(lines))
    rings = []
    for one in range(len(lines)):
        mine = seen.line == one
        inside = mine & (fit.weight > 0) if used[one] else mine
        width = np.average(lines.fwhm[one] / seen.scale[mine])
        rings.append(
            RingFit(
                ring=calibrant.rings[lines.ring[one]],
                two_theta=float(lines.two_theta[one]),
                sectors=int(np.count_nonzero(mine)),
                coverage=min(float(np.count_nonzero(mine)) / float(lines.sectors[one]), 1.0),
                mean_px=float(mean[one]),
                sigma_px=float(sigma[one]),
                rms_px=float(np.sqrt(np.mean(fit.residual[inside] ** 2)))
                if inside.any()
                else np.nan,
                fwhm_px=float(width),
                used=bool(used[one]),
            )
        )
    return tuple(rings)


def _fixed(constraints: Mapping[str, Constraint], rows: list[Row]) -> dict[str, str]:
    """Parameters that were not refined, and why."""
    fixed = {
        name: f"{name} was held at {one.value:g}, as asked for."
        for name, one in constraints.items()
        if isinstance(one, Fixed)
    }
    if len(rows) == 2:
        fixed["tilt"] = (
            "The rings do not tell the tilt: 1 degree moves them by less than 3 % of their width. "
            "It was held at 0, with the centre of the beam where it is."
        )
    elif rows:
        fixed["tilt"] = (
            "The rings tell the tilt in one direction only; in the other it was held at 0."
        )
    return fixed
