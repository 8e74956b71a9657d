"""The status of the service as figures for Prometheus."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from bluesky_azint.callbacks.service.status import ServiceStatus
from bluesky_azint.errors import EngineError

if TYPE_CHECKING:
    from prometheus_client.metrics_core import Metric

_COUNTERS = {
    "frames_in": "Frames that documents announced.",
    "frames_out": "Frames that were reduced.",
    "frames_refused": "Frames that cannot be reduced.",
}
_GAUGES = {
    "frames_behind": "Frames that are announced and not reduced yet.",
    "lag_seconds": "How long the oldest waiting document has been waiting.",
    "documents_pending": "Documents that wait.",
    "runs_open": "Raw runs that have begun and not ended.",
}


def exposition(status: ServiceStatus, accept: str = "") -> tuple[str, bytes]:
    """A status as Prometheus reads it.

    Parameters
    ----------
    status
        What to tell.
    accept
        Formats that the reader takes, as it says in its request.

    Returns
    -------
    The content type, and the content.

    Raises
    ------
    EngineError
        If the package prometheus-client is not installed.
    """
    try:
        from prometheus_client import CollectorRegistry, ProcessCollector
        from prometheus_client.exposition import choose_encoder
    except ImportError as error:
        raise EngineError(
            "prometheus-client is not installed; install it with the extra bluesky-azint[service]."
        ) from error
    registry = CollectorRegistry()
    ProcessCollector(registry=registry)  # memory, processor time, open files
    registry.register(_Collector(status))
    encode, kind = choose_encoder(accept)
    return kind, encode(registry)


class _Collector:
    def __init__(self, status: ServiceStatus) -> None:
        self._status = status

    def collect(self) -> Iterator[Metric]:
        from prometheus_client.metrics_core import CounterMetricFamily, GaugeMetricFamily

        for name, text in _COUNTERS.items():
            yield CounterMetricFamily(f"azint_{name}", text, value=getattr(self._status, name))
        for name, text in _GAUGES.items():
            yield GaugeMetricFamily(f"azint_{name}", text, value=getattr(self._status, name))
        yield GaugeMetricFamily(
            "azint_well", "1 if frames are being reduced, 0 if not.", value=int(self._status.well)
        )
        yield GaugeMetricFamily(
            "azint_state_since_seconds",
            "When the present state began, in seconds since the epoch.",
            value=self._status.since,
        )
