"""The service in its surroundings: signals, systemd, and what it tells over HTTP."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import ExitStack
from typing import Protocol

from bluesky_azint.callbacks.service.config import ServiceConfig
from bluesky_azint.callbacks.service.http import StatusServer
from bluesky_azint.callbacks.service.status import ServiceStatus
from bluesky_azint.callbacks.service.systemd import Heartbeat, obeying_signals


class Runs(Protocol):
    """What can be served: `bluesky_azint.callbacks.service.service.Service`."""

    def run(self) -> int:
        """Work until `stop` is called; gives the exit code."""

    def stop(self) -> None:
        """Have `run` end in order."""

    def status(self) -> ServiceStatus:
        """How it is getting on."""


def serve(config: ServiceConfig, make: Callable[[ServiceConfig], Runs] | None = None) -> int:
    """Run the service until it is told to stop; gives the exit code.

    Parameters
    ----------
    config
        What it is to do.
    make
        Makes the service; None for ours.

    Raises
    ------
    AzintError
        If the service cannot start.
    """
    if make is None:
        from bluesky_azint.callbacks.service.service import Service

        make = Service
    service = make(config)
    with ExitStack() as surroundings:
        surroundings.enter_context(obeying_signals(service.stop))
        if config.service.http is not None:
            surroundings.enter_context(StatusServer(config.service.http, service.status))
        surroundings.enter_context(Heartbeat(service.status))
        return service.run()
