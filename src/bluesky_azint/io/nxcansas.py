"""Small-angle patterns in HDF5 after the NeXus definition NXcanSAS: what SasView reads.

::

    sasentry01       NXentry: definition, title, run
      sasdata01      NXdata: Q, I, Idev, without the bins that hold no pixel
      sasinstrument  NXinstrument
        sasdetector  NXdetector: name, SDD, beam centre, size of the pixels
        sassource    NXsource: type, probe, radiation, incident_wavelength
      sassample      NXsample: name, where it is known
      sasprocess     NXprocess: name, date, poni, recipe, sasprocessnote

A file holds one pattern. The distance and the centre are those of the beam, not of the point of
normal incidence: where it hits the plane of the detector, in millimetres from the outer corner of
the first pixel.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import datetime
from importlib.metadata import version
from pathlib import Path

import h5py
import numpy as np

from bluesky_azint.conversions.pose import beam_spot
from bluesky_azint.errors import FormatError, GeometryError
from bluesky_azint.geometry import Geometry
from bluesky_azint.io.poni import poni_lines
from bluesky_azint.reduction.recipe import Recipe
from bluesky_azint.reduction.result import IntegrationResult
from bluesky_azint.units import unit as unit_of

UNITS = ("q_A^-1", "q_nm^-1")


def write_nxcansas(
    result: IntegrationResult,
    path: Path,
    *,
    geometry: Geometry,
    recipe: Recipe,
    frame: int | None = None,
    provenance: Mapping[str, str] | None = None,
    force: bool = False,
) -> None:
    """Write one pattern in q.

    Parameters
    ----------
    result
        A pattern, or a stack of them.
    path
        The file.
    geometry, recipe
        What the pattern was made with.
    frame
        Which pattern of a stack.
    provenance
        Where the pattern comes from. ``title``, ``run`` (or else ``frame``), ``sample``,
        ``instrument``, ``source`` and ``source_type`` have their own places in the file.
    force
        Whether to replace a file that is there.

    Raises
    ------
    FormatError
        If the file is there already or cannot be written, or the result is not one pattern in q.
    """
    notes = dict(provenance or {})
    intensity, sigma, count = _one_pattern(result, frame)
    used = count > 0
    try:
        file = h5py.File(path, "w" if force else "x")
    except FileExistsError:
        raise FormatError(f"{path} is there already; use force to replace it.") from None
    except OSError as error:
        raise FormatError(f"{path} cannot be written: {error}.") from error
    with file:
        file.attrs["default"] = "sasentry01"
        entry = _group(file, "sasentry01", "NXentry", "SASentry")
        entry.attrs.update({"version": "1.0", "default": "sasdata01"})
        entry["definition"] = "NXcanSAS"
        entry["title"] = notes.get("title", path.stem)
        entry["run"] = notes.get("run", notes.get("frame", "1"))
        data = _group(entry, "sasdata01", "NXdata", "SASdata")
        data.attrs.update({"signal": "I", "axes": ["Q"], "I_axes": "Q", "Q_indices": 0})
        _quantity(data, "Q", result.radial[used], unit_of(result.unit).measure)
        _quantity(data, "I", intensity[used], "a.u.")
        if sigma is not None:
            _quantity(data, "Idev", sigma[used], "a.u.")
            data["I"].attrs["uncertainties"] = "Idev"
        _write_instrument(entry, geometry, notes)
        if "sample" in notes:
            _group(entry, "sassample", "NXsample", "SASsample")["name"] = notes["sample"]
        _write_process(entry, result, geometry, recipe, notes)


def _one_pattern(
    result: IntegrationResult, frame: int | None
) -> tuple[np.ndarray, np.ndarray | None, np.ndarray]:
    """Intensity, standard error and number of pixels of one frame."""
    if result.unit not in UNITS:
        raise FormatError(
            f"NXcanSAS holds patterns in q, and this one is in {result.unit}; reduce with one of "
            f"the units {', '.join(UNITS)}, or write another format."
        )
    intensity, sigma, count = result.intensity, result.sigma, result.count
    if frame is not None and result.azimuthal is None and intensity.ndim == 2:
        intensity, count = intensity[frame], count[frame]
        sigma = None if sigma is None else sigma[frame]
    if intensity.shape != result.radial.shape:
        raise FormatError(
            f"The result has the shape {intensity.shape}, and an NXcanSAS file holds one pattern "
            f"of {result.radial.size} points; tell which frame is meant, or write .nxs."
        )
    return intensity, sigma, count


def _write_instrument(entry: h5py.Group, geometry: Geometry, notes: Mapping[str, str]) -> None:
    instrument = _group(entry, "sasinstrument", "NXinstrument", "SASinstrument")
    instrument["name"] = notes.get("instrument", "unknown")
    detector = _group(instrument, "sasdetector", "NXdetector", "SASdetector")
    detector["name"] = geometry.detector.name
    try:
        spot = beam_spot(geometry)
    except GeometryError:
        pass  # the plane is never hit: there is no such place
    else:
        _quantity(detector, "SDD", 1e3 * spot.distance, "mm")
        _quantity(detector, "beam_center_x", 1e3 * spot.p2, "mm")
        _quantity(detector, "beam_center_y", 1e3 * spot.p1, "mm")
    _quantity(detector, "x_pixel_size", 1e3 * geometry.detector.pixel2, "mm")
    _quantity(detector, "y_pixel_size", 1e3 * geometry.detector.pixel1, "mm")
    source = _group(instrument, "sassource", "NXsource", "SASsource")
    source["name"] = notes.get("source", "unknown")
    source["type"] = notes.get("source_type", "unknown")
    source["probe"] = source["radiation"] = "x-ray"
    if geometry.wavelength is not None:
        _quantity(source, "incident_wavelength", 1e10 * geometry.wavelength, "angstrom")


def _write_process(
    entry: h5py.Group,
    result: IntegrationResult,
    geometry: Geometry,
    recipe: Recipe,
    notes: Mapping[str, str],
) -> None:
    process = _group(entry, "sasprocess", "NXprocess", "SASprocess")
    process["name"] = "azimuthal integration"
    process["date"] = datetime.now().astimezone().isoformat()
    process["program"] = "bluesky-azint"
    process["version"] = version("bluesky-azint")
    process["engine"] = result.engine
    process["poni"] = "\n".join(poni_lines(geometry))
    process["recipe"] = json.dumps(recipe.to_dict())
    more = _group(process, "sasprocessnote", "NXcollection", "SASprocessnote")
    for key, value in notes.items():
        more[key] = value


def _group(parent: h5py.Group, name: str, nx_class: str, sas_class: str) -> h5py.Group:
    group = parent.create_group(name)
    group.attrs.update({"NX_class": nx_class, "canSAS_class": sas_class})
    return group


def _quantity(group: h5py.Group, name: str, value: np.ndarray | float, units: str) -> None:
    group[name] = value
    group[name].attrs["units"] = units
