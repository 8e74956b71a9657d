"""Detectors: the shape, the pixels and the gaps of an area detector.

Axis 1 is the slow one (rows, "y"), axis 2 the fast one (columns, "x"). The origin is the outer
corner of pixel (0, 0), and lengths are in metres. The catalogue knows detectors by pyFAI's names.
"""

from __future__ import annotations

import tomllib
from dataclasses import dataclass
from difflib import get_close_matches
from functools import cache, lru_cache
from importlib.resources import files
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bluesky_azint.errors import GeometryError


@dataclass(frozen=True, eq=False)
class Detector:
    """A flat detector of equal, rectangular pixels.

    Parameters
    ----------
    pixel1, pixel2
        Size of a pixel along the slow and the fast axis, in metres.
    shape
        Rows and columns; None where a file does not tell: the first frame then decides.
    mask
        Boolean, of that shape, True = masked: the gaps between modules and what is never to be
        used. None means no mask.
    name
        Name in the catalogue, or any other.
    dummy, delta_dummy
        Frames mark bad pixels by a value within ``delta_dummy`` of ``dummy``.
    orientation
        Position of pixel (0, 0) as seen from the sample, in EXIF numbers: 1 top left, 2 top
        right, 3 bottom right (the native one), 4 bottom left. Only the indices are mirrored:
        2 and 1 count rows backwards, 4 and 1 columns.
    """

    pixel1: float
    pixel2: float
    shape: tuple[int, int] | None = None
    mask: NDArray[np.bool_] | None = None
    name: str = "Detector"
    dummy: float | None = None
    delta_dummy: float | None = None
    orientation: int = 3

    def __post_init__(self) -> None:
        if not (self.pixel1 > 0 and self.pixel2 > 0):
            raise GeometryError(
                f"Detector {self.name!r} has pixels of {self.pixel1} x {self.pixel2} m; "
                "both sizes must be positive, in metres."
            )
        if self.orientation not in (1, 2, 3, 4):
            raise GeometryError(
                f"Detector {self.name!r} has orientation {self.orientation}; "
                "it must be 1, 2, 3 or 4 (EXIF numbering, 3 is the native one)."
            )
        if self.shape is not None:
            object.__setattr__(self, "shape", (int(self.shape[0]), int(self.shape[1])))
        if self.mask is not None:
            mask = np.asarray(self.mask, dtype=bool)
            if self.shape is None:
                object.__setattr__(self, "shape", mask.shape)
            if mask.shape != self.shape:
                raise GeometryError(
                    f"The mask of detector {self.name!r} has the shape {mask.shape}, "
                    f"the detector {self.shape}; they must be equal."
                )
            object.__setattr__(self, "mask", mask)

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Detector):
            return NotImplemented
        return self._scalars() == other._scalars() and (
            self.mask is other.mask
            or (
                self.mask is not None
                and other.mask is not None
                and np.array_equal(self.mask, other.mask)
            )
        )

    def __hash__(self) -> int:
        return hash(self._scalars())

    def _scalars(self) -> tuple[object, ...]:
        return (
            self.pixel1,
            self.pixel2,
            self.shape,
            self.name,
            self.dummy,
            self.delta_dummy,
            self.orientation,
        )


def detector(name: str, pixel1: float | None = None, pixel2: float | None = None) -> Detector:
    """The detector of that name in the catalogue.

    Parameters
    ----------
    name
        As pyFAI writes it, or an alias; case, blanks and punctuation do not count.
    pixel1, pixel2
        Size of a pixel along the slow and the fast axis, in metres, which tells how the read-out
        bins; None is the usual one.

    Raises
    ------
    GeometryError
        If the catalogue has no such detector, or the detector no such pixels.

    Examples
    --------
    >>> detector("Pilatus 1M").shape
    (1043, 981)
    >>> detector("MAR165", pixel1=79e-6, pixel2=79e-6).shape
    (2048, 2048)
    """
    key = _key(name)
    if key not in _catalogue():
        raise GeometryError(
            f"There is no detector {name!r} in the catalogue{_suggestion(key)}. "
            "Any other is made with Detector(pixel1=..., pixel2=..., shape=...)."
        )
    model = _catalogue()[key]
    factors = model.factor(pixel1), model.factor(pixel2)
    shape = int(model.shape[0] / factors[0]), int(model.shape[1] / factors[1])
    return Detector(
        pixel1=pixel1 or model.pixel[factors[0]],
        pixel2=pixel2 or model.pixel[factors[1]],
        shape=shape,
        mask=_mask(model, shape),
        name=model.name,
        dummy=model.dummy,
        delta_dummy=model.delta_dummy,
    )


