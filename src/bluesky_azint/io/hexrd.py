"""Instruments of heXRD, as YAML (``.yml``) or HDF5 (``.hexrd``, ``.h5``).

What does not place the pixels (saturation level, calibration crystal ...) is not read, and a mask
is not written, as in a PONI file. A ``buffer`` becomes a mask.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import h5py
import numpy as np
from numpy.typing import ArrayLike, NDArray

from bluesky_azint.conversions.hexrd import HexrdBeam, HexrdPanel, Vector, from_hexrd, to_hexrd
from bluesky_azint.errors import AzintError, FormatError
from bluesky_azint.geometry import Geometry

YAML = (".yml", ".yaml")
_GROUP = "instrument"


def read_hexrd(path: Path) -> dict[str, Geometry]:
    """Read the geometry of every panel of an instrument, by its name.

    Raises
    ------
    FormatError
        If the file is no instrument, or places the pixels in a way that cannot be honoured: a
        distortion, a cylindrical panel, a source at a finite distance, several beams.
    """
    try:
        instrument = _load_yaml(path) if path.suffix.lower() in YAML else _load_hdf5(path)
        return geometries_from_instrument(instrument)
    except (KeyError, TypeError) as error:
        raise FormatError(
            f"{path} is no instrument of heXRD, or not all of one: {error!r} is missing or wrong. It "
            "needs beam, detectors (pixels and transform of each) and oscillation_stage."
        ) from error
    except AzintError as error:
        raise type(error)(f"heXRD instrument {path}: {error}") from error


def write_hexrd(geometries: Mapping[str, Geometry], path: Path) -> None:
    """Write an instrument with a panel for each geometry, over what stands there.

    Raises
    ------
    FormatError
        If the geometries have different wavelengths.
    GeometryError
        If one has no wavelength, or its detector no shape.
    """
    instrument = instrument_from_geometries(geometries)
    if path.suffix.lower() in YAML:
        import yaml

        path.write_text(yaml.safe_dump(instrument), encoding="utf-8")
        return
    with h5py.File(path, "w") as file:
        _to_group(file.create_group(_GROUP), instrument)


def geometries_from_instrument(instrument: Mapping[str, Any]) -> dict[str, Geometry]:
    """The geometry of every panel of an instrument, given as nested mappings."""
    beam = _beam(instrument["beam"])
    stage = instrument.get("oscillation_stage", {})
    sample = _vector(stage.get("translation", (0.0, 0.0, 0.0)))
    return {
        str(name): _panel_geometry(str(name), entry, beam, sample)
        for name, entry in instrument["detectors"].items()
    }


def instrument_from_geometries(geometries: Mapping[str, Geometry]) -> dict[str, Any]:
    """An instrument as nested dictionaries of plain values, with a panel for each geometry."""
    converted = {name: to_hexrd(geometry) for name, geometry in geometries.items()}
    energies = {beam.energy for beam, _ in converted.values()}
    if len(energies) != 1:
        raise FormatError(
            f"An instrument of heXRD has one energy, these geometries have {sorted(energies)} keV; "
            "write one file for each wavelength."
        )
    return {
        "beam": {"energy": energies.pop(), "vector": {"azimuth": 90.0, "polar_angle": 90.0}},
        "detectors": {
            name: {
                "detector_type": "planar",
                "pixels": {
                    "rows": panel.rows,
                    "columns": panel.columns,
                    "size": list(panel.size),
                },
                "transform": {"tilt": list(panel.tilt), "translation": list(panel.translation)},
            }
            for name, (_, panel) in converted.items()
        },
        "oscillation_stage": {"chi": 0.0, "translation": [0.0, 0.0, 0.0]},
    }


def _beam(entry: Mapping[str, Any]) -> HexrdBeam:
    if "energy" not in entry:
        if len(entry) != 1:
            raise FormatError(
                f"it has the beams {', '.join(map(str, entry))}, and a geometry only one. Save the "
                "instrument once with each beam alone."
            )
        (entry,) = entry.values()
    source = entry.get("source_distance")
    if source is not None and np.isfinite(float(source)):
        raise FormatError(
            f"its source is at a finite distance, {source} mm, which is not implemented here."
        )
    vector = entry["vector"]
    return HexrdBeam(
        energy=float(entry["energy"]),
        azimuth=float(vector["azimuth"]),
        polar_angle=float(vector["polar_angle"]),
    )


def _panel_geometry(
    name: str, entry: Mapping[str, Any], beam: HexrdBeam, sample: Vector
) -> Geometry:
    kind = entry.get("detector_type", "planar")
    if kind != "planar":
        raise FormatError(f"its panel {name} is {kind}; only planar panels are implemented here.")
    if entry.get("distortion"):
        raise FormatError(
            f"its panel {name} has a distortion ({entry['distortion']}), which is not implemented "
            "here. Calibrate without, or correct the images first."
        )
    pixels, transform = entry["pixels"], entry["transform"]
    height, width = (float(length) for length in pixels["size"])
    panel = HexrdPanel(
        rows=int(pixels["rows"]),
        columns=int(pixels["columns"]),
        size=(height, width),
        tilt=_vector(transform["tilt"]),
        translation=_vector(transform["translation"]),
    )
    geometry = from_hexrd(beam, panel, sample=sample)
    mask = _mask(entry.get("buffer"), panel)
    return replace(geometry, detector=replace(geometry.detector, name=name, mask=mask))


def _mask(buffer: ArrayLike | None, panel: HexrdPanel) -> NDArray[np.bool_] | None:
    """The pixels that a buffer excludes: a border (x, y) in millimetres, or a map of good ones."""
    if buffer is None:
        return None
    values = np.asarray(buffer)
    if values.ndim == 2:
        bad: NDArray[np.bool_] = np.logical_not(values)
        return bad
    border_x, border_y = np.broadcast_to(values.astype(np.float64), (2,))
    rows = _from_edge(panel.rows) * panel.size[0] < border_y
    columns = _from_edge(panel.columns) * panel.size[1] < border_x
    mask: NDArray[np.bool_] = rows[:, np.newaxis] | columns
    return mask if mask.any() else None


def _from_edge(number: int) -> NDArray[np.float64]:
    """Distance of pixel centres from the nearer edge, in pixels."""
    centres = np.arange(number) + 0.5
    nearer: NDArray[np.float64] = np.minimum(centres, number - centres)
    return nearer


def _vector(values: Iterable[Any]) -> Vector:
    x, y, z = (float(value) for value in values)
    return x, y, z


def _load_yaml(path: Path) -> Mapping[str, Any]:
    import yaml

    try:
        loaded = yaml.safe_load(path.read_text(encoding="utf-8"))
    except yaml.YAMLError as error:
        raise FormatError(f"it is no valid YAML: {error}.") from error
    if not isinstance(loaded, Mapping):
        raise FormatError("it holds no instrument; it must have beam, detectors and so on.")
    return loaded


def _load_hdf5(path: Path) -> Mapping[str, Any]:
    with h5py.File(path) as file:
        return _from_group(file[_GROUP])


def _from_group(group: h5py.Group) -> dict[str, Any]:
    """Groups as dictionaries, data sets as arrays; one number is a number, as in heXRD."""
    values: dict[str, Any] = {}
    for name, item in group.items():
        if isinstance(item, h5py.Group):
            values[name] = _from_group(item)
            continue
        value = item[()]
        if np.shape(value) == (1,):
            value = value[0]
        values[name] = value.decode() if isinstance(value, bytes) else value
    return values


def _to_group(group: h5py.Group, values: Mapping[str, Any]) -> None:
    for name, value in values.items():
        if isinstance(value, Mapping):
            _to_group(group.create_group(name), value)
        else:
            group[name] = value if isinstance(value, str) else np.atleast_1d(value)
