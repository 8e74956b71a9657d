"""``bluesky-azint calibrate``: from an image of a calibrant to a geometry, or to a refusal."""

from __future__ import annotations

import argparse
import json
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

from bluesky_azint.cli.calibrations import add_store, moment, opened
from bluesky_azint.cli.inputs import (
    add_image,
    detector_of,
    progress_bar,
    read_counts,
    read_given_mask,
    wavelength_of,
)

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from bluesky_azint.calibration.constraints import Constraint
    from bluesky_azint.calibration.result import Calibration
    from bluesky_azint.geometry import Geometry


def add_parser(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Register the command."""
    parser = subparsers.add_parser(
        "calibrate",
        help="find the geometry of a detector from one image of a calibrant",
        description="Find where a detector stands from one image of powder rings, without a start "
        "value. What cannot be trusted is refused, with exit code 3: no geometry is written then.",
    )
    parser.set_defaults(run=run)
    add_image(parser)
    parser.add_argument(
        "--detector", metavar="NAME|FILE", help="of the catalogue, or of a NeXus or PONI file"
    )

    known = parser.add_argument_group("what is known already")
    known.add_argument(
        "--distance", nargs="+", type=float, metavar="M", help="about, or from and to, in metres"
    )
    known.add_argument("--geometry", type=Path, metavar="FILE", help="a geometry that is about so")
    known.add_argument(
        "--fix", action="append", default=[], metavar="NAME=VALUE",
        help="do not refine dist, poni1, poni2, rot1, rot2 (metres, radians) or wavelength",
    )  # fmt: skip
    known.add_argument(
        "--prior", action="append", default=[], metavar="NAME=VALUE,SIGMA",
        help="refine it, but it is known to be this, with this standard error",
    )  # fmt: skip

    output = parser.add_argument_group("output")
    output.add_argument(
        "-o", "--output", type=Path, metavar="FILE", help=".poni ..., as for `convert`"
    )
    output.add_argument("--report", type=Path, metavar="FILE", help="a page to look at, .html")
    output.add_argument("--json", action="store_true", help="print JSON instead of a table")
    output.add_argument("--force", action="store_true", help="replace files that are there")
    output.add_argument(
        "--name", metavar="DEVICE",
        help="store it, for the detector device of this name in the documents: as accepted, or as "
        "a candidate if somebody must look at it",
    )  # fmt: skip
    output.add_argument(
        "--valid-from", type=moment, metavar="TIME", help="ISO 8601, in local time if not told; now"
    )
    add_store(parser)


def run(args: argparse.Namespace) -> int:
    """Calibrate; 0 if there is a geometry, 3 if it was refused.

    Raises
    ------
    RecipeError
        If what is asked for cannot be.
    AzintError
        If a file cannot be used.
    """
    from bluesky_azint.calibration.figures import figures
    from bluesky_azint.cli import REFUSED
    from bluesky_azint.cli.tables import describe

    _check(args)
    image = read_counts(args)
    calibration = _calibrate(args, image)
    written = _write(args, calibration, image)
    if args.json:
        print(json.dumps({**figures(calibration), **written}, indent=1))
    else:
        print(describe(figures(calibration)))
        for what, where in written.items():
            if where is not None:
                print(f"{what}: {where}")
    return REFUSED if calibration.geometry is None else 0


def _check(args: argparse.Namespace) -> None:
    """Refuse what cannot be done before it takes time."""
    from bluesky_azint.errors import RecipeError
    from bluesky_azint.io.calibration import PROGRAMS

    if args.detector is None and args.geometry is None:
        raise RecipeError("Tell the detector, with --detector.")
    for path in (args.output, args.report):
        if path is not None and path.exists() and not args.force:
            raise RecipeError(f"{path} exists; give another name, or --force to replace it.")
    if args.output is not None and args.output.suffix.lower() not in PROGRAMS:
        raise RecipeError(f"--output {args.output} must end in one of {', '.join(PROGRAMS)}.")
    if args.store is not None and args.name is None:
        raise RecipeError("To store the calibration, tell with --name for which detector device.")
    if args.name is not None:
        opened(args.store, new=True)


def _calibrate(args: argparse.Namespace, image: NDArray[Any]) -> Calibration:
    from bluesky_azint.calibration.calibrate import calibrate
    from bluesky_azint.errors import RecipeError
    from bluesky_azint.io.calibrants import calibrant

    start = _start(args)
    wavelength = wavelength_of(args) or (start.wavelength if start is not None else None)
    if wavelength is None:
        raise RecipeError("Tell the --energy in keV or the --wavelength in angstrom.")
    with progress_bar() as progress:
        return calibrate(
            image,
            detector=detector_of(args.detector) if start is None else start.detector,
            calibrant=calibrant(args.calibrant),
            wavelength=wavelength,
            mask=read_given_mask(args),
            distance=_distance(args.distance),
            geometry=start,
            constraints=_constraints(args),
            progress=progress,
        )


def _start(args: argparse.Namespace) -> Geometry | None:
    """The geometry that was given, of the detector that was."""
    from dataclasses import replace

    from bluesky_azint.io.calibration import read_calibration

    if args.geometry is None:
        return None
    named = detector_of(args.detector) if args.detector else None
    geometry = read_calibration(args.geometry, named)
    return geometry if named is None else replace(geometry, detector=named)


def _distance(values: list[float] | None) -> float | tuple[float, float] | None:
    from bluesky_azint.errors import RecipeError

    match values:
        case None:
            return None
        case [about]:
            return about
        case [low, high]:
            return low, high
    raise RecipeError("--distance takes one number, or two: from and to.")


def _constraints(args: argparse.Namespace) -> dict[str, Constraint]:
    from bluesky_azint.calibration.constraints import Fixed, Prior, check_constraints

    constraints: dict[str, Constraint] = {}
    for text in args.fix:
        name, (value,) = _assignment("--fix", text, 1)
        constraints[name] = Fixed(value)
    for text in args.prior:
        name, (value, sigma) = _assignment("--prior", text, 2)
        constraints[name] = Prior(value, sigma)
    check_constraints(constraints)
    return constraints


def _assignment(option: str, text: str, number: int) -> tuple[str, list[float]]:
    from bluesky_azint.errors import RecipeError

    name, _, numbers = text.partition("=")
    try:
        values = [float(part) for part in numbers.split(",")]
    except ValueError:
        values = []
    if len(values) != number:
        form = "NAME=VALUE" if number == 1 else "NAME=VALUE,SIGMA"
        raise RecipeError(f"{option} {text} must read {form}, in metres or radians.")
    return name.strip(), values


def _write(
    args: argparse.Namespace, calibration: Calibration, image: NDArray[Any]
) -> Mapping[str, str | None]:
    """Write what was asked for; where it is, by what it is."""
    written: dict[str, str | None] = dict.fromkeys(("output", "report", "uid"))
    if args.report is not None:
        from bluesky_azint.report import write_report

        write_report(calibration, image, args.report, force=args.force)
        written["report"] = str(args.report)
    geometry = calibration.geometry
    if geometry is None:
        return written
    if args.output is not None:
        _write_geometry(calibration, geometry, args.output)
        written["output"] = str(args.output)
    if args.name is not None:
        written["uid"] = _store(args, calibration, image)
    return written


def _write_geometry(calibration: Calibration, geometry: Geometry, path: Path) -> None:
    from bluesky_azint.io.calibration import write_calibration
    from bluesky_azint.io.poni import write_poni

    if path.suffix.lower() != ".poni":
        write_calibration(geometry, path)
        return
    comments: tuple[str, ...] = ()
    if not calibration.accepted:
        comments = ("REVIEW: somebody must look at this calibration before it is used.",)
    write_poni(geometry, path, (*comments, *calibration.reasons))


def _store(args: argparse.Namespace, calibration: Calibration, image: NDArray[Any]) -> str:
    """Store the calibration with its report; gives the uid."""
    from bluesky_azint.store import CalibrationRecord

    report = args.report.read_bytes() if args.report else _report(calibration, image)
    record = CalibrationRecord.from_calibration(
        calibration,
        detector=args.name,
        valid_from=args.valid_from or datetime.now(UTC),
        files={} if report is None else {"report.html": report},
        metadata={"image": str(Path(args.image).absolute())},
    )
    opened(args.store, new=True).save(record)
    return record.uid


def _report(calibration: Calibration, image: NDArray[Any]) -> bytes | None:
    """The report, if there is what draws it."""
    from importlib.util import find_spec

    from bluesky_azint.report import write_report

    if find_spec("matplotlib") is None:
        return None
    with TemporaryDirectory() as folder:
        return write_report(calibration, image, Path(folder) / "report.html").read_bytes()
