"""What a refinement is: the geometry, how well it is known, and what became of every ring."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from bluesky_azint.calibrants import Calibrant
from bluesky_azint.calibration.cone import Cone, to_poni_jacobian
from bluesky_azint.calibration.constraints import Constraint, Fixed, Prior
from bluesky_azint.calibration.refinement.adjustment import Fit, Row
from bluesky_azint.calibration.refinement.agreement import mean_residuals
from bluesky_azint.calibration.refinement.lines import Lines
from bluesky_azint.calibration.refinement.observations import Observations
from bluesky_azint.calibration.result import RingFit, Sectors
from bluesky_azint.calibration.surface import FloatArray, Surface


@dataclass(frozen=True, eq=False, kw_only=True)
class Refinement:
    """A refined geometry.

    Parameters
    ----------
    surface, mask, calibrant
        Of what; True = pixels that did not count.
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
    mask: NDArray[np.bool_]
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


def refinement_of(
    surface: Surface,
    mask: NDArray[np.bool_],
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
        mask=mask,
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
        fixed=_fixed(constraints, rows, fit.at_bounds),
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
    mean, sigma = mean_residuals(fit, seen.line, len(lines))
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


def _fixed(
    constraints: Mapping[str, Constraint], rows: list[Row], at_bounds: Mapping[str, float]
) -> dict[str, str]:
    """Parameters that were not refined, and why."""
    fixed = {
        name: f"{name} was held at {one.value:g}, as asked for."
        for name, one in constraints.items()
        if isinstance(one, Fixed)
    }
    fixed |= {
        name: f"{name} reached its bound {bound:g} and was held there."
        for name, bound in at_bounds.items()
    }
    where = "as it was told" if any(target for _, target in rows) else "at 0"
    if len(rows) == 2:
        fixed["tilt"] = (
            f"The rings do not tell the tilt: 1 degree hardly moves them. It was held {where}. Centre "
            "and distance are those for that tilt; their errors, and those of the tilt, allow for 1 "
            "degree."
        )
    elif rows:
        fixed["tilt"] = (
            f"The rings tell the tilt in one direction only; in the other it was held {where}. The "
            "errors allow for 1 degree."
        )
    return fixed
