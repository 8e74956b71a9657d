"""What ties the service to the machine: it tells systemd how it is, and obeys signals.

systemd is told over a datagram socket, see sd_notify(3); where there is none, nothing happens.
"""

from __future__ import annotations

import logging
import math
import os
import signal
import socket
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from types import FrameType
from typing import Self

from bluesky_azint.callbacks.service.status import STARTING, ServiceStatus

logger = logging.getLogger(__name__)

_SECONDS = 10.0  # between two reports, unless the watchdog asks for more
_STARTING_SECONDS = 0.2


def notify(message: str, environment: Mapping[str, str] = os.environ) -> bool:
    """Tell systemd something; never raises.

    Parameters
    ----------
    message
        Assignments, one a line: ``"READY=1"``.
    environment
        Where systemd tells the socket.

    Returns
    -------
    Whether there is somebody who was told.
    """
    address = environment.get("NOTIFY_SOCKET", "")
    if not address.startswith(("/", "@")):
        return False
    if address.startswith("@"):  # a name of Linux that is no file
        address = "\0" + address[1:]
    try:
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as door:
            door.settimeout(1.0)
            door.sendto(message.encode(errors="replace"), address)
    except OSError as error:
        logger.debug("systemd could not be told %r: %s", message, error)
        return False
    return True


def watchdog_seconds(environment: Mapping[str, str] = os.environ) -> float | None:
    """How long systemd waits for a sign of life before it restarts the service; None for ever."""
    try:
        microseconds = int(environment.get("WATCHDOG_USEC", ""))
        process = int(environment.get("WATCHDOG_PID", os.getpid()))
    except ValueError:
        return None
    return microseconds / 1e6 if microseconds > 0 and process == os.getpid() else None


class Heartbeat:
    """Tells systemd, from a thread of its own, that the service is ready, alive, and how it is.

    The sign of life is the status itself: a service that cannot tell it any more is restarted.

    Parameters
    ----------
    status
        How the service is getting on.
    environment
        What systemd tells in.
    """

    def __init__(
        self, status: Callable[[], ServiceStatus], environment: Mapping[str, str] = os.environ
    ) -> None:
        self._status = status
        self._environment = environment
        self._seconds = min(_SECONDS, (watchdog_seconds(environment) or math.inf) / 2)
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._beat, name="azint-heartbeat", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Tell that the service ends, and nothing more."""
        self._ended.set()
        self._thread.join(timeout=self._seconds)
        notify("STOPPING=1", self._environment)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _beat(self) -> None:
        ready = False
        while True:
            try:
                status = self._status()
            except Exception:
                logger.exception("The status cannot be told.")
            else:
                starting = status.state == STARTING
                words = str(status).replace("\n", " ")
                news = [f"STATUS={words}", "WATCHDOG=1"]
                if not (ready or starting):
                    news.insert(0, "READY=1")
                    ready = True
                notify("\n".join(news), self._environment)
            if self._ended.wait(self._seconds if ready else _STARTING_SECONDS):
                return


@contextmanager
def obeying_signals(stop: Callable[[], object]) -> Iterator[None]:
    """Stop in order on SIGTERM and SIGINT, and at once on the second; SIGHUP only speaks.

    Only in the main thread. Then everything is as it was before.

    Parameters
    ----------
    stop
        Makes the service end; called in a thread of its own, since a signal may come while the
        main thread holds a lock.
    """
    asked: list[int] = []

    def end(number: int, _: FrameType | None) -> None:
        asked.append(number)
        if len(asked) > 1:
            os._exit(128 + number)
        threading.Thread(target=_stop, args=(number, stop), name="azint-stop", daemon=True).start()

    def speak(number: int, _: FrameType | None) -> None:
        threading.Thread(target=_explain, name="azint-hangup", daemon=True).start()

    handlers: dict[int, Callable[[int, FrameType | None], None]] = {
        signal.SIGTERM: end,
        signal.SIGINT: end,
    }
    if hasattr(signal, "SIGHUP"):
        handlers[signal.SIGHUP] = speak
    before = {number: signal.signal(number, handler) for number, handler in handlers.items()}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _stop(number: int, stop: Callable[[], object]) -> None:
    name = signal.Signals(number).name
    notify("STOPPING=1")
    logger.info("%s: the service stops when its documents are safe; again, it stops at once.", name)
    stop()


def _explain() -> None:
    logger.warning("SIGHUP: the configuration is read at the start only; restart the service.")
