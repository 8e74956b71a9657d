"""The same frame turned, cut and binned must give the same geometry.

The parameters of `Cone` follow a frame around simply: what is flipped changes sign, what is
transposed changes places.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

import bluesky_azint as ba
from bluesky_azint.calibration.cone import PARAMETERS, Cone
from tests.study.one import calibrated
from tests.study.places import FloatArray
from tests.study.scene import Scene
from tests.study.scenes import make
from tests.study.tables import table

Frame = tuple[NDArray[np.generic], NDArray[np.bool_]]
SCENES = (("A", 2), ("A", 3), ("B", 2), ("B", 3), ("C", 1), ("C", 2))
_CROP = 0.65


@dataclass(frozen=True)
class Change:
    """What is done to a frame, and to the parameters to have those of the frame as it was."""

    name: str
    frame: Callable[[NDArray[np.generic]], NDArray[np.generic]]
    back: Callable[[Cone, tuple[float, float]], Cone]
    transposed: bool = False
    binned: int = 1


def _flipped_rows(cone: Cone, size: tuple[float, float]) -> Cone:
    return replace(cone, centre1=size[0] - cone.centre1, tilt1=-cone.tilt1)


def _flipped_columns(cone: Cone, size: tuple[float, float]) -> Cone:
    return replace(cone, centre2=size[1] - cone.centre2, tilt2=-cone.tilt2)


def _transposed(cone: Cone, size: tuple[float, float]) -> Cone:
    return Cone(cone.centre2, cone.centre1, cone.distance, cone.tilt2, cone.tilt1)


def _turned(cone: Cone, size: tuple[float, float]) -> Cone:
    """Back from `numpy.rot90`: transposed, its rows then flipped."""
    return _transposed(_flipped_rows(cone, (size[1], size[0])), size)


def _same(cone: Cone, size: tuple[float, float]) -> Cone:
    return cone


def _cropped(image: NDArray[np.generic]) -> NDArray[np.generic]:
    n1, n2 = image.shape
    return image[: int(_CROP * n1), : int(_CROP * n2)]


def _binned(image: NDArray[np.generic]) -> NDArray[np.generic]:
    n1, n2 = (n // 2 for n in image.shape)
    blocks = image[: 2 * n1, : 2 * n2].reshape(n1, 2, n2, 2)
    return np.asarray(blocks.max(axis=(1, 3)) if image.dtype == bool else blocks.sum(axis=(1, 3)))


CHANGES = (
    Change("flipped up and down", np.flipud, _flipped_rows),
    Change("flipped left and right", np.fliplr, _flipped_columns),
    Change("transposed", np.transpose, _transposed, transposed=True),
    Change("turned by 90 degrees", np.rot90, _turned, transposed=True),
    Change("cut to 65 %", _cropped, _same),
    Change("binned 2 x 2", _binned, _same, binned=2),
)


def changed(scene: Scene, change: Change) -> Scene:
    """The scene with another frame; its gaps in the mask alone."""
    mask = scene.mask.copy()
    if scene.detector.mask is not None:
        mask |= scene.detector.mask
    image = change.frame(np.where(mask, 0, scene.image).astype(np.int32))
    pixels = scene.detector.pixel1 * change.binned, scene.detector.pixel2 * change.binned
    pixel1, pixel2 = pixels[::-1] if change.transposed else pixels
    shape = image.shape[0], image.shape[1]
    detector = ba.Detector(pixel1, pixel2, shape, name=scene.detector.name)
    marked = np.asarray(change.frame(mask), dtype=bool)
    return replace(scene, image=image, mask=marked, detector=detector)


@dataclass(frozen=True, eq=False, kw_only=True)
class Agreement:
    """Differences over their standard error, by parameter; None if it was not calibrated."""

    kind: str
    seed: int
    change: str
    difference: FloatArray | None


def compare(task: tuple[str, int]) -> list[Agreement]:
    """A scene as it is, and changed in all ways."""
    kind, seed = task
    scene = make(kind, seed)
    shape, detector = scene.geometry.shape, scene.detector
    size = shape[0] * detector.pixel1, shape[1] * detector.pixel2
    first = _found(scene, CHANGES[0], _same, size, as_it_is=True)
    agreements = []
    for change in CHANGES:
        second = _found(scene, change, change.back, size)
        off = None
        if first is not None and second is not None:
            sigma = np.hypot(first[1], second[1])
            off = (second[0] - first[0]) / np.where(sigma > 0, sigma, np.inf)
        agreements.append(Agreement(kind=kind, seed=seed, change=change.name, difference=off))
    return agreements


def _found(
    scene: Scene,
    change: Change,
    back: Callable[[Cone, tuple[float, float]], Cone],
    size: tuple[float, float],
    as_it_is: bool = False,
) -> tuple[FloatArray, FloatArray] | None:
    """Parameters in terms of the frame as it was, and standard errors."""
    calibration, _ = calibrated(scene if as_it_is else changed(scene, change))
    if calibration.geometry is None or calibration.beam_covariance is None:
        return None
    sigma = np.sqrt(np.diag(calibration.beam_covariance)[:5])
    if change.transposed and not as_it_is:
        sigma = sigma[[1, 0, 2, 4, 3]]
    return back(Cone.of(calibration.geometry), size).parameters, sigma


def markdown(agreements: list[Agreement]) -> str:
    """The worst difference of each change, and how many frames were not calibrated."""
    rows = []
    for change in CHANGES:
        alike = [one for one in agreements if one.change == change.name]
        known = [np.abs(one.difference) for one in alike if one.difference is not None]
        worst = np.max(known, axis=0) if known else np.full(5, np.nan)
        cells = [f"{value:.2f}" for value in worst]
        rows.append([change.name, str(len(alike)), *cells, str(len(alike) - len(known))])
    return table(["frame", "scenes", *PARAMETERS, "not calibrated"], rows)
