"""What a reduced run says about itself: its start document, data keys and configuration.

A reduced run is a run like any other. ``raw_uid`` in its start document leads to the frames, and
geometry, recipe and versions in it tell how the patterns were made. The radial axis is in the
configuration of each descriptor, under the name that the ``dims`` of the patterns give.
"""

from __future__ import annotations

import json
import platform
import re
from collections.abc import Mapping, Sequence
from importlib.metadata import version
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from bluesky_azint.callbacks.resolve import ResolvedCalibration
from bluesky_azint.geometry import Geometry
from bluesky_azint.io.poni import geometry_to_dict
from bluesky_azint.reduction.recipe import Recipe
from bluesky_azint.reduction.result import IntegrationResult
from bluesky_azint.units import unit

if TYPE_CHECKING:
    from event_model.documents import RunStart
    from event_model.documents.event_descriptor import Configuration, DataKey, Dtype

STAGE = "azint1d"
DEVICE = "azint"
SPEC = "AzintRun"

# From the start document of the raw run, where they are there.
_COPIED = ("scan_id", "sample", "data_session", "data_groups", "proposal", "tiled_access_tags")
# Names that are Python identifiers, for dataset.sel(q=2.5).
_PARAMETERS = re.compile(r"\(\w+=.*\)$")
_AXES = {"q": "q", "2theta": "two_theta", "radius": "r"}
_PLACE = {"dist": "m", "poni1": "m", "poni2": "m", "rot1": "rad", "rot2": "rad", "rot3": "rad"}


def start_metadata(
    raw_start: RunStart,
    data_key: str,
    *,
    recipes: Mapping[str, Recipe],
    engine: str,
    calibration: ResolvedCalibration | None,
    inline: bool,
) -> dict[str, Any]:
    """What the start document of a reduced run holds, apart from its uid and time.

    Parameters
    ----------
    raw_start
        The start document of the raw run.
    data_key
        Which of its images.
    recipes, engine
        What is computed, by name, the main recipe first; and the engine that is asked for.
    calibration
        The one that the run begins with; None if there is none.
    inline
        Whether events hold the patterns: live plots then draw over the time, for they have no
        motors; else the dimensions are those of the raw run.
    """
    raw: dict[str, Any] = {**raw_start}
    recipe = next(iter(recipes.values()))
    over_time = {"dimensions": [[["time"], "primary"]]}
    hints = over_time if inline else raw.get("hints", {})
    return {
        **{key: raw[key] for key in _COPIED if key in raw},
        "plan_name": STAGE,
        "plan_type": "callback",  # which live tables want to know
        "analysis_stage": STAGE,
        "raw_uid": raw["uid"],
        "raw_data_key": data_key,
        "parent_uids": [raw["uid"]],
        "recipe": recipe.to_dict(),
        "recipe_hash": recipe.hash,
        "recipes": {name: one.to_dict() for name, one in recipes.items()},
        "engine": engine,
        "versions": software_versions(),
        "tiled_specs": [SPEC],
        **({"hints": {"dimensions": hints["dimensions"]}} if "dimensions" in hints else {}),
        **({} if calibration is None else _calibration_metadata(calibration)),
    }


def _calibration_metadata(calibration: ResolvedCalibration) -> dict[str, Any]:
    optional = {
        "calibration_uid": calibration.calibration_uid,
        "mask_sha256": calibration.mask_sha256,
    }
    return {
        "detector": calibration.detector,
        "geometry": geometry_to_dict(calibration.geometry),
        "calibration_origin": calibration.origin,
        **{key: value for key, value in optional.items() if value is not None},
    }


