"""``bluesky-azint mask``: bad pixels found on frames, as a mask."""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from bluesky_azint.badpixels import MaskProposal

_FRAMES = 32  # that are looked at; more tell little more


def add_parser(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Register the command."""
    parser = subparsers.add_parser(
        "mask",
        help="propose a mask: dead, hot and noisy pixels, beam stop, edges",
        description="Find the pixels that are not to be trusted: dead, hot, saturated, marked as "
        "bad, in the shadow of the beam stop, at edges of modules; with several frames noisy ones, "
        "too. Rings and spots are left alone. Look at the picture before you use the mask.",
    )
    parser.set_defaults(run=run)
    parser.add_argument("images", nargs="+", metavar="IMAGE", help="TIFF, CBF, EDF, HDF5 ...")
    parser.add_argument(
        "--detector",
        metavar="NAME|FILE",
        help="whose gaps are masked anyway; of the catalogue, or of a NeXus or PONI file",
    )
    parser.add_argument("--mask", metavar="FILE", help="what is masked anyway")
    parser.add_argument(
        "--saturation", type=float, metavar="N", help="counts that a pixel cannot count"
    )
    parser.add_argument(
        "-o", "--output", type=Path, metavar="FILE", help="the mask: .npz, .npy, .edf, .tif or .h5"
    )
    parser.add_argument("--plot", type=Path, metavar="FILE", help="a picture of it: .png ...")
    parser.add_argument("--json", action="store_true", help="print the figures as JSON")
    parser.add_argument("--force", action="store_true", help="replace files that are there")


def run(args: argparse.Namespace) -> int:
    """Propose a mask, print its figures, and write what is asked for.

    Raises
    ------
    RecipeError
        If a file cannot be written, the detector is unknown, or shapes differ.
    AzintError
        If an image cannot be read.
    """
    from bluesky_azint.badpixels import KINDS, propose_mask
    from bluesky_azint.cli.inputs import check_shapes, detector_of
    from bluesky_azint.io.images import read_mask, write_mask
    from bluesky_azint.plot import plot_mask

    _check(args)
    frames = _frames(args.images)
    detector = detector_of(args.detector) if args.detector else None
    mask = read_mask(args.mask) if args.mask else None
    check_shapes(frames[0], detector, mask)
    found = propose_mask(frames, detector, mask, args.saturation)
    if args.output:
        write_mask(args.output, found.mask)
    if args.plot:
        plot_mask(args.plot, frames[0], found.kinds, KINDS, title=args.images[0])
    written = [str(path) for path in (args.output, args.plot) if path]
    _report(found, len(frames), written, as_json=args.json)
    return 0


def _check(args: argparse.Namespace) -> None:
    """Refuse what cannot be written before anything takes time."""
    from bluesky_azint.cli.outputs import check_outputs
    from bluesky_azint.errors import RecipeError
    from bluesky_azint.io.images import MASK_SUFFIXES

    check_outputs(args.output, args.plot, force=args.force)
    if args.output is not None and args.output.suffix.lower() not in MASK_SUFFIXES:
        raise RecipeError(
            f"--output {args.output} is no file of the formats {', '.join(MASK_SUFFIXES)}."
        )


def _frames(images: list[str]) -> NDArray[Any]:
    """Frames of all files, evenly chosen where they are many."""
    import numpy as np

    from bluesky_azint.errors import FrameError, RecipeError
    from bluesky_azint.io.images import open_frames

    share = max(1, _FRAMES // len(images))
    chosen: list[NDArray[Any]] = []
    for image in images:
        with open_frames(image) as frames:
            if not len(frames):
                raise FrameError(f"{image} holds no frame.")
            number = min(share, len(frames))
            chosen += [frames[row * len(frames) // number] for row in range(number)]
        if chosen[-1].shape != chosen[0].shape:
            raise RecipeError(
                f"{image} has frames of the shape {chosen[-1].shape}, {images[0]} of "
                f"{chosen[0].shape}; a mask is for one detector."
            )
    return np.stack(chosen)


def _report(found: MaskProposal, frames: int, written: list[str], *, as_json: bool) -> None:
    masked, size = int(found.mask.sum()), found.mask.size
    if as_json:
        figures: dict[str, Any] = {
            "shape": found.mask.shape,
            "frames": frames,
            "masked": masked,
            "kinds": found.figures,
            "gain": found.gain,
            "written": written,
        }
        print(json.dumps(figures))
        return
    print(f"{'kind':<10} {'pixels':>10} {'share':>10}")
    for kind, number in {**found.figures, "all": masked}.items():
        if number or kind == "all":
            print(f"{kind:<10} {number:>10} {number / size:>10.4%}")
    for path in written:
        print(path)
