"""The conditions of frames: what they are reduced with besides the calibration of their detector."""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bluesky_azint.callbacks.companions.darks import Dark
from bluesky_azint.geometry import Geometry
from bluesky_azint.goniometer import Goniometer
from bluesky_azint.reduction.recipe import Recipe

Floats = NDArray[np.float64]


@dataclass(frozen=True, kw_only=True, eq=False)
class Flat:
    """The response of each pixel, and the SHA-256 that it is known by."""

    values: NDArray[Any]
    sha256: str
    source: str


@dataclass(frozen=True, kw_only=True)
class Stand:
    """How the geometry of some frames differs from the calibrated one.

    Parameters
    ----------
    added
        What is added to parameters of the geometry, in metres and radians.
    wavelength
        In metres; None for the calibrated one.
    goniometer, positions
        What gives the geometry in place of the calibration, and where its motors stood.
    moves
        Whether it may be another one at each event.
    """

    added: tuple[tuple[str, float], ...] = ()
    wavelength: float | None = None
    goniometer: Goniometer | None = None
    positions: tuple[tuple[str, float], ...] = ()
    moves: bool = field(default=False, compare=False)

    @property
    def key(self) -> Hashable:
        """Equal where the same calibration becomes the same geometry."""
        return self.added, self.wavelength, self.positions

    @property
    def differs(self) -> bool:
        """Whether the geometry may be another one than the calibrated one."""
        moved = any(value != 0 for _, value in self.added)
        return moved or self.wavelength is not None or self.goniometer is not None

    def geometry(self, calibrated: Geometry) -> Geometry:
        """The geometry of these frames.

        Raises
        ------
        GeometryError
            If there is no such geometry: a negative wavelength, motors beyond what formulas allow.
        """
        if self.goniometer is not None:
            formula = self.goniometer.geometry(**dict(self.positions))
            calibrated = replace(
                formula,
                detector=calibrated.detector,
                parallax=calibrated.parallax,
                wavelength=formula.wavelength or calibrated.wavelength,
            )
        changes: dict[str, Any] = {
            name: getattr(calibrated, name) + value for name, value in self.added
        }
        if self.wavelength is not None:
            changes["wavelength"] = self.wavelength
        return replace(calibrated, **changes) if changes else calibrated


@dataclass(frozen=True, kw_only=True, eq=False)
class Conditions:
    """What some frames, one after the other, are reduced with.

    Parameters
    ----------
    normalization
        ``(n,)``, what the pattern of each frame is divided by.
    dark
        What is subtracted, scaled to the exposure of these frames already; None for nothing.
    flat
        What is divided by; None for nothing.
    stand
        How the geometry differs from the calibrated one.
    provenance
        Where all that is from, in plain values that documents can hold.
    problem
        Why these frames cannot be reduced, as a sentence; "" if they can. Nothing else counts then.
    """

    normalization: Floats
    dark: Dark | None = None
    flat: Flat | None = None
    stand: Stand = Stand()
    provenance: Mapping[str, Any] = field(default_factory=dict)
    problem: str = ""

    @property
    def key(self) -> Hashable:
        """Equal where, with the same calibration and recipe, the same integrator serves."""
        dark = None if self.dark is None else self.dark.key
        return self.stand.key, dark, None if self.flat is None else self.flat.sha256

    @property
    def maps(self) -> dict[str, NDArray[Any] | None]:
        """The arguments ``dark``, ``dark_variance`` and ``flat`` of an `Integrator`."""
        return {
            "dark": None if self.dark is None else self.dark.mean,
            "dark_variance": None if self.dark is None else self.dark.variance,
            "flat": None if self.flat is None else self.flat.values,
        }

    def geometry(self, calibrated: Geometry) -> Geometry:
        """The geometry of these frames, see `Stand.geometry`."""
        return self.stand.geometry(calibrated)


def axes_problem(stand: Stand, recipe: Recipe) -> str:
    """Why patterns of frames that stood otherwise would not fit one stream; "" if they do.

    Axes follow the geometry, unless the recipe says where they begin and end. Those of a stream are
    of the calibrated geometry.
    """
    missing = []
    if recipe.radial_range is None:
        missing.append("radial_range")
    if recipe.npt_azim is not None and recipe.azimuth_range is None:
        missing.append("azimuth_range")
    if not missing or not (stand.moves or stand.differs):
        return ""
    return (
        "Energy or motors make the geometry another one than the calibrated one, and the recipe "
        f"has no {' and no '.join(missing)}, so that such a pattern would have axes of its own. "
        f"Set {' and '.join(missing)} in the recipe."
    )
