"""The status of the service: when it is well, what it says in a line, and its memory."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from bluesky_azint.callbacks.service import status
from bluesky_azint.callbacks.service.status import ServiceStatus, memory_in_use


def made(**values: Any) -> ServiceStatus:
    """A status."""
    return ServiceStatus(**{"state": "running", "since": 1e9, "source": "connected", **values})


@pytest.mark.parametrize(
    ("state", "well"),
    [("starting", False), ("running", True), ("catching up", True), ("stopping", False)],
)
def test_it_is_well_when_frames_are_reduced(state: str, well: bool) -> None:
    assert made(state=state).well is well


def test_it_says_all_that_matters_in_a_line() -> None:
    line = str(made(runs_open=2, frames_out=30, frames_behind=4, frames_refused=1))

    assert line == "running, connected; 2 runs open, 30 frames out, 4 behind, 1 refused"


def test_memory_is_what_is_in_use_now() -> None:
    before = memory_in_use()
    block = np.ones(2**24)
    with_block = memory_in_use()
    del block

    assert before > 10e6
    assert 120e6 < with_block - before < 150e6
    assert memory_in_use() - before < 60e6


def test_memory_is_told_without_proc_as_well(monkeypatch: pytest.MonkeyPatch) -> None:
    now = memory_in_use()
    monkeypatch.setattr(Path, "read_text", _missing)
    assert memory_in_use() > 0.9 * now

    monkeypatch.setattr(status, "resource", None)
    assert memory_in_use() == 0


def _missing(*_: object) -> str:
    raise FileNotFoundError
