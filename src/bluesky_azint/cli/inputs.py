"""What several commands are told of an image of a calibrant."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from bluesky_azint.detectors import Detector


def add_image(parser: argparse.ArgumentParser) -> None:
    """Let a command be told an image, and with what it was taken."""
    parser.add_argument("image", metavar="IMAGE", help="TIFF, CBF, EDF, HDF5 ...")
    parser.add_argument(
        "--calibrant", default="CeO2", metavar="NAME", help="name, CIF or .D file (%(default)s)"
    )
    beam = parser.add_mutually_exclusive_group()
    beam.add_argument("--energy", type=float, metavar="KEV", help="of the photons, in keV")
    beam.add_argument("--wavelength", type=float, metavar="ANGSTROM", help="in angstrom")
    parser.add_argument("--mask", metavar="FILE", help="what is not zero is masked")
    parser.add_argument("--dark", metavar="FILE", help="subtracted; several are averaged")


def read_counts(args: argparse.Namespace) -> NDArray[Any]:
    """The image without its dark; pixels that held no count are NaN then.

    Raises
    ------
    FormatError
        If a file cannot be read.
    RecipeError
        If the dark has another shape.
    """
    import numpy as np

    from bluesky_azint.errors import RecipeError
    from bluesky_azint.io.images import read_image, read_mean

    image = read_image(args.image)
    if args.dark is None:
        return image
    dark, _ = read_mean(args.dark)
    if dark.shape != image.shape:
        raise RecipeError(
            f"The dark {args.dark} has the shape {dark.shape}, the image {image.shape}; they must "
            "be equal."
        )
    counts = image.astype(np.float64)
    if image.dtype.kind in "iu":
        counts[(image < 0) | (image == np.iinfo(image.dtype).max)] = np.nan
    return counts - dark


def read_given_mask(args: argparse.Namespace) -> NDArray[np.bool_] | None:
    """The mask that was given.

    Raises
    ------
    FormatError
        If the file cannot be read.
    """
    from bluesky_azint.io.images import read_mask

    return read_mask(args.mask) if args.mask else None


def check_shapes(
    image: NDArray[Any], detector: Detector | None, mask: NDArray[np.bool_] | None
) -> None:
    """See that what was told is of one shape.

    Raises
    ------
    RecipeError
        If it is not.
    """
    from bluesky_azint.errors import RecipeError

    others = {
        "detector": None if detector is None else detector.shape,
        "mask": None if mask is None else mask.shape,
    }
    for name, shape in others.items():
        if shape not in (None, image.shape):
            raise RecipeError(
                f"The image has the shape {image.shape}, the {name} {shape}; they must be equal. "
                f"Tell another {name}, or see whether the image is binned or rotated."
            )


def wavelength_of(args: argparse.Namespace) -> float | None:
    """The wavelength in metres that was told; None if none was.

    Raises
    ------
    RecipeError
        If it is not positive.
    """
    from bluesky_azint.attenuation import KEV_METRES
    from bluesky_azint.errors import RecipeError

    for name, value in (("--energy", args.energy), ("--wavelength", args.wavelength)):
        if value is not None and not value > 0:
            raise RecipeError(f"{name} is {value}; it must be positive.")
    if args.energy is not None:
        return KEV_METRES / float(args.energy)
    return None if args.wavelength is None else float(args.wavelength) * 1e-10


def detector_of(name: str) -> Detector:
    """The detector of a name in the catalogue, or of a NeXus or a PONI file.

    Raises
    ------
    RecipeError
        If there is no such detector.
    FormatError
        If the file cannot be read.
    """
    from bluesky_azint.detectors import Detector, detector
    from bluesky_azint.errors import GeometryError, RecipeError
    from bluesky_azint.geometry import Geometry

    if name.lower().endswith(".poni"):
        return Geometry.from_poni(name).detector
    if name.lower().endswith((".h5", ".hdf5", ".nxs")):
        return Detector.from_nexus(name)
    try:
        return detector(name)
    except GeometryError as error:
        raise RecipeError(str(error)) from error


@contextmanager
def progress_bar() -> Iterator[Callable[[str, float], None]]:
    """A bar on stderr, where that is a terminal, for what tells its progress as share."""
    from tqdm import tqdm

    form = "{l_bar}{bar}| {elapsed}"
    with tqdm(total=1.0, file=sys.stderr, leave=False, disable=None, bar_format=form) as bar:

        def tell(what: str, done: float) -> None:
            bar.set_description(what, refresh=False)
            bar.update(done - bar.n)

        yield tell
