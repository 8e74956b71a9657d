"""``bluesky-azint benchmark``: how fast, and beside pyFAI how much faster, in one run."""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from bluesky_azint.geometry import Geometry

DETECTOR = "Eiger2_4M"
NPT = 1000
PEER = "pyFAI csr/cython"
POSE: dict[str, Any] = {
    "dist": 0.2,
    "poni1": 0.08,
    "poni2": 0.075,
    "rot1": 0.1,
    "rot2": -0.05,
    "rot3": 0.02,
    "wavelength": 1e-10,
}


@dataclass(frozen=True)
class Timing:
    """Seconds per frame, over all rounds."""

    wall_min: float
    wall_median: float
    cpu_min: float


@dataclass(frozen=True)
class Row:
    """One way to integrate, timed."""

    splitting: str
    name: str
    timing: Timing
    ratio: float | None
    difference: float | None


def add_parser(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Register the command."""
    parser = subparsers.add_parser(
        "benchmark",
        help="measure the speed, beside pyFAI where it is installed",
        description=f"Integrates one {DETECTOR} frame (uint32, {NPT} bins, Poisson errors, bad "
        "pixels found in the frame) with each engine and with pyFAI, in turns, in this process.",
    )
    parser.add_argument("--quick", action="store_true", help="few rounds: under a minute")
    parser.add_argument("--json", action="store_true", help="print JSON instead of a table")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Run the command."""
    from tqdm import tqdm

    geometry, frame = _case()
    rounds = 5 if args.quick else 30
    rows: list[Row] = []
    splittings = ("no", "bbox", "full")
    with tqdm(total=len(splittings), unit="case", file=sys.stderr, leave=False) as progress:
        for splitting in splittings:
            progress.set_description(splitting)
            rows += _compare(geometry, frame, splitting, rounds)
            progress.update()
    if args.json:
        print(json.dumps([asdict(row) for row in rows], indent=1))
    else:
        print(_table(rows))
    return 0


def _case() -> tuple[Geometry, NDArray[np.uint32]]:
    """A tilted detector and a noisy frame; its gaps and some pixels hold the largest value."""
    import numpy as np

    from bluesky_azint.detectors import detector
    from bluesky_azint.geometry import Geometry

    geometry = Geometry(detector=detector(DETECTOR), **POSE)
    rng = np.random.default_rng(0)
    rings = 5 + 100 * np.exp(-((geometry.q() % 5 - 2) ** 2) / 0.1)
    frame = rng.poisson(rings).astype(np.uint32)
    frame[geometry.detector.mask] = np.iinfo(np.uint32).max
    frame.flat[rng.choice(frame.size, 200, replace=False)] = np.iinfo(np.uint32).max
    return geometry, frame


def _compare(
    geometry: Geometry, frame: NDArray[np.uint32], splitting: str, rounds: int
) -> list[Row]:
    """Time all ways to integrate a frame, after one call each to warm up."""
    from bluesky_azint.reduction.integrator import Integrator

    ways: dict[str, Callable[[], Any]] = {
        engine: partial(
            Integrator(
                geometry,
                NPT,
                splitting=splitting,
                polarization_factor=0.95,
                error_model="poisson",
                engine=engine,
            ).integrate,
            frame,
        )
        for engine in ("opencl", "scipy")
    }
    peer = _pyfai(frame, splitting)
    if peer is not None:
        ways[PEER] = peer
    patterns = {name: way().intensity for name, way in ways.items()}
    timings = _time_in_turns(ways, rounds)
    return [
        Row(
            splitting,
            name,
            timing,
            ratio=timings[PEER].wall_min / timing.wall_min if peer else None,
            difference=_difference(patterns[name], patterns[PEER]) if peer else None,
        )
        for name, timing in timings.items()
    ]


def _time_in_turns(ways: dict[str, Callable[[], Any]], rounds: int) -> dict[str, Timing]:
    """Time calls that take turns, so that whatever else the machine does hits them all."""
    import numpy as np

    times: dict[str, list[tuple[float, float]]] = {name: [] for name in ways}
    for _ in range(rounds):
        for name, way in ways.items():
            wall, cpu = time.perf_counter(), time.process_time()
            way()
            times[name].append((time.perf_counter() - wall, time.process_time() - cpu))
    return {
        name: Timing(
            wall_min=float(np.min(values, axis=0)[0]),
            wall_median=float(np.median(values, axis=0)[0]),
            cpu_min=float(np.min(values, axis=0)[1]),
        )
        for name, values in times.items()
    }


def _difference(pattern: NDArray[np.float64], reference: NDArray[np.float64]) -> float:
    """Median relative difference: the axes differ, pyFAI's knows the mask."""
    import numpy as np

    good = reference > 0
    return float(np.median(np.abs(pattern[good] / reference[good] - 1)))


def _pyfai(frame: NDArray[np.uint32], splitting: str) -> Callable[[], Any] | None:
    """PyFAI's best method on a CPU; None where it is not installed."""
    try:
        from pyFAI.detectors import detector_factory
        from pyFAI.integrator.azimuthal import AzimuthalIntegrator
    except ImportError:
        return None
    integrator = AzimuthalIntegrator(detector=detector_factory(DETECTOR), **POSE)
    # pyFAI finds the bad pixels of a uint32 frame by the dummy of the detector.
    return lambda: integrator.integrate1d(
        frame,
        NPT,
        unit="q_A^-1",
        method=(splitting, "csr", "cython"),
        polarization_factor=0.95,
        error_model="poisson",
        dummy=2**32 - 1,
        delta_dummy=0.5,
    )


def _table(rows: list[Row]) -> str:
    head = ("wall min", "median", "CPU min", "faster", "difference")
    lines = [f"{'splitting':10}{'(times in ms)':18}" + "".join(f"{name:>11}" for name in head)]
    for row in rows:
        timing = row.timing
        ratio = "" if row.ratio is None else f"{row.ratio:.1f} x"
        difference = "" if row.difference is None else f"{row.difference:.1e}"
        times = (timing.wall_min, timing.wall_median, timing.cpu_min)
        lines.append(
            f"{row.splitting:10}{row.name:18}"
            + "".join(f"{1e3 * seconds:11.2f}" for seconds in times)
            + f"{ratio:>11}{difference:>11}"
        )
    return "\n".join(lines)
