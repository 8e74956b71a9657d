"""What several commands see to before they compute: that their output can be written."""

from __future__ import annotations

import os
from pathlib import Path


def check_outputs(*paths: Path | None, force: bool) -> None:
    """See that files can be written, before what is to stand in them takes time.

    Parameters
    ----------
    paths
        Where to; None for what is not asked for.
    force
        Whether to write over files that are there.

    Raises
    ------
    RecipeError
        If a file is there already, or its folder is not, or one may not write there.
    """
    from bluesky_azint.errors import RecipeError

    for path in paths:
        if path is None:
            continue
        if path.is_dir():
            raise RecipeError(f"{path} is a folder; name a file in it.")
        if path.exists() and not force:
            raise RecipeError(f"{path} exists; give another name, or --force to replace it.")
        if not path.parent.is_dir():
            raise RecipeError(
                f"{path} cannot be written, for there is no folder {path.parent}; make it, or write "
                "elsewhere."
            )
        if not os.access(path if path.exists() else path.parent, os.W_OK):
            raise RecipeError(
                f"{path} cannot be written, for you have no right to; ask for it, or write elsewhere."
            )
