"""The catalogue of detectors, by pyFAI's names: what ``detectors.toml`` says of each."""

from __future__ import annotations

import tomllib
from dataclasses import dataclass
from difflib import get_close_matches
from functools import cache, lru_cache
from importlib.resources import files
from typing import Any

from bluesky_azint.errors import GeometryError
from bluesky_azint.masks import (
    Mask,
    border_mask,
    lines_mask,
    module_mask,
    round_mask,
    tile_mask,
)
from bluesky_azint.pixels import Cylinder, Hexagons, Pixels, Rectangles, cirpad, wide_borders


@dataclass(frozen=True, kw_only=True, eq=False)
class Model:
    """A detector of the catalogue; the fields are those of ``detectors.toml``."""

    name: str
    shape: tuple[int, int]
    sizes: dict[float, tuple[float, float]]
    binning: float = 1
    module: tuple[int, int] | None = None
    gap: tuple[int, int] = (0, 0)
    seam: int = 0
    round: bool = False
    borders: bool = False
    lines: tuple[list[int], list[int]] | None = None
    tiles: list[list[int]] | None = None
    wide: tuple[float, float] | None = None
    space: float = 0.0
    ring: bool = False
    hexagonal: bool = False
    radius: float | None = None
    dummy: float | None = None
    delta_dummy: float | None = None

    @property
    def modes(self) -> bool:
        """Whether the read-out has modes of its own for binning."""
        return len(self.sizes) > 1

    def factor(self, pixel: float | None, axis: int) -> float:
        """The binning that gives pixels of that size along an axis, 0 or 1."""
        if pixel is None:
            return self.binning
        for factor, size in self.sizes.items():
            # A refined size may be off by a little; modes differ by 15 % and more.
            if abs(pixel - size[axis]) <= 0.01 * size[axis]:
                return factor
        multiple = round(pixel / self.sizes[1][axis])
        if not self.modes and multiple > 1:
            whole = multiple * self.sizes[1][axis]
            if abs(pixel - whole) <= 0.01 * whole:
                return multiple
        sizes = ", ".join(f"{size[axis] * 1e6:g}" for size in self.sizes.values())
        raise GeometryError(
            f"Detector {self.name!r} has no pixels of {pixel * 1e6:g} um, only of {sizes} um"
            f"{'' if self.modes else ' and multiples of it'}. "
            "Describe it with Detector(pixel1=..., pixel2=..., shape=..., mask=...), in a PONI "
            'file as "Detector: Detector" with pixel1, pixel2 and max_shape.'
        )

    def mask(self, shape: tuple[int, int]) -> Mask | None:
        """The mask of the detector read out in that shape; shared, and read-only."""
        return _mask(self, shape)

    def pixels(self, sizes: tuple[float, float], radius: float | None) -> Pixels | None:
        """Where pixels of those sizes lie, unless in a regular grid."""
        return _pixels(self, sizes, radius or self.radius)


def find_model(name: str) -> Model:
    """The detector of that name; case, blanks and punctuation do not count.

    Raises
    ------
    GeometryError
        If there is none.
    """
    key = _key(str(name))
    if key not in _catalogue():
        raise GeometryError(
            f"There is no detector {name!r} in the catalogue{_suggestion(key)}. "
            "Any other is made with Detector(pixel1=..., pixel2=..., shape=...)."
        )
    return _catalogue()[key]


# A mask of 16 million pixels is 17 MB: the last few are kept, for a geometry is made again and
# again, and read-only, for they are shared.
@lru_cache(maxsize=16)
def _mask(model: Model, shape: tuple[int, int]) -> Mask | None:
    if model.round:
        mask = round_mask(shape)
    elif model.module is None:
        return None
    elif model.borders:
        mask = border_mask(shape, module=model.module)
    elif model.lines is not None:
        mask = lines_mask(shape, module=model.module, rows=model.lines[0], columns=model.lines[1])
    elif model.tiles is not None:
        mask = tile_mask(shape, tile=model.module, places=model.tiles)
    elif model.wide is not None:
        return None
    else:
        mask = module_mask(shape, module=model.module, gap=model.gap, seam=model.seam)
    mask.flags.writeable = False
    return mask


@lru_cache(maxsize=4)
def _pixels(model: Model, sizes: tuple[float, float], radius: float | None) -> Pixels | None:
    if radius is not None:
        return Cylinder(model.shape, *sizes, radius)
    if model.hexagonal:
        return Hexagons(model.shape, sizes[1])
    if model.wide is None or model.module is None:
        return None
    if model.ring:
        return cirpad(sizes, chip=model.module[0], wide=model.wide[0])
    slow, fast = (
        wide_borders(number, size, chip=chip, wide=wide, gap=gap)
        for number, size, chip, wide, gap in zip(
            model.shape, sizes, model.module, model.wide, (model.space, 0.0), strict=True
        )
    )
    return Rectangles(slow, fast)


@cache
def _catalogue() -> dict[str, Model]:
    """The models by name and by alias, spelt as `_key` does."""
    text = files("bluesky_azint").joinpath("detectors.toml").read_text(encoding="utf-8")
    models: dict[str, Model] = {}
    for family in tomllib.loads(text).values():
        for name, member in family.pop("members").items():
            aliases = member.pop("aliases", [])
            model = _model(name, {**family, **member})
            models |= dict.fromkeys(map(_key, [name, *aliases]), model)
    return models


def _model(name: str, entry: dict[str, Any]) -> Model:
    """A model from what stands in the catalogue, its pixels' size a number, two, or one per mode."""
    pixel = entry.pop("pixel")
    modes = pixel if isinstance(pixel, dict) else {"1": pixel}
    sizes = {
        float(factor): (size[0], size[1]) if isinstance(size, list) else (size, size)
        for factor, size in modes.items()
    }
    for key in ("shape", "module", "gap", "wide"):
        if key in entry:
            entry[key] = tuple(entry[key])
    return Model(name=name, sizes=sizes, **entry)


def _key(name: str) -> str:
    return "".join(filter(str.isalnum, name)).lower()


def _suggestion(key: str) -> str:
    names = {_catalogue()[match].name for match in get_close_matches(key, _catalogue(), n=5)}
    return f"; near it are {', '.join(sorted(names))}" if names else ""
