"""What a user gives, made into what a calibration needs; whatever does not fit is refused."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import ndimage

from bluesky_azint.attenuation import KEV_METRES
from bluesky_azint.badpixels import propose_mask
from bluesky_azint.calibrants import Calibrant
from bluesky_azint.calibration.counting import lifted
from bluesky_azint.detectors import Detector
from bluesky_azint.detectors import detector as known_detector
from bluesky_azint.errors import FrameError, RecipeError

Mask = NDArray[np.bool_]

_LARGEST = 2.0**32 - 129  # from here on 32-bit detectors mean no counts, whatever holds them now
_SHORTEST, _LONGEST = 1e-12, 1e-8  # wavelengths, metres
_LEAST_USABLE = 0.02  # of the pixels
_GAP = 500  # pixels
_BRIGHT = 0.3  # of the brightest pixel: around saturated ones


def as_frame(image: ArrayLike) -> NDArray[Any]:
    """The image as an array of numbers, (rows, columns).

    Raises
    ------
    FrameError
        If it is none.
    """
    frame = np.asarray(image)
    if frame.ndim == 3 and len(frame) == 1:
        frame = frame[0]
    if frame.ndim != 2 or frame.dtype.kind not in "iuf":
        raise FrameError(
            f"A calibration needs one image of real numbers, (rows, columns); this one has the shape "
            f"{frame.shape} and holds {frame.dtype}. Give one frame, or the mean of several."
        )
    return frame


def detector_of(detector: str | Detector, frame: NDArray[Any]) -> Detector:
    """The detector, with the shape of the frame.

    Raises
    ------
    GeometryError
        If there is no such detector.
    FrameError
        If the frame has another shape.
    """
    found = known_detector(detector) if isinstance(detector, str) else detector
    shape = int(frame.shape[0]), int(frame.shape[1])
    if found.shape not in (None, shape):
        raise FrameError(
            f"The image has the shape {shape}, the detector {found.name!r} {found.shape}; they must "
            "be equal. Look at the name of the detector, its binning, and whether the image is "
            "rotated."
        )
    return replace(found, shape=shape)


def wavelength_of(wavelength: float | None, energy_kev: float | None) -> float:
    """The wavelength in metres.

    Raises
    ------
    RecipeError
        If neither or both are given, or the value is impossible.
    """
    if (wavelength is None) == (energy_kev is None):
        raise RecipeError(
            "A calibration needs either the wavelength, in metres, or energy_kev; give one of them."
        )
    if energy_kev is not None and not energy_kev > 0:
        raise RecipeError(f"The energy is {energy_kev} keV; it must be positive.")
    metres = float(wavelength if wavelength is not None else KEV_METRES / energy_kev)  # type: ignore[operator]
    if not _SHORTEST <= metres <= _LONGEST:
        raise RecipeError(
            f"The wavelength is {metres:g} m, which no diffraction has; it is given in metres "
            "(1 angstrom is 1e-10), energies in keV."
        )
    return metres


def counts_of(
    frame: NDArray[Any], detector: Detector, mask: ArrayLike | None
) -> tuple[NDArray[Any], Mask]:
    """The counts, not negative, and the pixels without one: those masked, and those marked so.

    Raises
    ------
    FrameError
        If the mask has another shape, or nothing is left.
    """
    bad = ~np.isfinite(frame) | (frame >= _LARGEST)
    if frame.dtype.kind == "u":
        bad |= frame == np.iinfo(frame.dtype).max
    if detector.mask is not None:
        bad |= detector.mask
    if detector.dummy is not None:
        bad |= np.abs(frame - float(detector.dummy)) <= (detector.delta_dummy or 0.0)
    if mask is not None:
        given = np.asarray(mask, dtype=bool)
        if given.shape != frame.shape:
            raise FrameError(
                f"The mask has the shape {given.shape}, the image {frame.shape}; they must be equal."
            )
        bad |= given
    frame, bad = lifted(frame, bad)
    usable = 1.0 - bad.mean()
    if usable < _LEAST_USABLE:
        raise FrameError(
            f"Only {usable:.1%} of the pixels can be used; look at the mask (True = masked), and at "
            "the image."
        )
    return frame, bad


def lasting_mask(
    frame: NDArray[Any], detector: Detector, given: Mask | None
) -> tuple[Mask, dict[str, int]]:
    """The pixels to leave out of all frames to come, and how many are bad of which kind.

    To the given ones and the gaps come those found dead, hot, at edges and in shadows. Pixels that
    were too bright in this frame alone are good again.
    """
    proposal = propose_mask(frame, detector, given)
    always = np.zeros(frame.shape, dtype=bool)
    for known in (given, detector.mask):
        always |= False if known is None else known
    return always | (proposal.mask & ~_overflowed(frame, ~always)), proposal.figures


def _overflowed(frame: NDArray[Any], among: Mask) -> Mask:
    """Pixels that were too bright for 8 or 16 bits, or have no value in the midst of bright ones."""
    if frame.dtype.kind in "iu":
        return np.asarray((frame == np.iinfo(frame.dtype).max) & (frame.dtype.itemsize < 4))
    lost, number = ndimage.label(~np.isfinite(frame) & among, np.ones((3, 3)))
    if not number:
        return np.zeros(frame.shape, dtype=bool)
    values = np.where(np.isfinite(frame), frame, 0.0)
    border = ndimage.grey_dilation(lost, size=(3, 3))
    border[lost > 0] = 0
    areas = np.arange(number + 1)
    # A gap has bright pixels beside it somewhere, what is saturated all around.
    somewhere, mostly = (of(values, border, areas) for of in (ndimage.maximum, ndimage.median))
    around = np.where(np.bincount(lost.ravel()) < _GAP, somewhere, mostly)
    bright = np.nan_to_num(around) > _BRIGHT * values.max()
    bright[0] = False
    return np.asarray(bright[lost])


def lines_to_find(calibrant: Calibrant, wavelength: float) -> Calibrant:
    """The calibrant, with the rings there are at this wavelength.

    Raises
    ------
    RecipeError
        If there are none.
    """
    number = len(calibrant.two_theta(wavelength))
    if number < 1:
        raise RecipeError(
            f"{calibrant.name} has no ring at a wavelength of {wavelength:g} m; look at both."
        )
    return replace(calibrant, rings=calibrant.rings[:number])
