"""How far a refined geometry can be trusted, from its sectors alone."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from bluesky_azint.calibration.cone import to_poni, two_theta_and_jacobian
from bluesky_azint.calibration.constraints import Prior, constraint_rows
from bluesky_azint.calibration.refinement.adjustment import Fit, adjust, solvable
from bluesky_azint.calibration.refinement.distortion import distortion
from bluesky_azint.calibration.refinement.refinement import Refinement
from bluesky_azint.calibration.refinement.tilt import given_tilt, loosened
from bluesky_azint.calibration.result import Distortion, WavelengthTest
from bluesky_azint.calibration.surface import FloatArray, Surface
from bluesky_azint.errors import CalibrationError

_PARTS = 4  # of the azimuth
_DOUBT = 0.1  # relative: farther off a wavelength is not looked for
_TESTABLE = 5e-3  # a wavelength that is known no better by its rings is not tested
_GRID = 33


@dataclass(frozen=True, eq=False, kw_only=True)
class Diagnostics:
    """See the fields of the same names of `bluesky_azint.calibration.result.Calibration`."""

    jackknife: FloatArray
    beam_jackknife: FloatArray
    held_out_px: float
    ring_error_px: float
    detector_error_px: float
    residual_relative: float
    wavelength_test: WavelengthTest
    distortion: Distortion


@solvable()
def diagnose(refinement: Refinement) -> Diagnostics:
    """Examine a refinement.

    Raises
    ------
    CalibrationError
        If the equations of its sectors cannot be solved.
    """
    jackknife, beam_jackknife = _jackknife(refinement)
    ring_error, detector_error = _predicted_errors(refinement)
    return Diagnostics(
        jackknife=jackknife,
        beam_jackknife=beam_jackknife,
        held_out_px=_held_out(refinement),
        ring_error_px=ring_error,
        detector_error_px=detector_error,
        residual_relative=refinement.residual_relative,
        wavelength_test=_wavelength_test(refinement),
        distortion=_distortion(refinement),
    )


def _again(refinement: Refinement, use: NDArray[np.bool_]) -> Fit:
    """The fit, of some sectors."""
    return adjust(
        refinement.seen,
        refinement.two_theta,
        refinement.first_wavelength,
        refinement.constraints,
        rows=refinement.rows,
        use=use & refinement.used,
        start=refinement.fit.values,
    )


def _jackknife(refinement: Refinement) -> tuple[FloatArray, FloatArray]:
    """Standard errors from fits that leave out a part of the azimuth each.

    The parts are quarters of the azimuths that there are, which are quadrants where rings are full.
    """
    chi = refinement.seen.chi
    turned = np.sort(chi[refinement.used])
    gaps = np.diff(np.append(turned, turned[0] + 2 * np.pi))
    # From the widest gap on.
    first = turned[(int(gaps.argmax()) + 1) % len(turned)]
    place = np.mod(chi - first, 2 * np.pi)
    covered = 2 * np.pi - gaps.max() + 1e-9
    part = np.minimum((place / covered * _PARTS).astype(np.intp), _PARTS - 1)
    values = []
    for one in range(_PARTS):
        try:
            values.append(_again(refinement, part != one).values)
        except CalibrationError:  # all is in one part: what is left tells nothing
            nothing = np.full(refinement.free, np.inf)
            return nothing, nothing
    beam = np.array(values)
    beam[:, 5] = refinement.first_wavelength * np.exp(beam[:, 5])
    poni = np.concatenate([to_poni(beam[:, :5]), beam[:, 5:]], axis=1)
    spread = np.sqrt(_PARTS - 1)
    return (
        spread * poni.std(axis=0)[: refinement.free],
        spread * beam.std(axis=0)[: refinement.free],
    )


def _held_out(refinement: Refinement) -> float:
    """Residual of every second sector in a fit of the others, and the other way round."""
    odd = np.arange(len(refinement.seen)) % 2 == 1
    try:
        fits = [(_again(refinement, ~held), held) for held in (odd, ~odd)]
    except CalibrationError:
        return float("inf")
    information = refinement.fit.information
    total = sum(float(information[held] @ fit.residual[held] ** 2) for fit, held in fits)
    return float(np.sqrt(total / information.sum()))


def _wavelength_test(refinement: Refinement) -> WavelengthTest:
    """The fit with the wavelength free, and with it the tilt if it was held."""
    known = Prior(refinement.first_wavelength, _DOUBT * refinement.first_wavelength)
    try:
        fit = adjust(
            refinement.seen,
            refinement.two_theta,
            refinement.first_wavelength,
            refinement.constraints | {"wavelength": known},
            rows=loosened(refinement.rows),
            use=refinement.used,
            start=refinement.fit.values,
        )
    except CalibrationError:  # the rings tell the wavelength not at all
        return WavelengthTest(relative=0.0, sigma=float("inf"), testable=False)
    sigma = float(np.sqrt(fit.covariance[5, 5]))
    relative = float(np.clip(fit.values[5], -_DOUBT, _DOUBT))
    return WavelengthTest(relative=relative, sigma=sigma, testable=sigma < _TESTABLE)


def _predicted_errors(refinement: Refinement) -> tuple[float, float]:
    """The largest error of a place of the rings, and of the detector, in pixels.

    A tilt that the rings do not tell does not count among them: it hardly moves them.
    """
    surface, seen = refinement.surface, refinement.seen
    covariance = refinement.fit.covariance[:5, :5]
    known = given_tilt(refinement.fit.covariance, refinement.rows)[:5, :5]
    values = refinement.fit.values[:5]
    rings = _errors(surface, values, known, seen.places[:, refinement.fit.weight > 0])
    rows, columns = (np.linspace(0, n - 1, _GRID) for n in surface.shape)
    grid = np.meshgrid(rows, columns, indexing="ij")
    every = _errors(surface, values, covariance, surface.at(*(one.ravel() for one in grid)))
    return float(rings.max()), float(every.max())


def _errors(
    surface: Surface, values: FloatArray, covariance: FloatArray, places: FloatArray
) -> FloatArray:
    _, jacobian = two_theta_and_jacobian(values, places)
    scale = surface.pixel * np.hypot(jacobian[:, 0], jacobian[:, 1])
    variance = np.einsum("ni,ij,nj->n", jacobian, covariance, jacobian)
    errors: FloatArray = np.sqrt(np.maximum(variance, 0.0)) / scale
    return errors


def _distortion(refinement: Refinement) -> Distortion:
    fit = refinement.fit
    _, rows = constraint_rows(refinement.constraints, fit.values, refinement.first_wavelength)
    held = [np.outer(by, by) for by, _ in loosened(refinement.rows)]
    known = rows.T @ rows + sum(held, np.zeros((6, 6)))
    if refinement.free == 5:
        known[5, 5] += 1e18
    return distortion(
        refinement.surface,
        refinement.mask,
        refinement.seen,
        fit.residual,
        fit.jacobian,
        fit.information,
        known,
    )
