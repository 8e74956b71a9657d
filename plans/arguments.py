"""What plans are told, and what they find out themselves.

Servers that run plans can hand over devices, numbers and text. So where a session gives an object, a
plan also takes text that tells where to find it, and that is what a server sees.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from bluesky.protocols import Readable

from bluesky_azint.attenuation import KEV_METRES
from bluesky_azint.detectors import Detector
from bluesky_azint.detectors import detector as known_detector
from bluesky_azint.errors import RecipeError
from bluesky_azint.store import CalibrationRecord, CalibrationStore, open_store

if TYPE_CHECKING:
    from bluesky_azint.calibration.result import Calibration

    StoreLike = CalibrationStore | str
    ModelLike = Detector | str
    Confirm = Callable[[Calibration], bool] | bool
else:
    StoreLike = ModelLike = str
    Confirm = bool

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
        If neither is given, or both.
    """
    if energy_kev is not None and wavelength is None:
        return KEV_METRES / energy_kev
    if wavelength is not None and energy_kev is None:
        return wavelength
    raise RecipeError(
        "The energy of the photons (energy_kev=, in keV) or their wavelength (wavelength=, in "
        "metres) must be given, one of them."
    )
