"""``bluesky-azint demo``: a scan, reduced while it runs, and read back from Tiled."""

from __future__ import annotations

import argparse
import json
import os
import sys
import tempfile
import threading
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bluesky_azint.errors import AzintError, FormatError, RecipeError

if TYPE_CHECKING:
    from bluesky import RunEngine
    from numpy.typing import NDArray
    from ophyd_async.core import PathProvider

    from bluesky_azint.callbacks.retrieval import AzintRun
    from bluesky_azint.callbacks.server import EmbeddedTiled
    from bluesky_azint.devices import FrameReplayDetector, SimulatedDiffractionDetector
    from bluesky_azint.geometry import Geometry

PICTURE = Path("bluesky-azint-demo.png")
NAME = "det"
CALIBRANT = "CeO2"
NO_REASON = "The messages above tell why."


@dataclass(frozen=True)
class Report:
    """What the demonstration made, and where it is."""

    frames: int
    raw_uid: str
    reduced_uid: str
    picture: str
    data: str | None
    server: str | None
    python: str


def add_parser(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Register the command."""
    parser = subparsers.add_parser(
        "demo",
        help="run a scan with live reduction, and read the patterns back from Tiled",
        description="Starts a Tiled server beside it, stores a calibration, runs a scan of a "
        "detector with automatic reduction, reads the patterns back by the uid of the raw run, and "
        "saves a picture.",
    )
    parser.add_argument(
        "--images", nargs="+", metavar="FILE", help="scan these frames, not simulated ones"
    )
    parser.add_argument("--poni", help="their geometry")
    parser.add_argument(
        "--calibrant", help=f"mark its rings (simulated frames: its frames; {CALIBRANT})"
    )
    parser.add_argument(
        "--points", type=int, help="steps of the scan (11; with --images as many as there are)"
    )
    parser.add_argument("--npt", type=int, default=1000, help="number of radial bins (1000)")
    parser.add_argument("--unit", default="q_A^-1", help="radial unit (q_A^-1)")
    parser.add_argument(
        "--picture", type=Path, help=f"where to save the picture ({PICTURE}, which is replaced)"
    )
    parser.add_argument("--force", action="store_true", help="write over a picture you name")
    parser.add_argument("--keep", type=Path, metavar="DIR", help="keep all data in this folder")
    parser.add_argument("--serve", action="store_true", help="keep the server up until Ctrl-C")
    parser.add_argument("--json", action="store_true", help="print where everything is as JSON")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Run the command."""
    _check(args)
    points = args.points or _number_of_frames(args.images)
    _say("Loading Bluesky and Tiled")
    from bluesky_azint.callbacks.server import embedded_tiled

    with ExitStack() as stack:
        # Absolute, for that is what documents tell.
        folder = Path(
            args.keep
            or stack.enter_context(tempfile.TemporaryDirectory(prefix="bluesky-azint-demo-"))
        ).resolve()
        _say("Starting a Tiled server")
        tiled = stack.enter_context(embedded_tiled(folder))
        with _run_engine() as engine:
            raw_uid, geometry = _measure(args, points, engine, tiled, folder)
        _say("Reading the patterns back")
        reduced = _read_back(tiled, raw_uid, points)
        picture = args.picture or PICTURE
        _draw(picture, reduced, _first_frame(folder), geometry, _calibrant(args))
        report = Report(
            frames=points,
            raw_uid=raw_uid,
            reduced_uid=reduced.start["uid"],
            picture=str(picture.resolve()),
            data=str(folder) if args.keep else None,
            server=tiled.uri if args.serve else None,
            python=_retrieval(args, tiled, folder, raw_uid),
        )
        print(json.dumps(asdict(report), indent=1) if args.json else _describe(report), flush=True)
        if args.serve:
            _serve(tiled)
    return 0


def _check(args: argparse.Namespace) -> None:
    """Refuse what cannot be done before anything is started."""
    from bluesky_azint.calibrants import calibrant
    from bluesky_azint.reduction.recipe import Recipe

    if bool(args.images) != bool(args.poni):
        raise RecipeError("--images and --poni go together; give both, or neither.")
    if args.points is not None and args.points < 1:
        raise RecipeError(f"--points is {args.points}; a scan needs at least one.")
    if args.picture is not None and args.picture.exists() and not args.force:
        raise FormatError(f"{args.picture} is there already; use --force to write over it.")
    _check_picture(args.picture or PICTURE)
    Recipe(npt=args.npt, unit=args.unit)
    if args.calibrant:
        calibrant(args.calibrant)


def _check_picture(picture: Path) -> None:
    from matplotlib.figure import Figure

    kinds = Figure().canvas.get_supported_filetypes()
    if picture.suffix.removeprefix(".") not in kinds:
        raise RecipeError(f"--picture {picture} must end in one of .{', .'.join(kinds)}.")
    if not os.access(picture.parent, os.W_OK):
        raise FormatError(
            f"The picture cannot be written: there is no folder {picture.parent.resolve()}, or it "
            "is read-only. Name another place with --picture."
        )


def _number_of_frames(images: Sequence[str] | None) -> int:
    """How many frames the files hold; a modest number if there are none."""
    from bluesky_azint.io.images import open_frames

    if not images:
        return 11
    number = 0
    for image in images:
        with open_frames(image) as frames:
            number += len(frames)
    return number


def _measure(
    args: argparse.Namespace, points: int, engine: RunEngine, tiled: EmbeddedTiled, folder: Path
) -> tuple[str, Geometry]:
    """Store the calibration and scan with live reduction; the raw uid and the geometry."""
    from ophyd_async.core import StaticPathProvider, UUIDFilenameProvider, init_devices
    from ophyd_async.sim import SimMotor

    from bluesky_azint.callbacks.live import LiveReduction
    from bluesky_azint.reduction.recipe import Recipe
    from bluesky_azint.store import CalibrationRecord

    recipe = Recipe(npt=args.npt, unit=args.unit, error_model="poisson")
    frames = folder / "frames"
    frames.mkdir(parents=True, exist_ok=True)
    provider = StaticPathProvider(UUIDFilenameProvider(), frames)
    _say("Making the detector")
    with init_devices():
        detector = _replay(args, provider) if args.images else _simulation(args, provider)
        motor = SimMotor(name="motor", instant=True)
    geometry = _replayed_geometry(args, detector.source.shape) if args.images else _pose()
    tiled.calibrations.save(
        CalibrationRecord(detector=NAME, geometry=geometry, valid_from=datetime.now(UTC))
    )
    with LiveReduction(
        tiled.reduced,
        recipe=recipe,
        directory=folder / "reduced",
        store=tiled.calibrations,
        raw=tiled.raw,
    ) as live:
        engine.subscribe(live)  # type: ignore[no-untyped-call]
        return _scan(engine, detector, motor, points), geometry


def _pose() -> Geometry:
    """Where the simulated detector stands."""
    from bluesky_azint.detectors import detector
    from bluesky_azint.geometry import Geometry

    return Geometry(
        detector=detector("Pilatus1M"),
        dist=0.2,
        poni1=0.088,
        poni2=0.08,
        rot1=0.05,
        rot2=-0.03,
        wavelength=0.4e-10,
    )


def _simulation(args: argparse.Namespace, provider: PathProvider) -> SimulatedDiffractionDetector:
    from bluesky_azint.devices import SimulatedDiffractionDetector

    return SimulatedDiffractionDetector(provider, _pose(), args.calibrant or CALIBRANT, name=NAME)


def _replay(args: argparse.Namespace, provider: PathProvider) -> FrameReplayDetector:
    from bluesky_azint.devices import FrameReplayDetector

    return FrameReplayDetector(provider, args.images, name=NAME)


def _replayed_geometry(args: argparse.Namespace, shape: tuple[int, int]) -> Geometry:
    """The geometry of the PONI file, with the shape of the frames if it names none."""
    from bluesky_azint.geometry import Geometry

    geometry = Geometry.from_poni(args.poni)
    if geometry.detector.shape not in (None, shape):
        raise FormatError(
            f"The frames have the shape {shape}, the detector of {args.poni} "
            f"{geometry.detector.shape}; they must be equal."
        )
    return replace(geometry, detector=replace(geometry.detector, shape=shape))


def _calibrant(args: argparse.Namespace) -> str | None:
    """Whose rings to mark; those of real frames are not known."""
    return args.calibrant or (None if args.images else CALIBRANT)


def _scan(engine: RunEngine, detector: Any, motor: Any, points: int) -> str:  # noqa: ANN401
    """Scan, with a bar that shows the points; the uid of the run."""
    import bluesky.plans as bp
    from tqdm import tqdm

    uids: list[str] = []
    with tqdm(total=points, desc="Scanning", unit="frame", file=sys.stderr) as bar:

        def note(name: str, doc: Any) -> None:  # noqa: ANN401  any of ten typed dicts
            if name == "start":
                uids.append(doc["uid"])
            bar.update(name == "event")

        engine(bp.scan([detector], motor, 0, 1, points), note)
    return uids[0]


@contextmanager
def _run_engine() -> Iterator[RunEngine]:
    """A RunEngine whose thread ends with the context."""
    from bluesky import RunEngine

    engine = RunEngine({})
    try:
        yield engine
    finally:
        engine.loop.call_soon_threadsafe(engine.loop.stop)
        engine._th.join()
        engine.loop.close()


def _read_back(tiled: EmbeddedTiled, raw_uid: str, points: int) -> AzintRun:
    """The reduced run of a raw run, complete."""
    from bluesky_azint.callbacks.retrieval import reduced_runs

    runs = reduced_runs(tiled.reduced, raw_uid)
    if not runs:
        raise AzintError(f"Run {raw_uid} has no reduced run. {NO_REASON}")
    stop = runs[0].metadata.get("stop") or {}
    if stop.get("exit_status") != "success":
        raise AzintError(f"Run {raw_uid} was not reduced. {stop.get('reason') or NO_REASON}")
    patterns = len(runs[0].patterns["intensity"])
    if patterns != points:
        raise AzintError(f"{patterns} of {points} frames were reduced. {NO_REASON}")
    return runs[0]


def _first_frame(folder: Path) -> NDArray[Any]:
    """The first frame of the newest file of the detector."""
    from bluesky_azint.io.images import open_frames

    newest = max((folder / "frames").iterdir(), key=lambda path: path.stat().st_mtime)
    with open_frames(newest) as frames:
        return frames[0]


def _draw(
    picture: Path,
    reduced: AzintRun,
    frame: NDArray[Any],
    geometry: Geometry,
    calibrant_name: str | None,
) -> None:
    """The first frame beside its pattern as Tiled has it, with the rings that are in its range."""
    from bluesky_azint.plot import plot_reduction

    pattern = reduced.pattern(0)
    title = f"Run {reduced.raw_uid[:8]}, frame 0"
    rings: list[float] = []
    if calibrant_name is not None:
        title += f", {calibrant_name}"
        rings = _ring_positions(calibrant_name, geometry, pattern.unit)
    plot_reduction(
        picture,
        frame,
        geometry,
        pattern.radial,
        pattern.intensity,
        pattern.sigma,
        unit=pattern.unit,
        title=title,
        rings=[ring for ring in rings if pattern.radial[0] < ring < pattern.radial[-1]],
    )


def _ring_positions(calibrant_name: str, geometry: Geometry, unit_name: str) -> list[float]:
    """Where the rings of a calibrant lie; none in a unit of length, which the tilt distorts."""
    import numpy as np

    from bluesky_azint.calibrants import calibrant
    from bluesky_azint.geometry import Position
    from bluesky_azint.units import R_MM, unit

    if geometry.wavelength is None or unit_name == R_MM.name:
        return []
    two_theta = calibrant(calibrant_name).two_theta(geometry.wavelength)
    place = Position(y=np.sin(two_theta), x=np.zeros_like(two_theta), z=np.cos(two_theta))
    positions: list[float] = unit(unit_name)(place, geometry.wavelength).tolist()
    return positions


def _retrieval(args: argparse.Namespace, tiled: EmbeddedTiled, folder: Path, raw_uid: str) -> str:
    """Three lines of Python that get a pattern back."""
    if args.keep and not args.serve:
        return (
            "from bluesky_azint.callbacks import embedded_tiled, reduced_runs\n"
            f'with embedded_tiled("{folder}") as tiled:\n'
            f'    pattern = reduced_runs(tiled.reduced, "{raw_uid}")[0].pattern(0)'
        )
    return (
        "import tiled.client, bluesky_azint.callbacks\n"
        f'client = tiled.client.from_uri("{tiled.uri}")["reduced"]\n'
        f'pattern = bluesky_azint.callbacks.reduced_runs(client, "{raw_uid}")[0].pattern(0)'
    )


def _describe(report: Report) -> str:
    gone = "gone with the server; --keep DIR keeps it, --serve keeps the server up"
    condition = "" if report.data or report.server else ", with --keep or --serve"
    return "\n".join(
        [
            f"{report.frames} frames were reduced while they were measured.",
            f"  raw run      {report.raw_uid}",
            f"  reduced run  {report.reduced_uid}",
            f"  picture      {report.picture}",
            f"  data         {report.data or gone}",
            f"  server       {report.server or 'stopped'}",
            "",
            f"A pattern back by the uid of the raw run{condition}:",
            "",
            *(f"    {line}" for line in report.python.splitlines()),
        ]
    )


def _serve(tiled: EmbeddedTiled) -> None:
    """Wait for Ctrl-C."""
    _say(f"The server is at {tiled.uri} until Ctrl-C")
    try:
        threading.Event().wait()
    except KeyboardInterrupt:
        _say("Stopping")


def _say(message: str) -> None:
    print(f"{message} ...", file=sys.stderr)
