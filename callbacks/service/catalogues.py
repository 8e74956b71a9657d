"""The Tiled containers that a configuration names."""

from __future__ import annotations

from typing import TYPE_CHECKING

from bluesky_azint.callbacks.service.sections import Catalogue
from bluesky_azint.errors import ConfigError

if TYPE_CHECKING:
    from tiled.client.container import Container


def connect(catalogue: Catalogue) -> Container:
    """The Tiled server of a configuration; close it in the end, ``root.context.close()``.

    Raises
    ------
    ConfigError
        If Tiled is not installed, or has no such profile.
    OSError
        If nothing answers there.
    """
    try:
        from tiled.client import from_profile, from_uri
    except ImportError as error:
        raise ConfigError(
            "Tiled is not installed; install it with the extra bluesky-azint[tiled]."
        ) from error
    if catalogue.profile:
        return from_profile(catalogue.profile, api_key=catalogue.api_key)
    return from_uri(catalogue.uri, api_key=catalogue.api_key)


def container_at(root: Container, path: str) -> Container:
    """The container at a path such as ``"xrd/raw"``; the root itself is at ``"/"``.

    Raises
    ------
    ConfigError
        If there is none.
    """
    keys = tuple(filter(None, path.split("/")))
    try:
        # All at once: a catalogue of runs takes a key of its own for the beginning of a uid.
        return root[keys] if keys else root
    except KeyError:
        raise ConfigError(
            f"{root.uri} has no container {path!r}. Make it, or write the path of the one there is "
            "into [tiled]."
        ) from None
