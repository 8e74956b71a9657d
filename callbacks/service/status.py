"""How the service is getting on: one value, which `/health`, `/metrics` and systemd tell of."""

from __future__ import annotations

import os
import sys
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

try:
    import resource
except ImportError:  # Windows
    resource = None  # type: ignore[assignment]

STARTING = "starting"
RUNNING = "running"
CATCHING_UP = "catching up"


@dataclass(frozen=True, kw_only=True)
class ServiceStatus:
    """How the service is getting on at one moment.

    Parameters
    ----------
    state
        In a word or two: ``"starting"``, ``"running"``, ``"catching up"``, ``"stopping"`` ...
    since
        When that began, in seconds since the epoch.
    source
        How the source of documents is: ``"connected"``, ``"waiting for ..."``.
    runs_open
        Raw runs that have begun and not ended.
    frames_in
        Frames that documents announced.
    frames_out
        Frames that were reduced.
    frames_refused
        Frames that cannot be reduced: they do not fit, are damaged, or lie where nothing is read.
    frames_behind
        Frames that are announced and not reduced yet.
    lag_seconds
        How long the oldest waiting document has been waiting.
    documents_pending
        Documents that wait.
    memory_bytes
        Memory that the process has in use.
    troubles
        What went wrong lately, in sentences.
    """

    state: str
    since: float
    source: str
    runs_open: int = 0
    frames_in: int = 0
    frames_out: int = 0
    frames_refused: int = 0
    frames_behind: int = 0
    lag_seconds: float = 0.0
    documents_pending: int = 0
    memory_bytes: int = 0
    troubles: tuple[str, ...] = ()

    @property
    def well(self) -> bool:
        """Whether frames are being reduced."""
        return self.state in (RUNNING, CATCHING_UP)

    def to_dict(self) -> dict[str, Any]:
        """As plain values for JSON."""
        return asdict(self)

    def __str__(self) -> str:
        return (
            f"{self.state}, {self.source}; {self.runs_open} runs open, {self.frames_out} frames "
            f"out, {self.frames_behind} behind, {self.frames_refused} refused"
        )


def memory_in_use() -> int:
    """Memory that this process has in use (its resident set), in bytes; 0 where nothing tells.

    Where there is no ``/proc`` this is the most it has ever used.
    """
    try:
        pages = int(Path("/proc/self/statm").read_text().split()[1])
        return pages * os.sysconf("SC_PAGE_SIZE")
    except OSError:
        pass
    if resource is None:
        return 0
    # macOS counts in bytes, all others in kilobytes.
    most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return most if sys.platform == "darwin" else 1024 * most
