"""A calibration as plain numbers and text: for files, stores, documents and programs."""

from __future__ import annotations

import math
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from bluesky_azint.attenuation import KEV_METRES
from bluesky_azint.calibration.cone import PARAMETERS, PONI_PARAMETERS
from bluesky_azint.calibration.result import Calibration, RingFit
from bluesky_azint.geometry import Geometry

if TYPE_CHECKING:
    from bluesky_azint.calibration.check import GeometryCheck

FloatArray = NDArray[np.float64]


def figures(calibration: Calibration) -> dict[str, Any]:
    """What a calibration found, as values that JSON can hold.

    Lengths are in metres, angles in radians, lattice spacings in angstrom, and what ends in ``_px``
    in pixels. What is not known is None: JSON has no NaN.

    Returns
    -------
    dict
        ======================== =================================================================
        ``verdict``              "accepted", "review" or "refused"
        ``reasons``, ``notes``   sentences
        ``calibrant``            its name
        ``wavelength``           in metres, and ``energy_kev``
        ``detector``             its name
        ``parameters``           ``dist``, ``poni1`` ... ``rot3``, each with its ``value``, its
                                 ``sigma`` from the counts, and ``jackknife``, its standard error
                                 from fits without one quadrant each; None if refused
        ``beam``                 the same of ``centre1``, ``centre2``, ``distance``, ``tilt1``,
                                 ``tilt2``, which do not hide each other
        ``correlations``         of the parameters, by name and name
        ``residual_px`` ...      ``residual_relative``, ``held_out_px``, ``floor_px``,
                                 ``ring_error_px``, ``detector_error_px``
        ``sectors``              in how many places rings were found, and ``sectors_used``
        ``rings``                for each ring ``hkl``, ``d``, ``two_theta``, and all of `RingFit`
        ``match``                see `Match`; likewise ``wavelength_test`` and ``distortion``
        ``fixed``                parameters that were not refined, and why
        ``masked``               share of the pixels to leave out
        ``bad_pixels``           how many of them there are of each kind
        ``seconds``              how long it took
        ======================== =================================================================

        All but the last are attributes of `Calibration`, and documented there.
    """
    sectors = calibration.sectors
    found = {
        "verdict": calibration.verdict,
        "reasons": calibration.reasons,
        "notes": calibration.notes,
        "calibrant": calibration.calibrant.name,
        "wavelength": calibration.wavelength,
        "energy_kev": KEV_METRES / calibration.wavelength,
        "detector": None if calibration.geometry is None else calibration.geometry.detector.name,
        "parameters": _parameters(calibration),
        "beam": _beam(calibration),
        "correlations": _correlations(calibration.covariance),
        "residual_px": calibration.residual_px,
        "residual_relative": calibration.residual_relative,
        "held_out_px": calibration.held_out_px,
        "floor_px": calibration.floor_px,
        "ring_error_px": calibration.ring_error_px,
        "detector_error_px": calibration.detector_error_px,
        "sectors": 0 if sectors is None else len(sectors),
        "sectors_used": 0 if sectors is None else int(sectors.used.sum()),
        "rings": [_ring(ring) for ring in calibration.rings],
        "match": calibration.match and asdict(calibration.match),
        "wavelength_test": calibration.wavelength_test and asdict(calibration.wavelength_test),
        "distortion": calibration.distortion and asdict(calibration.distortion),
        "fixed": dict(calibration.fixed),
        "masked": float(np.mean(calibration.mask)) if calibration.mask.size else 0.0,
        "bad_pixels": dict(calibration.bad_pixels),
        "seconds": calibration.seconds,
    }
    plain: dict[str, Any] = _plain(found)
    return plain


