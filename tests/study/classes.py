"""The classes of frames, from easy to hard: each a definition, and as many scenes as one wants.

What is drawn is drawn anew until the scene obeys the definition of its class. Rings go down to d = 0.4 angstrom, where the tables of calibrants end.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np

import bluesky_azint as ba
from bluesky_azint.calibration.cone import Cone
from bluesky_azint.calibration.surface import Surface
from tests.study.places import FloatArray, angle_of_pixel, on_detector, places_on_ring, two_theta_at
from tests.study.sample import Rings
from tests.study.scene import Scene, exposed, generator, log_uniform, look_at
from tests.study.simulator import Look

CALIBRANTS = ("CeO2", "LaB6", "Si")
LAST_ANGLE = np.radians(80.0)
LAST_D = 0.4  # angstrom
_TRIES = 20000


def detectors() -> tuple[ba.Detector, ...]:
    """Those of the study: three with gaps, two flat panels."""
    return (
        ba.detector("Pilatus1M"),
        ba.detector("Pilatus300k"),
        ba.detector("Eiger1M"),
        ba.Detector(100e-6, 100e-6, (1024, 1024), name="Panel 100 um"),
        ba.Detector(200e-6, 200e-6, (2048, 2048), name="Panel 200 um").binned(2, 2),
    )


@dataclass(frozen=True, eq=False, kw_only=True)
class View:
    """Which rings a detector sees, and how much of them."""

    rings: Rings
    coverage: FloatArray
    length: FloatArray
    first: float
    last: float

    @property
    def arcs(self) -> int:
        """Rings that run for a tenth of the detector or more."""
        return int((self.length > 0.1).sum())

    @property
    def halves(self) -> int:
        """Rings of which half is seen or more."""
        return int((self.coverage >= 0.5).sum())

    @property
    def complete(self) -> int:
        """Rings that are seen all around."""
        return int((self.coverage > 0.999).sum())


def view(geometry: ba.Geometry, calibrant: str) -> View | None:
    """What is seen; None if it goes beyond the tables."""
    shape = geometry.shape
    i, j = np.linspace(-0.5, shape[0] - 0.5, 24), np.linspace(-0.5, shape[1] - 0.5, 24)
    angles = two_theta_at(geometry, i[:, np.newaxis], j[np.newaxis, :])
    first, last = float(angles.min()), float(angles.max())
    wavelength = geometry.wavelength or np.nan
    if last > LAST_ANGLE or 0.5e10 * wavelength / np.sin(0.5 * last) < LAST_D:
        return None
    rings = Rings.of(calibrant, wavelength)
    coverage, length = np.zeros(len(rings.two_theta)), np.zeros(len(rings.two_theta))
    for k in np.flatnonzero((rings.two_theta > 0.9 * first) & (rings.two_theta < last)):
        coverage[k], length[k] = _seen(geometry, float(rings.two_theta[k]))
    return View(rings=rings, coverage=coverage, length=length, first=first, last=last)


def _seen(geometry: ba.Geometry, two_theta: float) -> tuple[float, float]:
    """Share of the circle that is seen, and its length in sizes of the detector."""
    i, j = places_on_ring(geometry, two_theta)
    inside = on_detector(geometry.shape, i, j)
    steps = np.hypot(np.diff(i, append=i[:1]), np.diff(j, append=j[:1]))
    both = inside & np.roll(inside, -1)
    return float(inside.mean()), float(steps[both].sum() / max(geometry.shape))


Draw = Callable[[np.random.Generator, ba.Detector, float], ba.Geometry]
Obeys = Callable[[View], bool]


def centred(rng: np.random.Generator, detector: ba.Detector, wavelength: float) -> ba.Geometry:
    """The beam in the middle 40 % of the detector, which is tilted by up to 3 degrees."""
    return _stand(rng, detector, wavelength, tuple(rng.uniform(0.3, 0.7, 2)), rng.uniform(0, 3))


def anywhere(rng: np.random.Generator, detector: ba.Detector, wavelength: float) -> ba.Geometry:
    """The beam anywhere on the detector, which is tilted by up to 20 degrees."""
    return _stand(rng, detector, wavelength, tuple(rng.uniform(0.03, 0.97, 2)), rng.uniform(0, 20))


def aside(rng: np.random.Generator, detector: ba.Detector, wavelength: float) -> ba.Geometry:
    """The detector on an arm at 12 to 45 degrees, or the beam beside it and a tilt to 45 degrees."""
    if rng.random() < 0.5:
        return _on_arm(rng, detector, wavelength)
    place = rng.uniform(0.0, 1.0, 2)
    off = rng.uniform(0.1, 0.7)
    place[rng.integers(2)] = -off if rng.random() < 0.5 else 1.0 + off
    return _stand(rng, detector, wavelength, tuple(place), rng.uniform(0, 45))


def _stand(
    rng: np.random.Generator,
    detector: ba.Detector,
    wavelength: float,
    place: tuple[float, ...],
    tilt: float,
) -> ba.Geometry:
    """The beam at a place in units of the detector, the tilt in degrees in any direction."""
    surface = Surface(detector)
    direction = rng.uniform(-np.pi, np.pi)
    slope = np.tan(np.radians(tilt))
    cone = Cone(
        centre1=place[0] * surface.shape[0] * detector.pixel1,
        centre2=place[1] * surface.shape[1] * detector.pixel2,
        distance=surface.size * log_uniform(rng, 0.3, 30.0),
        tilt1=slope * np.sin(direction),
        tilt2=slope * np.cos(direction),
    )
    return cone.geometry(surface, wavelength)


def _on_arm(rng: np.random.Generator, detector: ba.Detector, wavelength: float) -> ba.Geometry:
    """The middle of the detector about on an arm, which moves up, down, left or right."""
    surface = Surface(detector)
    angle = np.radians(rng.uniform(12.0, 45.0)) * rng.choice([-1.0, 1.0])
    off = np.radians(rng.normal(0.0, 0.7, 2))
    upwards = rng.random() < 0.5
    middle = 0.5 + rng.uniform(-0.1, 0.1, 2)
    return surface.stand(
        dist=surface.size * log_uniform(rng, 0.3, 30.0),
        poni1=middle[0] * surface.shape[0] * detector.pixel1,
        poni2=middle[1] * surface.shape[1] * detector.pixel2,
        rot1=off[0] + (0.0 if upwards else angle),
        rot2=off[1] + (angle if upwards else 0.0),
        wavelength=wavelength,
    )


def drawn(
    rng: np.random.Generator,
    draw: Draw,
    obeys: Obeys,
    calibrants: tuple[str, ...] = CALIBRANTS,
    wavelengths: tuple[float, float] = (0.15, 1.1),
    among: tuple[ba.Detector, ...] = (),
) -> tuple[ba.Geometry, str, View]:
    """A geometry and a calibrant of which the definition is true."""
    known = among or detectors()
    detector = known[rng.integers(len(known))]
    calibrant = str(rng.choice(calibrants))
    for _ in range(_TRIES):
        wavelength = 1e-10 * log_uniform(rng, *wavelengths)
        geometry = draw(rng, detector, wavelength)
        seen = view(geometry, calibrant)
        if seen is not None and obeys(seen):
            return geometry, calibrant, seen
    raise RuntimeError("No geometry obeys the definition of its class.")


def half_rings(seen: View) -> bool:
    """4 to 14 rings of which half is seen or more."""
    return 4 <= seen.halves <= 14


def arcs(seen: View) -> bool:
    """4 to 25 arcs."""
    return 4 <= seen.arcs <= 25


def orders(seen: View) -> bool:
    """2 to 8 orders of a lamellar stack."""
    return 2 <= seen.halves <= 8


def few(seen: View) -> bool:
    """One or two complete rings, and at least three others in the corners."""
    return 1 <= seen.complete <= 2 and seen.arcs - seen.complete >= 3


def on_either(rng: np.random.Generator) -> Draw:
    """Half of the frames centred, half with the beam anywhere."""
    return centred if rng.random() < 0.5 else anywhere


def plain(kind: str, seed: int) -> Scene:
    """A, B and C."""
    rng = generator(kind, seed)
    draw, obeys = {"A": (centred, half_rings), "B": (anywhere, arcs), "C": (aside, arcs)}[kind]
    geometry, calibrant, seen = drawn(rng, draw, obeys)
    return scene(kind, seed, calibrant, look_at(geometry, seen.rings, rng), rng, seen)


def saxs(kind: str, seed: int) -> Scene:
    """D1: silver behenate at small angles."""
    rng = generator(kind, seed)
    geometry, calibrant, seen = drawn(rng, centred, orders, ("AgBh",), (0.5, 1.1))
    look = look_at(geometry, seen.rings, rng, peak=(8.0, 1000.0))
    return scene(kind, seed, calibrant, look, rng, seen)


def spotty(kind: str, seed: int) -> Scene:
    """D2: 60 to 600 grains per ring, the beam in the middle."""
    rng = generator(kind, seed)
    geometry, calibrant, seen = drawn(rng, centred, half_rings)
    look = look_at(geometry, seen.rings, rng)
    grains = int(log_uniform(rng, 60, 600))
    rings = replace(look.rings, modulation=_grains(len(look.rings.height), grains, rng))
    found = scene(kind, seed, calibrant, replace(look, rings=rings), rng, seen)
    return replace(found, variations=found.variations | {"grains": grains})


def _grains(rings: int, number: int, rng: np.random.Generator) -> FloatArray:
    """Rings of single grains, a third of a degree wide, of all sizes."""
    azimuths = 7200
    modulation = np.zeros((rings, azimuths))
    sigma = rng.uniform(0.1, 0.4) * azimuths / 360.0
    reach = np.arange(-int(5 * sigma), int(5 * sigma) + 1)
    for ring in modulation:
        places = rng.uniform(0.0, azimuths, number)
        sizes = rng.exponential(1.0, number)
        index = places.astype(int)[:, np.newaxis] + reach
        spots = sizes[:, np.newaxis] * np.exp(-0.5 * ((index - places[:, np.newaxis]) / sigma) ** 2)
        np.add.at(ring, index % azimuths, spots)
    modulation /= modulation.mean(axis=1, keepdims=True)
    return modulation


def weak(kind: str, seed: int) -> Scene:
    """D3: 1.5 to 8 counts in the peak."""
    rng = generator(kind, seed)
    geometry, calibrant, seen = drawn(rng, on_either(rng), arcs)
    look = look_at(geometry, seen.rings, rng, peak=(1.5, 8.0))
    return scene(kind, seed, calibrant, look, rng, seen)


def sparse(kind: str, seed: int) -> Scene:
    """D4: one or two complete rings, the rest in the corners."""
    rng = generator(kind, seed)
    geometry, calibrant, seen = drawn(rng, centred, few)
    return scene(kind, seed, calibrant, look_at(geometry, seen.rings, rng), rng, seen)


def scene(
    kind: str,
    seed: int,
    calibrant: str,
    look: Look,
    rng: np.random.Generator,
    seen: View,
    **exposure: float,
) -> Scene:
    """Expose it."""
    geometry = look.geometry
    image, mask = exposed(look.expected(), look, rng, **exposure)
    beam = Cone.of(geometry)
    middle = np.asarray(geometry.shape) / 2.0
    return Scene(
        kind=kind,
        seed=seed,
        geometry=geometry,
        detector=geometry.detector,
        calibrant=calibrant,
        wavelength=geometry.wavelength or np.nan,
        image=image,
        mask=mask,
        look=look,
        variations={
            "detector": geometry.detector.name,
            "calibrant": calibrant,
            "wavelength, angstrom": 1e10 * (geometry.wavelength or np.nan),
            "distance, m": beam.distance,
            "tilt, deg": float(np.degrees(beam.tilt)),
            "2theta, deg": f"{np.degrees(seen.first):.2f} to {np.degrees(seen.last):.2f}",
            "arcs": seen.arcs,
            "complete rings": seen.complete,
            "peak, counts": look.peak,
            "fwhm, px": look.fwhm / float(angle_of_pixel(geometry, *middle)),
            "background": look.background.air + look.background.halo,
        },
    )
