"""Calibrations made by hand, for tests of what is done with them."""

from typing import Any

import numpy as np

import bluesky_azint as ba
from bluesky_azint.calibrants import calibrant
from bluesky_azint.calibration.result import (
    Calibration,
    Match,
    RingFit,
    Sectors,
    WavelengthTest,
)

DETECTOR = ba.Detector(172e-6, 172e-6, (60, 80), np.eye(60, 80) > 0, name="built here")
GEOMETRY = ba.Geometry(
    detector=DETECTOR, dist=0.1, poni1=0.005, poni2=0.007, rot1=0.01, rot2=-0.02, wavelength=4e-11
)


def calibration(verdict: str = "accepted", **changes: object) -> Calibration:
    """A calibration of that verdict, with all that one can have, or something else instead."""
    refused = verdict == "refused"
    rings = calibrant("CeO2").rings
    covariance = np.diag(np.array([1e-6, 2e-6, 3e-6, 4e-5, 5e-5]) ** 2)
    covariance[1, 4] = covariance[4, 1] = -0.9 * 2e-6 * 5e-5
    values: dict[str, Any] = {
        "verdict": verdict,
        "reasons": () if verdict == "accepted" else ("Half of the rings are missing.",),
        "notes": ("The wavelength cannot be verified.",),
        "geometry": None if refused else GEOMETRY,
        "candidate": GEOMETRY,
        "calibrant": calibrant("CeO2"),
        "wavelength": 4e-11,
        "mask": np.tri(60, 80, -50, dtype=bool),
        "covariance": covariance,
        "jackknife": 10 * np.sqrt(np.diag(covariance)),
        "beam_covariance": covariance / 4,
        "beam_jackknife": 5 * np.sqrt(np.diag(covariance)),
        "residual_px": 0.12,
        "residual_relative": 3e-5,
        "held_out_px": 0.13,
        "ring_error_px": 0.01,
        "detector_error_px": 0.04,
        "rings": tuple(
            RingFit(
                ring=ring, two_theta=0.1 + 0.05 * number, sectors=20 - number, coverage=0.5,
                mean_px=0.01 * number, sigma_px=0.005, rms_px=0.1, fwhm_px=3.0, used=number != 2,
            )
            for number, ring in enumerate(rings[:3])
        ),
        "sectors": Sectors(
            ring=np.array([0, 0, 1]), row=np.arange(3.0), column=np.arange(3.0),
            chi=np.arange(3.0), two_theta=np.full(3, 0.1), residual_px=np.full(3, 0.1),
            sigma_px=np.full(3, 0.1), used=np.array([True, True, False]),
        ),
        "match": Match(score=30.0, runner_up=3.0, matched=3, expected=4, unexplained=0.1),
        "wavelength_test": WavelengthTest(relative=1e-4, sigma=5e-4, testable=True),
        "fixed": {"rot3": "One detector does not tell it."},
        "seconds": 1.5,
    }  # fmt: skip
    return Calibration(**{**values, **changes})
