"""Calibrations as they come out, made by hand: a frame, its true geometry, and residuals."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

import bluesky_azint as ba
from bluesky_azint.calibrants import Calibrant, ring_two_theta
from bluesky_azint.calibration.cone import to_poni_jacobian
from bluesky_azint.calibration.result import (
    Calibration,
    Distortion,
    Match,
    RingFit,
    Sectors,
    WavelengthTest,
)
from bluesky_azint.devices.powder import debye_scherrer
from bluesky_azint.report.rings import Contours

FLOOR_PX = 0.05


@dataclass(frozen=True, eq=False)
class Case:
    """A calibration, and the image that it is of."""

    calibration: Calibration
    image: NDArray[Any]


def small_geometry() -> ba.Geometry:
    rows, columns = 300, 260
    mask = np.zeros((rows, columns), dtype=bool)
    mask[140:148] = True
    mask[:, 120:124] = True
    detector = ba.Detector(400e-6, 400e-6, (rows, columns), mask=mask, name="Toy <b>300</b> & co")
    return ba.Geometry(
        detector=detector, dist=0.15, poni1=0.055, poni2=0.05, rot1=0.02, rot2=-0.03,
        wavelength=0.5e-10,
    )  # fmt: skip


def masked(geometry: ba.Geometry) -> NDArray[np.bool_]:
    mask = geometry.detector.mask
    return np.zeros(geometry.shape, dtype=bool) if mask is None else mask


def counted(geometry: ba.Geometry, substance: Calibrant) -> NDArray[np.int32]:
    """A frame with noise, its gaps marked by -1."""
    rng = np.random.default_rng(1)
    frame = rng.poisson(debye_scherrer(geometry, substance, counts=800, background=20))
    return np.where(masked(geometry), -1, frame).astype(np.int32)


def calibrated(geometry: ba.Geometry, substance: Calibrant, bend_px: float = 0.0) -> Calibration:
    """An accepted calibration with made-up residuals, bent by so much over the rings."""
    rng = np.random.default_rng(2)
    contours = Contours(geometry)
    wavelength = geometry.wavelength
    assert wavelength is not None
    mask = masked(geometry)
    angles = ring_two_theta(substance.d, wavelength)
    seen = np.flatnonzero(
        (angles > contours.two_theta.min()) & (angles < contours.two_theta.max())
    )[:14]
    columns: list[tuple[float, ...]] = []
    fits = []
    for order, index in enumerate(seen):
        places = np.concatenate([np.empty((0, 2)), *contours.at(angles[index])])[::12]
        x = 2 * order / max(len(seen) - 1, 1) - 1
        residual = rng.normal(bend_px * (1 / 3 - x**2), FLOOR_PX, len(places))
        sigma = np.full(len(places), FLOOR_PX) * rng.uniform(0.8, 1.2, len(places))
        for (column, row), far, error in zip(places, residual, sigma, strict=True):
            i = int(np.clip(round(row), 0, mask.shape[0] - 1))
            j = int(np.clip(round(column), 0, mask.shape[1] - 1))
            if mask[i, j]:
                continue
            y, x_lab, _ = contours.places(np.array([row]), np.array([column]))
            chi = float(np.arctan2(y[0], x_lab[0]))
            outlier = rng.random() < 0.02
            columns.append(
                (index, row, column, chi, angles[index], far + 0.3 * outlier, error, not outlier)
            )
        number = sum(entry[0] == index for entry in columns)
        fits.append(
            RingFit(
                ring=substance.rings[index],
                two_theta=float(angles[index]),
                sectors=number,
                coverage=min(1.0, len(places) / 60),
                mean_px=float(residual.mean()) if len(residual) else np.nan,
                sigma_px=FLOOR_PX / max(number, 1) ** 0.5,
                rms_px=float(np.sqrt((residual**2).mean())) if len(residual) else np.nan,
                fwhm_px=2.8,
                used=number > 0,
            )
        )
    table = np.array(columns, dtype=np.float64).T
    covariance = np.diag(np.array([4e-6, 4e-6, 8e-6, 3e-5, 3e-5]) ** 2)
    covariance[0, 3] = covariance[3, 0] = 0.6 * 4e-6 * 3e-5
    calibration = Calibration(
        verdict="accepted",
        reasons=(),
        geometry=geometry,
        candidate=geometry,
        calibrant=substance,
        wavelength=wavelength,
        mask=mask,
        beam_covariance=covariance,
        beam_jackknife=3 * np.sqrt(np.diag(covariance)),
        residual_px=FLOOR_PX,
        residual_relative=1.2e-4,
        held_out_px=1.04 * FLOOR_PX,
        floor_px=0.8 * FLOOR_PX,
        ring_error_px=0.021,
        detector_error_px=0.043,
        rings=tuple(fits),
        sectors=Sectors(
            ring=table[0].astype(np.intp),
            row=table[1],
            column=table[2],
            chi=table[3],
            two_theta=table[4],
            residual_px=table[5],
            sigma_px=table[6],
            used=table[7].astype(bool),
        ),
        match=Match(score=38.2, runner_up=11.3, matched=12, expected=13, unexplained=0.02),
        wavelength_test=WavelengthTest(relative=1.1e-4, sigma=2.4e-4, testable=True),
        seconds=2.31,
    )
    beam = calibration.beam
    assert beam is not None
    turn = to_poni_jacobian(beam.parameters)
    poni = turn @ covariance @ turn.T
    return replace(calibration, covariance=poni, jackknife=3 * np.sqrt(np.diag(poni)))


def reviewed(calibration: Calibration) -> Calibration:
    """One for a human's eyes: a ring missing, a ring left out, the wavelength in doubt."""
    rings = list(calibration.rings)
    rings[2] = replace(rings[2], used=False)
    rings[4] = replace(rings[4], sectors=0, used=False, coverage=0.0, mean_px=np.nan, rms_px=np.nan)
    return replace(
        calibration,
        verdict="review",
        reasons=(
            "The rings ask for a wavelength that is 0.42 % longer, by 9 standard errors.",
            "A ring of <CeO2> was left out because it disagrees with the others.",
        ),
        notes=("2 % of the sectors were left out.",),
        fixed={"rot3": "Rotation around the beam (rot3) cannot be seen in rings; it is fixed at 0."},
        rings=tuple(rings),
        match=Match(score=18.0, runner_up=12.0, matched=11, expected=13, unexplained=0.31),
        wavelength_test=WavelengthTest(relative=4.2e-3, sigma=4.4e-4, testable=True),
        distortion=Distortion(
            names=("radial, cubic", "shear"), values_px=(0.31, -0.02), sigmas_px=(0.02, 0.02),
            residual_px=0.04,
        ),
    )  # fmt: skip


def refused(calibration: Calibration) -> Calibration:
    """One with nothing found."""
    return Calibration(
        verdict="refused",
        reasons=("No rings were found: 2 arcs in the image, and 3 rings are needed.",),
        geometry=None,
        calibrant=calibration.calibrant,
        wavelength=calibration.wavelength,
        mask=calibration.mask,
        seconds=1.2,
    )
