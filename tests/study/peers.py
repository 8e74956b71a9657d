"""pyFAI beside us, which must be told where to start: from the truth, and from less.

It extracts control points around the predicted rings and refines, three times over; rot3 and the
wavelength are fixed. All is as pyFAI does it by default.
"""

from __future__ import annotations

import time
import warnings
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

import bluesky_azint as ba
from bluesky_azint.calibration.cone import Cone
from bluesky_azint.calibration.surface import Surface
from tests.study.judge import Errors, errors
from tests.study.one import calibrated
from tests.study.sample import Rings
from tests.study.scene import Scene
from tests.study.scenes import make
from tests.study.tables import spread, table

OURS = "ours, from nothing"
PASSES = 3
# How far off the distance is, and the centre in pixels along both axes.
STARTS = {"the truth": (0.0, 0.0), "2 %, 2 px": (0.02, 2.0), "10 %, 10 px": (0.1, 10.0)}


@dataclass(frozen=True, kw_only=True)
class Trial:
    """What a method made of a scene; no errors if it found nothing, or refused."""

    kind: str
    seed: int
    method: str
    errors: Errors | None
    seconds: float


def trials(task: tuple[str, int]) -> list[Trial]:
    """Ours from nothing, and pyFAI from all starts."""
    scene = make(*task)
    kind, seed = task
    rings = _seen(scene)
    ours, seconds = calibrated(scene)
    off_by = None if ours.geometry is None else errors(scene.geometry, ours.geometry, rings)
    found = [Trial(kind=kind, seed=seed, method=OURS, errors=off_by, seconds=seconds)]
    for name, off in STARTS.items():
        start = time.perf_counter()
        try:
            geometry = pyfai_calibration(scene, started(scene.geometry, *off))
            off_by = errors(scene.geometry, geometry, rings)
        except Exception:  # noqa: BLE001 - whatever it is, it found nothing
            off_by = None
        seconds = time.perf_counter() - start
        method = f"pyFAI, from {name}"
        found.append(Trial(kind=kind, seed=seed, method=method, errors=off_by, seconds=seconds))
    return found


def _seen(scene: Scene) -> list[float]:
    """Angles of the rings that the detector sees: inside of them methods are compared."""
    angles = scene.geometry.two_theta()
    rings = Rings.of(scene.calibrant, scene.wavelength).two_theta
    return [float(one) for one in rings if angles.min() < one < angles.max()]


def started(truth: ba.Geometry, distance: float, pixels: float) -> ba.Geometry:
    """A geometry that is off."""
    cone, detector = Cone.of(truth), truth.detector
    off = replace(
        cone,
        centre1=cone.centre1 + pixels * detector.pixel1,
        centre2=cone.centre2 - pixels * detector.pixel2,
        distance=cone.distance * (1.0 + distance),
    )
    return off.geometry(Surface(detector), truth.wavelength or np.nan)


def pyfai_calibration(scene: Scene, start: ba.Geometry) -> ba.Geometry:
    """The geometry that pyFAI refines from a start."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return _refined(scene, start)


def _refined(scene: Scene, start: ba.Geometry) -> ba.Geometry:
    from pyFAI.calibrant import get_calibrant
    from pyFAI.detectors import Detector
    from pyFAI.geometry import Geometry
    from pyFAI.goniometer import SingleGeometry

    detector = Detector(scene.detector.pixel1, scene.detector.pixel2, max_shape=scene.image.shape)
    mask = scene.mask.copy()
    if scene.detector.mask is not None:
        mask |= scene.detector.mask
    detector.mask = mask.astype(np.int8)
    calibrant = get_calibrant(scene.calibrant)
    calibrant.wavelength = scene.wavelength
    names = ("dist", "poni1", "poni2", "rot1", "rot2", "rot3")
    first = Geometry(
        **{name: getattr(start, name) for name in names},
        detector=detector,
        wavelength=scene.wavelength,
    )
    image = np.where(mask, 0, scene.image).astype(np.float32)
    single: Any = SingleGeometry(
        "frame", image, calibrant=calibrant, detector=detector, geometry=first
    )
    for _ in range(PASSES):
        single.extract_cp()
        single.geometry_refinement.refine3(fix=["rot3", "wavelength"])
    found = {name: float(getattr(single.geometry_refinement, name)) for name in names}
    return replace(scene.geometry, **found)  # type: ignore[arg-type]


def markdown(found: Sequence[Trial]) -> str:
    """A row for each class and method."""
    head = ["class", "method", "frames", "no answer", "wrong answer", "centre, px"]
    head += ["distance", "tilt, deg", "dq/q inside", "px", "seconds"]
    rows = []
    for kind in dict.fromkeys(one.kind for one in found):
        for method in dict.fromkeys(one.method for one in found):
            alike = [one for one in found if (one.kind, one.method) == (kind, method)]
            rows.append([kind, method, *_cells(alike)])
    return table(head, rows, left=2)


def _cells(alike: Sequence[Trial]) -> list[str]:
    known = [one.errors for one in alike if one.errors is not None]
    wrong = sum(not errors.right for errors in known)
    figures = [
        [errors.centre_px for errors in known],
        [abs(errors.distance) for errors in known],
        [errors.tilt for errors in known],
        [errors.q_inside for errors in known],
        [errors.px for errors in known],
    ]
    return [
        str(len(alike)),
        str(len(alike) - len(known)),
        str(wrong),
        *(spread(values, "{:.1e}") for values in figures),
        spread([one.seconds for one in alike], "{:.1f}"),
    ]
