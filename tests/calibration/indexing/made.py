"""Pieces of rings as a frame without noise would have them, for tests of what is made of them."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

import bluesky_azint as ba
from bluesky_azint.calibrants import calibrant
from bluesky_azint.calibration.cone import Cone
from bluesky_azint.calibration.indexing.matching import Reference
from bluesky_azint.calibration.indexing.terrain import Terrain
from bluesky_azint.calibration.rings.ridges import Arcs
from bluesky_azint.calibration.surface import Surface
from tests.study.places import on_detector, places_on_ring

PIXEL = 1e-4
SHAPE = (400, 500)
WAVELENGTH = 0.4e-10
SURFACE = Surface(ba.Detector(pixel1=PIXEL, pixel2=PIXEL, shape=SHAPE))
SIZE = SURFACE.size
TERRAIN = Terrain.of(SURFACE, np.ones(SHAPE, dtype=bool))
_SCALE = np.array([SIZE, SIZE, SIZE, 1.0, 1.0])

CONES = {
    "in the middle": Cone(0.018, 0.027, 0.06),
    "tilted": Cone(0.012, 0.030, 0.05, 0.3, -0.25),
    "beside the beam": Cone(-0.015, 0.020, 0.06, 0.1, 0.0),
    "on an arm": Cone.of(
        SURFACE.stand(dist=0.15, poni1=0.02, poni2=0.025, rot2=np.radians(30), rot1=0.02)
    ),
    "far away on an arm": Cone.of(
        SURFACE.stand(dist=0.4, poni1=0.021, poni2=0.024, rot1=np.radians(-40))
    ),
}


def parameters(cone: Cone) -> NDArray[np.float64]:
    """Those of a cone, in detector sizes."""
    scaled: NDArray[np.float64] = cone.parameters / _SCALE
    return scaled


def reference(name: str = "CeO2") -> Reference:
    """The lines of a calibrant, all of the same brightness at first, weaker farther out."""
    two_theta = calibrant(name).two_theta(WAVELENGTH)
    return Reference(two_theta, 1.0 / two_theta)


def arcs(cone: Cone, name: str = "CeO2", noise: float = 0.1, seed: int = 0) -> Arcs:
    """The pieces of all rings that are on the detector, a point for every pixel or so."""
    rng = np.random.default_rng(seed)
    geometry = cone.geometry(SURFACE, WAVELENGTH)
    places, normals, numbers = [np.empty((0, 2))], [np.empty((0, 2))], [np.empty(0, np.intp)]
    number = 0
    for two_theta in calibrant(name).two_theta(WAVELENGTH):
        points = np.stack(places_on_ring(geometry, float(two_theta), 20000), axis=-1)
        seen = on_detector(SHAPE, *points.T)
        if not seen.any():
            continue
        ends = np.flatnonzero(np.diff(seen.astype(int), append=int(seen[0])))
        points = np.roll(points, -(ends[0] + 1 if ends.size else 0), axis=0)
        seen = np.roll(seen, -(ends[0] + 1 if ends.size else 0))
        edges = np.flatnonzero(np.diff(seen.astype(int), prepend=0, append=0))
        for first, last in edges.reshape(-1, 2):
            piece = points[first:last]
            length = np.linalg.norm(np.diff(piece, axis=0), axis=1).sum()
            if length < 20:
                continue
            step = max(1, int(len(piece) / length))
            along = np.gradient(piece, axis=0)[::step]
            along /= np.linalg.norm(along, axis=1, keepdims=True)
            normal = np.stack([along[:, 1], -along[:, 0]], axis=-1)
            places.append(piece[::step] + normal * rng.normal(0, noise, (len(normal), 1)))
            normals.append(normal)
            numbers.append(np.full(len(normal), number))
            number += 1
    row, column = np.concatenate(places).T
    return Arcs(row, column, np.concatenate(normals), np.ones(row.size), np.concatenate(numbers))


def pixels_apart(one: NDArray[np.float64], other: NDArray[np.float64]) -> float:
    """How far two stands put rings from each other, rms in pixels."""
    return TERRAIN.apart(one, other)