def check_figures(check: GeometryCheck) -> dict[str, Any]:
    """What a check of a geometry found, as values that JSON can hold.

    The keys are attributes of `GeometryCheck`, and documented there: ``verdict``, ``reasons``,
    ``notes``, ``calibrant``, ``residual_px``, ``refitted_px``, ``shift_px``, ``shift_relative``,
    ``shift_sigma_px``, ``centre_shift_px``, ``distance_shift``, ``tolerance_px``,
    ``wavelength_test``, and ``rings`` as in `figures`. ``geometry`` and ``refitted`` are ``dist``,
    ``poni1`` ... ``rot3`` and ``wavelength``.
    """
    numbers = (
        "residual_px", "refitted_px", "shift_px", "shift_relative", "shift_sigma_px",
        "centre_shift_px", "distance_shift", "tolerance_px",
    )  # fmt: skip
    plain: dict[str, Any] = _plain(
        {
            "verdict": check.verdict,
            "reasons": check.reasons,
            "notes": check.notes,
            "calibrant": check.calibrant.name,
            **{name: getattr(check, name) for name in numbers},
            "geometry": _numbers_of(check.geometry),
            "refitted": check.refitted and _numbers_of(check.refitted),
            "rings": [_ring(ring) for ring in check.rings],
            "wavelength_test": check.wavelength_test and asdict(check.wavelength_test),
        }
    )
    return plain


def _numbers_of(geometry: Geometry) -> dict[str, float | None]:
    return {name: getattr(geometry, name) for name in (*PONI_PARAMETERS, "rot3", "wavelength")}


def _parameters(calibration: Calibration) -> dict[str, Any] | None:
    geometry = calibration.geometry
    if geometry is None:
        return None
    names = _names(calibration.covariance)
    values = {name: getattr(geometry, name) for name in names}
    known = _with_errors(values, calibration.covariance, calibration.jackknife)
    return {**known, "rot3": {"value": geometry.rot3, "sigma": None, "jackknife": None}}


def _beam(calibration: Calibration) -> dict[str, Any] | None:
    if calibration.geometry is None or calibration.beam is None:
        return None
    values = dict(zip(PARAMETERS, calibration.beam.parameters, strict=True))
    return _with_errors(values, calibration.beam_covariance, calibration.beam_jackknife)


def _with_errors(
    values: dict[str, float], covariance: FloatArray | None, jackknife: FloatArray | None
) -> dict[str, Any]:
    unknown = [math.nan] * len(values)
    sigmas = unknown if covariance is None else np.sqrt(np.diag(covariance))[: len(values)]
    spreads = unknown if jackknife is None else jackknife[: len(values)]
    return {
        name: {"value": value, "sigma": sigma, "jackknife": spread}
        for (name, value), sigma, spread in zip(values.items(), sigmas, spreads, strict=True)
    }


def _names(covariance: FloatArray | None) -> tuple[str, ...]:
    """The names of the parameters that a covariance is of."""
    refined = covariance is not None and len(covariance) > len(PONI_PARAMETERS)
    return (*PONI_PARAMETERS, "wavelength") if refined else PONI_PARAMETERS


def _correlations(covariance: FloatArray | None) -> dict[str, dict[str, float]] | None:
    if covariance is None:
        return None
    sigma = np.sqrt(np.diag(covariance))
    scale = np.outer(sigma, sigma)
    known = scale > 0  # a parameter that was held has no error, and nothing to correlate
    matrix = np.divide(covariance, scale, out=np.full(covariance.shape, np.nan), where=known)
    names = _names(covariance)
    return {
        name: dict(zip(names, row, strict=True)) for name, row in zip(names, matrix, strict=True)
    }


def _ring(fit: RingFit) -> dict[str, Any]:
    values = asdict(fit)
    ring = values.pop("ring")
    return {"hkl": ring["hkl"], "d": ring["d"], **values}


def _plain(value: Any) -> Any:  # noqa: ANN401  any value that JSON has, and NumPy's
    """The value with Python's own numbers and lists, None for what is not finite."""
    if isinstance(value, dict):
        return {str(key): _plain(entry) for key, entry in value.items()}
    if isinstance(value, (tuple, list, np.ndarray)):
        return [_plain(entry) for entry in value]
    if isinstance(value, np.generic):
        value = value.item()
    return None if isinstance(value, float) and not math.isfinite(value) else value
