"""Ready sessions, and all that belongs to one: folders that a beamline copies and changes.

A profile is a folder here, with a ``startup`` folder whose scripts IPython (and a queue server) runs
one after the other in the session's namespace. A copy remembers what it was made from, so that it
can be told what has become newer since, and what somebody changed.
"""

from __future__ import annotations

import hashlib
import json
import shutil
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from bluesky_azint.errors import FormatError, RecipeError

__all__ = [
    "CopyState",
    "at_session_end",
    "copy_profile",
    "copy_state",
    "profile_files",
    "profile_path",
    "profiles",
]

_MADE_FROM = ".made-from.json"  # in a copy: the digests of the files that it was made from


@dataclass(frozen=True)
class CopyState:
    """How a copy of a profile stands to the package.

    Parameters
    ----------
    outdated
        Files that are otherwise in the package by now, or new there.
    changed
        Files that somebody changed in the copy, or took out of it.
    """

    outdated: tuple[Path, ...]
    changed: tuple[Path, ...]


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


def profile_files(name: str) -> list[Path]:
    """The files of a profile, relative to its folder.

    Raises
    ------
    RecipeError
        If there is no such profile.
    """
    source = profile_path(name)
    return sorted(
        path.relative_to(source)
        for path in source.rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    )


def copy_profile(name: str, destination: Path, *, force: bool = False) -> Path:
    """Copy a profile to where it can be changed, for IPython writes into its folder, too.

    Parameters
    ----------
    name
        The profile.
    destination
        The new folder.
    force
        Whether to write over files that are there; what somebody changed is kept beside the new
        one, as ``NAME.old``.

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
    source, files = profile_path(name), profile_files(name)
    if destination.exists() and not force:
        raise FormatError(f"{destination} is there already; use force to write over its files.")
    if destination.exists():
        for path in copy_state(name, destination).changed:
            if (destination / path).exists():
                shutil.copy2(destination / path, destination / f"{path}.old")
    for path in files:
        (destination / path).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(source / path, destination / path)
    (destination / _MADE_FROM).write_text(json.dumps(_digests(source, files), indent=1))
    return destination


def copy_state(name: str, copy: Path) -> CopyState:
    """What has become newer since a copy was made, and what was changed in it.

    Of a copy that does not remember what it was made from, all differences are both.

    Raises
    ------
    RecipeError
        If there is no such profile.
    """
    now, here = (_digests(folder, profile_files(name)) for folder in (profile_path(name), copy))
    try:
        then = json.loads((copy / _MADE_FROM).read_text())
    except (OSError, ValueError):
        differing = tuple(Path(path) for path in now if here.get(path) != now[path])
        return CopyState(outdated=differing, changed=differing)
    return CopyState(
        outdated=tuple(Path(path) for path in now if then.get(path) != now[path]),
        changed=tuple(Path(path) for path in now if path in then and here.get(path) != then[path]),
    )


def _digests(folder: Path, files: list[Path]) -> Mapping[str, str]:
    """The digests of those files that are there."""
    return {
        path.as_posix(): hashlib.sha256((folder / path).read_bytes()).hexdigest()
        for path in files
        if (folder / path).is_file()
    }


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
