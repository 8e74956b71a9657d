"""``bluesky-azint convert``: calibration files from one program to another."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from bluesky_azint.detectors import Detector


def add_parser(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Register the command."""
    parser = subparsers.add_parser(
        "convert",
        help="convert a calibration file to another program's",
        description="Convert a calibration file. The suffixes tell the programs: .poni, .par and "
        ".prm (ImageD11), .imctrl (GSAS-II), .yml, .yaml and .hexrd (heXRD), .cxi.",
    )
    parser.add_argument("input", type=Path)
    parser.add_argument("output", type=Path)
    parser.add_argument(
        "--detector",
        metavar="NAME",
        help="name of the detector, or a PONI file of it: .imctrl and .par do not tell it",
    )
    parser.add_argument("--panel", metavar="NAME", help="panel of a heXRD instrument with several")
    parser.add_argument("--force", action="store_true", help="write over an output that is there")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Convert, and print what became of it."""
    from bluesky_azint.errors import RecipeError
    from bluesky_azint.io.calibration import read_calibration, write_calibration

    if args.output.exists() and not args.force:
        raise RecipeError(f"{args.output} exists; give another name, or --force to replace it.")
    geometry = read_calibration(args.input, _detector(args.detector), args.panel)
    write_calibration(geometry, args.output)
    print(args.output)
    return 0


def _detector(name: str | None) -> Detector | None:
    """The detector of that name, or of a PONI file."""
    from bluesky_azint.detectors import detector
    from bluesky_azint.geometry import Geometry

    if name is None:
        return None
    if name.lower().endswith(".poni"):
        return Geometry.from_poni(name).detector
    return detector(name)
