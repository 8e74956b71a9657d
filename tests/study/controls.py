"""Frames that have no geometry to be found, or none that may be trusted.

E must be refused; F must not be accepted, as what the calibration is told is not quite true, or the
detector or the sample is not what it is taken for. V are class B under harder conditions.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace

import numpy as np

from bluesky_azint.calibration.cone import Cone
from tests.study.classes import (
    View,
    anywhere,
    arcs,
    centred,
    detectors,
    drawn,
    half_rings,
    on_either,
    scene,
)
from tests.study.places import FloatArray, places_in_plane, two_theta_at
from tests.study.sample import Displacement, Rings
from tests.study.scene import (
    Scene,
    digitized,
    generator,
    log_uniform,
    look_at,
    with_texture,
)
from tests.study.simulator import Look

# What the frame shows, and what it is said to show: other structures, and other sizes of the same.
POWDERS = (("LaB6", "CeO2"), ("alpha_Al2O3", "CeO2"), ("TiO2", "CeO2"), ("ZnO", "CeO2"))
OTHERS = (("CeO2", "LaB6"), ("alpha_Al2O3", "LaB6"), ("TiO2", "LaB6"), ("LaB6", "Si"))
SIMILAR = (("Si", "CeO2"), ("CeO2", "Si"), ("Al", "Ni"), ("Ni", "Au"), ("Au", "Al"))


def nothing(kind: str, seed: int) -> Scene:
    """E: frames of which rings are no part."""
    rng = generator(kind, seed)
    geometry, calibrant, seen = drawn(rng, centred, half_rings)
    look = look_at(geometry, seen.rings, rng)
    found = scene(kind, seed, calibrant, replace(look, peak=0.0), rng, seen)
    counts = rng.poisson(EMPTY[kind](look, rng))
    return replace(found, image=digitized(counts, found.detector), look=None, expects="refused")


def blank(look: Look, rng: np.random.Generator) -> FloatArray:
    """Next to nothing."""
    return np.full(look.geometry.shape, rng.choice([0.0, 1e-4, 1e-2]))


def noise(look: Look, rng: np.random.Generator) -> FloatArray:
    """The same everywhere."""
    return np.full(look.geometry.shape, log_uniform(rng, 0.1, 10000.0))


def halo(look: Look, rng: np.random.Generator) -> FloatArray:
    """An amorphous sample."""
    return replace(look, rings=_dark(look.rings)).expected()


def stop(look: Look, rng: np.random.Generator) -> FloatArray:
    """The beam stop in the glow of the beam."""
    glow = replace(look.background, air=0.01, halo=0.0, direct=5.0)
    return replace(look, rings=_dark(look.rings), background=glow).expected()


def stripes(look: Look, rng: np.random.Generator) -> FloatArray:
    """Straight lines at equal distances, in any direction."""
    i, j = np.indices(look.geometry.shape)
    direction, period = rng.uniform(0.0, np.pi), rng.uniform(10.0, 150.0)
    wave = 0.5 + 0.5 * np.cos((i * np.sin(direction) + j * np.cos(direction)) * 2 * np.pi / period)
    counts: FloatArray = look.peak * (wave ** rng.uniform(1.0, 40.0) + 0.05)
    return counts


def spots(look: Look, rng: np.random.Generator) -> FloatArray:
    """A single crystal, its lattice points within 1 % of Ewald's sphere."""
    geometry = look.geometry
    k = 1e-10 / (geometry.wavelength or np.nan)  # 1 / angstrom
    hkl = np.stack(np.meshgrid(*[np.arange(-15, 16)] * 3), axis=-1).reshape(-1, 3)
    turn, _ = np.linalg.qr(rng.normal(size=(3, 3)))
    ray = hkl / rng.uniform(4.0, 12.0) @ turn + np.array([0.0, 0.0, k])
    ray = ray[(np.abs(np.linalg.norm(ray, axis=1) / k - 1.0) < 0.01) & (ray[:, 2] > 0.1 * k)]
    cone = Cone.of(geometry)
    reach = cone.distance / ray[:, 2]
    p1, p2 = cone.centre1 + ray[:, 0] * reach, cone.centre2 + ray[:, 1] * reach
    counts = look.peak * look.background(two_theta_at(geometry, *np.indices(geometry.shape)))
    width = rng.uniform(1.0, 2.5)
    for y, x in zip(p1 / geometry.detector.pixel1, p2 / geometry.detector.pixel2, strict=True):
        i, j = slice(max(int(y) - 9, 0), int(y) + 10), slice(max(int(x) - 9, 0), int(x) + 10)
        if y > -9 and x > -9 and counts[i, j].size:
            rows, columns = np.arange(geometry.shape[0])[i], np.arange(geometry.shape[1])[j]
            far = (rows[:, np.newaxis] - y) ** 2 + (columns - x) ** 2
            counts[i, j] += look.peak * rng.exponential() * np.exp(-0.5 * far / width**2)
    return counts


EMPTY: Mapping[str, Callable[[Look, np.random.Generator], FloatArray]] = {
    "E-blank": blank, "E-noise": noise, "E-halo": halo, "E-stop": stop,
    "E-stripes": stripes, "E-spots": spots,
}  # fmt: skip


def _dark(rings: Rings) -> Rings:
    return replace(rings, height=0.0 * rings.height)


