"""Live azimuthal integration and detector calibration for Bluesky beamlines.

>>> import bluesky_azint as ba
>>> geometry = ba.Geometry(
...     dist=0.2, poni1=0.09, poni2=0.085, wavelength=1e-10, detector=ba.detector("Pilatus1M")
... )
>>> integrator = ba.Integrator(geometry, npt=1000, unit="q_A^-1", error_model="poisson")

Names are loaded when they are first used, so that importing the package costs nothing.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from bluesky_azint.calibration.calibrate import calibrate
    from bluesky_azint.calibration.check import GeometryCheck, check_geometry
    from bluesky_azint.calibration.result import Calibration
    from bluesky_azint.detectors import Detector, detector
    from bluesky_azint.errors import AzintError
    from bluesky_azint.geometry import Geometry
    from bluesky_azint.io.calibrants import calibrant
    from bluesky_azint.reduction.integrator import Integrator
    from bluesky_azint.reduction.recipe import Recipe
    from bluesky_azint.reduction.result import IntegrationResult
    from bluesky_azint.units import Unit, fiber_unit, register_unit

__all__ = [
    "AzintError",
    "Calibration",
    "Detector",
    "Geometry",
    "GeometryCheck",
    "IntegrationResult",
    "Integrator",
    "Recipe",
    "Unit",
    "calibrant",
    "calibrate",
    "check_geometry",
    "detector",
    "fiber_unit",
    "register_unit",
]

_HOMES = {
    "AzintError": "bluesky_azint.errors",
    "Calibration": "bluesky_azint.calibration.result",
    "Detector": "bluesky_azint.detectors",
    "Geometry": "bluesky_azint.geometry",
    "GeometryCheck": "bluesky_azint.calibration.check",
    "IntegrationResult": "bluesky_azint.reduction.result",
    "Integrator": "bluesky_azint.reduction.integrator",
    "Recipe": "bluesky_azint.reduction.recipe",
    "Unit": "bluesky_azint.units",
    "calibrant": "bluesky_azint.io.calibrants",
    "calibrate": "bluesky_azint.calibration.calibrate",
    "check_geometry": "bluesky_azint.calibration.check",
    "detector": "bluesky_azint.detectors",
    "fiber_unit": "bluesky_azint.units",
    "register_unit": "bluesky_azint.units",
}


def __getattr__(name: str) -> object:
    if name in _HOMES:
        return getattr(import_module(_HOMES[name]), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted([*globals(), *__all__])
