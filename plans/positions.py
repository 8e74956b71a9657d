"""Images of a calibrant at several positions of a motor."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import bluesky.plan_stubs as bps
from bluesky.protocols import Movable, Readable
from bluesky.utils import MsgGenerator
from numpy.typing import NDArray

import bluesky_azint as ba
from bluesky_azint.calibrants import Calibrant
from bluesky_azint.calibration.result import Calibration
from bluesky_azint.detectors import Detector
from bluesky_azint.errors import RecipeError
from bluesky_azint.goniometer import Goniometer
from bluesky_azint.plans.background import Progress
from bluesky_azint.plans.exposing import Camera, Exposed


@dataclass(frozen=True, eq=False, kw_only=True)
class Taken:
    """An image, and where the motor was.

    Parameters
    ----------
    position
        In the unit of the motor.
    image
        (rows, columns).
    """

    position: float
    image: NDArray[Any]


def images_at(
    camera: Camera, motor: Movable[Any], positions: Sequence[float]
) -> MsgGenerator[list[Taken]]:
    """Take an image at each position, the shutter closed between them."""
    taken = []
    seconds = None
    for position in positions:
        yield from bps.mv(motor, position)
        # Where the motor says it is: that is what scans will have in their events.
        reached: float = yield from bps.rd(motor)
        exposed: Exposed = yield from camera.exposed(seconds)
        seconds = exposed.exposure_time
        taken.append(Taken(position=float(reached), image=exposed.image))
    return taken


def calibrations_of(
    taken: Sequence[Taken],
    detector: Detector,
    calibrant: Calibrant,
    wavelength: float,
    distance: float | None,
    progress: Progress,
) -> list[Calibration]:
    """The calibration of each image by itself."""
    found = []
    for number, one in enumerate(taken):

        def tell(what: str, done: float, before: int = number) -> None:
            progress(f"Image {before + 1}: {what}", (before + done) / len(taken))

        calibration: Calibration = ba.calibrate(
            one.image, detector=detector, calibrant=calibrant, wavelength=wavelength,
            distance=distance, progress=tell,
        )  # fmt: skip
        found.append(calibration)
    return found


def read_along(motor: Movable[Any]) -> Readable[Any]:
    """The motor as what is read with each image.

    Raises
    ------
    RecipeError
        If it cannot be.
    """
    if isinstance(motor, Readable):
        return motor
    raise RecipeError(
        f"{motor!r} can be moved, but not read; where it is must be in the documents. Give a motor "
        "that can be."
    )


def different(positions: Sequence[float]) -> list[float]:
    """The positions as numbers.

    Raises
    ------
    RecipeError
        If they are not at least two different ones.
    """
    numbers = [float(position) for position in positions]
    if len(set(numbers)) < 2:
        raise RecipeError(
            f"Positions {numbers} tell nothing of a motion; give two different ones or more."
        )
    return numbers


def name_in_formulas(motor: str) -> str:
    """The name of a motor as formulas can have it: letters, digits and _."""
    name = re.sub(r"\W", "_", motor)
    taken = ("dist", "poni1", "poni2", "rot1", "rot2", "rot3", "wavelength", "stage")
    return f"{name}_position" if name in taken or not name.isidentifier() else name


def written(goniometer: Goniometer | None, file: str | None) -> str:
    """Write a goniometer to a file, if there are both; gives its path, or ""."""
    if goniometer is None or file is None:
        return ""
    from bluesky_azint.io.goniometer import write_goniometer

    path = Path(file).absolute()
    path.parent.mkdir(parents=True, exist_ok=True)
    write_goniometer(goniometer, path)
    return str(path)
