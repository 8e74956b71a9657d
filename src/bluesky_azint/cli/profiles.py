"""``bluesky-azint profiles``: list, copy and start ready sessions."""

from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path

from bluesky_azint.errors import EngineError


def add_parser(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Register the command."""
    parser = subparsers.add_parser(
        "profiles",
        help="list, copy and start ready IPython sessions",
        description="Ready sessions. Copy one and change it to make it your beamline's.",
    )
    actions = parser.add_subparsers(dest="action", required=True, metavar="ACTION")
    actions.add_parser("list", help="print the names of the profiles").set_defaults(run=run_list)

    copy = actions.add_parser("copy", help="copy a profile to where it can be changed")
    copy.add_argument("name")
    copy.add_argument(
        "destination",
        nargs="?",
        type=Path,
        help="new folder; without it, the place where `ipython --profile=azint_NAME` finds it",
    )
    copy.add_argument("--force", action="store_true", help="write over scripts that are there")
    copy.set_defaults(run=run_copy)

    start = actions.add_parser("start", help="copy a profile if need be, and start IPython in it")
    start.add_argument("name")
    start.add_argument(
        "ipython", nargs=argparse.REMAINDER, help="what else IPython is told, after --"
    )
    start.set_defaults(run=run_start)


def run_list(args: argparse.Namespace) -> int:
    """Print the names."""
    from bluesky_azint.profiles import profiles

    print(*profiles(), sep="\n")
    return 0


def run_copy(args: argparse.Namespace) -> int:
    """Copy a profile and print where it is."""
    from bluesky_azint.profiles import copy_profile

    print(copy_profile(args.name, args.destination or _home(args.name), force=args.force))
    return 0


def run_start(args: argparse.Namespace) -> int:
    """Become an IPython session in a profile."""
    from bluesky_azint.profiles import copy_profile

    home = _home(args.name)
    if not home.exists():
        copy_profile(args.name, home)
    arguments = [argument for argument in args.ipython if argument != "--"]
    command = [sys.executable, "-m", "IPython", f"--profile-dir={home}", *arguments]
    os.execv(sys.executable, command)


def _home(name: str) -> Path:
    """Where IPython keeps the profile."""
    try:
        from IPython.paths import get_ipython_dir
    except ImportError as error:
        raise EngineError(
            "IPython is not installed; install it with the extra bluesky-azint[session]."
        ) from error
    return Path(get_ipython_dir()) / f"profile_azint_{name}"
