"""``bluesky-azint integrate``: patterns from image files, without Bluesky."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn, TypedDict

# What takes long to import is imported when it is needed: --help answers at once.
if TYPE_CHECKING:
    from tqdm import tqdm

    from bluesky_azint.geometry import Geometry
    from bluesky_azint.io.images import Frames
    from bluesky_azint.reduction.integrator import Integrator
    from bluesky_azint.reduction.recipe import Recipe
    from bluesky_azint.reduction.result import IntegrationResult

# Spelt out, since importing them takes as long as importing numpy does.
SPLITTINGS = ("no", "bbox", "pseudo", "full")
ERROR_MODELS = ("poisson", "azimuthal", "hybrid")
ENGINES = ("auto", "opencl", "scipy", "histogram")
TEXT_KINDS = ("xy", "xye", "dat", "chi", "fxye", "csv")
KINDS = (*TEXT_KINDS, "nxs", "h5")
_BATCH_BYTES = 320 * 2**20
# Engines take so many frames at once, or one.
_AT_ONCE = 4


def add_parser(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Register the command."""
    parser = subparsers.add_parser(
        "integrate",
        help="reduce image files to patterns",
        description="Reduce image files to patterns: one text file or one .h5 file (NXcanSAS) per "
        "frame, or one .nxs file (NXazint1d, NXazint2d) per image file. HDF5 files may be given as "
        "FILE::/path/of/dataset.",
    )
    parser.set_defaults(run=run)
    parser.add_argument("images", nargs="+", metavar="IMAGE", help="TIFF, CBF, EDF, HDF5 ...")
    parser.add_argument("--poni", required=True, type=Path, help="geometry, a PONI file")

    parser.add_argument(
        "--engine", choices=ENGINES, default="auto", help="what computes (%(default)s)"
    )
    _add_recipe(parser)

    output = parser.add_argument_group("output")
    output.add_argument("--format", choices=KINDS, help="as the name of the file says, else xy")
    output.add_argument(
        "-o", "--output", default=".", metavar="DIR|FILE", help="where to (here); - for stdout"
    )
    output.add_argument("--force", action="store_true", help="replace files that are there")
    output.add_argument("--json", action="store_true", help="tell on stdout what was written")
    output.add_argument(
        "-v", "--verbose", action="count", default=argparse.SUPPRESS, help="tell more on stderr"
    )
    output.add_argument("-q", "--quiet", action="store_true", help="tell errors only")


def _add_recipe(parser: argparse.ArgumentParser) -> None:
    bins = parser.add_argument_group("bins")
    bins.add_argument("--npt", type=int, default=1000, help="number of bins (%(default)s)")
    bins.add_argument(
        "--npt-azim", type=int, metavar="N", help="number of azimuthal bins, for cakes (.nxs)"
    )
    bins.add_argument(
        "--unit",
        default="q_A^-1",
        help="radial unit as pyFAI names it: q_A^-1, q_nm^-1, 2th_deg, r_mm, d_A ..., also "
        "'qip_A^-1(incident_angle=0.0035)' (%(default)s)",
    )
    bins.add_argument(
        "--splitting",
        choices=SPLITTINGS,
        default="bbox",
        help="how a pixel is shared among bins (%(default)s)",
    )
    for name, unit in (("radial", "in the radial unit"), ("azimuth", "in degrees, may wrap")):
        bins.add_argument(f"--{name}-range", nargs=2, type=float, metavar=("LO", "HI"), help=unit)

    corrections = parser.add_argument_group("corrections")
    corrections.add_argument(
        "--polarization", type=float, metavar="F", help="from -1 (vertical) to 1 (horizontal)"
    )
    corrections.add_argument(
        "--no-solid-angle", action="store_true", help="do not correct for the solid angle"
    )
    corrections.add_argument("--error-model", choices=ERROR_MODELS, help="for error bars")
    corrections.add_argument("--mask", metavar="FILE", help="what is not zero is masked")
    corrections.add_argument("--dark", metavar="FILE", help="subtracted; several are averaged")
    corrections.add_argument("--flat", metavar="FILE", help="divided by; several are averaged")
    corrections.add_argument("--dummy", type=float, metavar="V", help="value of bad pixels")
    corrections.add_argument(
        "--delta-dummy", type=float, metavar="V", help="how far from it a bad pixel may be"
    )


