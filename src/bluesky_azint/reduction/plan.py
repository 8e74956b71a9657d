"""The plan of a reduction: all that is computed once, before the first frame."""

from __future__ import annotations

from dataclasses import dataclass, fields
from functools import cached_property

import numpy as np
from numpy.typing import ArrayLike, NDArray

from bluesky_azint.corrections import Corrections
from bluesky_azint.engines import BadValues
from bluesky_azint.errors import FrameError
from bluesky_azint.geometry import Geometry
from bluesky_azint.grid import Grid, make_grid
from bluesky_azint.lookup import Builder, Lookup
from bluesky_azint.reduction.normalization import PixelWeights
from bluesky_azint.reduction.recipe import Recipe
from bluesky_azint.units import unit

Mask = NDArray[np.bool_]


@dataclass(frozen=True, kw_only=True, eq=False)
class PixelMaps:
    """What is known of every pixel beforehand; arrays of detector shape, or None.

    Parameters
    ----------
    mask
        True (non-zero) = masked, in addition to the detector's own mask.
    dark, dark_variance
        Dark signal and its variance; without a variance the dark is one exposure with Poisson
        noise, of which the variance is the dark itself.
    flat
        Response, which the signal is divided by; 0 or NaN is masked.
    """

    mask: ArrayLike | None = None
    dark: ArrayLike | None = None
    dark_variance: ArrayLike | None = None
    flat: ArrayLike | None = None

    def check(self, geometry: Geometry) -> None:
        """Refuse maps of another shape than the detector.

        Raises
        ------
        FrameError
            If a map has another shape, or holds anything but numbers.
        """
        for name, values in self._given().items():
            array = np.asarray(values)
            if array.dtype.kind not in "buif":
                raise FrameError(f"The {name} is of type {array.dtype}; it must hold numbers.")
            if array.shape != geometry.shape:
                raise FrameError(
                    f"The {name} has the shape {array.shape}, the detector "
                    f"{geometry.detector.name!r} {geometry.shape}; they must be equal."
                )

    def _given(self) -> dict[str, ArrayLike]:
        named = {field.name: getattr(self, field.name) for field in fields(self)}
        return {name: values for name, values in named.items() if values is not None}


@dataclass(frozen=True, eq=False)
class Plan:
    """All that is known before the first frame.

    Parameters
    ----------
    geometry, grid
        The pixels, and the bins.
    pixels
        Weight and dark of each pixel.
    mask
        Pixels never to be used, of detector shape.
    bad
        Values that mark a pixel as bad in a frame.
    builder
        What computes the look-up.
    """

    geometry: Geometry
    grid: Grid
    pixels: PixelWeights
    mask: Mask
    bad: BadValues
    builder: Builder

    @cached_property
    def lookup(self) -> Lookup:
        """Which pixel goes into which bin; computed when it is asked for."""
        return self.builder.lookup(self.geometry, self.grid, self.mask)


def make_plan(
    geometry: Geometry, recipe: Recipe, maps: PixelMaps, builder: Builder | None = None
) -> Plan:
    """Compute all that does not depend on the frames.

    Parameters
    ----------
    geometry, recipe, maps
        What is to be computed.
    builder
        What computes it of every pixel; None takes NumPy.
    """
    builder = builder or Builder()
    maps.check(geometry)
    grid = make_grid(
        geometry,
        unit(recipe.unit),
        recipe.splitting,
        recipe.npt,
        recipe.radial_range,
        npt_azim=recipe.npt_azim,
        azimuth_range=recipe.azimuth_range,
        azimuthal_unit=unit(recipe.azimuthal_unit),
        find_extent=builder.extent,
    )
    pixels = _pixel_weights(geometry, recipe, maps, builder)
    detector = geometry.detector
    bad = BadValues(recipe.dummy, recipe.delta_dummy)
    if recipe.dummy is None:
        bad = BadValues(detector.dummy, detector.delta_dummy)
    return Plan(geometry, grid, pixels, _unusable(geometry, maps, pixels), bad, builder)


def _pixel_weights(
    geometry: Geometry, recipe: Recipe, maps: PixelMaps, builder: Builder
) -> PixelWeights:
    """Weight (flat, solid angle, polarization, absorption) and dark of every pixel."""
    weight = builder.weights(
        geometry,
        Corrections(
            solid_angle=recipe.correct_solid_angle,
            pixel_areas=recipe.pixel_areas,
            polarization_factor=recipe.polarization_factor,
            polarization_offset=recipe.polarization_offset,
            sensor_transmission=recipe.sensor_transmission,
        ),
    )
    if maps.flat is not None:
        np.multiply(
            weight, np.asarray(maps.flat), out=weight, dtype=np.float64, casting="same_kind"
        )
    dark = None if maps.dark is None else np.array(maps.dark, dtype=np.float64).ravel()
    variance = None if dark is None else np.maximum(dark, 0.0)
    if maps.dark_variance is not None:
        variance = np.array(maps.dark_variance, dtype=np.float64).ravel()
    return PixelWeights(weight.ravel(), dark, variance)


def _unusable(geometry: Geometry, maps: PixelMaps, pixels: PixelWeights) -> Mask:
    """Pixels never to be used: masked, or without a finite weight and dark."""
    weight = pixels.weight
    unusable = np.zeros(weight.size, dtype=bool)
    if not 0 < weight.min(initial=np.inf) <= weight.max(initial=0.0) < np.inf:
        unusable = ~np.isfinite(weight) | (weight == 0)
    for values in (pixels.dark, pixels.dark_variance):
        if values is not None:
            unusable |= ~np.isfinite(values)
    mask: Mask = unusable.reshape(geometry.shape)
    for more in (geometry.detector.mask, maps.mask):
        if more is not None:
            mask |= np.asarray(more) != 0
    return mask
