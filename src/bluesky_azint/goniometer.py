"""A goniometer: the geometry of a detector that moves, as formulas of motor positions."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any

from bluesky_azint.detectors import Detector
from bluesky_azint.errors import GeometryError, RecipeError
from bluesky_azint.expressions import CONSTANTS, FUNCTIONS, Expression
from bluesky_azint.geometry import Geometry

QUANTITIES = ("dist", "poni1", "poni2", "rot1", "rot2", "rot3", "wavelength")
"""What a formula may give: metres and radians, as in `Geometry`."""

KNOWN = {"hc": 12.398419843320026, "q": 1.602176634e-19}
"""Constants of pyFAI: h c in keV angstrom, and the elementary charge in coulomb."""


@dataclass(frozen=True, kw_only=True)
class Goniometer:
    """A detector on motors.

    Parameters
    ----------
    detector
        The detector.
    expressions
        A formula of `parameters`, `positions` and `constants` for some of dist, poni1, poni2, rot1,
        rot2, rot3 and wavelength; what has none is what it is in a `Geometry` without it.
    parameters
        What a calibration finds: names and values.
    positions
        Names of the motors.
    wavelength
        In metres, where there is no formula for it.
    constants
        More names and their values; pi, ``hc`` (keV angstrom) and ``q`` (coulomb) are known.

    Raises
    ------
    RecipeError
        If a formula is none, or holds what is not understood.
    GeometryError
        If a formula uses an unknown name, or a name stands for two things.

    Examples
    --------
    >>> arm = Goniometer(
    ...     detector=Detector(1e-4, 1e-4, (100, 100)),
    ...     parameters={"dist": 0.5, "offset": 0.01},
    ...     positions=("tth",),
    ...     expressions={"dist": "dist", "rot2": "offset - tth * pi / 180"},
    ... )
    >>> round(arm.geometry(tth=90.0).rot2, 4)
    -1.5608
    """

    detector: Detector
    expressions: Mapping[str, str]
    parameters: Mapping[str, float] = field(default_factory=dict)
    positions: tuple[str, ...] = ("pos",)
    wavelength: float | None = None
    constants: Mapping[str, float] = field(default_factory=dict)

    def __post_init__(self) -> None:
        object.__setattr__(self, "positions", tuple(self.positions))
        names = [*self.parameters, *self.positions, *self.constants]
        twice = {name for name in names if names.count(name) > 1 or name in CONSTANTS}
        if twice or set(names) & FUNCTIONS.keys():
            taken = sorted(twice | (set(names) & FUNCTIONS.keys()))
            raise GeometryError(
                f"The name {', '.join(taken)} of the goniometer stands for two things; parameters, "
                "positions and constants need names of their own, and other ones than functions."
            )
        if unknown := sorted(self.expressions.keys() - set(QUANTITIES)):
            raise GeometryError(
                f"The goniometer has a formula for {', '.join(unknown)}; there may be one for "
                f"{', '.join(QUANTITIES)}."
            )
        for quantity, formula in self._formulas.items():
            if missing := sorted(formula.names - set(names) - KNOWN.keys()):
                raise GeometryError(
                    f"The formula {formula.text!r} for {quantity} uses {', '.join(missing)}, which is "
                    f"none of the names of the goniometer: {', '.join(names)}."
                )

    @cached_property
    def _formulas(self) -> dict[str, Expression]:
        return {quantity: Expression(text) for quantity, text in self.expressions.items()}

    def geometry(self, **positions: float) -> Geometry:
        """The geometry at a place of every motor.

        Raises
        ------
        GeometryError
            If a position is missing, or of no motor of this goniometer, or a formula has no finite
            value there.
        """
        if positions.keys() != set(self.positions):
            raise GeometryError(
                f"Positions of {', '.join(positions) or 'no motor'} are given; the goniometer has the "
                f"motors {', '.join(self.positions)}, of each of which it needs the position."
            )
        return self.geometry_with(self.parameters, positions)

    def geometry_with(
        self, parameters: Mapping[str, float], positions: Mapping[str, float]
    ) -> Geometry:
        """The geometry with other values of all parameters, at a place of every motor.

        Raises
        ------
        GeometryError
            If a formula has no finite value there.
        """
        values = {**KNOWN, **self.constants, **parameters, **positions}
        try:
            found: dict[str, Any] = {
                quantity: formula(values) for quantity, formula in self._formulas.items()
            }
        except RecipeError as error:
            raise GeometryError(f"The goniometer has no geometry there: {error}") from error
        still = Geometry(detector=self.detector, wavelength=self.wavelength)
        return replace(still, **found)