@dataclass(frozen=True, kw_only=True, eq=False)
class _Model:
    """A detector of the catalogue; the fields are those of ``detectors.toml``."""

    name: str
    shape: tuple[int, int]
    pixel: dict[float, float]
    binning: float = 1
    module: tuple[int, int] | None = None
    gap: tuple[int, int] = (0, 0)
    seam: int = 0
    round: bool = False
    dummy: float | None = None
    delta_dummy: float | None = None

    def factor(self, pixel: float | None) -> float:
        """The binning that gives pixels of that size."""
        if pixel is None:
            return self.binning
        for factor, size in self.pixel.items():
            # A refined size may be off by a little; modes differ by 15 % and more.
            if abs(pixel - size) <= 0.01 * size:
                return factor
        sizes = ", ".join(f"{size * 1e6:g}" for size in self.pixel.values())
        raise GeometryError(
            f"Detector {self.name!r} has no pixels of {pixel * 1e6:g} um, only of {sizes} um. "
            "Describe it with Detector(pixel1=..., pixel2=..., shape=..., mask=...), in a PONI "
            'file as "Detector: Detector" with pixel1, pixel2 and max_shape.'
        )


def module_mask(
    shape: tuple[int, int], *, module: tuple[int, int], gap: tuple[int, int], seam: int = 0
) -> NDArray[np.bool_]:
    """The gaps between modules, and the ``seam`` columns in the middle of each module."""
    row = np.arange(shape[0]) % (module[0] + gap[0])
    column = np.arange(shape[1]) % (module[1] + gap[1])
    start = module[1] // 2 - seam // 2
    masked = (column >= module[1]) | ((column >= start) & (column < start + seam))
    return (row >= module[0])[:, np.newaxis] | masked


def round_mask(shape: tuple[int, int]) -> NDArray[np.bool_]:
    """All pixels whose centre lies outside the circle that fits the rows."""
    centre = shape[0] // 2, shape[1] // 2
    y = np.arange(shape[0])[:, np.newaxis] + 0.5 - centre[0]
    x = np.arange(shape[1]) + 0.5 - centre[1]
    return y**2 + x**2 > centre[0] ** 2


# A mask of 16 million pixels is 17 MB: the last few are kept, for a geometry is made again and
# again, and read-only, for they are shared.
@lru_cache(maxsize=16)
def _mask(model: _Model, shape: tuple[int, int]) -> NDArray[np.bool_] | None:
    if model.round:
        mask = round_mask(shape)
    elif model.module is not None:
        mask = module_mask(shape, module=model.module, gap=model.gap, seam=model.seam)
    else:
        return None
    mask.flags.writeable = False
    return mask


@cache
def _catalogue() -> dict[str, _Model]:
    """The models by name and by alias, spelt as `_key` does."""
    text = files("bluesky_azint").joinpath("detectors.toml").read_text(encoding="utf-8")
    models: dict[str, _Model] = {}
    for family in tomllib.loads(text).values():
        for name, member in family.pop("members").items():
            aliases = member.pop("aliases", [])
            model = _model(name, {**family, **member})
            models |= dict.fromkeys(map(_key, [name, *aliases]), model)
    return models


def _model(name: str, entry: dict[str, Any]) -> _Model:
    pixel = entry["pixel"]
    sizes = pixel if isinstance(pixel, dict) else {"1": pixel}
    entry["pixel"] = {float(factor): size for factor, size in sizes.items()}
    return _Model(name=name, **entry)


def _key(name: str) -> str:
    return "".join(filter(str.isalnum, name)).lower()


def _suggestion(key: str) -> str:
    names = {_catalogue()[match].name for match in get_close_matches(key, _catalogue(), n=5)}
    return f"; near it are {', '.join(sorted(names))}" if names else ""
