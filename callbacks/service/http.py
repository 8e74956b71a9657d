"""The service tells over HTTP how it is getting on.

``/health`` answers with the status as JSON, with 200 when frames are being reduced and with 503 when
not; ``/metrics`` with figures for Prometheus; ``/`` with a few lines for people. Nothing can be
changed this way, and no file is ever given out.
"""

from __future__ import annotations

import errno
import json
import logging
import socket
import sys
import threading
from collections.abc import Callable
from datetime import UTC, datetime
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from socketserver import TCPServer
from typing import Self

from bluesky_azint.callbacks.service.metrics import exposition
from bluesky_azint.callbacks.service.sections import Address
from bluesky_azint.callbacks.service.status import ServiceStatus
from bluesky_azint.errors import ConfigError, EngineError

logger = logging.getLogger(__name__)

_PATIENCE = 5.0  # seconds that a client may be silent
_TEXT = "text/plain; charset=utf-8"

_Answer = tuple[HTTPStatus, str, bytes]  # with the content type, and the content


class StatusServer:
    """Answers requests in threads of its own, from its making until it is closed.

    Parameters
    ----------
    address
        Where it listens.
    status
        Gives what it tells; called in several threads.

    Attributes
    ----------
    address
        Where it listens, with the port that the system chose.

    Raises
    ------
    ConfigError
        If it cannot listen there.
    """

    def __init__(self, address: Address, status: Callable[[], ServiceStatus]) -> None:
        try:
            self._server = _Server(address, status)
        except OSError as error:
            raise ConfigError(_not_listening(address, error)) from error
        self.address = Address(address.host, self._server.server_port)
        self._thread = threading.Thread(
            target=self._server.serve_forever, args=(0.1,), name="azint-http", daemon=True
        )
        self._thread.start()

    def close(self) -> None:
        """Answer no more requests."""
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


class _Server(ThreadingHTTPServer):
    block_on_close = False  # a client that hangs must not hold up the end

    def __init__(self, address: Address, status: Callable[[], ServiceStatus]) -> None:
        self.status = status
        self.address_family = socket.AF_INET6 if ":" in address.host else socket.AF_INET
        super().__init__((address.host, address.port), _Handler)

    def server_bind(self) -> None:
        """Bind, without asking for the name of the host: a dead name server takes minutes."""
        TCPServer.server_bind(self)
        self.server_name, self.server_port = self.server_address[:2]  # type: ignore[assignment]

    def handle_error(self, request: object, client_address: object) -> None:
        """A client that went away is no trouble of ours."""
        logger.debug("A request of %s was not answered: %r", client_address, sys.exc_info()[1])


class _Handler(BaseHTTPRequestHandler):
    server: _Server
    timeout = _PATIENCE

    def version_string(self) -> str:
        """What the server calls itself."""
        return "bluesky-azint"

    def do_GET(self) -> None:
        """Answer with what is known."""
        code, kind, content = self._answer()
        self.send_response(code)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(content)))
        self.send_header("Cache-Control", "no-store")
        self.send_header("X-Content-Type-Options", "nosniff")
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(content)

    do_HEAD = do_GET

    def log_message(self, format: str, *args: object) -> None:
        """Write a request into the log."""
        logger.debug("%s: %s", self.client_address[0], format % args)

    def _answer(self) -> _Answer:
        pages = {"/": _page, "/health": _health, "/metrics": self._metrics}
        page = pages.get(self.path.partition("?")[0])
        if page is None:
            known = " ".join(pages)
            return HTTPStatus.NOT_FOUND, _TEXT, f"Not here. There are: {known}\n".encode()
        try:
            return page(self.server.status())
        except EngineError as error:
            return HTTPStatus.NOT_IMPLEMENTED, _TEXT, f"{error}\n".encode()
        except Exception:
            logger.exception("The status cannot be told.")
            return (
                HTTPStatus.SERVICE_UNAVAILABLE,
                _TEXT,
                b"The status cannot be told; see the log.\n",
            )

    def _metrics(self, status: ServiceStatus) -> _Answer:
        kind, content = exposition(status, self.headers.get("Accept", ""))
        return HTTPStatus.OK, kind, content


def _health(status: ServiceStatus) -> _Answer:
    code = HTTPStatus.OK if status.well else HTTPStatus.SERVICE_UNAVAILABLE
    return code, "application/json", json.dumps(status.to_dict(), indent=1).encode() + b"\n"


def _page(status: ServiceStatus) -> _Answer:
    since = datetime.fromtimestamp(status.since, UTC).isoformat(timespec="seconds")
    lines = [
        f"bluesky-azint: {status}",
        f"since {since}, {status.lag_seconds:.1f} s of lag, {status.memory_bytes / 1e6:.0f} MB",
        *(f"- {trouble}" for trouble in status.troubles),
        "",
        "/health for programs, /metrics for Prometheus",
    ]
    return HTTPStatus.OK, _TEXT, ("\n".join(lines) + "\n").encode(errors="backslashreplace")


def _not_listening(address: Address, error: OSError) -> str:
    if error.errno == errno.EADDRINUSE:
        return (
            f"service.http: the port {address.port} of {address.host} is in use, perhaps by a "
            'service that still runs. Stop that one, or write another port; "" for none.'
        )
    return (
        f"service.http: nothing can listen at {address} ({error.strerror or error}). Write an "
        'address of this machine, as "127.0.0.1:8090", with a port above 1023; or "" for none.'
    )
