"""A source that hands on what it is given, for a service in a test."""

from __future__ import annotations

import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

from bluesky_azint.callbacks.service.config import ServiceConfig, read_config

Documents = list[tuple[str, dict[str, Any]]]

documents: Documents = []
"""What the next source hands on."""


class ScriptedSource:
    """Hands on all documents, and waits until it is stopped."""

    state = "connected"
    refused = 0

    def __init__(self) -> None:
        self._documents = list(documents)
        self._stopped = threading.Event()

    def run(self, take: Callable[[str, dict[str, Any]], object]) -> None:
        for name, doc in self._documents:
            take(name, doc)
        self._stopped.wait()

    def stop(self) -> None:
        self._stopped.set()


def configured(folder: Path, *lines: str) -> ServiceConfig:
    """A configuration with a scripted source, a default geometry, and further lines."""
    path = folder / "azint.toml"
    path.write_text(
        "\n".join(
            [
                "[service]",
                'directory = "state"',
                'http = ""',
                "quiet_seconds = 1",
                "patience_seconds = 3",
                "[source]",
                'kind = "python"',
                'entry = "tests.callbacks.service.scripted:ScriptedSource"',
                "[calibrations]",
                'default = "default.poni"',
                "[engine]",
                'name = "scipy"',
                "[recipes.pattern]",
                "npt = 50",
                'unit = "q_nm^-1"',
                'error_model = "poisson"',
                *lines,
            ]
        )
    )
    return read_config(path)
