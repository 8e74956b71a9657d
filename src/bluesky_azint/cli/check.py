"""``bluesky-azint check``: whether a geometry still is right, whoever made it."""

from __future__ import annotations

import argparse
import json
import math
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from bluesky_azint.cli.inputs import (
    add_image,
    check_shapes,
    detector_of,
    progress_bar,
    read_counts,
    read_given_mask,
    wavelength_of,
)
from bluesky_azint.cli.outputs import check_outputs

if TYPE_CHECKING:
    from bluesky_azint.calibration.check import GeometryCheck
    from bluesky_azint.detectors import Detector
    from bluesky_azint.geometry import Geometry


def add_parser(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Register the command."""
    parser = subparsers.add_parser(
        "check",
        help="check a geometry with an image of a calibrant",
        description="Tell how far the rings of an image lie from where a geometry has them. Exit "
        "code 0 if it is good, 1 if the detector has drifted, 3 if the image does not tell.",
    )
    parser.set_defaults(run=run)
    add_image(parser)
    parser.add_argument(
        "--poni", required=True, type=Path, metavar="FILE",
        help="the geometry: .poni, or a file of another program as for `convert`",
    )  # fmt: skip
    parser.add_argument(
        "--detector", metavar="NAME|FILE", help="for programs of which the files do not tell it"
    )
    parser.add_argument(
        "--tolerance", type=float, default=0.2, metavar="PX", help="that is let pass (%(default)s)"
    )
    parser.add_argument("--report", type=Path, metavar="FILE", help="a page to look at, .html")
    parser.add_argument("--json", action="store_true", help="print JSON instead of a table")
    parser.add_argument("--force", action="store_true", help="replace a report that is there")


def run(args: argparse.Namespace) -> int:
    """Check; 0 if the geometry is good, 1 if it has drifted, 3 if that cannot be told.

    Raises
    ------
    RecipeError
        If what is asked for cannot be.
    AzintError
        If a file cannot be used.
    """
    from bluesky_azint.calibration.check import check_geometry
    from bluesky_azint.calibration.figures import check_figures
    from bluesky_azint.cli import FAILED, REFUSED
    from bluesky_azint.errors import RecipeError
    from bluesky_azint.io.calibrants import calibrant

    check_outputs(args.report, force=args.force)
    if not 0 < args.tolerance < math.inf:
        raise RecipeError(f"--tolerance is {args.tolerance}; it must be positive and finite.")
    geometry = _geometry(args)
    image, mask = read_counts(args), read_given_mask(args)
    check_shapes(image, geometry.detector, mask)
    with progress_bar() as progress:
        check = check_geometry(
            image,
            geometry,
            calibrant(args.calibrant),
            mask=mask,
            tolerance_px=args.tolerance,
            progress=progress,
        )
    if args.report is not None:
        from bluesky_azint.report import write_report

        title = f"Check of {args.poni.name} with {check.calibrant.name}"
        write_report(check.as_calibration(), image, args.report, title=title, force=args.force)
    if args.json:
        report = None if args.report is None else str(args.report)
        print(json.dumps({**check_figures(check), "report": report}, indent=1))
    else:
        print(_told(check))
    return {"good": 0, "drifted": FAILED, "refused": REFUSED}[check.verdict]


def _geometry(args: argparse.Namespace) -> Geometry:
    """The geometry, with the detector and the wavelength that were told.

    Raises
    ------
    RecipeError
        If the detector is another one than that of the file.
    """
    from bluesky_azint.errors import RecipeError
    from bluesky_azint.io.calibration import read_calibration

    named = detector_of(args.detector) if args.detector else None
    geometry = read_calibration(args.poni, named)
    if named is not None:
        if not _alike(named, geometry.detector):
            raise RecipeError(
                f"--detector {args.detector} is {_outline(named)}, {args.poni} is for "
                f"{_outline(geometry.detector)}; leave it away, or tell the one that the geometry is "
                "for."
            )
        geometry = replace(geometry, detector=named)
    return replace(geometry, wavelength=wavelength_of(args) or geometry.wavelength)


def _alike(one: Detector, other: Detector) -> bool:
    """Whether a geometry of the one is a geometry of the other."""
    return (
        math.isclose(one.pixel1, other.pixel1, rel_tol=1e-4)
        and math.isclose(one.pixel2, other.pixel2, rel_tol=1e-4)
        and (one.shape == other.shape or None in (one.shape, other.shape))
        and one.orientation == other.orientation
    )


def _outline(detector: Detector) -> str:
    return (
        f"{detector.name!r} with pixels of {1e6 * detector.pixel1:g} by {1e6 * detector.pixel2:g} um, "
        f"of shape {detector.shape} and orientation {detector.orientation}"
    )


def _told(check: GeometryCheck) -> str:
    from bluesky_azint.calibration.figures import check_figures
    from bluesky_azint.cli.tables import rings_table

    parts = [check.verdict.upper()]
    parts += [f"  - {reason}" for reason in check.reasons]
    parts += [f"  note: {note}" for note in check.notes]
    if check.rings:
        slow, fast = check.centre_shift_px
        parts += [
            "",
            rings_table(check_figures(check)["rings"]),
            "",
            f"residual {check.residual_px:.3f} px, {check.refitted_px:.3f} px once refitted",
            f"rings shifted by {check.shift_px:.3f} px, {1e6 * check.shift_relative:.0f} ppm",
            f"known to {check.shift_sigma_px:.3f} px",
            f"centre of the beam {slow:+.3f} px along the slow, {fast:+.3f} px along the fast axis",
            f"distance {1e6 * check.distance_shift:+.0f} ppm",
        ]
    return "\n".join(parts)
