"""Goniometer files: a `Goniometer` as pyFAI writes it down, in JSON.

``"Goniometer calibration v2"`` is read and written, v1.1 (the detector without a configuration of
its own) is read. The formulas are in ``trans_function``, whose ``content`` is
``GeometryTransformation``, or ``ExtendedTransformation`` with a formula for the wavelength.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from bluesky_azint.errors import AzintError, FormatError
from bluesky_azint.expressions import CONSTANTS
from bluesky_azint.geometry import Geometry
from bluesky_azint.goniometer import KNOWN, QUANTITIES, Goniometer
from bluesky_azint.io.poni import geometry_from_dict, geometry_to_dict

VERSION = "Goniometer calibration v2"
_OLD = "Goniometer calibration v1.1"
_PLAIN = ("GeometryTransformation", "GeometryTranslation")
_EXTENDED = "ExtendedTransformation"
_DETECTOR_OF_OLD = ("pixel1", "pixel2", "max_shape", "splineFile", "orientation")


def read_goniometer(path: Path) -> Goniometer:
    """Read a goniometer.

    Raises
    ------
    FormatError
        If the file is no such JSON, or lacks an entry.
    GeometryError, RecipeError
        If its detector is not known, or a formula not understood.
    """
    try:
        values = json.loads(path.read_text(encoding="utf-8"))
        return goniometer_from_dict(values)
    except (json.JSONDecodeError, KeyError, TypeError, AttributeError) as error:
        raise FormatError(
            f"{path} is no goniometer file, or not all of one: {error!r}. It must be a JSON object "
            "with content, detector, param, param_names, pos_names and trans_function."
        ) from error
    except AzintError as error:
        raise type(error)(f"Goniometer file {path}: {error}") from error


def write_goniometer(goniometer: Goniometer, path: Path) -> None:
    """Write a goniometer, over what stands there."""
    text = json.dumps(goniometer_to_dict(goniometer), indent=2)
    path.write_text(text + "\n", encoding="utf-8")


def goniometer_to_dict(goniometer: Goniometer) -> dict[str, Any]:
    """The goniometer as pyFAI's JSON, of plain values only."""
    described = geometry_to_dict(Geometry(detector=goniometer.detector))
    names = {
        "param_names": list(goniometer.parameters),
        "pos_names": list(goniometer.positions),
    }
    extended = "wavelength" in goniometer.expressions
    usual = {name: repr(getattr(Geometry, name)) for name in QUANTITIES[:-1]}
    formulas = {f"{name}_expr": text for name, text in {**usual, **goniometer.expressions}.items()}
    constants = {**CONSTANTS, **KNOWN, **goniometer.constants}
    values: dict[str, Any] = {
        "content": VERSION,
        "detector": described["detector"],
        "detector_config": described["detector_config"],
        "param": list(goniometer.parameters.values()),
        **names,
        "trans_function": {
            "content": _EXTENDED if extended else _PLAIN[0],
            **names,
            **formulas,
            "constants": {
                name: value
                for name, value in constants.items()
                if name not in goniometer.parameters and name not in goniometer.positions
            },
        },
    }
    if goniometer.wavelength is not None:
        values["wavelength"] = goniometer.wavelength
    return values


def goniometer_from_dict(values: Mapping[str, Any]) -> Goniometer:
    """The goniometer that `goniometer_to_dict` gave, or pyFAI did.

    Raises
    ------
    FormatError
        If the version or the kind of transformation is not known, or the numbers of names and
        values differ.
    """
    if values["content"] not in (VERSION, _OLD):
        raise FormatError(f"it is {values['content']!r}; only {VERSION!r} and {_OLD!r} are known.")
    function = values["trans_function"]
    kind = function.get("content", _PLAIN[0])
    if kind not in (*_PLAIN, _EXTENDED):
        raise FormatError(
            f"its formulas are a {kind}; only {', '.join(_PLAIN)} and {_EXTENDED} are known."
        )
    names, found = function["param_names"], values["param"]
    if len(names) != len(found):
        raise FormatError(f"it has {len(names)} names of parameters and {len(found)} values.")
    positions = tuple(function.get("pos_names") or ("pos",))
    constants = function.get("constants") or {}
    return Goniometer(
        detector=_geometry_of(values).detector,
        expressions={
            name: str(text)
            for name in QUANTITIES
            if (text := function.get(f"{name}_expr")) is not None
        },
        parameters={str(name): float(value) for name, value in zip(names, found, strict=True)},
        positions=positions,
        wavelength=_geometry_of(values).wavelength,
        constants={
            name: float(value)
            for name, value in constants.items()
            if value not in (CONSTANTS.get(name), KNOWN.get(name))
        },
    )


def _geometry_of(values: Mapping[str, Any]) -> Geometry:
    """The detector and the wavelength, as those of a PONI file are read."""
    config = values.get("detector_config")
    if values["content"] == _OLD:
        config = {name: values[name] for name in _DETECTOR_OF_OLD if name in values}
    nowhere = dict.fromkeys(QUANTITIES[:-1], 1.0)
    return geometry_from_dict(
        nowhere
        | {
            "detector": values["detector"],
            "detector_config": config or {},
            "wavelength": values.get("wavelength"),
        }
    )
