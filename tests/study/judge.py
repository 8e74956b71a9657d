"""Whether a calibration is right, and by how much it is off."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

import bluesky_azint as ba
from bluesky_azint.calibration.cone import Cone
from bluesky_azint.calibration.result import Calibration
from tests.study.places import FloatArray, angle_of_pixel, two_theta_at
from tests.study.scene import Scene

# A geometry is right if it is off by less than this rms, over the detector or inside of the rings.
RIGHT_PX, RIGHT_INSIDE_PX = 1.0, 0.3
# A slope whose standard error is smaller was held.
FIXED_TILT = 1e-8


@dataclass(frozen=True, kw_only=True)
class Errors:
    """How far a geometry is from the truth.

    Parameters
    ----------
    centre_px
        Distance of the centres of the beam, in pixels.
    distance
        Relative error of the distance along the beam.
    tilt
        Angle between the directions of the beam, in degrees.
    px, px_inside
        Error of the scattering angle, rms over the detector and over the angles between the rings
        that were found, in pixels.
    q_inside
        The relative error of q there.
    """

    centre_px: float
    distance: float
    tilt: float
    px: float
    px_inside: float
    q_inside: float

    @property
    def right(self) -> bool:
        """Whether the geometry is right."""
        return self.px < RIGHT_PX or self.px_inside < RIGHT_INSIDE_PX


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """What became of a scene.

    Parameters
    ----------
    kind, seed, expects
        Of the scene.
    verdict
        Of the calibration; "failed" if it raised an error.
    errors
        Of the geometry, or the one that was refused; None if there is none.
    pulls
        Errors of the five parameters of `Cone` over their standard errors; NaN of fixed ones.
    wavelength, wavelength_sigma
        The relative change of the wavelength that the rings ask for, and its standard error.
    seconds
        How long it took.
    reasons
        Why it was not accepted.
    """

    kind: str
    seed: int
    expects: str
    verdict: str
    errors: Errors | None
    pulls: tuple[float, ...]
    wavelength: float
    wavelength_sigma: float
    seconds: float
    reasons: tuple[str, ...]

    @property
    def right(self) -> bool:
        """Whether the geometry is right, accepted or not."""
        return self.errors is not None and self.errors.right

    @property
    def as_wanted(self) -> bool:
        """Whether the verdict is the one that the scene expects."""
        if self.expects == "right":
            return self.verdict == "accepted" and self.right
        return self.verdict == "refused" or (self.expects == "doubt" and self.verdict == "review")

    @property
    def silently_wrong(self) -> bool:
        """Whether a wrong geometry was accepted, or any where there is none to be found."""
        return self.verdict == "accepted" and (self.expects != "right" or not self.right)


def judge(scene: Scene, calibration: Calibration, seconds: float) -> Outcome:
    """Compare with the truth."""
    candidate = calibration.geometry or calibration.candidate
    test = calibration.wavelength_test
    return Outcome(
        kind=scene.kind,
        seed=scene.seed,
        expects=scene.expects,
        verdict=calibration.verdict,
        errors=None
        if candidate is None
        else errors(scene.geometry, candidate, rings_used(calibration)),
        pulls=pulls(scene.geometry, candidate, calibration.beam_covariance),
        wavelength=test.relative if test else np.nan,
        wavelength_sigma=test.sigma if test else np.nan,
        seconds=seconds,
        reasons=calibration.reasons,
    )


def rings_used(calibration: Calibration) -> list[float]:
    """Angles of the rings that a calibration used."""
    return [ring.two_theta for ring in calibration.rings if ring.used]


def errors(truth: ba.Geometry, found: ba.Geometry, rings: Sequence[float] = ()) -> Errors:
    """Of a geometry that was found; inside means from the first of the rings to the last."""
    one, other = Cone.of(truth), Cone.of(found)
    detector = truth.detector
    i, j = np.indices(truth.shape, sparse=True)
    i, j = i[::8], j[:, ::8]
    true, angle = two_theta_at(truth, i, j), two_theta_at(found, i, j)
    off = (angle - true) / angle_of_pixel(truth, i, j)
    # The wavelength is that which was told; a false one is not an error of the geometry.
    off_q = np.sin(0.5 * angle) / np.sin(0.5 * true) - 1.0
    first, last = (min(rings), max(rings)) if rings else (0.0, np.pi)
    inside = (true >= first) & (true <= last)
    return Errors(
        centre_px=float(
            np.hypot(
                (other.centre1 - one.centre1) / detector.pixel1,
                (other.centre2 - one.centre2) / detector.pixel2,
            )
        ),
        distance=other.distance / one.distance - 1.0,
        tilt=_angle_between(one, other),
        px=_rms(off),
        px_inside=_rms(off[inside]),
        q_inside=_rms(off_q[inside]),
    )


def pulls(
    truth: ba.Geometry, found: ba.Geometry | None, covariance: FloatArray | None
) -> tuple[float, ...]:
    """Errors of the five parameters over their standard errors."""
    if found is None or covariance is None:
        return (np.nan,) * 5
    off = Cone.of(found).parameters - Cone.of(truth).parameters
    sigma = np.sqrt(np.diag(covariance)[:5])
    sigma[3:][sigma[3:] < FIXED_TILT] = 0.0
    return tuple(float(e / s) if s > 0 else np.nan for e, s in zip(off, sigma, strict=True))


def _angle_between(one: Cone, other: Cone) -> float:
    a = np.array([one.tilt1, one.tilt2, 1.0])
    b = np.array([other.tilt1, other.tilt2, 1.0])
    return float(np.degrees(np.arctan2(np.linalg.norm(np.cross(a, b)), a @ b)))


def _rms(values: FloatArray) -> float:
    return float(np.sqrt(np.mean(np.square(values)))) if values.size else np.nan
