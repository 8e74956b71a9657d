"""Ready sessions: IPython profiles that a beamline copies and changes.

A profile is a folder here, with a ``startup`` folder whose scripts IPython (and a queue server) runs
one after the other in the session's namespace.
"""

from __future__ import annotations

import shutil
import threading
from collections.abc import Callable
from pathlib import Path

from bluesky_azint.errors import FormatError, RecipeError

__all__ = ["at_session_end", "copy_profile", "profile_path", "profiles"]


def profiles() -> list[str]:
    """Names of the profiles there are."""
    return sorted(startup.parent.name for startup in Path(__file__).parent.glob("*/startup"))


def profile_path(name: str) -> Path:
    """The folder of a profile.

    Raises
    ------
    RecipeError
        If there is no such profile.
    """
    if name not in profiles():
        raise RecipeError(f"There is no profile {name!r}; there is {', '.join(profiles())}.")
    return Path(__file__).parent / name


def copy_profile(name: str, destination: Path, *, force: bool = False) -> Path:
    """Copy a profile to where it can be changed, for IPython writes into its folder, too.

    Parameters
    ----------
    name
        The profile.
    destination
        The new folder.
    force
        Whether to write over scripts that are there.

    Returns
    -------
    The destination.

    Raises
    ------
    RecipeError
        If there is no such profile.
    FormatError
        If the folder is there already.
    """
    source = profile_path(name)
    if destination.exists() and not force:
        raise FormatError(f"{destination} is there already; use force to write over its scripts.")
    shutil.copytree(
        source,
        destination,
        ignore=shutil.ignore_patterns("__pycache__"),
        dirs_exist_ok=True,
    )
    return destination


def at_session_end(close: Callable[[], object]) -> None:
    """Call something when the session ends.

    `atexit` would be late: before its turn the interpreter waits for all threads to end, and from
    Python 3.12 on none can be started then.

    Parameters
    ----------
    close
        What to call, in a thread of its own, after the main thread has done its work.
    """

    def wait_and_close() -> None:
        threading.main_thread().join()
        close()

    threading.Thread(target=wait_and_close, name="azint-session-end").start()