def file_provenance(
    start: Mapping[str, Any], *, stream: str, first_frame: int, engine: str, conditions: str
) -> dict[str, str]:
    """What the file of a reduced stream says about where it is from, by the start document.

    Parameters
    ----------
    start
        The start document of the reduced run.
    stream, first_frame
        The name of the stream, and the number of the frame that row 0 is of.
    engine
        What the patterns are made by.
    conditions
        What else the first frames were reduced with, as JSON.
    """
    known = ("raw_uid", "raw_data_key", "detector", "calibration_uid", "calibration_origin")
    return {
        "uid": start["uid"],
        "stream": stream,
        "first_frame": str(first_frame),
        "engine": engine,
        "conditions": conditions,
        **{key: start[key] for key in (*known, "mask_sha256") if key in start},
        "versions": json.dumps(start["versions"]),
    }


def software_versions() -> dict[str, str]:
    """The versions of what the patterns are made with."""
    names = ("bluesky-azint", "numpy", "scipy", "h5py")
    return {"python": platform.python_version(), **{name: version(name) for name in names}}


def axis_name(unit_name: str) -> str:
    """The name of an axis, as a dimension of the patterns.

    >>> axis_name("q_A^-1"), axis_name("2th_deg"), axis_name("chi_deg"), axis_name("log10(q.m)_None")
    ('q', 'two_theta', 'chi', 'log10_q_m')
    """
    quantity = _PARAMETERS.sub("", unit_name).rpartition("_")[0]
    return _AXES.get(unit(unit_name).long_name) or re.sub(r"\W+", "_", quantity).strip("_")


def axes_of(result: IntegrationResult) -> dict[str, tuple[NDArray[np.float64], str]]:
    """Bin centres and unit of measurement of each axis of the patterns, the outer one first."""
    axes = [(result.azimuthal_unit, result.azimuthal), (result.unit, result.radial)]
    return {
        axis_name(name): (centres, unit(name).measure)
        for name, centres in axes
        if name is not None and centres is not None
    }


def data_key(
    source: str,
    dtype_numpy: str,
    shape: Sequence[int] = (),
    *,
    dims: Sequence[str] = (),
    units: str | None = None,
) -> DataKey:
    """The data key of numbers, or of arrays of them."""
    scalar: Dtype = "integer" if "i" in dtype_numpy else "number"
    return {
        "source": source,
        "dtype": "array" if shape else scalar,
        "dtype_numpy": dtype_numpy,
        "shape": list(shape),
        "dims": list(dims),
        "units": units,
        "object_name": DEVICE,
    }


def stream_configuration(
    calibration: ResolvedCalibration,
    geometry: Geometry,
    *,
    recipe: str,
    conditions: str,
    first: IntegrationResult,
    time: float,
) -> dict[str, Configuration]:
    """The configuration of a descriptor: axes, geometry and engine of its patterns.

    Parameters
    ----------
    calibration, geometry
        The calibration, and its geometry with the shape of the detector if the frames gave that.
    recipe
        The name of the recipe.
    conditions
        What else the first frames were reduced with: darks, monitors ...; as JSON.
    first
        A result, as those that will come.
    time
        When, in seconds since the epoch.
    """
    values: dict[str, Any] = {name: getattr(geometry, name) for name in _PLACE}
    keys = {name: data_key(STAGE, "<f8", units=units) for name, units in _PLACE.items()}
    if geometry.wavelength is not None:
        values["wavelength"] = geometry.wavelength
        keys["wavelength"] = data_key(STAGE, "<f8", units="m")
    for axis, (centres, measure) in axes_of(first).items():
        values[axis] = centres.tolist()
        keys[axis] = data_key(STAGE, "<f8", centres.shape, units=measure)
    texts = {
        "recipe": recipe,
        "conditions": conditions,
        "unit": first.unit,
        "engine": first.engine,
        "detector": geometry.detector.name,
        "calibration_uid": calibration.calibration_uid or "",
        "calibration_origin": calibration.origin,
    }
    values |= texts
    keys |= {name: {"source": STAGE, "dtype": "string", "shape": []} for name in texts}
    return {DEVICE: {"data": values, "timestamps": dict.fromkeys(values, time), "data_keys": keys}}