def run(args: argparse.Namespace) -> int:
    """Reduce the images; 0 if all went well, 1 if one did not.

    Raises
    ------
    RecipeError
        If what is asked for cannot be.
    AzintError
        If nothing can be reduced: the PONI file, the mask, the dark or the flat cannot be used,
        or the engine is not there.
    OSError
        If the folder for the output cannot be made.
    """
    from tqdm import tqdm

    from bluesky_azint.errors import AzintError

    recipe = _recipe(args)
    output = _output(args)
    if output.folder is not None:
        output.folder.mkdir(parents=True, exist_ok=True)
    failed: dict[str, str] = {}
    with tqdm(unit=" frames", total=0, disable=True if args.quiet else None) as progress:
        job = _Job(_integrator(args, recipe), output, progress)
        for image in args.images:
            try:
                _integrate(job, image)
            except AzintError as error:
                failed[image] = str(error)
    _report(args, output, failed)
    return 1 if failed else 0


@dataclass
class _Output:
    """Where patterns go, and where they went; without a folder to stdout."""

    kind: str
    folder: Path | None
    stem: str | None
    force: bool
    provenance: dict[str, str]
    written: list[Path] = field(default_factory=list)

    def new_file(self, image: str, number: str = "") -> tuple[Path, bool]:
        """The path for an image, and whether it may replace what is there."""
        stem = self.stem or Path(image.partition("::")[0]).stem
        path = (self.folder or Path()) / f"{stem}{number}.{self.kind}"
        # Two images of one name in different folders must not replace each other.
        return path, self.force and path not in self.written


class _Options(TypedDict):
    """What all files of one frame are written with."""

    geometry: Geometry
    recipe: Recipe
    frame: int
    provenance: dict[str, str]


