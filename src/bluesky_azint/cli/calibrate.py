"""``bluesky-azint calibrate``: from an image of a calibrant to a geometry, or to a refusal."""

from __future__ import annotations

import argparse
import json
import math
import sys
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

from bluesky_azint.cli.calibrations import add_store, moment, opened
from bluesky_azint.cli.inputs import (
    add_image,
    check_shapes,
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

_SHORTEST, _LONGEST = 0.01, 100.0  # wavelengths, angstrom


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
        help="do not refine it; NAME is dist, poni1, poni2 (in metres), rot1, rot2 (in radians) or "
        "wavelength (in angstrom)",
    )  # fmt: skip
    known.add_argument(
        "--prior", action="append", default=[], metavar="NAME=VALUE,SIGMA",
        help="refine it, but it is known to be this, with this standard error, both in the same "
        "units",
    )  # fmt: skip
    known.add_argument(
        "--bound", action="append", default=[], metavar="NAME=LOW,HIGH",
        help="refine it within limits; the wavelength cannot be bounded",
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
    if calibration.geometry is not None:
        return 0
    if args.output is not None and args.output.exists():
        print(
            f"bluesky-azint calibrate: The calibration was refused; {args.output} is an older one, "
            "and was left as it was.",
            file=sys.stderr,
        )
    return REFUSED


def _check(args: argparse.Namespace) -> None:
    """Refuse what cannot be done before it takes time."""
    from bluesky_azint.cli.outputs import check_outputs
    from bluesky_azint.errors import RecipeError
    from bluesky_azint.io.calibration import PROGRAMS

    if args.detector is None and args.geometry is None:
        raise RecipeError("Tell the detector, with --detector.")
    check_outputs(args.output, args.report, force=args.force)
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
    detector = detector_of(args.detector) if start is None else start.detector
    mask = read_given_mask(args)
    check_shapes(image, detector, mask)
    with progress_bar() as progress:
        return calibrate(
            image,
            detector=detector,
            calibrant=calibrant(args.calibrant),
            wavelength=wavelength,
            mask=mask,
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
    from bluesky_azint.calibration.constraints import Bounds, Fixed, Prior, check_constraints
    from bluesky_azint.errors import RecipeError

    told: list[tuple[str, Constraint]] = []
    for text in args.fix:
        name, (value,) = _assignment("--fix", text, "VALUE")
        told.append((name, Fixed(value)))
    for text in args.prior:
        name, (value, sigma) = _assignment("--prior", text, "VALUE,SIGMA")
        told.append((name, Prior(value, sigma)))
    for text in args.bound:
        name, (low, high) = _assignment("--bound", text, "LOW,HIGH")
        told.append((name, Bounds(low, high)))
    constraints = dict(told)
    if len(constraints) < len(told):
        raise RecipeError(
            "A parameter is constrained twice; it takes one --fix, --prior or --bound."
        )
    check_constraints(constraints)
    return constraints


def _assignment(option: str, text: str, form: str) -> tuple[str, list[float]]:
    """The name, and as many numbers as the form has; the wavelength in metres.

    Raises
    ------
    RecipeError
        If the text has another form.
    """
    from bluesky_azint.errors import RecipeError

    name, _, numbers = (part.strip() for part in text.partition("="))
    try:
        values = [float(part) for part in numbers.split(",")]
    except ValueError:
        values = []
    if len(values) != len(form.split(",")) or not all(map(math.isfinite, values)):
        raise RecipeError(
            f"{option} {text} must read NAME={form}, in metres or radians, the wavelength in angstrom."
        )
    if name != "wavelength":
        return name, values
    if not _SHORTEST <= values[0] <= _LONGEST:
        raise RecipeError(
            f"{option} {text} is a wavelength that no diffraction has; it is given in angstrom."
        )
    return name, [1e-10 * value for value in values]


def _write(
    args: argparse.Namespace, calibration: Calibration, image: NDArray[Any]
) -> Mapping[str, str | None]:
    """Write what was asked for; where it is, by what it is."""
    written: dict[str, str | None] = dict.fromkeys(("output", "report", "uid"))
    geometry = calibration.geometry
    if geometry is not None and args.output is not None:
        _write_geometry(calibration, geometry, args.output)
        written["output"] = str(args.output)
    stored = geometry is not None and args.name is not None
    files = _report(args, calibration, image) if stored or args.report is not None else {}
    if args.report is not None:
        written["report"] = str(args.report)
    if stored:
        written["uid"] = _store(args, calibration, files)
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


def _report(
    args: argparse.Namespace, calibration: Calibration, image: NDArray[Any]
) -> dict[str, bytes]:
    """The report, also where it was asked for, and its pictures; if there is what draws them."""
    from importlib.util import find_spec

    from bluesky_azint.report import report_images, write_report

    if args.report is None and find_spec("matplotlib") is None:
        return {}
    pictures = report_images(calibration, image)
    with TemporaryDirectory() as folder:
        path = args.report or Path(folder) / "report.html"
        write_report(calibration, image, path, images=pictures, force=args.force)
        page = path.read_bytes()
    return {"report.html": page, **{f"{name}.png": one for name, one in pictures.items()}}


def _store(args: argparse.Namespace, calibration: Calibration, files: Mapping[str, bytes]) -> str:
    """Store the calibration with its report; gives the uid."""
    from bluesky_azint.store import CalibrationRecord

    record = CalibrationRecord.from_calibration(
        calibration,
        detector=args.name,
        valid_from=args.valid_from or datetime.now(UTC),
        files=files,
        metadata={"image": str(Path(args.image).absolute())},
    )
    opened(args.store, new=True).save(record)
    return record.uid
