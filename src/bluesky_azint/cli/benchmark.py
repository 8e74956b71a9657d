"""``bluesky-azint benchmark``: how fast, how exact and how large, beside others, in one run."""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from bluesky_azint.cli.outputs import check_outputs
from bluesky_azint.cli.tables import table

if TYPE_CHECKING:
    from bluesky_azint.benchmark.cases import Case
    from bluesky_azint.benchmark.machine import Machine
    from bluesky_azint.benchmark.report import Report


def add_parser(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Register the command."""
    parser = subparsers.add_parser(
        "benchmark",
        help="measure the speed, beside pyFAI where it is installed",
        description="Integrates made-up frames of an Eiger2 4M (uint32, Poisson errors, bad pixels "
        "found in the frame, unless said) with each engine and with pyFAI and MAX IV's azint where "
        "they are installed, by turns in one process; compares all with a reference in double "
        "precision, and with what the memory of this machine allows.",
    )
    parser.add_argument(
        "--cases", nargs="+", default=[], metavar="NAME", help="these alone, such as 1d-no 'file-*'"
    )
    parser.add_argument("--list", action="store_true", help="print the names of the cases and stop")
    parser.add_argument("--quick", action="store_true", help="few cases and rounds: under a minute")
    parser.add_argument("--json", action="store_true", help="print JSON instead of tables")
    parser.add_argument("--picture", type=Path, metavar="FILE", help="save a picture, too")
    parser.add_argument("--force", action="store_true", help="replace a picture that is there")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Run the command."""
    from bluesky_azint.benchmark.cases import choose
    from bluesky_azint.benchmark.machine import this_machine

    cases = choose(args.cases, quick=args.quick)
    if args.list:
        print(table([[case.name, case.title] for case in cases], left=2))
        return 0
    if args.picture is not None:
        from bluesky_azint.benchmark.picture import check_format

        check_outputs(args.picture, force=args.force)
        check_format(args.picture)
    machine = this_machine()
    for warning in machine.warnings:
        print(f"bluesky-azint benchmark: {warning}", file=sys.stderr)
    report = _measured(cases, machine, quick=args.quick)
    print(json.dumps(report.figures(), indent=1) if args.json else _text(report))
    if args.picture is not None:
        from bluesky_azint.benchmark.picture import draw

        draw(report, args.picture)
    return 0


def _measured(cases: tuple[Case, ...], machine: Machine, *, quick: bool) -> Report:
    from tqdm import tqdm

    from bluesky_azint.benchmark.measure import measure
    from bluesky_azint.benchmark.report import Report
    from bluesky_azint.benchmark.roofline import bandwidth
    from bluesky_azint.benchmark.timing import HURRIED, THOROUGH

    able = [case for case in cases if machine.can(case)]
    outcomes = []
    with tqdm(able, unit="case", file=sys.stderr, leave=False) as progress:
        for case in progress:
            progress.set_description(case.title)
            outcomes.append(measure(case, HURRIED if quick else THOROUGH))
    return Report(machine, bandwidth(), outcomes)


def _text(report: Report) -> str:
    from bluesky_azint.benchmark.tables import tables

    machine = report.machine
    missing = [name for name, found in machine.peers.items() if found != "installed"]
    parts = [
        f"{machine.cpu}, {machine.cores} cores; load average {machine.load}",
        f"OpenCL: {machine.opencl or 'none'}",
        ", ".join(f"{name} {number}" for name, number in machine.versions.items())
        + f", Python {machine.python}",
        *(f"{name} is not installed." for name in missing),
        *(f"Note: {warning}" for warning in machine.warnings),
    ]
    text = "\n".join(parts)
    for title, rows, words in tables(report):
        text += f"\n\n{title}\n{table(rows, left=words)}"
    return text
