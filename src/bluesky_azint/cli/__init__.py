"""The command line: ``bluesky-azint COMMAND``.

One module per command, with ``add_parser(subparsers)`` and ``run(args)``. They import what they
need inside ``run``, so that ``--help`` answers at once.
"""

from __future__ import annotations

import argparse
import logging
import sys
from collections.abc import Sequence
from importlib import import_module

from bluesky_azint.errors import AzintError, RecipeError

COMMANDS = (
    "backfill",
    "benchmark",
    "calibrate",
    "calibrations",
    "check",
    "convert",
    "demo",
    "integrate",
    "mask",
    "profiles",
    "reprocess",
    "serve",
)

FAILED = 1
WRONG_USAGE = 2
REFUSED = 3
INTERRUPTED = 130


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command; returns the exit code: 0 done, 1 failed, 2 wrong usage, 3 refused."""
    args = _parser().parse_args(arguments)
    logging.basicConfig(
        level=logging.WARNING - 10 * args.verbose,
        format="%(levelname)s %(name)s: %(message)s",
        stream=sys.stderr,
    )
    try:
        code: int = args.run(args)
    except (AzintError, OSError) as error:
        print(f"bluesky-azint {args.command}: {error}", file=sys.stderr)
        return WRONG_USAGE if isinstance(error, RecipeError) else FAILED
    except KeyboardInterrupt:
        print(f"bluesky-azint {args.command}: interrupted", file=sys.stderr)
        return INTERRUPTED
    return code


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="bluesky-azint",
        description="Live azimuthal integration and detector calibration for Bluesky beamlines.",
    )
    parser.add_argument("--version", action=_Version, nargs=0, help="print the version and exit")
    parser.add_argument(
        "-v", "--verbose", action="count", default=0, help="tell more on stderr; twice, everything"
    )
    subparsers = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    for command in COMMANDS:
        import_module(f"bluesky_azint.cli.{command}").add_parser(subparsers)
    return parser


class _Version(argparse.Action):
    """Looks the version up only when it is asked for."""

    def __call__(self, parser: argparse.ArgumentParser, *_: object) -> None:
        from importlib.metadata import version

        print(version("bluesky-azint"))
        parser.exit()
