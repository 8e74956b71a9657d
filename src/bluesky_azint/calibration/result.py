"""What a calibration found: the geometry, how well it is known, and whether to trust it."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from bluesky_azint.calibrants import Calibrant, Ring
from bluesky_azint.calibration.cone import Cone
from bluesky_azint.geometry import Geometry

FloatArray = NDArray[np.float64]
Verdict = Literal["accepted", "review", "refused"]


@dataclass(frozen=True, eq=False, kw_only=True)
class Sectors:
    """Where rings were found, sector by sector: arrays of equal length.

    Parameters
    ----------
    ring
        Index of the ring in the calibrant.
    row, column
        Fractional index of the place, pixel centres at whole numbers.
    chi
        Azimuth, in radians.
    two_theta
        Scattering angle that the geometry gives to the place, in radians.
    residual_px
        How far outside of the ring the place lies, in pixels.
    sigma_px
        Standard error of that, from the counts alone.
    used
        Whether the geometry was fitted to it; what lies too far off is left out.
    """

    ring: NDArray[np.intp]
    row: FloatArray
    column: FloatArray
    chi: FloatArray
    two_theta: FloatArray
    residual_px: FloatArray
    sigma_px: FloatArray
    used: NDArray[np.bool_]

    def __len__(self) -> int:
        return len(self.ring)


@dataclass(frozen=True, kw_only=True)
class RingFit:
    """How a ring of the calibrant agrees with the geometry.

    Parameters
    ----------
    ring
        The ring.
    two_theta
        Where it should be, in radians.
    sectors
        In how many sectors it was found.
    coverage
        Share of the full circle that these cover, 0 to 1.
    mean_px, sigma_px
        Mean distance outside of where it should be, and its standard error, in pixels.
    rms_px
        Root mean square of the distances of its sectors, in pixels.
    fwhm_px
        Its width, in pixels.
    used
        Whether the geometry was fitted to it.
    """

    ring: Ring
    two_theta: float
    sectors: int
    coverage: float
    mean_px: float
    sigma_px: float
    rms_px: float
    fwhm_px: float
    used: bool


@dataclass(frozen=True, kw_only=True)
class Match:
    """How convincingly the rings of the image are those of the calibrant.

    Parameters
    ----------
    score
        Log-likelihood ratio of the rings being there against their being there by chance.
    runner_up
        The score of the best geometry that is another one.
    matched, expected
        How many rings were found, and how many should be visible.
    unexplained
        Share of the weight of all peaks that belong to no ring, 0 to 1.
    foreign
        How many rings of something else are about as complete as those of the calibrant.
    """

    score: float
    runner_up: float
    matched: int
    expected: int
    unexplained: float
    foreign: int = 0


@dataclass(frozen=True, kw_only=True)
class WavelengthTest:
    """Whether the rings go together with the wavelength and the lattice, when both are doubted.

    Parameters
    ----------
    relative
        The relative change of the wavelength that the rings ask for. That of the lattice spacings,
        or a distortion of the detector, would look the same.
    sigma
        Its standard error; at small angles it is large, as the distance takes up any change.
    testable
        Whether the error is small enough to tell anything.
    """

    relative: float
    sigma: float
    testable: bool


@dataclass(frozen=True, kw_only=True)
class Distortion:
    """What of the residuals a distorted detector would explain; reported, never applied.

    Parameters
    ----------
    names
        Of the terms: shifts of modules, or polynomials, as told in `bluesky_azint.calibration`.
    values_px, sigmas_px
        Their sizes and standard errors, in pixels.
    residual_px
        The residual that would be left.
    smooth_px, smooth_sigmas
        The error that sectors side by side have in common, shifts of modules apart, and how
        significant it is, in standard errors. More than noise is a distortion.
    """

    names: tuple[str, ...]
    values_px: tuple[float, ...]
    sigmas_px: tuple[float, ...]
    residual_px: float
    smooth_px: float = np.nan
    smooth_sigmas: float = np.nan


@dataclass(frozen=True, eq=False, kw_only=True)
class Calibration:
    """A calibration of a detector by the rings of a powder.

    Parameters
    ----------
    verdict
        "accepted", "review" (usable, but somebody must look), or "refused".
    reasons
        Why it was not accepted, in sentences.
    notes
        What else a user must know, in sentences.
    geometry
        Where the detector stands; None if refused.
    candidate
        The geometry that was refused, or the accepted one; None if there was not even that. For
        pictures, not for use.
    calibrant
        The rings that were looked for.
    wavelength
        In metres.
    mask
        Pixels to leave out, of detector shape, True = masked: those that were given and gaps, and,
        unless refused, those found dead, hot, at edges of modules and in shadows.
    bad_pixels
        How many there are of each kind.
    covariance
        Of (dist, poni1, poni2, rot1, rot2), and the wavelength where it was refined, in metres and
        radians: :math:`s^2 (J^T J)^{-1}` with the counts' errors and a floor that makes the
        residuals what they are.
    jackknife
        Standard errors of the same parameters from fits that leave out one quadrant each. A
        distorted detector shows here, and not in the covariance.
    beam_covariance, beam_jackknife
        The same for the centre of the beam, the distance along it, and the slopes (see
        `bluesky_azint.calibration.cone`), which are well determined.
    residual_px
        Root mean square of the residuals of all sectors, in pixels, weighted by their errors.
    residual_relative
        The same of :math:`\\Delta q / q`.
    held_out_px
        The residual of sectors that the geometry was not fitted to.
    floor_px
        The error of every sector beyond that of its counts.
    ring_error_px, detector_error_px
        The largest predicted error of a place inside the rings found, and anywhere on the detector.
    rings
        What became of each ring that could be seen.
    sectors
        Where the rings were found.
    match, wavelength_test, distortion
        See there; None where there is nothing to tell.
    fixed
        Parameters that were not refined, and why, in sentences.
    seconds
        How long it took.
    """

    verdict: Verdict
    reasons: tuple[str, ...]
    notes: tuple[str, ...] = ()
    geometry: Geometry | None
    candidate: Geometry | None = None
    calibrant: Calibrant
    wavelength: float
    mask: NDArray[np.bool_]
    bad_pixels: dict[str, int] = field(default_factory=dict)
    covariance: FloatArray | None = None
    jackknife: FloatArray | None = None
    beam_covariance: FloatArray | None = None
    beam_jackknife: FloatArray | None = None
    residual_px: float = np.nan
    residual_relative: float = np.nan
    held_out_px: float = np.nan
    floor_px: float = np.nan
    ring_error_px: float = np.nan
    detector_error_px: float = np.nan
    rings: tuple[RingFit, ...] = ()
    sectors: Sectors | None = None
    match: Match | None = None
    wavelength_test: WavelengthTest | None = None
    distortion: Distortion | None = None
    fixed: dict[str, str] = field(default_factory=dict)
    seconds: float = np.nan

    @property
    def accepted(self) -> bool:
        """Whether it can be used without anyone looking."""
        return self.verdict == "accepted"

    @property
    def beam(self) -> Cone | None:
        """The centre of the beam, the distance along it, and the slopes."""
        return None if self.candidate is None else Cone.of(self.candidate)
