"""Units: what a pattern is plotted against, radial and azimuthal, under the names of pyFAI.

A unit is a space (`bluesky_azint.spaces`, `bluesky_azint.fiber`) in a unit of measurement. A space
of one's own is one function; once registered, its name is good wherever a unit is asked for:

>>> def versine(x, y, z, wavelength):
...     return 2 * np.sin(np.arctan2(np.hypot(x, y), z) / 2) ** 2
>>> own = register_unit(Unit("versine", "1 - cos 2θ", "", "versine of 2theta", versine))
>>> unit("versine") is own
True

The spaces of grazing incidence and fibres have parameters, which become a part of the name:

>>> fiber_unit("qip_nm^-1", incident_angle=0.0035, sample_orientation=3).name
'qip_nm^-1(incident_angle=0.0035,sample_orientation=3)'
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, fields, is_dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from bluesky_azint import fiber, spaces
from bluesky_azint.errors import GeometryError, RecipeError

if TYPE_CHECKING:
    from bluesky_azint.geometry import Position

FloatArray = NDArray[np.float64]
Equation = Callable[[FloatArray, FloatArray, FloatArray, float], FloatArray]


@dataclass(frozen=True)
class Unit:
    """A quantity in a unit of measurement.

    Parameters
    ----------
    name
        As users write it, and as pyFAI does: ``"q_A^-1"``.
    symbol, measure
        What stands on an axis: ``"q"`` and ``"1/angstrom"``, the latter empty for a pure number.
    long_name
        The quantity in words, for files.
    equation
        ``equation(x, y, z, wavelength)``, all in metres, gives the quantity. Where it is a frozen
        dataclass that can be called, its fields are the parameters of the unit.
    scale
        What that is multiplied by to be in this unit.
    needs_wavelength
        Whether the equation uses it; it is then never called without.
    positive
        Whether an automatic range starts at zero at the lowest.
    period
        Of an angle, a full turn in this unit; None for what does not come back to itself.
    """

    name: str
    symbol: str
    measure: str
    long_name: str
    equation: Equation
    scale: float = 1.0
    needs_wavelength: bool = False
    positive: bool = True
    period: float | None = None

    def __call__(self, place: Position, wavelength: float | None) -> FloatArray:
        """The quantity at places in the laboratory.

        Raises
        ------
        GeometryError
            If the unit needs a wavelength and there is none.
        """
        if wavelength is None:
            if self.needs_wavelength:
                raise GeometryError(
                    f"The unit {self.name} needs a wavelength and the geometry has none; set it "
                    "with dataclasses.replace(geometry, wavelength=...), in metres."
                )
            wavelength = np.nan
        return self.equation(place.x, place.y, place.z, wavelength) * self.scale

    @property
    def label(self) -> str:
        """What stands beside an axis."""
        return f"{self.symbol} ({self.measure})" if self.measure else self.symbol


Measure = tuple[str, str, float]
_ANGLE = (("deg", "degree", 180.0 / np.pi), ("rad", "rad", 1.0))
_LENGTH = (("mm", "mm", 1e3), ("m", "m", 1.0))
_SPACING = (("A", "angstrom", 1e10), ("nm", "nm", 1e9), ("m", "m", 1.0))
_RECIPROCAL = (("A^-1", "1/angstrom", 0.1), ("nm^-1", "1/nm", 1.0))
_RECIPROCAL_SQUARED = (("A^-2", "1/angstrom^2", 0.01), ("nm^-2", "1/nm^2", 1.0))
_NUMBER = (("None", "", 1.0),)


def _units(
    measures: tuple[Measure, ...],
    stem: str,
    symbol: str,
    long_name: str,
    equation: Equation,
    *,
    signed: bool = False,
    wraps: bool = False,
    needs_wavelength: bool = True,
) -> tuple[Unit, ...]:
    """A quantity in each of some units of measurement."""
    return tuple(
        Unit(
            name=f"{stem}_{suffix}",
            symbol=symbol,
            measure=measure,
            long_name=long_name,
            equation=equation,
            scale=scale,
            needs_wavelength=needs_wavelength,
            positive=not signed,
            period=2.0 * np.pi * scale if wraps else None,
        )
        for suffix, measure, scale in measures
    )


Q_A, Q_NM = _units(_RECIPROCAL, "q", "q", "q", spaces.q_nm)
TTH_DEG, TTH_RAD = _units(_ANGLE, "2th", "2θ", "2theta", spaces.two_theta, needs_wavelength=False)
R_MM, R_M = _units(_LENGTH, "r", "r", "radius", spaces.radius, needs_wavelength=False)
CHI_DEG, CHI_RAD = _units(
    _ANGLE, "chi", "χ", "azimuth", spaces.chi, signed=True, wraps=True, needs_wavelength=False
)

_TRANSMISSION = (
    *(Q_A, Q_NM, TTH_DEG, TTH_RAD, R_MM, R_M),
    *_units(_SPACING, "d", "d", "d spacing", spaces.d_spacing),
    *_units(_RECIPROCAL_SQUARED, "d*2", "d*²", "d*2", spaces.d_star_squared),
    *_units(_NUMBER, "log10(q.m)", "log10(q·m)", "log10(q.m)", spaces.log10_q_m, signed=True),
    *_units(_NUMBER, "log(q.nm)", "log(q·nm)", "log(q.nm)", spaces.log_q_nm, signed=True),
    *_units(_NUMBER, "log(1+q.nm)", "log(1+q·nm)", "log(1+q.nm)", spaces.log1p_q_nm),
    *_units(_NUMBER, "log(1+q.A)", "log(1+q·Å)", "log(1+q.A)", spaces.log1p_q_angstrom),
    *_units(_NUMBER, "arcsinh(q.nm)", "arcsinh(q·nm)", "arcsinh(q.nm)", spaces.arcsinh_q_nm),
    *_units(_NUMBER, "arcsinh(q.A)", "arcsinh(q·Å)", "arcsinh(q.A)", spaces.arcsinh_q_angstrom),
    *_units(_RECIPROCAL, "qx", "qx", "horizontal q", spaces.rectilinear_qx, signed=True),
    *_units(_RECIPROCAL, "qy", "qy", "vertical q", spaces.rectilinear_qy, signed=True),
    *(CHI_DEG, CHI_RAD),
)


def _sample_units() -> tuple[Unit, ...]:
    """Those of `bluesky_azint.fiber`, of a sample that stands upright and level."""
    vectors: dict[str, tuple[str, str, Equation]] = {
        "qip": ("q_ip", "in-plane q", fiber.QInPlane()),
        "qoop": ("q_oop", "out-of-plane q", fiber.QOutOfPlane()),
        "qtot": ("q", "q", fiber.QTotal()),
        "qxgi": ("qx", "q in the film across the beam", fiber.QHorizontal()),
        "qygi": ("qy", "q normal to the film", fiber.QOutOfPlane()),
        "qzgi": ("qz", "q in the film along the beam", fiber.QAlongBeam()),
    }
    angles: dict[str, tuple[str, Equation]] = {
        "scattering_angle_vert": ("vertical scattering angle", fiber.ScatteringAngleVertical()),
        "scattering_angle_horz": ("horizontal scattering angle", fiber.ScatteringAngleHorizontal()),
        "exit_angle_vert": ("vertical exit angle", fiber.ExitAngleVertical()),
        "exit_angle_horz": ("horizontal exit angle", fiber.ExitAngleHorizontal()),
    }
    return (
        *(u for stem, row in vectors.items() for u in _units(_RECIPROCAL, stem, *row, signed=True)),
        *(
            u
            for stem, (words, equation) in angles.items()
            for u in _units(
                *(_ANGLE, stem, words, words, equation),
                signed=True,
                wraps=stem.endswith("_horz"),
                needs_wavelength=False,
            )
        ),
        *_units(
            *(_ANGLE, "chigi", "χ", "angle of q from the normal", fiber.PolarAngle()),
            signed=True,
            wraps=True,
        ),
    )


UNITS = {unit.name: unit for unit in (*_TRANSMISSION, *_sample_units())}
BUILT_IN = frozenset(UNITS)
_WITH_PARAMETERS = re.compile(r"(?P<stem>.+?)\s*\((?P<parameters>[^()]*=[^()]*)\)")


def register_unit(own: Unit) -> Unit:
    """Make a unit of one's own known by its name, and return it.

    A unit registered before under that name is replaced.

    Parameters
    ----------
    own
        The unit; its equation takes arrays of any shape and returns one of that shape.

    Raises
    ------
    RecipeError
        If the name is that of a built-in unit, or the equation does not work.
    """
    if own.name in BUILT_IN or not own.name.strip():
        raise RecipeError(
            f"The name {own.name!r} cannot be given to a unit: it is empty or that of a built-in "
            "one; choose another."
        )
    x, y, z = np.full((3, 2), 0.03), np.full((3, 2), 0.04), np.full((3, 2), 0.2)
    values = own.equation(x, y, z, 1e-10 if own.needs_wavelength else np.nan)
    if np.shape(values) != x.shape or not np.isfinite(values).all():
        raise RecipeError(
            f"The equation of the unit {own.name!r} gives {values!r} for six pixels of shape "
            f"{x.shape}; it must give a finite number for each, and needs_wavelength must be True "
            "where it uses the wavelength."
        )
    UNITS[own.name] = own
    return own


def fiber_unit(
    name: str,
    *,
    incident_angle: float = 0.0,
    tilt_angle: float = 0.0,
    sample_orientation: int = 1,
) -> Unit:
    """A unit of grazing incidence or of a fibre, of a sample that stands as told.

    Parameters
    ----------
    name
        ``"qip_nm^-1"``, ``"qoop_nm^-1"``, ``"exit_angle_vert_deg"``, ``"chigi_deg"`` ...
    incident_angle, tilt_angle, sample_orientation
        See `bluesky_azint.fiber.Sample`. The angles are in radians, as in pyFAI.

    Raises
    ------
    RecipeError
        If there is no such unit, it has no such parameters, or they cannot be.
    """
    return _with_parameters(
        _registered(name),
        {
            "incident_angle": incident_angle,
            "tilt_angle": tilt_angle,
            "sample_orientation": sample_orientation,
        },
    )


def unit(name: str | Unit) -> Unit:
    """The unit of that name; a unit is returned as it is.

    A name may have parameters, ``"qip_nm^-1(incident_angle=0.0035)"``: those of `fiber_unit`, or
    the fields of the equation of a unit of one's own.

    Raises
    ------
    RecipeError
        If there is no such unit, or it has no such parameters.
    """
    if isinstance(name, Unit):
        return name
    parts = _WITH_PARAMETERS.fullmatch(name) if isinstance(name, str) else None
    if parts is None:
        return _registered(name)
    pairs = (pair.partition("=") for pair in parts["parameters"].split(","))
    return _with_parameters(
        _registered(parts["stem"]), {key.strip(): text.strip() for key, _, text in pairs}
    )


def _registered(name: str) -> Unit:
    """The unit of that name, without parameters."""
    try:
        return UNITS[name]
    except (KeyError, TypeError):
        raise RecipeError(f"There is no unit {name!r}; the units are {', '.join(UNITS)}.") from None


def _with_parameters(base: Unit, values: dict[str, Any]) -> Unit:
    """A unit with parameters, numbers or their text, and with a name that tells them."""
    equation: Any = base.equation
    defaults: dict[str, Any] = {}
    if is_dataclass(equation) and not isinstance(equation, type):
        defaults = {field.name: getattr(equation, field.name) for field in fields(equation)}
    unknown = [key for key in values if key not in defaults]
    if unknown:
        raise RecipeError(
            f"The unit {base.name!r} has no parameter {unknown[0]!r}; it has "
            f"{', '.join(defaults) or 'none'}."
        )
    try:
        # Text becomes a number; 2.5 given for a whole number is left to the equation to refuse.
        given = {
            key: type(defaults[key])(value) if isinstance(value, str) else np.asarray(value).item()
            for key, value in values.items()
        }
    except ValueError as error:
        raise RecipeError(f"A parameter of the unit {base.name!r} is no number: {error}.") from None
    equation = replace(equation, **given)
    found = {key: getattr(equation, key) for key in defaults}
    changed = ",".join(f"{key}={found[key]!r}" for key in defaults if found[key] != defaults[key])
    return replace(base, name=f"{base.name}({changed})", equation=equation) if changed else base
