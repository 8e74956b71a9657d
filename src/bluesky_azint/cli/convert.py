"""``bluesky-azint convert``: calibration files from one program to another."""

from __future__ import annotations

import argparse
from pathlib import Path

from bluesky_azint.cli.inputs import detector_of
from bluesky_azint.cli.outputs import check_outputs


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
        metavar="NAME|FILE",
        help="name of the detector, or a NeXus or PONI file of it: .imctrl and .par do not tell it",
    )
    parser.add_argument("--panel", metavar="NAME", help="panel of a heXRD instrument with several")
    parser.add_argument("--force", action="store_true", help="write over an output that is there")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Convert, and print what became of it."""
    from bluesky_azint.io.calibration import read_calibration, write_calibration

    check_outputs(args.output, force=args.force)
    detector = detector_of(args.detector) if args.detector else None
    geometry = read_calibration(args.input, detector, args.panel)
    write_calibration(geometry, args.output)
    print(args.output)
    return 0
