"""The folders that files are read from, whatever documents say.

Documents come over a network, and name files. What may be read is therefore said by whoever runs
the reduction, and decided where a path really leads to: after ``..`` and symbolic links, and after
the names of the documents have become those of this machine. Only plain files are opened at all:
a device never ends, and to open a pipe that nobody writes to never returns.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Iterable
from os import PathLike
from pathlib import Path

from bluesky_azint.errors import FrameError


class Roots:
    """Folders with everything in them.

    Parameters
    ----------
    folders
        The folders; None for all there are, where documents can be trusted.
    """

    def __init__(self, folders: Iterable[str | PathLike[str]] | None) -> None:
        self.folders = (
            None if folders is None else tuple(Path(folder).absolute() for folder in folders)
        )

    @property
    def limited(self) -> bool:
        """Whether there are files that must not be read."""
        return self.folders is not None

    def check(self, path: str) -> None:
        """Make sure that a file may be opened.

        Raises
        ------
        FrameError
            If it lies outside of the folders, or is not a plain file, or cannot be a path.
        FileNotFoundError
            If there is none, yet.
        """
        try:
            place = os.path.realpath(path)
            if not self._hold(place):
                raise FrameError(self._refusal(path, place))
            mode = Path(place).stat().st_mode
        except FileNotFoundError:
            raise
        except (ValueError, OSError) as error:
            if isinstance(error, FrameError):
                raise
            raise FrameError(
                f"The file {_shown(path)} cannot be opened ({error}). Check what the detector says "
                "of its files."
            ) from error
        if not stat.S_ISREG(mode):
            raise FrameError(
                f"{_shown(path)} is a folder, a device or a pipe, not a file with frames. Check what "
                "the detector says of its files."
            )

    def _hold(self, place: str) -> bool:
        if self.folders is None:
            return True
        # Each time, for a folder may be a link that is set to another one with each visit.
        inside = (os.path.realpath(folder).rstrip("/") + "/" for folder in self.folders)
        return any(place.startswith(folder) for folder in inside)

    def _refusal(self, path: str, place: str) -> str:
        leads = "" if place == path else f", which is {_shown(place)},"
        allowed = ", ".join(map(str, self.folders or ())) or "none"
        return (
            f"The file {_shown(path)}{leads} is outside of the folders that may be read ({allowed}), "
            "and was not opened. If its frames belong to the beamline, add its folder to 'roots' in "
            "[files] of the configuration; if it has another name on this machine, say so in "
            "'root_map'."
        )


def _shown(path: str) -> str:
    """A path as it can stand in a message, whatever it holds."""
    return path if path.isprintable() and len(path) < 500 else repr(path)[:500]
