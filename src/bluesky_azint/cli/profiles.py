"""``bluesky-azint profiles``: list, copy and start ready sessions."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Iterable
from pathlib import Path

from bluesky_azint.errors import EngineError


def add_parser(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Register the command."""
    parser = subparsers.add_parser(
        "profiles",
        help="list, copy and start ready sessions and beamlines",
        description="Ready sessions, and all that runs at a beamline. Copy one and change it to make "
        "it yours.",
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
    copy.add_argument("--force", action="store_true", help="write over files that are there")
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
    from bluesky_azint.profiles import copy_profile, profile_files

    copied = copy_profile(args.name, args.destination or _home(args.name), force=args.force)
    _say(f"Copied into {copied}, where README.md says what it is:")
    for path in profile_files(args.name):
        _say(f"  {path}")
    print(copied)
    return 0


def run_start(args: argparse.Namespace) -> int:
    """Become an IPython session in a profile."""
    home = _home(args.name)
    _make_ready(args.name, home)
    arguments = [argument for argument in args.ipython if argument != "--"]
    command = [sys.executable, "-m", "IPython", f"--profile-dir={home}", *arguments]
    os.execv(sys.executable, command)


def _make_ready(name: str, home: Path) -> None:
    """Copy the profile, or renew the copy that is there; one that was changed is left alone."""
    from bluesky_azint.profiles import copy_profile, copy_state

    if not home.exists():
        copy_profile(name, home)
        return
    state = copy_state(name, home)
    if state.outdated and not state.changed:
        copy_profile(name, home, force=True)
        _say(f"{home} was of an older version, and is renewed.")
    elif state.outdated:
        _say(
            f"{home} is of an older version: {_list(state.outdated)}. You have changed "
            f"{_list(state.changed)} there, so nothing is renewed. To have the new version, with "
            f"yours kept as *.old: bluesky-azint profiles copy {name} --force"
        )


def _list(paths: Iterable[Path]) -> str:
    return ", ".join(map(str, paths))


def _say(message: str) -> None:
    print(message, file=sys.stderr)


def _home(name: str) -> Path:
    """Where IPython keeps the profile."""
    try:
        from IPython.paths import get_ipython_dir
    except ImportError as error:
        raise EngineError(
            "IPython is not installed; install it with the extra bluesky-azint[session]."
        ) from error
    return Path(get_ipython_dir()) / f"profile_azint_{name}"