def any_rings(kind: str, seed: int) -> Scene:
    """E: one ring, or concentric rings wherever chance puts them."""
    rng = generator(kind, seed)
    geometry, calibrant, seen = drawn(rng, centred, half_rings)
    number = 1 if kind == "E-single" else int(rng.integers(4, 15))
    two_theta = np.sort(rng.uniform(0.15, 0.7, number)) * seen.last
    rings = Rings(two_theta=two_theta, height=rng.uniform(0.1, 1.0, number))
    look = look_at(geometry, rings, rng)
    return replace(scene(kind, seed, calibrant, look, rng, seen), expects="refused")


def other_powder(kind: str, seed: int) -> Scene:
    """E: another powder than is said."""
    rng = generator(kind, seed)
    pairs = SIMILAR if kind == "E-similar" else POWDERS + OTHERS
    shown, told = pairs[rng.integers(len(pairs))]
    geometry, _, seen = drawn(rng, on_either(rng), arcs, (shown,))
    found = scene(kind, seed, told, look_at(geometry, seen.rings, rng), rng, seen)
    return replace(found, expects="refused", variations=found.variations | {"shown": shown})


def false_distance(kind: str, seed: int) -> Scene:
    """E: a range of distances in which the detector does not stand."""
    rng = generator(kind, seed)
    geometry, calibrant, seen = drawn(rng, on_either(rng), arcs)
    found = scene(kind, seed, calibrant, look_at(geometry, seen.rings, rng), rng, seen)
    factor = rng.uniform(0.5, 0.75) if rng.random() < 0.5 else rng.uniform(1.35, 2.0)
    told = factor * geometry.dist
    return replace(found, expects="refused", distance=(0.88 * told, 1.12 * told))


def false_wavelength(kind: str, seed: int) -> Scene:
    """F: the wavelength is 1 % or 5 % off, and angles are large enough to tell."""
    rng = generator(kind, seed)
    off, from_degrees = (0.01, 18.0) if kind == "F-wavelength-1" else (0.05, 12.0)

    def wide(seen: View) -> bool:
        return arcs(seen) and seen.last > np.radians(from_degrees)

    geometry, calibrant, seen = drawn(rng, on_either(rng), wide)
    found = scene(kind, seed, calibrant, look_at(geometry, seen.rings, rng), rng, seen)
    wavelength = found.wavelength * (1.0 + off * float(rng.choice([-1.0, 1.0])))
    return replace(found, expects="doubt", wavelength=wavelength)


def distorted(kind: str, seed: int) -> Scene:
    """F: pixels are not where they should be, smoothly, by 0.15 or 0.5 pixels rms."""
    rng = generator(kind, seed)
    geometry, calibrant, seen = drawn(rng, on_either(rng), arcs)
    look = look_at(geometry, seen.rings, rng)
    amplitudes = rng.normal(size=(2, 4, 4)) / (1.0 + np.add.outer(np.arange(4), np.arange(4)))
    amplitudes[:, 0, 0] = 0.0
    n1, n2 = geometry.shape
    pixel = geometry.detector.pixel1
    by = Displacement(amplitudes=amplitudes, size=(n1 * pixel, n2 * geometry.detector.pixel2))
    places = places_in_plane(geometry, *np.indices(geometry.shape, sparse=True))
    rms = float(np.sqrt(np.mean(np.square(by(*places)))))
    wanted = (0.15 if kind == "F-distorted" else 0.5) * pixel
    look = replace(look, displacement=replace(by, amplitudes=amplitudes * (wanted / rms)))
    return replace(scene(kind, seed, calibrant, look, rng, seen), expects="doubt")


def second_phase(kind: str, seed: int) -> Scene:
    """F: another powder is mixed in, its rings 30 to 100 % as high."""
    rng = generator(kind, seed)
    geometry, calibrant, seen = drawn(rng, on_either(rng), arcs)
    other = str(rng.choice([name for name in ("CeO2", "LaB6", "Si", "Ni") if name != calibrant]))
    foreign = Rings.of(other, geometry.wavelength or np.nan)
    share = rng.uniform(0.3, 1.0)
    height = foreign.height * (share * _highest(seen.rings, seen) / _highest(foreign, seen))
    look = look_at(geometry, seen.rings.joined(replace(foreign, height=height)), rng)
    found = scene(kind, seed, calibrant, look, rng, seen)
    told = found.variations | {"other phase": other, "its share": share}
    return replace(found, expects="doubt", variations=told)


def _highest(rings: Rings, seen: View) -> float:
    inside = (rings.two_theta > seen.first) & (rings.two_theta < seen.last)
    return float(rings.height[inside].max()) if inside.any() else float(rings.height.max())


def harder(kind: str, seed: int) -> Scene:
    """V: strong texture and many bad pixels, or gaps that no mask tells of."""
    rng = generator(kind, seed)
    geometry, calibrant, seen = drawn(
        rng, anywhere, arcs, among=detectors()[:3] if kind == "V-gaps" else ()
    )
    look = look_at(geometry, seen.rings, rng)
    if kind == "V-texture":
        look = replace(look, rings=with_texture(seen.rings, rng, 0.9))
        return scene(kind, seed, calibrant, look, rng, seen, dead=0.01, hot=0.001)
    found = scene(kind, seed, calibrant, look, rng, seen)
    gaps = np.asarray(found.detector.mask)
    image = np.where(gaps, 0, found.image).astype(np.int32)
    return replace(found, image=image, detector=replace(found.detector, mask=None))