@dataclass
class _Job:
    integrator: Integrator
    output: _Output
    progress: tqdm[NoReturn]

    def results(self, frames: Frames) -> Iterator[tuple[int, IntegrationResult]]:
        """The results of batches that fit in memory, each with the number of its first frame."""
        step = max(1, _BATCH_BYTES // (frames.dtype.itemsize * frames.shape[0] * frames.shape[1]))
        step -= step % _AT_ONCE if step > _AT_ONCE else 0
        for first in range(0, len(frames), step):
            result = self.integrator.integrate(frames.stored(first, first + step))
            yield first, result
            self.progress.update(len(result.intensity))


def _recipe(args: argparse.Namespace) -> Recipe:
    from bluesky_azint.reduction.recipe import Recipe

    return Recipe(
        npt=args.npt,
        npt_azim=args.npt_azim,
        unit=args.unit,
        radial_range=args.radial_range,
        azimuth_range=args.azimuth_range,
        splitting=args.splitting,
        polarization_factor=args.polarization,
        correct_solid_angle=not args.no_solid_angle,
        error_model=args.error_model,
        dummy=args.dummy,
        delta_dummy=args.delta_dummy,
    )


def _output(args: argparse.Namespace) -> _Output:
    from bluesky_azint.errors import RecipeError

    path = Path(args.output)
    suffix = path.suffix.removeprefix(".")
    to_stdout = args.output == "-"
    to_file = bool(suffix) and not path.is_dir()
    kind = args.format or (suffix if to_file else "xy")
    if to_stdout and (kind not in TEXT_KINDS or args.json):
        other = "--json" if args.json else f"--format {kind}"
        raise RecipeError(f"--output - prints patterns as text; it does not go with {other}.")
    if args.npt_azim is not None and kind != "nxs":
        raise RecipeError(f"--npt-azim makes cakes, which .{kind} files do not hold; use .nxs.")
    if to_file and suffix not in KINDS:
        raise RecipeError(
            f"--output {path} is no folder, and no file of the formats {', '.join(KINDS)}."
        )
    if to_file and suffix != kind:
        raise RecipeError(f"--output {path} does not go with --format {kind}.")
    if to_file and len(args.images) > 1:
        raise RecipeError(
            f"--output {path} is one file for {len(args.images)} images; give a folder."
        )
    return _Output(
        kind=kind,
        folder=None if to_stdout else path.parent if to_file else path,
        stem=path.stem if to_file else None,
        force=args.force,
        provenance={
            name: getattr(args, name) for name in ("mask", "dark", "flat") if getattr(args, name)
        },
    )


def _integrator(args: argparse.Namespace, recipe: Recipe) -> Integrator:
    from bluesky_azint.geometry import Geometry
    from bluesky_azint.io.images import read_mask, read_mean
    from bluesky_azint.reduction.integrator import Integrator

    dark, darks = read_mean(args.dark) if args.dark else (None, 1)
    return Integrator.from_recipe(
        Geometry.from_poni(args.poni),
        recipe,
        mask=read_mask(args.mask) if args.mask else None,
        dark=dark,
        dark_variance=None if dark is None else dark / darks,
        flat=read_mean(args.flat)[0] if args.flat else None,
        engine=args.engine,
    )


def _integrate(job: _Job, image: str) -> None:
    """Reduce the frames of an image file."""
    from bluesky_azint.errors import FormatError
    from bluesky_azint.io.images import open_frames

    with open_frames(image) as frames:
        if not len(frames):
            raise FormatError("it holds no frame.")
        job.progress.total = (job.progress.total or 0) + len(frames)
        write = _write_stack if job.output.kind == "nxs" else _write_frames
        write(job, image, frames)


def _write_frames(job: _Job, image: str, frames: Frames) -> None:
    """Write one file for each frame, or to stdout."""
    from bluesky_azint.io.ascii import format_ascii, write_ascii
    from bluesky_azint.io.nxcansas import write_nxcansas

    output = job.output
    write = write_ascii if output.kind in TEXT_KINDS else write_nxcansas
    for first, result in job.results(frames):
        for row in range(len(result.intensity)):
            number = f"{first + row:05d}"
            options: _Options = {
                "geometry": job.integrator.geometry,
                "recipe": job.integrator.recipe,
                "frame": row,
                "provenance": {**output.provenance, "image": frames.source, "frame": number},
            }
            if output.folder is None:
                print(format_ascii(result, output.kind, **options), end="")
                continue
            path, force = output.new_file(image, f"_{number}" if len(frames) > 1 else "")
            write(result, path, force=force, **options)
            output.written.append(path)


def _write_stack(job: _Job, image: str, frames: Frames) -> None:
    """Write one file for all frames."""
    import numpy as np

    from bluesky_azint.io.nexus import AzintWriter
    from bluesky_azint.units import unit

    recipe = job.integrator.recipe
    path, force = job.output.new_file(image)
    with ExitStack() as files:
        writer: AzintWriter | None = None
        for first, result in job.results(frames):
            # The first result is what tells the bins where the PONI file has no detector shape.
            writer = writer or files.enter_context(
                AzintWriter(
                    path,
                    radial=result.radial,
                    azimuthal=result.azimuthal,
                    unit=unit(recipe.unit),
                    geometry=job.integrator.geometry,
                    recipe=recipe,
                    errors=recipe.error_model is not None,
                    provenance={**job.output.provenance, "image": frames.source},
                    force=force,
                )
            )
            rows = np.arange(first, first + len(result.intensity))
            writer.write(rows, result, seq_nums=rows + 1, timestamps=np.full(rows.size, np.nan))
    job.output.written.append(path)


def _report(args: argparse.Namespace, output: _Output, failed: dict[str, str]) -> None:
    for image, reason in failed.items():
        print(f"{image} failed: {reason}", file=sys.stderr)
    if args.json:
        print(json.dumps({"written": [str(path) for path in output.written], "failed": failed}))
    elif not args.quiet and output.folder is not None:
        number = len(output.written)
        files = "file" if number == 1 else "files"
        print(f"{number} {files} written to {output.folder}", file=sys.stderr)
