"""What plans are told, and what they find out themselves.

Servers that run plans can hand over devices, numbers and text. So where a session gives an object, a
plan also takes text that tells where to find it, and that is what a server sees.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, get_args

import numpy as np
from bluesky.protocols import Readable
from numpy.typing import NDArray

from bluesky_azint.calibrants import Calibrant
from bluesky_azint.calibration import preparation
from bluesky_azint.detectors import Detector
from bluesky_azint.detectors import detector as known_detector
from bluesky_azint.errors import RecipeError
from bluesky_azint.io.calibrants import calibrant as any_calibrant
from bluesky_azint.io.images import read_mask
from bluesky_azint.store import CalibrationRecord, CalibrationStore, open_store

if TYPE_CHECKING:
    from bluesky_azint.calibration.result import Calibration

    StoreLike = CalibrationStore | str
    ModelLike = Detector | str
    Confirm = Callable[[Calibration], bool] | bool
else:
    StoreLike = ModelLike = str
    Confirm = bool

Mask = NDArray[np.bool_]

logger = logging.getLogger(__name__)


def opened_store(store: StoreLike | None) -> CalibrationStore | None:
    """The store itself, of a folder or the address of a Tiled server."""
    return open_store(store, new=True) if isinstance(store, str) else store


def stored_calibration(store: CalibrationStore | None, detector: str) -> CalibrationRecord | None:
    """The calibration that is in use now, None if there is none."""
    return None if store is None else store.latest(detector, datetime.now(UTC))


def model_of(
    detector: Readable[Any], model: ModelLike | None, stored: CalibrationRecord | None
) -> Detector:
    """Which model a device is: as told, as the device itself tells, or as it was the last time.

    Raises
    ------
    RecipeError
        If nobody knows.
    GeometryError
        If there is no such model.
    """
    told = model if model is not None else getattr(detector, "model", None)
    if isinstance(told, Detector):
        return told
    if isinstance(told, str):
        return known_detector(told)
    if stored is not None:
        return stored.geometry.detector
    raise RecipeError(
        f"It is not known which model the detector {detector.name} is; say so by "
        f"model='Pilatus1M', for instance, or set {detector.name}.model."
    )


def wavelength_of(energy_kev: float | None, wavelength: float | None) -> float:
    """The wavelength in metres.

    Raises
    ------
    RecipeError
        If neither is given, or both, or the value is impossible.
    """
    return preparation.wavelength_of(wavelength, energy_kev)


def calibrant_of(name: str, wavelength: float) -> Calibrant:
    """The calibrant of that name or file, which must have rings at that wavelength.

    Raises
    ------
    RecipeError
        If there is no such calibrant, or it has no rings.
    FormatError
        If it is a file that cannot be read.
    """
    known = any_calibrant(name)
    preparation.lines_to_find(known, wavelength)
    return known


def mask_of(path: str, detector: Detector) -> Mask:
    """The mask in a file, True = masked.

    Raises
    ------
    FormatError
        If the file cannot be read.
    RecipeError
        If it is none of that detector.
    """
    mask = read_mask(path)
    if mask.ndim != 2 or detector.shape not in (None, mask.shape):
        raise RecipeError(
            f"The mask in {path} has the shape {mask.shape}, the detector {detector.name!r} "
            f"{detector.shape}; they must be equal."
        )
    return mask


def either(one: Mask | None, other: Mask | None) -> Mask | None:
    """What one of two masks masks."""
    return other if one is None else one if other is None else one | other


def check_choice(name: str, value: str, choices: object) -> None:
    """See whether the value of an option is one of those that its `Literal` lists.

    Raises
    ------
    RecipeError
        If it is not.
    """
    allowed = get_args(choices)
    if value not in allowed:
        raise RecipeError(f"{name}={value!r} is none of {', '.join(map(repr, allowed))}.")
